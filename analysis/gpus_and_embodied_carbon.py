"""The GPUs and what making them emits, under every preset: Table 1 of the HotCarbon'24 paper.

python analysis/gpus_and_embodied_carbon.py --out experiments/results/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from carbonsweep import drawing, options

NAME: Final = "gpus_and_embodied_carbon"
HEAD: Final = (
    "Table 1 of the HotCarbon'24 paper, from the fact tables: data sheets and publications, nothing measured here.\n"
    "Embodied carbon in kg CO2e of one board, in brackets its range. `paper` is the paper's own figure, a constant\n"
    "here: many combinations of ACT's inputs give both of its values after rounding, so none is their derivation. The\n"
    "other presets are computed or published. The paper dates the Ada 2023 and calls the T4's architecture Tesla.\n"
)


@click.command(epilog=f"Example: python analysis/{NAME}.py --gpus T4,L4,H100 --out experiments/results/figures")
@click.option("--gpus", type=options.Words(), default="RTX6000Ada,T4", show_default=True, help="GPU kinds.")
@drawing.out_option
def command(gpus: tuple[str, ...], out: Path) -> None:
    """Write the GPUs' data sheets and their embodied carbon under every preset, as Markdown and CSV."""
    from carbonsweep import facts
    from carbonsweep.figures.cells import table_csv
    from carbonsweep.figures.files import save_table

    drawing.require_folder(out)
    kinds = [facts.gpu(name).key for name in gpus]
    save_table(out, NAME, page(kinds), table_csv([row for kind in kinds for row in rows(kind)]))


def page(kinds: Sequence[str]) -> str:
    """The Markdown file: one column for each GPU kind."""
    from carbonsweep import facts
    from carbonsweep.carbon.embodied import embodied_carbon, presets_of
    from carbonsweep.domain import EMBODIED_PRESETS

    gpus = [facts.gpu(kind) for kind in kinds]
    table = {
        "Architecture": [gpu.architecture for gpu in gpus],
        "Chip size": [f"{gpu.die_mm2:g} mm²" for gpu in gpus],
        "Technology node": [gpu.process for gpu in gpus],
        "Memory": [f"{gpu.memory_gb:g} GB" for gpu in gpus],
        "Thermal design power": [f"{gpu.tdp_w:g} W" for gpu in gpus],
        "Year": [str(gpu.year) for gpu in gpus],
    }
    for preset in EMBODIED_PRESETS:
        found = [embodied_carbon(kind, preset) if preset in presets_of(kind) else None for kind in kinds]
        table[f"Embodied, `{preset}`"] = [
            "none"
            if one is None
            else f"{one.kg:.3g} kg ({one.low_kg:.4g} to {one.high_kg:.4g}){', estimate' * one.estimated}"
            for one in found
        ]
    lines = [f"| | {' | '.join(kinds)} |", "|" + "---|" * (len(kinds) + 1)]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in table.items()]
    sources = [f"- {gpu.key}: {gpu.source['default']}" for gpu in gpus]
    return f"# GPUs and their embodied carbon\n\n{HEAD}\n" + "\n".join([*lines, "", "Sources:", "", *sources]) + "\n"


def rows(kind: str) -> list[dict[str, Any]]:
    """One row for each preset that knows the GPU."""
    from carbonsweep import facts
    from carbonsweep.carbon.embodied import embodied_carbon, presets_of

    gpu = facts.gpu(kind)
    found = []
    for preset in presets_of(kind):
        one = embodied_carbon(kind, preset)
        found.append(
            {
                "gpu": gpu.key,
                "architecture": gpu.architecture,
                "year": gpu.year,
                "die_mm2": gpu.die_mm2,
                "process": gpu.process,
                "memory_gb": gpu.memory_gb,
                "tdp_w": gpu.tdp_w,
                "preset": preset,
                "embodied_kg": one.kg,
                "low_kg": one.low_kg,
                "high_kg": one.high_kg,
                "estimated": one.estimated,
                "source": one.source,
            }
        )
    return found


if __name__ == "__main__":
    options.run(command, name=f"python analysis/{NAME}.py")
