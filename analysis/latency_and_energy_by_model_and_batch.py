"""Seconds and joules of a batch run, by model, GPU and batch size: Figures 1a and 1b of the HotCarbon'24 paper.

python analysis/latency_and_energy_by_model_and_batch.py results/STUDY --out experiments/results/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from carbonsweep import drawing, options

if TYPE_CHECKING:
    from carbonsweep.domain import TrialRecord
    from carbonsweep.figures.batch_bars import Panel

NAME: Final = "latency_and_energy_by_model_and_batch"
NOTE: Final = (
    "Per run of a whole batch, as in the paper's Figures 1a and 1b: one prompt's share of the energy is 1/batch size "
    "of it. Latency is the mean batch's, the paper's is the median. Logarithmic axes. OOM: does not fit in the memory."
)


@click.command(epilog=f"Example: python analysis/{NAME}.py results/STUDY --out experiments/results/figures")
@drawing.picture_options
def command(folder: Path, engine: str | None, dtype: str | None, out: Path) -> None:
    """Draw latency and energy of every model of DIR by batch size, a bar for each GPU."""
    from carbonsweep.figures.batch_bars import bars_figure
    from carbonsweep.figures.cells import cells_csv
    from carbonsweep.figures.files import save
    from carbonsweep.figures.foundation import bases, foundation, stand_ins

    drawing.require_folder(out)
    records = drawing.records_for_cells(folder, engine, dtype)
    rows = panels(records)
    figure = bars_figure(
        rows,
        title=f"Prompt latency and energy of a batch run by model and batch size, {bases(records)}",
        note=f"{NOTE} {stand_ins(records)}",
        foot=foundation(records),
        panel_in=(3.2, 2.1),
    )
    save(out, NAME, figure, cells_csv(cell for row in rows for panel in row for cell in panel.cells))


def panels(records: Sequence[TrialRecord]) -> list[list[Panel]]:
    """A row of latency and a row of energy, a panel for each model."""
    from carbonsweep.figures.batch_bars import Panel
    from carbonsweep.figures.cells import Quantity, by_size, cells
    from carbonsweep.figures.estimates import batch_energy_j, prompt_latency_s

    return [
        [
            Panel(
                title=f"({letter}) {model}",
                label=f"{quantity.label}, {quantity.unit}",
                cells=cells((r for r in records if r.configuration.model == model), quantity, model),
                logarithmic=True,
            )
            for model in by_size(record.configuration.model for record in records)
        ]
        for letter, quantity in (
            ("a", Quantity(label="prompt latency", unit="s", of=prompt_latency_s)),
            ("b", Quantity(label="energy of a batch run", unit="J", of=batch_energy_j)),
        )
    ]


if __name__ == "__main__":
    options.run(command, name=f"python analysis/{NAME}.py")
