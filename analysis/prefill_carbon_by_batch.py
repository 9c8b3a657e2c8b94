"""Embodied and operational grams per token of prefill, by GPU and batch size: Figure 5 of the HotCarbon'24 paper.

python analysis/prefill_carbon_by_batch.py results/STUDY --out experiments/results/figures
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from carbonsweep import drawing, options

NAME: Final = "prefill_carbon_by_batch"


@click.command(epilog=f"Example: python analysis/{NAME}.py results/STUDY --out experiments/results/figures")
@drawing.picture_options
@drawing.model_option
@drawing.price_options
@click.option("--region", default="QC", show_default=True, help="Grid of the table.")
def command(
    folder: Path,
    engine: str | None,
    dtype: str | None,
    model: str | None,
    region: str,
    embodied: str | None,
    lifetime_years: float | None,
    out: Path,
) -> None:
    """Draw the carbon of one model's prefill per prompt token, embodied and operational, a stack for each GPU."""
    from carbonsweep.figures.cells import cells_csv, only_model
    from carbonsweep.figures.files import save
    from carbonsweep.figures.phase_bars import phase_carbon_figure

    drawing.require_folder(out)
    records = only_model(drawing.records_for_cells(folder, engine, dtype), model)
    scenario = drawing.scenario_in(region, records, embodied=embodied, lifetime_years=lifetime_years)
    figure, shown = phase_carbon_figure(records, "prefill", scenario, "Figure 5")
    save(out, NAME, figure, cells_csv(shown))


if __name__ == "__main__":
    options.run(command, name=f"python analysis/{NAME}.py")
