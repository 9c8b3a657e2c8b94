"""The best pair of a prefill point and a decode point, of each model and over each link, over all pairs at once.

Pairs are of one model, dtype and engine. Blocks are small, and only the best of each is kept, so memory does not grow
with the number of pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.placement.quantities import Terms, quantities
from carbonsweep.placement.sides import Sides
from carbonsweep.search.objectives import Question
from carbonsweep.split import Pools

BLOCK: Final = 100_000
"""Combinations evaluated at a time: few enough that the arrays of a block stay in the processor's cache."""
SAME: Final = 1e-12
"""Relative difference below which two losses are equal: rounding must not choose twice as many GPUs."""


Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The best of a group over one link: places of the two points, and the losses it is compared by.

    `excess` is the worst over any limit: above 0 where nothing of the group is feasible, and this is the closest.
    """

    prefill: int
    decode: int
    link: int
    pools: Pools | None
    losses: tuple[float, ...]
    excess: float

    @property
    def rank(self) -> tuple[float, ...]:
        """Feasible ones first, by their losses; then by how far they miss."""
        return (0.0, *self.losses) if self.excess <= 0 else (1.0, self.excess, *self.losses)


def is_better(one: Pick, other: Pick) -> bool:
    """Whether `one` is ahead of `other` by more than rounding, in the first rank in which they differ."""
    for mine, theirs in zip(one.rank, other.rank, strict=False):
        if abs(mine - theirs) > SAME * max(abs(mine), abs(theirs)):
            return mine < theirs
    return False


def unheard(done: int, total: int) -> None:
    """Nobody is told how far a search is."""


def best_of_groups(
    prefill: Sides,
    decode: Sides,
    terms: Terms,
    question: Question,
    pools: Sequence[Pools | None],
    told: Told = unheard,
) -> dict[tuple[int, int], Pick]:
    """The best of every group and link, by (group, link), over all pairs and pools; of equal ones the first pools'.

    A pair without a value of an objective (unknown joules) is left out, so a group without any is as well. `told` hears
    how many blocks are done, of how many.
    """
    best: dict[tuple[int, int], Pick] = {}
    groups = np.intersect1d(prefill.group, decode.group).tolist()
    sides = {group: (prefill.part(prefill.group == group), decode.part(decode.group == group)) for group in groups}
    blocks = [
        (group, rows, each)
        for group, (first, second) in sides.items()
        for rows, each in itertools.product(_chunks(len(first), len(second) * len(terms.links)), pools)
    ]
    for done, (group, rows, each) in enumerate(blocks, 1):
        first, second = sides[group]
        for pick in _best_of_block(first.part(rows), second, terms, question, each):
            key = (group, pick.link)
            if key not in best or is_better(pick, best[key]):
                best[key] = pick
        told(done, len(blocks))
    return best


def _chunks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(1, width))
    return (slice(start, start + step) for start in range(0, rows, step))


def _best_of_block(
    prefill: Sides, decode: Sides, terms: Terms, question: Question, pools: Pools | None
) -> Iterator[Pick]:
    """The best pair over each link, if any has a value."""
    scenario = question.scenario
    found = quantities(prefill.along(1), decode.along(2), terms, pools, scenario.assumed_power_w)
    shape = (len(terms.links), len(prefill), len(decode))
    losses = [np.broadcast_to(found.loss(objective, scenario), shape) for objective in question.objectives]
    excess = np.broadcast_to(found.excess(question.slo), shape)
    known = found.joined & ~np.isnan(sum(losses))
    ranked = np.where(known & (excess <= 0), losses[0], np.inf).reshape(shape[0], -1)
    places = ranked.argmin(axis=1)
    for link, place in enumerate(places.tolist()):
        if not np.isfinite(ranked[link, place]):
            missed = np.where(known[link], excess[link], np.inf).ravel()
            place = int(missed.argmin())
            if not np.isfinite(missed[place]):
                continue
        elif len(losses) > 1:
            place = _first_of_equals(ranked[link], place, [loss[link].ravel() for loss in losses[1:]])
        i, j = divmod(place, shape[2])
        yield Pick(
            prefill=int(prefill.place[i]),
            decode=int(decode.place[j]),
            link=link,
            pools=pools,
            losses=tuple(float(loss[link, i, j]) for loss in losses),
            excess=float(excess[link, i, j]),
        )


def _first_of_equals(ranked: Array, place: int, others: Sequence[Array]) -> int:
    """Of those as good as the one at `place`, the best by the further objectives."""
    equals = np.flatnonzero(ranked <= ranked[place] + SAME * abs(ranked[place]))
    return int(equals[np.lexsort([other[equals] for other in reversed(others)])[0]])
