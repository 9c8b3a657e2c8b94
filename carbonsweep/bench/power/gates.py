"""Validity checks of one energy window. A failed one marks the window with a sentence; it drops nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from carbonsweep.bench.power.trace import Array, Trace
from carbonsweep.bench.power.window import Joules, Span, Steps, ticks
from carbonsweep.shares import percent, signed_percent

LARGE_MOVE: Final = 0.1
"""A step of power from one sample to the next that counts as a move, relative to the mean."""
FASTEST_PERIOD: Final = 10
"""Refresh periods in the fastest oscillation that trapezoids over samples are believed for."""
TICK_DISAGREEMENT: Final = 0.05
"""Median, over ticks, of what counter and samples differ by, relative to the mean power."""
DISAGREEMENT: Final = 0.02
"""Of counter and integrated power over a window. Zeus sees up to 1 % under load (ml-energy/zeus #12) and 40 % on idle
boards (#181)."""
FROZEN_PERIODS: Final = 5
GAP_PERIODS: Final = 5
ABOVE_CAP: Final = 1.1
"""ml-energy/benchmark, scripts/validate_results.py: more than 1.1 x TDP is no power of that board."""


def aliasing(power: Steps, seen: Trace, span: Span, refresh_s: float | None) -> str | None:
    """Whether power moves too fast for its samples: up and down in fewer than 10 of their periods, or tick by tick
    other than the counter says (an oscillation as fast as the sensor, or faster, looks constant to it).

    `refresh_s` is the counter's; without one the second cannot be seen.
    """
    inside = power.within(span)
    period = _period_s(inside)
    if period is not None and power.period_s is not None and period < 0.97 * FASTEST_PERIOD * power.period_s:
        return f"aliasing: power swings every {period:.3g} s and is sampled every {power.period_s:.3g} s"
    if refresh_s is None:
        return None
    apart = _apart(power, ticks(seen.taken_s, seen.counter_j).within(span), refresh_s)
    if apart is not None and apart > TICK_DISAGREEMENT:
        return f"aliasing: samples and counter differ by {percent(apart)} from tick to tick (median)"
    return None


def _period_s(power: Steps) -> float | None:
    """Mean period of the swings: twice the distance of reversals among large moves; None with fewer than 4."""
    if len(power.values) < 3:
        return None
    moves = np.diff(power.values)
    large = np.flatnonzero(np.abs(moves) > LARGE_MOVE * float(np.mean(power.values)))
    turned = large[1:][np.sign(moves[large[1:]]) != np.sign(moves[large[:-1]])]
    if len(turned) < 4:
        return None
    at_s = power.times_s[turned]
    return 2 * float(at_s[-1] - at_s[0]) / (len(turned) - 1)


def _apart(power: Steps, counted: Steps, refresh_s: float) -> float | None:
    """Median relative difference between mean counted power and mean sampled power, tick by tick."""
    if len(counted.values) < 3:
        return None
    # Observed ticks jitter by the polls; how many periods lie between two of them does not.
    periods = np.maximum(1, np.rint(np.diff(counted.times_s) / refresh_s))
    counted_w = np.diff(counted.values) / (periods * refresh_s)
    at_w = np.interp(counted.times_s, power.times_s, power.values)
    sampled_w = (at_w[1:] + at_w[:-1]) / 2
    return float(np.median(np.abs(counted_w - sampled_w)) / np.mean(counted_w))


def disagreement(counter: Joules, power: Joules) -> str | None:
    """Whether both meters contradict each other."""
    apart = power.joules / counter.joules - 1 if counter.joules > 0 else np.inf
    if abs(apart) <= DISAGREEMENT:
        return None
    return f"disagreement: integrated power is {signed_percent(apart)} of the counter's joules"


def gap(seen: Trace, span: Span, longest_s: float) -> str | None:
    """Whether readings were missing for longer than `longest_s` seconds."""
    around = seen.taken_s[(seen.answered_s >= span[0]) & (seen.asked_s <= span[1])]
    at_s = np.concatenate(([span[0]], around, [span[1]]))
    widest = float(np.max(np.diff(at_s)))
    return f"gap: no reading for {widest:.3g} s" if widest > longest_s else None


def frozen(seen: Trace, span: Span, refresh_s: float | None) -> str | None:
    """Whether the counter, or without one the power, stood still while it was read."""
    inside = (seen.asked_s >= span[0]) & (seen.answered_s <= span[1])
    if not np.all(np.isnan(seen.counter_j)):
        still_s = _still_s(seen.taken_s[inside], seen.counter_j[inside], refresh_s)
        if refresh_s is None or still_s <= FROZEN_PERIODS * refresh_s:
            return None
        return f"frozen: the counter stood still for {still_s:.3g} s"
    shown = seen.power_w[inside]
    if len(shown) > FROZEN_PERIODS and float(np.ptp(shown)) == 0:
        return f"frozen: {len(shown)} power samples are exactly the same"
    return None


def _still_s(at_s: Array, values: Array, refresh_s: float | None) -> float:
    """The longest stretch in which readings close to one another show the same value."""
    apart_s = np.diff(at_s)
    moved = (np.diff(values) != 0) | (apart_s > 2 * (refresh_s or np.inf))
    passed_s = np.cumsum(apart_s)
    return float(np.max(passed_s - np.maximum.accumulate(np.where(moved, passed_s, 0.0)), initial=0.0))


def above_cap(mean_w: float, cap_w: float | None) -> str | None:
    """Whether the mean power is more than the board is allowed."""
    if cap_w is None or mean_w <= ABOVE_CAP * cap_w:
        return None
    return f"power above cap: {mean_w:.4g} W in the mean, the cap is {cap_w:g} W"


def short(found: Joules, bound: float) -> str | None:
    """Whether the window is too short for the bound that was asked for, a relative half-width."""
    half = (found.high_j - found.low_j) / 2 / found.joules if found.joules > 0 else np.inf
    # Where ticks and polls happen to fall may cost a third of it.
    return (
        f"short window: its bound is {percent(half, 1)}, asked for {percent(bound, 1)}" if half > 1.35 * bound else None
    )


def said(*checks: str | None) -> Iterator[str]:
    """Those that failed."""
    yield from (check for check in checks if check is not None)


def distinct(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Each sentence once, in order of appearance."""
    return tuple(dict.fromkeys(sentence for group in groups for sentence in group))
