"""What the protocol gathered -> a `Measurement` with its evidence: means, intervals, closure, failed checks. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from carbonsweep.bench.phases import Effort, Measured, PhaseSample, idle_w, run_j
from carbonsweep.bench.power.gates import distinct
from carbonsweep.bench.power.meter import Meter
from carbonsweep.bench.run_checks import closure_checks, condition_checks, temperature_checks
from carbonsweep.bench.statistics import distribution, interval
from carbonsweep.domain import Configuration, Device, Energy, EnergyEstimate, Measurement, PhaseMeasurement
from carbonsweep.evidence import Closure, Conditions, Distribution, EnergyWindow, Evidence, MeasuringProtocol

ERROR_SOURCE: Final = "95 % t-interval over repeats; energy: and the meter's own bound, added"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Tokens of the mean batch: prompt tokens, those with padding, and tokens decoded after the first."""

    prompt_tokens: float
    padded_tokens: float
    decoded_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """What the meter told besides the phases. `devices` are those that count; others are the host.

    `own_processes` may be on the device; None takes those that were there at the start for its own.
    """

    devices: tuple[str, ...] = ()
    poll_s: float | None = None
    refresh_s: float | None = None
    idle: tuple[EnergyWindow, ...] = ()
    idle_w: float | None = None
    bare_idle: tuple[EnergyWindow, ...] = ()
    bare_idle_w: float | None = None
    conditions: tuple[Conditions, ...] = ()
    remarks: tuple[str, ...] = ()
    own_processes: frozenset[int] | None = None


def read_out(
    meter: Meter,
    *,
    conditions: tuple[Conditions, ...],
    idle: tuple[EnergyWindow, ...],
    bare_idle: tuple[EnergyWindow, ...] = (),
    own_processes: frozenset[int] | None = None,
) -> Readout:
    """What `meter` told, with its idle windows and the power they show."""
    return Readout(
        devices=meter.devices,
        poll_s=meter.poll_s,
        refresh_s=meter.found_refresh_s,
        idle=idle,
        idle_w=idle_w(idle, meter.devices),
        bare_idle=bare_idle,
        bare_idle_w=idle_w(bare_idle, meter.devices),
        conditions=conditions,
        remarks=meter.remarks,
        own_processes=own_processes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was measured, in words and numbers that no clock or meter told."""

    bench: str
    configuration: Configuration
    output_tokens: int
    counted: Counted
    batches_digest: str
    device: Device | None
    peak_memory_bytes: float | None
    notes: tuple[str, ...]
    gates: tuple[str, ...] = ()


def measurement(found: Measured, effort: Effort, subject: Subject, readout: Readout) -> Measurement:
    """The record's measurement; joules that are unknown stay None, and a note says why."""
    counted, devices = subject.counted, readout.devices
    prefills, decodes = [each.prefill for each in found.repeats], [each.decode for each in found.repeats]
    prefill, prefill_flaws = _phase(prefills, counted.prompt_tokens, counted.padded_tokens, subject, readout)
    decode, decode_flaws = _phase(decodes, counted.decoded_tokens, counted.decoded_tokens, subject, readout)
    unknown = [f"prefill energy unknown: {flaw}" for flaw in prefill_flaws]
    unknown += [f"decode energy unknown: {flaw}" for flaw in decode_flaws]
    closure = Closure(
        whole_s=found.whole.run_s,
        parts_s=prefill.duration_s + decode.duration_s,
        whole_j=run_j(found.whole.windows, devices),
        parts_j=_sum_j(prefill.energy, decode.energy),
    )
    return Measurement(
        prefill=prefill,
        decode=decode,
        batch_size=subject.configuration.batch_size,
        output_tokens=subject.output_tokens,
        peak_memory_bytes=subject.peak_memory_bytes,
        idle_w=readout.idle_w,
        bench=subject.bench,
        basis="measured",
        error_source=ERROR_SOURCE,
        device=subject.device,
        notes=(*subject.notes, *unknown),
        evidence=_evidence(found, effort, subject, readout, closure),
    )


def _sum_j(prefill: Energy | None, decode: Energy | None) -> float | None:
    return None if prefill is None or decode is None else prefill.joules + decode.joules


def _evidence(found: Measured, effort: Effort, subject: Subject, readout: Readout, closure: Closure) -> Evidence:
    steps = subject.output_tokens - 1
    repeats = found.repeats
    windows = [w for each in repeats for w in (*each.prefill.windows, *each.decode.windows)]
    checks = [
        *subject.gates,
        *condition_checks(readout.conditions, readout.own_processes),
        *closure_checks(closure),
        *temperature_checks(found.start_c, effort.cool_to_c),
    ]
    return Evidence(
        protocol=_protocol(found, effort, subject, readout),
        ttft=_spread([each.prefill for each in repeats]),
        tpot=_spread([each.decode for each in repeats], divisor=steps),
        prompt_latency=_latencies(found),
        closure=closure,
        bare_idle_w=readout.bare_idle_w,
        windows=(*readout.bare_idle, *windows, *found.whole.windows, *readout.idle),
        conditions=readout.conditions,
        gates=tuple(dict.fromkeys(checks)),
    )


def _protocol(found: Measured, effort: Effort, subject: Subject, readout: Readout) -> MeasuringProtocol:
    metered = bool(readout.devices)
    return MeasuringProtocol(
        batches=effort.batches,
        batches_digest=subject.batches_digest,
        orders_digest=hashlib.sha256(repr(found.orders).encode()).hexdigest()[:16],
        warm_up_runs=effort.warm_up_runs,
        repeats=len(found.repeats),
        stopped_by=found.stopped_by,
        interval=effort.interval,
        half_width=found.half_width,
        budget_s=effort.budget_s,
        window_bound=effort.window_bound if metered else None,
        poll_s=readout.poll_s,
        refresh_s=readout.refresh_s,
        cool_to_c=None if found.cooled_s is None else effort.cool_to_c,
        cooled_s=found.cooled_s,
    )


def _phase(
    samples: Sequence[PhaseSample], tokens: float, padded_tokens: float, subject: Subject, readout: Readout
) -> tuple[PhaseMeasurement, tuple[str, ...]]:
    """One phase of the mean batch, and why its energy is unknown where it is."""
    mean_s, low_s, high_s = interval([each.run_s for each in samples])
    energy, flaws = phase_energy(samples, readout.devices, readout.conditions)
    hosts = _hosts(samples, readout.devices)
    host_energy, _ = phase_energy(samples, hosts, readout.conditions)
    return PhaseMeasurement(
        tokens=tokens,
        padded_tokens=padded_tokens,
        duration_s=mean_s,
        duration_low_s=low_s,
        duration_high_s=high_s,
        repeats=len(samples),
        energy=energy,
        gpu=subject.configuration.gpu,
        gpu_count=subject.configuration.gpu_count,
        occupied_s=mean_s,
        host_energy=host_energy,
    ), flaws


def _hosts(samples: Sequence[PhaseSample], devices: Sequence[str]) -> tuple[str, ...]:
    seen = [window.device for each in samples for window in each.windows]
    return tuple(dict.fromkeys(device for device in seen if device not in devices))


def phase_energy(
    samples: Sequence[PhaseSample], devices: Sequence[str], conditions: Sequence[Conditions]
) -> tuple[Energy | None, tuple[str, ...]]:
    """Joules of the mean batch over `devices`, and the distinct reasons why they are unknown (then they are None).

    The interval is that of the repeats widened by the meter's bound, the mean of the windows': neither averages out
    for sure. Where the meter claims no bound (aliased power), all that is known is that a board stays below its cap.
    """
    if not devices:
        return None, ()
    windows = [w for each in samples for w in each.windows if w.device in devices]
    runs_j = [run_j(each.windows, devices) for each in samples]
    known_j = [each for each in runs_j if each is not None]
    if len(known_j) < len(samples):
        return None, tuple(sorted({each.flaw or "no reading" for each in windows if each.flaw or not each.readings}))
    estimates = _estimates(samples, devices)
    main = estimates[0]
    mean_j, repeats_low_j, repeats_high_j = interval(known_j)
    low_j, high_j = main.low_j, main.high_j  # rounding may put a bound that is no wider on the mean's other side
    if low_j is None or high_j is None:
        most_j = _most_j(samples, devices, conditions)
        if most_j is None:
            return None, ("the meter claims no accuracy, and the power cap is unknown",)
        low_j, high_j = 0.0, max(most_j, mean_j)
    return Energy(
        joules=mean_j,
        low_j=min(mean_j, max(0.0, repeats_low_j - max(0.0, mean_j - low_j))),
        high_j=max(mean_j, repeats_high_j + max(0.0, high_j - mean_j)),
        source=main.source,
        semantics=main.semantics,
        estimates=estimates,
        gates=distinct([window.gates for window in windows]),
    ), ()


def _estimates(samples: Sequence[PhaseSample], devices: Sequence[str]) -> tuple[EnergyEstimate, ...]:
    """The figure's meter and, where every window has it, the other's view of the mean batch."""
    windows = [w for each in samples for w in each.windows if w.device in devices]
    ranks = range(min(len(window.readings) for window in windows))
    return tuple(_estimate(windows, devices, rank) for rank in ranks)


def _estimate(windows: Sequence[EnergyWindow], devices: Sequence[str], rank: int) -> EnergyEstimate:
    """The readings in this place of every window: windows of one device are averaged, devices added."""
    by_device = [[(w.runs, w.readings[rank]) for w in windows if w.device == device] for device in devices]
    readings = [reading for mine in by_device for _, reading in mine]
    bounded = all(reading.low_j is not None for reading in readings)
    return EnergyEstimate(
        joules=sum(fmean(r.joules / runs for runs, r in mine) for mine in by_device),
        source=" + ".join(dict.fromkeys(reading.source for reading in readings)),
        semantics="; ".join(dict.fromkeys(reading.semantics for reading in readings)),
        low_j=sum(fmean((r.low_j or 0.0) / runs for runs, r in mine) for mine in by_device) if bounded else None,
        high_j=sum(fmean((r.high_j or 0.0) / runs for runs, r in mine) for mine in by_device) if bounded else None,
    )


def _most_j(samples: Sequence[PhaseSample], devices: Sequence[str], conditions: Sequence[Conditions]) -> float | None:
    """The mean batch at the power caps, None where one is unknown."""
    caps = [each.power_cap_w for each in conditions if each.device in devices]
    known = [cap for cap in caps if cap is not None]
    if len(known) < len(devices):
        return None
    return sum(known) * fmean(each.run_s for each in samples)


def _spread(samples: Sequence[PhaseSample], divisor: int = 1) -> Distribution:
    """Over single requests where the bench saw them, else over the batches of the list, each the mean of its runs."""
    requests_s = [each_s for sample in samples for each_s in sample.requests_s]
    if requests_s:
        return distribution([each_s / divisor for each_s in requests_s], "request")
    return distribution([each_s / divisor for each_s in _batch_s(samples)], "batch")


def _batch_s(samples: Sequence[PhaseSample]) -> list[float]:
    return [fmean(of_batch) for of_batch in zip(*(each.batch_s for each in samples), strict=True)]


def _latencies(found: Measured) -> Distribution:
    """Prompt latency, seconds: in a static batch every prompt waits for the last."""
    requests_s = [each_s for repeat in found.repeats for each_s in repeat.latencies_s]
    if requests_s:
        return distribution(requests_s, "request")
    parts = (_batch_s([getattr(each, phase) for each in found.repeats]) for phase in ("prefill", "decode"))
    return distribution([sum(pair) for pair in zip(*parts, strict=True)], "batch")
