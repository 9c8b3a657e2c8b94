"""Measurement noise: what of a value the repeats and the meter leave open, and whether it hides a difference.

A measured record holds 95 % intervals of the seconds and joules of both phases. Within a record their ends go together
(one meter, one machine: the wider choice, as in `Footprint`); two records are measured apart, so the half-widths that
face each other add in quadrature. A modelled record has the error of its model, which is systematic: no noise, and so
nothing here is said of it (`certainty` draws it).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Final, Literal

from carbonsweep.domain import Energy, Measurement, PhaseMeasurement, Scenario
from carbonsweep.search.objectives import Objective

LEAST_SHARE: Final = 0.01
"""The low end of a quantity is at least this share of it: a half-width near 100 % reaches 0, which takes no time."""

_End = Literal["low", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its 95 % interval `low..high` by measurement noise alone, in the unit of the value."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether there is one: a measured record without a spread in it (of one run) knows no noise."""
        return self.high > self.low


def has_noise(measurement: Measurement) -> bool:
    """Whether it was taken on a machine, the device itself or a stand-in: a model repeats itself exactly."""
    return measurement.basis != "modelled"


def objective_noise(objective: Objective, measurement: Measurement, scenario: Scenario) -> Interval:
    """The objective's value, and its values with every second and joule at the low, and at the high end.

    Devices are occupied longer where a phase lasts longer. Raises ValueError for a modelled measurement, EnergyUnknown
    and BadInput as `Objective.value`.
    """
    value = objective.value(measurement, scenario)
    ends = [objective.value(at_end(measurement, end), scenario) for end in ("low", "high")]
    return Interval(value=value, low=min(value, *ends), high=max(value, *ends))


def limit_noise(name: str, measurement: Measurement) -> Interval:
    """Likewise of a limited latency (`ttft_s`, `tpot_s`, `prompt_latency_s`), seconds."""
    value, low, high = (
        getattr(each, name) for each in (measurement, at_end(measurement, "low"), at_end(measurement, "high"))
    )
    return Interval(value=value, low=low, high=high)


def at_end(measurement: Measurement, end: _End) -> Measurement:
    """The measurement with every second and joule at that end of its 95 % interval. Raises ValueError for a model."""
    if not has_noise(measurement):
        raise ValueError(f"{measurement.bench} is a model: it has an error, and no measurement noise")
    transfer = measurement.transfer
    return dataclasses.replace(
        measurement,
        prefill=_phase_at(measurement.prefill, end),
        decode=_phase_at(measurement.decode, end),
        transfer=None if transfer is None else dataclasses.replace(transfer, energy=_energy_at(transfer.energy, end)),
    )


def is_hidden(best: Interval, other: Interval, sign: int) -> bool:
    """Whether noise hides that `best` is better; `sign` as of an objective.

    Errors are independent: the half-width of a difference is the root of the sum of squares, of the ends that face each
    other.
    """
    gap = sign * (other.value - best.value)
    if sign > 0:
        return gap <= math.hypot(best.high - best.value, other.value - other.low)
    return gap <= math.hypot(best.value - best.low, other.high - other.value)


def _phase_at(phase: PhaseMeasurement, end: _End) -> PhaseMeasurement:
    duration_s = {"low": max(phase.duration_low_s, LEAST_SHARE * phase.duration_s), "high": phase.duration_high_s}[end]
    return dataclasses.replace(
        phase,
        duration_s=duration_s,
        duration_low_s=duration_s,
        duration_high_s=duration_s,
        occupied_s=phase.occupied_s * duration_s / phase.duration_s,
        energy=_energy_at(phase.energy, end),
    )


def _energy_at(energy: Energy | None, end: _End) -> Energy | None:
    if energy is None:
        return None
    joules = {"low": max(energy.low_j, LEAST_SHARE * energy.joules), "high": energy.high_j}[end]
    return dataclasses.replace(energy, joules=joules, low_j=joules, high_j=joules)
