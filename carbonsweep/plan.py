"""`python -m carbonsweep.plan`: the exact answer over the modelled space, without Ray."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import options
from carbonsweep.errors import EXIT_ANSWER, EXIT_NOTHING_FEASIBLE, BadInput
from carbonsweep.placement_option import split_options

if TYPE_CHECKING:
    from carbonsweep.domain import Workload
    from carbonsweep.placement.answers import Sought
    from carbonsweep.quality import Quality
    from carbonsweep.search.objectives import Question
    from carbonsweep.search.space import Space

WORKLOAD_OPTIONS: Final = ("prompts", "prompt_format", "template", "output_tokens")
"""Options that say what one workload is."""


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.plan --region QC
  python -m carbonsweep.plan --region DE --gpus T4,L4,A100-80,H100 --engine healthy --slo-tpot 0.05
  python -m carbonsweep.plan --region CISO --objective carbon,latency --json
  python -m carbonsweep.plan --region QC --slo-tpot 0.1 --workloads workloads.csv --out best.csv
"""
)
@options.experiment_option
@options.question_options
@options.space_options
@options.workload_options
@options.scenario_options
@options.quality_options
@split_options
@click.option(
    "--bench",
    type=click.Choice(["auto", "roofline"]),
    default="auto",
    expose_value=False,
    help="A plan is always modelled (roofline).",
)
@click.option(
    "--workloads",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The best for each workload of a .csv or .jsonl file: columns prompt_tokens, output_tokens (and name).",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="With --workloads: write every row as CSV."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON instead of tables.")
def command(
    objective: tuple[str, ...],
    slo_ttft: float | None,
    slo_tpot: float | None,
    slo_latency: float | None,
    models: tuple[str, ...] | None,
    gpus: tuple[str, ...] | None,
    gpu_counts: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    dtypes: tuple[str, ...] | None,
    engine: tuple[str, ...] | None,
    seed: int,
    workloads: Path | None,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """The exact best configuration over the modelled space: every point is predicted, none is tried."""
    from carbonsweep import benches, inputs, placement_option, quality_lines, quality_options

    sought = placement_option.sought(given)
    chosen = benches.modelled(gpus, dtypes, engine)
    searched = chosen.space(models=models, gpu_counts=gpu_counts, batch_sizes=batch_sizes)
    searched, quality = quality_options.searched(given, searched)
    question = inputs.question(
        objective=objective,
        slo_ttft=slo_ttft,
        slo_tpot=slo_tpot,
        slo_latency=slo_latency,
        scenario=inputs.scenario(given, searched.gpus),
    )
    lines = () if as_json else (chosen.statement, f"Space: all {searched.size} configurations, enumerated.")
    if workloads is not None:
        _require_alone("--workloads", WORKLOAD_OPTIONS)
        if sought is not None:
            raise BadInput("--placement is answered for one workload: leave out --workloads")
        left_out = tuple(quality_lines.left_out_lines(quality))
        return _plan_each(workloads, searched, question, out=out, lines=(*lines, *left_out) if lines else ())
    if out is not None:
        raise BadInput("--out is where the table of --workloads goes: name the file of workloads as well")
    workload = inputs.asked_workload(given, seed)
    return _plan_one(workload, searched, question, quality=quality, sought=sought, lines=lines)


def _plan_one(
    workload: Workload,
    searched: Space,
    question: Question,
    *,
    quality: Quality,
    sought: Sought | None,
    lines: Sequence[str],
) -> int:
    """The answer for one workload, after `lines`; as JSON where there are none."""
    from carbonsweep import answer, exact, placement_lines, quality_front, terminal
    from carbonsweep.certainty.answers import of_plan
    from carbonsweep.document import document
    from carbonsweep.facts.draws import fit_draws
    from carbonsweep.placement import answers
    from carbonsweep.placement_progress import followed

    planned = exact.plan(searched, workload, question)
    with followed(sought) as asked:
        placed = None if asked is None else answers.of_plan(planned, workload, question, asked)
    found = answer.answer(exact.shown(planned, workload, question), question)
    sure = of_plan(planned, question, fit_draws())
    notes = {
        "counts": planned.counts(),
        "configurations": searched.size,
        quality_front.KEY: quality_front.document(found, quality),
        placement_lines.KEY: placement_lines.document(placed),
    }
    regret = None if found.best is None else 0.0
    written = document(found, regret=regret, certainty=sure, notes=notes)
    if lines:
        for line in lines:
            terminal.say(line)
        terminal.show_answer(found, written, sure, placement_lines.around(placed))
    else:
        print(json.dumps(written, indent=2, ensure_ascii=False))
    return EXIT_ANSWER if answers.is_answered(found, placed) else EXIT_NOTHING_FEASIBLE


def _require_alone(option: str, others: Sequence[str]) -> None:
    """Raises BadInput where an option of one workload was given beside a file of many."""
    context = click.get_current_context()
    for name in others:
        if context.get_parameter_source(name) not in (None, click.core.ParameterSource.DEFAULT):
            raise BadInput(
                f"--{name.replace('_', '-')} is about one workload, and {option} has its own: give one of them"
            )


def _plan_each(file: Path, searched: Space, question: Question, *, out: Path | None, lines: Sequence[str]) -> int:
    """The best configuration for each workload of `file`: printed as `_plan_one` does, and written to `out`.

    Raises BadInput.
    """
    from carbonsweep import terminal, workload_answers
    from carbonsweep.per_workload import best_per_workload
    from carbonsweep.records import write_atomically
    from carbonsweep.tables import csv_text
    from carbonsweep.workload_file import workloads_of_file

    if out is not None and (out.is_dir() or not out.resolve().parent.is_dir()):
        raise BadInput(f"--out {out}: name a file in a folder that exists")
    choices = best_per_workload(searched, workloads_of_file(file), question)
    rows = workload_answers.rows(choices, question)
    if out is not None:
        write_atomically(out, csv_text(rows))
    if lines:
        for line in lines:
            terminal.say(line)
        workload_answers.show(rows, question)
        if out is not None:
            terminal.say(f"Written: {out}")
    else:
        print(json.dumps(workload_answers.document(rows, question, searched), indent=2, ensure_ascii=False))
    return EXIT_ANSWER if any(row["outcome"] == workload_answers.FEASIBLE for row in rows) else EXIT_NOTHING_FEASIBLE


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.plan")


if __name__ == "__main__":
    main()
