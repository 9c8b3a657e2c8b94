"""Where an answer's uncertainty comes from, as draws: what the bench found, and what a device's making is taken to be.

A fixed seed: the same records and facts give the same draws. Draw n takes draw n of the fits (they repeat where there
are fewer), so the draws of one engine stay joint over its GPUs; a measured record varies by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.bench.drawn import Drawn, drawn, undrawn
from carbonsweep.bench.points import Indices
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.embodied import EmbodiedCarbon, embodied_carbon, presets_covering
from carbonsweep.carbon.write_off import share_left
from carbonsweep.certainty.contenders import Contenders
from carbonsweep.certainty.pricing import Found
from carbonsweep.domain import Scenario
from carbonsweep.errors import UnknownFact
from carbonsweep.facts.draws import FitDraws

SEED: Final = 20240709
Z95: Final = 1.959963984540054
"""Half-width of the 95 % interval of a normal distribution, in standard deviations."""
LEAST_SHARE: Final = 0.01
"""A draw of a measured quantity is at least this share of it: half-widths near 100 % reach below zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchDraws:
    """What the bench could as well have found: draws of the fit for modelled contenders, where there are any."""

    contenders: Contenders
    modelled: Indices  # places of the modelled ones
    fits: Drawn | None
    fit_draws: int | None

    def found(self, start: int, stop: int) -> Found:
        """Draws `start` to `stop`, (draws, contenders); the same whatever block they are asked for in."""
        shape = (stop - start, 4, len(self.contenders))
        measured = np.zeros(shape)
        if len(self.modelled) < len(self.contenders):
            for i, n in enumerate(range(start, stop)):
                np.random.default_rng((SEED, n)).standard_normal(out=measured[i])
        prefill, decode = self.contenders.prefill, self.contenders.decode
        values = {
            "prefill_s": _around(prefill.duration_s, prefill.duration_low_s, prefill.duration_high_s, measured[:, 0]),
            "decode_s": _around(decode.duration_s, decode.duration_low_s, decode.duration_high_s, measured[:, 1]),
            "prefill_j": _around(prefill.energy_j, prefill.energy_low_j, prefill.energy_high_j, measured[:, 2]),
            "decode_j": _around(decode.energy_j, decode.energy_low_j, decode.energy_high_j, measured[:, 3]),
        }
        runs = np.ones(measured[:, 0].shape, dtype=bool)
        if self.fits is not None and self.fit_draws is not None:
            draw = np.arange(start, stop) % self.fit_draws
            for name, of in (("prefill_s", prefill), ("decode_s", decode)):
                values[name][:, self.modelled] = of.duration_s[self.modelled] * getattr(self.fits, name)[draw]
            for name, of in (("prefill_j", prefill), ("decode_j", decode)):
                values[name][:, self.modelled] = of.energy_j[self.modelled] * getattr(self.fits, name)[draw]
            runs[:, self.modelled] = self.fits.fits[draw]
        return Found(**values, runs=runs)


def bench_draws(contenders: Contenders, draws: FitDraws | None) -> BenchDraws | str:
    """How what was found may vary; or why that is unknown: a modelled contender whose engine's fit has no draws."""
    modelled = np.flatnonzero(contenders.modelled)
    if not len(modelled):
        return BenchDraws(contenders=contenders, modelled=modelled, fits=None, fit_draws=None)
    if draws is None:
        return "the device model's parameters are not fitted: there are no draws of a fit"
    part = contenders.picked(modelled)
    try:
        without = undrawn(part.points, draws)
        if without:
            names = ", ".join(f"{engine} on {gpu}" for engine, gpu in without)
            return f"there are no draws of the device model's fit for {names}"
        fits = drawn(part.points, part.lengths, draws)
    except UnknownFact as error:  # records of an engine or GPU this version no longer has
        return f"the device model of these records is gone: {error}"
    return BenchDraws(contenders=contenders, modelled=modelled, fits=fits, fit_draws=draws.draws)


def _around(value: Array, low: Array, high: Array, normal: Array) -> Array:
    """Normal draws whose 95 % interval is `low` to `high`, each side by its own half-width."""
    half = np.where(normal < 0, value - low, high - value)
    return np.maximum(value + normal * half / Z95, LEAST_SHARE * value)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbodiedDraws:
    """What is charged for one device of each kind, (draws, kinds), kg, and the presets that were drawn from."""

    presets: tuple[str, ...]
    kg: Array


def embodied_draws(gpus: Sequence[str], scenario: Scenario, draws: int) -> EmbodiedDraws:
    """Each draw picks one preset that knows every kind, and one place in its range.

    All kinds stand at the same place of their ranges, 0 for lowest to 1: the uncertainty is that of the method, common
    to all it is applied to.
    """
    rng = np.random.default_rng(SEED)
    presets = presets_covering(gpus) or (scenario.embodied,)
    preset, place = rng.integers(len(presets), size=draws), rng.random(draws)
    ranges = np.array([[_range(embodied_carbon(gpu, name)) for gpu in gpus] for name in presets])  # (presets, kinds, 2)
    low, high = ranges[preset, :, 0], ranges[preset, :, 1]
    return EmbodiedDraws(presets=tuple(presets), kg=(low + place[:, None] * (high - low)) * shares(gpus, scenario))


def asked_kg(gpus: Sequence[str], scenario: Scenario) -> Array:
    """The asked preset's own values, as one draw."""
    kg = np.array([embodied_carbon(gpu, scenario.embodied).kg for gpu in gpus])
    return kg[None, :] * shares(gpus, scenario)


def shares(gpus: Sequence[str], scenario: Scenario) -> Array:
    """Share of each kind's making that is still charged: less than 1 in a second life."""
    return np.array([[share_left(gpu, scenario) for gpu in gpus]])


def _range(made: EmbodiedCarbon) -> tuple[float, float]:
    return made.low_kg, made.high_kg
