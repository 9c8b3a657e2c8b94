"""What a fit could as well have been: its parameters under other samples of models, and the error that stays.

Bayesian bootstrap (Rubin, Annals of Statistics 9 (1981) 130-134) over models, not rows: rows of one model err together.
A bootstrap does not see what the equations lack, so two factors carry the rest of the held-out error: log-normal, their
variance that of the held-out rows less what the drawn parameters already spread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.cases import cases
from carbonsweep.calibration.fit import Fitted, Parameters
from carbonsweep.calibration.heldout import HeldOut, spread
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.stacks import Stack, Weights, fit_of, modelled
from carbonsweep.calibration.writing import DRAW_COUNT

SEED: Final = 20240709
"""The day the paper was presented; any number would do, and it stays."""

FACTORS: Final = {"time_factor": "tpot_s", "power_factor": "power_w"}
Drawn = dict[str, dict[str, list[float]]]


def drawn(
    what: Stack,
    observations: Sequence[Observation],
    fit: Fitted,
    held: Mapping[str, HeldOut],
    told: Callable[[str], None] = lambda _: None,
    draws: int = DRAW_COUNT,
) -> Drawn:
    """`draws` joint draws by GPU ("" for any other) and field. `held` has the held-out rows of each of these."""
    fits = []
    start = fit if what.base is None else None
    for index in range(draws):
        told(f"{what.name}, draw {index + 1}")
        fits.append(fit_of(what, observations, start, _counted(model_weights(observations, index))))
    rows: Drawn = {"": _varying([one.general for one in fits])}
    rows |= {gpu: _varying([one.on(gpu) for one in fits]) for gpu in fit.own}
    for gpu, fields in rows.items():
        fields |= remaining_factors(f"{what.name}/{gpu}", [fit.on(gpu) for fit in fits], held[gpu], held[""])
    return rows


def _counted(weights: Mapping[str, float]) -> Weights:
    return lambda each: weights[each.model.key]


def model_weights(observations: Sequence[Observation], index: int) -> dict[str, float]:
    """A weight for each model, of mean 1; the same for one index whichever engine is drawn."""
    models = sorted({each.model.key for each in observations})
    weights = np.random.default_rng([SEED, index]).exponential(size=len(models))
    return dict(zip(models, (weights / weights.mean()).tolist(), strict=True))


def _varying(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: values for name, values in columns.items() if len(set(values)) > 1}


def remaining_factors(
    name: str, draws: Sequence[Parameters], held: HeldOut, elsewhere: HeldOut
) -> dict[str, list[float]]:
    """The two factors; of a quantity that `held` never measured, with the error it has `elsewhere`."""
    factors = {}
    for factor, quantity in FACTORS.items():
        known = held if len(held.errors(quantity)) else elsewhere
        if not len(known.errors(quantity)):
            continue
        rows = cases(known.rows.observations)
        said = np.log([modelled(Fitted(general=each, own={}, scores={}), rows)[quantity] for each in draws])
        rest = spread(known.errors(quantity)) ** 2 - float(np.mean(np.var(said, axis=0)))
        factors[factor] = np.exp(np.sqrt(max(rest, 0.0)) * _normals(f"{name}/{factor}")[: len(draws)]).tolist()
    return factors


def _normals(name: str) -> Array:
    """Standard normals that belong to `name`: no order of engines or GPUs changes them."""
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng([SEED, digest]).standard_normal(DRAW_COUNT)
