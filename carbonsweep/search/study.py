"""Optuna: which configuration next, told what came of the last. No Ray here, so a search can run in any loop.

Limits are Optuna constraints (`Trial.set_constraint`), set before a trial is told; a configuration that does not fit
is told complete, infeasible and with a penalty, because a failed state teaches the sampler nothing.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.records import is_failure
from carbonsweep.search import parameters
from carbonsweep.search.objectives import Question
from carbonsweep.search.order import grouped, next_in_order
from carbonsweep.search.sampling import sampler
from carbonsweep.search.space import Space

PENALTY: Final = 1e12
"""Loss of a configuration without a measurement: larger than any grams, joules, seconds or tokens/s here."""
REFUSED: Final = "refused"
"""Constraint of a configuration that does not fit, is not supported, or whose energy nobody knows."""
ATTEMPTS: Final = 20
"""Suggestions of known points taken from the sampler before a new one is drawn at random."""
AHEAD: Final = 4
"""Suggestions that may wait for their GPU kind to be free before the sampler is asked for no more: each was chosen
without the outcomes that come in meanwhile."""
HOST: Final = "host"
"""User attribute of a trial: where it was sent to run."""


class Search:
    """One study: hands out configurations nobody has evaluated, at most `trials` in all, and learns from records.

    `known` holds the reusable record of each configuration that has one: inside the space it is told at once and counts
    as a trial. `storage` None keeps the study in memory. Where every point gets its trial anyway, no sampler is asked;
    `loads_weights` says that changing the model costs time, and they are then handed out in the order of `order`.
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
        self._all = _whole(space, loads_weights) if trials >= space.size else None
        self._ordered = loads_weights
        self._last: Configuration | None = None
        self._random = random.Random(seed)
        self._running: dict[Configuration, optuna.Trial] = {}
        self._waiting: list[Configuration] = []
        self._closed: set[Configuration] = set()
        self.interrupted: list[tuple[Configuration, str | None]] = []
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
            if (configuration := self._finished(t)) in self._known and configuration is not None
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
        possible = min(self._budget, self._space.size - len(self._closed))
        return max(0, possible - len(self._told) - len(self._running))

    @property
    def unfinished(self) -> int:
        """Configurations handed out, or waiting to be, whose outcome is not known yet."""
        return len(self._running)

    def suggest(self, ready: Callable[[Configuration], bool] = lambda _: True) -> Configuration | None:
        """The next configuration that is `ready` to run, or None: the budget is handed out, or nothing is ready now.

        A sampler chooses freely, and what it chose waits until it is ready: a GPU that happens to be free does not bend
        the search. Where every point gets its trial anyway, what is ready goes first.
        """
        for waiting in self._waiting:
            if ready(waiting):
                self._waiting.remove(waiting)
                return waiting
        while self.remaining and len(self._waiting) < AHEAD:
            configuration = self._next(ready)
            if configuration is None or ready(configuration):
                return configuration
            self._waiting.append(configuration)
        return None

    def is_known(self, configuration: Configuration) -> bool:
        """Whether the outcome of a configuration of the space is known, or given up."""
        return configuration in self._told

    def wished(self) -> list[Configuration]:
        """What would run next if anything could be had: what waits, else the first untried in order."""
        untried = () if self._waiting or not self._all else (c for c in self._all if not self._is_taken(c))
        return list(self._waiting) or list(itertools.islice(untried, 1))

    def placed(self, configuration: Configuration, host: str) -> None:
        """Write down where a suggested configuration runs: should the sweep be killed, its record may be there."""
        self._running[configuration].set_user_attr(HOST, host)

    def again(self, configuration: Configuration) -> None:
        """The trial died without a record: its configuration waits to be handed out once more."""
        self._waiting.insert(0, configuration)

    def learn(self, record: TrialRecord) -> None:
        """Take in a record that was found rather than reported: that of a trial given up, or of an earlier sweep."""
        if record.configuration in self._waiting:
            self._waiting.remove(record.configuration)
        if record.configuration in self._running:
            self.tell(record)
        elif not is_failure(record):
            self._known[record.configuration] = record
            self.reused += self._tell_known()
            self._closed -= self._told

    def close(self, closed: Callable[[Configuration], bool]) -> int:
        """Hand out none of these any more: nothing is left that could run them. Returns how many are untried.

        Those that run now are left to end.
        """
        running = self._running.keys() - set(self._waiting)
        gone = {c for c in self._space.configurations() if closed(c) and c not in self._told and c not in running}
        for configuration in [c for c in self._waiting if c in gone]:
            self._waiting.remove(configuration)
            _tell(self.study, self._running.pop(configuration), state=TrialState.FAIL)
        self._closed |= gone
        return len(gone)

    def tell(self, record: TrialRecord) -> None:
        """Learn what came of a suggested configuration. A failure stays a failure: nothing is known of the point."""
        asked = self._running.pop(record.configuration, None)
        if asked is None:
            return  # found in a spool before it was reported
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
                    params=parameters.params(self._space, configuration),
                    distributions=parameters.distributions(self._space, configuration),
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
            configuration = parameters.completed(trial, self._space)
            _tell(self.study, trial, state=TrialState.FAIL)
            if configuration not in self._told:
                self.study.enqueue_trial(trial.params)
                self.interrupted.append((configuration, trial.user_attrs.get(HOST)))

    def _next(self, ready: Callable[[Configuration], bool]) -> Configuration | None:
        """A configuration that runs from now on: the sampler's, or where it knows none, an untried one."""
        for _ in range(0 if self._all else ATTEMPTS):
            if (configuration := self._ask()) is not None:
                return configuration
        return self._ask_untried(ready)

    def _ask_untried(self, ready: Callable[[Configuration], bool]) -> Configuration | None:
        """The next in order, or one at random; what an interrupted sweep left in Optuna's queue comes before it."""
        queued = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        untried = [c for c in self._all or self._space.configurations() if not self._is_taken(c)]
        if self._all and not queued:
            untried = [c for c in untried if ready(c)]
        if not untried:
            return None
        ordered = self._all is not None and self._ordered
        chosen = next_in_order(untried, self._running, self._last) if ordered else self._random.choice(untried)
        while True:
            if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                self.study.enqueue_trial(parameters.params(self._space, chosen))
            if (configuration := self._ask()) is not None:
                return configuration

    def _ask(self) -> Configuration | None:
        """The sampler's next configuration, now running; None where it is taken already, and told again."""
        asked = parameters.ask(self.study, self._space)
        configuration = parameters.configuration(self._space, asked.params)
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

    def _finished(self, frozen: FrozenTrial) -> Configuration | None:
        complete = frozen.state == TrialState.COMPLETE
        return parameters.configuration(self._space, frozen.params) if complete else None

    def _is_taken(self, configuration: Configuration) -> bool:
        return configuration in self._told or configuration in self._running or configuration in self._closed


def _whole(space: Space, ordered: bool) -> list[Configuration]:
    """Every configuration, in the order of `order` where that saves time."""
    return grouped(space.configurations()) if ordered else list(space.configurations())


def told_values(record: TrialRecord, question: Question) -> tuple[list[float], dict[str, float]]:
    """Values and constraint violations (above 0: infeasible) of a record that is no failure."""
    if record.measurement is None or question.lacks(record) is not None:
        return [o.sign * PENALTY for o in question.objectives], {REFUSED: 1.0}
    return list(question.values(record.measurement)), {REFUSED: 0.0, **question.slo.excess(record.measurement)}


def _tell(study: optuna.Study, asked: optuna.Trial, **outcome: Any) -> None:
    """`Study.tell`; the exhaustive sampler, with nothing left to try, would stop an optimize loop we do not run."""
    try:
        study.tell(asked, **outcome)
    except RuntimeError:
        if not study.trials[asked.number].state.is_finished():
            raise
