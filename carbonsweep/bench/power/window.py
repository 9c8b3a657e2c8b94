"""Energy of a stretch of time, worked out afterwards from what a polled instrument showed.

A counter that refreshes shows, between two ticks, the joules up to the last one. Energy only grows, so whatever the
power did, E(t) lies between the last value surely ticked before t and the first surely ticked after it: that is the
bound, and it holds for every waveform. Inside it, E(t) is interpolated between the observed ticks.

Power is integrated by the trapezoid rule over what the sensor showed at its own ticks, at real timestamps, with a
sample before and one after the stretch. Its interval takes power for monotone between samples; where it is not, the
aliasing check of `gates.py` fires and the interval is withdrawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.bench.power.trace import Array, Trace

Span = tuple[float, float]
"""Begin and end on the clock of the trace, seconds."""

LEAST_TICKS: Final = 4
"""Intervals between ticks that a refresh period is taken from; fewer say nothing."""


SLOWEST_SENSOR_S: Final = 0.3
"""A power sensor without a counter beside it refreshes at least this often: 100 ms is the slowest that is known."""


class NotCovered(ValueError):
    """The readings do not bracket a stretch of time, or cannot be trusted there; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joules:
    """An estimate and the interval around it."""

    joules: float
    low_j: float
    high_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A quantity at its sensor's own ticks: `times_s` increasing, `values` at those times.

    `period_s` is the distance of its samples, None where it is unknown.
    """

    times_s: Array
    values: Array
    period_s: float | None = None

    def within(self, span: Span) -> Steps:
        """Those ticks that lie in `span`."""
        inside = (self.times_s >= span[0]) & (self.times_s <= span[1])
        return Steps(times_s=self.times_s[inside], values=self.values[inside], period_s=self.period_s)


def ticks(taken_s: Array, values: Array) -> Steps:
    """Where the shown value changed, halfway between the last reading of the old value and the first of the new."""
    known = ~np.isnan(values)
    times_s, shown = taken_s[known], values[known]
    changed = np.flatnonzero(np.diff(shown) != 0)
    return Steps(times_s=(times_s[changed] + times_s[changed + 1]) / 2, values=shown[changed + 1])


def refresh_s(seen: Trace) -> float | None:
    """The counter's refresh period, seconds, from the distances of its ticks; None with too few of them.

    A counter polled more slowly than it ticks seems to refresh at the pace of the polls, an upper bound.
    """
    gaps_s = np.diff(ticks(seen.taken_s, seen.counter_j).times_s)
    if len(gaps_s) < LEAST_TICKS:
        return None
    # Polls make single distances jitter, and a late one skips a tick: all time over all periods does not.
    periods = np.maximum(1, np.rint(gaps_s / float(np.median(gaps_s))))
    return float(np.sum(gaps_s) / np.sum(periods))


def counter_energy(seen: Trace, span: Span, *, step_j: float) -> Joules:
    """Joules of `span` by the counter; `step_j` is its resolution. Raises NotCovered."""
    known = ~np.isnan(seen.counter_j)
    asked_s, answered_s, shown_j = seen.asked_s[known], seen.answered_s[known], seen.counter_j[known]
    _refuse_reset(answered_s, asked_s, shown_j, span)
    steps = ticks((asked_s + answered_s) / 2, shown_j)
    low, high, estimate = [], [], []
    for edge_s in span:
        low_j, high_j = _surely(asked_s, answered_s, shown_j, edge_s, step_j)
        between = float(np.interp(edge_s, steps.times_s, steps.values)) if len(steps.times_s) else low_j
        low.append(low_j)
        high.append(high_j)
        estimate.append(min(max(between, low_j), high_j))
    return Joules(joules=estimate[1] - estimate[0], low_j=max(0.0, low[1] - high[0]), high_j=max(0.0, high[1] - low[0]))


def _refuse_reset(answered_s: Array, asked_s: Array, shown_j: Array, span: Span) -> None:
    """A counter that falls anywhere between the readings around `span` started anew."""
    first = max(0, int(np.searchsorted(answered_s, span[0], side="right")) - 1)
    last = int(np.searchsorted(asked_s, span[1], side="left")) + 1
    if np.any(np.diff(shown_j[first : last + 1]) < 0):
        raise NotCovered("the energy counter went backwards: it was reset inside a window")


def _surely(asked_s: Array, answered_s: Array, shown_j: Array, edge_s: float, step_j: float) -> tuple[float, float]:
    """The energy that had surely, and the energy that had at most, been counted at `edge_s`."""
    before = int(np.searchsorted(answered_s, edge_s, side="right")) - 1
    after = int(np.searchsorted(asked_s, edge_s, side="left"))
    if before < 0:
        raise NotCovered("no reading of the energy counter before a window")
    if after >= len(shown_j):
        raise NotCovered("no reading of the energy counter after a window")
    # The value shown first after the edge may have ticked before it; the one after that has not.
    later = np.flatnonzero(shown_j[after:] > shown_j[after])
    if not len(later):
        raise NotCovered("the energy counter stood still after a window")
    return float(shown_j[before]), float(shown_j[after + later[0]]) + step_j


def power_steps(seen: Trace, *, lag_s: float, refresh_s: float | None) -> Steps:
    """Power at the sensor's ticks, shifted to the moments it stands for.

    Polls closer than the refresh period see a value held; each tick is one sample, and a value that did not change is
    a sample at every tick. Polls further apart, or a period nobody knows, are samples as they are.
    """
    known = ~np.isnan(seen.power_w)
    times_s, shown_w = seen.taken_s[known] - lag_s, seen.power_w[known]
    if len(times_s) < 2:
        return Steps(times_s=times_s, values=shown_w)
    period_s = _sensor_period_s(times_s, shown_w, refresh_s)
    polled_s = float(np.median(np.diff(times_s)))
    if period_s is None or polled_s > 0.75 * period_s:
        return Steps(
            times_s=times_s, values=shown_w, period_s=polled_s if period_s is None else max(polled_s, period_s)
        )
    changes = ticks(times_s, shown_w)
    at_s = np.concatenate(([times_s[0]], changes.times_s, [times_s[-1]]))
    watts = np.concatenate(([shown_w[0]], changes.values, [shown_w[-1]]))
    # Held over several ticks: the old value was still there one period before it changed.
    held = np.flatnonzero(np.diff(at_s) > 1.5 * period_s)
    held = held[held < len(at_s) - 2]
    return Steps(
        times_s=np.insert(at_s, held + 1, at_s[held + 1] - period_s),
        values=np.insert(watts, held + 1, watts[held]),
        period_s=period_s,
    )


def _sensor_period_s(times_s: Array, shown_w: Array, refresh_s: float | None) -> float | None:
    """The power sensor's own refresh period where its changes show one, else the counter's.

    It may be shorter than the counter's or longer; changes further apart than any sensor's are the work's.
    """
    gaps_s = np.diff(ticks(times_s, shown_w).times_s)
    if len(gaps_s) < LEAST_TICKS:
        return refresh_s
    shortest_s = float(np.quantile(gaps_s, 0.1))
    return shortest_s if shortest_s < max(SLOWEST_SENSOR_S, 2 * (refresh_s or 0.0)) else refresh_s


def power_energy(steps: Steps, span: Span, *, lag_s: float = 0.0) -> Joules:
    """Joules of `span` by the trapezoid rule. Raises NotCovered where no sample lies before it and one after it.

    An averaged power (`lag_s` is half the averaging time) smears both edges: a step of D watts right there moves
    lag_s D / 4 joules across, so the interval is widened by that much of all that is seen around the span.
    """
    times_s, watts = steps.times_s, steps.values
    if not len(times_s) or times_s[0] > span[0] or times_s[-1] < span[1]:
        raise NotCovered("the power samples do not bracket a window")
    inside = (times_s > span[0]) & (times_s < span[1])
    at_s = np.concatenate(([span[0]], times_s[inside], [span[1]]))
    power_w = np.interp(at_s, times_s, watts)
    long_s = np.diff(at_s)
    around = watts[(times_s >= span[0] - 2 * lag_s) & (times_s <= span[1] + 2 * lag_s)]
    smeared_j = 2 * lag_s / 4 * float(np.ptp(around)) if lag_s and len(around) else 0.0
    return Joules(
        joules=float(np.sum((power_w[1:] + power_w[:-1]) / 2 * long_s)),
        low_j=max(0.0, float(np.sum(np.minimum(power_w[1:], power_w[:-1]) * long_s)) - smeared_j),
        high_j=float(np.sum(np.maximum(power_w[1:], power_w[:-1]) * long_s)) + smeared_j,
    )


def total(parts: Sequence[Joules]) -> Joules:
    """The sum. Bounds of few parts add up, since errors may all agree in sign; see `combined` for many."""
    joules = sum(part.joules for part in parts)
    return Joules(
        joules=joules,
        low_j=max(0.0, joules - combined([part.joules - part.low_j for part in parts])),
        high_j=joules + combined([part.high_j - part.joules for part in parts]),
    )


def combined(errors: Sequence[float]) -> float:
    """Bound of a sum of errors, each within plus or minus its own bound: they add up, or, of many, the 95 % bound of
    independent ones of unknown distribution. Where an edge falls between two ticks has nothing to do with the next.

    Source: Hoeffding 1963, theorem 2: P(|sum| >= t) <= 2 exp(-t^2 / (2 sum of squares)); 5 % gives t = 2.716 sqrt(...).
    """
    return min(sum(errors), math.sqrt(2 * math.log(2 / 0.05) * sum(error * error for error in errors)))
