"""`python -m carbonsweep.report DIR`: the answer of a sweep as one HTML page that needs nothing else.

Everything a record says is text to the page, never markup: models, hosts and reasons were written by others.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import options
from carbonsweep.placement_option import split_options

if TYPE_CHECKING:
    from carbonsweep.results import Saved

PAGE: Final = "report.html"


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.report results/STUDY
  python -m carbonsweep.report results/STUDY --out answer.html
  python -m carbonsweep.report results/STUDY --region PACE --second-life T4=none --out coal.html
"""
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help=f"The page. [default: DIR/{PAGE}]")
@options.scenario_options
@split_options
def command(folder: Path, out: Path | None, **scenario_options: Any) -> None:
    """Write the answer of the sweep in DIR as one self-contained HTML page; scenario options re-price it first."""
    from carbonsweep import placement_option, results, terminal
    from carbonsweep.errors import BadInput
    from carbonsweep.records import write_atomically

    saved = placement_option.asked_of(results.load(folder), scenario_options)
    saved = _repriced(saved, scenario_options)
    out = out or folder / PAGE
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise BadInput(f"--out {out}: name a file in a folder that exists")
    terminal.warn_left_out(folder, saved.damaged)
    write_atomically(out, page(saved))
    terminal.say(f"Written: {out}")


def _repriced(saved: Saved, given: dict[str, Any]) -> Saved:
    """The same records under the scenario that was given, if one was; the regret was of the sweep's own question."""
    from carbonsweep import inputs, search_lines
    from carbonsweep.sweep_cost import KEY, stated, sweep_cost

    if all(value is None for value in given.values()):
        return saved
    before, gpus = stated(saved.document), {record.configuration.gpu for record in saved.records}
    scenario = inputs.scenario(given, gpus, saved.question.scenario)
    question = dataclasses.replace(saved.question, scenario=scenario)
    cost = sweep_cost(saved.records, scenario, lost=0 if before is None else before.lost_trials)
    return dataclasses.replace(
        saved,
        question=question,
        document={
            **saved.document,
            "regret": None,
            KEY: None if before is None else dataclasses.asdict(cost),
            **search_lines.kept(saved, question),
        },
    )


def page(saved: Saved) -> str:
    """The whole page. Raises as `answer`: NothingMeasured, EnergyUnknown."""
    import jinja2

    from carbonsweep import html_page
    from carbonsweep.answer import answer

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("carbonsweep", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(PAGE).render(html_page.content(answer(saved.records, saved.question), saved))


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.report")


if __name__ == "__main__":
    main()
