"""One phase over batch sizes: tokens a second beside joules per token, or grams per token as a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from matplotlib.figure import Figure

from carbonsweep.carbon.footprint import phase_footprint
from carbonsweep.domain import Measurement, PhaseMeasurement, Scenario, TrialRecord
from carbonsweep.figures.batch_bars import Best, Panel, bars_figure
from carbonsweep.figures.cells import Cell, Quantity, cells
from carbonsweep.figures.estimates import Estimate, phase_energy_per_token_j, phase_throughput, total_g
from carbonsweep.figures.foundation import bases, foundation, pricing, stand_ins
from carbonsweep.figures.page import mass_unit

Phase = Literal["prefill", "decode"]

TOKEN: Final[dict[Phase, str]] = {"prefill": "prompt token", "decode": "output token"}
"""What a phase's throughput and joules count: real prompt tokens without padding, and output tokens after the first."""


def phase_figure(records: Sequence[TrialRecord], phase: Phase, paper_figure: str) -> tuple[Figure, list[Cell]]:
    """Throughput and energy per token of one phase of one model, and the cells that are drawn."""
    (model,) = {record.configuration.model for record in records}
    token = TOKEN[phase]
    rate = Quantity(label=f"{phase} throughput", unit=f"{token}s/s", of=lambda m: phase_throughput(_of(m, phase)))
    joules = Quantity(label=f"{phase} energy", unit=f"J/{token}", of=lambda m: phase_energy_per_token_j(_of(m, phase)))
    panels = [
        _panel("(a)", rate, records, logarithmic=False, best="highest"),
        _panel("(b)", joules, records, logarithmic=True, best="lowest"),
    ]
    figure = bars_figure(
        [panels],
        title=f"{phase.capitalize()} throughput and energy per token of {model}, {bases(records)}",
        note=f"As in the paper's {paper_figure}: throughput linear, energy logarithmic. {_tokens_note(phase)} "
        f"{stand_ins(records)}",
        foot=foundation(records),
        panel_in=(4.5, 2.5),
    )
    return figure, [cell for panel in panels for cell in panel.cells]


def phase_carbon_figure(
    records: Sequence[TrialRecord], phase: Phase, scenario: Scenario, paper_figure: str
) -> tuple[Figure, list[Cell]]:
    """Embodied and operational grams per token of one phase of one model, and the cells (in grams) that are drawn.

    Raises BadInput where the scenario names no intensity.
    """
    (model,) = {record.configuration.model for record in records}
    unit = f"CO2e/{TOKEN[phase]}"

    def grams(measurement: Measurement) -> Estimate:
        return total_g(phase_footprint(measurement, phase, scenario))

    in_g = cells(records, Quantity(label=f"{phase} carbon", unit=f"g {unit}", of=grams), phase)
    mass, factor = mass_unit(cell.estimate.embodied or 0 for cell in in_g if cell.estimate is not None)
    scaled = Quantity(label=f"{phase} carbon", unit=f"{mass} {unit}", of=lambda m: grams(m).times(factor))
    region = scenario.intensity.region if scenario.intensity is not None else ""
    panel = Panel(
        title=f"{phase} in {region}",
        label=f"{phase} carbon, {scaled.unit}",
        cells=cells(records, scaled, phase),
        logarithmic=False,
        best="lowest",
    )
    figure = bars_figure(
        [[panel]],
        title=f"{phase.capitalize()} carbon per token of {model} in {region}, {bases(records)}",
        note=f"As in the paper's {paper_figure}: embodied carbon below, operational above, linear axis. "
        f"{_region_note(region)} Percentages: embodied share. {_tokens_note(phase)} {stand_ins(records)}",
        foot=f"{foundation(records)} {pricing([scenario])} Intervals are of the energy alone.",
        panel_in=(8.2, 3.0),
    )
    return figure, list(in_g)


def _panel(letter: str, quantity: Quantity, records: Sequence[TrialRecord], *, logarithmic: bool, best: Best) -> Panel:
    return Panel(
        title=f"{letter} {quantity.label}",
        label=f"{quantity.label}, {quantity.unit}",
        cells=cells(records, quantity, quantity.label),
        logarithmic=logarithmic,
        best=best,
    )


def _of(measurement: Measurement, phase: Phase) -> PhaseMeasurement:
    return measurement.prefill if phase == "prefill" else measurement.decode


def _region_note(region: str) -> str:
    said = "The paper's caption says CISO, its text (section 3.3) QC; only QC's intensity fits its numbers"
    return f"{said}, so QC it is." if region == "QC" else f"{said}. This is {region}."


def _tokens_note(phase: Phase) -> str:
    if phase == "prefill":
        return "Real prompt tokens are counted; padding costs time and joules and counts nothing."
    return "Output tokens after the first are counted; the first belongs to prefill."
