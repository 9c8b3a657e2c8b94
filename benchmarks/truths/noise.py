"""Noise and errors on measurements: phase times and powers multiplied, seeded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.truths.replay import Outcome, Outcomes
from carbonsweep.domain import Configuration, Measurement, PhaseMeasurement

Array = NDArray[np.float64]

NOISE: Final = 0.03
"""Relative standard deviation of one measurement of a phase's time, and of its power."""
HALF_WIDTH: Final = 1.96 * NOISE


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """What multiplies time and power of each phase."""

    prefill_time: float
    prefill_power: float
    decode_time: float
    decode_power: float

    def __mul__(self, other: Factors) -> Factors:
        pairs = ((f.name, getattr(self, f.name) * getattr(other, f.name)) for f in dataclasses.fields(self))
        return Factors(**dict(pairs))


def factors(values: Array) -> Factors:
    """Of values in the order of the fields, shape (4,)."""
    prefill_time, prefill_power, decode_time, decode_power = values.tolist()
    return Factors(
        prefill_time=prefill_time, prefill_power=prefill_power, decode_time=decode_time, decode_power=decode_power
    )


def multiplied(measurement: Measurement, factors: Factors, *, half_width: float, repeats: int) -> Measurement:
    """`measurement` with other times and powers; its 95 % intervals are `half_width` of each factor to both sides.

    Energy is a product of two of them: its interval is root two wider.
    """
    return dataclasses.replace(
        measurement,
        prefill=_phase(measurement.prefill, factors.prefill_time, factors.prefill_power, half_width, repeats),
        decode=_phase(measurement.decode, factors.decode_time, factors.decode_power, half_width, repeats),
    )


def noisy(outcomes: Outcomes, configurations: Sequence[Configuration], seed: int) -> dict[Configuration, Outcome]:
    """What one trial of each reports: every phase's time and power off by 3 %, each by itself; refusals as they are.

    As of one run on a stand-in for the device: rehearsed, where without the noise they were modelled.
    """
    drawn = np.random.default_rng([seed, 3]).standard_normal((len(configurations), 4))
    found: dict[Configuration, Outcome] = {}
    for configuration, scores in zip(configurations, drawn, strict=True):
        outcome = outcomes[configuration]
        if isinstance(outcome, Measurement):
            run = multiplied(outcome, factors(1 + NOISE * scores), half_width=HALF_WIDTH, repeats=1)
            outcome = dataclasses.replace(run, basis="rehearsed", error_source="of the noise that was drawn")
        found[configuration] = outcome
    return found


def _phase(phase: PhaseMeasurement, time: float, power: float, half_width: float, repeats: int) -> PhaseMeasurement:
    duration_s, energy = phase.duration_s * time, phase.energy
    if energy is not None:
        joules, wide = energy.joules * time * power, np.sqrt(2) * half_width
        energy = dataclasses.replace(energy, joules=joules, low_j=joules * (1 - wide), high_j=joules * (1 + wide))
    return dataclasses.replace(
        phase,
        duration_s=duration_s,
        duration_low_s=duration_s * (1 - half_width),
        duration_high_s=duration_s * (1 + half_width),
        repeats=repeats,
        occupied_s=duration_s,
        energy=energy,
    )
