"""The best placement of the two phases: colocated or split, from a plan or from records, without measuring anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

import numpy as np

from carbonsweep.answer import Answer, Candidate, candidate, priced
from carbonsweep.bench.points import Indices
from carbonsweep.bench.roofline import Phases, RooflineBench, predict_points
from carbonsweep.carbon.write_off import charged_kg
from carbonsweep.domain import Configuration, Footprint, Measurement, TrialRecord, Workload
from carbonsweep.exact import Plan
from carbonsweep.facts import Link
from carbonsweep.placement import sides
from carbonsweep.placement.best import Pick, Told, best_of_groups, is_better, unheard
from carbonsweep.placement.in_turn import best_in_turn, in_turn
from carbonsweep.placement.quantities import Terms, reached
from carbonsweep.placement.sides import Phase, Sides
from carbonsweep.search.objectives import Objective, Question
from carbonsweep.split import FREE, Handover, Pools, Side, compose, handover
from carbonsweep.trial import trial

Choice = Literal["colocated", "split", "any"]
Key = TypeVar("Key", str, tuple[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Which placements are asked for, over which links, replicas of a pool at most, and who hears of the search."""

    choice: Choice
    links: tuple[Link, ...]
    most_per_pool: int
    told: Told = field(default=unheard, compare=False)

    @property
    def pools(self) -> list[Pools]:
        """Every pair of pool sizes, small placements first."""
        sizes = range(1, self.most_per_pool + 1)
        return sorted(
            (Pools(prefill=p, decode=d) for p in sizes for d in sizes), key=lambda x: (x.prefill + x.decode, x)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCandidate:
    """A split with what it costs; `busy` is the same where GPUs that wait do other work, which nobody charges for.

    `loss` is what placements are compared by: of the first objective, less is better, throughput per GPU.
    """

    prefill: Configuration
    decode: Configuration
    link: Link
    pools: Pools | None
    handover: Handover
    measurement: Measurement
    busy: Measurement
    values: tuple[float, ...]
    loss: float
    excess: Mapping[str, float]
    footprint: Footprint | None

    @property
    def is_feasible(self) -> bool:
        return all(excess <= 0 for excess in self.excess.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The best split over all pairs, links and pools beside the best colocated configuration; either may be None.

    `splits` holds the best feasible one by (model, link); `bound` is the best where GPUs that wait do other work, and
    `bounds` that of each model, none where a request rate is stated: then nothing else is done. `closest` misses the
    limits by least, where no split meets them. `in_turn` are the best of each model with both phases on the same GPUs,
    in batches of their own size (`placement.in_turn`), to compare with. `unjoined` are the links asked for that join no
    two of the GPUs; `combinations`: pairs x the other links x pools.
    """

    sought: Sought
    question: Question
    colocated: Candidate | None
    colocated_per_model: Mapping[str, Candidate]
    split: SplitCandidate | None
    bound: SplitCandidate | None
    closest: SplitCandidate | None
    splits: Mapping[tuple[str, str], SplitCandidate]
    bounds: Mapping[str, SplitCandidate]
    in_turn: Mapping[str, SplitCandidate]
    unjoined: tuple[Link, ...]
    combinations: int

    @property
    def per_link(self) -> tuple[SplitCandidate, ...]:
        """The best of each link that has one, in the order asked."""
        found = _least((each.link.key, each) for each in self.splits.values())
        return tuple(found[link.key] for link in self.sought.links if link.key in found)

    @property
    def per_model(self) -> dict[str, SplitCandidate]:
        """The best of each model that has one."""
        return _least((model, each) for (model, _), each in self.splits.items())

    @property
    def best_in_turn(self) -> SplitCandidate | None:
        """Of any model."""
        return min(self.in_turn.values(), key=lambda each: each.loss, default=None)

    @property
    def best(self) -> Literal["split", "colocated"] | None:
        """The better of what was asked for; of equal ones the colocated one, which is simpler."""
        if self.sought.choice == "split" or self.colocated is None:
            return None if self.split is None else "split"
        return "split" if (self.saves or 0.0) > 0 else "colocated"

    @property
    def saves(self) -> float | None:
        """What the best split saves against the best colocated configuration, as a share of it; negative: it costs."""
        return saving(self.colocated, self.split, self.question)


def is_answered(found: Answer, placement: Placement | None) -> bool:
    """Whether what was asked for is feasible: a colocated configuration, unless splits were asked for."""
    return (found.best if placement is None else placement.best) is not None


def saving(colocated: Candidate | None, split: SplitCandidate | None, question: Question) -> float | None:
    """Share of the colocated one's first objective, 0 if of rounding; None without both, or of nothing."""
    if colocated is None or split is None:
        return None
    loss = compared(question.objectives[0], colocated.values[0], colocated.measurement)
    if loss == 0:
        return 0.0 if split.loss == 0 else None
    share = (loss - split.loss) / abs(loss)
    return 0.0 if abs(share) < 1e-12 else share


def compared(objective: Objective, value: float, measurement: Measurement) -> float:
    """The loss placements are compared by: that of the objective; of throughput, that of one GPU's share."""
    if objective.name == "throughput":
        phases = (measurement.prefill, measurement.decode)
        device_s = sum(phase.occupied_s * phase.gpu_count for phase in phases)
        return -measurement.batch_size * measurement.output_tokens / device_s
    return objective.sign * value


def of_plan(planned: Plan, workload: Workload, question: Question, sought: Sought) -> Placement:
    """Over every pair of points of a plan; memory is that of GPUs that run one phase alone. Raises as `footprint`."""
    points = planned.points
    of_phase = {phase: sides.of_points(points, predict_points(points, workload, phase), phase) for phase in _PHASES}
    of_both = {phase: sides.of_points(points, planned.predicted, phase) for phase in _PHASES}

    def side(place: int, phase: Phases) -> Side:
        served = points.configuration(place)
        measurement = RooflineBench(phases=phase).measure(served, workload)
        return Side(configuration=served, workload=workload.name, measurement=measurement)

    feasible = np.flatnonzero(planned.feasible)
    losses = planned.losses[feasible]
    if question.objectives[0].name == "throughput":
        losses = losses / planned.quantities.count[feasible][:, None]
    ranked = feasible[np.lexsort(losses.T[::-1])]
    _, first = np.unique(points.model.index[ranked], return_index=True)
    best = [trial(RooflineBench(), points.configuration(int(i)), workload) for i in ranked[np.sort(first)]]
    colocated = {record.configuration.model: candidate(record, question) for record in best}
    return _placement(of_phase, of_both, points.gpu.values, workload.output_tokens, side, question, sought, colocated)


def of_records(records: Sequence[TrialRecord], found: Answer, sought: Sought) -> Placement:
    """Over every pair of the records of one workload, whichever bench found them. Raises as `footprint`."""
    question = found.question
    measured = [record for record in records if record.measurement is not None]
    found_on = {each.gpu for r in measured if r.measurement for each in (r.measurement.prefill, r.measurement.decode)}
    gpus = tuple(sorted(found_on))
    of_phase = {phase: sides.of_records(measured, gpus, phase) for phase in _PHASES}

    def side(place: int, phase: Phases) -> Side:
        return Side.of(measured[place])

    ranked = sorted(found.feasible, key=lambda c: compared(question.objectives[0], c.values[0], c.measurement))
    colocated: dict[str, Candidate] = {}
    for each in ranked:
        colocated.setdefault(each.record.configuration.model, each)
    output_tokens = 0 if not measured else measured[0].workload.output_tokens
    return _placement(of_phase, of_phase, gpus, output_tokens, side, question, sought, colocated)


_PHASES: Final[tuple[Phase, ...]] = ("prefill", "decode")
_SideOf = Callable[[int, Phases], Side]


def _placement(
    of_phase: Mapping[Phase, Sides],
    of_both: Mapping[Phase, Sides],
    gpus: Sequence[str],
    output_tokens: int,
    side: _SideOf,
    question: Question,
    sought: Sought,
    colocated: Mapping[str, Candidate],
) -> Placement:
    prefill, decode = of_phase["prefill"], of_phase["decode"]
    is_priced = question.scenario.intensity is not None
    kg = [charged_kg(gpu, question.scenario) if is_priced else 0.0 for gpu in gpus]
    terms = Terms(output_tokens=output_tokens, links=sought.links, kg=np.array(kg), reached=reached(sought.links, gpus))
    joining = [not gpus or bool(between.any()) for between in terms.reached]

    def made(pick: Pick) -> SplitCandidate:
        first, second = side(pick.prefill, "prefill"), side(pick.decode, "decode")
        return _candidate(first, second, sought.links[pick.link], pick.pools, question)

    def turning(pick: Pick) -> SplitCandidate:
        first, second = side(pick.prefill, "both"), side(pick.decode, "both")
        return _candidate(first, second, FREE, None, question, in_turn(first, second))

    found = best_of_groups(prefill, decode, terms, question, sought.pools, sought.told)
    best, nearest = _first(p for p in found.values() if p.excess <= 0), _first(found.values())
    unshared = question.scenario.request_rate_per_s is not None
    bounds = {} if unshared else best_of_groups(prefill, decode, terms, question, [None])
    bound = _first(pick for pick in bounds.values() if pick.excess <= 0)
    turns = best_in_turn(of_both["prefill"], of_both["decode"], terms, question)
    return Placement(
        sought=sought,
        question=question,
        colocated=_first_colocated(colocated, question),
        colocated_per_model=colocated,
        split=None if best is None else made(best),
        bound=None if bound is None else made(bound),
        closest=None if best is not None or nearest is None else made(nearest),
        splits=_least(((each.prefill.model, each.link.key), each) for each in _feasible(found, made)),
        bounds=_least((each.prefill.model, each) for each in _feasible(bounds, made)),
        in_turn=_least((each.prefill.model, each) for each in map(turning, turns) if each.is_feasible),
        unjoined=tuple(link for link, joins in zip(sought.links, joining, strict=True) if not joins),
        combinations=_pairs(prefill.group, decode.group) * sum(joining) * len(sought.pools),
    )


def beside(records: Sequence[TrialRecord], found: Answer, sought: Sought | None) -> Placement | None:
    """`of_records` where splits were asked for, else None."""
    return None if sought is None else of_records(records, found, sought)


def _candidate(
    prefill: Side, decode: Side, link: Link, pools: Pools | None, question: Question, made: Measurement | None = None
) -> SplitCandidate:
    """What was picked, as a measurement (`made`, or composed): the arithmetic of records, not that of arrays."""
    measurement = made or compose(prefill, decode, link, pools)
    values = question.values(measurement)
    return SplitCandidate(
        prefill=prefill.configuration,
        decode=decode.configuration,
        link=link,
        pools=pools,
        handover=handover(prefill, decode, link, pools),
        measurement=measurement,
        busy=made or compose(prefill, decode, link, None),
        values=values,
        loss=compared(question.objectives[0], values[0], measurement),
        excess=question.slo.excess(measurement),
        footprint=priced(measurement, question.scenario),
    )


def _feasible(picks: Mapping[Any, Pick], made: Callable[[Pick], SplitCandidate]) -> Iterator[SplitCandidate]:
    return (made(pick) for pick in picks.values() if pick.excess <= 0)


def _least(keyed: Iterable[tuple[Key, SplitCandidate]]) -> dict[Key, SplitCandidate]:
    """Of each key the one of least loss, the first of equal ones."""
    least: dict[Key, SplitCandidate] = {}
    for key, each in keyed:
        if key not in least or each.loss < least[key].loss:
            least[key] = each
    return least


def _first(picks: Iterable[Pick]) -> Pick | None:
    best = None
    for pick in picks:
        if best is None or is_better(pick, best):
            best = pick
    return best


def _first_colocated(per_model: Mapping[str, Candidate], question: Question) -> Candidate | None:
    def loss(each: Candidate) -> tuple[float, ...]:
        return (compared(question.objectives[0], each.values[0], each.measurement), *each.losses[1:])

    return min(per_model.values(), key=lambda each: (*loss(each), each.record.configuration), default=None)


def _pairs(prefill: Indices, decode: Indices) -> int:
    """How many ordered pairs share a group."""
    groups, counts = np.unique(prefill, return_counts=True)
    return int(sum(count * np.count_nonzero(decode == group) for group, count in zip(groups, counts, strict=True)))
