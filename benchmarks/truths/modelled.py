"""What the two modelled truths share: outcomes of the device model without noise, and limits on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.truths.limits import binding_quartile, limits_at
from benchmarks.truths.replay import NOTE, Outcome, Outcomes
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration, Measurement, Scenario, Slo, Workload
from carbonsweep.search.objectives import LIMIT_NAMES, Question, objectives
from carbonsweep.trial import trial


def outcomes(configurations: Iterable[Configuration], workload: Workload) -> dict[Configuration, Outcome]:
    """What the device model says of each: a measurement marked as replayed, or its refusal."""
    bench = RooflineBench()
    found: dict[Configuration, Outcome] = {}
    for configuration in configurations:
        record = trial(bench, configuration, workload)
        if record.measurement is not None:
            found[configuration] = dataclasses.replace(record.measurement, bench="replay", notes=(NOTE,))
        else:
            assert record.refusal is not None, "a record holds one of the two"
            found[configuration] = record.refusal
    return found


def with_engine(configurations: Iterable[Configuration], engine: str) -> list[Configuration]:
    """The same points under another engine."""
    return [dataclasses.replace(configuration, engine=engine) for configuration in configurations]


def limited(
    exact: Outcomes, named: Sequence[Configuration], scenario: Scenario, limits: Sequence[str], quantile: float | None
) -> tuple[Question, str, float]:
    """Carbon under `limits` (fields of `Slo`), at `quantile` or by the rule; in words too, and which quantile."""
    carbon = objectives(("carbon",))
    free = Question(objectives=carbon, slo=Slo(), scenario=scenario)
    measured = [(m if isinstance(m, Measurement) else None) for m in (exact[c] for c in named)]
    losses = np.array([np.nan if m is None else free.losses(m)[0] for m in measured])
    quantities = {name: np.array([np.nan if m is None else getattr(m, name) for m in measured]) for name in limits}
    quantile = quantile or binding_quartile(losses, quantities)
    seconds = limits_at(quantities, quantile)
    words = ", ".join(f"{LIMIT_NAMES[name]} {1000 * limit:.0f} ms" for name, limit in seconds.items())
    question = Question(objectives=carbon, slo=Slo(**seconds), scenario=scenario)
    return question, f"{words} (quantile {quantile:g} of the configurations that fit)", quantile
