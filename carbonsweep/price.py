"""`python -m carbonsweep.price DIR`: the records of a sweep under another scenario, without any trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carbonsweep import options
from carbonsweep.placement_option import split_options

if TYPE_CHECKING:
    from carbonsweep.results import Saved


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
@options.question_again_options
@options.scenario_options
@options.quality_options
@split_options
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON instead of tables.")
def command(folder: Path, as_json: bool, **given: Any) -> int:
    """Re-price the sweep in DIR: options not given stay as they were. Writes nothing, runs nothing."""
    from carbonsweep import (
        inputs,
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
    from carbonsweep.errors import EXIT_ANSWER, EXIT_NOTHING_FEASIBLE
    from carbonsweep.facts.draws import fit_draws
    from carbonsweep.placement.answers import beside, is_answered
    from carbonsweep.placement_progress import followed
    from carbonsweep.sweep_cost import sweep_cost

    saved = results.load(folder)
    sought = placement_option.sought(given, saved.document)
    question = inputs.question_again(given, {record.configuration.gpu for record in saved.records}, saved.question)
    asked_quality = quality_options.asked(given, quality_front.stated(saved.document))
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


def _is_complete(saved: Saved) -> bool:
    return bool(saved.document.get("complete", True))


def _warn(folder: Path, saved: Saved) -> None:
    """Of what the answer goes without."""
    from carbonsweep import terminal

    terminal.warn_left_out(folder, saved.damaged)
    if not _is_complete(saved):
        terminal.warn(f"{folder}: the sweep was not finished; this answers from the trials it has")


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.price")


if __name__ == "__main__":
    main()
