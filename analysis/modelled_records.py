"""Every configuration of a space as a modelled record, in a folder that pictures and prices read. No trials, no Ray.

python analysis/modelled_records.py --experiment experiments/which_gpu_in_which_region.toml --out results/modelled
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbonsweep import options


@click.command(
    epilog="Example: python analysis/modelled_records.py --experiment experiments/which_gpu_in_which_region.toml "
    "--out results/modelled"
)
@options.experiment_option
@options.question_options
@options.space_options
@options.workload_options
@options.scenario_options
@options.quality_options
@click.option("--bench", type=click.Choice(["roofline"]), default="roofline", expose_value=False, help="The only one.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Made where it is missing.")
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
    out: Path,
    **given: Any,
) -> None:
    """Write a record for each configuration, and the answer to the question over them, as a finished sweep has it."""
    from carbonsweep import answer, benches, inputs, quality_front, quality_options, results
    from carbonsweep.bench.roofline import RooflineBench
    from carbonsweep.document import document
    from carbonsweep.records import OutputFolder
    from carbonsweep.trial import trial

    chosen = benches.modelled(gpus, dtypes, engine)
    searched = chosen.space(models=models, gpu_counts=gpu_counts, batch_sizes=batch_sizes)
    searched, quality = quality_options.searched(given, searched)
    scenario = inputs.scenario(given, searched.gpus)
    question = inputs.question(
        objective=objective, slo_ttft=slo_ttft, slo_tpot=slo_tpot, slo_latency=slo_latency, scenario=scenario
    )
    workload = inputs.asked_workload(given, seed)
    records = [trial(RooflineBench(), configuration, workload) for configuration in searched.configurations()]
    with OutputFolder(out) as folder:
        for record in records:
            if record.key not in folder.records:
                folder.append(record)
        found = answer.answer(records, question)
        notes = {
            "records": [record.key for record in records],
            quality_front.KEY: quality_front.document(found, quality),
        }
        results.write(out, found, results.plain(document(found, notes=notes)))
    print(f"Written: {out}, {len(records)} modelled configurations")


if __name__ == "__main__":
    options.run(command, name="python analysis/modelled_records.py")
