"""What is believed of a parameter before any row is seen: its prior, and how a standard score becomes a value."""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final, Literal

import msgspec

FIXED: Final = "fixed"
CENTRAL: Final = 1.96
"""Standard scores of the central 95 % of a normal distribution."""
LAWS: Final = frozenset({"power_area_share", "compute_budget_exponent", "kv_group_exponent"})
"""Parameters that tell GPUs or models apart: one of them alone says nothing of them, so they are fitted over all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """One parameter: log-normal or normal, with `spread` the standard deviation of its logarithm or of itself."""

    name: str
    mean: float
    spread: float
    scale: Literal["log", "linear"]
    unit: str
    meaning: str
    source: str

    def value(self, score: float) -> float:
        """The value `score` standard deviations above the mean."""
        if self.scale == "log":
            return self.mean * math.exp(self.spread * score)
        return self.mean + self.spread * score

    def score(self, value: float) -> float:
        """Standard deviations of `value` above the mean."""
        if self.scale == "log":
            return math.log(value / self.mean) / self.spread
        return (value - self.mean) / self.spread

    @property
    def low(self) -> float:
        return self.value(-CENTRAL)

    @property
    def high(self) -> float:
        return self.value(CENTRAL)

    def around(self, mean: float, share: float) -> Prior:
        """The same about another mean, with `share` of the spread."""
        return replace(self, mean=mean, spread=self.spread * share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Priors of the fitted parameters and the values of those that are not fitted."""

    priors: Mapping[str, Prior]
    fixed: Mapping[str, float]


@functools.cache
def family(name: str) -> Family:
    """The family of engines called `name` in calibration_priors.toml."""
    entries = dict(_table()[name])
    fixed = {key: float(value) for key, value in entries.pop(FIXED, {}).items()}
    return Family(
        priors={key: msgspec.convert({**entry, "name": key}, Prior) for key, entry in entries.items()}, fixed=fixed
    )


@functools.cache
def _table() -> Mapping[str, dict[str, Any]]:
    return tomllib.loads(files("carbonsweep.facts").joinpath("calibration_priors.toml").read_text(encoding="utf-8"))
