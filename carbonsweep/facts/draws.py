"""Draws of the device model's fits: what its parameters could as well have been, as the calibration found them.

`engine_draws.json` holds {"draws": n, "seed": s, "rows": {ENGINE: {GPU or "": {FIELD: [n values]}}}}: only the fields
that vary, "" for every GPU without a row of its own. Entry i of all rows of one engine is one joint draw. Two are no
parameters but factors on what these predict: TIME_FACTOR and POWER_FACTOR, the error of held-out rows.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any, Final

import msgspec

from carbonsweep import facts
from carbonsweep.facts.engines import Engine, EngineFactError, engine_names
from carbonsweep.facts.frozen import FrozenMapping

FILE: Final = "engine_draws.json"
TIME_FACTOR: Final = "time_factor"
POWER_FACTOR: Final = "power_factor"
FACTORS: Final = (TIME_FACTOR, POWER_FACTOR)
ANY_GPU: Final = ""
MOST_DRAWS: Final = 10_000

Fields = Mapping[str, tuple[float, ...]]

_PARAMETERS: Final = frozenset(
    field.name for field in fields(Engine) if field.type in (float, "float") and not field.name.endswith("_error")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitDraws:
    """`draws` values of every field that varies, by engine and GPU kind."""

    draws: int
    seed: int
    rows: Mapping[str, Mapping[str, Fields]]

    def of(self, engine: str, gpu: str) -> Fields | None:
        """What varies of an engine on a GPU: the row of that GPU, else of any; None where the engine was not fitted."""
        by_gpu = self.rows.get(engine, {})
        return by_gpu.get(gpu, by_gpu.get(ANY_GPU))

    def factor_order(self, engine: str, gpu: str) -> list[int]:
        """Which entry of a factor belongs to which draw, on a GPU.

        A GPU of its own row: each to its own. GPUs that share the row of any GPU share its parameters, but the error of
        each is its own: they have the factors in different orders, or they would cancel wherever two are compared.
        """
        order = list(range(self.draws))
        if gpu not in self.rows.get(engine, {}):
            random.Random(f"{self.seed} {engine} {gpu}").shuffle(order)
        return order


@functools.cache
def fit_draws() -> FitDraws | None:
    """The draws of the package, or None where nothing was fitted. Raises EngineFactError for a file nobody can use."""
    path = files("carbonsweep.facts").joinpath(FILE)
    return fit_draws_of(path.read_bytes()) if path.is_file() else None


def fit_draws_of(text: bytes) -> FitDraws:
    """Draws from the JSON of such a file. Raises EngineFactError saying where it is wrong, and what would be valid."""
    try:
        written = msgspec.json.decode(text, type=_Written)
    except (msgspec.DecodeError, RecursionError) as error:  # ValidationError is one of them
        raise EngineFactError(f"{FILE} cannot be used: {error}") from error
    if not 2 <= written.draws <= MOST_DRAWS:
        raise EngineFactError(f"{FILE}: draws is {written.draws}, valid is 2 to {MOST_DRAWS}")
    for engine, by_gpu in written.rows.items():
        _require(engine in engine_names(), f"engine {engine!r}", f"one of {', '.join(engine_names())}")
        for gpu, varied in by_gpu.items():
            _require(gpu == ANY_GPU or gpu in facts.gpus(), f"{engine}: GPU {gpu!r}", "a key of gpus.toml, or ''")
            for name, values in varied.items():
                _check(f"{engine}, {gpu or 'any GPU'}, {name}", name, values, written.draws)
    return FitDraws(draws=written.draws, seed=written.seed, rows=_frozen(written.rows))


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    draws: int
    seed: int
    rows: dict[str, dict[str, dict[str, tuple[float, ...]]]]


def _check(place: str, name: str, values: tuple[float, ...], draws: int) -> None:
    _require(name in _PARAMETERS or name in FACTORS, place, f"a parameter of an engine, or {' or '.join(FACTORS)}")
    _require(len(values) == draws, f"{place}: {len(values)} values", f"{draws}, as the file says of itself")
    least = 0.0 if name in FACTORS else -math.inf
    bad = [value for value in values if not least < value < math.inf]
    _require(not bad, f"{place}: {bad[:1]}", "finite numbers, factors above 0")


def _require(holds: bool, what: str, valid: str) -> None:
    if not holds:
        raise EngineFactError(f"{FILE}: {what} cannot be used: valid is {valid}")


def _frozen(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Mapping[str, Mapping[str, Fields]]:
    return FrozenMapping(
        {
            engine: FrozenMapping({gpu: FrozenMapping(dict(varied)) for gpu, varied in by_gpu.items()})
            for engine, by_gpu in rows.items()
        }
    )
