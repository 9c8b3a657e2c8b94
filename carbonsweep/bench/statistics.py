"""Intervals over repeats, and how a quantity spreads; scipy is imported when an interval is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np

from carbonsweep.evidence import Distribution


def interval(samples: Sequence[float]) -> tuple[float, float, float]:
    """Mean of at least two samples and its 95 % t-interval, not below 0."""
    mean = fmean(samples)
    half = half_width(samples) * mean
    return mean, max(0.0, mean - half), mean + half


def half_width(samples: Sequence[float]) -> float:
    """Half-width of the 95 % t-interval of at least two samples, relative to their mean (above 0)."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(samples) - 1)) * stdev(samples) / math.sqrt(len(samples)) / fmean(samples)


def distribution(samples: Sequence[float], unit: str) -> Distribution:
    """How at least one sample spreads, each of one `unit` ("batch", "request")."""
    median, p90, p99 = (float(q) for q in np.quantile(samples, (0.5, 0.9, 0.99)))
    return Distribution(
        unit=unit,
        count=len(samples),
        mean=fmean(samples),
        stdev=stdev(samples) if len(samples) > 1 else None,
        minimum=min(samples),
        median=median,
        p90=p90,
        p99=p99,
        maximum=max(samples),
    )
