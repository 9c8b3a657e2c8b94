"""Records and a question -> the answer: the best configuration, how far it is from each limit, what would change it.

Everything is computed from records, so the same answer follows after a sweep, from a plan, or years later from a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from carbonsweep import facts
from carbonsweep.carbon.embodied import EmbodiedCarbon, embodied_carbon, presets_covering, presets_of
from carbonsweep.carbon.footprint import footprint
from carbonsweep.domain import Footprint, Measurement, Scenario, TrialRecord
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
        known = facts.language_models()
        sizes = [known[model].parameters for model in self.best_per_model if model in known]
        return sizes == sorted(sizes) and len(sizes) == len(self.best_per_model)

    @property
    def closest(self) -> tuple[Candidate, ...]:
        if self.feasible:
            return ()
        return tuple(sorted(self.infeasible, key=lambda c: worst_excess(c.excess))[:CLOSEST])

    @property
    def closest_by_limit(self) -> dict[str, Candidate]:
        """When none is feasible: for each limit, the candidate that misses it by least, or is best within it.

        Of several at the same distance, the one whose worst excess is smallest.
        """
        if self.feasible or not self.infeasible:
            return {}
        return {
            name: min(self.infeasible, key=lambda c: (c.excess[name], worst_excess(c.excess), c.record.configuration))
            for name in self.question.slo.limits()
        }

    @property
    def closest_to_fit(self) -> TrialRecord | None:
        """Where nothing gave a result: the refused record that lacks the least memory; None where nobody knows."""
        if self.feasible or self.infeasible:
            return None
        known = [record for record in self.refused if lacking_bytes(record) is not None]
        return min(known, key=lambda r: (lacking_bytes(r), r.configuration), default=None)

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
    judged = [(record, question.lacks(record)) for record in measured]
    unpriced = tuple((record, why) for record, why in judged if why is not None)
    if unpriced and len(unpriced) == len(measured):
        raise EnergyUnknown(unpriced[0][1])
    candidates = [candidate(record, question) for record, why in judged if why is None]
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
        unpriced=unpriced,
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


def lacking_bytes(record: TrialRecord) -> float | None:
    """Memory a refused configuration lacks (bytes on each device); None where it fits, or nobody knows."""
    refusal = record.refusal
    if refusal is None or refusal.needed_bytes is None or refusal.available_bytes is None:
        return None
    return refusal.needed_bytes - refusal.available_bytes


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
