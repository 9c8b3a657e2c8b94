"""The exact answer for many workloads: of every configuration with every workload, the best one for each workload.

The table of all pairs is never held: it is predicted, priced and searched block by block, so memory is that of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.pairs import Pairs, pairs
from carbonsweep.bench.points import Indices, Points
from carbonsweep.bench.roofline import predict_inputs
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.domain import Configuration, Workload
from carbonsweep.exact import in_order
from carbonsweep.objective_arrays import Quantities
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import Space

BLOCK_PAIRS: Final = 2**14
"""Pairs at a time: some thirty arrays of so many float64, 4 MB, whatever the size of the table."""
BLOCK_WORKLOADS: Final = 2**10

NONE: Final = -1
"""In place of the index of a configuration: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """For each workload the best configuration, or the one that misses the limits by least; arrays of shape (W,).

    `best` and `closest` are places in `points`, or NONE: `best` where no configuration meets every limit, `closest`
    where one does, or where none runs at all. `excess` is the worst relative excess over a limit of whichever of the
    two there is, `quantities` what is modelled of it; of neither, it means nothing.
    """

    points: Points
    workloads: tuple[Workload, ...]
    best: Indices
    closest: Indices
    excess: Array
    quantities: Quantities

    def configuration(self, i: int) -> Configuration | None:
        """The best configuration of the i-th workload."""
        return None if self.best[i] == NONE else self.points.configuration(int(self.best[i]))

    def near_miss(self, i: int) -> Configuration | None:
        """Where the i-th workload has no best: the configuration that misses its limits by least."""
        return None if self.closest[i] == NONE else self.points.configuration(int(self.closest[i]))


def best_per_workload(space: Space, workloads: Sequence[Workload], question: Question) -> Choices:
    """What `exact.plan` and its answer find best for each workload alone, ties broken alike; no record is made.

    Raises as `predict` and `footprint`.
    """
    table = pairs(in_order(space), workloads)
    found = [
        _best_of(table, slice(start, start + BLOCK_WORKLOADS), question)
        for start in range(0, len(workloads), BLOCK_WORKLOADS)
    ]
    best, closest = (np.concatenate(parts) for parts in zip(*found, strict=True))
    shown = np.where(best == NONE, closest, best)
    # A workload without any stands in with the first configuration; nobody looks at it.
    inputs = table.inputs_at(np.maximum(shown, 0), np.arange(len(workloads)))
    points = table.points.part(np.maximum(shown, 0))
    quantities = Quantities.of(points, predict_inputs(inputs), table.output_tokens[0])
    return Choices(
        points=table.points,
        workloads=tuple(workloads),
        best=best,
        closest=np.where(best == NONE, closest, NONE),
        excess=np.where(shown == NONE, np.nan, quantities.excess(question.slo)),
        quantities=quantities,
    )


def _best_of(table: Pairs, workloads: slice, question: Question) -> tuple[Indices, Indices]:
    """Places of the best and of the closest for a slice of the workloads, over all configurations."""
    configurations, _ = table.shape
    width = len(range(*workloads.indices(table.shape[1])))
    best = _Least.of(width, len(question.objectives))
    closest = _Least.of(width, 1)
    rows = max(1, BLOCK_PAIRS // width)
    for start in range(0, configurations, rows):
        block = slice(start, start + rows)
        inputs = table.inputs(block, workloads)
        predicted = predict_inputs(inputs)
        quantities = Quantities.of(table.points.part(block), predicted, inputs.output_tokens)
        measurable = predicted.supported & predicted.fits
        excess = quantities.excess(question.slo)
        best.update(
            [objective.sign * quantities.value(objective.name, question.scenario) for objective in question.objectives],
            measurable & (excess <= 0),
            start,
        )
        closest.update([excess], measurable, start)
    return best.place, closest.place


@dataclass(frozen=True, slots=True, kw_only=True)
class _Least:
    """The lexicographically least losses so far of each workload, and the first configuration that has them."""

    losses: list[Array]  # each of shape (W,)
    place: Indices  # (W,)

    @classmethod
    def of(cls, width: int, losses: int) -> _Least:
        return cls(losses=[np.full(width, np.inf) for _ in range(losses)], place=np.full(width, NONE, dtype=np.intp))

    def update(self, losses: Sequence[Array], allowed: NDArray[np.bool_], start: int) -> None:
        """Look at one more block: losses of shape (configurations, W); its first configuration is number `start`."""
        left, least = allowed, []
        for loss in losses:
            least.append(np.where(left, loss, np.inf).min(axis=0))
            left = left & (loss == least[-1])
        better, equal = np.zeros(len(self.place), dtype=bool), left.any(axis=0)
        for mine, theirs in zip(self.losses, least, strict=True):
            # An infinite loss is the start, which any configuration improves on.
            better |= equal & ((theirs < mine) | (self.place == NONE))
            equal &= theirs == mine
        self.place[better] = start + left.argmax(axis=0)[better]
        for mine, theirs in zip(self.losses, least, strict=True):
            mine[better] = theirs[better]
