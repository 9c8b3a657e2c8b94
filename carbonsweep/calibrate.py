"""`python -m carbonsweep.calibrate`: device models fitted to rows of measurements, and their errors out of sample."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from carbonsweep import options

if TYPE_CHECKING:
    from carbonsweep.calibration.whole import Calibration


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.calibrate --data DATA
  python -m carbonsweep.calibrate --data DATA --records results/STUDY
  python -m carbonsweep.calibrate --data DATA --check
  python -m carbonsweep.calibrate --paper
  python -m carbonsweep.calibrate --paper --check

DATA holds the public measurements (see README.md): llm_perf_t4_a10g_figures.csv, argonne_a100_h100_power.csv and four
reports of optimum-benchmark, or a folder calibration with them. Takes a few minutes; --paper takes up to half an hour.
"""
)
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the public measurements.")
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    metavar="DIR",
    multiple=True,
    help="A sweep measured with --bench transformers: its records join the rows of that engine. Repeat for more.",
)
@click.option("--check", is_flag=True, help="Refit and say whether the committed facts are reproduced; write nothing.")
@click.option("--paper", is_flag=True, help="Refit the paper's stack to its claims as well (or alone, without --data).")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path("experiments/results"),
    show_default=True,
    help="Existing folder for model_errors.md and calibration_rows.csv.",
)
def command(data: Path | None, records: tuple[Path, ...], check: bool, paper: bool, out: Path) -> int:
    """Fit the device model's engines, validate them on rows held out, and write facts, draws and error tables."""
    from carbonsweep import terminal
    from carbonsweep.errors import EXIT_ANSWER, EXIT_NOTHING_FEASIBLE, BadInput

    if data is None and not paper:
        raise BadInput("nothing to fit: name the folder of measurements with --data DIR, or ask for --paper")
    if data is None and records:
        raise BadInput("--records joins rows of measurements: name their folder with --data DIR")
    if importlib.util.find_spec("scipy") is None:
        raise BadInput("fitting needs scipy: pip install 'carbonsweep[measure]'")
    if check:
        return EXIT_ANSWER if _reproduced(data, records, paper) else EXIT_NOTHING_FEASIBLE
    if not out.is_dir():
        raise BadInput(f"--out {out} is no folder: name an existing one, such as experiments/results")
    if data is not None:
        _must_be_writable(out)
        _write(_calibrated(data, records), out)
    if paper:
        from carbonsweep.calibration.paper_rows import recalibrate

        recalibrate(out, terminal.say)
    return EXIT_ANSWER


def _calibrated(data: Path, records: tuple[Path, ...]) -> Calibration:
    from carbonsweep import terminal
    from carbonsweep.calibration.recorded import read_records
    from carbonsweep.calibration.rows import read
    from carbonsweep.calibration.whole import calibrated, fit_count

    rows = read(data)
    for folder in records:
        rows += read_records(folder)
    terminal.say(
        f"Fitting {len(rows.observations)} rows ({len(rows.exclusions)} more are left out, each for a reason)."
    )
    with _progress(fit_count(rows.observations)) as told:
        return calibrated(rows, told)


@contextmanager
def _progress(fits: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr where somebody watches, a line for each engine where nobody does."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name: console.print(f"fitting {name}") if "," not in name else None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=fits)
        yield lambda name: bar.update(task, advance=1, description=name)


def _must_be_writable(out: Path) -> None:
    """A folder that takes no file is said before the fits are made, not after. Raises StorageFailed."""
    from carbonsweep.calibration import writing
    from carbonsweep.records import remove, write_atomically

    for folder in (out, writing.FACTS):
        write_atomically(folder / ".calibrate", "")
        remove(folder / ".calibrate")


def _write(done: Calibration, out: Path) -> None:
    """The facts last, both from texts that are whole: what fails before leaves them as they were."""
    from carbonsweep import terminal
    from carbonsweep.calibration import writing
    from carbonsweep.calibration.bootstrap import SEED
    from carbonsweep.calibration.error_tables import error_page, row_list, verdicts
    from carbonsweep.records import write_atomically

    pages = {"model_errors.md": error_page(done), "calibration_rows.csv": row_list(done.rows)}
    rows = done.engine_rows()
    for name, text in pages.items():
        write_atomically(out / name, text)
    writing.write_facts(rows, done.draws, seed=SEED, folder=writing.FACTS)
    terminal.say(verdicts(done))
    terminal.say(f"Wrote facts/engines.toml, facts/engine_draws.json, {out}/model_errors.md and calibration_rows.csv.")


def _reproduced(data: Path | None, records: tuple[Path, ...], paper: bool) -> bool:
    """Whether every engine that is asked for is fitted as it is committed; each value that is not, on a line."""
    from carbonsweep import terminal
    from carbonsweep.calibration.comparison import differences
    from carbonsweep.calibration.paper_rows import refitted
    from carbonsweep.calibration.writing import FACTS

    found: list[str] = []
    if data is not None:
        done = _calibrated(data, records)
        found += differences(done.engine_rows(), done.draws, FACTS)
    if paper:
        again = refitted(terminal.say)
        found += differences(again.rows, again.draws, FACTS)
    for line in found:
        terminal.say(f"differs: {line}")
    terminal.say(
        f"Not reproduced: {len(found)} values differ from the committed facts."
        if found
        else "Reproduced: the committed facts are what this fit gives."
    )
    return not found


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.calibrate")


if __name__ == "__main__":
    main()
