"""Carbon against quality: the best configuration of each model of a sweep over a benchmark score.

python analysis/carbon_against_quality.py results/STUDY --quality-benchmark mmlu --out experiments/results/figures
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import drawing, options

if TYPE_CHECKING:
    from carbonsweep.answer import Answer
    from carbonsweep.quality import Quality

NAME: Final = "carbon_against_quality"


@click.command(epilog=f"Example: python analysis/{NAME}.py results/STUDY --out experiments/results/figures")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@drawing.out_option
@options.scenario_options
@options.quality_options
def command(folder: Path, out: Path, **given: Any) -> None:
    """Draw what each model of DIR emits at best over its score, for the models one harness has scored; CSV beside it.

    The limits are the sweep's, and so is the scenario but for the options given here.
    """
    import dataclasses

    from carbonsweep import inputs, quality_front, quality_options, results
    from carbonsweep.answer import answer
    from carbonsweep.errors import BadInput
    from carbonsweep.figures.cells import table_csv
    from carbonsweep.figures.files import save
    from carbonsweep.figures.quality_points import one_harness, quality_figure

    drawing.require_folder(out)
    saved = results.load(folder)
    asked = quality_options.asked(given, quality_front.stated(saved.document))
    records, quality = quality_options.filtered(saved.records, asked)
    scenario = inputs.scenario(given, {r.configuration.gpu for r in records}, saved.question.scenario)
    found = answer(records, dataclasses.replace(saved.question, scenario=scenario))
    alike, left_out = one_harness(found, quality)
    if len(found.best_per_model) - len(left_out) < 2:
        raise BadInput(
            f"{folder}: no two models with a result have a {quality.benchmark} score by one harness; it has "
            f"{', '.join(found.best_per_model) or 'no model with a result'}"
        )
    save(out, NAME, quality_figure(found, alike), table_csv(list(table(found, quality, alike))))
    if left_out:
        print(f"Not drawn, for want of a {quality.benchmark} score by the same harness: {', '.join(left_out)}")


def table(found: Answer, quality: Quality, drawn: Quality) -> Iterator[dict[str, Any]]:
    """One row for each model with a result: its score, its best configuration and what that takes, the front's word."""
    import dataclasses

    from carbonsweep.quality_front import points

    shown = {point.best.record.configuration.model: point for point in points(found, drawn)}
    objective = found.question.objectives[0]
    for model, best in found.best_per_model.items():
        score, point = quality.scores.get(model), shown[model]
        where = dataclasses.asdict(best.record.configuration)
        yield {
            **where,
            "benchmark": quality.benchmark,
            "score": "" if score is None else score.score,
            "protocol": "" if score is None else score.protocol,
            "harness": "" if score is None else score.harness,
            "source": "" if score is None else score.source,
            "objective": objective.name,
            "value": f"{best.values[0]:.6g}",
            "unit": objective.unit_under(found.question.scenario),
            "drawn": point.score is not None,
            "on_front": point.is_on_front,
            "dominated_by": point.dominated_by or "",
            "basis": best.measurement.basis,
            "record": best.record.key,
        }


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name=f"python analysis/{NAME}.py")


if __name__ == "__main__":
    main()
