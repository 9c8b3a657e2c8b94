"""Carbon (or what else is asked first) against quality: for each model its best configuration, and who is dominated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from carbonsweep.answer import Answer, Candidate
from carbonsweep.errors import BadInput
from carbonsweep.quality import LeftOut, Quality, Score

KEY: Final = "quality"
"""Where answer.json has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPoint:
    """A model's best configuration that meets every limit, and its score; None where it is unknown.

    `dominated_by` is a model at least as good that does at least as well on the first objective, one of them better.
    Where the score is unknown nothing can be said: `dominated_by` is None, and `is_on_front` is False.
    """

    best: Candidate
    score: Score | None
    dominated_by: str | None

    @property
    def is_on_front(self) -> bool:
        return self.score is not None and self.dominated_by is None


def points(answer: Answer, quality: Quality) -> tuple[QualityPoint, ...]:
    """One per model with a feasible configuration, the best score first, those without one last."""
    best = answer.best_per_model
    known = [(model, one, quality.scores[model]) for model, one in best.items() if model in quality.scores]
    known.sort(key=lambda each: (-each[2].score, each[1].losses[0]))
    return (
        *(
            QualityPoint(best=one, score=score, dominated_by=_dominating(one.losses[0], score.score, known))
            for _, one, score in known
        ),
        *(
            QualityPoint(best=one, score=None, dominated_by=None)
            for model, one in best.items()
            if model not in quality.scores
        ),
    )


def document(answer: Answer, quality: Quality) -> dict[str, Any]:
    """Scores, what was asked, who was left out and the front, as plain JSON values; `value` as in `objectives`."""
    objective = answer.question.objectives[0]
    return {
        "benchmark": quality.benchmark,
        "minimum": quality.minimum,
        "table": quality.table,
        "scores": {model: dataclasses.asdict(score) for model, score in quality.scores.items()},
        "left_out": [dataclasses.asdict(each) for each in quality.left_out],
        "objective": objective.name,
        "unit": objective.unit_under(answer.question.scenario),
        "front": [
            {
                "model": point.best.record.configuration.model,
                "score": None if point.score is None else point.score.score,
                "value": point.best.values[0],
                "on_front": point.is_on_front,
                "dominated_by": point.dominated_by,
                "record": point.best.record.key,
            }
            for point in points(answer, quality)
        ],
    }


def stated(written: Mapping[str, Any]) -> Quality | None:
    """The quality an answer.json states; None where it states none. Raises BadInput where it cannot be read."""
    found = written.get(KEY)
    if found is None:
        return None
    try:
        return Quality(
            benchmark=msgspec.convert(found["benchmark"], str),
            table=msgspec.convert(found["table"], str),
            scores=msgspec.convert(found["scores"], dict[str, Score]),
            minimum=msgspec.convert(found["minimum"], float | None),
            left_out=msgspec.convert(found["left_out"], tuple[LeftOut, ...]),
        )
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise BadInput(f"{KEY!r} of answer.json is not one this version can read: {error!r}") from error


def _dominating(loss: float, score: float, known: list[tuple[str, Candidate, Score]]) -> str | None:
    """The first model at least as good on both, and better on one."""
    for model, other, theirs in known:
        better = theirs.score > score or other.losses[0] < loss
        if theirs.score >= score and other.losses[0] <= loss and better:
            return model
    return None
