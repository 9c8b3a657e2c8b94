"""A ground truth: every configuration of a space, what a trial of it would report, and what is really so."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.truths.guiding import Guiding
from benchmarks.truths.replay import Outcomes, Replay
from carbonsweep.domain import Configuration, Measurement, TrialRecord, Workload
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.trial import trial

Array = NDArray[np.float64]

WITHIN = 0.01
"""A configuration this close to the optimum counts as found."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """`exact` is what is so, without noise; `bench` what a trial reports. Both know every one of `configurations`.

    `limits` and `noise` say in words how limits were chosen (at which `quantile`) and what noise a trial has; `gpu_s`
    are the GPU seconds a trial of each configuration took, where the source tells.
    """

    name: str
    title: str
    configurations: tuple[Configuration, ...]
    workload: Workload
    question: Question
    exact: Outcomes
    bench: Replay
    guiding: Guiding
    limits: str
    noise: str
    quantile: float
    gpu_s: Mapping[Configuration, float] | None = None

    @functools.cached_property
    def records(self) -> Mapping[Configuration, TrialRecord]:
        """The record of a trial of each configuration."""
        return {c: trial(self.bench, c, self.workload) for c in self.configurations}

    @functools.cached_property
    def losses(self) -> Array:
        """True losses of shape (configurations, objectives): less is better, +inf where infeasible or refused."""
        return np.array([self._losses(c) for c in self.configurations], dtype=float)

    @functools.cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Of shape (configurations,): truly measurable and within every limit."""
        return np.isfinite(self.losses[:, 0])

    @functools.cached_property
    def regret(self) -> Array:
        """By how much of the optimum's first loss each configuration is worse, of shape (configurations,)."""
        best = self.losses[:, 0].min()
        return np.asarray((self.losses[:, 0] - best) / abs(best))

    def is_feasible(self, configuration: Configuration) -> bool:
        """Whether it is truly measurable and within every limit."""
        return bool(self.feasible[self._place[configuration]])

    def loss_of(self, configuration: Configuration) -> Array:
        """Its true losses, of shape (objectives,)."""
        return np.asarray(self.losses[self._place[configuration]])

    def regret_of(self, configuration: Configuration) -> float:
        """By how much of the optimum's first loss it is worse; +inf where it is truly infeasible."""
        return float(self.regret[self._place[configuration]])

    @functools.cached_property
    def found(self) -> frozenset[Configuration]:
        """Configurations within 1 % of the true constrained optimum, itself among them."""
        near = self.regret <= WITHIN
        return frozenset(c for c, inside in zip(self.configurations, near, strict=True) if inside)

    @property
    def optimum(self) -> Configuration:
        """The first of the best configurations."""
        return self.configurations[int(np.argmin(self.losses[:, 0]))]

    def asking(self, *names: str) -> Truth:
        """The same truth under other objectives, with the same limits."""
        question = dataclasses.replace(self.question, objectives=objectives(names))
        return dataclasses.replace(self, question=question)

    def misguided(self, factor: float) -> Truth:
        """The same with a guide that has the optimum's GPU kind so many times slower, and states no more error."""
        said = self.guiding.predicted
        off = np.where([c.gpu == self.optimum.gpu for c in self.configurations], factor, 1.0)
        slower = dataclasses.replace(said, prefill_s=said.prefill_s * off, decode_s=said.decode_s * off)
        return dataclasses.replace(self, guiding=dataclasses.replace(self.guiding, predicted=slower))

    def guide_errors(self) -> tuple[float, float]:
        """Median and worst relative error of the guiding model on the first objective, over what can be measured."""
        guessed, true = [], []
        said = self.guiding.values(self.question, self.workload)
        for i, c in enumerate(self.configurations):
            outcome = self.exact[c]
            if isinstance(outcome, Measurement) and np.isfinite(said[i]):
                guessed.append(said[i])
                true.append(self.question.values(outcome)[0])
        off = np.abs(np.array(guessed) / np.array(true) - 1)
        return float(np.median(off)), float(off.max())

    @functools.cached_property
    def _place(self) -> dict[Configuration, int]:
        return {c: i for i, c in enumerate(self.configurations)}

    def _losses(self, configuration: Configuration) -> tuple[float, ...]:
        outcome = self.exact[configuration]
        if isinstance(outcome, Measurement) and self.question.slo.is_met(outcome):
            return self.question.losses(outcome)
        return (np.inf,) * len(self.question.objectives)
