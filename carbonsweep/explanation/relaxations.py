"""The smallest changes of the limits that change the best, and what each saves: steps, from the records alone.

Limits are only raised, each step exactly to what one candidate needs; between the steps nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from carbonsweep.answer import Answer, Candidate
from carbonsweep.explanation.binding import saving
from carbonsweep.search.noise import has_noise, is_hidden, objective_noise
from carbonsweep.search.objectives import worst_excess


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """Limits raised to `raised` (seconds, by name), those that `candidate` misses; it is the best from there on.

    `share` is the largest relative rise. `saving` is relative to the answer's best (of throughput: a gain); None where
    there is none, since nothing is feasible, or its objective is 0. `in_noise`: measurement noise hides the saving.
    """

    candidate: Candidate
    raised: Mapping[str, float]
    share: float
    saving: float | None
    in_noise: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxations:
    """Steps of each limit raised alone, by name, and of all limits raised together by one share; smallest first.

    Both are fronts: each step needs more than the one before, and gives more.
    """

    alone: Mapping[str, tuple[Relaxation, ...]]
    together: tuple[Relaxation, ...]

    @property
    def cheapest(self) -> Relaxation | None:
        """The smallest rise, relative to the limit, that changes the best; with nothing feasible, that gives one."""
        return self.together[0] if self.together else None

    @property
    def cheapest_alone(self) -> dict[str, Relaxation]:
        """The first step of each limit that has one, the smallest first."""
        first = {name: steps[0] for name, steps in self.alone.items() if steps}
        return dict(sorted(first.items(), key=lambda pair: pair[1].share))


def relaxations(found: Answer) -> Relaxations:
    """Of an answer with limits; without any there are no steps."""
    limits = found.question.slo.limits()
    alone = {
        name: _steps(found, [c for c in found.infeasible if all(c.excess[n] <= 0 for n in limits if n != name)])
        for name in limits
    }
    return Relaxations(alone=alone, together=_steps(found, found.infeasible))


def _steps(found: Answer, candidates: Iterable[Candidate]) -> tuple[Relaxation, ...]:
    """In the order of what they need, those that are better than everything that needs less."""
    best = found.best
    reached = float("inf") if best is None else best.losses[0]
    steps = []
    for candidate in sorted(candidates, key=lambda c: (worst_excess(c.excess), c.losses, c.record.configuration)):
        if candidate.losses[0] < reached:
            steps.append(_relaxation(found, candidate))
            reached = candidate.losses[0]
    return tuple(steps)


def _relaxation(found: Answer, candidate: Candidate) -> Relaxation:
    best = found.best
    raised = {name: getattr(candidate.measurement, name) for name, excess in candidate.excess.items() if excess > 0}
    return Relaxation(
        candidate=candidate,
        raised=raised,
        share=worst_excess(candidate.excess),
        saving=None if best is None else saving(best, candidate),
        in_noise=best is not None and _hidden(found, best, candidate),
    )


def _hidden(found: Answer, best: Candidate, candidate: Candidate) -> bool:
    """Whether the difference to the best is within measurement noise; never of a model, which has none."""
    if not (has_noise(best.measurement) and has_noise(candidate.measurement)):
        return False
    objective, scenario = found.question.objectives[0], found.question.scenario
    old, new = (objective_noise(objective, c.measurement, scenario) for c in (best, candidate))
    return new.is_known and old.is_known and is_hidden(new, old, objective.sign)
