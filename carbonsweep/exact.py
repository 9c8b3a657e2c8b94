"""The exact answer over the modelled space: every configuration predicted and priced as arrays, without Ray.

Only the configurations an answer shows become records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carbonsweep.answer import CLOSEST, RUNNERS_UP, Answer, front_objectives
from carbonsweep.bench.points import Points, product
from carbonsweep.bench.roofline import Prediction, RooflineBench, predict_points
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.embodied import presets_covering
from carbonsweep.domain import TrialRecord, Workload
from carbonsweep.objective_arrays import Quantities
from carbonsweep.pareto import front, hypervolume, reference_point
from carbonsweep.search.objectives import Objective, Question
from carbonsweep.search.space import Space
from carbonsweep.trial import trial


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole modelled space: points, losses of shape (n, objectives) with +inf where there is none.

    `front_losses` holds the axes of the front; `excess` the worst relative excess over a limit, 0 or less: feasible.
    """

    points: Points
    predicted: Prediction
    quantities: Quantities
    losses: Array
    front_losses: Array
    excess: Array
    measurable: NDArray[np.bool_]
    supported: NDArray[np.bool_]

    @property
    def feasible(self) -> NDArray[np.bool_]:
        return self.measurable & (self.excess <= 0)

    def counts(self) -> dict[str, int]:
        """How many configurations ended how; a model never fails."""
        return {
            "feasible": int(self.feasible.sum()),
            "infeasible": int((self.measurable & ~self.feasible).sum()),
            "does_not_fit": int((self.supported & ~self.measurable).sum()),
            "unsupported": int((~self.supported).sum()),
            "failed": 0,
            "unpriced": 0,
        }


def plan(space: Space, workload: Workload, question: Question) -> Plan:
    """Predict and price every configuration of `space` on the device model. Raises as `predict` and `footprint`."""
    points = in_order(space)
    predicted = predict_points(points, workload)
    measurable = predicted.supported & predicted.fits
    quantities = Quantities.of(points, predicted, workload.output_tokens)
    scenario = question.scenario

    def losses(asked: Sequence[Objective]) -> Array:
        columns = [objective.sign * quantities.value(objective.name, scenario) for objective in asked]
        return np.where(measurable[:, None], np.stack(columns, axis=1), np.inf)

    return Plan(
        points=points,
        predicted=predicted,
        quantities=quantities,
        losses=losses(question.objectives),
        front_losses=losses(front_objectives(question)),
        excess=quantities.excess(question.slo),
        measurable=measurable,
        supported=predicted.supported,
    )


def in_order(space: Space) -> Points:
    """In the order of configurations, in which an answer breaks ties: the first of equals is then the same in both."""
    return product(
        models=tuple(sorted(space.models)),
        gpus=tuple(sorted(space.gpus)),
        gpu_counts=tuple(sorted(space.gpu_counts)),
        batch_sizes=tuple(sorted(space.batch_sizes)),
        dtypes=tuple(sorted(space.dtypes)),
        engines=tuple(sorted(space.engines)),
    )


def shown(planned: Plan, workload: Workload, question: Question) -> list[TrialRecord]:
    """Records of the configurations the answer can show: with them alone it is the answer over the whole space.

    Best and runners-up, best per model and per embodied preset, the best on another GPU kind, the front and the worst
    of each of its axes (they set the hypervolume's reference), and the closest misses.
    """
    bench = RooflineBench()
    return [trial(bench, planned.points.configuration(i), workload) for i in sorted(_shown_indices(planned, question))]


def _shown_indices(planned: Plan, question: Question) -> set[int]:

    measurable = np.flatnonzero(planned.measurable)
    feasible = np.flatnonzero(planned.feasible)
    if not len(measurable):
        return set(range(min(CLOSEST, len(planned.points)))) | set(_closest_to_fit(planned))
    if not len(feasible):
        closest = measurable[np.argsort(planned.excess[measurable], kind="stable")[:CLOSEST]]
        return {*closest.tolist(), *_closest_by_limit(planned, question, measurable)}
    ranked = feasible[np.lexsort(planned.losses[feasible].T[::-1])]
    indices = set(ranked[: 1 + RUNNERS_UP].tolist())
    _, first_of_model = np.unique(planned.points.model.index[ranked], return_index=True)
    indices |= set(ranked[first_of_model].tolist())
    indices |= set(_rival(planned, ranked))
    axes = planned.front_losses[feasible]
    indices |= set(feasible[front(axes)].tolist()) | set(feasible[np.argmax(axes, axis=0)].tolist())
    return indices | set(_preset_winners(planned, question, feasible))


def _closest_by_limit(planned: Plan, question: Question, measurable: NDArray[np.intp]) -> list[int]:
    """For each limit who misses it by least, then by the worst excess (`Answer.closest_by_limit`)."""
    worst = planned.excess[measurable]
    by_limit = [getattr(planned.quantities, name)[measurable] for name in question.slo.limits()]
    return [int(measurable[np.lexsort((worst, latency_s))[0]]) for latency_s in by_limit]


def _closest_to_fit(planned: Plan) -> list[int]:
    """Who lacks the least memory (`Answer.closest_to_fit`), if that is what any lacks."""
    short_of = np.flatnonzero(planned.supported)
    lacking = (planned.predicted.needed_bytes - planned.predicted.available_bytes)[short_of]
    return [int(short_of[np.argmin(lacking)])] if len(short_of) else []


def _rival(planned: Plan, ranked: NDArray[np.intp]) -> list[int]:
    """The best configuration of the best one's model on another GPU kind (`swaps.rival`), if there is one."""
    model, gpu = planned.points.model.index[ranked], planned.points.gpu.index[ranked]
    return [int(i) for i in ranked[(model == model[0]) & (gpu != gpu[0])][:1]]


def _preset_winners(planned: Plan, question: Question, feasible: NDArray[np.intp]) -> list[int]:
    """The best configuration under each embodied preset that knows every feasible GPU kind."""
    if question.objectives[0].name != "carbon":
        return []
    kinds = {planned.points.gpu.values[i] for i in np.unique(planned.points.gpu.index[feasible])}
    scenarios = [dataclasses.replace(question.scenario, embodied=preset) for preset in presets_covering(kinds)]
    return [int(feasible[np.argmin(planned.quantities.value("carbon", s)[feasible])]) for s in scenarios]


def regret(found: Answer, planned: Plan) -> float | None:
    """How far a sweep's answer is from the exact one, relative to it.

    None where either has no feasible point, or the exact one is 0 (a grid without carbon, GPUs that are sunk) and the
    answer is not: then no ratio tells how far.

    One objective: excess of the loss over the smallest. Several: share of the true front's hypervolume that is missing.
    """
    if not planned.feasible.any() or found.best is None:
        return None
    losses = planned.losses[planned.feasible]
    if len(found.question.objectives) == 1:
        # Both sides from the arrays: the same configuration is then exactly 0, not the rounding of two sums.
        chosen = planned.losses[planned.points.index(found.best.record.configuration), 0]
        least = losses.min()
        if least == 0:
            return 0.0 if chosen == 0 else None
        return float((chosen - least) / abs(least))
    reference = reference_point(losses)
    true = hypervolume(losses[front(losses)], reference)
    return 1 - hypervolume([candidate.losses for candidate in found.front], reference) / true
