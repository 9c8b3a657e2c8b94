"""Optuna: which configuration next, told what came of the last. No Ray here, so a search can run in any loop.

Limits are Optuna constraints (`Trial.set_constraint`), set before a trial is told; a configuration that does not fit
is told complete, infeasible and with a penalty, because a failed state teaches the sampler nothing.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, BruteForceSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.errors import StorageFailed
from carbonsweep.records import is_failure, write_atomically
from carbonsweep.search.objectives import Question
from carbonsweep.search.order import grouped, next_in_order
from carbonsweep.search.space import Space

JOURNAL: Final = "study.journal"
PENALTY: Final = 1e12
"""Loss of a configuration without a measurement: larger than any grams, joules, seconds or tokens/s here."""
REFUSED: Final = "refused"
"""Constraint of a configuration that does not fit, is not supported, or whose energy nobody knows."""
ATTEMPTS: Final = 20
"""Suggestions of known points taken from the sampler before a new one is drawn at random."""


class Search:
    """One study: hands out configurations nobody has evaluated, at most `trials` in all, and learns from records.

    `known` holds the reusable record of each configuration that has one: inside the space it is told at once and counts
    as a trial. `storage` None keeps the study in memory. `loads_weights` says that changing the model costs time: where
    every point gets its trial anyway, they are then handed out in the order of `order`, and the sampler is not asked.
    """

    def __init__(
        self,
        *,
        space: Space,
        question: Question,
        name: str,
        trials: int,
        seed: int,
        known: Mapping[Configuration, TrialRecord],
        storage: BaseStorage | None = None,
        loads_weights: bool = False,
    ) -> None:
        self._space, self._question = space, question
        self._known = dict(known)
        self._budget = min(trials, space.size)
        self._in_order = grouped(space.configurations()) if loads_weights and trials >= space.size else None
        self._last: Configuration | None = None
        self._distributions = distributions(space)
        self._random = random.Random(seed)
        self._running: dict[Configuration, optuna.Trial] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=sampler(space, self._budget, seed),
            directions=["maximize" if o.sign < 0 else "minimize" for o in question.objectives],
            load_if_exists=True,
        )
        # A finished trial counts only while its record does: the records are the truth, the journal follows them.
        self._told = {
            configuration
            for t in self.study.trials
            if (configuration := _finished(t)) in self._known and configuration is not None
        }
        self.reused = self._tell_known()
        self._close_stale()

    @property
    def space(self) -> Space:
        """What is searched."""
        return self._space

    @property
    def outcomes(self) -> Mapping[Configuration, TrialRecord]:
        """Every record known to this search that is no failure, those given to it included."""
        return self._known

    @property
    def told(self) -> int:
        """Distinct configurations the study knows the outcome of."""
        return len(self._told)

    @property
    def remaining(self) -> int:
        """Configurations still to be handed out."""
        return max(0, self._budget - len(self._told) - len(self._running))

    def suggest(self) -> Configuration | None:
        """The next configuration to run, or None when the budget is handed out."""
        if not self.remaining:
            return None
        for _ in range(0 if self._in_order else ATTEMPTS):
            if (configuration := self._ask()) is not None:
                return configuration
        return self._ask_untried()

    def tell(self, record: TrialRecord) -> None:
        """Learn what came of a suggested configuration. A failure stays a failure: nothing is known of the point."""
        asked = self._running.pop(record.configuration)
        if is_failure(record):
            _tell(self.study, asked, state=TrialState.FAIL)
        else:
            self._tell_outcome(asked, record)
            self._known[record.configuration] = record
        self._told.add(record.configuration)
        self._last = record.configuration

    def abandon(self, configuration: Configuration) -> None:
        """The trial died without a record: close it, so that it is not left running."""
        asked = self._running.pop(configuration, None)
        if asked is not None:
            _tell(self.study, asked, state=TrialState.FAIL)
            self._told.add(configuration)

    def _tell_outcome(self, asked: optuna.Trial, record: TrialRecord) -> None:
        values, constraints = told_values(record, self._question)
        for name, violation in constraints.items():
            asked.set_constraint(name, violation)
        asked.set_user_attr("record", record.key)
        _tell(self.study, asked, values=values)

    def _tell_known(self) -> int:
        """Tell records from earlier sweeps, in the order of configurations, up to the budget."""
        reused = 0
        for configuration, record in sorted(self._known.items(), key=lambda pair: pair[0]):
            if len(self._told) >= self._budget:
                break
            if configuration in self._told or configuration not in self._space:
                continue
            values, constraints = told_values(record, self._question)
            self.study.add_trial(
                create_trial(
                    values=values,
                    params=_params(configuration),
                    distributions=self._distributions,
                    constraints=constraints,
                    user_attrs={"record": record.key, "reused": True},
                )
            )
            self._told.add(configuration)
            reused += 1
        return reused

    def _close_stale(self) -> None:
        """Trials an interrupted sweep left running: failed, and their configurations first in the queue."""
        for stale in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self.study, stale._trial_id)
            # Killed while it was asked for, a trial has some parameters only, and the exhaustive sampler breaks on it.
            for axis, choices in self._space.axes().items():
                trial.suggest_categorical(axis, choices)
            _tell(self.study, trial, state=TrialState.FAIL)
            if Configuration(**trial.params) not in self._told:
                self.study.enqueue_trial(trial.params)

    def _ask_untried(self) -> Configuration | None:
        """The next in order, or one at random; what an interrupted sweep left in Optuna's queue comes before it."""
        untried = [c for c in self._in_order or self._space.configurations() if not self._is_taken(c)]
        if not untried:
            return None
        chosen = next_in_order(untried, self._running, self._last) if self._in_order else self._random.choice(untried)
        while True:
            if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                self.study.enqueue_trial(_params(chosen))
            if (configuration := self._ask()) is not None:
                return configuration

    def _ask(self) -> Configuration | None:
        """The sampler's next configuration, now running; None where it is taken already, and told again."""
        asked = self.study.ask(self._distributions)
        configuration = Configuration(**asked.params)
        if self._is_taken(configuration):
            self._pass_over(asked, configuration)
            return None
        self._running[configuration] = asked
        return configuration

    def _pass_over(self, asked: optuna.Trial, configuration: Configuration) -> None:
        """Known already: the sampler is told again, so that it moves on; in flight or failed: nothing is known."""
        record = self._known.get(configuration)
        if record is None:
            _tell(self.study, asked, state=TrialState.FAIL)
        else:
            self._tell_outcome(asked, record)

    def _is_taken(self, configuration: Configuration) -> bool:
        return configuration in self._told or configuration in self._running


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """One categorical per axis, named as in `Configuration`; the same for every trial of a study."""
    return {axis: CategoricalDistribution(choices) for axis, choices in space.axes().items()}


def sampler(space: Space, trials: int, seed: int) -> BaseSampler:
    """Exhaustive where every point gets its trial, else TPE.

    TPE takes every axis for unordered categories: Optuna 5 dropped the distance function that ordered batch sizes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if trials >= space.size:
            return BruteForceSampler(seed=seed)
        return TPESampler(seed=seed, constant_liar=True)


def journal(folder: Path) -> BaseStorage:
    """The study file of an output folder; optuna-dashboard opens it. Raises StorageFailed.

    A line cut short by a crash would make the file unreadable with the next one written, so everything from the first
    damaged line on is set aside: what it said is in the records.
    """
    path = folder / JOURNAL
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise StorageFailed(f"cannot read {path}: {error.strerror}") from error
    whole = _whole_lines(content)
    if len(whole) < len(content):
        write_atomically(folder / f"{JOURNAL}.damaged", content[len(whole) :])
        write_atomically(path, whole)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (KeyError, TypeError, ValueError):
        # JSON, but nothing Optuna wrote.
        write_atomically(folder / f"{JOURNAL}.damaged", content)
        write_atomically(path, b"")
        return JournalStorage(JournalFileBackend(str(path)))


def _whole_lines(content: bytes) -> bytes:
    """The longest beginning that is lines of JSON objects."""
    end = 0
    for line in content.splitlines(keepends=True):
        try:
            whole = line.endswith(b"\n") and isinstance(json.loads(line), dict)
        except (ValueError, RecursionError):
            whole = False
        if not whole:
            break
        end += len(line)
    return content[:end]


def told_values(record: TrialRecord, question: Question) -> tuple[list[float], dict[str, float]]:
    """Values and constraint violations (above 0: infeasible) of a record that is no failure."""
    if record.measurement is None or question.lacks(record) is not None:
        return [o.sign * PENALTY for o in question.objectives], {REFUSED: 1.0}
    return list(question.values(record.measurement)), {REFUSED: 0.0, **question.slo.excess(record.measurement)}


def _params(configuration: Configuration) -> dict[str, Any]:
    return {field: getattr(configuration, field) for field in Configuration.__slots__}


def _finished(frozen: FrozenTrial) -> Configuration | None:
    return Configuration(**frozen.params) if frozen.state == TrialState.COMPLETE else None


def _tell(study: optuna.Study, asked: optuna.Trial, **outcome: Any) -> None:
    """`Study.tell`; the exhaustive sampler, with nothing left to try, would stop an optimize loop we do not run."""
    try:
        study.tell(asked, **outcome)
    except RuntimeError:
        if not study.trials[asked.number].state.is_finished():
            raise
