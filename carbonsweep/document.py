"""The answer as plain JSON values: what answer.json holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from carbonsweep import loads, swaps
from carbonsweep.answer import Answer, Candidate, counts, embodied_sources, priced
from carbonsweep.carbon.embodied import embodied_range
from carbonsweep.certainty.shares import Certainty
from carbonsweep.domain import Footprint, FunctionalUnit, Scenario
from carbonsweep.near_misses import closest_document
from carbonsweep.search.objectives import Question
from carbonsweep.sweep_cost import KEY, SweepCost
from carbonsweep.ties import tie_document

SCHEMA: Final = 1
"""Numbers the format of answer.json: another one is not read as if it were this."""


def document(
    answer: Answer,
    *,
    regret: float | None = None,
    certainty: Certainty | None = None,
    cost: SweepCost | None = None,
    notes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The answer as plain JSON values; `cost` is that of finding it, `notes` adds top-level keys (space, study)."""
    question = answer.question
    scenario, intensity = dataclasses.asdict(question.scenario), question.scenario.intensity
    return {
        "schema": SCHEMA,
        "bench": "+".join(sorted({c.measurement.bench for c in (*answer.feasible, *answer.infeasible)})) or None,
        "basis": "+".join(answer.bases) or None,
        "region": None if intensity is None else intensity.region,
        "carbon_intensity": None if intensity is None else dataclasses.asdict(intensity),
        "objective": [o.name for o in question.objectives],
        "units": {o.name: o.unit_under(question.scenario) for o in question.objectives},
        "functional_unit": question.scenario.functional_unit,
        "slo": question.slo.limits(),
        "scenario": {key: value for key, value in scenario.items() if key not in ("intensity", "functional_unit")},
        "embodied": {
            kind: {
                "kg": one.kg,
                "low_kg": one.low_kg,
                "high_kg": one.high_kg,
                "over_presets_kg": list(embodied_range(kind)),
                "estimated": one.estimated,
                "source": one.source,
            }
            for kind, one in embodied_sources(answer).items()
        },
        "feasible": answer.best is not None,
        "certainty": None if certainty is None else certainty_document(certainty),
        "best": None if answer.best is None else candidate_document(answer.best, question),
        "runners_up": [candidate_document(c, question) for c in answer.runners_up],
        "best_per_model": {model: candidate_document(c, question) for model, c in answer.best_per_model.items()},
        "tie": tie_document(answer),
        "closest": [candidate_document(c, question) for c in answer.closest],
        "closest_by_limit": closest_document(answer),
        "embodied_presets": {
            view.preset: {"configuration": dataclasses.asdict(view.best.record.configuration), "total_g": view.total_g}
            for view in answer.presets
        },
        "break_even": swaps.answer_document(answer),
        "front": {
            "objectives": [o.name for o in answer.front_objectives],
            "units": [o.unit_under(question.scenario) for o in answer.front_objectives],
            "records": [c.record.key for c in answer.front],
            "hypervolume": answer.hypervolume,
            "reference": None if answer.reference is None else list(answer.reference),
        },
        "regret": regret,
        "counts": counts(answer),
        KEY: None if cost is None else dataclasses.asdict(cost),
        **(notes or {}),
    }


def candidate_document(candidate: Candidate, question: Question) -> dict[str, Any]:
    """One candidate as plain JSON values; grams per functional unit and per prompt, null where unknown."""
    measurement = candidate.measurement
    limits = question.slo.limits()
    return {
        "configuration": dataclasses.asdict(candidate.record.configuration),
        "objectives": {o.name: v for o, v in zip(question.objectives, candidate.values, strict=True)},
        **_grams(candidate.footprint),
        "per_prompt": _grams(priced(measurement, _per(question.scenario, "prompt"))),
        "ttft_s": measurement.ttft_s,
        "tpot_s": measurement.tpot_s,
        "prompt_latency_s": measurement.prompt_latency_s,
        "throughput": measurement.throughput,
        **loads.document(measurement, question.scenario),
        "prefill_energy_per_token_j": measurement.prefill.energy_per_token_j,
        "decode_energy_per_token_j": measurement.decode.energy_per_token_j,
        "slo": {name: {"limit_s": limits[name], "excess": excess} for name, excess in candidate.excess.items()},
        "basis": measurement.basis,
        "bench": measurement.bench,
        "error_source": measurement.error_source,
        "failed_checks": list(measurement.failed_checks),
        "record": candidate.record.key,
    }


def certainty_document(certainty: Certainty) -> dict[str, Any]:
    """How sure the answer is, as plain JSON values; shares of draws from 0 to 1, null where unknown.

    `low` to `high` is the 95 % interval of the best's first objective in its own unit, `low_g` to `high_g` that of its
    grams; the rest as in `Certainty`.
    """
    runner_up = certainty.runner_up
    return {
        **dataclasses.asdict(certainty),
        "best_share": certainty.best_share,
        "runner_up": None if runner_up is None else dataclasses.asdict(runner_up),
        "most_moved_by": certainty.most_moved_by,
    }


def _grams(priced: Footprint | None) -> dict[str, float | bool | None]:
    if priced is None:
        names = [field.name for field in dataclasses.fields(Footprint) if field.name.endswith("_g")]
        return dict.fromkeys(["total_g", *names])
    grams = {key: value for key, value in dataclasses.asdict(priced).items() if key.endswith("_g")}
    return {"total_g": priced.total_g, **grams, "energy_assumed": priced.assumed}


def _per(scenario: Scenario, unit: FunctionalUnit) -> Scenario:
    return dataclasses.replace(scenario, functional_unit=unit)
