"""Two configurations side by side: as tables for a person, and as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.markup import escape
from rich.table import Table

from carbonsweep import load_lines, swaps
from carbonsweep.answer import Candidate
from carbonsweep.bench.basis import unless_measured
from carbonsweep.carbon.break_even import Side
from carbonsweep.carbon.load import load_words
from carbonsweep.carbon.write_off import second_life_words
from carbonsweep.search.objectives import UNITS
from carbonsweep.swaps import Comparison, at_words, rows, under_presets
from carbonsweep.terminal import grams, plain_table, say, seconds, wide_console
from carbonsweep.units import S_PER_YEAR


def show(compared: Comparison) -> None:
    """Print both, where they swap, and the same under every embodied preset that knows their devices."""
    console = wide_console()
    for name, one in _named(compared):
        configuration = one.record.configuration
        say(f"{name}: {configuration}{unless_measured(one.measurement.basis, configuration.gpu)}")
    console.print(_grams_table(compared))
    console.print(_swap_table(compared))
    console.print(_preset_table(compared))
    for statement in statements(compared):
        say(statement)


def document(compared: Comparison) -> dict[str, Any]:
    """The comparison as plain JSON values, and the same under every embodied preset."""
    scenario = compared.scenario
    return {
        "schema": 1,
        "functional_unit": scenario.functional_unit,
        "scenario": dataclasses.asdict(scenario),
        **swaps.document(compared),
        "embodied_presets": {each.scenario.embodied: swaps.document(each) for each in under_presets(compared)},
    }


def statements(compared: Comparison) -> list[str]:
    """What the tables rest on, a line each."""
    scenario = compared.scenario
    region = "none" if scenario.intensity is None else scenario.intensity.source
    here = "" if scenario.intensity is None else f"{scenario.intensity.g_per_kwh:g} g/kWh ({region})"
    said = [
        f"Here: {here}.",
        f"Lifetime {scenario.lifetime_s / S_PER_YEAR:g} years, embodied preset {scenario.embodied}.",
        f"PUE {scenario.pue:g}, {load_words(scenario)}.",
        *_loads(compared),
        f"Host {scenario.host_power_w:g} W and {scenario.host_embodied_kg:g} kg a device.",
        f"Second life: {second_life_words(scenario)}.",
    ]
    if scenario.second_life:
        said.append("Embodied kilograms are those of a new device; the grams charge what its second life carries.")
    said += [f"{name} misses a limit of the sweep." for name, one in _named(compared) if not one.is_feasible]
    models = {one.record.configuration.model for _, one in _named(compared)}
    if len(models) > 1:
        said.append("A and B serve different models, which differ in quality.")
    errors = dict.fromkeys(one.measurement.error_source for _, one in _named(compared))
    return [*said, *(f"Error of the records, not part of a swap: {error}." for error in errors)]


def _loads(compared: Comparison) -> list[str]:
    """Replicas and busy share of each, where a rate of requests is stated."""
    if compared.scenario.request_rate_per_s is None:
        return []
    return [
        f"{name}: {load_lines.load_of_words(one.measurement, compared.scenario)}." for name, one in _named(compared)
    ]


def _named(compared: Comparison) -> tuple[tuple[Side, Candidate], tuple[Side, Candidate]]:
    return ("A", compared.a), ("B", compared.b)


def _grams_table(compared: Comparison) -> Table:
    unit = UNITS[compared.scenario.functional_unit]
    table = plain_table(f"CO2e per {unit}", "", "total", "operational", "embodied", "TTFT", "TPOT", "latency")
    for name, one in _named(compared):
        price, measurement = one.footprint, one.measurement
        cells = [None] * 3 if price is None else [price.total_g, price.operational_g, price.embodied_g]
        times = (measurement.ttft_s, measurement.tpot_s, measurement.prompt_latency_s)
        table.add_row(name, *map(grams, cells), *map(seconds, times))
    return table


def _swap_table(compared: Comparison) -> Table:
    table = plain_table("Where they swap", "everything else as here", "swap at", "here", "less carbon below", "above")
    for row in rows(compared):
        sides = (row.swap.below, row.swap.above)
        always = "equal everywhere" if sides[0] is None else f"{sides[0]} everywhere"
        words = [always, ""] if row.at is None else [str(side or "equal") for side in sides]
        table.add_row(escape(row.quantity), at_words(row), f"{row.here:.4g} {row.unit}", *words)
    return table


def _preset_table(compared: Comparison) -> Table:
    """Who emits less over the whole range of embodied figures."""
    kinds = list(compared.swaps.embodied)
    kilograms = [f"{kind}, kg" for kind in kinds]
    table = plain_table(
        f"Under each embodied preset (A, B: CO2e per {UNITS[compared.scenario.functional_unit]})",
        "preset",
        *kilograms,
        "A",
        "B",
        "less carbon",
        "intensity",
        "lifetime",
    )
    for each in under_presets(compared):
        intensity, lifetime, *embodied = rows(each)
        totals = [None if one.footprint is None else one.footprint.total_g for _, one in _named(each)]
        table.add_row(
            each.scenario.embodied,
            *(f"{row.here:.3g}" for row in embodied),
            *map(grams, totals),
            _less(totals),
            at_words(intensity),
            at_words(lifetime),
        )
    return table


def _less(totals: list[float | None]) -> str:
    a, b = totals
    if a is None or b is None:
        return "unknown"
    return "equal" if a == b else "A" if a < b else "B"
