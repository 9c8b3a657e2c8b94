"""What a trial would gain, in joint draws of all outcomes, and the chance that any would.

Expected improvement (Jones et al., Journal of Global Optimization 13, 1998) taken as a mean over draws, with limits by
their chance to be met (Gelbart et al., UAI 2014). What is held already, found or running, has its own draw: noise and
trials in flight are thereby counted. Several objectives: the growth of the hypervolume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.pareto import front, hypervolume
from carbonsweep.search.guided.outcomes import Outcomes

WORTH: Final = 0.01
"""Relative gain below which nobody would measure on."""
TINY: Final = 1e-300
REFERENCE_MARGIN: Final = 0.1
"""How far beyond the worst loss the reference of a hypervolume lies, in shares of the range, as in `pareto`."""
COUNTED: Final = 48
"""Draws in which the hypervolume of three or more objectives is computed: each takes milliseconds."""


@dataclass(frozen=True, slots=True)
class View:
    """Joint draws of `open_count` open configurations, then of those held: running, and last the `found` ones.

    A found configuration is feasible as it was measured: that is what a user is shown.
    """

    outcomes: Outcomes
    open_count: int
    found_count: int

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Of shape (draws, configurations)."""
        feasible = self.outcomes.feasible.copy()
        feasible[:, feasible.shape[1] - self.found_count :] = True
        return feasible

    @property
    def losses(self) -> Array:
        """Of shape (draws, configurations, objectives)."""
        return self.outcomes.losses


def gains(view: View, random: np.random.Generator) -> Array:
    """Expected gain of each open configuration, (open configurations,); relative, or a volume."""
    match view.losses.shape[2]:
        case 1:
            gained = improvements(view)
        case 2:
            gained = _hypervolume_gains(view)
        case _:
            gained = _scalar_improvements(view, random)
    return np.asarray(gained.mean(axis=0))


def chance(view: View) -> float:
    """Share of draws in which open configurations gain more than `WORTH`; see `Guide.chance_left`."""
    n = view.open_count
    if view.losses.shape[2] == 1:
        nothing_held = ~view.feasible[:, n:].any(axis=1)
        return float(np.mean((improvements(view) > np.log1p(WORTH)).any(axis=1) | nothing_held & _any(view)))
    reference = reference_point(view)
    volumes = _areas if view.losses.shape[2] == 2 else _volumes
    held = volumes(view.losses[:, n:], view.feasible[:, n:], reference)
    total = volumes(view.losses, view.feasible, reference)
    return float(np.mean(total > held * (1 + WORTH)))


def _any(view: View) -> NDArray[np.bool_]:
    return np.asarray(view.feasible[:, : view.open_count].any(axis=1))


def improvements(view: View) -> Array:
    """Relative improvement of each open configuration on the best held one of the same draw: log(best / loss).

    0 where there is none, or it is not feasible. Where nothing is held, on a loss as bad as any open one is expected
    to be: a feasible configuration is then worth more the better it is. Losses are of one sign: quantities above 0,
    negated where more is better.
    """
    n, feasible, losses = view.open_count, view.feasible, view.losses[..., 0]
    scale = np.log(np.maximum(np.abs(losses), TINY)) * np.where(losses < 0, -1.0, 1.0)
    best = np.where(feasible[:, n:], scale[:, n:], np.inf).min(axis=1, initial=np.inf)
    if np.isinf(best).any():
        best[np.isinf(best)] = np.median(scale[:, :n], axis=0).max()
    return np.where(feasible[:, :n], np.maximum(best[:, None] - scale[:, :n], 0.0), 0.0)


def reference_point(view: View) -> Array:
    """Worse than what is probably feasible, as `pareto.reference_point` of median losses; of all, if nothing is."""
    medians = np.median(view.losses, axis=0)
    probable = view.feasible.mean(axis=0) > 0.5
    medians = medians[probable] if probable.any() else medians
    worst, best = medians.max(axis=0), medians.min(axis=0)
    return np.asarray(worst + REFERENCE_MARGIN * np.where(worst > best, worst - best, np.abs(worst)))


def hypervolume_gains(losses: Array, held: Array, reference: Array) -> Array:
    """Area that each of `losses`, shape (points, 2), adds to what `held`, (n, 2), dominates below `reference`.

    Between two neighbours of the front, a point adds its part of the width times what it lies below the left one.
    """
    inside = held[np.all(held < reference, axis=1)]
    steps = inside[front(inside)] if len(inside) else inside
    left = np.concatenate([[-np.inf], steps[:, 0]])
    right = np.concatenate([steps[:, 0], [reference[0]]])
    top = np.concatenate([[reference[1]], steps[:, 1]])
    widths = np.maximum(right - np.maximum(left, losses[:, :1]), 0.0)
    return np.asarray((widths * np.maximum(top - losses[:, 1:], 0.0)).sum(axis=1))


def _hypervolume_gains(view: View) -> Array:
    n, feasible, reference = view.open_count, view.feasible, reference_point(view)
    gained = [
        hypervolume_gains(losses[:n], losses[n:][runs[n:]], reference)
        for losses, runs in zip(view.losses, feasible, strict=True)
    ]
    return np.where(feasible[:, :n], np.array(gained), 0.0)


def _scalar_improvements(view: View, random: np.random.Generator) -> Array:
    """Improvement of the largest weighted loss, weights drawn anew for each draw (ParEGO; Knowles, 2006)."""
    n, feasible = view.open_count, view.feasible
    low, high = view.losses.min(axis=(0, 1)), reference_point(view)
    scaled = (view.losses - low) / np.maximum(high - low, TINY)
    weights = random.dirichlet(np.ones(scaled.shape[2]), len(scaled))[:, None, :]
    scalar = (weights * scaled).max(axis=2) + 0.05 * (weights * scaled).sum(axis=2)
    best = np.where(feasible[:, n:], scalar[:, n:], np.inf).min(axis=1, initial=np.inf)
    best = np.where(np.isfinite(best), best, scalar.max())
    return np.where(feasible[:, :n], np.maximum(best[:, None] - scalar[:, :n], 0.0), 0.0)


def _areas(losses: Array, feasible: NDArray[np.bool_], reference: Array) -> Array:
    """Hypervolume of two losses in every draw at once, (draws,)."""
    first = np.where(feasible, np.minimum(losses[..., 0], reference[0]), reference[0])
    second = np.where(feasible, np.minimum(losses[..., 1], reference[1]), reference[1])
    order = np.argsort(first, axis=1)
    x, y = (np.take_along_axis(values, order, axis=1) for values in (first, second))
    widths = np.diff(np.append(x, np.full((len(x), 1), reference[0]), axis=1), axis=1)
    return np.asarray((widths * (reference[1] - np.minimum.accumulate(y, axis=1))).sum(axis=1))


def _volumes(losses: Array, feasible: NDArray[np.bool_], reference: Array) -> Array:
    """Hypervolume of three losses or more, in the first draws."""
    pairs = zip(losses[:COUNTED], feasible[:COUNTED], strict=True)
    return np.array([hypervolume(_front(points[runs]), reference) for points, runs in pairs])


def _front(points: Array) -> Array:
    return points[front(points)] if len(points) else points
