"""What measurement noise leaves open: who ties with the best, and which limits are met or missed by less.

A modelled record has no noise: its error is that of the model, shared with its neighbours, and `certainty` draws it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carbonsweep.answer import Answer, Candidate
from carbonsweep.search.noise import Interval, has_noise, is_hidden, limit_noise, objective_noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """The best and those that noise cannot tell from it by the first objective, best first; alone: nobody.

    `intervals` are theirs (95 %, in the objective's unit), none where the best has none. `unjudged` counts the
    feasible candidates of whom nothing is said, because a model has no noise, or the record holds no interval; None
    where the best itself is such a one, and so nobody is judged.
    """

    candidates: tuple[Candidate, ...]
    intervals: tuple[Interval, ...]
    unjudged: int | None

    @property
    def is_tie(self) -> bool:
        return len(self.candidates) > 1

    @property
    def statement(self) -> str:
        """What was judged, in a sentence."""
        best = self.candidates[0].measurement
        if not has_noise(best):
            return "no tie is judged: the best is modelled, and a model has an error, not noise"
        if not self.intervals:
            return "no tie is judged: the record of the best holds no interval of its noise"
        outcome = "noise cannot tell them apart" if self.is_tie else "the best is ahead by more than noise"
        judged = f"95 % intervals of measured seconds and joules, of two records in quadrature: {outcome}"
        left = f"; {self.unjudged} without noise (modelled, or no interval) are not judged" if self.unjudged else ""
        return judged + left


def tie(answer: Answer) -> Tie | None:
    """Whom noise cannot tell from the best of `answer`; None where it has no best."""
    best = answer.best
    if best is None:
        return None
    judged = [(c, interval) for c in answer.feasible if (interval := _interval(c, answer)) is not None]
    if not judged or judged[0][0] is not best:
        return Tie(candidates=(best,), intervals=(), unjudged=None)
    of_best, sign = judged[0][1], answer.question.objectives[0].sign
    tied = [(c, interval) for c, interval in judged if is_hidden(of_best, interval, sign)]
    return Tie(
        candidates=tuple(c for c, _ in tied),
        intervals=tuple(interval for _, interval in tied),
        unjudged=len(answer.feasible) - len(judged),
    )


def limits_in_noise(answer: Answer) -> dict[str, Interval]:
    """The limits that the best meets by no more than its noise, with the interval of its latency, seconds."""
    if answer.best is None or not has_noise(answer.best.measurement):
        return {}
    limits = answer.question.slo.limits()
    intervals = {name: limit_noise(name, answer.best.measurement) for name in limits}
    return {name: interval for name, interval in intervals.items() if interval.high > limits[name]}


def kept_out_by_noise(answer: Answer) -> tuple[Candidate, ...]:
    """Measured candidates better than the best by the first objective that miss limits by no more than their noise."""
    best, limits = answer.best, answer.question.slo.limits()
    if best is None:
        return ()
    better = [c for c in answer.infeasible if c.losses[0] < best.losses[0] and has_noise(c.measurement)]
    return tuple(
        c for c in better if all(limit_noise(name, c.measurement).low <= limit for name, limit in limits.items())
    )


def tie_document(answer: Answer) -> dict[str, Any] | None:
    """`tie` of answer.json: the configurations, best first, with their intervals; null without a best."""
    found = tie(answer)
    if found is None:
        return None
    intervals = found.intervals or (None,)
    return {
        "objective": answer.question.objectives[0].name,
        "configurations": [
            {
                "configuration": dataclasses.asdict(c.record.configuration),
                "value": c.values[0],
                "low": None if interval is None else interval.low,
                "high": None if interval is None else interval.high,
                "basis": c.measurement.basis,
                "record": c.record.key,
            }
            for c, interval in zip(found.candidates, intervals, strict=True)
        ],
        "unjudged": found.unjudged,
        "limits_in_noise": _limits_document(limits_in_noise(answer)),
        "kept_out_by_noise": [dataclasses.asdict(c.record.configuration) for c in kept_out_by_noise(answer)],
        "statement": found.statement,
    }


def _limits_document(found: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: {"value_s": each.value, "low_s": each.low, "high_s": each.high} for name, each in found.items()}


def _interval(candidate: Candidate, answer: Answer) -> Interval | None:
    """Of the first objective; None where there is no noise, or nobody measured it."""
    if not has_noise(candidate.measurement):
        return None
    found = objective_noise(answer.question.objectives[0], candidate.measurement, answer.question.scenario)
    return found if found.is_known else None
