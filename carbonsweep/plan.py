"""`python -m carbonsweep.plan`: the exact answer over the modelled space, without Ray."""

from __future__ import annotations

import json
from typing import Any

import click

from carbonsweep import options


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.plan --region QC
  python -m carbonsweep.plan --region DE --gpus T4,L4,A100-80,H100 --engine healthy --slo-tpot 0.05
  python -m carbonsweep.plan --region CISO --objective carbon,latency --json
"""
)
@options.experiment_option
@options.question_options
@options.space_options
@options.workload_options
@options.scenario_options
@click.option(
    "--bench",
    type=click.Choice(["auto", "roofline"]),
    default="auto",
    expose_value=False,
    help="A plan is always modelled (roofline).",
)
@click.option("--json", "as_json", is_flag=True, help="Print answer.json instead of tables.")
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
    as_json: bool,
    **given: Any,
) -> int:
    """The exact best configuration over the modelled space: every point is predicted, none is tried."""
    from carbonsweep import answer, benches, exact, inputs, terminal
    from carbonsweep.document import document
    from carbonsweep.errors import EXIT_ANSWER, EXIT_NOTHING_FEASIBLE
    from carbonsweep.search.space import space

    chosen = benches.modelled(gpus, dtypes, engine)
    searched = space(
        models=models or inputs.DEFAULT_MODELS,
        gpus=chosen.gpus,
        gpu_counts=gpu_counts,
        batch_sizes=batch_sizes,
        dtypes=chosen.dtypes,
        engines=chosen.engines,
    )
    question = inputs.question(
        objective=objective,
        slo_ttft=slo_ttft,
        slo_tpot=slo_tpot,
        slo_latency=slo_latency,
        scenario=inputs.scenario(given, searched.gpus),
    )
    workload = inputs.asked_workload(given, seed)
    planned = exact.plan(searched, workload, question)
    found = answer.answer(exact.shown(planned, workload, question), question)
    written = document(found, regret=0.0, notes={"counts": planned.counts(), "configurations": searched.size})
    if as_json:
        print(json.dumps(written, indent=2, ensure_ascii=False))
    else:
        terminal.say(chosen.statement)
        terminal.say(f"Space: all {searched.size} configurations, enumerated.")
        terminal.show_answer(found, written)
    return EXIT_ANSWER if found.best is not None else EXIT_NOTHING_FEASIBLE


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.plan")


if __name__ == "__main__":
    main()
