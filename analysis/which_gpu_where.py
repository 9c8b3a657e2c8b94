"""Which GPU wins in which region, batch size by batch size: a sweep's records priced in every grid of the table.

python analysis/which_gpu_where.py results/STUDY --model TinyLlama-1.1B --out which_gpu_where.csv
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from carbonsweep import options

if TYPE_CHECKING:
    import pandas as pd

    from carbonsweep.results import Saved


@click.command(epilog="Example: python analysis/which_gpu_where.py results/STUDY --out which_gpu_where.csv")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--model", help="Only this model: models differ in quality. [default: the smallest of the sweep]")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .csv file.")
def command(folder: Path, model: str | None, out: Path) -> None:
    """Price every record of DIR in every region, and print the GPU with the least carbon by region and batch size."""
    from carbonsweep import facts, results
    from carbonsweep.errors import BadInput
    from carbonsweep.records import write_atomically

    saved = results.load(folder)
    models = {record.configuration.model for record in saved.records}
    chosen = facts.language_model(model).key if model else min(models, key=lambda m: facts.language_model(m).parameters)
    if chosen not in models:
        raise BadInput(f"{folder} holds no {chosen}: it has {', '.join(sorted(models))}")
    if out.suffix.casefold() != ".csv" or not out.resolve().parent.is_dir():
        raise BadInput(f"--out {out}: name a .csv file in a folder that exists")
    table = grams_by_region(saved, chosen)
    if table.empty:
        raise BadInput(f"{folder}: no measured configuration of {chosen} meets the limits, so nothing can win")
    write_atomically(out, table.to_csv(index=False, lineterminator="\n"))
    best = table.loc[table.groupby(["region", "batch_size"])["total_g"].idxmin()]
    print(f"{chosen}, {', '.join(sorted(set(table['basis'])))}: GPU with the least total carbon")
    winners = best.pivot_table(index=["g_per_kwh", "region"], columns="batch_size", values="gpu", aggfunc="first")
    print(winners.to_string())
    print(f"Written: {out}")


def grams_by_region(saved: Saved, model: str) -> pd.DataFrame:
    """One row per region, record of `model` and limit kept: grams per functional unit. Raises EnergyUnknown."""
    import pandas as pd

    from carbonsweep import facts
    from carbonsweep.carbon.footprint import footprint
    from carbonsweep.carbon.intensity import carbon_intensity

    rows = []
    for region in facts.grids():
        scenario = dataclasses.replace(saved.question.scenario, intensity=carbon_intensity(region))
        for record in saved.records:
            measured, where = record.measurement, record.configuration
            if measured is None or where.model != model or not saved.question.slo.is_met(measured):
                continue
            priced = footprint(measured, scenario)
            rows.append(
                {
                    "region": region,
                    "g_per_kwh": scenario.intensity.g_per_kwh if scenario.intensity else None,
                    "gpu": where.gpu,
                    "batch_size": where.batch_size,
                    "total_g": priced.total_g,
                    "operational_g": priced.operational_g,
                    "embodied_g": priced.embodied_g,
                    "functional_unit": scenario.functional_unit,
                    "embodied_preset": scenario.embodied,
                    "basis": measured.basis,
                    "bench": measured.bench,
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    options.run(command, name="python analysis/which_gpu_where.py")
