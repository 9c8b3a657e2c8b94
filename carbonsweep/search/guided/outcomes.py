"""Draws of what trials would find: seconds and joules of the corrected device model, as losses and limits kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.points import Points
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.domain import Workload
from carbonsweep.objective_arrays import Quantities
from carbonsweep.search.guided.guidance import Guidance
from carbonsweep.search.guided.observations import OUTPUTS
from carbonsweep.search.objectives import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Losses of shape (draws, configurations, objectives); of shape (draws, configurations) the rest.

    `excess` is the worst relative excess over a limit, `runs` where memory and engine let it run at all.
    """

    losses: Array
    excess: Array
    runs: NDArray[np.bool_]

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Where it runs within every limit."""
        return self.runs & (self.excess <= 0)


def outcomes(
    points: Points,
    guidance: Guidance,
    log_ratios: Mapping[str, Array],
    runs: NDArray[np.bool_],
    *,
    workload: Workload,
    question: Question,
) -> Outcomes:
    """Of `points`, whose guidance is `guidance`; `log_ratios` are corrections by output, (draws, points).

    An output without a correction is as the device model says. Raises BadInput as the question's objectives.
    """
    drawn = {name: getattr(guidance, name) * np.exp(log_ratios.get(name, np.zeros((1, 1)))) for name in OUTPUTS}
    quantities = Quantities(
        gpus=points.gpu.values,
        gpu_index=points.gpu.index,
        ttft_s=drawn["prefill_s"],
        decode_s=drawn["decode_s"],
        energy_j=drawn["prefill_w"] * drawn["prefill_s"] + drawn["decode_w"] * drawn["decode_s"],
        idle_w=drawn["idle_w"],
        batch=np.array(points.batch_size.values, dtype=float)[points.batch_size.index],
        count=np.array(points.gpu_count.values, dtype=float)[points.gpu_count.index],
        prompt_tokens=guidance.prompt_tokens,
        output_tokens=workload.output_tokens,
    )
    losses = [o.sign * quantities.value(o.name, question.scenario) for o in question.objectives]
    shape = np.broadcast_shapes(runs.shape, *(each.shape for each in losses))
    return Outcomes(
        losses=np.stack([np.broadcast_to(each, shape) for each in losses], axis=-1),
        excess=np.broadcast_to(quantities.excess(question.slo), shape),
        runs=np.broadcast_to(runs, shape),
    )
