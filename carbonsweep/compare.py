"""`python -m carbonsweep.compare DIR [A [B]]`: two configurations of a sweep, and where they swap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from carbonsweep import options


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.compare results/STUDY
  python -m carbonsweep.compare results/STUDY T4:b1 RTX6000Ada:b16
  python -m carbonsweep.compare results/STUDY T4:b1 --region PACE --second-life T4=none --json
"""
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("first", metavar="[A", required=False)
@click.argument("second", metavar="[B]]", required=False)
@options.experiment_option
@options.scenario_options
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON instead of tables.")
def command(folder: Path, first: str | None, second: str | None, as_json: bool, **scenario_options: Any) -> int:
    """Who of A and B emits less, and the intensity, lifetime and embodied carbon at which they swap.

    A and B are configurations of the sweep in DIR: GPU, bBATCH, model, dtype, engine, in any order between colons, as
    T4:b1 or RTX6000Ada:b16:LLaMA-7B. Left out, A is the best and B the best of A's model on another GPU (else the
    best other one); parts left out are as in the best. Scenario options not given stay as they were.
    """
    import dataclasses

    from carbonsweep import inputs, results, side_by_side, swaps, terminal
    from carbonsweep.answer import answer
    from carbonsweep.errors import EXIT_ANSWER

    saved = results.load(folder)
    gpus = {record.configuration.gpu for record in saved.records}
    scenario = inputs.scenario(scenario_options, gpus, saved.question.scenario)
    found = answer(saved.records, dataclasses.replace(saved.question, scenario=scenario))
    compared = swaps.comparison(*swaps.pair(found, first, second), scenario)
    if as_json:
        print(json.dumps(results.plain(side_by_side.document(compared)), indent=2, ensure_ascii=False))
        return EXIT_ANSWER
    terminal.warn_left_out(folder, saved.damaged)
    side_by_side.show(compared)
    return EXIT_ANSWER


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.compare")


if __name__ == "__main__":
    main()
