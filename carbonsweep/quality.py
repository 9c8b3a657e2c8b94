"""Quality of models: published or own scores on one benchmark, and the models that reach a stated one.

A smaller model nearly always emits less, so carbon is comparable between models of like quality only. Quality here is
what somebody measured on a benchmark. A model without a score is unknown, and unknown is never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from carbonsweep import facts
from carbonsweep.errors import NothingGoodEnough, UnknownFact

DEFAULT_BENCHMARK: Final = "mmlu"
"""Broad knowledge in four-way questions: what has been published for most of the models in the table."""
SHIPPED: Final = "published scores, facts/quality.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A model's score on the benchmark, percent or whatever the table counts (more is better), and where from.

    `protocol`, `harness` and `checkpoint` say how it was asked, with which code, of which weights; None: not stated.
    """

    model: str
    score: float
    source: str | None = None
    protocol: str | None = None
    harness: str | None = None
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise ValueError(f"the score of {self.model} is {self.score}: it must be a finite number")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A model that is left out: its score, None where unknown, and why."""

    model: str
    score: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Scores of one benchmark by model, from `table`.

    `minimum` is what a model must reach, None where nothing is asked; `left_out` are the models it leaves out.
    """

    benchmark: str
    table: str
    scores: Mapping[str, Score]
    minimum: float | None = None
    left_out: tuple[LeftOut, ...] = ()

    def shortfall(self, model: str) -> LeftOut | None:
        """Why a model is not good enough, None where it is, or where nothing is asked."""
        if self.minimum is None:
            return None
        found = self.scores.get(model)
        if found is None:
            return LeftOut(model=model, score=None, reason=f"no {self.benchmark} score is known, which is no pass")
        if found.score < self.minimum:
            reason = f"{self.benchmark} {found.score:g} is below {self.minimum:g}"
            return LeftOut(model=model, score=found.score, reason=reason)
        return None

    def kept(self, models: Iterable[str]) -> tuple[str, ...]:
        """The models that are good enough, in their order. Raises NothingGoodEnough where none is."""
        models = tuple(models)
        good = tuple(model for model in models if self.shortfall(model) is None)
        if not good and self.minimum is not None:
            raise NothingGoodEnough(self._none_reaches(models, self.minimum))
        return good

    def refused(self, models: Iterable[str]) -> tuple[LeftOut, ...]:
        """The others, each once, best score first."""
        found = [short for model in dict.fromkeys(models) if (short := self.shortfall(model)) is not None]
        return tuple(sorted(found, key=lambda each: -math.inf if each.score is None else each.score, reverse=True))

    def _none_reaches(self, models: tuple[str, ...], minimum: float) -> str:
        refused = self.refused(models)
        scored = [f"{each.model} {each.score:g}" for each in refused if each.score is not None]
        unknown = [each.model for each in refused if each.score is None]
        nearest = f"the closest: {', '.join(scored[:3])}" if scored else "none of them has a score"
        without = f"; without a score: {', '.join(unknown)}" if scored and unknown else ""
        table = sorted(self.scores.values(), key=lambda each: -each.score)
        would = [f"{each.model} {each.score:g}" for each in table if each.score >= minimum]
        others = f"; models of the table that reach it: {', '.join(would)}" if would else "; no model of the table does"
        return (
            f"--min-quality {minimum:g}: no model reaches it on {self.benchmark} ({self.table}); "
            f"{nearest}{without}{others}"
        )


def shipped(benchmark: str) -> Quality:
    """The published scores on a benchmark, any case. Raises UnknownFact naming the benchmarks there are."""
    rows = facts.quality_scores().values()
    names = {row.benchmark.casefold(): row.benchmark for row in rows}
    if benchmark.casefold() not in names:
        raise UnknownFact("quality benchmark", benchmark, names.values())
    name = names[benchmark.casefold()]
    scores = {
        row.model: Score(
            model=row.model,
            score=row.score_percent,
            source=row.source["default"],
            protocol=row.protocol,
            harness=row.harness,
            checkpoint=row.checkpoint,
        )
        for row in rows
        if row.benchmark == name
    }
    return Quality(benchmark=name, table=SHIPPED, scores=scores)
