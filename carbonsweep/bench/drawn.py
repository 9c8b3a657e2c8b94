"""The device model under every draw of its fit: by what factor times and energies differ from its own values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.bench.points import Points
from carbonsweep.bench.roofline import predict_inputs
from carbonsweep.bench.roofline_inputs import Array, Inputs, engine_inputs, of_configurations
from carbonsweep.facts.draws import FACTORS, POWER_FACTOR, TIME_FACTOR, FitDraws
from carbonsweep.facts.engines import Engine, engine, engine_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of each configuration's batch, of shape (configurations,): mean and padded prompt, and output."""

    prompt: Array
    padded_prompt: Array
    output_tokens: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Each draw over the model's own value, (draws, configurations): seconds, and joules, of both phases.

    `fits` tells whether the configuration still fits into memory.
    """

    prefill_s: Array
    decode_s: Array
    prefill_j: Array
    decode_j: Array
    fits: NDArray[np.bool_]


def undrawn(points: Points, draws: FitDraws) -> list[tuple[str, str]]:
    """Engine and GPU kind of every configuration no draw is about. Raises UnknownFact for an engine no table has."""
    return [(name, gpu) for name, gpu in _kinds(points) if draws.of(engine_key(name), facts.gpu(gpu).key) is None]


def drawn(points: Points, lengths: Lengths, draws: FitDraws) -> Drawn:
    """Predict every point under every draw.

    Raises UnknownFact as `predict`, and ValueError for an engine and GPU that have no draws (see `undrawn`).
    """
    fixed = {name: values[None, :] for name, values in of_configurations(points).items()}  # (1, C)
    own = predict_inputs(_inputs(fixed, lengths))
    varied, factors = _varied(points, draws)
    each = predict_inputs(_inputs({**fixed, **varied}, lengths))
    prefill_s = each.prefill_s / own.prefill_s * factors[TIME_FACTOR]
    decode_s = each.decode_s / own.decode_s * factors[TIME_FACTOR]
    shape = prefill_s.shape
    return Drawn(
        prefill_s=prefill_s,
        decode_s=decode_s,
        prefill_j=prefill_s * factors[POWER_FACTOR] * (each.prefill_w / own.prefill_w),
        decode_j=decode_s * factors[POWER_FACTOR] * (each.decode_w / own.decode_w),
        fits=np.broadcast_to(each.fits & each.supported, shape),
    )


def _inputs(columns: dict[str, Array], lengths: Lengths) -> Inputs:
    return Inputs(
        output_tokens=lengths.output_tokens[None, :],
        longest_prompt=lengths.padded_prompt[None, :],
        prompt=lengths.prompt[None, :],
        padded_prompt=lengths.padded_prompt[None, :],
        **columns,
    )


def _kinds(points: Points) -> list[tuple[str, str]]:
    pairs = np.unique(np.stack([points.engine.index, points.gpu.index]), axis=1).T
    return [(points.engine.values[e], points.gpu.values[g]) for e, g in pairs.tolist()]


def _varied(points: Points, draws: FitDraws) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs that differ between draws, and the factors: each of shape (draws, configurations)."""
    kinds, index = np.unique(
        np.stack([points.engine.index, points.gpu.index, points.dtype.index]), axis=1, return_inverse=True
    )
    rows = [
        _rows(points.engine.values[e], points.gpu.values[g], points.dtype.values[d], draws)
        for e, g, d in kinds.T.tolist()
    ]
    index = index.reshape(-1)
    tables = {name: np.array([row[name] for row in rows]).T for name in rows[0]}  # (draws, kinds)
    spread = {name: table[:, index] for name, table in tables.items() if name in FACTORS or np.ptp(table, axis=0).any()}
    return (
        {name: values for name, values in spread.items() if name not in FACTORS},
        {name: spread[name] for name in FACTORS},
    )


def _rows(name: str, gpu: str, dtype: str, draws: FitDraws) -> dict[str, list[float]]:
    """Every engine input and factor of one engine on one GPU, a value for each draw."""
    row, device = engine(name, facts.gpu(gpu).key), facts.gpu(gpu)
    fields = draws.of(row.key, device.key)
    if fields is None:
        raise ValueError(f"engine {name} on {gpu} has no draws")
    parameters = {field: values for field, values in fields.items() if field not in FACTORS}

    def varied(i: int) -> Engine:
        changes: dict[str, Any] = {field: values[i] for field, values in parameters.items()}
        return replace(row, **changes)

    inputs = [engine_inputs(varied(i), device, dtype) for i in range(draws.draws)]
    made = {field: [each[field] for each in inputs] for field in inputs[0]}
    order = draws.factor_order(row.key, device.key)
    factors = {name: fields.get(name, (1.0,) * draws.draws) for name in FACTORS}
    return {**made, **{name: [values[i] for i in order] for name, values in factors.items()}}
