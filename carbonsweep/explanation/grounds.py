"""What an answer rests on: how much was measured, modelled, rehearsed or never tried, what it cost, how sure it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from carbonsweep.answer import Answer, Candidate, counts
from carbonsweep.certainty.answers import of_answer
from carbonsweep.certainty.shares import Certainty
from carbonsweep.domain import TrialRecord
from carbonsweep.explanation.sensitivity import relative
from carbonsweep.facts.draws import fit_draws
from carbonsweep.quality import Quality
from carbonsweep.quality_front import stated as stated_quality
from carbonsweep.results import Saved
from carbonsweep.search.noise import has_noise, objective_noise
from carbonsweep.search.space import Space
from carbonsweep.sweep_cost import SweepCost, stated, sweep_cost

_FIELDS: Final = {
    "model": "models",
    "gpu": "gpus",
    "gpu_count": "gpu_counts",
    "batch_size": "batch_sizes",
    "dtype": "dtypes",
    "engine": "engines",
}
"""Axes of answer.json as fields of `Space`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """Counts of configurations by basis and by how they ended; `untried` is None where the space is not on record.

    `repeats` are the fewest and most of a measured phase, `half_widths` the narrowest and widest 95 % half-width of the
    first objective of measured records, relative to it; None without any. `search` and `quality` are what answer.json
    says of them, `placement` whether it was asked for phases on different GPUs as well.
    """

    by_basis: Mapping[str, int]
    by_outcome: Mapping[str, int]
    untried: int | None
    repeats: tuple[int, int] | None
    half_widths: tuple[float, float] | None
    cost: SweepCost
    certainty: Certainty | None
    search: Mapping[str, Any] | None
    quality: Quality | None
    placement: bool
    complete: bool


def grounds(found: Answer, saved: Saved, attempts: Iterable[TrialRecord]) -> Grounds:
    """`attempts` are all records of the answer's trials, those that failed before one succeeded included.

    Raises BadInput where answer.json states a cost nobody can read.
    """
    measured = [c for c in (*found.feasible, *found.infeasible) if has_noise(c.measurement)]
    phases = [phase for c in measured for phase in (c.measurement.prefill, c.measurement.decode)]
    before, search = stated(saved.document), saved.document.get("search")
    lost = 0 if before is None else before.lost_trials
    return Grounds(
        by_basis=dict(sorted(Counter(record.identity.basis for record in saved.records).items())),
        by_outcome=counts(found),
        untried=_untried(saved),
        repeats=(min(p.repeats for p in phases), max(p.repeats for p in phases)) if phases else None,
        half_widths=_half_widths(measured, found),
        cost=sweep_cost(attempts, found.question.scenario, lost=lost),
        certainty=of_answer(found, fit_draws()),
        search=search if isinstance(search, Mapping) else None,
        quality=stated_quality(saved.document),
        placement=saved.document.get("placement") is not None,
        complete=saved.document.get("complete") is not False,
    )


def _half_widths(measured: Sequence[Candidate], found: Answer) -> tuple[float, float] | None:
    objective, scenario = found.question.objectives[0], found.question.scenario
    widths = []
    for candidate in measured:
        interval = objective_noise(objective, candidate.measurement, scenario)
        half = relative(interval.value + (interval.high - interval.low) / 2, interval.value)
        if half is not None and interval.is_known:
            widths.append(half)
    return (min(widths), max(widths)) if widths else None


def _untried(saved: Saved) -> int | None:
    """Configurations of the space without a record; None where answer.json holds no space."""
    axes: Any = saved.document.get("space")
    try:
        named = {_FIELDS[axis]: choices for axis, choices in axes.items()}
        space = msgspec.convert({**named, "of_kind": saved.document.get("of_kind") or ()}, Space)
    except (AttributeError, KeyError, ValueError):  # msgspec's ValidationError is a ValueError
        return None
    tried = {record.configuration for record in saved.records}
    return space.size - sum(configuration in space for configuration in tried)
