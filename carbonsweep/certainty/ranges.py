"""Who is best over the whole embodied range, from the lowest of all presets to the highest, in closed form.

A loss is linear in the kilograms, so along the range the best is the lower envelope of straight lines: the places where
it changes are exact. Nothing is drawn here; seconds and joules are those that were found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.embodied import embodied_range
from carbonsweep.certainty.contenders import Contenders
from carbonsweep.certainty.pricing import nominal, value, within_limits
from carbonsweep.certainty.sources import shares
from carbonsweep.domain import Configuration
from carbonsweep.search.objectives import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the range, 0 for the lowest to 1 for the highest, and the configuration that is best on it."""

    start: float
    end: float
    configuration: Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbodiedRange:
    """Who is best where all kinds of device stand at the same place of their ranges (kg of making one device).

    `best_gpu` is the kind of the answer's best, `against_it` the best where that kind stands at its highest and every
    other at its lowest.
    """

    kg: dict[str, tuple[float, float]]
    best_gpu: str
    stretches: tuple[Stretch, ...]
    against_it: Configuration

    @property
    def held(self) -> tuple[tuple[float, float], ...]:
        """The parts on which the best's kind of device is best, neighbours joined."""
        parts: list[tuple[float, float]] = []
        for each in self.stretches:
            if each.configuration.gpu != self.best_gpu:
                continue
            if parts and parts[-1][1] == each.start:
                parts[-1] = (parts[-1][0], each.end)
            else:
                parts.append((each.start, each.end))
        return tuple(parts)

    @property
    def holds(self) -> bool:
        """Whether the best's kind of device is best everywhere."""
        return self.held == ((0.0, 1.0),)


def embodied_range_view(contenders: Contenders, question: Question) -> EmbodiedRange | None:
    """None where only one kind of device meets the limits: then nothing can change."""
    found, scenario = nominal(contenders), question.scenario
    met = within_limits(contenders, found, question.slo)[0]
    kinds = {contenders.points.gpu.at(int(i)) for i in np.flatnonzero(met)}
    if len(kinds) < 2:
        return None
    ranges = np.array([embodied_range(gpu) for gpu in contenders.gpus])  # (kinds, 2)
    ends = ranges.T * shares(contenders.gpus, scenario)  # (low and high, kinds)

    def losses(kg: Array) -> Array:
        made = value(contenders, found, question.objectives[0], scenario, kg)
        return np.where(met, question.objectives[0].sign * made, np.inf)

    at_ends = losses(ends)
    best_gpu = contenders.points.gpu.at(0)
    is_best = np.array([gpu == best_gpu for gpu in contenders.gpus])
    against = int(losses(np.where(is_best, ends[1], ends[0])[None, :])[0].argmin())
    return EmbodiedRange(
        kg={gpu: (float(low), float(high)) for gpu, (low, high) in zip(contenders.gpus, ranges, strict=True)},
        best_gpu=best_gpu,
        stretches=tuple(
            Stretch(start=start, end=end, configuration=contenders.configuration(i))
            for start, end, i in lower_envelope(at_ends[0], at_ends[1])
        ),
        against_it=contenders.configuration(against),
    )


def lower_envelope(at_start: Array, at_end: Array) -> list[tuple[float, float, int]]:
    """Parts of 0..1 and the line that is lowest on each, of lines given by their values at 0 and at 1.

    Lines that are never lowest may be infinite. Of equal lines the first.
    """
    with np.errstate(invalid="ignore"):
        slopes = at_end - at_start
    now, place = 0.0, int(np.lexsort((slopes, at_start))[0])
    parts: list[tuple[float, float, int]] = []
    while True:
        lower = np.flatnonzero(np.isfinite(at_start) & (slopes < slopes[place]))
        # a + b t crosses c + d t at t = (c - a) / (b - d); only steeper descents can cross from above.
        crossings = (at_start[lower] - at_start[place]) / (slopes[place] - slopes[lower])
        end = float(crossings.min()) if len(lower) else 1.0
        if end >= 1.0:
            return [*parts, (now, 1.0, place)]
        if end > now:
            parts.append((now, end, place))
        at_crossing = lower[crossings == end]
        now, place = end, int(at_crossing[np.argmin(slopes[at_crossing])])
