"""`python -m carbonsweep.explain DIR`: why the answer of a sweep is what it is, from its records, without any trial."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import options

if TYPE_CHECKING:
    from carbonsweep.explanation.explaining import Explanation

PICTURE: Final = "explain"


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.explain results/STUDY
  python -m carbonsweep.explain results/STUDY --region PACE --slo-tpot 0.05 --out pictures
  python -m carbonsweep.explain results/STUDY --no-slo --json
"""
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.experiment_option
@options.question_again_options
@options.scenario_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=f"Takes {PICTURE}.svg and {PICTURE}.png; must exist. [default: DIR; with --json no picture]",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead of tables.")
def command(folder: Path, out: Path | None, as_json: bool, **given: Any) -> int:
    """Say why the answer of the sweep in DIR is what it is: what it is sensitive to, what binds, what would be cheaper.

    Options not given stay as they were in the sweep; the records are priced again, and nothing is run.
    """
    from carbonsweep import explanation_tables, inputs, results, search_lines, terminal
    from carbonsweep.answer import answer
    from carbonsweep.errors import EXIT_ANSWER, EXIT_NOTHING_FEASIBLE, BadInput
    from carbonsweep.explanation.documents import document
    from carbonsweep.explanation.explaining import explanation
    from carbonsweep.records import read

    if out is not None and not out.is_dir():
        raise BadInput(f"--out {out}: name a folder that exists")
    saved = results.load(folder)
    question = inputs.question_again(given, {record.configuration.gpu for record in saved.records}, saved.question)
    saved = dataclasses.replace(saved, document={**saved.document, **search_lines.kept(saved, question)})
    found = answer(saved.records, question)
    keys = {record.key for record in saved.records}
    explained = explanation(found, saved, [record for record in read(folder)[0] if record.key in keys])
    if as_json:
        print(json.dumps(results.plain(document(explained)), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        terminal.warn_left_out(folder, saved.damaged)
        terminal.say(f"Explained: {len(saved.records)} records of {folder}, {' and '.join(found.bases) or 'none'}.")
        explanation_tables.show(explained)
    if out is not None or not as_json:
        for written in _draw(explained, out or folder):
            (terminal.warn if as_json else terminal.say)(f"Written: {written}")
    return EXIT_ANSWER if found.best is not None else EXIT_NOTHING_FEASIBLE


def _draw(explained: Explanation, out: Path) -> list[Path]:
    """Write the picture as SVG and PNG, each whole or not at all; the files. Raises StorageFailed."""
    from carbonsweep.figures.page import image
    from carbonsweep.figures.tornado import explanation_figure
    from carbonsweep.records import write_atomically

    figure = explanation_figure(explained)
    if figure is None:
        return []
    files = [out / f"{PICTURE}.svg", out / f"{PICTURE}.png"]
    write_atomically(files[0], image(figure, "svg"))
    write_atomically(files[1], image(figure, "png"))
    return files


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.explain")


if __name__ == "__main__":
    main()
