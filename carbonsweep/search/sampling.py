"""Which of Optuna's samplers proposes configurations."""

from __future__ import annotations

import warnings

import optuna
from optuna.samplers import BaseSampler, BruteForceSampler, TPESampler

from carbonsweep.search.space import Space


def sampler(space: Space, trials: int, seed: int) -> BaseSampler:
    """Exhaustive where every point gets its trial, else TPE.

    TPE takes every axis for unordered categories: Optuna 5 dropped the distance function that ordered batch sizes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if trials >= space.size:
            return BruteForceSampler(seed=seed)
        return TPESampler(seed=seed, constant_liar=True)
