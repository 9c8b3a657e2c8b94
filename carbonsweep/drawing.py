"""What the scripts that draw share: their options, and the records of a folder as a picture needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from carbonsweep.errors import BadInput
from carbonsweep.options import YEARS, Number, Words

if TYPE_CHECKING:
    from carbonsweep.domain import Scenario, TrialRecord

PAPER_REGIONS: Final = ("QC", "CISO", "PACE")
"""HotCarbon'24, Table 2."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def picture_options(command: _Command) -> _Command:
    """A folder of records, which of them, and where the files go."""
    for option in (
        out_option,
        click.option("--dtype", metavar="NAME", help="Only this dtype. [default: the only one there is]"),
        click.option("--engine", metavar="NAME", help="Only this engine. [default: the only one there is]"),
        click.argument("folder", metavar="DIR", type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


def out_option(command: _Command) -> _Command:
    """The folder that takes the files."""
    return click.option(
        "--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Takes the files; must exist."
    )(command)


def model_option(command: _Command) -> _Command:
    """One model, where a picture has room for one."""
    return click.option("--model", metavar="NAME", help="Only this model. [default: the smallest there is]")(command)


def price_options(command: _Command) -> _Command:
    """Embodied preset and lifetime; the region is the picture's own."""
    for option in (
        click.option("--lifetime-years", type=Number(YEARS), metavar="Y", help="GPU lifetime. [default: 5]"),
        click.option("--embodied", metavar="PRESET", help="[default: the first that knows every GPU]"),
    ):
        command = option(command)
    return command


def regions_option(command: _Command) -> _Command:
    """Several grids, one panel each."""
    return click.option(
        "--regions",
        type=Words(),
        default=",".join(PAPER_REGIONS),
        show_default=True,
        help="Grids of the table, one panel each.",
    )(command)


def records_of(folder: Path) -> tuple[TrialRecord, ...]:
    """Records an answer in `folder` rests on; without an answer, the newest of each configuration.

    Raises BadInput where there are none.
    """
    from carbonsweep import results
    from carbonsweep.records import RECORDS, latest, read

    if (folder / results.ANSWER).exists():
        return results.load(folder).records
    records = tuple(latest(read(folder)[0]).values())
    if not records:
        raise BadInput(f"{folder} holds no {RECORDS}: name the --out folder of a sweep or of carbonsweep measure")
    return records


def records_for_cells(folder: Path, engine: str | None, dtype: str | None) -> tuple[TrialRecord, ...]:
    """One record for each model, GPU kind and batch size. Raises BadInput where several would share a place."""
    from carbonsweep.figures.cells import one_per_cell

    return one_per_cell(records_of(folder), engine=engine, dtype=dtype)


def scenario_in(
    region: str | None,
    records: Iterable[TrialRecord],
    *,
    embodied: str | None = None,
    lifetime_years: float | None = None,
) -> Scenario:
    """What prices these records in `region`: the paper's choices where nothing else is asked. Raises BadInput."""
    from carbonsweep import inputs

    devices = {record.configuration.gpu for record in records}
    return inputs.scenario({"region": region, "embodied": embodied, "lifetime_years": lifetime_years}, devices)


def require_folder(out: Path) -> None:
    """Raises BadInput unless `out` is a folder."""
    if not out.is_dir():
        raise BadInput(f"--out {out}: name a folder that exists")
