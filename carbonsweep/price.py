"""`python -m carbonsweep.price DIR`: the records of a sweep under another scenario, without any trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carbonsweep import options

if TYPE_CHECKING:
    from carbonsweep.domain import Slo
    from carbonsweep.results import Saved
    from carbonsweep.search.objectives import Question
from carbonsweep.placement_option import split_options


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.price results/STUDY --region PACE --lifetime-years 7
  python -m carbonsweep.price results/STUDY --region DE --intensity-basis direct --pue 1.2
  python -m carbonsweep.price results/STUDY --objective latency --slo-ttft 0.5 --json
"""
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.experiment_option
@click.option("--objective", type=options.Words(), help="Rank by something else. [default: as in the sweep]")
@click.option("--slo-ttft", type=options.Number(options.POSITIVE), metavar="S", help="[default: as in the sweep]")
@click.option("--slo-tpot", type=options.Number(options.POSITIVE), metavar="S", help="[default: as in the sweep]")
@click.option("--slo-latency", type=options.Number(options.POSITIVE), metavar="S", help="[default: as in the sweep]")
@click.option("--no-slo", is_flag=True, help="Lift the sweep's limits; those given here still hold.")
@options.scenario_options
@options.quality_options
@split_options
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON instead of tables.")
def command(
    folder: Path,
    objective: tuple[str, ...] | None,
    slo_ttft: float | None,
    slo_tpot: float | None,
    slo_latency: float | None,
    no_slo: bool,
    as_json: bool,
    **scenario_options: Any,
) -> int:
    """Re-price the sweep in DIR: options not given stay as they were. Writes nothing, runs nothing."""
    from carbonsweep import (
        placement_lines,
        placement_option,
        quality_front,
        quality_options,
        results,
        search_lines,
        terminal,
    )
    from carbonsweep.answer import answer
    from carbonsweep.certainty.answers import of_answer
    from carbonsweep.document import document
    from carbonsweep.domain import Slo
    from carbonsweep.errors import EXIT_ANSWER, EXIT_NOTHING_FEASIBLE
    from carbonsweep.facts.draws import fit_draws
    from carbonsweep.placement.answers import beside, is_answered
    from carbonsweep.placement_progress import followed
    from carbonsweep.sweep_cost import sweep_cost

    saved = results.load(folder)
    sought = placement_option.sought(scenario_options, saved.document)
    limits = Slo(ttft_s=slo_ttft, tpot_s=slo_tpot, prompt_latency_s=slo_latency)
    question = _question(saved, objective, limits, no_slo, scenario_options)
    asked_quality = quality_options.asked(scenario_options, quality_front.stated(saved.document))
    records, quality = quality_options.filtered(saved.records, asked_quality)
    found = answer(records, question)
    notes = {
        "complete": _is_complete(saved),
        "records": [record.key for record in records],
        **search_lines.kept(saved, question),
    }
    notes[quality_front.KEY] = quality_front.document(found, quality)
    with followed(sought) as asked:
        placed = beside(records, found, asked)
    notes[placement_lines.KEY] = placement_lines.document(placed)
    cost = sweep_cost(saved.records, question.scenario)
    sure = of_answer(found, fit_draws())
    written = results.plain(document(found, certainty=sure, cost=cost, notes=notes))
    if as_json:
        print(json.dumps(written, indent=2, ensure_ascii=False))
    else:
        _warn(folder, saved)
        terminal.say(f"Re-priced: {len(records)} records of {folder}, {' and '.join(found.bases) or 'none'}.")
        terminal.show_answer(found, written, sure, placement_lines.around(placed))
    return EXIT_ANSWER if is_answered(found, placed) else EXIT_NOTHING_FEASIBLE


def _question(
    saved: Saved, objective: tuple[str, ...] | None, limits: Slo, no_slo: bool, scenario_options: dict[str, Any]
) -> Question:
    """The sweep's question with what was given in its place. Raises as `inputs.question`."""
    from carbonsweep import inputs
    from carbonsweep.domain import Slo

    before = saved.question
    slo = Slo() if no_slo else before.slo
    gpus = {record.configuration.gpu for record in saved.records}
    return inputs.question(
        objective=objective or tuple(asked.name for asked in before.objectives),
        slo_ttft=limits.ttft_s or slo.ttft_s,
        slo_tpot=limits.tpot_s or slo.tpot_s,
        slo_latency=limits.prompt_latency_s or slo.prompt_latency_s,
        scenario=inputs.scenario(scenario_options, gpus, before.scenario),
    )


def _is_complete(saved: Saved) -> bool:
    return bool(saved.document.get("complete", True))


def _warn(folder: Path, saved: Saved) -> None:
    """Of what the answer goes without."""
    from carbonsweep import terminal

    for damaged in saved.damaged:
        terminal.warn(f"{folder}/records.jsonl line {damaged.number} is damaged and was left out: {damaged.reason}")
    if not _is_complete(saved):
        terminal.warn(f"{folder}: the sweep was not finished; this answers from the trials it has")


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.price")


if __name__ == "__main__":
    main()
