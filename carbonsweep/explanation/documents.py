"""The explanation as plain JSON values: what `explain --json` prints. Shares and changes are relative (0.1 = 10 %)."""

from __future__ import annotations

import dataclasses
from typing import Any

from carbonsweep.answer import Answer, Candidate, lacking_bytes
from carbonsweep.document import candidate_document, certainty_document
from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.explanation.binding import Binding
from carbonsweep.explanation.explaining import Explanation
from carbonsweep.explanation.grounds import Grounds
from carbonsweep.explanation.relaxations import Relaxation, Relaxations
from carbonsweep.explanation.sensitivity import Sensitivity, Setting
from carbonsweep.near_misses import closest_document
from carbonsweep.quality import Quality
from carbonsweep.ties import tie_document


def document(explained: Explanation) -> dict[str, Any]:
    """Every part, whole: lists are not cut as they are for a terminal."""
    found, scenario = explained.answer, explained.answer.question.scenario
    return {
        "schema": 1,
        "basis": "+".join(found.bases) or None,
        "objective": found.question.objectives[0].name,
        "objectives": [objective.name for objective in found.question.objectives],
        "functional_unit": scenario.functional_unit,
        "carbon_intensity": None if scenario.intensity is None else dataclasses.asdict(scenario.intensity),
        "scenario": {
            k: v for k, v in dataclasses.asdict(scenario).items() if k not in ("intensity", "functional_unit")
        },
        "slo": found.question.slo.limits(),
        "feasible": found.best is not None,
        "best": None if found.best is None else candidate_document(found.best, found.question),
        "tie": tie_document(found),
        "sensitivities": [_sensitivity(each) for each in explained.sensitivities],
        "binding": None if explained.binding is None else binding_document(explained.binding),
        "relaxations": relaxations_document(explained.relaxations, found),
        "closest_by_limit": closest_document(found),
        "over_a_limit": [
            {"configuration": _plain(c.record.configuration), "excess": dict(c.excess), **_value(c)}
            for c in explained.over_a_limit
        ],
        "refused": [_refused(record) for record in explained.refused],
        "grounds": _grounds(explained.grounds),
    }


def binding_document(bound: Binding) -> dict[str, Any]:
    """Each limit with its slack and what lifting it alone saves; that of lifting all; and memory."""
    memory = bound.memory
    return {
        "limits": {
            limit.name: {
                "limit_s": limit.limit_s,
                "value_s": limit.value_s,
                "slack": limit.slack,
                "binds": limit.binds,
                "without_it": _chosen(limit.without),
                "saving": limit.saving,
                "in_noise": limit.noise is not None,
            }
            for limit in bound.limits
        },
        "without_limits": _chosen(bound.without_limits),
        "saving": bound.saving,
        "bind_together": bound.bind_together,
        "memory": None
        if memory is None
        else {**_refused(memory.refused), "smaller_batch": memory.smaller_batch, "last_step": memory.last_step},
    }


def relaxations_document(relaxed: Relaxations, found: Answer) -> dict[str, Any]:
    """Steps of each limit raised alone and of all together, smallest first, and the smallest of all."""
    return {
        "alone": {name: [_relaxation(step, found) for step in steps] for name, steps in relaxed.alone.items()},
        "together": [_relaxation(step, found) for step in relaxed.together],
        "cheapest": None if relaxed.cheapest is None else _relaxation(relaxed.cheapest, found),
    }


def _relaxation(step: Relaxation, found: Answer) -> dict[str, Any]:
    limits = found.question.slo.limits()
    return {
        "limits": {
            name: {"from_s": limits[name], "to_s": to_s, "by_s": to_s - limits[name]}
            for name, to_s in step.raised.items()
        },
        "share": step.share,
        "saving": step.saving,
        "in_noise": step.in_noise,
        "best": _chosen(step.candidate),
    }


def _sensitivity(each: Sensitivity) -> dict[str, Any]:
    return {
        "factor": each.factor,
        "kind": each.kind,
        "here": each.here,
        "largest_change": each.size if each.known else None,
        "low": None if each.low is None else _setting(each.low),
        "high": None if each.high is None else _setting(each.high),
        "other_best": [
            {"best": _plain(s.winner), "first": s.first, "last": s.last, "settings": s.settings} for s in each.stretches
        ],
        "settings": [_setting(setting) for setting in each.settings],
        "unknown": each.unknown,
    }


def _setting(setting: Setting) -> dict[str, Any]:
    return {
        "setting": setting.label,
        "value": setting.value,
        "change": setting.change,
        "other_best": None if setting.winner is None else _plain(setting.winner),
        "configuration": None if setting.configuration is None else _plain(setting.configuration),
        "feasible": setting.is_feasible,
        "note": setting.note or None,
    }


def _refused(record: TrialRecord) -> dict[str, Any]:
    refusal = record.refusal
    return {
        "configuration": _plain(record.configuration),
        "kind": None if refusal is None else refusal.kind,
        "reason": None if refusal is None else refusal.reason,
        "needed_bytes": None if refusal is None else refusal.needed_bytes,
        "available_bytes": None if refusal is None else refusal.available_bytes,
        "lacking_bytes": lacking_bytes(record),
    }


def _grounds(rests_on: Grounds) -> dict[str, Any]:
    return {
        "by_basis": dict(rests_on.by_basis),
        "by_outcome": dict(rests_on.by_outcome),
        "untried": rests_on.untried,
        "repeats": None if rests_on.repeats is None else list(rests_on.repeats),
        "half_widths": None if rests_on.half_widths is None else list(rests_on.half_widths),
        "sweep_cost": dataclasses.asdict(rests_on.cost),
        "certainty": None if rests_on.certainty is None else certainty_document(rests_on.certainty),
        "search": None if rests_on.search is None else dict(rests_on.search),
        "quality": None if rests_on.quality is None else _quality(rests_on.quality),
        "complete": rests_on.complete,
    }


def _quality(quality: Quality) -> dict[str, Any]:
    left_out = [dataclasses.asdict(each) for each in quality.left_out]
    return {"benchmark": quality.benchmark, "minimum": quality.minimum, "left_out": left_out}


def _chosen(candidate: Candidate) -> dict[str, Any]:
    return {"configuration": _plain(candidate.record.configuration), **_value(candidate)}


def _value(candidate: Candidate) -> dict[str, Any]:
    return {
        "value": candidate.values[0],
        "basis": candidate.measurement.basis,
        "record": candidate.record.key,
    }


def _plain(configuration: Configuration) -> dict[str, Any]:
    return dataclasses.asdict(configuration)
