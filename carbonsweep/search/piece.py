"""Trials one after another in this process, as far as the time allows: no Ray, no Optuna."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from carbonsweep.bench import Bench
from carbonsweep.domain import Configuration, TrialRecord, Workload
from carbonsweep.search.implied import implied_record
from carbonsweep.trial import trial


@dataclass(slots=True, kw_only=True)
class Piece:
    """A grid, measured as far as the time allows.

    `known` holds the record of each configuration that has one and need not be run; `begun_s` is when the time limit
    began to count, on `clock`.
    """

    bench: Bench
    workload: Workload
    begun_s: float
    time_limit_s: float | None = None
    clock: Callable[[], float] = time.monotonic
    known: dict[Configuration, TrialRecord] = field(default_factory=dict)
    longest_s: float = 0.0

    def run(
        self,
        configurations: Sequence[Configuration],
        *,
        starting: Callable[[Configuration], None],
        keep: Callable[[TrialRecord], None],
    ) -> list[Configuration]:
        """Hand the record of each to `keep`, those known included, and return what is left for another time.

        A batch size larger than one that does not fit gets its record without a run.
        """
        left = []
        for configuration in configurations:
            record = self.known.get(configuration)
            record = record or implied_record(configuration, self.known.values(), self.bench)
            if record is None and self._ends_too_late():
                left.append(configuration)
                continue
            if record is None:
                starting(configuration)
                record = self._timed(configuration)
            keep(record)
            self.known[configuration] = record
        return left

    def _ends_too_late(self) -> bool:
        """Whether one more, as long as the longest, passes the limit; the first has nothing to go by and is run."""
        if self.time_limit_s is None or not self.longest_s:
            return False
        return self.clock() - self.begun_s + self.longest_s > self.time_limit_s

    def _timed(self, configuration: Configuration) -> TrialRecord:
        start_s = self.clock()
        record = trial(self.bench, configuration, self.workload)
        self.longest_s = max(self.longest_s, self.clock() - start_s)
        return record
