"""Energy of a time window, from a counter that ticks: the difference of two readings, and how far off it can be.

A counter that refreshes every t_upd shows, at each edge of a window, a value at most t_upd old. Two edges, at mean
power P: |error| <= 2 t_upd P joules, hence 2 t_upd / T of the window's energy. Work is therefore repeated until the
window is long. Energy that could not be read is None with the reason beside it, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Protocol

from carbonsweep.domain import Energy, EnergyEstimate
from carbonsweep.errors import BenchError

COUNTER_REFRESH_S: Final = 0.1
"""Refresh period of NVML's energy counter. Source: ml-energy/zeus, skills/measuring-energy/SKILL.md, "roughly every
100 ms"; 10 ms was seen on one card, so the bound is a careful one."""

LEAST_WINDOW_S: Final = 20 * COUNTER_REFRESH_S
"""20 refresh periods: the bound is then at most 10 % of the window's energy."""

Clock = Callable[[], float]


class MeterError(BenchError):
    """A meter gave no reading; the message says why."""


class Meter(Protocol):
    """Anything that counts joules upwards: NVML's counter, or a script in a test."""

    @property
    def source(self) -> str:
        """Which meter this is ("nvml-counter"); part of a record's reuse key."""
        ...

    @property
    def semantics(self) -> str:
        """What its joules cover."""
        ...

    def read_j(self) -> float:
        """Joules since an arbitrary start. Raises MeterError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The same work done `runs` times, back to back; `joules` is of all runs, None where `flaw` says why."""

    runs: int
    duration_s: float
    joules: float | None
    flaw: str | None = None

    @property
    def run_s(self) -> float:
        """Seconds of one run."""
        return self.duration_s / self.runs


def window(work: Callable[[], None], *, meter: Meter | None, clock: Clock, least_s: float = LEAST_WINDOW_S) -> Window:
    """Do `work` once or, with a meter, again and again until `least_s` seconds have passed.

    `work` returns only when the device is done. The readings lie outside the timed stretch, so their own cost is in no
    duration.
    """
    begin_j = _reading(meter)
    begin_s = clock()
    work()
    end_s, runs = clock(), 1
    while meter is not None and end_s - begin_s < least_s:
        work()
        end_s, runs = clock(), runs + 1
    joules, flaw = _difference(begin_j, _reading(meter))
    return Window(runs=runs, duration_s=end_s - begin_s, joules=joules, flaw=flaw)


def phase_energy(windows: Sequence[Window], meter: Meter | None) -> tuple[Energy | None, tuple[str, ...]]:
    """Energy of one run, as the mean over `windows`, and the distinct reasons why it is unknown (then it is None).

    The interval is the worst case of the counter's refresh, averaged likewise: errors of windows may all agree in sign.
    """
    if meter is None:
        return None, ()
    known = [(each.joules / each.runs, each.run_s, each.runs) for each in windows if each.joules is not None]
    if len(known) < len(windows):
        return None, tuple(sorted({each.flaw for each in windows if each.flaw is not None}))
    run_j = fmean(joules for joules, _, _ in known)
    # Bound of one run: 2 t_upd P / runs, with P = joules / seconds.
    error_j = fmean(2 * COUNTER_REFRESH_S * (joules / run_s) / runs for joules, run_s, runs in known)
    estimate = EnergyEstimate(joules=run_j, source=meter.source, semantics=meter.semantics)
    energy = Energy(
        joules=run_j,
        low_j=max(0.0, run_j - error_j),
        high_j=run_j + error_j,
        source=meter.source,
        semantics=meter.semantics,
        estimates=(estimate,),
    )
    return energy, ()


def _reading(meter: Meter | None) -> float | str:
    """Joules, or why there are none."""
    if meter is None:
        return "no meter"
    try:
        return meter.read_j()
    except MeterError as failure:
        return str(failure)


def _difference(begin: float | str, end: float | str) -> tuple[float | None, str | None]:
    """Joules between two readings, or None and the reason."""
    if isinstance(begin, str):
        return None, begin
    if isinstance(end, str):
        return None, end
    if end < begin:
        return None, "the energy counter went backwards: it was reset inside a window"
    if end == begin:
        return None, "the energy counter did not advance inside a window"
    return end - begin, None
