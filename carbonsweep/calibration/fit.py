"""Robust least squares on logarithms of measured over modelled, with priors: first all GPUs at once, then each alone.

The general row is the fit over all GPUs with two laws that tell them apart (`priors.LAWS`). A GPU's own row starts from
it: the general values are the means of its priors, with half their spread, so that four rows of one model bend it only
as far as they can (partial pooling; Gelman and Hill 2007, chapter 12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.cases import QUANTITIES, Cases, predicted
from carbonsweep.calibration.priors import LAWS, Family, Prior
from carbonsweep.facts.engines import Engine

SCALE: Final[Mapping[str, float]] = {"prefill_s": 0.10, "tpot_s": 0.07, "power_w": 0.06}
"""Logarithmic error that counts as one: of the order that repeats of one configuration differ by in the sources."""
OWN_SPREAD: Final = 0.5
WIDEST: Final = 2.5
"""Standard scores a parameter may move."""

Parameters = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Parameters of the general row, and of each GPU that has rows; `scores` are those of the general fit."""

    general: Parameters
    own: Mapping[str, Parameters]
    scores: Mapping[str, float]

    def on(self, gpu: str) -> Parameters:
        """What holds on `gpu`: its own values where it has some."""
        return self.own.get(gpu, self.general)


def as_engine(parameters: Parameters) -> Engine:
    """A row for the device model's equations alone: it has no errors to state and no source but its caller."""
    return Engine(
        key="fit",
        version="",
        prefill_time_error=0.0,
        prefill_energy_error=0.0,
        decode_time_error=0.0,
        decode_energy_error=0.0,
        error_source="",
        source="",
        **parameters,
    )


def fitted(rows: Cases, family: Family, start: Fitted | None = None, weights: Array | None = None) -> Fitted:
    """The general fit over `rows`, and one for each of their GPUs.

    `weights` count each observation (a bootstrap's counts); `start` is where the search begins, and makes it short.
    """
    priors = tuple(family.priors.values())
    general, scores = solved(rows, priors, family.fixed, start.general if start else None, weights)
    own = {}
    for gpu in rows.gpus:
        mine = rows.where(lambda each, gpu=gpu: each.origin.gpu == gpu)  # type: ignore[misc]
        kept = None if weights is None else weights[rows.gpu == rows.gpus.index(gpu)]
        near = [prior.around(general[prior.name], OWN_SPREAD) for prior in priors if prior.name not in LAWS]
        fixed = {**family.fixed, **{name: general[name] for name in LAWS if name in general}}
        own[gpu], _ = solved(mine, near, fixed, start.on(gpu) if start else None, kept)
    return Fitted(general=general, own=own, scores=dict(zip((prior.name for prior in priors), scores, strict=True)))


def solved(
    rows: Cases,
    priors: Sequence[Prior],
    fixed: Parameters,
    start: Parameters | None = None,
    weights: Array | None = None,
    says: Callable[[Cases, Parameters], Mapping[str, Array]] | None = None,
) -> tuple[Parameters, Array]:
    """Most probable parameters (the fixed ones among them), and their standard scores."""
    from scipy.optimize import least_squares

    says = says or (lambda rows, found: predicted(rows, lambda gpu: as_engine(found)))
    known = {name: np.isfinite(rows.measured[name]) for name in SCALE}
    counted = np.ones(len(rows)) if weights is None else weights
    logs = {name: np.log(rows.measured[name][known[name]]) for name in SCALE}

    def parameters(scores: Array) -> Parameters:
        return {**fixed, **{prior.name: prior.value(score) for prior, score in zip(priors, scores, strict=True)}}

    def residuals(scores: Array) -> Array:
        model = says(rows, parameters(scores))
        parts = [scores]
        for name, scale in SCALE.items():
            errors = (np.log(model[name][known[name]]) - logs[name]) / scale
            parts.append(np.sqrt(counted[known[name]]) * _bounded_influence(errors))
        return np.concatenate(parts)

    begin = np.array([prior.score(start[prior.name]) if start else 0.0 for prior in priors])
    begin = np.clip(begin, 0.01 - WIDEST, WIDEST - 0.01)
    solution = least_squares(
        residuals, begin, bounds=(-WIDEST, WIDEST), x_scale=1.0, max_nfev=8 if start else 100, ftol=1e-6, xtol=1e-6
    )
    return parameters(solution.x), solution.x


def _bounded_influence(errors: Array) -> Array:
    """Signed roots whose squares are twice the pseudo-Huber loss: an error of many scales pulls as one of a few."""
    root: Array = np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + errors**2) - 1))
    return root


def errors(rows: Cases, model: Mapping[str, Array]) -> Mapping[str, Array]:
    """Modelled over measured, less 1, where a quantity was measured: NaN elsewhere."""
    return {name: model[name] / rows.measured[name] - 1 for name in QUANTITIES}
