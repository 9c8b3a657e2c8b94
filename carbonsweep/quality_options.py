"""`--min-quality`, `--quality-benchmark`, `--quality-table`: which models are good enough to be tried at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep.errors import BadInput
from carbonsweep.option_types import Bounds, Command, Number, applied

if TYPE_CHECKING:
    from carbonsweep.domain import TrialRecord
    from carbonsweep.quality import Quality
    from carbonsweep.search.space import Space

SCORE: Final = Bounds(-1e9, 1e9, "a finite number (from -1e9 to 1e9)")


def quality_options(command: Command) -> Command:
    """How good a model must be, by which benchmark of which table."""
    return applied(
        command,
        click.option(
            "--min-quality",
            type=Number(SCORE),
            metavar="SCORE",
            help="Try only models that score so much; one without a score is no pass.",
        ),
        click.option(
            "--quality-benchmark",
            metavar="NAME",
            help="Benchmark of the score. [default: mmlu, 5-shot: published for most models]",
        ),
        click.option(
            "--quality-table",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Own scores, .csv or .toml: model, benchmark, score[, source]. [default: published ones]",
        ),
    )


def asked(given: Mapping[str, Any], before: Quality | None = None) -> Quality:
    """The scores that count, and what must be reached; what is not given stays as `before`, if there is one.

    Raises BadInput for a table that cannot be read and for another benchmark without its own minimum, UnknownFact for
    a benchmark the table does not have.
    """
    from carbonsweep.quality import DEFAULT_BENCHMARK, shipped
    from carbonsweep.quality_file import quality_of_file

    benchmark, table = given.get("quality_benchmark"), given.get("quality_table")
    minimum = given.get("min_quality")
    if before is not None and benchmark is None and table is None:
        found = before
    else:
        before_name = DEFAULT_BENCHMARK if before is None else before.benchmark
        name = before_name if benchmark is None else benchmark
        found = shipped(name) if table is None else quality_of_file(table, name)
        if before is not None and before.minimum is not None and minimum is None:
            minimum = _same_benchmark(found, before)
    return found if minimum is None else dataclasses.replace(found, minimum=minimum)


def _same_benchmark(found: Quality, before: Quality) -> float | None:
    """The minimum asked before: it is one of its own benchmark. Raises BadInput for another."""
    if found.benchmark.casefold() != before.benchmark.casefold():
        raise BadInput(
            f"the sweep asked for at least {before.minimum:g} on {before.benchmark}: say with --min-quality what is "
            f"asked on {found.benchmark}"
        )
    return before.minimum


def searched(given: Mapping[str, Any], space: Space) -> tuple[Space, Quality]:
    """The space without the models that are not good enough, and the quality, which says which and why.

    Raises NothingGoodEnough where none is left, and as `asked`.
    """
    found = asked(given)
    kept = found.kept(space.models)
    left_out = found.refused(space.models)
    return dataclasses.replace(space, models=kept), dataclasses.replace(found, left_out=left_out)


def filtered(records: Iterable[TrialRecord], quality: Quality) -> tuple[tuple[TrialRecord, ...], Quality]:
    """The records of the models that are good enough, and the quality with those that are not.

    Raises NothingGoodEnough where there are none.
    """
    records = tuple(records)
    models = tuple(dict.fromkeys(record.configuration.model for record in records))
    kept = quality.kept(models)
    known = {each.model: each for each in (*quality.left_out, *quality.refused(models))}
    left_out = tuple(each for each in known.values() if each.model not in kept)
    return (
        tuple(record for record in records if record.configuration.model in kept),
        dataclasses.replace(quality, left_out=left_out),
    )
