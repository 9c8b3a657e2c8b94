"""Why a split is better or worse than the best colocated configuration: what moves, and which part of it changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from carbonsweep.answer import Candidate
from carbonsweep.carbon.footprint import functional_units, phase_footprint
from carbonsweep.domain import Configuration, Measurement, PhaseMeasurement, Scenario
from carbonsweep.placement.answers import Placement, SplitCandidate
from carbonsweep.placement.parts import PART_NAMES, changes, parts
from carbonsweep.placement.sides import Phase
from carbonsweep.shares import signed_percent

WORTH_SAYING = 0.0005
"""A change below this share of the whole is rounding to a reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Parts of the first objective of both (`parts.parts`), and `changes` as shares of the colocated one's whole."""

    moves: str
    colocated: dict[str, float]
    split: dict[str, float]
    changes: dict[str, float]

    @property
    def sentence(self) -> str:
        """The changes worth saying, the largest first."""
        listed = sorted(self.changes.items(), key=lambda each: -abs(each[1]))
        said = [f"{PART_NAMES[name]} {signed_percent(share)}" for name, share in listed if abs(share) >= WORTH_SAYING]
        return ", ".join(said) or "nothing changes by as much as 0.05 %"


def why(placement: Placement) -> Why | None:
    """None where there is not one of each to compare, as shares of something. Raises as `footprint`."""
    if placement.colocated is None or placement.split is None or placement.colocated.values[0] == 0:
        return None
    return compared_parts(placement, placement.colocated, placement.split)


def compared_parts(placement: Placement, colocated: Candidate, split: SplitCandidate) -> Why:
    """The same for any two of a placement."""
    name, scenario = placement.question.objectives[0].name, placement.question.scenario
    before = parts(name, scenario, colocated.measurement, colocated.measurement, None)
    after = parts(name, scenario, split.measurement, split.busy, split.handover)
    return Why(
        moves="; ".join(_moves(colocated.record.configuration, split)),
        colocated=before,
        split=after,
        changes=changes(before, after),
    )


def _moves(colocated: Configuration, split: SplitCandidate) -> Iterator[str]:
    if colocated.model != split.prefill.model:
        yield f"the model changes from {colocated.model} to {split.prefill.model}"
    for phase, served in (("prefill", split.prefill), ("decode", split.decode)):
        if served.gpu != colocated.gpu or served.gpu_count != colocated.gpu_count:
            yield f"{phase} moves from {_place(colocated)} to {_place(served)}"
        elif served.batch_size != colocated.batch_size:
            yield f"{phase} stays on {served.gpu}, in batches of {served.batch_size} instead of {colocated.batch_size}"
        else:
            yield f"{phase} stays as it is, on {_place(served)}"


def _place(served: Configuration) -> str:
    count = "" if served.gpu_count == 1 else f"{served.gpu_count}x "
    return f"{count}{served.gpu} (batch {served.batch_size})"


def difference_error(placement: Placement) -> float | None:
    """How far the saving may be off, as a share of the colocated one: 95 %, of the phases that differ between the two.

    Errors of two GPU kinds, and of two measurements, are independent; a model's error on one kind is shared by all its
    batch sizes, so only the difference of the two intervals counts. Idle power, link and making have no part in it.
    None where an interval is unknown, there are not two placements, or the colocated one costs nothing.
    """
    if placement.colocated is None or placement.split is None:
        return None
    served, split = placement.colocated.record.configuration, placement.split
    name, scenario = placement.question.objectives[0].name, placement.question.scenario
    of_phase = dict(zip(("prefill", "decode"), (split.prefill, split.decode), strict=True))
    both = placement.colocated.measurement, split.busy
    halves: list[float] = []
    for phase in _counted(name):
        found = [half for m in both if (half := _half(name, scenario, m, phase)) is not None]
        if len(found) < len(both):
            return None
        if of_phase[phase] == served:
            continue
        shared = of_phase[phase].gpu == served.gpu and {m.basis for m in both} == {"modelled"}
        halves += [abs(found[1] - found[0])] if shared else found
    whole = sum(parts(name, scenario, placement.colocated.measurement, placement.colocated.measurement, None).values())
    # Parts of throughput are seconds, and its saving r - 1 is of their inverse r: d(1 / r) = dr / r^2.
    scale = (1 + (placement.saves or 0.0)) ** 2 if name == "throughput" else 1.0
    return math.hypot(*halves) / whole * scale if whole else None


def _counted(objective: str) -> tuple[Phase, ...]:
    phases: dict[str, tuple[Phase, ...]] = {"ttft": ("prefill",), "tpot": ("decode",)}
    return phases.get(objective, ("prefill", "decode"))


def _half(objective: str, scenario: Scenario, measurement: Measurement, phase: Phase) -> float | None:
    """Half of a phase's interval in the unit of `parts`; None where its energy is unknown."""
    found: PhaseMeasurement = getattr(measurement, phase)
    half_s = (found.duration_high_s - found.duration_low_s) / 2
    match objective:
        case "latency" | "ttft":
            return half_s
        case "tpot":
            return half_s / (measurement.output_tokens - 1)
        case "throughput":
            taken_s = found.occupied_s * found.gpu_count * half_s / found.duration_s
            return taken_s / (measurement.batch_size * measurement.output_tokens)
    if found.energy is None:
        return None
    units = functional_units(measurement, scenario.functional_unit)
    if objective == "energy":
        return (found.energy.high_j - found.energy.low_j) / 2 / units
    of_tokens = phase_footprint(measurement, phase, scenario)
    return (of_tokens.operational_high_g - of_tokens.operational_low_g) / 2 * found.tokens / units
