"""A sweep while it runs, on stderr: a live display where somebody watches, plain lines where nobody does.

Nothing runs in the background: the display is redrawn when something is told, and not too often.
"""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from carbonsweep.cluster.status import SweepStatus
from carbonsweep.domain import TrialRecord
from carbonsweep.search.objectives import Question
from carbonsweep.search_lines import chance_words, in_doubt_words
from carbonsweep.shares import level_percent
from carbonsweep.terminal import joules, objective_value, seconds, span, warn

REDRAW_S: Final = 0.2
"""The display is redrawn at most this often."""
SILENCE_S: Final = 30.0
"""A log says something at least this often, while statuses arrive."""
FEW_TRIALS: Final = 3
"""From so many trials on the time left is estimated."""
SLOW_FACTOR: Final = 3.0
SLOW_S: Final = 10.0
"""A trial is slow once it takes that many times the median, and that long."""
BAR_WIDTH: Final = 24


@dataclass(slots=True)
class Tally:
    """What finished trials add up to. `durations_s` are sorted, of measurements; `unmetered` trials have no joules."""

    question: Question
    done: int = 0
    infeasible: int = 0
    failed: int = 0
    energy_j: float = 0.0
    unmetered: int = 0
    durations_s: list[float] = field(default_factory=list)
    best: tuple[float, TrialRecord] | None = None

    def add(self, record: TrialRecord) -> None:
        """Count one finished trial, or a record that needed none."""
        self.done += 1
        self._spend(record)
        if record.measurement is None:
            failed = record.refusal is not None and record.refusal.kind == "failed"
            self.failed += failed
            self.infeasible += not failed
        elif not self.question.slo.is_met(record.measurement):
            self.infeasible += 1
        self.compare(record)

    def compare(self, record: TrialRecord) -> None:
        """Take it for the best so far if it is, without counting it: what is known from before is no trial here."""
        if record.measurement is None or not self.question.slo.is_met(record.measurement):
            return
        loss = math.inf if self.question.lacks(record) else self.question.losses(record.measurement)[0]
        if self.best is None or loss < self.best[0]:
            self.best = (loss, record)

    def _spend(self, record: TrialRecord) -> None:
        cost = record.cost
        if cost is None or cost.energy_j is None:
            self.unmetered += 1
        else:
            self.energy_j += cost.energy_j
        # What does not fit is refused in no time: that is no measure of how long a trial takes.
        if cost is not None and record.measurement is not None:
            bisect.insort(self.durations_s, cost.duration_s)

    @property
    def median_s(self) -> float | None:
        """The median duration of a measurement, seconds; None before the first."""
        return self.durations_s[len(self.durations_s) // 2] if self.durations_s else None

    def spent(self) -> str:
        """Joules so far, in words; empty before the first trial."""
        if not self.done:
            return ""
        if not self.energy_j:
            return "joules unknown" if self.unmetered else ""
        return f"{'at least ' if self.unmetered else ''}{joules(self.energy_j)} so far"

    def best_words(self) -> str:
        """The best so far with its value."""
        if self.best is None:
            return "nothing feasible yet"
        loss, record = self.best
        value = "value unknown" if math.isinf(loss) else objective_value(self.question, self._value(loss))
        return f"best so far: {record.configuration}, {value}"

    def _value(self, loss: float) -> float:
        return self.question.objectives[0].sign * loss


@dataclass(slots=True)
class Pace:
    """How long trials take, all overhead included: seconds that trials have been running, side by side counted apart.

    Starting up does not slow the pace, and it holds when nodes come and go.
    """

    running: int = 0
    ran_s: float = 0.0
    seen_s: float | None = None

    def see(self, running: int, now_s: float) -> None:
        """So many trials are running now, and were since the last look."""
        if self.seen_s is not None:
            self.ran_s += self.running * (now_s - self.seen_s)
        self.running, self.seen_s = running, now_s

    def left(self, done: int, total: int) -> str:
        """How long the rest will take, in words; empty where nothing is left. A running trial is half done."""
        if done >= total:
            return ""
        if done < FEW_TRIALS or not self.ran_s:
            return "time left not known yet"
        if not self.running:
            return "time left unknown: no trial is running"
        each_s = self.ran_s / (done + self.running / 2)
        left = max(total - done - self.running / 2, 0.5)
        return f"about {span(math.ceil(each_s * left / self.running))} left"


class TrialProgress:
    """Follows a sweep of `total` trials. As a context manager it shows; what it is told before and after is kept.

    Where the sweep stops at a chance, `stops_below`, `total` is the most there can be: the chance stands for the end.
    `known` are records from before, which no trial of this sweep has to find again.
    """

    def __init__(
        self,
        total: int,
        question: Question,
        *,
        stops_below: float | None = None,
        known: Iterable[TrialRecord] = (),
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self._total, self._clock = total, clock
        self._stops_below = stops_below or None  # 0: no chance stops it
        self._console = console or Console(stderr=True)
        self._tally, self._pace = Tally(question), Pace()
        for record in known:
            self._tally.compare(record)
        self._status: SweepStatus | None = None
        self._live: Live | None = None
        self._shown_s = clock()
        self._shown_done = 0

    def __enter__(self) -> TrialProgress:
        if self._console.is_terminal and not self._console.is_dumb_terminal and self._total:
            # What goes to stdout is the answer's: the display leaves it alone.
            self._live = Live(
                self._display(),
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def advance(self, record: TrialRecord) -> None:
        """Count one finished trial."""
        self._tally.add(record)
        if record.refusal is not None and record.refusal.kind == "failed":
            self.notice(f"failed: {record.configuration}: {record.refusal.reason}")
        self._show(a_line=self._is_milestone())

    def show_status(self, status: SweepStatus) -> None:
        """Take in how the cluster is doing, and how many trials there are; about once a second."""
        self._status, self._total = status, status.total
        self._pace.see(status.running, self._clock())
        self._show(a_line=self._clock() - self._shown_s >= SILENCE_S)

    def notice(self, line: str) -> None:
        """Say that something happened."""
        if self._live is None:
            warn(line)
        else:
            self._console.print(Text(line), soft_wrap=True)

    def _is_milestone(self) -> bool:
        """A tenth of the way since the last line, or the end."""
        done = self._tally.done
        return done >= self._total or done - self._shown_done >= max(1, self._total // 10)

    def _show(self, *, a_line: bool) -> None:
        now_s = self._clock()
        if self._live is not None:
            if now_s - self._shown_s >= REDRAW_S:
                self._shown_s = now_s
                self._live.update(self._display(), refresh=True)
        elif a_line:
            self._shown_s, self._shown_done = now_s, self._tally.done
            warn(_joined(self._counts(), *self._cluster(), self._tally.best_words(), *self._slow()))

    def _display(self) -> RenderableType:
        """The bar with its counts, then the cluster, the best, and a slow trial where there is one.

        Without a known end there is no bar.
        """
        bar = Table.grid(padding=(0, 1))
        if self._stops_below is None:
            done = ProgressBar(self._total, min(self._tally.done, self._total), width=BAR_WIDTH)
            bar.add_row(done, _line(self._counts()))
        else:
            bar.add_row(_line(self._counts()))
        lines = [_joined(*self._cluster()), self._tally.best_words(), *self._slow()]
        return Group(bar, *(_line(line) for line in lines if line))

    def _counts(self) -> str:
        tally, status = self._tally, self._status
        running = "" if status is None else f", {status.running} running"
        lost = "" if status is None else f", {status.lost} lost"
        counted = f"{tally.infeasible} infeasible, {tally.failed} failed"
        if self._stops_below is None:
            return f"{tally.done}/{self._total} trials{running}, {counted}{lost}"
        return f"{tally.done} trials of at most {self._total}{running}, {counted}{lost}"

    def _cluster(self) -> Iterator[str]:
        """Who works, what it has cost so far and how long it will take; empty for what there is nothing to say of."""
        if self._status is None:
            yield "" if self._tally.done else "starting"
        else:
            yield _busy(self._status)
            yield f"{self._status.starting} starting" if self._status.starting else ""
        yield self._tally.spent()
        if self._stops_below is None:
            yield self._pace.left(self._tally.done, self._total)
        else:
            chance = chance_words(None if self._status is None else self._status.chance_left)
            yield f"chance that something better remains: {chance}, ends below {level_percent(self._stops_below)}"
            yield "" if self._status is None else in_doubt_words(self._status.in_doubt)

    def _slow(self) -> Iterator[str]:
        """The trial that runs longest, once that is out of the ordinary."""
        if self._status is None or self._status.longest is None:
            return
        configuration, host, running_s = self._status.longest
        median_s = self._tally.median_s
        if running_s > SLOW_S and (median_s is None or running_s > SLOW_FACTOR * median_s):
            usual = "no trial is done yet" if median_s is None else f"the median is {seconds(median_s)}"
            yield f"slowest: {configuration} on {host}, running for {span(running_s)} ({usual})"


def _busy(status: SweepStatus) -> str:
    nodes = f"{status.nodes} node{'' if status.nodes == 1 else 's'}"
    if status.gpus:
        return f"GPUs {status.gpus_busy}/{status.gpus} busy on {nodes}"
    return f"{status.running} worker{'' if status.running == 1 else 's'} busy on {nodes}"


def _joined(*texts: str) -> str:
    """Those that say something, as one line."""
    return "; ".join(text for text in texts if text)


def _line(text: str) -> Text:
    """One line, cut where the terminal ends."""
    return Text(text, no_wrap=True, overflow="ellipsis")
