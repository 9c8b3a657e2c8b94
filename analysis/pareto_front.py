"""The Pareto front of one or several sweeps, side by side.

python analysis/pareto_front.py results/QC results/CISO --objectives carbon,latency --out fronts.pdf
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from carbonsweep import options

if TYPE_CHECKING:
    from carbonsweep.answer import Answer

KINDS: Final[dict[str, Literal["png", "pdf"]]] = {".png": "png", ".pdf": "pdf"}


@click.command(
    epilog="Example: python analysis/pareto_front.py results/STUDY --objectives carbon,latency --out front.pdf"
)
@click.argument("folders", metavar="DIR [DIR ...]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--objectives",
    "names",
    type=options.Words(),
    help="Vertical axis first, then horizontal. [default: as in the sweep]",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .png or .pdf file.")
def command(folders: tuple[Path, ...], names: tuple[str, ...] | None, out: Path) -> None:
    """Draw the Pareto front of each sweep folder, one panel each, with the same colours and markers."""
    from carbonsweep.errors import BadInput
    from carbonsweep.figures import image, pareto_panels
    from carbonsweep.records import write_atomically

    kind = KINDS.get(out.suffix.casefold())
    if kind is None or not out.resolve().parent.is_dir():
        raise BadInput(f"--out {out}: name a .png or .pdf file in a folder that exists")
    answers = {_name(folder, folders): _answer(folder, names) for folder in folders}
    write_atomically(out, image(pareto_panels(answers), kind))
    print(f"Written: {out}")


def _answer(folder: Path, names: tuple[str, ...] | None) -> Answer:
    """The folder's records under its own question, with other objectives where some were named."""
    from carbonsweep import results
    from carbonsweep.answer import answer
    from carbonsweep.search.objectives import objectives

    saved = results.load(folder)
    question = saved.question
    if names is not None:
        question = dataclasses.replace(question, objectives=objectives(names))
    return answer(saved.records, question)


def _name(folder: Path, folders: tuple[Path, ...]) -> str:
    """The folder's last part, or all of it where two share that."""
    alone = sum(other.resolve().name == folder.resolve().name for other in folders) == 1
    return folder.resolve().name if alone else str(folder)


if __name__ == "__main__":
    options.run(command, name="python analysis/pareto_front.py")
