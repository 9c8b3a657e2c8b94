"""One device under watch: what its probe has shown, and what that says of a stretch of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from carbonsweep.bench.power import gates
from carbonsweep.bench.power.meter import Phase
from carbonsweep.bench.power.trace import Clock, Instrument, MeterError, Probe, Row, Trace, poll, trace
from carbonsweep.bench.power.window import (
    Joules,
    NotCovered,
    Span,
    Steps,
    counter_energy,
    power_energy,
    power_steps,
    total,
)
from carbonsweep.evidence import Conditions, DeviceState, EnergyWindow, MeterReading

IDLE: Final = ("idle", "bare-idle")
"""Phases whose windows have a length of their own, so that they are never too short for the bound of the work's."""


@dataclass(slots=True, kw_only=True)
class Watched:
    """A probe and its readings. `refresh_s` is its counter's period as found, None where it could not be."""

    probe: Probe
    counter: Instrument | None
    power: Instrument | None
    refresh_s: float | None = None
    lost: str | None = None
    rows: list[Row] = field(default_factory=list)
    states: list[DeviceState] = field(default_factory=list)

    @property
    def lag_s(self) -> float:
        """How far back a reading of power reaches, seconds."""
        return 0.0 if self.power is None else self.power.lag_s

    def look(self, clock: Clock, *, with_state: bool) -> None:
        """Read it once. A device that gives no reading is asked again next time: it may have been reset."""
        asked_s = clock()
        try:
            self.rows.append(poll(self.probe, clock))
            if with_state:
                self.add_state()
            self.lost = None
        except Exception as error:
            # Whatever it was: a thread that dies in silence would look like a meter that froze.
            kind = "" if isinstance(error, MeterError) else f"{type(error).__name__}: "
            self.lost = f"{kind}{error}"
            self.rows.append((asked_s, clock(), math.nan, math.nan))

    def add_state(self) -> None:
        """Note its condition, where it tells any."""
        state = self.probe.state()
        if state is not None:
            self.states.append(state)

    def window(
        self, phase: Phase, spans: Sequence[Span], runs: float, *, by_power: bool, bound: float, poll_s: float
    ) -> EnergyWindow:
        """Both instruments' views of `spans`; the figure first: power where `by_power`, or where there is no counter.

        A counter that failed stays the figure, and the window has a flaw.
        """
        seen = trace(self.rows[:])
        by_power = by_power or self.counter is None
        counter, counter_flaw = self._counted(seen, spans)
        power, power_flaw, aliased = self._integrated(seen, spans)
        main, flaw = (power, power_flaw) if by_power else (counter, counter_flaw)
        checks = [*self._checks(seen, spans, poll_s), *self._judged(phase, spans, main, counter, power, bound)]
        readings = [_reading(self.counter, counter), _reading(self.power, power, claimed=not aliased)]
        if by_power:
            readings.reverse()
        return EnergyWindow(
            phase=phase,
            device=self.probe.name,
            runs=runs,
            duration_s=sum(end_s - begin_s for begin_s, end_s in spans),
            readings=tuple(reading for reading in readings if reading is not None),
            flaw=None if main is not None else self._why(flaw),
            gates=gates.distinct([checks, aliased]),
        )

    def conditions(self) -> Conditions:
        """From the first state noted to the last."""
        watts = [row[3] for row in self.rows if not math.isnan(row[3])]
        hot = [state.temperature_c for state in self.states if state.temperature_c is not None]
        shown = [state.processes for state in self.states if state.processes is not None]
        return Conditions(
            device=self.probe.name,
            before=self.states[0],
            after=self.states[-1],
            power_cap_w=self.probe.power_cap_w,
            most_w=max(watts, default=None),
            most_temperature_c=max(hot, default=None),
            throttled_by=gates.distinct([state.throttle_reasons or () for state in self.states]),
            processes=tuple(sorted({each for processes in shown for each in processes})) if shown else None,
        )

    def _why(self, flaw: str | None) -> str:
        """Why there are no joules."""
        if self.lost is not None:
            return self.lost
        slow = "" if self.refresh_s is not None else ", and how often it refreshes could not be found"
        return f"{flaw or 'no reading'}{slow}"

    def _counted(self, seen: Trace, spans: Sequence[Span]) -> tuple[Joules | None, str | None]:
        if self.counter is None:
            return None, "the device has no energy counter"
        try:
            return total([counter_energy(seen, span, step_j=self.counter.step) for span in spans]), None
        except NotCovered as error:
            return None, str(error)

    def _integrated(self, seen: Trace, spans: Sequence[Span]) -> tuple[Joules | None, str | None, tuple[str, ...]]:
        """Joules by integrated power, why there are none, and the aliasing checks that failed."""
        if self.power is None:
            return None, "the device tells no power", ()
        steps: Steps = power_steps(seen, lag_s=self.lag_s, refresh_s=self.refresh_s)
        try:
            found = total([power_energy(steps, span, lag_s=self.lag_s) for span in spans])
        except NotCovered as error:
            return None, str(error), ()
        return found, None, tuple(gates.said(*(gates.aliasing(steps, seen, s, self.refresh_s) for s in spans)))

    def _checks(self, seen: Trace, spans: Sequence[Span], poll_s: float) -> list[str]:
        """Of the readings themselves. A counter loses nothing in a gap; integrated power does."""
        longest_s = gates.GAP_PERIODS * max(poll_s, (self.refresh_s or 0.0) / 2)
        failed: list[str] = []
        for span in spans:
            gap = None if self.power is None else gates.gap(seen, span, longest_s)
            failed += gates.said(gap, gates.frozen(seen, span, self.refresh_s))
        return failed

    def _judged(
        self,
        phase: Phase,
        spans: Sequence[Span],
        main: Joules | None,
        counter: Joules | None,
        power: Joules | None,
        bound: float,
    ) -> list[str]:
        """Of the joules. Only a counter's bound is a matter of the window's length."""
        duration_s = sum(end_s - begin_s for begin_s, end_s in spans)
        return list(
            gates.said(
                None if counter is None or power is None else gates.disagreement(counter, power),
                None if main is None else gates.above_cap(main.joules / duration_s, self.probe.power_cap_w),
                gates.short(main, bound) if main is not None and main is counter and phase not in IDLE else None,
            )
        )


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
