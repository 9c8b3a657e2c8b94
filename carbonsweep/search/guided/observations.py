"""What records say of the guidance: how far off it was, in logarithms, and how well each measurement knows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.domain import Measurement, PhaseMeasurement
from carbonsweep.search.guided.guidance import Guidance

OUTPUTS: Final = ("prefill_s", "decode_s", "prefill_w", "decode_w", "idle_w")
"""What is corrected: fields of `Guidance`, each with an error."""
IN_95: Final = 1.96
"""Half of a 95 % interval, in standard deviations."""
NOISE_FLOOR: Final = 0.003
"""Nothing is measured better than this, relative: clocks, heat, and intervals taken from few repeats."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Where something is known (indices into the configurations), log(measured / guidance), and its noise."""

    index: NDArray[np.intp]
    log_ratio: Array
    noise: Array  # standard deviations of the logarithm


def observed(
    output: str, guidance: Guidance, measured: Mapping[int, Measurement], assumed_power_w: float | None = None
) -> Observed:
    """What `measured` (by index of configuration) says of one output; of unknown energy nothing.

    Where a scenario assumes a power per device for energy that no meter read, that is the power to expect.
    """
    rows = [(i, *found) for i, m in measured.items() if (found := _found(output, m, assumed_power_w)) is not None]
    index = np.array([i for i, _, _ in rows], dtype=np.intp)
    values = np.array([value for _, value, _ in rows], dtype=float)
    noise = np.array([noise for _, _, noise in rows], dtype=float)
    return Observed(index, np.log(values) - np.log(getattr(guidance, output)[index]), np.maximum(noise, NOISE_FLOOR))


def monotone(
    output: str, guidance: Guidance, group: NDArray[np.intp], batch: Array, measured: Mapping[int, Measurement]
) -> tuple[Array, Array]:
    """Least and largest log(true / guidance) of every configuration, given those measured; -inf and inf: no bound.

    A larger batch of the same `group` never takes less time: every sequence adds work. That holds of seconds, and to
    the noise of each measurement.
    """
    low, high = np.full(len(guidance), -np.inf), np.full(len(guidance), np.inf)
    if not output.endswith("_s"):
        return low, high
    told = observed(output, guidance, measured)
    predicted = np.log(getattr(guidance, output), where=guidance.supported, out=np.zeros(len(guidance)))
    for i, log_ratio, noise in zip(told.index, told.log_ratio, told.noise, strict=True):
        alike, seconds = group == group[i], predicted[i] + log_ratio
        larger, smaller = alike & (batch > batch[i]), alike & (batch < batch[i])
        low[larger] = np.maximum(low[larger], seconds - IN_95 * noise - predicted[larger])
        high[smaller] = np.minimum(high[smaller], seconds + IN_95 * noise - predicted[smaller])
    # Where rows contradict each other, neither bound is believed.
    believed = low <= high
    return np.where(believed, low, -np.inf), np.where(believed, high, np.inf)


def _found(output: str, measurement: Measurement, assumed_power_w: float | None) -> tuple[float, float] | None:
    """Value and noise of one output; None where it is unknown."""
    if output == "idle_w":
        return None if measurement.idle_w is None else (measurement.idle_w, 0.0)
    phase = measurement.prefill if output.startswith("prefill") else measurement.decode
    if output.endswith("_s"):
        return phase.duration_s, _noise(phase, phase.duration_low_s, phase.duration_s, phase.duration_high_s)
    if phase.energy is None:
        return None if assumed_power_w is None else (assumed_power_w * phase.gpu_count, 0.0)
    energy = phase.energy
    # The window of the joules is that of the seconds: their noise holds that of the duration, and power's is no larger.
    return energy.joules / phase.duration_s, _noise(phase, energy.low_j, energy.joules, energy.high_j)


def _noise(phase: PhaseMeasurement, low: float, value: float, high: float) -> float:
    """Standard deviation of the logarithm; a model's interval is its error, which no repetition would show."""
    return 0.0 if phase.repeats == 0 else math.log1p((high - low) / 2 / value) / IN_95
