"""A sweep without Ray: a real search, folder, pool and conduct over workers, disks and nodes that a test commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from carbonsweep.cluster.conduct import LOOK_S, Conduct, Terms
from carbonsweep.cluster.demand import demands
from carbonsweep.cluster.nodes import Node
from carbonsweep.cluster.pool import Pool
from carbonsweep.cluster.spools import Spools
from carbonsweep.cluster.status import SweepStatus
from carbonsweep.domain import (
    Basis,
    BenchIdentity,
    Configuration,
    Measurement,
    Refusal,
    Scenario,
    Slo,
    TrialRecord,
    Workload,
    record_key,
)
from carbonsweep.errors import BenchFailed
from carbonsweep.records import OutputFolder, encode, read
from carbonsweep.search.counsel import Guiding
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.search.sampling import SamplerName
from carbonsweep.search.space import Space
from carbonsweep.search.study import Search
from carbonsweep.units import S_PER_YEAR
from tests.cluster.staff import Clock, Disks, Staff, by_id, node
from tests.conftest import PROVENANCE, SHORT, identity, measurement

SPACE = Space(
    models=("TinyLlama-1.1B",),
    gpus=("T4", "RTX6000Ada"),
    gpu_counts=(1,),
    batch_sizes=(1, 2, 4),
    dtypes=("fp16",),
    engines=("paper",),
)
ONE, ADA = node("one"), node("ada", "RTX6000Ada")
TERMS = Terms(trial_timeout_s=100.0, node_grace_s=60.0)
QUESTION = Question(
    objectives=objectives(("latency",)),
    slo=Slo(),
    scenario=Scenario(intensity=None, lifetime_s=5 * S_PER_YEAR, embodied="paper"),
)


@dataclass(frozen=True)
class Saying:
    """A bench that says what it is, and is measured elsewhere."""

    basis: Basis = "measured"
    name: str = "test"

    def identity(self, asked: Configuration) -> BenchIdentity:
        return identity(basis=self.basis, device=asked.gpu)

    def measure(self, asked: Configuration, workload: Workload) -> Measurement:
        raise BenchFailed("measured elsewhere")


class Told:
    """What a watcher is told, and how many records were durable by then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.records: list[TrialRecord] = []
        self.durable: list[bool] = []
        self.notices: list[str] = []
        self.status: list[SweepStatus] = []

    def advance(self, record: TrialRecord) -> None:
        self.records.append(record)
        self.durable.append(record.key in {each.key for each in read(self._folder)[0]})

    def show_status(self, status: SweepStatus) -> None:
        self.status.append(status)

    def notice(self, line: str) -> None:
        assert "\n" not in line
        self.notices.append(line)


@dataclass(frozen=True)
class Trial:
    """What `Conduct.next` handed out."""

    id: str
    asked: Mapping[str, Any]
    host: str

    @property
    def configuration(self) -> Configuration:
        return Configuration(**self.asked["configuration"])

    @property
    def attempt(self) -> str:
        return str(self.asked["attempt"])


class Scene:
    """A sweep and the world it runs in; every question takes half a second of its clock."""

    def __init__(
        self,
        out: OutputFolder,
        *,
        nodes: Iterable[Node],
        space: Space,
        bench: Saying,
        known: Mapping[Configuration, TrialRecord],
        disks: Disks,
        trials: int,
        loads_weights: bool,
        sampler: SamplerName,
        guide: Guiding | None,
    ) -> None:
        self.out, self.bench, self.disks = out, bench, disks
        self.clock, self.nodes = Clock(), by_id(*nodes)
        self.search = Search(
            space=space,
            question=QUESTION,
            name="test",
            trials=trials,
            seed=0,
            known=known,
            loads_weights=loads_weights,
            sampler=sampler,
            guide=guide,
        )
        self.staff = Staff(self.nodes)
        self.told = Told(out.folder)
        asked = list(demands(self.search.space, bench, self.nodes.values()).values())
        self.pool = Pool(self.staff, asked, max(1, self.search.remaining))
        self.spools = Spools(out, self.clock)
        self.conduct = Conduct(
            search=self.search,
            bench=bench,
            workload=SHORT.summary(),
            out=out,
            watcher=self.told,
            pool=self.pool,
            spools=self.spools,
            nodes=lambda: dict(self.nodes),
            terms=TERMS,
            clock=self.clock,
        )
        self.begun: list[Trial] = []
        self.flight: list[Trial] = []

    def ask(self) -> Trial | None:
        """The next trial, if one can run now."""
        self.clock.pass_by(LOOK_S)
        trial_id = f"trial-{len(self.begun)}"
        asked = self.conduct.next(trial_id)
        if asked is None:
            return None
        (worker,) = [each for each in self.pool.workers if each.name == asked["worker"]]
        assert worker.home is not None
        trial = Trial(trial_id, asked, worker.home.host)
        self.begun.append(trial)
        self.flight.append(trial)
        return trial

    def begin(self, most: int = 100) -> list[Trial]:
        """Ask until nothing can run now (a worker needs one look to be hired and one to answer), or `most` run."""
        begun: list[Trial] = []
        unanswered = 0
        while unanswered < 3 and len(begun) < most:
            trial = self.ask()
            unanswered = 0 if trial else unanswered + 1
            begun += [trial] if trial else []
        return begun

    def begin_again(self, configuration: Configuration) -> Trial:
        """The trial that runs this configuration once more; the others finish meanwhile."""
        for _ in range(100):
            trial = self.ask()
            if trial is not None and trial.configuration == configuration:
                return trial
            for other in list(self.flight):
                self.finish(other)
        raise AssertionError(f"{configuration} does not run again")

    def begin_one(self, gpu: str | None = None) -> Trial:
        """A trial that runs now, on this kind if it is named; any others that begin meanwhile go on."""
        for _ in range(20):
            trial = self.ask()
            if trial is not None and gpu in (None, trial.configuration.gpu):
                return trial
        raise AssertionError(f"no trial begins on {gpu or 'any kind'}")

    def record(self, trial: Trial, outcome: Measurement | Refusal | None = None) -> TrialRecord:
        """What the worker of `trial` writes."""
        made = outcome or measurement(ttft_s=0.1 * trial.configuration.batch_size)
        asked = trial.configuration
        return TrialRecord(
            key=record_key(asked, SHORT.summary(), self.bench.identity(asked)),
            configuration=asked,
            workload=SHORT.summary(),
            identity=self.bench.identity(asked),
            provenance=replace(PROVENANCE, host=trial.host, attempt=trial.attempt),
            measurement=made if isinstance(made, Measurement) else None,
            refusal=made if isinstance(made, Refusal) else None,
        )

    def measure(self, trial: Trial, outcome: Measurement | Refusal | None = None) -> TrialRecord:
        """The worker settles, measures and keeps the record on its node; nobody is told yet."""
        for attempt in trial.asked["settled"]:
            self.disks.lines[trial.host].pop(attempt)
        made = self.record(trial, outcome)
        self.disks.keep(trial.host, trial.attempt, encode(made))
        return made

    def finish(self, trial: Trial, outcome: Measurement | Refusal | None = None) -> TrialRecord:
        """The worker measures, and its supervisor reports."""
        made = self.measure(trial, outcome)
        self.report(trial, made)
        return made

    def report(self, trial: Trial, made: TrialRecord, unspooled: str | None = None) -> None:
        result = {"record": encode(made).decode(), "unspooled": unspooled, "done": True, "training_iteration": 1}
        self._end(trial, result)

    def lose(self, trial: Trial, reason: str = "its worker died") -> None:
        """The worker is dead; its supervisor says so."""
        self._end(trial, {"lost": reason, "done": True})

    def _end(self, trial: Trial, result: Mapping[str, Any]) -> None:
        self.flight = [each for each in self.flight if each is not trial]
        self.conduct.ended(trial.id, result)

    def cut_off(self, *gone: Node) -> None:
        for each in gone:
            del self.nodes[each.node_id]
            self.disks.silent.add(each.host)

    def bring_back(self, *back: Node) -> list[Node]:
        """The same hosts as new nodes, as Ray has it."""
        joined = [replace(each, node_id=f"{each.node_id}-again") for each in back]
        for each in joined:
            self.nodes[each.node_id] = each
            self.disks.silent.discard(each.host)
        return joined

    def run(self, most_turns: int = 300) -> None:
        """Let everything finish that can, what runs already too."""
        for _ in range(most_turns):
            for trial in list(self.flight):
                self.finish(trial)
            if self.conduct.over:
                return
            self.ask()
        raise AssertionError(f"still not over: {self.told.notices}")

    @property
    def written(self) -> list[TrialRecord]:
        """The records on disk."""
        return read(self.out.folder)[0]


@contextlib.contextmanager
def scene(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    nodes: Iterable[Node] = (ONE, ADA),
    space: Space = SPACE,
    bench: Saying | None = None,
    known: Mapping[Configuration, TrialRecord] | None = None,
    trials: int = 100,
    loads_weights: bool = False,
    sampler: SamplerName = "exhaustive",
    guide: Guiding | None = None,
) -> Iterator[Scene]:
    """A sweep over one T4 and one Ada, with changes."""
    disks = Disks()
    disks.instead_of_ray(monkeypatch)
    with OutputFolder(folder) as out:
        yield Scene(
            out,
            nodes=nodes,
            space=space,
            bench=bench or Saying(),
            known=known or {},
            disks=disks,
            trials=trials,
            loads_weights=loads_weights,
            sampler=sampler,
            guide=guide,
        )
