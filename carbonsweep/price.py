"""`python -m carbonsweep.price DIR`: the records of a sweep under another scenario, without any trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from carbonsweep import options


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
    from carbonsweep import inputs, results, terminal
    from carbonsweep.answer import answer
    from carbonsweep.certainty.answers import of_answer
    from carbonsweep.document import document
    from carbonsweep.domain import Slo
    from carbonsweep.errors import EXIT_ANSWER, EXIT_NOTHING_FEASIBLE
    from carbonsweep.facts.draws import fit_draws
    from carbonsweep.sweep_cost import sweep_cost

    saved = results.load(folder)
    before = saved.question
    slo = Slo() if no_slo else before.slo
    question = inputs.question(
        objective=objective or tuple(asked.name for asked in before.objectives),
        slo_ttft=slo_ttft or slo.ttft_s,
        slo_tpot=slo_tpot or slo.tpot_s,
        slo_latency=slo_latency or slo.prompt_latency_s,
        scenario=inputs.scenario(
            scenario_options, {record.configuration.gpu for record in saved.records}, before.scenario
        ),
    )
    found = answer(saved.records, question)
    complete = bool(saved.document.get("complete", True))
    notes = {"complete": complete, "records": [record.key for record in saved.records]}
    cost = sweep_cost(saved.records, question.scenario)
    sure = of_answer(found, fit_draws())
    written = results.plain(document(found, certainty=sure, cost=cost, notes=notes))
    if as_json:
        print(json.dumps(written, indent=2, ensure_ascii=False))
    else:
        for damaged in saved.damaged:
            terminal.warn(f"{folder}/records.jsonl line {damaged.number} is damaged and was left out: {damaged.reason}")
        if not complete:
            terminal.warn(f"{folder}: the sweep was not finished; this answers from the trials it has")
        terminal.say(f"Re-priced: {len(saved.records)} records of {folder}, {' and '.join(found.bases) or 'none'}.")
        terminal.show_answer(found, written, sure)
    return EXIT_ANSWER if found.best is not None else EXIT_NOTHING_FEASIBLE


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.price")


if __name__ == "__main__":
    main()
