"""Sensitivity to the scenario: the same records priced in other regions, over other lifetimes, by other presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Final

from carbonsweep import facts
from carbonsweep.answer import Answer
from carbonsweep.carbon.embodied import presets_covering
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.certainty.counting import other_intensity
from carbonsweep.domain import CarbonIntensity, Scenario
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.explanation.prices import Prices
from carbonsweep.explanation.sensitivity import Sensitivity, Setting, relative
from carbonsweep.units import S_PER_YEAR

LIFETIMES_YEARS: Final = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
"""HotCarbon'24, section 3.4, goes from 4 to 8 years; and one less."""
PUES: Final = (1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0)
"""From no overhead at all to a facility that takes as much again as its machines."""
UTILISATIONS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

RATES: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the asked rate of requests."""

_Priced = tuple[str, Scenario]
_Factor = tuple[str, str, Iterable[_Priced]]


def scenario_sensitivities(found: Answer) -> tuple[Sensitivity, ...]:
    """Of an answer with a best by carbon, or by energy where devices wait; seconds do not depend on the scenario.

    Only feasible candidates compete: the scenario moves no latency.
    """
    objective = found.question.objectives[0].name
    if found.best is None or objective not in ("carbon", "energy"):
        return ()
    factors = [*_load_factors(found.question.scenario), *(_carbon_factors(found) if objective == "carbon" else [])]
    prices = Prices(found.feasible, found.question)
    return tuple(_sensitivity(prices, factor, here, priced) for factor, here, priced in factors)


def _load_factors(scenario: Scenario) -> list[_Factor]:
    """How busy the devices are: what they draw while they wait falls on the work."""
    rate = scenario.request_rate_per_s
    factors: list[_Factor] = [("utilisation", f"{scenario.utilisation:g}", _at_utilisations(scenario))]
    if rate is not None:
        factors.append(("request rate", f"{rate:g}/s", _at_rates(scenario, rate)))
    return factors


def _carbon_factors(found: Answer) -> list[_Factor]:
    scenario = found.question.scenario
    if scenario.intensity is None:
        return []
    kinds = {phase.gpu for c in found.feasible for phase in (c.measurement.prefill, c.measurement.decode)}
    other = other_intensity(found.question)
    grid, years = scenario.intensity, scenario.lifetime_s / S_PER_YEAR
    return [
        ("region", _grid_label(grid), _in_regions(scenario, grid)),
        ("lifetime", f"{years:g} years", _over_lifetimes(scenario, years)),
        ("PUE", f"{scenario.pue:g}", _at_pues(scenario)),
        ("embodied preset", scenario.embodied, _by_presets(scenario, kinds)),
        ("intensity basis", grid.basis, [] if other is None else _on_bases(scenario, grid, other)),
    ]


def _sensitivity(prices: Prices, factor: str, here: str, priced: Iterable[_Priced]) -> Sensitivity:
    asked = float(prices.candidates[0].values[0])
    settings, unknown = [], None
    for label, scenario in priced:
        try:
            value, winner = prices.best(scenario)
        except (EnergyUnknown, BadInput) as error:
            value, winner, unknown = None, None, str(error)
        settings.append(Setting(label=label, value=value, change=relative(value, asked), winner=winner))
    if not settings:
        unknown = "there is no other to price by"
    elif unknown is None and any(setting.value is None for setting in settings):
        unknown = "the idle power of the device is unknown"
    return Sensitivity(factor=factor, kind="scenario", here=here, settings=tuple(settings), unknown=unknown)


def _in_regions(scenario: Scenario, here: CarbonIntensity) -> Iterator[_Priced]:
    """Every grid of the table on the asked basis (of a given number: life cycle), cleanest first, and the asked one."""
    basis = "lifecycle" if here.basis == "given" else here.basis
    rows = facts.grids().values()
    known = [row.key for row in rows if getattr(row, f"{basis}_g_per_kwh") is not None]
    grids = [carbon_intensity(region, basis) for region in known]
    if here not in grids:
        grids.append(here)
    for grid in sorted(grids, key=lambda grid: (grid.g_per_kwh, grid.region)):
        yield _grid_label(grid), dataclasses.replace(scenario, intensity=grid)


def _over_lifetimes(scenario: Scenario, here: float) -> Iterator[_Priced]:
    for years in sorted({*LIFETIMES_YEARS, here}):
        yield f"{years:g} years", dataclasses.replace(scenario, lifetime_s=years * S_PER_YEAR)


def _at_pues(scenario: Scenario) -> Iterator[_Priced]:
    for pue in sorted({*PUES, scenario.pue}):
        yield f"{pue:g}", dataclasses.replace(scenario, pue=pue)


def _at_utilisations(scenario: Scenario) -> Iterator[_Priced]:
    for utilisation in sorted({*UTILISATIONS, scenario.utilisation}):
        yield f"{utilisation:g}", dataclasses.replace(scenario, utilisation=utilisation)


def _at_rates(scenario: Scenario, here: float) -> Iterator[_Priced]:
    for share in RATES:
        yield f"{share * here:g}/s", dataclasses.replace(scenario, request_rate_per_s=share * here)


def _by_presets(scenario: Scenario, kinds: Iterable[str]) -> Iterator[_Priced]:
    """Presets that know every device that competes: they are never mixed."""
    for preset in presets_covering(kinds):
        yield preset, dataclasses.replace(scenario, embodied=preset)


def _on_bases(scenario: Scenario, here: CarbonIntensity, other: CarbonIntensity) -> Iterator[_Priced]:
    for grid in (here, other):
        yield f"{grid.basis}, {grid.g_per_kwh:g} g/kWh", dataclasses.replace(scenario, intensity=grid)


def _grid_label(grid: CarbonIntensity) -> str:
    return f"{grid.region}, {grid.g_per_kwh:g} g/kWh"
