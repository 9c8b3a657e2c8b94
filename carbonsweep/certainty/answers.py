"""How sure an answer over records is, and how sure a plan is: who contends, in the order both rank them."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from carbonsweep.answer import Answer
from carbonsweep.bench.points import Indices, Points
from carbonsweep.bench.roofline import Prediction
from carbonsweep.certainty.contenders import of_measurements, of_points, ranked
from carbonsweep.certainty.shares import Certainty, certainty
from carbonsweep.exact import Plan
from carbonsweep.facts.draws import FitDraws
from carbonsweep.search.objectives import Question, worst_excess


def of_answer(answer: Answer, fits: FitDraws | None) -> Certainty | None:
    """Over every candidate of the answer, those over a limit too; None where it has no best. Raises as `certainty`."""
    if answer.best is None:
        return None
    candidates = (*answer.feasible, *answer.infeasible)
    contenders = of_measurements(
        [c.record.configuration for c in candidates], [c.measurement for c in candidates], answer.question.scenario
    )
    losses = np.array([c.losses for c in candidates])
    excess = np.array([worst_excess(c.excess) for c in candidates])
    picked = contenders.picked(ranked(losses, excess, _groups(contenders.points)))
    return certainty(picked, answer.question, fits)


def of_plan(planned: Plan, question: Question, fits: FitDraws | None) -> Certainty | None:
    """Over every configuration that runs, not only those an answer shows; None where none meets the limits."""
    if not planned.feasible.any():
        return None
    running = np.flatnonzero(planned.measurable)
    order = running[ranked(planned.losses[running], planned.excess[running], _groups(planned.points.part(running)))]
    predicted = Prediction(
        **{field.name: getattr(planned.predicted, field.name)[order] for field in fields(Prediction)}
    )
    contenders = of_points(planned.points.part(order), predicted, planned.quantities.output_tokens)
    return certainty(replace(contenders, of=len(running)), question, fits)


def _groups(points: Points) -> Indices:
    """A number for each model on each kind of GPU."""
    return points.model.index * len(points.gpu.values) + points.gpu.index
