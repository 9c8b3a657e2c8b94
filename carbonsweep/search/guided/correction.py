"""The correction: how far the device model is off, everywhere, learned from where it was measured.

The logarithm of measured over predicted is a Gaussian process. Two configurations are the more alike in it the more
they share: GPU, model, engine and dtype, GPU count, and the closer their batch sizes are. How much each of these
matters is not known beforehand either: it is drawn from a prior and weighed by how well it explains what was measured
(importance sampling; Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 5.2), so that the
posterior holds that doubt too.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky
from scipy.stats import qmc
from sklearn import config_context
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel

from carbonsweep.bench.points import Points
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.search.guided.observations import Observed

NAMED: Final = 4
"""Columns of the features that are names: GPU, model, engine with dtype, GPU count. The last is log2 of the batch."""
LIKENESSES: Final = 64
"""Draws from the prior of what matters how much; a power of 2, as a Sobol sequence wants."""
USED: Final = 12
"""Likenesses that share the draws of one output: each costs a decomposition of the candidates' covariance."""
STEADY: Final = 3.0
"""Doublings of the batch at which an error that grows steadily is as large as was stated: a batch of 8."""
JITTER: Final = 1e-6
"""Added to variances of unit size, so that rounding leaves them above 0."""


def features(points: Points) -> Array:
    """Shape (configurations, 5): GPU, model, engine with dtype, and GPU count as numbers; log2 of the batch size."""
    variant = points.engine.index * len(points.dtype.values) + points.dtype.index
    batch = np.log2(np.array(points.batch_size.values, dtype=float))[points.batch_size.index]
    return np.column_stack([points.gpu.index, points.model.index, variant, points.gpu_count.index, batch]).astype(float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How the errors of two configurations go together.

    `scale` multiplies the errors stated beforehand. `own`, by named column: the share of the variance two
    configurations no longer have in common when they differ there (0: it does not matter, 1: nothing is left).
    `curve` is the share that changes with the batch size: within `octaves` of it, or, the share `trend` of that,
    steadily from a batch of 1 on, as the error of what each sequence costs does. `alone` is the share of each
    configuration by itself, which no other tells.
    """

    scale: float
    own: tuple[float, ...]
    curve: float
    trend: float
    octaves: float
    alone: float


@functools.cache
def likenesses() -> tuple[Likeness, ...]:
    """Draws from the prior, evenly spread (a Sobol sequence).

    Shares are anything between hardly and nearly all. The stated errors may be 2.5 times too large or 4 times too
    small: a device model is more often trusted too much. Errors change over 1.5 to 6 doublings of the batch, and 0.2 %
    to 10 % of their variance is of each configuration by itself.
    """
    drawn = qmc.Sobol(d=NAMED + 5, rng=0).random(LIKENESSES)
    return tuple(
        Likeness(
            scale=float(0.4 * 10**scale),
            own=tuple((0.05 + 0.9 * np.array(own)).tolist()),
            curve=float(0.05 + 0.9 * curve),
            trend=float(trend),
            octaves=float(1.5 * 4**octaves),
            alone=float(0.002 * 50**alone),
        )
        for *own, scale, curve, trend, octaves, alone in drawn
    )


class ResidualKernel(Kernel):  # type: ignore[misc]
    """Covariance of errors of rows of `features`, in units of the variances stated beforehand."""

    def __init__(self, likeness: Likeness) -> None:
        self.likeness = likeness

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        """Shape (rows of X, rows of Y). A likeness is given whole: there is nothing to differentiate by."""
        like, other = self.likeness, X if Y is None else Y
        apart = X[:, None, -1] - other[None, :, -1]
        near = np.exp(-0.5 * (apart / like.octaves) ** 2)
        steady = X[:, None, -1] * other[None, :, -1] / STEADY**2
        alike = 1 - like.curve + like.curve * ((1 - like.trend) * near + like.trend * steady)
        same = apart == 0
        for column, own in enumerate(like.own):
            equal = X[:, None, column] == other[None, :, column]
            alike *= 1 - own * ~equal
            same &= equal
        covariance = like.scale**2 * ((1 - like.alone) * alike + like.alone * same)
        return (covariance, np.empty((*covariance.shape, 0))) if eval_gradient else covariance

    def diag(self, X: Array) -> Array:  # noqa: N803
        """Variances of the rows of X."""
        like = self.likeness
        grown = 1 + like.curve * like.trend * ((X[:, -1] / STEADY) ** 2 - 1)
        return np.asarray(like.scale**2 * ((1 - like.alone) * grown + like.alone))

    def is_stationary(self) -> bool:
        """Whether only differences of rows matter: errors that grow with the batch say no."""
        return False


class Correction:
    """Errors of several outputs: `rows` are features of all configurations, `errors` standard deviations by output."""

    def __init__(self, rows: Array, errors: Mapping[str, Array], told: Mapping[str, Observed]) -> None:
        self._rows, self._errors, self._told = rows, errors, told
        index = np.unique(np.concatenate([each.index for each in told.values()])).astype(np.intp)
        covariances = np.array([ResidualKernel(like)(rows[index]) for like in likenesses()])
        self._weights = {
            output: _weights(covariances, np.searchsorted(index, each.index), each, errors[output][each.index])
            for output, each in told.items()
        }

    def draws(self, where: NDArray[np.intp], count: int, random: np.random.Generator) -> dict[str, Array]:
        """Joint draws of log(true / predicted) by output, each of shape (count, len(where))."""
        with config_context(assume_finite=True, skip_parameter_validation=True):
            return {output: self._draws(output, where, count, random) for output in self._told}

    def marginals(self, where: NDArray[np.intp]) -> dict[str, tuple[Array, Array]]:
        """Mean and standard deviation of the same at each place, under the likeliest likeness."""
        with config_context(assume_finite=True, skip_parameter_validation=True):
            return {output: self._marginal(output, where) for output in self._told}

    def _draws(self, output: str, where: NDArray[np.intp], count: int, random: np.random.Generator) -> Array:
        used = _resampled(self._weights[output], USED, float(random.random()))
        owners = np.repeat(used, -(-count // USED))[:count]
        drawn = random.standard_normal((count, len(where)))
        for k in np.unique(owners):
            mean, covariance = self._posterior(output, int(k), where)
            covariance.flat[:: len(where) + 1] += JITTER
            mine = owners == k
            drawn[mine] = mean + drawn[mine] @ cholesky(covariance, lower=True, check_finite=False).T
        # The likenesses of two outputs have nothing to do with each other.
        return np.asarray(drawn[random.permutation(count)] * self._errors[output][where])

    def _posterior(self, output: str, k: int, where: NDArray[np.intp]) -> tuple[Array, Array]:
        mean, covariance = self._process(output, k).predict(self._rows[where], return_cov=True)
        return mean, covariance

    def _marginal(self, output: str, where: NDArray[np.intp]) -> tuple[Array, Array]:
        likeliest = int(np.argmax(self._weights[output]))
        mean, deviation = self._process(output, likeliest).predict(self._rows[where], return_std=True)
        own = self._errors[output][where]
        return mean * own, deviation * own

    def _process(self, output: str, k: int) -> GaussianProcessRegressor:
        """Fitted to what was measured; without any, it is the prior."""
        told, kernel = self._told[output], ResidualKernel(likenesses()[k])
        if not len(told.index):
            return GaussianProcessRegressor(kernel, optimizer=None)
        own = self._errors[output][told.index]
        process = GaussianProcessRegressor(kernel, alpha=(told.noise / own) ** 2 + JITTER, optimizer=None)
        return process.fit(self._rows[told.index], told.log_ratio / own)


def _weights(covariances: Array, at: NDArray[np.intp], told: Observed, own: Array) -> Array:
    """Weight of each likeness: its marginal likelihood. All at once; one by one takes ten times as long."""
    if not len(at):
        return np.full(LIKENESSES, 1 / LIKENESSES)
    noisy = covariances[:, at[:, None], at] + np.diag((told.noise / own) ** 2 + JITTER)
    lower = np.linalg.cholesky(noisy)
    white = np.linalg.solve(lower, np.broadcast_to((told.log_ratio / own)[:, None], (LIKENESSES, len(at), 1)))[..., 0]
    scores = -0.5 * (white**2).sum(axis=1) - np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def _resampled(weights: Array, count: int, offset: float) -> NDArray[np.intp]:
    """Indices with these weights, `count` of them, evenly spread (systematic resampling)."""
    places = (np.arange(count) + offset) / count
    return np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)
