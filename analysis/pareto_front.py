"""The Pareto front of one or several sweeps, or of one sweep in several regions, side by side.

python analysis/pareto_front.py results/STUDY --objectives carbon,latency --regions QC,CISO,PACE --out fronts.pdf
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import options

if TYPE_CHECKING:
    from carbonsweep.answer import Answer
    from carbonsweep.domain import Slo

KINDS: Final = (".png", ".pdf")
SECONDS: Final = options.Number(options.POSITIVE)


@click.command(
    epilog="""\b
Examples:
  python analysis/pareto_front.py results/STUDY --objectives carbon,latency --out front.pdf
  python analysis/pareto_front.py results/STUDY --objectives carbon,latency,throughput --regions QC,PACE --out front.png
"""
)
@click.argument("folders", metavar="DIR [DIR ...]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--objectives",
    "names",
    type=options.Words(),
    help="Vertical axis first; each further one has a row of panels. [default: as in the sweep]",
)
@click.option("--regions", type=options.Words(), help="Price the same records in each of these, one panel each.")
@click.option("--model", metavar="NAME", help="Only this model: models differ in quality. [default: all]")
@click.option("--slo-ttft", type=SECONDS, metavar="S", help="[default: as in the sweep]")
@click.option("--slo-tpot", type=SECONDS, metavar="S", help="[default: as in the sweep]")
@click.option("--slo-latency", type=SECONDS, metavar="S", help="[default: as in the sweep]")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .png or .pdf file.")
def command(
    folders: tuple[Path, ...],
    names: tuple[str, ...] | None,
    regions: tuple[str, ...] | None,
    model: str | None,
    slo_ttft: float | None,
    slo_tpot: float | None,
    slo_latency: float | None,
    out: Path,
) -> None:
    """Draw the Pareto front of each sweep folder, and of each region, one panel each; the numbers go beside, as CSV.

    The front is that of configurations within the limits. Its knee is the point farthest from the chord between its
    ends, each objective scaled to 0..1 (Das, Structural Optimization 18, 1999).
    """
    from carbonsweep.domain import Slo
    from carbonsweep.errors import BadInput
    from carbonsweep.figures import image, pareto_panels, small_png
    from carbonsweep.figures.cells import table_csv
    from carbonsweep.records import write_atomically

    kind = out.suffix.casefold()
    if kind not in KINDS or not out.resolve().parent.is_dir():
        raise BadInput(f"--out {out}: name a .png or .pdf file in a folder that exists")
    slo = Slo(ttft_s=slo_ttft, tpot_s=slo_tpot, prompt_latency_s=slo_latency)
    answers = {
        ", ".join(filter(None, (_name(folder, folders) if len(folders) > 1 or not regions else "", region))): _answer(
            folder, names, region, model, slo
        )
        for folder in folders
        for region in regions or (None,)
    }
    if len({answer.front_objectives for answer in answers.values()}) > 1:
        raise BadInput("these sweeps ask for different objectives: name those of the picture with --objectives")
    rows = list(table(answers))
    if not rows:
        raise BadInput(f"{' and '.join(map(str, folders))}: no configuration gave a result, so there is no front")
    figure = pareto_panels(answers, in_detail=True)
    write_atomically(out, small_png(figure) if kind == ".png" else image(figure, "pdf"))
    write_atomically(out.with_suffix(".csv"), table_csv(rows))
    print(f"Written: {out} and {out.with_suffix('.csv').name}")


def _answer(folder: Path, names: tuple[str, ...] | None, region: str | None, model: str | None, slo: Slo) -> Answer:
    """The folder's records under its own question, with other objectives, region or limits where some were named."""
    from carbonsweep import facts, results
    from carbonsweep.answer import answer
    from carbonsweep.carbon.intensity import carbon_intensity
    from carbonsweep.errors import BadInput
    from carbonsweep.search.objectives import objectives

    saved = results.load(folder)
    question, records = saved.question, saved.records
    if model is not None:
        key = facts.language_model(model).key
        records = tuple(record for record in records if record.configuration.model == key)
        if not records:
            there = sorted({record.configuration.model for record in saved.records})
            raise BadInput(f"{folder} holds no {key}: it has {', '.join(there)}")
    if names is not None:
        question = dataclasses.replace(question, objectives=objectives(names))
    if region is not None:
        scenario = dataclasses.replace(question.scenario, intensity=carbon_intensity(region))
        question = dataclasses.replace(question, scenario=scenario)
    return answer(records, dataclasses.replace(question, slo=dataclasses.replace(question.slo, **slo.limits())))


def _name(folder: Path, folders: tuple[Path, ...]) -> str:
    """The folder's last part, or all of it where two share that."""
    alone = sum(other.resolve().name == folder.resolve().name for other in folders) == 1
    return folder.resolve().name if alone else str(folder)


def table(answers: Mapping[str, Answer]) -> Iterator[dict[str, Any]]:
    """One row for each panel and configuration: its values with their intervals, and how the picture marks it."""
    from carbonsweep.figures.estimates import objective_value
    from carbonsweep.figures.front_detail import knee_of
    from carbonsweep.figures.page import drawn

    for name, answer in answers.items():
        scenario, knee = answer.question.scenario, knee_of(answer)
        for candidate in drawn(answer):
            where, measurement, footprint = candidate.record.configuration, candidate.measurement, candidate.footprint
            values: dict[str, Any] = {}
            for objective in answer.front_objectives:
                found = objective_value(objective, measurement, scenario)
                ends = {f"{objective.name}_low": found.low, f"{objective.name}_high": found.high}
                values |= {objective.name: found.value, **ends}
            yield {
                "panel": name,
                "region": None if scenario.intensity is None else scenario.intensity.region,
                **{field.name: getattr(where, field.name) for field in dataclasses.fields(where)},
                **values,
                "functional_unit": scenario.functional_unit,
                "feasible": candidate.is_feasible,
                "on_front": candidate in answer.front,
                "knee": candidate is knee,
                "recommended": candidate is answer.best,
                "operational_g": None if footprint is None else footprint.operational_g,
                "embodied_g": None if footprint is None else footprint.embodied_g,
                "embodied_preset": scenario.embodied,
                "basis": measurement.basis,
                "bench": measurement.bench,
                "calibration": candidate.record.identity.calibration,
                "record": candidate.record.key,
            }


if __name__ == "__main__":
    options.run(command, name="python analysis/pareto_front.py")
