"""Quality in an answer, as a person reads it: who was left out and why, and carbon against quality model by model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from carbonsweep.amounts import grams
from carbonsweep.answer import Answer
from carbonsweep.quality import Quality
from carbonsweep.quality_front import QualityPoint, points, stated


def left_out_lines(quality: Quality | None) -> Iterator[str]:
    """Which models are not part of the answer, and why."""
    for each in () if quality is None else quality.left_out:
        yield f"Left out, by quality: {each.model}: {each.reason}."


def shows_front(answer: Answer, quality: Quality | None) -> bool:
    """Whether there is a front to show: several models, two of them scored."""
    return quality is not None and sum(model in quality.scores for model in answer.best_per_model) > 1


def title(answer: Answer) -> str:
    """Of the table."""
    label = answer.question.objectives[0].label
    return f"{label[0].upper()}{label[1:]} against quality: the best of each model"


def headings(answer: Answer, quality: Quality) -> list[str]:
    """Of `rows`."""
    objective, scenario = answer.question.objectives[0], answer.question.scenario
    unit = objective.unit_under(scenario)
    what = unit.removeprefix("g ") if objective.name == "carbon" else f"{objective.label}, {unit}"
    return ["model", quality.benchmark, what, "served by", ""]


def rows(answer: Answer, quality: Quality) -> list[list[str]]:
    """One per model: its score, the best value of the first objective, where, and whether another model is better."""
    return [
        [
            point.best.record.configuration.model,
            "unknown" if point.score is None else f"{point.score.score:g}",
            _value(answer, point.best.values[0]),
            str(point.best.record.configuration).partition(" on ")[2],
            _standing(point),
        ]
        for point in points(answer, quality)
    ]


def page(answer: Answer, written: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the page, of an answer and its answer.json: title, headings, rows, lines; no rows, no front.

    Raises BadInput as `quality_front.stated`.
    """
    quality = stated(written)
    lines = list(left_out_lines(quality))
    if quality is None or not shows_front(answer, quality):
        return {"title": "", "headings": [], "rows": [], "lines": lines}
    return {
        "title": title(answer),
        "headings": headings(answer, quality),
        "rows": rows(answer, quality),
        "lines": [*footing_lines(answer, quality), *lines],
    }


def footing_lines(answer: Answer, quality: Quality) -> Iterator[str]:
    """What the scores rest on, and what comparing them is worth."""
    used = [point.score for point in points(answer, quality) if point.score is not None]
    harnesses = dict.fromkeys(score.harness for score in used if score.harness is not None)
    yield f"Scores on {quality.benchmark}: {quality.table}; more is better."
    if len(harnesses) > 1:
        yield (
            f"They come from {len(harnesses)} harnesses ({'; '.join(harnesses)}): a few points between two of them "
            "need mean nothing."
        )
    of_others = [f"{score.model} as {score.checkpoint}" for score in used if score.checkpoint is not None]
    if of_others:
        yield f"Scored weights: {', '.join(of_others)}."


def _value(answer: Answer, value: float) -> str:
    return grams(value) if answer.question.objectives[0].name == "carbon" else f"{value:.4g}"


def _standing(point: QualityPoint) -> str:
    if point.score is None:
        return "no score: not comparable"
    return "on the front" if point.dominated_by is None else f"dominated by {point.dominated_by}"
