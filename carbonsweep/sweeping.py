"""From what is asked of a sweep to its answer: find what is known, run the rest, rank, write, print."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from carbonsweep import facts
from carbonsweep.bench import Bench
from carbonsweep.domain import Configuration, TrialRecord, Workload, WorkloadSummary
from carbonsweep.errors import EXIT_ANSWER, EXIT_INTERRUPTED, EXIT_NOTHING_FEASIBLE, CarbonsweepError
from carbonsweep.records import OutputFolder, is_failure, read
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import Space

if TYPE_CHECKING:
    from carbonsweep.benches import Chosen
    from carbonsweep.cluster.status import Outcome
    from carbonsweep.placement.answers import Sought
    from carbonsweep.quality import Quality
    from carbonsweep.search.counsel import Guiding
    from carbonsweep.search.sampling import Sampling
    from carbonsweep.search.study import Search


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of one sweep, and which records of a folder answer it.

    `bench` is the one workers run, and `elsewhere` makes the workload on their machines; `here` tells what the bench
    is, as seen from this one.
    """

    bench: Bench
    here: Bench
    space: Space
    question: Question
    workload: Workload
    elsewhere: Callable[[], Workload]
    summary: WorkloadSummary
    name: str
    quality: Quality | None = None
    sought: Sought | None = None

    def known(self, folder: OutputFolder) -> dict[Configuration, TrialRecord]:
        """The reusable record of each configuration; a failure, of trial or meter, is none: it is tried again.

        Those of other batch sizes are among them: one that does not fit tells of the larger ones.
        """
        return {
            record.configuration: record
            for record in self._matching(folder)
            if not is_failure(record) and self.question.lacks(record) is None
        }

    def records(self, folder: OutputFolder) -> list[TrialRecord]:
        """Every record of this sweep in the folder, failures included, in the order of configurations."""
        mine = (record for record in self._matching(folder) if record.configuration in self.space)
        return sorted(mine, key=lambda record: record.configuration)

    @property
    def loads_weights(self) -> bool:
        """Whether another model costs time: a model of a device has no weights."""
        return any(self.here.identity(one).basis != "modelled" for one in self._one_of_each_kind())

    @property
    def is_modelled(self) -> bool:
        """Whether every configuration is modelled, so that the exact answer is known as well."""
        return all(self.here.identity(one).basis == "modelled" for one in self._one_of_each_kind())

    @property
    def kind_here(self) -> str | None:
        """The GPU kind of this machine, where it is measured: there is one at most."""
        measured = (one.gpu for one in self._one_of_each_kind() if self.here.identity(one).basis != "modelled")
        return next((kind for kind in measured if kind != facts.CPU), None)

    def _one_of_each_kind(self) -> list[Configuration]:
        return list({one.gpu: one for one in self.space.configurations()}.values())

    def _matching(self, folder: OutputFolder) -> Iterator[TrialRecord]:
        from carbonsweep.search.reuse import matching_records

        return matching_records(folder.records.values(), self.space, self.here, self.summary)


def asked(
    *,
    chosen: Chosen,
    here: Bench,
    space: Space,
    question: Question,
    workload: Workload,
    elsewhere: Callable[[], Workload],
    quality: Quality | None = None,
    sought: Sought | None = None,
) -> Asked:
    """Say which bench answers and refuse what it cannot know. Raises EnergyUnknown.

    `elsewhere` makes the same workload on the workers' machines.
    """
    from carbonsweep import benches, terminal
    from carbonsweep.search.objectives import study_name

    benches.require_energy(here, space, question)
    summary = workload.summary()
    terminal.say(chosen.statement)
    for label in benches.weights(here, space):
        terminal.say(f"Weights of {label}.")
    return Asked(
        bench=chosen.bench,
        here=here,
        space=space,
        question=question,
        workload=workload,
        elsewhere=elsewhere,
        summary=summary,
        name=study_name(space, question, summary.digest, map(here.identity, space.configurations())),
        quality=quality,
        sought=sought,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sweep runs, the cluster this process is connected to or one it starts here; and how patiently."""

    connected: bool
    trial_timeout_s: float
    node_grace_s: float


def run(asked: Asked, place: Place, sampling: Sampling, *, out: Path) -> int:
    """Sweep, answer, write; an interrupted sweep answers from what it has and says so. Returns the exit code."""
    from carbonsweep import search_lines, terminal
    from carbonsweep.cluster.status import Outcome

    with OutputFolder(out) as folder:
        for damaged in folder.damaged:
            terminal.warn(f"{out}/records.jsonl line {damaged.number} is damaged and was set aside: {damaged.reason}")
        hosts = _gather(folder, place)
        search = _search(asked, folder, sampling)
        _say_interrupted(search, hosts)
        terminal.say(search_lines.space_line(search, out))
        try:
            outcome = _sweep(asked, search, folder, place) if search.remaining else Outcome()
        except KeyboardInterrupt:
            with contextlib.suppress(CarbonsweepError):  # with nothing to rank there is nothing to answer yet
                _answer(asked, folder, search, Outcome(), interrupted=True)
            terminal.warn(f"interrupted: {len(asked.records(folder))} finished trials are kept; run it again to go on")
            return EXIT_INTERRUPTED
        _say_outcome(outcome)
        return EXIT_ANSWER if _answer(asked, folder, search, outcome) else EXIT_NOTHING_FEASIBLE


def _gather(folder: OutputFolder, place: Place) -> set[str] | None:
    """Merge what an interrupted sweep left on the machines that measured; the hosts that were asked, None: only here.

    What a host does not hand over now it may another time.
    """
    from carbonsweep import terminal
    from carbonsweep.spool import merge_own

    found = merge_own(folder)
    hosts = None
    if place.connected:
        from carbonsweep.cluster.gathering import gather

        gathered = gather(folder)
        found += gathered.new
        hosts = gathered.hosts
        for line in gathered.notices:
            terminal.warn(line)
    if found:
        terminal.warn(f"{found} finished trials of an interrupted sweep were found where they ran, and are kept")
    return hosts


def _search(asked: Asked, folder: OutputFolder, sampling: Sampling) -> Search:
    """Each sampler has a study of its own, over the same records."""
    from carbonsweep.search.journal import journal
    from carbonsweep.search.study import Search

    return Search(
        space=asked.space,
        question=asked.question,
        name=f"{asked.name}-{sampling.sampler}",
        trials=sampling.trials,
        seed=sampling.seed,
        known=asked.known(folder),
        sampler=sampling.sampler,
        storage=journal(folder.folder),
        loads_weights=asked.loads_weights,
        guide=_guide(asked, sampling) if sampling.sampler == "guided" else None,
        chance_left=sampling.chance_left,
    )


def _guide(asked: Asked, sampling: Sampling) -> Guiding:
    from carbonsweep.search.guided.guide import Guide

    configurations = tuple(asked.space.configurations())
    return Guide(configurations=configurations, workload=asked.workload, question=asked.question, seed=sampling.seed)


def _say_interrupted(search: Search, hosts: set[str] | None) -> None:
    """How many trials were cut short last time, and how many of them may have finished where nobody can look now."""
    from carbonsweep import terminal

    ran = [host for _, host in search.interrupted if host is not None]  # the others were chosen, and not sent yet
    if ran:
        again = "run again" if search.remaining else "not run again"
        terminal.warn(f"trials that were running when the last sweep ended, and {again}: {len(ran)}")
    away = Counter(host for host in ran if hosts is not None and host not in hosts)
    for host, count in sorted(away.items()):
        terminal.warn(f"{host} is not in the cluster: at most {count} finished measurements are out of reach there")


def _say_outcome(outcome: Outcome) -> None:
    from carbonsweep import terminal

    if outcome.lost:
        why = ", ".join(sorted(set(outcome.lost)))
        terminal.warn(f"{len(outcome.lost)} trials ended without a result ({why}); run it again to retry them")
    for host, count in outcome.unreachable:
        terminal.warn(f"{host} went with trials running: at most {count} finished measurements are out of reach")
    for what, count in outcome.closed:
        terminal.warn(f"no node with {what} was left, {count} configurations are untried: run it again with one")


def _sweep(asked: Asked, search: Search, folder: OutputFolder, place: Place) -> Outcome:
    """Run what is left; Ray is not even imported when nothing is."""
    from carbonsweep.cluster.conduct import Terms
    from carbonsweep.cluster.connection import connection
    from carbonsweep.cluster.sweep import sweep
    from carbonsweep.progress import TrialProgress

    here = contextlib.nullcontext() if place.connected else connection(None, asked.kind_here)
    known = asked.records(folder)
    with TrialProgress(search.remaining, asked.question, stops_below=search.stops_below, known=known) as progress, here:
        return sweep(
            search=search,
            bench=asked.bench,
            here=asked.here,
            workload=asked.elsewhere,
            summary=asked.summary,
            out=folder,
            watcher=progress,
            terms=Terms(trial_timeout_s=place.trial_timeout_s, node_grace_s=place.node_grace_s),
        )


def _answer(asked: Asked, folder: OutputFolder, search: Search, outcome: Outcome, *, interrupted: bool = False) -> bool:
    """Answer from the records of this sweep, write it and print it; whether anything is feasible."""
    from carbonsweep import exact, placement_lines, quality_front, results, search_lines, terminal
    from carbonsweep.answer import answer
    from carbonsweep.certainty.answers import of_answer
    from carbonsweep.document import document
    from carbonsweep.facts.draws import fit_draws
    from carbonsweep.placement.answers import beside, is_answered
    from carbonsweep.placement_progress import followed
    from carbonsweep.sweep_cost import sweep_cost

    records = asked.records(folder)
    found = answer(records, asked.question)
    with followed(asked.sought) as sought:
        placed = beside(records, found, sought)
    exactly = exact.plan(asked.space, asked.workload, asked.question) if asked.is_modelled else None
    regret = None if exactly is None else exact.regret(found, exactly)
    how = search_lines.searched(
        search, records, feasible=found.best is not None, modelled=asked.is_modelled, interrupted=interrupted
    )
    notes = {
        "complete": outcome.complete and not interrupted,
        search_lines.KEY: how,
        "study": search.study.study_name,
        "space": {axis: list(choices) for axis, choices in asked.space.axes().items()},
        **({"of_kind": asked.space.of_kind} if asked.space.of_kind else {}),
        "lost": list(outcome.lost),
        "unreachable": dict(outcome.unreachable),
        "untried": dict(outcome.closed),
        "workload": records[0].workload,
        **({} if asked.quality is None else {quality_front.KEY: quality_front.document(found, asked.quality)}),
        placement_lines.KEY: placement_lines.document(placed),
        "records": [record.key for record in records],
    }
    # Attempts that failed before one succeeded were paid for as well.
    keys = {record.key for record in records}
    tried = [record for record in read(folder.folder)[0] if record.key in keys]
    cost = sweep_cost(tried, asked.question.scenario, lost=len(outcome.lost))
    sure = of_answer(found, fit_draws())
    written = results.plain(document(found, regret=regret, certainty=sure, cost=cost, notes=notes))
    results.write(folder.folder, found, written)
    terminal.show_answer(found, written, sure, placement_lines.around(placed))
    files = ", ".join(results.written(found))
    terminal.say(f"Written to {folder.folder}: {files}; study.journal for optuna-dashboard.")
    return is_answered(found, placed)
