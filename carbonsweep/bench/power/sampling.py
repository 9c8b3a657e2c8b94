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

from carbonsweep.bench.power.meter import Phase
from carbonsweep.bench.power.trace import Clock, MeterError, Probe, Row, poll, trace
from carbonsweep.bench.power.watching import Watched
from carbonsweep.bench.power.window import LEAST_TICKS, Span, combined, refresh_s
from carbonsweep.evidence import Conditions, EnergyWindow

SLOWEST_POLL_S: Final = 0.05
FASTEST_POLL_S: Final = 0.005
POLLS_PER_REFRESH: Final = 8
"""A tick is then seen to a sixteenth of a period; a poll costs some 0.1 ms."""
SEARCH_POLL_S: Final = 0.001
LONGEST_SEARCH_S: Final = 2.5
"""Refresh periods from 10 ms (nvidia-ml-py's issue 18) to 100 ms (ml-energy/zeus) are known; 12 of the longest fit."""
SEARCHED_TICKS: Final = 12
SLOWEST_SEARCH_S: Final = 10.0
"""For exporters that collect once a second."""
SETTLE_PERIODS: Final = 2.2
GUARD_PERIODS: Final = 1.2
"""Work before and after a window, in refresh periods: at its edges the power is then that of the work."""
UNKNOWN_REFRESH_S: Final = 0.1
"""Assumed where no counter shows its own. Source: ml-energy/zeus, skills/measuring-energy/SKILL.md."""
STATE_PERIOD_S: Final = 1.0
WINDOW_PERIODS: Final = 1.5
"""Half-width of a counter's bound, in refresh periods of mean power: 1 to 2, as ticks and polls happen to fall."""


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
    _watched: list[Watched] = field(default_factory=list, init=False, repr=False)
    _remarks: list[str] = field(default_factory=list, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(probe.name for probe in self.probes)

    @property
    def refresh_s(self) -> float:
        return self.found_refresh_s or UNKNOWN_REFRESH_S

    @property
    def found_refresh_s(self) -> float | None:
        known = [w.refresh_s for w in self._watched if w.probe.name in self.devices]
        found = [each for each in known if each is not None]
        return max(found) if found and len(found) == len(known) else None

    @property
    def poll_s(self) -> float:
        if self.power_sampling_s is not None:
            return self.power_sampling_s
        return min(SLOWEST_POLL_S, max(FASTEST_POLL_S, self.refresh_s / POLLS_PER_REFRESH))

    @property
    def least_window_s(self) -> float:
        # A reading is as old as a refresh period and a poll together.
        return WINDOW_PERIODS * (self.refresh_s + self.poll_s) / self.bound

    @property
    def guard_s(self) -> float:
        return max(GUARD_PERIODS * self.refresh_s, 2 * max((w.lag_s for w in self._watched), default=0.0))

    @property
    def remarks(self) -> tuple[str, ...]:
        return tuple(self._remarks)

    def __enter__(self) -> SampledMeter:
        """Raises MeterError where a device has no instrument at all."""
        self.open()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Poll from now on, in a thread."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._watch, name="carbonsweep-meter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Poll no longer; what was read stays."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def open(self) -> None:
        """Find out what each device has and how often it refreshes; forget what was read before.

        A host's meter that does not answer is left out with a remark: its joules are kept beside, never needed.
        """
        self._remarks = []
        self._watched = [_watched(probe) for probe in self.probes]
        for host in self.hosts:
            try:
                self._watched.append(_watched(host))
            except MeterError as error:
                self._remarks.append(f"host energy unknown: {error}")
        for watched in self._watched:
            watched.refresh_s = self._found_refresh_s(watched.probe)
        # A window may begin at once: there must be a tick before it, or its edge could not be interpolated.
        self.look(with_state=True)
        settled_s = self.clock() + SETTLE_PERIODS * self.refresh_s
        while self.clock() < settled_s:
            self.sleep(self.poll_s)
            self.look()

    def begin_conditions(self) -> None:
        """Conditions are those from now on."""
        for watched in self._watched:
            watched.states = []
            watched.add_state()

    def look(self, *, with_state: bool = False) -> None:
        """Read every device once."""
        for watched in self._watched:
            watched.look(self.clock, with_state=with_state)

    def _found_refresh_s(self, probe: Probe) -> float | None:
        """The counter's period, by polling it as fast as may be until it has ticked a few times."""
        rows: list[Row] = []
        begin_s = self.clock()
        changed = 0
        while changed < SEARCHED_TICKS:
            passed_s = self.clock() - begin_s
            # One that has ticked at all is waited for, or windows would be made too short for it.
            if passed_s > SLOWEST_SEARCH_S or (passed_s > LONGEST_SEARCH_S and (not changed or changed > LEAST_TICKS)):
                break
            rows.append(poll(probe, self.clock))
            changed += len(rows) > 1 and rows[-1][2] != rows[-2][2] and not math.isnan(rows[-1][2])
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

    def windows(self, phase: Phase, spans: Sequence[Span], runs: float) -> tuple[EnergyWindow, ...]:
        """One per device; a device that is lost, or does not answer, has a flaw instead of joules."""
        found = []
        for watched in self._watched:
            self._wait(watched, max(end_s for _, end_s in spans))
            by_power = self.power_sampling_s is not None
            found.append(watched.window(phase, spans, runs, by_power=by_power, bound=self.bound, poll_s=self.poll_s))
        return tuple(found)

    def is_enough(self, spans: Sequence[Span]) -> bool:
        """Whether these spans together are long enough for the bound; errors at many edges average out."""
        edges = [WINDOW_PERIODS * (self.refresh_s + self.poll_s)] * len(spans)
        return combined(edges) <= self.bound * sum(end_s - begin_s for begin_s, end_s in spans)

    def _wait(self, watched: Watched, end_s: float) -> None:
        """Until the readings reach beyond `end_s`: two ticks for the counter, and the lag of averaged power."""
        enough_s = end_s + 2.5 * (watched.refresh_s or self.refresh_s) + 2 * self.poll_s + watched.lag_s
        while watched.lost is None and self.clock() < enough_s:
            self.sleep(self.poll_s)

    def temperature_c(self) -> float | None:
        """By the last state of each; the hottest of the devices."""
        known = [w.states[-1].temperature_c for w in self._watched if w.states]
        return max((each for each in known if each is not None), default=None)

    def conditions(self) -> tuple[Conditions, ...]:
        """Of each device that tells any, since `begin_conditions`."""
        return tuple(watched.conditions() for watched in self._watched if watched.states)


def _watched(probe: Probe) -> Watched:
    counter, power = probe.instruments()
    return Watched(probe=probe, counter=counter, power=power)
