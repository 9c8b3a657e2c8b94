"""Carbon intensity of electricity: a row of the grid table, or a number the user gives. There is no default region."""

from __future__ import annotations

from typing import Literal

from carbonsweep import facts
from carbonsweep.domain import CarbonIntensity
from carbonsweep.errors import BadInput
from carbonsweep.facts import Grid

Basis = Literal["lifecycle", "direct"]


def carbon_intensity(region: str, basis: Basis = "lifecycle") -> CarbonIntensity:
    """Yearly mean intensity (g/kWh) of a grid row; raises UnknownFact, or BadInput where the row lacks that basis."""
    row = facts.grid(region)
    found = {"lifecycle": row.lifecycle_g_per_kwh, "direct": row.direct_g_per_kwh}
    if basis not in found:
        raise BadInput(f"unknown intensity basis {basis!r}: valid are {', '.join(found)}")
    g_per_kwh = found[basis]
    if g_per_kwh is None:
        raise BadInput(_lacks(row, basis, [name for name, value in found.items() if value is not None]))
    return CarbonIntensity(g_per_kwh=g_per_kwh, region=row.key, basis=basis, source=_source(row, basis))


def given_intensity(g_per_kwh: float) -> CarbonIntensity:
    """An intensity the user states, in g/kWh; raises BadInput unless it is finite and not negative."""
    try:
        return CarbonIntensity(g_per_kwh=g_per_kwh, region="given", basis="given", source="given by the user")
    except ValueError as error:
        raise BadInput(str(error)) from error


def _source(row: Grid, basis: Basis) -> str:
    origin = row.source.get(f"{basis}_g_per_kwh", row.source["default"])
    return f"{row.key} ({row.name}), mean of {row.year}, {basis}: {origin}"


def _lacks(row: Grid, basis: Basis, has: list[str]) -> str:
    """What is missing, what is there, and the zone that has both."""
    message = f"region {row.key} has no {basis} intensity, only {' and '.join(has)}"
    zone = facts.grids().get(row.zone or "")
    if zone is None or zone.key == row.key or None in (zone.lifecycle_g_per_kwh, zone.direct_g_per_kwh):
        return message
    return f"{message}; the Electricity Maps zone {zone.key} has both"
