"""GPU kinds that nobody measured and that would win if the device model were far off: a search looks at each once.

The chance that something better remains trusts the errors that the model states of itself. A kind whose row is wrong by
more than that (a kernel it does not have, clocks it does not reach) is never looked at for as long as it seems slow.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.search.guided.belief import Belief, Candidates

DOUBT: Final = 5.0
"""How many times faster than modelled a kind may turn out: twice what its Student's tails (`belief`) make likely."""
LIKELY: Final = 0.5
"""A trial that is less likely to run at all is no look at its kind."""
MOST_LOST: Final = 2
"""Trials without an outcome after which a kind is given up."""

Indices = NDArray[np.intp]


def rivals(of: Candidates, belief: Belief, left: Indices, lost: Indices, held: Array, seed: int) -> Indices:
    """One of `left` for each kind in doubt, the most threatening kind first.

    Were its kind `DOUBT` times faster it would meet every limit, and nothing `held` (losses, (configurations,
    objectives)) would be as good in every objective. Of several: what meets the limits as modelled, and loses least.
    `lost` are trials that gave no outcome.
    """
    kind = of.points.gpu.index
    given_up = np.bincount(kind[lost], minlength=len(of.points.gpu.values)) >= MOST_LOST
    where = left[(belief.untimed & ~given_up)[kind[left]]]
    if not len(where):
        return where
    modelled, faster = 0, 1
    at = belief.expected(where, (1.0, DOUBT))
    bettered = (held[None] <= at.losses[faster][:, None]).all(axis=2).any(axis=1)
    runs = belief.chances(where, np.random.default_rng(seed)) >= LIKELY
    wins = (at.excess[faster] <= 0) & ~bettered & runs
    order = np.lexsort((at.losses[modelled, :, 0], at.excess[modelled] > 0))
    ranked = where[order[wins[order]]]
    chosen = ranked[np.sort(np.unique(kind[ranked], return_index=True)[1])]
    return np.asarray(chosen)
