"""Pareto fronts of plain arrays: points of shape (n, objectives), every objective minimised. Knows numpy only."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

KNEE_AT_LEAST: Final = 1e-9
"""Below this depth a front is a straight line, and rounding would choose the knee."""


def dominates(first: ArrayLike, second: ArrayLike) -> bool:
    """Whether `first` is no worse in every objective and better in one."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    return bool(np.all(a <= b) and np.any(a < b))


def front(points: ArrayLike) -> NDArray[np.intp]:
    """Indices of the points no other point dominates, sorted by the first objective; of equal points, the first.

    Raises ValueError for NaN, which compares with nothing.
    """
    values = _checked(points)
    left = np.lexsort(values.T[::-1])  # a dominating point never sorts after the point it dominates
    kept: list[np.intp] = []
    while len(left):
        kept.append(left[0])
        left = left[np.any(values[left] < values[left[0]], axis=1)]
    return np.array(kept, dtype=np.intp)


def knee(points: ArrayLike) -> int | None:
    """Index of the knee of a front: where giving up a little of one objective stops saving much of the others.

    Each objective is scaled to 0 (its best on the front) .. 1 (its worst); the knee is the point farthest below the
    plane through the corners (1, 0, ...), (0, 1, ...), ...: in two dimensions the chord between the front's ends.
    I. Das, "On characterizing the 'knee' of the Pareto curve based on normal-boundary intersection", Structural
    Optimization 18 (1999) 107-115, with the corners in place of the individual minima, so that it is defined in any
    dimension. The scale is linear, whatever a picture's axes are. Of equals the first; None where fewer than three
    points are left, or none lies below: a front that bulges the other way has no knee. Raises ValueError as `front`.
    """
    values = _checked(points)
    if len(values) < 3:
        return None
    low, high = values.min(axis=0), values.max(axis=0)
    wide = high > low
    scaled = (values[:, wide] - low[wide]) / (high - low)[wide]
    depth = 1 - scaled.sum(axis=1)
    deepest = int(np.argmax(depth))
    return deepest if wide.sum() > 1 and depth[deepest] > KNEE_AT_LEAST else None


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
