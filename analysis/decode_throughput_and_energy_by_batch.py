"""Throughput and joules per token of decode, by GPU and batch size: Figures 3a and 3b of the HotCarbon'24 paper.

python analysis/decode_throughput_and_energy_by_batch.py results/STUDY --out experiments/results/figures
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from carbonsweep import drawing, options

NAME: Final = "decode_throughput_and_energy_by_batch"


@click.command(epilog=f"Example: python analysis/{NAME}.py results/STUDY --out experiments/results/figures")
@drawing.picture_options
@drawing.model_option
def command(folder: Path, engine: str | None, dtype: str | None, model: str | None, out: Path) -> None:
    """Draw output tokens a second and joules per output token of one model's decode, a bar for each GPU."""
    from carbonsweep.figures.cells import cells_csv, only_model
    from carbonsweep.figures.files import save
    from carbonsweep.figures.phase_bars import phase_figure

    drawing.require_folder(out)
    records = only_model(drawing.records_for_cells(folder, engine, dtype), model)
    figure, shown = phase_figure(records, "decode", "Figures 3a and 3b")
    save(out, NAME, figure, cells_csv(shown))


if __name__ == "__main__":
    options.run(command, name=f"python analysis/{NAME}.py")
