"""The loop: suggestions of a `Search` become trials of Ray Tune, and what comes of them records.

Tune keeps no state of its own that matters: the record file and the study journal are the truth, so its experiment
folder is temporary, and an interrupted sweep is continued by the same command.
"""

from __future__ import annotations

import errno
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

from ray import tune
from ray.tune.search import Searcher

from carbonsweep.bench import Bench
from carbonsweep.cluster.conduct import Conduct, Terms
from carbonsweep.cluster.demand import Demand, demands
from carbonsweep.cluster.nodes import Node, listed, live_nodes
from carbonsweep.cluster.pool import Pool
from carbonsweep.cluster.ray_staff import RayStaff
from carbonsweep.cluster.spools import Spools
from carbonsweep.cluster.status import Outcome, Watcher
from carbonsweep.cluster.supervisor import RESOURCES, Supervisor, reason
from carbonsweep.cluster.worker import Assignment
from carbonsweep.domain import Workload, WorkloadSummary
from carbonsweep.errors import BadInput, NothingMeasured, StorageFailed
from carbonsweep.records import OutputFolder
from carbonsweep.search.study import Search

RESTARTS: Final = 3
"""Times in a row that Tune may break without a single trial in between before the sweep gives up."""
OPENING_S: Final = 5.0
"""A worker that is ready for its first trial waits no longer than this for the others."""
ENDLESS: Final = 10**9
"""Trials Tune may ask for: how many there are is decided by the search, and one that died is asked for again."""


def sweep(
    *,
    search: Search,
    bench: Bench,
    here: Bench,
    workload: Callable[[], Workload],
    summary: WorkloadSummary,
    out: OutputFolder,
    watcher: Watcher,
    terms: Terms,
) -> Outcome:
    """Run every trial `search` hands out on the cluster this process is connected to.

    Each record is durable in `out` before the search is told and `watcher` sees it; a batch size larger than one that
    does not fit gets its record without a trial. `bench` is what workers run, `here` tells its identity from this
    machine; `workload` is called on the workers' machines, `summary` is of what it must return.

    Raises BadInput for a trial no node has room for, StorageFailed when a record cannot be written, NothingMeasured
    where workers cannot start, and passes KeyboardInterrupt on after the workers have ended.
    """
    nodes = live_nodes()
    asked = demands(search.space, here, nodes.values())
    require_room(search, asked.values(), nodes.values())
    assignment = Assignment(bench=bench, workload=workload, digest=summary.digest, spool_name=out.spool_name)
    pool = Pool(RayStaff(assignment), list(asked.values()), most=max(1, search.remaining))
    spools = Spools(out, time.monotonic)
    conduct = Conduct(
        search=search,
        bench=here,
        workload=summary,
        out=out,
        watcher=watcher,
        pool=pool,
        spools=spools,
        nodes=live_nodes,
        terms=terms,
    )
    try:
        drive(conduct)
        conduct.gather()
    finally:
        pool.close()
    for flaw in sorted(spools.flaws):
        watcher.notice(flaw)
    return conduct.outcome


def require_room(search: Search, asked: Iterable[Demand], nodes: Collection[Node]) -> None:
    """Raises BadInput for a trial no node has room for, unless nothing is left but to look at kinds in doubt.

    An answer waits for such a kind as for one that left in mid-sweep, and not for ever.
    """
    if search.in_doubt:
        return
    for wanted in asked:
        if not wanted.room(nodes):
            raise BadInput(f"a trial needs {wanted} on one node; there is {listed(nodes)}")


def drive(conduct: Conduct) -> None:
    """Run `conduct` to its end; where Tune breaks, what was on its way is run again by a new one.

    Raises what ended the sweep, NothingMeasured where Tune breaks again and again, and passes KeyboardInterrupt on.
    """
    setbacks = 0
    while not conduct.over:
        before = conduct.finished
        try:
            _run(conduct)
        except Exception as error:
            if any(isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT) for one in _chain(error)):
                raise StorageFailed(f"no space is left for Ray's own files: {error}") from error
            conduct.recover(f"Ray Tune broke ({reason(error)})")
            setbacks = 0 if conduct.finished > before else setbacks + 1
            if setbacks >= RESTARTS:
                raise NothingMeasured(f"Ray Tune breaks again and again: {reason(error)}") from error
    if conduct.fatal is not None:
        raise conduct.fatal


def _run(conduct: Conduct) -> None:
    with tempfile.TemporaryDirectory(prefix="carbonsweep-tune-", ignore_cleanup_errors=True) as scratch:
        tune.Tuner(
            tune.with_resources(Supervisor, RESOURCES),
            tune_config=tune.TuneConfig(search_alg=_Suggestions(conduct), num_samples=ENDLESS, reuse_actors=True),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


class _Suggestions(Searcher):  # type: ignore[misc]  # ray ships no types
    """Tune's searcher interface over a `Conduct`.

    The first trials are handed out together, and their supervisors wait for each other: Tune gives the actor of a trial
    that ends to one whose own is still starting, and kills that (`tune_controller.py`, 2.60), so that with short trials
    it would never get beyond one actor.
    """

    def __init__(self, conduct: Conduct) -> None:
        super().__init__()
        self._conduct = conduct
        self._ids: dict[str, str] = {}
        self._held: list[tuple[str, dict[str, Any]]] = []
        self._held_since_s: float | None = None
        self._open = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if not self._open:
            self._gather_first()
        elif not self._held:
            self._take()
        if self._open and self._held:
            self._ids[trial_id], asked = self._held.pop(0)
            return asked
        return str(Searcher.FINISHED) if self._conduct.over else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._conduct.ended(self._ids.pop(trial_id, trial_id), None if error else result)

    def _gather_first(self) -> None:
        """Hold what can run, until all workers have answered or the first has waited for long enough."""
        while self._take():
            self._held_since_s = self._held_since_s or time.monotonic()
        waited_s = 0.0 if self._held_since_s is None else time.monotonic() - self._held_since_s
        if self._held and (not self._conduct.starting or waited_s > OPENING_S):
            meeting = uuid.uuid4().hex
            for _, asked in self._held:
                asked["meeting"] = (meeting, len(self._held))
            self._open = True

    def _take(self) -> bool:
        own = uuid.uuid4().hex
        asked = self._conduct.next(own)
        if asked is not None:
            self._held.append((own, asked))
        return asked is not None

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher into the experiment folder; that copy is never read, and a live study has locks."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a sweep is continued from its journal, never from Tune's pickle."""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
