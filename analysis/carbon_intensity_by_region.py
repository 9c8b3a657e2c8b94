"""Carbon intensity of the regions, on both bases: Table 2 of the HotCarbon'24 paper.

python analysis/carbon_intensity_by_region.py --out experiments/results/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from carbonsweep import drawing, options

NAME: Final = "carbon_intensity_by_region"
HEAD: Final = (
    "Table 2 of the HotCarbon'24 paper, and beside its rows the Electricity Maps zones of these grids: yearly means\n"
    "in g CO2e/kWh as published, nothing measured here. The paper does not name its basis; only life-cycle means of\n"
    "2023 agree with it. `direct` leaves out what building and supplying the power plants emits.\n"
)


@click.command(epilog=f"Example: python analysis/{NAME}.py --regions QC,DE,FR --out experiments/results/figures")
@drawing.regions_option
@drawing.out_option
def command(regions: tuple[str, ...], out: Path) -> None:
    """Write the carbon intensity of the regions and of their Electricity Maps zones, as Markdown and CSV."""
    from carbonsweep import facts
    from carbonsweep.figures.cells import table_csv
    from carbonsweep.figures.files import save_table

    drawing.require_folder(out)
    keys = [facts.grid(region).key for region in regions]
    zones = [facts.grid(zone).key for key in keys if (zone := facts.grid(key).zone)]
    found = [row(key) for key in dict.fromkeys([*keys, *zones])]
    save_table(out, NAME, page(found), table_csv(found))


def row(region: str) -> dict[str, Any]:
    """One region as the fact table has it."""
    from carbonsweep import facts

    grid = facts.grid(region)
    return {
        "region": grid.key,
        "name": grid.name,
        "year": grid.year,
        "lifecycle_g_per_kwh": grid.lifecycle_g_per_kwh,
        "direct_g_per_kwh": grid.direct_g_per_kwh,
        "source": grid.source["default"],
    }


def page(found: Sequence[dict[str, Any]]) -> str:
    """The Markdown file."""
    lines = ["| region | name | year | life-cycle | direct | source |", "|---|---|---|---|---|---|"]
    for each in found:
        cells = ["none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
                 for value in each.values()]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return f"# Carbon intensity by region\n\n{HEAD}\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    options.run(command, name=f"python analysis/{NAME}.py")
