"""A measurement and a scenario to grams per functional unit: HotCarbon'24, Equation 4, summed over the phases.

Each phase is priced on the devices it occupied, so a measurement whose phases ran on different GPUs needs no second
path. The two `batch_` functions are the arithmetic; they also price whole arrays of configurations at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from carbonsweep.carbon.embodied import amortised_g, embodied_carbon, embodied_range
from carbonsweep.carbon.load import idle_w_of_phases, load_of
from carbonsweep.carbon.operational import Quantity, idle_energy_j, operational_g
from carbonsweep.carbon.write_off import share_left
from carbonsweep.domain import Energy, Footprint, FunctionalUnit, Measurement, Scenario
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.units import TOKENS_PER_KILO


def footprint(measurement: Measurement, scenario: Scenario) -> Footprint:
    """Grams per functional unit of `scenario`.

    Raises EnergyUnknown where a phase has no joules and the scenario assumes no power, or devices wait (`load`) and
    their idle power is unknown; BadInput where no carbon intensity is set.
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


def embodied_share(priced: Footprint) -> float | None:
    """Embodied over total carbon, 0 to 1; None where there is no carbon to share."""
    return priced.embodied_g / priced.total_g if priced.total_g > 0 else None


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
    """Joules of one batch over all its devices, idle ones included where they wait; the host's are no part of it.

    Assumed where the scenario assumes them. Raises EnergyUnknown as `footprint`.
    """
    return sum(
        served_energy_j(energy_j=part.joules, busy_s=part.busy_s, idle_w=part.idle_w, utilisation=part.utilisation)
        for part in _parts(measurement, scenario)
    )


def served_energy_j(
    *, energy_j: Quantity, busy_s: Quantity, idle_w: Quantity | float | None, utilisation: Quantity | float
) -> Quantity:
    """Joules of a batch and of the wait that falls on it; `energy_j` and `idle_w` over all devices. Elementwise.

    Raises EnergyUnknown where they wait (utilisation below 1) and `idle_w` is None.
    """
    if isinstance(utilisation, float | int) and utilisation == 1:
        return energy_j
    if idle_w is None:
        raise EnergyUnknown(
            f"utilisation {utilisation:.3g} charges idle energy, and the idle power of this device is unknown"
        )
    return energy_j + idle_energy_j(idle_w, busy_s, utilisation)


def batch_operational_g(
    *,
    energy_j: Quantity,
    busy_s: Quantity,
    idle_w: Quantity | float | None,
    gpu_count: Quantity | float,
    utilisation: Quantity | float,
    scenario: Scenario,
) -> Quantity:
    """Grams of running a batch: its devices' joules, their idle joules where u < 1, and the host's. Elementwise.

    `utilisation` is u of the devices under this scenario (`carbon.load`), `energy_j` and `idle_w` are over all of them;
    the host share is per device and runs busy or not, hence busy / u. Raises EnergyUnknown as `served_energy_j`,
    BadInput where the scenario names no carbon intensity.
    """
    if scenario.intensity is None:
        raise BadInput("grams need a carbon intensity: name a --region, or give --carbon-intensity-g-per-kwh")
    served_j = served_energy_j(energy_j=energy_j, busy_s=busy_s, idle_w=idle_w, utilisation=utilisation)
    host_j = busy_s * gpu_count * (scenario.host_power_w / utilisation)
    return operational_g(served_j + host_j, scenario.intensity.g_per_kwh, scenario.pue)


def batch_embodied_g(
    *,
    embodied_kg: Quantity | float,
    busy_s: Quantity,
    gpu_count: Quantity | float,
    utilisation: Quantity | float,
    scenario: Scenario,
) -> Quantity:
    """Grams of making the devices, by the time a batch occupies them. Elementwise.

    `embodied_kg` is what is charged for one device: in a second life, its share left (`write_off.charged_kg`);
    `utilisation` is as in `batch_operational_g`.
    """
    device_kg = embodied_kg + scenario.host_embodied_kg
    return amortised_g(device_kg, busy_s * gpu_count, scenario.lifetime_s, utilisation)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What costs energy in a batch: a phase, or the hand-over, which occupies nothing beyond the phases.

    `utilisation` is that of its devices.
    """

    low_j: float
    joules: float
    high_j: float
    assumed: bool
    busy_s: float
    idle_w: float | None
    gpu_count: int
    utilisation: float


def _parts(measurement: Measurement, scenario: Scenario) -> Iterator[_Part]:
    phases, loaded = (measurement.prefill, measurement.decode), load_of(measurement, scenario)
    idle = idle_w_of_phases(measurement, scenario)
    for phase, idle_w, utilisation in zip(phases, idle, (loaded.prefill, loaded.decode), strict=True):
        yield _part(
            phase.energy,
            scenario,
            duration_s=phase.occupied_s,
            powered=phase.gpu_count,
            busy_s=phase.occupied_s,
            idle_w=idle_w,
            gpu_count=phase.gpu_count,
            utilisation=utilisation,
        )
    if measurement.transfer is not None and not measurement.transfer.is_free:
        yield _part(
            measurement.transfer.energy,
            scenario,
            duration_s=measurement.transfer.exposed_s,
            powered=sum(phase.gpu_count for phase in phases),
            busy_s=0.0,
            idle_w=0.0,
            gpu_count=0,
            utilisation=1.0,
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
    utilisation: float,
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
        utilisation=utilisation,
    )


def _operational_g(part: _Part, scenario: Scenario) -> tuple[float, float, float]:
    """Low, value and high grams; idle and host energy have no interval of their own."""
    low_g, value_g, high_g = (
        batch_operational_g(
            energy_j=joules,
            busy_s=part.busy_s,
            idle_w=part.idle_w,
            gpu_count=part.gpu_count,
            utilisation=part.utilisation,
            scenario=scenario,
        )
        for joules in (part.low_j, part.joules, part.high_j)
    )
    return low_g, value_g, high_g


def _embodied_g(measurement: Measurement, scenario: Scenario) -> Iterator[tuple[float, float, float]]:
    """Low, value and high grams of each phase; the range is over every preset that knows its device."""
    loaded = load_of(measurement, scenario)
    for phase, utilisation in ((measurement.prefill, loaded.prefill), (measurement.decode, loaded.decode)):
        low_kg, high_kg = embodied_range(phase.gpu)
        share = share_left(phase.gpu, scenario)
        low_g, value_g, high_g = (
            batch_embodied_g(
                embodied_kg=kg * share,
                busy_s=phase.occupied_s,
                gpu_count=phase.gpu_count,
                utilisation=utilisation,
                scenario=scenario,
            )
            for kg in (low_kg, embodied_carbon(phase.gpu, scenario.embodied).kg, high_kg)
        )
        yield low_g, value_g, high_g
