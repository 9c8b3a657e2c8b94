"""The paper's serving stack, fitted to the paper's claims: one calibration of the T4 and the RTX 6000 Ada together.

The paper prints ratios, shares and orders, no seconds and no watts. The fit looks for 18 numbers within priors that
meet its ratios and shares within their tolerances and break none of its orders; a broken order costs more than any
ratio can win. What is left is decided by the middle of the priors, gently.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from carbonsweep import facts
from carbonsweep.bench.roofline import predict_inputs
from carbonsweep.bench.roofline_inputs import Inputs, engine_inputs, gathered
from carbonsweep.calibration.paper_parameters import ASSUMED, PARAMETERS, Array
from carbonsweep.claims.cells import GPUS, Cells, Flags, cells_of_prediction, paper_points, paper_workload
from carbonsweep.claims.orders import margins
from carbonsweep.claims.ratios import numbers
from carbonsweep.claims.statements import Claim, claims
from carbonsweep.claims.takeaways import takeaway_margins
from carbonsweep.claims.tolerance import tolerance
from carbonsweep.facts.engines import engine

ENGINE: Final = "paper"
SEED: Final = 20240709
"""Of the search; the day of the paper's workshop."""
POPULATION: Final = 12
"""Candidates per free parameter."""
GENERATIONS: Final = 2500

ORDERED: Final = ("C02", "C03", "C07", "C08", "C09", "C11", "C13", "C15", "C17", "C18")
WANTED_MARGIN: Final = 0.02
"""By how much an order should hold, as a logarithm: 2 %. C13 asks only that the rise goes on, see `wanted`."""
SLACK: Final = 0.95
"""Share of a tolerance from which on missing it costs steeply: rounding the fitted values must not lose a claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One number to fit: a label of a claim, its value, its tolerance and its last digit."""

    claim: str
    label: str
    value: float
    tolerance: float
    digit: float

    @property
    def name(self) -> str:
        """Claim and label."""
        return f"{self.claim} {self.label}"


@functools.cache
def targets() -> tuple[Target, ...]:
    """The 13 ratios and 6 shares that are fitted; C05 and C19 are reported, the rest are orders and inputs."""
    return tuple(
        Target(claim=each.id, label=label, value=value, tolerance=tolerance(each, value), digit=each.digit)
        for each in claims()
        if _fitted(each)
        for label, value in each.values.items()
    )


def _fitted(claim: Claim) -> bool:
    return claim.kind in ("ratio", "share") and claim.judged == "verdict"


Changes = tuple[tuple[str, float], ...]
"""Fields of the engine that are set otherwise than fitted or assumed, to see what the claims need them for."""


IDLE: Final[Mapping[str, str]] = {f"idle_w of {gpu}": gpu for gpu in GPUS}
"""Names in `Changes` of what is no field of the engine: a GPU's idle power in watts."""


def modelled_cells(values: Array, changes: Changes = ()) -> Cells:
    """The 42 cells at parameter values of shape (parameters, candidates): arrays (candidates, size, GPU, batch).

    The same equations as every other answer of the device model, over many candidates at once.
    """
    return cells_of_prediction(predict_inputs(_inputs(np.atleast_2d(np.asarray(values).T).T, changes)))


@functools.cache
def _assumed(changed: Changes) -> tuple[Inputs, Flags, Array]:
    """The grid with the assumed fields of the row; where it is a T4; the GPUs' rates over the T4's, per cell."""
    points = paper_points(ENGINE)
    changes: dict[str, Any] = dict(ASSUMED) | {field: value for field, value in changed if field not in IDLE}
    idle = {IDLE[name]: idle_w for name, idle_w in changed if name in IDLE}
    gpus = [replace(facts.gpu(gpu), idle_w=idle.get(gpu, facts.gpu(gpu).idle_w)) for gpu in GPUS]
    of_gpu = [engine_inputs(replace(engine(ENGINE, gpu.key), **changes), gpu, "fp16") for gpu in gpus]
    on_t4 = np.asarray(points.gpu.index == 0)
    columns: dict[str, Any] = {field: np.where(on_t4, *(each[field] for each in of_gpu)) for field in of_gpu[0]}
    columns["idle_w"] = np.where(on_t4, *(gpu.idle_w for gpu in gpus))
    inputs = replace(gathered(points, paper_workload()), **columns)
    return inputs, on_t4, ASSUMED["sequence_reference_flop_per_s"] / inputs.flop_per_s


def _inputs(values: Array, changes: Changes) -> Inputs:
    """Each free number in its column: what `engine_inputs` makes of a row that holds it, for all candidates at once."""
    assumed, on_t4, reference = _assumed(changes)
    column: dict[str, Any] = {}
    for parameter, value in zip(PARAMETERS, values, strict=True):
        here = on_t4 if parameter.gpu == "T4" else ~on_t4 if parameter.gpu else np.ones_like(on_t4)
        column[parameter.field] = column.get(parameter.field, 0.0) + value[:, None] * here
    column |= {field: np.full_like(column[field], value) for field, value in changes if field in column}
    column["sequence_s_per_layer"] = column["sequence_s_per_layer"] * reference ** column.pop("sequence_exponent")
    column["memory_reserve"] = column.pop("memory_reserve_bytes")
    return replace(assumed, **column)


def loss(places: Array, aims: Sequence[Target] = (), *, left_out: str = "", changes: Changes = ()) -> Array:
    """Cost of candidates, shape (candidates,), at places within the priors of shape (parameters, candidates).

    `aims` are the numbers to fit (none given: `targets`), `left_out` a claim whose order is not asked for either.
    """
    places = np.atleast_2d(np.asarray(places).T).T
    cells = modelled_cells(values_at(places), changes)
    ours = numbers(cells)
    cost = np.zeros(places.shape[1])
    for aim in aims or targets():
        miss = np.abs(ours[aim.claim][aim.label] - aim.value) / aim.tolerance
        beyond = np.maximum(np.where(np.isfinite(miss), miss, 100.0) - SLACK, 0.0)
        cost += 0.3 * np.minimum(miss, 1.0) ** 2 + 2 * beyond + beyond**2
    for name, least in _order_margins(cells, left_out).items():
        lacking = np.maximum(wanted(name) - np.where(np.isnan(least), -1.0, least), 0.0)
        cost += (lacking / wanted(name) + 30 * lacking).sum(axis=-1)
    return cost + _prior_cost(places)


def wanted(name: str) -> float:
    """The margin an order should hold with."""
    return {"C13": 0.005, "C02": 0.1}.get(name, WANTED_MARGIN)


def _order_margins(cells: Cells, left_out: str) -> Mapping[str, Array]:
    found = {name: each.values for name, each in margins(cells).items() if name in ORDERED and name != left_out}
    found["T1"] = takeaway_margins(cells)["T1"].values
    # An order broken without bound (a configuration that does not fit) is as bad as any.
    return {name: np.clip(each, -10.0, 10.0) for name, each in found.items()}


def _prior_cost(places: Array) -> Array:
    """Towards the middle, gently, and away from the ends, where a value is the prior's and not the claims'."""
    to_end = np.minimum(places, 1 - places)
    return np.asarray((0.02 * (2 * places - 1) ** 2 + 0.05 * np.exp(-to_end / 0.02)).sum(axis=0))


def values_at(places: Array) -> Array:
    """Parameter values, shape (parameters, candidates)."""
    return np.stack([parameter.value(place) for parameter, place in zip(PARAMETERS, places, strict=True)])


def places_of(values: Sequence[float]) -> Array:
    """The inverse of `values_at`, for one candidate: shape (parameters,)."""
    return np.array([parameter.place(value) for parameter, value in zip(PARAMETERS, values, strict=True)])


def rounded(values: Array) -> tuple[float, ...]:
    """To the four significant digits that are written down."""
    return tuple(float(f"{value:.4g}") for value in np.ravel(values))


def fit(
    aims: Sequence[Target] = (),
    *,
    seed: int = SEED,
    generations: int = GENERATIONS,
    left_out: str = "",
    changes: Changes = (),
    start: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """The parameter values, rounded: differential evolution over the priors, the same for the same seed and library.

    `start` is one of the first candidates, beside those spread over the priors; the rest is as in `loss`.
    Storn and Price, J. Global Optimization 11 (1997) 341-359.
    """
    from scipy.optimize import Bounds, differential_evolution

    def cost(places: Any) -> Any:
        return loss(places, aims, left_out=left_out, changes=changes)

    count = len(PARAMETERS)
    found = differential_evolution(
        cost,
        Bounds(np.zeros(count), np.ones(count)),
        x0=None if start is None else np.clip(places_of(start), 0.0, 1.0),
        vectorized=True,
        updating="deferred",
        popsize=POPULATION,
        maxiter=generations,
        mutation=(0.4, 0.9),
        recombination=0.8,
        tol=1e-8,
        polish=False,
        rng=seed,
    )
    return rounded(values_at(found.x[:, None]))


def committed() -> tuple[float, ...]:
    """The values that the engine rows hold, in the order of PARAMETERS."""
    return tuple(float(getattr(engine(ENGINE, p.gpu or GPUS[0]), p.field)) for p in PARAMETERS)
