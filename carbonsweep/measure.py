"""`python -m carbonsweep.measure`: configurations on this machine, without Ray, and the evidence behind each number.

Seconds and joules, never grams. Needs neither ray nor optuna.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import options
from carbonsweep.errors import EXIT_ANSWER, EXIT_INTERRUPTED, NothingMeasured
from carbonsweep.measuring import measuring_bench, measuring_options

if TYPE_CHECKING:
    from rich.progress import Progress

    from carbonsweep.domain import Configuration, TrialRecord
    from carbonsweep.records import OutputFolder
    from carbonsweep.search.piece import Piece
    from carbonsweep.search.space import Space

NAMED: Final = 3
"""Configurations or reasons a closing line names; more are only counted."""


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.measure --model smollm2-135m --batch-size 4
  python -m carbonsweep.measure --model llama-7b --gpu H100 --dtype bf16 --batch-sizes 1,8,64 --out results/h100
  python -m carbonsweep.measure --model tinyllama-1.1b --weights random --power-sampling 0.1 --json
  python -m carbonsweep.measure --models llama-7b,tinyllama-1.1b --out results/h100 --time-limit 3600
  python -m carbonsweep.measure --bench server --endpoint http://127.0.0.1:8000/v1 --model llama-7b --gpu L4 \\
      --dtype fp16

\b
Exit codes: 0 measured; 2 bad input, or --out in use; 4 nothing could be measured, or storage failed; 130 interrupted.
"""
)
@click.option("--models", "--model", "models", type=options.Words(), required=True, help="One model, or several.")
@click.option("--gpu", help="GPU kind, or CPU. [default: this machine's GPU, its CPU where there is none]")
@click.option(
    "--batch-sizes",
    "--batch-size",
    "batch_sizes",
    type=options.Counts(),
    default="1",
    show_default=True,
    help="Prompts per batch.",
)
@click.option(
    "--dtypes", "--dtype", "dtypes", type=options.Words(), help="Of fp16, bf16, fp32. [default: fp16; fp32 on a CPU]"
)
@options.workload_options
@measuring_options
@click.option(
    "--bench",
    type=click.Choice(["transformers", "server"]),
    default="transformers",
    show_default=True,
    help="In this process, or from outside a server that runs already.",
)
@click.option("--weights", default="auto", show_default=True, help="auto, random, a folder, a GGUF file or a hub id.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder the records are added to; what is there is not repeated."
)
@click.option(
    "--time-limit",
    type=options.Number(options.POSITIVE),
    metavar="S",
    help="Start nothing that would end after S seconds if it took as long as the longest so far.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each record, known or new, as one JSON line instead.")
def command(
    models: tuple[str, ...],
    gpu: str | None,
    batch_sizes: tuple[int, ...],
    dtypes: tuple[str, ...] | None,
    seed: int,
    bench: str,
    weights: str,
    out: Path | None,
    time_limit: float | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Measure configurations on this machine and print the full evidence behind each number."""
    begun_s = time.monotonic()
    from carbonsweep import benches, inputs, terminal
    from carbonsweep.search.piece import Piece

    chosen = measuring_bench(
        given,
        bench=bench,
        weights=weights,
        models=models,
        gpus=None if gpu is None else (gpu,),
        dtypes=dtypes,
    )
    grid = chosen.space(models=models, gpu_counts=(1,), batch_sizes=batch_sizes)
    workload = inputs.asked_workload(given, seed)
    tell = terminal.warn if as_json else terminal.say
    tell(chosen.statement)
    for weights_label in benches.weights(chosen.bench, grid):
        tell(f"Weights of {weights_label}.")
    piece = Piece(bench=chosen.bench, workload=workload, begun_s=begun_s, time_limit_s=time_limit)
    return _run(piece, grid, out=out, as_json=as_json, tell=tell)


def _run(piece: Piece, grid: Space, *, out: Path | None, as_json: bool, tell: Callable[[str], None]) -> int:
    """Run the grid group by group, show and keep each record; the exit code."""
    from carbonsweep import terminal
    from carbonsweep.records import OutputFolder
    from carbonsweep.search.order import grouped

    configurations = grouped(grid.configurations())
    shown: list[TrialRecord] = []
    with contextlib.ExitStack() as stack:
        folder = None if out is None else stack.enter_context(OutputFolder(out))
        if folder is not None:
            piece.known.update(_reusable(folder, grid, piece))
        there = frozenset(piece.known)
        progress = stack.enter_context(GridProgress(len(configurations)))

        def keep(record: TrialRecord) -> None:
            if folder is not None and record.configuration not in there:
                folder.append(record)
            shown.append(record)
            brief = record.configuration in there and len(configurations) > 1
            progress.finished(lambda: _show(record, as_json=as_json, brief=brief))

        try:
            left = piece.run(configurations, starting=progress.starting, keep=keep)
        except KeyboardInterrupt:
            progress.stop()
            kept = "printed only" if out is None else f"kept in {out}: run it again to go on"
            terminal.warn(f"interrupted: {len(shown)} of {len(configurations)} configurations are done and {kept}")
            return EXIT_INTERRUPTED
    if left:
        tell(f"{_left_line(left, piece)}; {'give --out to go on' if out is None else 'run it again to go on'}")
    _require_a_measurement(shown)
    return EXIT_ANSWER


def _reusable(folder: OutputFolder, grid: Space, piece: Piece) -> dict[Configuration, TrialRecord]:
    """Records there that are no failure, and say so where lines of the file are none."""
    from carbonsweep import terminal
    from carbonsweep.records import is_failure
    from carbonsweep.search.reuse import matching_records

    for damaged in folder.damaged:
        terminal.warn(
            f"{folder.folder}/records.jsonl line {damaged.number} is damaged and was set aside: {damaged.reason}"
        )
    matching = matching_records(folder.records.values(), grid, piece.bench, piece.workload.summary())
    return {each.configuration: each for each in matching if not is_failure(each) and not _lost_its_joules(each)}


def _lost_its_joules(record: TrialRecord) -> bool:
    """Whether a meter was there and failed: measured again, as by tune."""
    metered = record.identity.power_protocol != "none"
    return metered and record.measurement is not None and record.measurement.energy_j is None


def _show(record: TrialRecord, *, as_json: bool, brief: bool) -> None:
    """The record on stdout: whole, as JSON, or in one line where an earlier run has printed it."""
    from carbonsweep import terminal
    from carbonsweep.evidence_lines import headline, record_lines
    from carbonsweep.records import encode

    if as_json:
        terminal.say(encode(record).decode())
    elif brief:
        terminal.say(f"Known from before: {headline(record)}")
    else:
        for line in record_lines(record):
            terminal.say(line)


def _left_line(left: Sequence[Configuration], piece: Piece) -> str:
    named = "; ".join(map(str, left[:NAMED])) + (f"; and {len(left) - NAMED} more" if len(left) > NAMED else "")
    return (
        f"Time limit of {piece.time_limit_s:g} s: {len(left)} configurations are left ({named}), as the longest so far "
        f"took {piece.longest_s:.3g} s"
    )


def _require_a_measurement(shown: Sequence[TrialRecord]) -> None:
    """Raises NothingMeasured with the reasons where no record holds a measurement."""
    if any(record.measurement is not None for record in shown):
        return
    reasons = dict.fromkeys(record.refusal.reason for record in shown if record.refusal is not None)
    raise NothingMeasured(f"nothing could be measured: {'; '.join(list(reasons)[:NAMED])}")


class GridProgress:
    """Follows a grid on stderr: a bar where somebody watches, a line for each configuration where nobody does."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._bar: Progress | None = None

    def __enter__(self) -> GridProgress:
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
            # Nothing is redirected: what is printed is for stdout, and the bar stands aside for it.
            self._bar = Progress(
                *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._bar.add_task("", total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def starting(self, configuration: Configuration) -> None:
        """Say what is being measured from now on."""
        if self._bar is None:
            print(f"{self._done + 1}/{self._total}: measuring {configuration}", file=sys.stderr, flush=True)
        else:
            from rich.markup import escape

            self._bar.update(self._bar.task_ids[0], description=escape(str(configuration)))

    def finished(self, show: Callable[[], None]) -> None:
        """Count one, and let `show` print while the bar is away."""
        self.stop()
        show()
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done)
            self._bar.start()


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.measure")


if __name__ == "__main__":
    main()
