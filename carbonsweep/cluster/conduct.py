"""A sweep as it goes: which configuration runs where, what comes back, and what to do when it does not.

Knows nothing of Tune, so that any loop can drive it: `next` and `ended` for each trial, until `over`.
"""

from __future__ import annotations

import functools
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from carbonsweep.bench import Bench
from carbonsweep.cluster.attendance import Attendance
from carbonsweep.cluster.demand import Demand, demands, devices
from carbonsweep.cluster.nodes import Node, listed
from carbonsweep.cluster.pool import Pool
from carbonsweep.cluster.spools import Spools
from carbonsweep.cluster.status import Outcome, Running, SweepStatus, Watcher
from carbonsweep.domain import Configuration, TrialRecord, WorkloadSummary, record_key
from carbonsweep.errors import BadInput, CarbonsweepError, StorageFailed
from carbonsweep.records import OutputFolder, decode, is_failure
from carbonsweep.search.implied import implied_record
from carbonsweep.search.study import Search

TRIES: Final = 3
"""Trials of one configuration that may die in one sweep before it is left for the next."""
LOOK_S: Final = 0.5
"""The cluster is looked at no more often than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A trial longer than `trial_timeout_s` hangs; a kind whose last node is gone for `node_grace_s` is given up."""

    trial_timeout_s: float
    node_grace_s: float


@dataclass(kw_only=True)
class Conduct:
    """One sweep. `nodes` says which are live; everything else it does through the parts it is given."""

    search: Search
    bench: Bench
    workload: WorkloadSummary
    out: OutputFolder
    watcher: Watcher
    pool: Pool
    spools: Spools
    nodes: Callable[[], Mapping[str, Node]]
    terms: Terms
    clock: Callable[[], float] = time.monotonic
    fatal: CarbonsweepError | None = None
    finished: int = 0
    _running: dict[str, Running] = field(default_factory=dict)
    _tries: Counter[Configuration] = field(default_factory=Counter)
    _mourned: Counter[str] = field(default_factory=Counter)
    _lost: dict[Configuration, str] = field(default_factory=dict)
    _attempts: set[str] = field(default_factory=set)
    _looked_s: float = float("-inf")

    def __post_init__(self) -> None:
        self._there = there = self.nodes()
        self._demands = demands(self.search.space, self.bench, there.values())
        self._attendance = Attendance(there, set(self._demands.values()), self.terms.node_grace_s, self.clock)

    @property
    def over(self) -> bool:
        """Whether nothing is left to hand out or to wait for."""
        return self.fatal is not None or not (self.search.remaining or self.search.unfinished)

    @property
    def outcome(self) -> Outcome:
        """How it ended, so far."""
        return Outcome(
            lost=tuple(sorted(self._lost.values())),
            unreachable=tuple(sorted(self._attendance.unreachable.items())),
            closed=tuple(sorted(self._attendance.closed.items())),
        )

    @property
    def starting(self) -> bool:
        """Whether workers that were hired have not answered yet."""
        return any(worker.home is None for worker in self.pool.workers)

    def next(self, trial_id: str) -> dict[str, Any] | None:
        """What a supervisor is asked to do (see `supervisor.supervised`); None where nothing can run now."""
        asked: dict[str, Any] | None = self._guarded(lambda: self._next(trial_id))
        return asked

    def ended(self, trial_id: str, result: Mapping[str, Any] | None) -> None:
        """A supervisor came back with `result`, or died without one."""
        running = self._running.pop(trial_id, None)
        if running is not None:
            self._guarded(lambda: self._ended(running, result or {"lost": "its supervisor died"}))

    def recover(self, reason: str) -> None:
        """Every trial on its way is lost: the loop that ran them broke."""
        for trial_id in list(self._running):
            self.ended(trial_id, {"lost": reason})

    def gather(self) -> None:
        """Merge what the nodes still hold, now that nothing runs any more, and let them forget what is durable here."""
        new, answered, _ = self.spools.gather(self.nodes().values())
        for record in new:
            self.found(record)
        for node, found in answered.items():
            if found.flaw is None:  # else its records are still out of reach
                self._attendance.read(node.host)

    def _guarded(self, action: Callable[[], Any]) -> Any:
        """Tune would swallow an exception raised in its callbacks: the first is kept, and the sweep ends with it."""
        if self.fatal is None:
            try:
                return action()
            except CarbonsweepError as error:
                self.fatal = error
            except OSError as error:  # the study journal
                self.fatal = StorageFailed(f"cannot write to {self.out.folder}: {error.strerror or error}")
            # Their supervisors report at once; what the workers have finished is in their spools.
            self.pool.close()
        return None

    def _next(self, trial_id: str) -> dict[str, Any] | None:
        self._look_around()
        while (configuration := self.search.suggest(self._is_ready)) is not None:
            implied = implied_record(configuration, self.search.outcomes.values(), self.bench)
            if implied is None:
                return self._placed(trial_id, configuration)
            self._keep(implied)
        for wished in self.search.wished():
            self.pool.want(self._demand(wished))
        return None

    def _is_ready(self, configuration: Configuration) -> bool:
        return self.pool.is_free(self._demand(configuration))

    def _placed(self, trial_id: str, configuration: Configuration) -> dict[str, Any]:
        attempt = uuid.uuid4().hex
        self._attempts.add(attempt)
        worker = self.pool.take(self._demand(configuration), configuration, attempt)
        assert worker.home is not None, "an idle worker has answered"
        self.search.placed(configuration, worker.home.host)
        self._running[trial_id] = Running(
            configuration=configuration,
            attempt=attempt,
            worker=worker.name,
            node_id=worker.home.node_id,
            host=worker.home.host,
            since_s=self.clock(),
        )
        settled, worker.settled = tuple(worker.settled), []
        return {
            "worker": worker.name,
            "configuration": asdict(configuration),
            "attempt": attempt,
            "limit_s": self.terms.trial_timeout_s,
            "settled": settled,
        }

    def _ended(self, running: Running, result: Mapping[str, Any]) -> None:
        if "record" not in result:
            self._died(running, str(result.get("lost", "no result")))
            return
        record = _decoded(result["record"], running)
        self._require_same(record, running)
        self.pool.release(running.worker, settled=running.attempt)
        if result.get("unspooled"):
            self.watcher.notice(f"{running.host} cannot keep finished records: {result['unspooled']}")
        if not (self._running or self.search.remaining):
            self.watcher.show_status(self._status(self._there))
        self._keep(record)
        self.spools.durable(running.attempt)

    def _died(self, running: Running, reason: str) -> None:
        """The record may be finished all the same: the spool of its node is looked at before it is run again."""
        self.pool.discard(running.worker)
        where = self.nodes().get(running.node_id)
        if where is None:
            self._attendance.went_with(running.host)
            self._again(running, reason)
        else:
            self._mourned[running.node_id] += 1
            again = functools.partial(self._mourn, running, reason)
            self.spools.look(where, again, functools.partial(self._unread, running, again))

    def _mourn(self, running: Running, reason: str) -> None:
        self._mourned[running.node_id] -= 1
        self._again(running, reason)

    def _unread(self, running: Running, again: Callable[[], None]) -> None:
        """The node went, or does not answer: what the worker may have finished there is out of reach."""
        if not self.search.is_known(running.configuration):
            self._attendance.went_with(running.host)
        again()

    def _again(self, running: Running, reason: str) -> None:
        configuration = running.configuration
        if self.search.is_known(configuration):
            return
        if running.node_id in self.nodes():  # a trial is not to blame for a node that went
            self._tries[configuration] += 1
        if self._tries[configuration] < TRIES and not self._attendance.is_closed(self._demand(configuration)):
            self.watcher.notice(f"{configuration} on {running.host}: {reason}; it will run again")
            self.search.again(configuration)
        else:
            self.watcher.notice(f"{configuration} on {running.host}: {reason}; left for the next sweep")
            self._lost[configuration] = reason
            self.search.abandon(configuration)

    def _keep(self, record: TrialRecord) -> None:
        self.out.merge(record)
        if self.search.is_known(record.configuration):
            return  # found in a spool before it was reported
        self.search.tell(record)
        self.finished += 1
        self.watcher.advance(record)

    def found(self, record: TrialRecord) -> None:
        """A record from a spool, durable here by now, that nobody reported."""
        configuration = record.configuration
        if configuration not in self.search.space or record.key != self._key(configuration):
            return
        if is_failure(record) and record.provenance.attempt not in self._attempts:
            return  # an earlier sweep's, which says nothing about this one's trial
        before = self.search.told
        self.search.learn(record)
        if self._lost.pop(configuration, None) is not None or self.search.told > before:
            self.finished += 1
            self.watcher.advance(record)

    def _key(self, configuration: Configuration) -> str:
        return record_key(configuration, self.workload, self.bench.identity(configuration))

    def _require_same(self, record: TrialRecord, running: Running) -> None:
        if record.key != self._key(running.configuration):
            raise BadInput(
                f"{running.host} measured {record.identity}, and {self.bench.identity(running.configuration)} was "
                "asked for: make the nodes of a kind alike (power cap, weights, versions), or leave one out"
            )

    def _demand(self, configuration: Configuration) -> Demand:
        return self._demands[devices(configuration)]

    def _look_around(self) -> None:
        now_s = self.clock()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        self._there = there = self.nodes()
        change = self._attendance.take(there, self._mourned + Counter(r.node_id for r in self._running.values()))
        for line in change.notices:
            self.watcher.notice(line)
        for node in change.joined:
            self.spools.look(node, functools.partial(self._attendance.read, node.host), lambda: None)
        for gone in change.closed:
            self._close(gone, there)
        self.spools.poll(there, self.found)
        self.pool.tend(there)
        self.watcher.show_status(self._status(there))

    def _close(self, gone: Demand, there: Mapping[str, Node]) -> None:
        untried = self.search.close(lambda configuration: self._demand(configuration) == gone)
        self._attendance.close(gone, untried)
        if untried:
            left = listed(there.values())
            self.watcher.notice(f"no node with {gone} is left ({left}): {untried} configurations untried")

    def _status(self, there: Mapping[str, Node]) -> SweepStatus:
        busy = [worker.demand.gpus for worker in self.pool.workers if worker.attempt is not None]
        kinds = {asked.kind for asked in self._demands.values()}
        longest = min(self._running.values(), key=lambda running: running.since_s, default=None)
        return SweepStatus(
            nodes=len(there),
            gpus=sum(node.gpus for node in there.values() if node.kind in kinds),
            gpus_busy=sum(busy),
            running=len(self._running),
            starting=sum(worker.home is None for worker in self.pool.workers),
            lost=len(self._lost),
            total=self.finished + self.search.remaining + self.search.unfinished + len(self._lost),
            longest=None if longest is None else (longest.configuration, longest.host, self.clock() - longest.since_s),
            chance_left=self.search.chance_left,
            stops_below=self.search.stops_below,
            in_doubt=self.search.in_doubt,
        )


def _decoded(line: str, running: Running) -> TrialRecord:
    try:
        return decode(line)
    except ValueError as error:
        raise BadInput(f"{running.host} sent what is no record ({error}): install one version everywhere") from error
