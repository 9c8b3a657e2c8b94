"""The trials of a search as an Optuna study keeps them: asked for, told, failed. Nothing is chosen here.

Limits are Optuna constraints (`Trial.set_constraint`), set before a trial is told; a configuration that does not fit
is told complete, infeasible and with a penalty, because a failed state teaches the sampler nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.search import parameters
from carbonsweep.search.objectives import Question
from carbonsweep.search.sampling import SamplerName
from carbonsweep.search.space import Space

PENALTY: Final = 1e12
"""Loss of a configuration without a measurement: larger than any grams, joules, seconds or tokens/s here."""
REFUSED: Final = "refused"
"""Constraint of a configuration that does not fit, is not supported, or whose energy nobody knows."""
HOST: Final = "host"
"""User attribute of a trial: where it was sent to run."""

Told = tuple[list[float], dict[str, float]]
"""Values in the order of the objectives, and constraint violations by name (above 0: infeasible)."""


class Ledger:
    """One study, opened or continued. `sampler` is the name of `optuna_sampler`, which proposes for some names only."""

    def __init__(
        self,
        *,
        space: Space,
        question: Question,
        name: str,
        storage: BaseStorage | None,
        sampler: SamplerName,
        optuna_sampler: BaseSampler,
    ) -> None:
        self._space, self._question, self._sampler = space, question, sampler
        self._worst: Told | None = None
        self._held: list[TrialRecord] = []
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=optuna_sampler,
            directions=["maximize" if o.sign < 0 else "minimize" for o in question.objectives],
            load_if_exists=True,
        )
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if not trial.constraints.get(REFUSED, 0.0) > 0:
                self._note_worst(trial.values, trial.constraints)

    def finished(self) -> set[Configuration]:
        """Configurations with a trial that is complete."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return {parameters.configuration(self._space, trial.params) for trial in done}

    def close_stale(self) -> list[tuple[Configuration, str | None]]:
        """Fail the trials an interrupted sweep left running or queued; returns what they were, and where they ran."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        stale = [optuna.Trial(self.study, each._trial_id) for each in running]
        queued = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        stale += [self.study.ask() for _ in queued]
        closed = []
        for trial in stale:
            # Killed while it was asked for, a trial has some parameters only.
            closed.append((parameters.completed(trial, self._space), trial.user_attrs.get(HOST)))
            self.fail(trial)
        return closed

    def begin(self, configuration: Configuration) -> optuna.Trial:
        """A trial of this configuration, running from now on."""
        self.study.enqueue_trial(parameters.params(self._space, configuration))
        while True:
            found, trial = self.proposed()
            if found == configuration:
                if self._sampler == "nsga2":
                    # Optuna 5 puts a trial into a generation where it asks the sampler for parameters, and one from the
                    # queue has them all: it would never be a parent.
                    _ = trial.relative_params
                return trial
            self.fail(trial)  # somebody else put it into the queue

    def proposed(self) -> tuple[Configuration, optuna.Trial]:
        """What Optuna's sampler chooses, and its trial."""
        trial = parameters.ask(self.study, self._space)
        return parameters.configuration(self._space, trial.params), trial

    def tell(self, trial: optuna.Trial, record: TrialRecord) -> None:
        """What came of a trial, where that is no failure."""
        told = self._told(record)
        if told is None:
            self.fail(trial)
            return
        values, constraints = told
        for name, violation in constraints.items():
            trial.set_constraint(name, violation)
        trial.set_user_attr("record", record.key)
        self.study.tell(trial, values)
        self._release()

    def fail(self, trial: optuna.Trial) -> None:
        """Nothing is known of its configuration."""
        self.study.tell(trial, state=TrialState.FAIL)

    def add(self, record: TrialRecord) -> None:
        """A record that needed no trial."""
        told = self._told(record)
        if told is None:
            return
        if self._sampler == "nsga2":  # one that is only added belongs to no generation
            trial = self.begin(record.configuration)
            trial.set_user_attr("reused", True)
            self.tell(trial, record)
            return
        values, constraints = told
        self.study.add_trial(
            create_trial(
                values=values,
                params=parameters.params(self._space, record.configuration),
                distributions=parameters.distributions(self._space, record.configuration),
                constraints=constraints,
                user_attrs={"record": record.key, "reused": True},
            )
        )
        self._release()

    def _told(self, record: TrialRecord) -> Told | None:
        """As `told_values`; for gp as `_for_gp`."""
        return self._for_gp(record) if self._sampler == "gp" else told_values(record, self._question)

    def _for_gp(self, record: TrialRecord) -> Told | None:
        """Optuna's GP standardises values, wants every constraint of every trial, and a penalty would drown the rest.

        So a refusal is told as bad as the worst that was measured, on every count; before anything was measured it is
        held back (`GPSampler._get_constraints_acqf_args`, `_standardize_values`, 5.0).
        """
        values, constraints = told_values(record, self._question)
        if not constraints[REFUSED] > 0:
            self._note_worst(values, constraints)
            return values, constraints
        if self._worst is None:
            self._held.append(record)
            return None
        return self._worst[0], {**self._worst[1], REFUSED: 1.0}

    def _note_worst(self, values: Sequence[float], constraints: Mapping[str, float]) -> None:
        before_values, before = self._worst or (values, constraints)
        signs = [o.sign for o in self._question.objectives]
        self._worst = (
            [s * max(s * a, s * b) for s, a, b in zip(signs, values, before_values, strict=True)],
            {name: max(violation, before[name]) for name, violation in constraints.items()},
        )

    def _release(self) -> None:
        """Refusals that were held back, now that something is measured."""
        held, self._held = self._held, []
        for record in held:
            self.add(record)


def told_values(record: TrialRecord, question: Question) -> Told:
    """Values and constraint violations of a record that is no failure."""
    if record.measurement is None or question.lacks(record) is not None:
        return [o.sign * PENALTY for o in question.objectives], {REFUSED: 1.0}
    return list(question.values(record.measurement)), {REFUSED: 0.0, **question.slo.excess(record.measurement)}
