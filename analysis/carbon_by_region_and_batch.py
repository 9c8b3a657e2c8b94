"""Embodied and operational grams of a batch run, by region, GPU and batch size: Figure 4 of the HotCarbon'24 paper.

python analysis/carbon_by_region_and_batch.py results/STUDY --out experiments/results/figures
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from carbonsweep import drawing, options

if TYPE_CHECKING:
    from carbonsweep.domain import Measurement, Scenario, TrialRecord
    from carbonsweep.figures.batch_bars import Panel
    from carbonsweep.figures.estimates import Estimate

NAME: Final = "carbon_by_region_and_batch"
NOTE: Final = (
    "Per run of a whole batch, as in the paper's Figure 4 (there 'per prompt'): one prompt's share is 1/batch size of "
    "it. Embodied carbon below, operational above, on a logarithmic axis, where heights of a stack's parts do not "
    "compare: the percentages are the embodied share."
)


@click.command(epilog=f"Example: python analysis/{NAME}.py results/STUDY --out experiments/results/figures")
@drawing.picture_options
@drawing.model_option
@drawing.regions_option
@drawing.price_options
def command(
    folder: Path,
    engine: str | None,
    dtype: str | None,
    model: str | None,
    regions: tuple[str, ...],
    embodied: str | None,
    lifetime_years: float | None,
    out: Path,
) -> None:
    """Draw the carbon of a batch run of one model of DIR in several regions; the records are priced, not run again."""
    from carbonsweep.figures.batch_bars import bars_figure
    from carbonsweep.figures.cells import cells_csv, only_model
    from carbonsweep.figures.files import save
    from carbonsweep.figures.foundation import bases, foundation, pricing, stand_ins

    drawing.require_folder(out)
    records = only_model(drawing.records_for_cells(folder, engine, dtype), model)
    scenarios = [
        drawing.scenario_in(region, records, embodied=embodied, lifetime_years=lifetime_years) for region in regions
    ]
    row = panels(records, scenarios)
    figure = bars_figure(
        [row],
        title=f"Carbon of a batch run of {records[0].configuration.model} by region and batch size, {bases(records)}",
        note=f"{NOTE} {stand_ins(records)}",
        foot=f"{foundation(records)} {pricing(scenarios)} Intervals are of the energy alone.",
        panel_in=(3.5, 2.9),
    )
    save(out, NAME, figure, cells_csv(cell for panel in row for cell in panel.cells))


def panels(records: Sequence[TrialRecord], scenarios: Sequence[Scenario]) -> list[Panel]:
    """One panel for each region, named with its intensity."""
    from carbonsweep.figures.batch_bars import Panel
    from carbonsweep.figures.cells import Quantity, cells
    from carbonsweep.figures.foundation import grid_name

    found = []
    for scenario in scenarios:
        grid = scenario.intensity
        assert grid is not None, "a region was named"
        quantity = Quantity(
            label="carbon of a batch run", unit="g CO2e", of=functools.partial(batch_g, scenario=scenario)
        )
        found.append(
            Panel(
                title=grid_name(scenario),
                label=f"{quantity.label}, {quantity.unit}",
                cells=cells(records, quantity, grid.region),
                logarithmic=True,
            )
        )
    return found


def batch_g(measurement: Measurement, scenario: Scenario) -> Estimate:
    """Grams of all that one batch delivers."""
    from carbonsweep.carbon.footprint import footprint, functional_units
    from carbonsweep.figures.estimates import total_g

    return total_g(footprint(measurement, scenario)).times(functional_units(measurement, scenario.functional_unit))


if __name__ == "__main__":
    options.run(command, name=f"python analysis/{NAME}.py")
