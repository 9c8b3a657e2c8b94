"""Records and a question -> the answer: the best configuration, how far it is from each limit, what would change it.

Everything is computed from records, so the same answer follows after a sweep, from a plan, or years later from a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from carbonsweep import facts
from carbonsweep.carbon.embodied import EmbodiedCarbon, embodied_carbon, embodied_range, presets_covering, presets_of
from carbonsweep.carbon.footprint import footprint
from carbonsweep.domain import Footprint, FunctionalUnit, Measurement, Scenario, TrialRecord
from carbonsweep.errors import EnergyUnknown, NothingMeasured
from carbonsweep.pareto import front, hypervolume, reference_point
from carbonsweep.search.objectives import OBJECTIVES, Objective, Question, worst_excess

RUNNERS_UP: Final = 4
CLOSEST: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A measured configuration with its objective values, its excess over each limit, and its price.

    `footprint` is None where no region was named or the energy is unknown.
    """

    record: TrialRecord
    measurement: Measurement
    values: tuple[float, ...]
    losses: tuple[float, ...]
    excess: Mapping[str, float]
    footprint: Footprint | None

    @property
    def is_feasible(self) -> bool:
        return worst_excess(self.excess) <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetView:
    """The best configuration when embodied carbon is counted by another preset."""

    preset: str
    best: Candidate
    total_g: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The feasible candidates, best first by the first objective, and what follows from them.

    `front` is the Pareto front over `front_objectives` (the asked ones; with one objective, prompt latency or
    throughput beside it). `unpriced` are measured records without a value of an objective (a meter that failed), with
    the reason. `closest` are the candidates that miss the limits by least, when none is feasible.
    """

    question: Question
    feasible: tuple[Candidate, ...]
    infeasible: tuple[Candidate, ...]
    refused: tuple[TrialRecord, ...]
    unpriced: tuple[tuple[TrialRecord, str], ...]
    front: tuple[Candidate, ...]
    front_objectives: tuple[Objective, ...]
    hypervolume: float | None
    reference: tuple[float, ...] | None
    presets: tuple[PresetView, ...]

    @property
    def best(self) -> Candidate | None:
        return self.feasible[0] if self.feasible else None

    @property
    def runners_up(self) -> tuple[Candidate, ...]:
        return self.feasible[1 : 1 + RUNNERS_UP]

    @property
    def best_per_model(self) -> dict[str, Candidate]:
        best: dict[str, Candidate] = {}
        for candidate in self.feasible:
            best.setdefault(candidate.record.configuration.model, candidate)
        return best

    @property
    def smaller_model_wins(self) -> bool:
        """Whether the models' order by carbon is their order by size, as it is wherever time follows size."""
        sizes = [facts.language_model(model).parameters for model in self.best_per_model]
        return sizes == sorted(sizes)

    @property
    def closest(self) -> tuple[Candidate, ...]:
        if self.feasible:
            return ()
        return tuple(sorted(self.infeasible, key=lambda c: worst_excess(c.excess))[:CLOSEST])

    @property
    def bases(self) -> tuple[str, ...]:
        """'measured', 'modelled', or both: of every record the answer rests on."""
        return tuple(sorted({c.measurement.basis for c in (*self.feasible, *self.infeasible)}))


def answer(records: Iterable[TrialRecord], question: Question) -> Answer:
    """Rank records of one workload.

    Raises NothingMeasured without a single measurement or refusal that says why, and EnergyUnknown where an objective
    needs joules and no record has them.
    """
    listed = tuple(records)
    measured = [record for record in listed if record.measurement is not None]
    unpriced = [(record, why) for record in measured if (why := question.lacks(record)) is not None]
    if unpriced and len(unpriced) == len(measured):
        raise EnergyUnknown(unpriced[0][1])
    candidates = [candidate(record, question) for record in measured if question.lacks(record) is None]
    refused = tuple(record for record in listed if record.measurement is None)
    if not candidates and all(record.refusal is not None and record.refusal.kind == "failed" for record in refused):
        reasons = sorted({record.refusal.reason for record in refused if record.refusal is not None})
        raise NothingMeasured(f"no trial gave a measurement: {'; '.join(reasons) or 'there are no records'}")
    # Ties are broken by the configuration, so that the same records give the same answer in any order.
    ranked = sorted(candidates, key=lambda c: (*c.losses, c.record.configuration, c.record.key))
    feasible = tuple(c for c in ranked if c.is_feasible)
    axes = front_objectives(question)
    points = [_losses(c.measurement, axes, question.scenario) for c in feasible]
    kept = [] if not points else front(points).tolist()
    reference = None if not points else reference_point(points)
    return Answer(
        question=question,
        feasible=feasible,
        infeasible=tuple(c for c in ranked if not c.is_feasible),
        refused=refused,
        unpriced=tuple(unpriced),
        front=tuple(feasible[i] for i in kept),
        front_objectives=axes,
        hypervolume=None if reference is None else hypervolume([points[i] for i in kept], reference),
        reference=None if reference is None else tuple(reference.tolist()),
        presets=_preset_views(feasible, question),
    )


def candidate(record: TrialRecord, question: Question) -> Candidate:
    """Price one measured record. Raises ValueError for a refusal, EnergyUnknown as `answer`."""
    measurement = record.measurement
    if measurement is None:
        raise ValueError(f"record {record.key} holds no measurement")
    return Candidate(
        record=record,
        measurement=measurement,
        values=question.values(measurement),
        losses=question.losses(measurement),
        excess=question.slo.excess(measurement),
        footprint=priced(measurement, question.scenario),
    )


def priced(measurement: Measurement, scenario: Scenario) -> Footprint | None:
    """The footprint, or None where there is nothing to price with: no region, or no known energy."""
    found = priced_or_reason(measurement, scenario)
    return found if isinstance(found, Footprint) else None


def priced_or_reason(measurement: Measurement, scenario: Scenario) -> Footprint | str:
    """The footprint, or why there is none."""
    if scenario.intensity is None:
        return "no --region given"
    try:
        return footprint(measurement, scenario)
    except EnergyUnknown as error:
        return str(error)


def embodied_sources(answer: Answer) -> dict[str, EmbodiedCarbon]:
    """What one device of each measured kind embodies under the preset of the answer; its source and range."""
    measurements = [c.measurement for c in (*answer.feasible, *answer.infeasible)]
    kinds = {phase.gpu for m in measurements for phase in (m.prefill, m.decode)}
    preset = answer.question.scenario.embodied
    return {kind: embodied_carbon(kind, preset) for kind in sorted(kinds) if preset in presets_of(kind)}


def front_objectives(question: Question) -> tuple[Objective, ...]:
    """The asked objectives; a single one is shown against prompt latency, or latency against throughput."""
    if len(question.objectives) > 1:
        return question.objectives
    beside = "throughput" if question.objectives[0].name == "latency" else "latency"
    return (*question.objectives, OBJECTIVES[beside])


def document(answer: Answer, *, regret: float | None = None, notes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The answer as plain JSON values; `notes` adds top-level keys (space, study, counts)."""
    question = answer.question
    scenario = dataclasses.asdict(question.scenario)
    return {
        "schema": 1,
        "bench": sorted({c.measurement.bench for c in (*answer.feasible, *answer.infeasible)}),
        "basis": list(answer.bases),
        "region": None if question.scenario.intensity is None else dataclasses.asdict(question.scenario.intensity),
        "objective": [o.name for o in question.objectives],
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
        "best": None if answer.best is None else candidate_document(answer.best, question),
        "runners_up": [candidate_document(c, question) for c in answer.runners_up],
        "best_per_model": {model: candidate_document(c, question) for model, c in answer.best_per_model.items()},
        "closest": [candidate_document(c, question) for c in answer.closest],
        "embodied_presets": {
            view.preset: {"configuration": dataclasses.asdict(view.best.record.configuration), "total_g": view.total_g}
            for view in answer.presets
        },
        "front": {
            "objectives": [o.name for o in answer.front_objectives],
            "records": [c.record.key for c in answer.front],
            "hypervolume": answer.hypervolume,
            "reference": None if answer.reference is None else list(answer.reference),
        },
        "regret": regret,
        "counts": counts(answer),
        **(notes or {}),
    }


def counts(answer: Answer) -> dict[str, int]:
    """How many configurations ended how."""
    kinds = [record.refusal.kind for record in answer.refused if record.refusal is not None]
    return {
        "feasible": len(answer.feasible),
        "infeasible": len(answer.infeasible),
        "does_not_fit": kinds.count("does-not-fit"),
        "unsupported": kinds.count("unsupported"),
        "failed": kinds.count("failed"),
        "unpriced": len(answer.unpriced),
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
        "prefill_energy_per_token_j": measurement.prefill.energy_per_token_j,
        "decode_energy_per_token_j": measurement.decode.energy_per_token_j,
        "slo": {name: {"limit_s": limits[name], "excess": excess} for name, excess in candidate.excess.items()},
        "basis": measurement.basis,
        "bench": measurement.bench,
        "error_source": measurement.error_source,
        "record": candidate.record.key,
    }


def _grams(priced: Footprint | None) -> dict[str, float | bool | None]:
    if priced is None:
        names = [field.name for field in dataclasses.fields(Footprint) if field.name.endswith("_g")]
        return dict.fromkeys(["total_g", *names])
    grams = {key: value for key, value in dataclasses.asdict(priced).items() if key.endswith("_g")}
    return {"total_g": priced.total_g, **grams, "energy_assumed": priced.assumed}


def _per(scenario: Scenario, unit: FunctionalUnit) -> Scenario:
    return dataclasses.replace(scenario, functional_unit=unit)


def _losses(measurement: Measurement, axes: tuple[Objective, ...], scenario: Scenario) -> list[float]:
    return [objective.sign * objective.value(measurement, scenario) for objective in axes]


def _preset_views(feasible: tuple[Candidate, ...], question: Question) -> tuple[PresetView, ...]:
    """Presets are never mixed: each ranks all candidates by itself, and only one that knows all their devices."""
    if question.objectives[0].name != "carbon" or not feasible:
        return ()
    devices = {phase.gpu for c in feasible for phase in (c.measurement.prefill, c.measurement.decode)}
    views = []
    for preset in presets_covering(devices):
        scenario = dataclasses.replace(question.scenario, embodied=preset)
        totals = [footprint(c.measurement, scenario).total_g for c in feasible]
        total_g, best = min(
            zip(totals, feasible, strict=True), key=lambda pair: (pair[0], pair[1].record.configuration)
        )
        views.append(PresetView(preset=preset, best=best, total_g=total_g))
    return tuple(views)
