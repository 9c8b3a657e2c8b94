"""A measurement and a scenario to grams per functional unit: HotCarbon'24, Equation 4, summed over the phases.

Each phase is priced on the devices it occupied, so a measurement whose phases ran on different GPUs needs no second
path. The two `batch_` functions are the arithmetic; they also price whole arrays of configurations at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from carbonsweep import facts
from carbonsweep.carbon.embodied import amortised_g, embodied_carbon, embodied_range
from carbonsweep.carbon.operational import Quantity, idle_energy_j, operational_g
from carbonsweep.carbon.write_off import share_left
from carbonsweep.domain import Energy, Footprint, FunctionalUnit, Measurement, PhaseMeasurement, Scenario
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.units import TOKENS_PER_KILO


def footprint(measurement: Measurement, scenario: Scenario) -> Footprint:
    """Grams per functional unit of `scenario`.

    Raises EnergyUnknown where a phase has no joules and the scenario assumes no power, or utilisation is below 1 and
    the idle power is unknown; BadInput where no carbon intensity is set.
    """
    return _summed(
        tuple(_parts(measurement, scenario)),
        tuple(_embodied_g(measurement, scenario)),
        scenario,
        functional_units(measurement, scenario.functional_unit),
        scenario.functional_unit,
    )


def phase_footprint(measurement: Measurement, phase: Literal["prefill", "decode"], scenario: Scenario) -> Footprint:
    """Grams per token of one phase: per real prompt token of prefill, per output token of decode.

    HotCarbon'24, Equation 4, over that phase alone (its Figures 5 and 6). The functional unit of `scenario` has no say,
    a hand-over belongs to neither phase. Raises as `footprint`.
    """
    place = ("prefill", "decode").index(phase)
    return _summed(
        tuple(_parts(measurement, scenario))[place : place + 1],
        tuple(_embodied_g(measurement, scenario))[place : place + 1],
        scenario,
        (measurement.prefill, measurement.decode)[place].tokens,
        "prompt-token" if phase == "prefill" else "output-token",
    )


def functional_units(measurement: Measurement, unit: FunctionalUnit) -> float:
    """How many functional units one batch delivers."""
    return batch_units(
        unit,
        batch=float(measurement.batch_size),
        output_tokens=float(measurement.batch_size * measurement.output_tokens),
        prompt_tokens=measurement.prefill.tokens,
    )


def batch_units(unit: FunctionalUnit, *, batch: Quantity, output_tokens: Quantity, prompt_tokens: Quantity) -> Quantity:
    """The same from prompts and tokens of a batch; prompt tokens are the real ones, not the padding. Elementwise."""
    units: dict[FunctionalUnit, Quantity] = {
        "1k-output-tokens": output_tokens / TOKENS_PER_KILO,
        "output-token": output_tokens,
        "prompt": batch,
        "prompt-token": prompt_tokens,
    }
    return units[unit]


def batch_energy_j(measurement: Measurement, scenario: Scenario) -> float:
    """Joules of one batch over all its devices, assumed where the scenario assumes them. Raises EnergyUnknown."""
    return sum(part.joules for part in _parts(measurement, scenario))


def batch_operational_g(
    *,
    energy_j: Quantity,
    busy_s: Quantity,
    idle_w: Quantity | float | None,
    gpu_count: Quantity | float,
    scenario: Scenario,
) -> Quantity:
    """Grams of running a batch: its devices' joules, their idle joules where u < 1, and the host's. Elementwise.

    `energy_j` and `idle_w` are over all devices; the host share is per device and runs busy or not, hence busy / u.
    Raises EnergyUnknown where u < 1 and `idle_w` is None, BadInput where the scenario names no carbon intensity.
    """
    if scenario.intensity is None:
        raise BadInput("grams need a carbon intensity: name a --region, or give --carbon-intensity-g-per-kwh")
    u = scenario.utilisation
    host_j = busy_s * gpu_count * (scenario.host_power_w / u)
    total_j = energy_j + host_j
    if u < 1:
        if idle_w is None:
            raise EnergyUnknown(f"utilisation {u:g} charges idle energy, and the idle power of this device is unknown")
        total_j = total_j + idle_energy_j(idle_w, busy_s, u)
    return operational_g(total_j, scenario.intensity.g_per_kwh, scenario.pue)


def batch_embodied_g(
    *, embodied_kg: Quantity | float, busy_s: Quantity, gpu_count: Quantity | float, scenario: Scenario
) -> Quantity:
    """Grams of making the devices, by the time a batch occupies them. Elementwise.

    `embodied_kg` is what is charged for one device: in a second life, its share left (`write_off.charged_kg`).
    """
    device_kg = embodied_kg + scenario.host_embodied_kg
    return amortised_g(device_kg, busy_s * gpu_count, scenario.lifetime_s, scenario.utilisation)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What costs energy in a batch: a phase, or the hand-over, which occupies nothing beyond the phases."""

    low_j: float
    joules: float
    high_j: float
    assumed: bool
    busy_s: float
    idle_w: float | None
    gpu_count: int


def _parts(measurement: Measurement, scenario: Scenario) -> Iterator[_Part]:
    phases = (measurement.prefill, measurement.decode)
    for phase, idle_w in zip(phases, idle_w_of_phases(measurement, scenario), strict=True):
        yield _part(
            phase.energy,
            scenario,
            duration_s=phase.duration_s,
            powered=phase.gpu_count,
            busy_s=phase.occupied_s,
            idle_w=idle_w,
            gpu_count=phase.gpu_count,
        )
    if measurement.transfer is not None:
        yield _part(
            measurement.transfer.energy,
            scenario,
            duration_s=measurement.transfer.exposed_s,
            powered=sum(phase.gpu_count for phase in phases),
            busy_s=0.0,
            idle_w=0.0,
            gpu_count=0,
        )


def _summed(
    parts: Sequence[_Part],
    embodied_g: Sequence[tuple[float, float, float]],
    scenario: Scenario,
    units: float,
    unit: FunctionalUnit,
) -> Footprint:
    """Low, value and high grams of all `parts`, and of all devices in `embodied_g`, over `units`."""
    low_g, value_g, high_g = (
        sum(grams) / units for grams in zip(*(_operational_g(part, scenario) for part in parts), strict=True)
    )
    em_low_g, em_g, em_high_g = (sum(grams) / units for grams in zip(*embodied_g, strict=True))
    return Footprint(
        operational_g=value_g,
        operational_low_g=low_g,
        operational_high_g=high_g,
        embodied_g=em_g,
        embodied_low_g=em_low_g,
        embodied_high_g=em_high_g,
        functional_unit=unit,
        assumed=any(part.assumed for part in parts),
    )


def _part(
    energy: Energy | None,
    scenario: Scenario,
    *,
    duration_s: float,
    powered: int,
    busy_s: float,
    idle_w: float | None,
    gpu_count: int,
) -> _Part:
    """With assumed joules, if the meter's are missing and the scenario assumes a power for `powered` devices."""
    if energy is not None:
        low_j, joules, high_j = energy.low_j, energy.joules, energy.high_j
    elif scenario.assumed_power_w is not None:
        low_j = joules = high_j = scenario.assumed_power_w * powered * duration_s
    else:
        raise EnergyUnknown(
            "this measurement has no energy, so it has no carbon price: measure on a GPU with an energy counter, "
            "or state the mean power per device with --assume-power-w W"
        )
    return _Part(
        low_j=low_j,
        joules=joules,
        high_j=high_j,
        assumed=energy is None,
        busy_s=busy_s,
        idle_w=idle_w,
        gpu_count=gpu_count,
    )


def _operational_g(part: _Part, scenario: Scenario) -> tuple[float, float, float]:
    """Low, value and high grams; idle and host energy have no interval of their own."""
    low_g, value_g, high_g = (
        batch_operational_g(
            energy_j=joules, busy_s=part.busy_s, idle_w=part.idle_w, gpu_count=part.gpu_count, scenario=scenario
        )
        for joules in (part.low_j, part.joules, part.high_j)
    )
    return low_g, value_g, high_g


def _embodied_g(measurement: Measurement, scenario: Scenario) -> Iterator[tuple[float, float, float]]:
    """Low, value and high grams of each phase; the range is over every preset that knows its device."""
    for phase in (measurement.prefill, measurement.decode):
        low_kg, high_kg = embodied_range(phase.gpu)
        share = share_left(phase.gpu, scenario)
        low_g, value_g, high_g = (
            batch_embodied_g(
                embodied_kg=kg * share, busy_s=phase.occupied_s, gpu_count=phase.gpu_count, scenario=scenario
            )
            for kg in (low_kg, embodied_carbon(phase.gpu, scenario.embodied).kg, high_kg)
        )
        yield low_g, value_g, high_g


def idle_w_of_phases(measurement: Measurement, scenario: Scenario) -> tuple[float | None, float | None]:
    """Idle watts of the devices each phase occupied.

    One set of devices runs both phases, and each then counts all of `idle_w`. In a split, where there is a hand-over,
    `idle_w` is over both sets, and falls to them in proportion to their kinds' idle power.
    """
    phases = (measurement.prefill, measurement.decode)
    if measurement.idle_w is None or scenario.utilisation == 1 or not _is_split(measurement):
        return measurement.idle_w, measurement.idle_w
    weights = [_fact_idle_w(phase) for phase in phases]
    prefill_w, decode_w = (measurement.idle_w * weight / sum(weights) for weight in weights)
    return prefill_w, decode_w


def _is_split(measurement: Measurement) -> bool:
    return measurement.transfer is not None or measurement.prefill.gpu != measurement.decode.gpu


def _fact_idle_w(phase: PhaseMeasurement) -> float:
    if phase.gpu == facts.CPU:
        raise BadInput("a split placement with the CPU has no idle power to charge at a utilisation below 1")
    return facts.gpu(phase.gpu).idle_w * phase.gpu_count
