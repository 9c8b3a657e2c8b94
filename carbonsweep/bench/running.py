"""Batches through a torch model by the measuring protocol: plain where nothing meters them, in long windows where
something does.

A window lies inside a longer stretch of the same work, `meter.guard_s` before and after it: at its edges the power is
that of the work, so interpolating between ticks there is not biased by the idle time beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Final

from carbonsweep.bench.generation import Batch, RewindingRun
from carbonsweep.bench.phases import PhaseSample, Repeat
from carbonsweep.bench.power.meter import Meter
from carbonsweep.bench.power.trace import Clock
from carbonsweep.bench.power.window import Span

WARM_UP_STEPS: Final = 16
"""Decode steps of a warm-up run: each step costs the same, so a full decode would warm up nothing more."""
GUARD_STEPS: Final = 8


class ModelRunner:
    """A `Runner` over `inputs` with a decode of `steps` steps."""

    def __init__(self, model: Any, inputs: Sequence[Batch], steps: int, clock: Clock) -> None:
        self._runs = [RewindingRun(model, batch, steps) for batch in inputs]
        self._clock = clock
        self._whole_s: list[list[float]] = [[] for _ in inputs]

    @property
    def batches(self) -> int:
        return len(self._runs)

    def warm_up(self, runs: int) -> None:
        """Every batch, since each has a shape of its own."""
        for run in self._runs * runs:
            run.prefill()
            run.decode_some(WARM_UP_STEPS)
            run.forget()

    def repeat(self, order: Sequence[int], meter: Meter | None) -> Repeat:
        return self._plain(order) if meter is None else self._metered(order, meter)

    def whole(self, order: Sequence[int], meter: Meter | None) -> PhaseSample:
        """The batches in turn, each from its prompt to its last token.

        Unmetered repeats have run each batch as a whole already: what was timed there serves.
        """
        if meter is None and all(self._whole_s):
            return _sample(self._whole_s, ())
        seconds, span = self._in_turn(order, _whole, meter)
        count = sum(map(len, seconds))
        return _sample(seconds, () if meter is None else meter.windows("whole", [span], count))

    def _plain(self, order: Sequence[int]) -> Repeat:
        """Each batch once; nothing is run that is not timed."""
        prefill_s, decode_s = [0.0] * self.batches, [0.0] * self.batches
        for index in order:
            run = self._runs[index]
            begin_s = self._clock()
            run.prefill()
            first_s = self._clock()
            run.decode()
            end_s = self._clock()
            prefill_s[index], decode_s[index] = first_s - begin_s, end_s - first_s
            self._whole_s[index].append(end_s - begin_s)
            run.forget()
        return Repeat(
            prefill=PhaseSample(run_s=fmean(prefill_s), batch_s=tuple(prefill_s)),
            decode=PhaseSample(run_s=fmean(decode_s), batch_s=tuple(decode_s)),
        )

    def _metered(self, order: Sequence[int], meter: Meter) -> Repeat:
        """One prefill window over all batches in turn; a decode window for each, whose KV cache alone is in memory."""
        prefill_s, prefill_span = self._in_turn(order, _prefill, meter)
        decode_s: list[list[float]] = [[] for _ in self._runs]
        decode_spans = []
        for index in order:
            decode_s[index], span = self._decode_window(self._runs[index], meter)
            decode_spans.append((span, len(decode_s[index])))
        # Asked for at the end: the wait for the last readings comes once.
        prefilled = meter.windows("prefill", [prefill_span], sum(map(len, prefill_s)))
        decoded = [each for span, runs in decode_spans for each in meter.windows("decode", [span], runs)]
        return Repeat(
            prefill=_sample(prefill_s, prefilled),
            decode=_sample(decode_s, decoded),
        )

    def _in_turn(
        self, order: Sequence[int], work: Callable[[RewindingRun], None], meter: Meter | None
    ) -> tuple[list[list[float]], Span]:
        """Seconds of `work` on each batch, in turn, once or until the window is long enough; and the window."""
        seconds: list[list[float]] = [[] for _ in self._runs]
        last = self._runs[order[-1]]
        self._guard(last.prefill, meter)
        last.forget()
        begin_s = self._clock()
        while True:
            for index in order:
                start_s = self._clock()
                work(self._runs[index])
                end_s = self._clock()
                seconds[index].append(end_s - start_s)
                self._runs[index].forget()
            if meter is None or end_s - begin_s >= meter.least_window_s:
                break
        self._guard(last.prefill, meter)
        last.forget()
        return seconds, (begin_s, end_s)

    def _decode_window(self, run: RewindingRun, meter: Meter) -> tuple[list[float], Span]:
        seconds: list[float] = []
        run.prefill()
        self._guard(lambda: run.decode_some(GUARD_STEPS), meter)
        begin_s = end_s = self._clock()
        while end_s - begin_s < meter.least_window_s:
            start_s = self._clock()
            run.decode()
            end_s = self._clock()
            seconds.append(end_s - start_s)
        self._guard(lambda: run.decode_some(GUARD_STEPS), meter)
        run.forget()
        return seconds, (begin_s, end_s)

    def _guard(self, work: Callable[[], None], meter: Meter | None) -> None:
        """The same work for as long as a meter needs; nothing without one."""
        if meter is None:
            return
        end_s = self._clock() + meter.guard_s
        while self._clock() < end_s:
            work()


def _prefill(run: RewindingRun) -> None:
    run.prefill()


def _whole(run: RewindingRun) -> None:
    run.prefill()
    run.decode()


def _sample(seconds: Sequence[Sequence[float]], windows: Sequence[Any]) -> PhaseSample:
    """Batches weigh the same, however often each was run."""
    batch_s = tuple(map(fmean, seconds))
    return PhaseSample(run_s=fmean(batch_s), batch_s=batch_s, windows=tuple(windows))
