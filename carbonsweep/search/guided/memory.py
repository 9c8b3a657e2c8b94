"""The memory boundary: whether a configuration fits, learned from what fitted and what was refused.

A configuration fits where log(needed / available) of the device model, plus its error, is 0 or less. The error is a
Gaussian process like the other corrections, known only between bounds: what fitted needs at most what there is, and at
least its peak; what was refused needs more. What memory refuses at one batch size it refuses at every larger one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky
from scipy.special import ndtr, ndtri

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.domain import TrialRecord
from carbonsweep.search.guided.correction import JITTER, Likeness, ResidualKernel
from carbonsweep.search.guided.guidance import Guidance
from carbonsweep.search.guided.observations import IN_95

LIKENESS: Final = Likeness(scale=1.0, own=(0.3, 0.3, 0.5, 0.3), curve=0.3, trend=0.0, octaves=3.0, alone=0.02)
"""Fixed, for bounds say too little to learn it from. Reserves and activations are much the same on every GPU and for
every model, less so for another engine or dtype."""
SLACK: Final = 0.1
"""What a configuration that fitted needs beyond its measured peak, at most: workspace and fragmentation."""
TOLD: Final = 64
"""Bounds that are kept: those that bind most."""
SCREENED: Final = 32
"""Draws of the bounded errors where only their mean is needed."""
SWEEPS: Final = 30
"""Rounds of the Gibbs sampler: a bound is shared by few neighbours, so it forgets its start within a handful."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the error of log(needed / available) is known to lie: indices of configurations, and both ends."""

    index: NDArray[np.intp]
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Memory:
    """Arrays over the configurations: features, log(needed / available) as modelled and how far that may be off.

    `known` is 1 where it is certain that it fits, -1 where that it does not, else 0.
    """

    rows: Array
    log_need: Array
    errors: Array
    known: NDArray[np.intp]
    bounds: Bounds

    def fits(self, where: NDArray[np.intp], count: int, random: np.random.Generator) -> NDArray[np.bool_]:
        """Joint draws, (count, len(where))."""
        known = self.known[where]
        error = self._drawn(where, count, random)
        return np.asarray(np.where(known == 0, self.log_need[where] + error <= 0, known > 0))

    def chances(self, where: NDArray[np.intp], random: np.random.Generator) -> Array:
        """Chance that each place fits by itself, (len(where),)."""
        kernel, own = ResidualKernel(LIKENESS), self.errors[where]
        mean, variance = np.zeros(len(where)), np.ones(len(where))
        if len(self.bounds.index):
            values, factor = self._told(SCREENED, random)
            across = kernel(self.rows[where], self.rows[self.bounds.index])
            mean = across @ cho_solve(factor, values.mean(axis=0))
            variance = np.maximum(1 - (across * cho_solve(factor, across.T).T).sum(axis=1), JITTER)
        chance = ndtr(-(self.log_need[where] / own + mean) / np.sqrt(variance))
        known = self.known[where]
        return np.asarray(np.where(known == 0, chance, known > 0), dtype=float)

    def _drawn(self, where: NDArray[np.intp], count: int, random: np.random.Generator) -> Array:
        """Joint draws of the error of log(needed / available), (count, len(where))."""
        kernel = ResidualKernel(LIKENESS)
        covariance = kernel(self.rows[where])
        mean: Array = np.zeros((1, len(where)))
        if len(self.bounds.index):
            values, factor = self._told(count, random)
            across = kernel(self.rows[where], self.rows[self.bounds.index])
            mean = cho_solve(factor, values.T).T @ across.T
            covariance -= across @ cho_solve(factor, across.T)
        covariance.flat[:: len(where) + 1] += JITTER
        normal = random.standard_normal((count, len(where)))
        return np.asarray((mean + normal @ cholesky(covariance, lower=True).T) * self.errors[where])

    def _told(self, count: int, random: np.random.Generator) -> tuple[Array, tuple[Array, bool]]:
        """Draws of the errors that are bounded, in units of what is stated of them; and their covariance, factored."""
        covariance = ResidualKernel(LIKENESS)(self.rows[self.bounds.index])
        covariance.flat[:: len(covariance) + 1] += JITTER
        scale = self.errors[self.bounds.index]
        values = _between(covariance, self.bounds.low / scale, self.bounds.high / scale, count, random)
        return values, cho_factor(covariance, lower=True)


def memory(rows: Array, group: NDArray[np.intp], guidance: Guidance, records: Mapping[int, TrialRecord]) -> Memory:
    """What `records` (by index of configuration) say of memory."""
    batch = rows[:, -1]
    with np.errstate(invalid="ignore"):
        log_need = np.log(guidance.needed_bytes / guidance.available_bytes)
        errors = np.log1p(guidance.bytes_error) / IN_95
    fitted, refused = _ends(group, batch, records)
    known = np.zeros(len(rows), dtype=np.intp)
    for i in fitted.values():
        known[(group == group[i]) & (batch <= batch[i])] = 1
    for i in refused.values():
        known[(group == group[i]) & (batch >= batch[i])] = -1
    told = [(i, *_fitting(records[i], guidance, i, log_need[i])) for i in fitted.values()]
    told += [(i, _refused(records[i]) - log_need[i], np.inf) for i in refused.values()]
    told = [each for each in told if guidance.supported[each[0]]]
    # A bound far from where the error can be tells nothing.
    told.sort(key=lambda each: min(each[2], -each[1]) / errors[each[0]])
    told = [each for each in told[:TOLD] if min(each[2], -each[1]) < 4 * errors[each[0]]]
    bounds = Bounds(
        np.array([i for i, _, _ in told], dtype=np.intp),
        np.array([low for _, low, _ in told], dtype=float),
        np.array([high for _, _, high in told], dtype=float),
    )
    return Memory(rows, log_need, errors, known, bounds)


def _ends(
    group: NDArray[np.intp], batch: Array, records: Mapping[int, TrialRecord]
) -> tuple[dict[int, int], dict[int, int]]:
    """By group: the index of the largest batch that fitted, and of the smallest that memory refused."""
    fitted: dict[int, int] = {}
    refused: dict[int, int] = {}
    for i, record in records.items():
        of = int(group[i])
        if record.measurement is not None:
            if of not in fitted or batch[fitted[of]] < batch[i]:
                fitted[of] = i
        elif _is_refused(record) and (of not in refused or batch[refused[of]] > batch[i]):
            refused[of] = i
    return fitted, refused


def _is_refused(record: TrialRecord) -> bool:
    return record.refusal is not None and record.refusal.kind == "does-not-fit"


def _fitting(record: TrialRecord, guidance: Guidance, i: int, log_need: float) -> tuple[float, float]:
    """Bounds of the error where it fitted: it needed its peak at least, where somebody measured that."""
    assert record.measurement is not None, "only what was measured fitted"
    peak = record.measurement.peak_memory_bytes
    if peak is None:
        return -np.inf, -log_need
    low = min(np.log(peak / guidance.available_bytes[i]), 0.0) - log_need
    return low, min(low + SLACK, -log_need) if low < -log_need else -log_need + 1e-3


def _refused(record: TrialRecord) -> float:
    """The least that log(needed / available) can be; a memory that ran out tells no more than what was asked."""
    refusal = record.refusal
    if refusal is None or refusal.needed_bytes is None or refusal.available_bytes is None:
        return 0.0
    return max(0.0, float(np.log(refusal.needed_bytes / refusal.available_bytes)))


def _between(covariance: Array, low: Array, high: Array, count: int, random: np.random.Generator) -> Array:
    """Draws (count, n) of a normal with mean 0 between bounds, by Gibbs sampling of all draws side by side."""
    precision = np.linalg.inv(covariance)
    deviation = 1 / np.sqrt(np.diag(precision))
    values = np.tile(np.clip(0.0, low, high), (count, 1))
    for _ in range(SWEEPS):
        for i in range(len(low)):
            mean = values[:, i] - values @ precision[:, i] * deviation[i] ** 2
            uniform = random.random(count)
            values[:, i] = _truncated(mean, deviation[i], low[i], high[i], uniform)
    return values


def _truncated(mean: Array, deviation: float, low: float, high: float, uniform: Array) -> Array:
    """Normal draws between two bounds, by the inverse of the distribution taken in the tail where it is exact."""
    a, b = (low - mean) / deviation, (high - mean) / deviation
    upper = a > 0
    a, b = np.where(upper, -b, a), np.where(upper, -a, b)
    below = ndtr(a)
    standard = ndtri(below + uniform * (ndtr(b) - below))
    standard = np.clip(np.where(np.isfinite(standard), standard, b), a, b)
    return np.asarray(mean + deviation * np.where(upper, -standard, standard))
