"""A meter: probes polled in a thread while work is done, and the energy of any stretch of that time.

Nothing is read at the edges of a window: work only notes the time, so measuring costs it two looks at a clock, and the
energies are worked out afterwards from the trace.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from carbonsweep.bench.power import gates
from carbonsweep.bench.power.meter import Phase
from carbonsweep.bench.power.trace import Clock, Instrument, MeterError, Probe, Row, Trace, poll, trace
from carbonsweep.bench.power.window import (
    Joules,
    NotCovered,
    Span,
    counter_energy,
    power_energy,
    power_steps,
    refresh_s,
    total,
)
from carbonsweep.evidence import Conditions, DeviceState, EnergyWindow, MeterReading

SLOWEST_POLL_S: Final = 0.05
FASTEST_POLL_S: Final = 0.005
POLLS_PER_REFRESH: Final = 8
"""A tick is then seen to a sixteenth of a period; a poll costs some 0.1 ms."""
SEARCH_POLL_S: Final = 0.001
LONGEST_SEARCH_S: Final = 2.5
"""Refresh periods from 10 ms (nvidia-ml-py's issue 18) to 100 ms (ml-energy/zeus) are known; 12 of the longest fit."""
SEARCHED_TICKS: Final = 12
SETTLE_PERIODS: Final = 2.2
UNKNOWN_REFRESH_S: Final = 0.1
"""Assumed where no counter shows its own. Source: ml-energy/zeus, skills/measuring-energy/SKILL.md."""
STATE_PERIOD_S: Final = 1.0
WINDOW_PERIODS: Final = 1.5
"""Half-width of a counter's bound, in refresh periods of mean power: 1 to 2, as ticks and polls happen to fall."""


@dataclass(slots=True)
class _Watched:
    """One probe and what it has shown."""

    probe: Probe
    counter: Instrument | None
    power: Instrument | None
    rows: list[Row] = field(default_factory=list)
    states: list[DeviceState] = field(default_factory=list)
    refresh_s: float | None = None
    lost: str | None = None

    def seen(self) -> Trace:
        return trace(self.rows[:])


@dataclass(slots=True)
class SampledMeter:
    """Polls `probes` (and `hosts`, whose joules are kept beside) while it is entered; windows lie in that time.

    `power_sampling_s` None: the counter is the figure, integrated power its check, and polls follow the refresh period
    found on each device. A number: power sampled at that period is the figure, as in the paper (0.1 s). `bound` is the
    relative half-width that windows are made long enough for.
    """

    probes: tuple[Probe, ...]
    hosts: tuple[Probe, ...] = ()
    power_sampling_s: float | None = None
    bound: float = 0.02
    clock: Clock = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    _watched: list[_Watched] = field(default_factory=list, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(probe.name for probe in self.probes)

    @property
    def refresh_s(self) -> float:
        known = [w.refresh_s for w in self._watched if w.refresh_s is not None and w.probe.name in self.devices]
        return max(known, default=UNKNOWN_REFRESH_S)

    @property
    def poll_s(self) -> float:
        if self.power_sampling_s is not None:
            return self.power_sampling_s
        return min(SLOWEST_POLL_S, max(FASTEST_POLL_S, self.refresh_s / POLLS_PER_REFRESH))

    @property
    def least_window_s(self) -> float:
        return WINDOW_PERIODS * max(self.refresh_s, self.power_sampling_s or 0.0) / self.bound

    def __enter__(self) -> SampledMeter:
        """Raises MeterError where a device has no instrument at all."""
        self.open()
        self._ended.clear()
        self._thread = threading.Thread(target=self._watch, name="carbonsweep-meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def open(self) -> None:
        """Find out what each device has and how often it refreshes; forget what was read before."""
        self._watched = [_Watched(probe, *probe.instruments()) for probe in (*self.probes, *self.hosts)]
        for watched in self._watched:
            watched.refresh_s = self._found_refresh_s(watched.probe)
        # A window may begin at once: there must be a tick before it, or its edge could not be interpolated.
        self.look(with_state=True)
        settled_s = self.clock() + SETTLE_PERIODS * self.refresh_s
        while self.clock() < settled_s:
            self.sleep(self.poll_s)
            self.look()

    def look(self, *, with_state: bool = False) -> None:
        """Read every device once."""
        for watched in self._watched:
            self._look(watched, with_state=with_state)

    def _found_refresh_s(self, probe: Probe) -> float | None:
        """The counter's period, by polling it as fast as may be until it has ticked a few times."""
        rows: list[Row] = []
        begin_s = self.clock()
        changed = 0
        while self.clock() - begin_s < LONGEST_SEARCH_S and changed < SEARCHED_TICKS:
            rows.append(poll(probe, self.clock))
            changed += len(rows) > 1 and rows[-1][2] != rows[-2][2] and rows[-1][2] == rows[-1][2]
            self.sleep(SEARCH_POLL_S)
        return refresh_s(trace(rows))

    def _watch(self) -> None:
        """The thread: every device at every poll, their states once a second."""
        next_state_s = self.clock()
        while not self._ended.is_set():
            begin_s = self.clock()
            self.look(with_state=begin_s >= next_state_s)
            if begin_s >= next_state_s:
                next_state_s = begin_s + STATE_PERIOD_S
            self._ended.wait(max(0.0, self.poll_s - (self.clock() - begin_s)))

    def _look(self, watched: _Watched, *, with_state: bool) -> None:
        """A device that gives no reading is asked again at the next poll: it may have been reset."""
        asked_s = self.clock()
        try:
            watched.rows.append(poll(watched.probe, self.clock))
            if with_state:
                _add_state(watched)
            watched.lost = None
        except Exception as error:
            # Whatever it was: a thread that dies in silence would look like a meter that froze.
            kind = "" if isinstance(error, MeterError) else f"{type(error).__name__}: "
            watched.lost = f"{kind}{error}"
            watched.rows.append((asked_s, self.clock(), math.nan, math.nan))

    def windows(self, phase: Phase, spans: Sequence[Span], runs: float) -> tuple[EnergyWindow, ...]:
        """One per device; a device that is lost, or does not answer, has a flaw instead of joules."""
        return tuple(self._window(watched, phase, spans, runs) for watched in self._watched)

    def _window(self, watched: _Watched, phase: Phase, spans: Sequence[Span], runs: float) -> EnergyWindow:
        self._wait(watched, max(end_s for _, end_s in spans))
        seen = watched.seen()
        duration_s = sum(end_s - begin_s for begin_s, end_s in spans)
        counter, counter_flaw = _counted(watched, seen, spans)
        power, power_flaw, aliased = _integrated(watched, seen, spans)
        checks = list(self._checks(watched, seen, spans))
        if counter is not None and power is not None:
            checks += gates.said(gates.disagreement(counter, power))
        if (main := power if self._by_power(watched) else counter) is not None:
            mean_w = main.joules / duration_s
            checks += gates.said(gates.above_cap(mean_w, watched.probe.power_cap_w), gates.short(main, self.bound))
        readings = [_reading(watched.counter, counter), _reading(watched.power, power, claimed=not aliased)]
        if self._by_power(watched):
            readings.reverse()
        flaw = watched.lost or (power_flaw if self._by_power(watched) else counter_flaw)
        return EnergyWindow(
            phase=phase,
            device=watched.probe.name,
            runs=runs,
            duration_s=duration_s,
            readings=tuple(reading for reading in readings if reading is not None),
            flaw=flaw if main is None else None,
            gates=gates.distinct([checks, aliased]),
        )

    def _by_power(self, watched: _Watched) -> bool:
        """Whether integrated power is the figure: asked for, or there is no counter. A counter that failed stays the
        figure, and the window has a flaw."""
        return self.power_sampling_s is not None or watched.counter is None

    def _checks(self, watched: _Watched, seen: Trace, spans: Sequence[Span]) -> list[str]:
        longest_s = gates.GAP_PERIODS * max(self.poll_s, (watched.refresh_s or 0.0) / 2)
        return [
            failed
            for span in spans
            for failed in gates.said(gates.gap(seen, span, longest_s), gates.frozen(seen, span, watched.refresh_s))
        ]

    def _wait(self, watched: _Watched, end_s: float) -> None:
        """Until the readings reach beyond `end_s`: two ticks for the counter, and the lag of averaged power."""
        period_s = watched.refresh_s or UNKNOWN_REFRESH_S
        lag_s = 0.0 if watched.power is None else watched.power.lag_s
        enough_s = end_s + 2.5 * period_s + 2 * self.poll_s + lag_s
        while watched.lost is None and self.clock() < enough_s:
            self.sleep(self.poll_s)

    def temperature_c(self) -> float | None:
        """Read now from the last state; hottest of the devices."""
        known = [w.states[-1].temperature_c for w in self._watched if w.states]
        return max((each for each in known if each is not None), default=None)

    def conditions(self) -> tuple[Conditions, ...]:
        """First and last state of each device, and what happened in between."""
        return tuple(_conditions(watched) for watched in self._watched if watched.states)


def _add_state(watched: _Watched) -> None:
    state = watched.probe.state()
    if state is not None:
        watched.states.append(state)


def _counted(watched: _Watched, seen: Trace, spans: Sequence[Span]) -> tuple[Joules | None, str | None]:
    if watched.counter is None:
        return None, "the device has no energy counter"
    try:
        return total([counter_energy(seen, span, step_j=watched.counter.step) for span in spans]), None
    except NotCovered as error:
        return None, str(error)


def _integrated(
    watched: _Watched, seen: Trace, spans: Sequence[Span]
) -> tuple[Joules | None, str | None, tuple[str, ...]]:
    """Joules by integrated power, why there are none, and the aliasing checks that failed."""
    if watched.power is None:
        return None, "the device tells no power", ()
    steps = power_steps(seen, lag_s=watched.power.lag_s, refresh_s=watched.refresh_s)
    try:
        found = total([power_energy(steps, span) for span in spans])
    except NotCovered as error:
        return None, str(error), ()
    return found, None, tuple(gates.said(*(gates.aliasing(steps, seen, s, watched.refresh_s) for s in spans)))


def _reading(instrument: Instrument | None, found: Joules | None, *, claimed: bool = True) -> MeterReading | None:
    if instrument is None or found is None:
        return None
    return MeterReading(
        source=instrument.source,
        semantics=instrument.semantics,
        joules=found.joules,
        low_j=found.low_j if claimed else None,
        high_j=found.high_j if claimed else None,
    )


def _conditions(watched: _Watched) -> Conditions:
    watts = [row[3] for row in watched.rows if row[3] == row[3]]
    hot = [state.temperature_c for state in watched.states if state.temperature_c is not None]
    slowed = [state.throttle_reasons or () for state in watched.states]
    return Conditions(
        device=watched.probe.name,
        before=watched.states[0],
        after=watched.states[-1],
        power_cap_w=watched.probe.power_cap_w,
        most_w=max(watts, default=None),
        most_temperature_c=max(hot, default=None),
        throttled_by=gates.distinct(slowed),
    )
