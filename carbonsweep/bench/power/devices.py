"""Which instruments meter which device, and what that is called in a record's reuse key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonsweep import facts
from carbonsweep.bench.power.nvml import NVML_COUNTER, NvmlProbe, has_energy_counter, present_gpus
from carbonsweep.bench.power.rapl import rapl_absence, rapl_probes
from carbonsweep.bench.power.trace import MeterError, Probe
from carbonsweep.facts import CPU

UNMETERED: Final = "none"
"""Power protocol of a device whose joules nothing reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """Probes whose joules are the measurement's, those of the host beside it, and why there is none of the first."""

    probes: tuple[Probe, ...]
    hosts: tuple[Probe, ...] = ()
    flaw: str | None = None


def power_protocol(device: str, power_sampling_s: float | None) -> str:
    """How the joules of a device are read. Touches no GPU: a driver without one asks for its workers."""
    if device == CPU:
        return "rapl" if rapl_probes() and power_sampling_s is None else UNMETERED
    if power_sampling_s is not None:
        return f"nvml-power every {power_sampling_s:g} s"
    return NVML_COUNTER if has_energy_counter(facts.gpu(device)) else "nvml-power"


def _answering(probes: tuple[NvmlProbe, ...]) -> Instruments:
    """Those of GPUs that tell energy or power. A virtual GPU may tell neither; its seconds are measured still."""
    flaws: dict[str, str] = {}
    for probe in probes:
        try:
            probe.instruments()
        except MeterError as error:
            flaws[probe.name] = str(error)
    return Instruments(
        probes=tuple(probe for probe in probes if probe.name not in flaws),
        hosts=rapl_probes(),
        flaw="; ".join(flaws.values()) or None,
    )


def instruments(device: str, power_sampling_s: float | None) -> Instruments:
    """Probes for every visible GPU of a kind (a trial picks its own by name), or for the processor.

    Raises BenchFailed where the driver is there and does not answer.
    """
    if device != CPU:
        gpus = (gpu for gpu in present_gpus() if gpu.kind == device and not gpu.mig)
        return _answering(tuple(NvmlProbe(uuid=gpu.uuid) for gpu in gpus))
    if power_sampling_s is not None:
        return Instruments(probes=(), flaw="RAPL counts joules and tells no power that could be sampled")
    probes = rapl_probes()
    return Instruments(probes=probes, flaw=None if probes else rapl_absence())
