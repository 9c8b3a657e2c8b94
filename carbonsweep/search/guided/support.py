"""What an engine refused to run at all, and what probably shares the cause."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.points import Points

Indices = NDArray[np.intp]

CAUSES: Final[tuple[tuple[float, tuple[str, ...]], ...]] = (
    (0.50, ("gpu", "dtype")),  # no such arithmetic
    (0.15, ("model",)),  # the context is too short
    (0.15, ("model", "gpu_count")),  # its heads cannot be shared evenly
    (0.10, ("engine", "gpu_count")),  # the engine runs on one GPU only
    (0.10, ("model", "gpu", "gpu_count", "dtype", "engine")),  # this one alone
)
"""Why a bench may refuse, how often (a guess; only its order matters), and which fields tell who shares the cause."""


def supported(
    points: Points,
    where: Indices,
    refused: Collection[int],
    ran: Collection[int],
    count: int,
    random: np.random.Generator,
) -> NDArray[np.bool_]:
    """Joint draws of whether each of `where` runs, (count, len(where)).

    Each refusal has one cause, and none that would hit what `ran`. No cause spares another batch size.
    """
    runs = np.ones((count, len(where)), dtype=bool)
    measured = np.array(list(ran), dtype=np.intp)
    for i in _one_of_each(points, refused):
        shares = [0.0 if _shared(points, fields, measured, i).any() else share for share, fields in CAUSES[:-1]]
        shares.append(CAUSES[-1][0])
        hit = np.array([_shared(points, fields, where, i) for _, fields in CAUSES])
        chosen = random.choice(len(CAUSES), size=count, p=np.array(shares) / sum(shares))
        runs &= ~hit[chosen]
    return runs


def _one_of_each(points: Points, refused: Collection[int]) -> list[int]:
    """One configuration of each refused, whatever its batch size."""
    fields = CAUSES[-1][1]
    return list({tuple(int(getattr(points, field).index[i]) for field in fields): i for i in refused}.values())


def _shared(points: Points, fields: tuple[str, ...], where: Indices, i: int) -> NDArray[np.bool_]:
    """Which of `where` have what the i-th point has in `fields`."""
    alike = np.ones(len(where), dtype=bool)
    for field in fields:
        index = getattr(points, field).index
        alike &= index[where] == index[i]
    return alike
