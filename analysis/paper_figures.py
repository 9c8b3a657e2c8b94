"""Every figure and table of the HotCarbon'24 paper, its Pareto fronts and break-even map, from one folder of records.

python analysis/paper_figures.py results/paper --out experiments/results/figures
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Final

import click

from carbonsweep import drawing, options

FIGURES: Final = (
    "latency_and_energy_by_model_and_batch",
    "prefill_throughput_and_energy_by_batch",
    "decode_throughput_and_energy_by_batch",
    "carbon_by_region_and_batch",
    "prefill_carbon_by_batch",
    "decode_carbon_by_batch",
    "embodied_share_by_lifetime",
)
"""Figures 1 to 7, by the script that draws each."""
TABLES: Final = ("gpus_and_embodied_carbon", "carbon_intensity_by_region")
FRONTS: Final = {
    "front_of_carbon_and_latency": ("--objectives", "carbon,latency", "--slo-latency", "12"),
    "front_of_carbon_ttft_and_tpot": ("--objectives", "carbon,ttft,tpot", "--slo-ttft", "0.5"),
}
"""Pareto fronts of two and of three objectives, with the options of their script; of the smallest model."""

BREAK_EVEN: Final = ("--batch-sizes", "2")
"""The map of a batch size at which the paper's two GPUs are close: alone or in large batches one wins everywhere."""


@click.command(epilog="Example: python analysis/paper_figures.py results/paper --out experiments/results/figures")
@drawing.picture_options
def command(folder: Path, engine: str | None, dtype: str | None, out: Path) -> None:
    """Draw everything from the records of DIR, in one process; fronts and map where DIR is a finished sweep."""
    from carbonsweep.figures.cells import by_size
    from carbonsweep.results import ANSWER

    drawing.require_folder(out)
    records = drawing.records_for_cells(folder, engine, dtype)
    chosen = [part for pair in (("--engine", engine), ("--dtype", dtype)) if pair[1] for part in pair if part]
    for name in FIGURES:
        _run(name, str(folder), *chosen, "--out", str(out))
    for name in TABLES:
        _run(name, "--out", str(out))
    if not (folder / ANSWER).exists():
        print(f"No fronts and no map: {folder} holds no {ANSWER}, so no question was asked of these records")
        return
    _run("break_even_map", str(folder), *BREAK_EVEN, "--out", str(out / "break_even_map.png"))
    smallest = by_size(record.configuration.model for record in records)[0]
    regions = ",".join(drawing.PAPER_REGIONS)
    for name, asked in FRONTS.items():
        for ending in ("png", "pdf"):
            file = str(out / f"{name}.{ending}")
            _run("pareto_front", str(folder), "--model", smallest, "--regions", regions, *asked, "--out", file)


def _run(name: str, *arguments: str) -> None:
    """The command of another script, in this process: matplotlib starts once."""
    _script(name).command.main(args=list(arguments), prog_name=f"python analysis/{name}.py", standalone_mode=False)


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None, f"{name}.py is beside this file"
    assert spec.loader is not None, f"{name}.py is a Python file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    options.run(command, name="python analysis/paper_figures.py")
