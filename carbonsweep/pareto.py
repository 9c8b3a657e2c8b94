"""Pareto fronts of plain arrays: points of shape (n, objectives), every objective minimised. Knows numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def dominates(first: ArrayLike, second: ArrayLike) -> bool:
    """Whether `first` is no worse in every objective and better in one."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    return bool(np.all(a <= b) and np.any(a < b))


def front(points: ArrayLike) -> NDArray[np.intp]:
    """Indices of the points no other point dominates, sorted by the first objective; of equal points, the first.

    Raises ValueError for NaN, which compares with nothing.
    """
    values = _checked(points)
    order = np.lexsort(values.T[::-1])  # a dominating point never sorts after the point it dominates
    kept: list[np.intp] = []
    for index in order:
        survivors = values[kept]
        if not np.any(np.all(survivors <= values[index], axis=1)):
            kept.append(index)
    return np.array(kept, dtype=np.intp)


def reference_point(points: ArrayLike, margin: float = 0.1) -> NDArray[np.float64]:
    """A point worse than all: the worst value of each objective, moved away by `margin` of its range (or size)."""
    values = _checked(points)
    worst, best = values.max(axis=0), values.min(axis=0)
    spread = np.where(worst > best, worst - best, np.maximum(np.abs(worst), 1.0))
    return np.asarray(worst + margin * spread, dtype=np.float64)


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume dominated by `points` and bounded by `reference`; points beyond it count nothing.

    Slices along the last objective (Knowles 2002): exact, meant for the few dozen points of a front.
    """
    bound = np.asarray(reference, dtype=float)
    values = _checked(points)
    inside = values[np.all(values < bound, axis=1)]
    return _sliced_volume(inside, bound)


def _sliced_volume(values: NDArray[np.float64], bound: NDArray[np.float64]) -> float:
    if not len(values):
        return 0.0
    if values.shape[1] == 1:
        return float(bound[0] - values.min())
    ordered = values[np.argsort(values[:, -1], kind="stable")]
    tops = np.append(ordered[1:, -1], bound[-1])
    return sum(
        float(top - ordered[i, -1]) * _sliced_volume(ordered[: i + 1, :-1], bound[:-1])
        for i, top in enumerate(tops)
        if top > ordered[i, -1]
    )


def _checked(points: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"points have shape {values.shape}: expected (points, objectives)")
    if np.isnan(values).any():
        raise ValueError("a point holds NaN: it can be compared with nothing")
    return values
