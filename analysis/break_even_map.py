"""Which configuration emits least, over carbon intensity and GPU lifetime: a map with its boundaries in closed form.

python analysis/break_even_map.py results/STUDY --batch-sizes 1 --out map.png

Beside the embodied preset of the scenario the map is drawn for the lowest and for the highest figures any preset has:
whether an old GPU wins depends on them. Writes the picture as PNG and PDF and the winners as CSV, under one name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbonsweep import options


@click.command(epilog="Example: python analysis/break_even_map.py results/STUDY --batch-sizes 1 --out map.png")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--model", help="Only this model: models differ in quality. [default: the smallest of the sweep]")
@click.option("--batch-sizes", type=options.Counts(), help="Only these. [default: all of the sweep]")
@options.scenario_options
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .png file.")
def command(
    folder: Path, model: str | None, batch_sizes: tuple[int, ...] | None, out: Path, **scenario_options: Any
) -> None:
    """Draw who wins over intensity and lifetime; scenario options not given are as in the sweep."""
    from carbonsweep import inputs, results
    from carbonsweep.errors import BadInput
    from carbonsweep.figures import image, small_png
    from carbonsweep.figures.winner_map import winner_map
    from carbonsweep.records import write_atomically
    from carbonsweep.winners import competing, embodied_views, table, words

    if out.suffix.casefold() != ".png" or not out.resolve().parent.is_dir():
        raise BadInput(f"--out {out}: name a .png file in a folder that exists")
    saved = results.load(folder)
    gpus = {record.configuration.gpu for record in saved.records}
    scenario = inputs.scenario(scenario_options, gpus, saved.question.scenario)
    field = competing(saved.records, scenario, saved.question.slo, model=model, batch_sizes=batch_sizes)
    views = embodied_views(field)
    figure = winner_map(field, views)
    write_atomically(out, small_png(figure))
    write_atomically(out.with_suffix(".pdf"), image(figure, "pdf"))
    write_atomically(out.with_suffix(".csv"), table(field, views))
    for view in views:
        print(f"{view.name}: {'; '.join(words(field, view))}")
    print(f"Written: {out}, {out.with_suffix('.pdf').name}, {out.with_suffix('.csv').name}")


if __name__ == "__main__":
    options.run(command, name="python analysis/break_even_map.py")
