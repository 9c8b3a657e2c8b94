"""Who emits least over carbon intensity and lifetime: the configurations that compete, and where each one wins.

Over both together the winner depends on their product alone (`carbon.break_even.reigns`), so a map is a list of bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from carbonsweep import facts
from carbonsweep.carbon.break_even import Needs, Reign, needs, reigns
from carbonsweep.carbon.embodied import embodied_range
from carbonsweep.carbon.write_off import charged_kg, share_left
from carbonsweep.domain import Scenario, Slo, TrialRecord
from carbonsweep.errors import BadInput
from carbonsweep.tables import csv_text
from carbonsweep.units import S_PER_YEAR

YEARS: Final = tuple(range(1, 11))
"""Lifetimes on the axis of a map."""
TABLE_YEARS: Final = (1, 2, 4, 5, 8)
"""Lifetimes of its table: a few, for each row also says from where to where its winner wins, in closed form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One way to count embodied carbon: kilograms charged per device of a kind, and who then wins up to where."""

    name: str
    kg: Mapping[str, float]
    reigns: tuple[Reign, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """The records that compete, what a functional unit of each takes, and what prices them."""

    records: tuple[TrialRecord, ...]
    needs: tuple[Needs, ...]
    scenario: Scenario
    slo: Slo

    def name(self, place: int) -> str:
        """GPU and batch; the rest where the records differ in it."""
        one = self.records[place].configuration
        count = "" if one.gpu_count == 1 else f"{one.gpu_count}x "
        extra = [f for f in ("dtype", "engine") if len({getattr(r.configuration, f) for r in self.records}) > 1]
        return ", ".join([f"{count}{one.gpu}, batch {one.batch_size}", *(getattr(one, f) for f in extra)])

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of device that take part."""
        return tuple(sorted({device for each in self.needs for device in each.life_s}))

    def total_g(self, place: int, g_per_kwh: float, years: float, kg: Mapping[str, float]) -> float:
        """Grams of a functional unit."""
        each = self.needs[place]
        return each.kwh * g_per_kwh + each.embodied_g_s(kg, self.scenario.host_embodied_kg) / (years * S_PER_YEAR)


def competing(
    records: Iterable[TrialRecord],
    scenario: Scenario,
    slo: Slo,
    *,
    model: str | None = None,
    batch_sizes: tuple[int, ...] | None = None,
) -> Field:
    """The records of one model (unnamed, the smallest) with a result within the limits.

    Raises BadInput where there are none, naming what there is, and EnergyUnknown as `footprint`.
    """
    records = tuple(records)
    models = {record.configuration.model for record in records}
    chosen = facts.language_model(model).key if model else min(models, key=lambda m: facts.language_model(m).parameters)
    if chosen not in models:
        raise BadInput(f"the sweep holds no {chosen}: it has {', '.join(sorted(models))}")
    of_model = [record for record in records if record.configuration.model == chosen]
    there = sorted({record.configuration.batch_size for record in of_model})
    absent = [batch for batch in batch_sizes or () if batch not in there]
    if absent:
        raise BadInput(f"the sweep holds no batch size {absent[0]} of {chosen}: it has {', '.join(map(str, there))}")
    kept = sorted(
        (
            (record, record.measurement)
            for record in of_model
            if record.measurement is not None
            and slo.is_met(record.measurement)
            and record.configuration.batch_size in (batch_sizes or there)
        ),
        key=lambda pair: pair[0].configuration,
    )
    if not kept:
        raise BadInput(f"no configuration of {chosen} with a result meets the limits, so nothing can win")
    return Field(
        records=tuple(record for record, _ in kept),
        needs=tuple(needs(measured, scenario) for _, measured in kept),
        scenario=scenario,
        slo=slo,
    )


def embodied_views(field: Field) -> tuple[View, ...]:
    """Embodied carbon by the scenario's preset, by the lowest and by the highest figure of any preset."""
    ranges = {kind: embodied_range(kind) for kind in field.kinds}
    share = {kind: share_left(kind, field.scenario) for kind in field.kinds}
    charged = {
        f"embodied preset {field.scenario.embodied}": {kind: charged_kg(kind, field.scenario) for kind in field.kinds},
        "embodied: lowest of all presets": {kind: ranges[kind][0] * share[kind] for kind in field.kinds},
        "embodied: highest of all presets": {kind: ranges[kind][1] * share[kind] for kind in field.kinds},
    }
    return tuple(
        View(name=name, kg=kg, reigns=tuple(reigns(field.needs, field.scenario, kg))) for name, kg in charged.items()
    )


def words(field: Field, view: View) -> list[str]:
    """Who wins up to which product of intensity and lifetime."""
    if len(view.reigns) == 1:
        return [f"{field.name(view.reigns[0].place)} everywhere"]
    return [
        f"{field.name(one.place)} "
        + (f"up to {g_years(one.high):.4g} g/kWh x years" if math.isfinite(one.high) else "from there on")
        for one in view.reigns
    ]


def table(field: Field, views: Sequence[View]) -> str:
    """One row per view, region of the table and lifetime: the winner and its grams, and the next best."""
    rows = []
    for view in views:
        for region, g_per_kwh in regions(field.scenario).items():
            for years in TABLE_YEARS:
                totals = [field.total_g(i, g_per_kwh, years, view.kg) for i in range(len(field.needs))]
                order = sorted(range(len(totals)), key=lambda i: totals[i])
                rows.append(
                    {"embodied": view.name, "region": region, "g_per_kwh": g_per_kwh, "lifetime_years": years}
                    | _row(field, view, order, totals)
                    | {
                        "functional_unit": field.scenario.functional_unit,
                        "basis": field.records[order[0]].identity.basis,
                    }
                )
    return csv_text(rows)


def _row(field: Field, view: View, order: Sequence[int], totals: Sequence[float]) -> dict[str, Any]:
    first = field.records[order[0]].configuration
    bounds = next(((one.low, one.high) for one in view.reigns if one.place == order[0]), None)
    low, high = ("", "") if bounds is None else (f"{g_years(bounds[0]):.6g}", f"{g_years(bounds[1]):.6g}")
    return {
        "model": first.model,
        "gpu": first.gpu,
        "gpu_count": first.gpu_count,
        "batch_size": first.batch_size,
        "total_g": f"{totals[order[0]]:.6g}",
        "next_best": "" if len(order) == 1 else field.name(order[1]),
        "next_best_total_g": "" if len(order) == 1 else f"{totals[order[1]]:.6g}",
        "wins_from_g_years_per_kwh": low,
        "wins_to_g_years_per_kwh": "" if high == "inf" else high,
    }


def g_years(g_s_per_kwh: float) -> float:
    """Intensity x lifetime in g/kWh x years."""
    return g_s_per_kwh / S_PER_YEAR


def regions(scenario: Scenario) -> dict[str, float]:
    """Intensity of every region that has one on the scenario's basis, the cleanest first."""
    direct = scenario.intensity is not None and scenario.intensity.basis == "direct"
    known = {key: grid.direct_g_per_kwh if direct else grid.lifecycle_g_per_kwh for key, grid in facts.grids().items()}
    return dict(sorted(((k, v) for k, v in known.items() if v is not None and v > 0), key=lambda pair: pair[1]))
