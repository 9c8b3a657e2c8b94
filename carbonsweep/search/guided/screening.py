"""Which candidates are worth joint draws, where there are many: the most promising by themselves."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.search.guided.belief import Belief
from carbonsweep.search.guided.gain import TINY

KEPT: Final = 192
"""Candidates that are drawn jointly: their covariance is decomposed, which takes a millisecond for so many."""
KEPT_FOUND: Final = 64
"""Found configurations that are drawn with them: the best; no other can be the best in any draw."""
WEIGHTS: Final = 32
"""Weights of several objectives that are tried, beside each objective alone."""
OPTIMISM: Final = 2.0
"""Standard deviations by which a candidate may be better than expected, where several objectives are weighed."""


def screened(
    belief: Belief, left: NDArray[np.intp], found: NDArray[np.intp], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The most promising of `left`, and the best of `found`, each in its order; all of them where they are few."""
    if len(left) <= KEPT and len(found) <= KEPT_FOUND:
        return left, found
    drawn, chance = belief.marginal(np.concatenate([left, found]), seed)
    n = len(left)
    feasible = chance[:n] * _kept_limits(drawn.excess[:, :n])
    losses = _logarithms(drawn.losses)
    mean, spread = losses.mean(axis=0), losses.std(axis=0)
    promise = _promise(mean, spread, n)
    best = np.argsort(-(feasible * promise), kind="stable")[:KEPT]
    best_found = np.argsort(mean[n:].min(axis=1) if mean.shape[1] == 1 else _depth(mean[n:]), kind="stable")
    return left[np.sort(best)], found[np.sort(best_found[:KEPT_FOUND])]


def _logarithms(losses: Array) -> Array:
    """Of losses of one sign, so that less is still better."""
    return np.asarray(np.log(np.maximum(np.abs(losses), TINY)) * np.where(losses < 0, -1.0, 1.0))


def _kept_limits(excess: Array) -> Array:
    """Chance that the limits are kept, (configurations,), as if the logarithm of the worst were normal."""
    if np.isneginf(excess).all():
        return np.ones(excess.shape[1])
    over = np.log1p(np.maximum(excess, -1 + 1e-12))
    return np.asarray(ndtr(-over.mean(axis=0) / np.maximum(over.std(axis=0), 1e-6)))


def _promise(mean: Array, spread: Array, n: int) -> Array:
    """Of the first n: expected improvement of one logarithm, or how near an optimist's losses are to the front."""
    if mean.shape[1] == 1:
        best = mean[n:, 0].min() if len(mean) > n else mean[:n, 0].max()
        wide = np.maximum(spread[:n, 0], 1e-6)
        z = (best - mean[:n, 0]) / wide
        return np.asarray(wide * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)))
    return _best_of_any_weights(mean[:n] - OPTIMISM * spread[:n])


def _best_of_any_weights(losses: Array) -> Array:
    """How near each comes to the smallest largest weighted loss, for the weights that favour it most: 1 is there."""
    low, high = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - low) / np.maximum(high - low, TINY)
    drawn = np.random.default_rng(0).dirichlet(np.ones(losses.shape[1]), WEIGHTS)
    favoured = np.zeros(len(losses))
    for weights in (*np.eye(losses.shape[1]), *drawn):
        worst = (weights * scaled).max(axis=1)
        favoured = np.maximum(favoured, 1 - (worst - worst.min()) / max(np.ptp(worst), TINY))
    return favoured


def _depth(losses: Array) -> Array:
    """How many of the others dominate each: 0 on the front."""
    no_worse = np.all(losses[:, None] <= losses[None], axis=2)
    return np.asarray((no_worse & np.any(losses[:, None] < losses[None], axis=2)).sum(axis=0))
