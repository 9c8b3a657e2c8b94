"""A quality table of the user's own (`--quality-table`): CSV, or TOML, or one line that says what is wrong with it.

CSV: the columns model, benchmark, score and, if wanted, source. TOML: one [[score]] per row with those keys.
"""

from __future__ import annotations

import contextlib
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from carbonsweep import facts
from carbonsweep.errors import BadInput, UnknownFact
from carbonsweep.given_file import GivenFile
from carbonsweep.quality import Quality, Score
from carbonsweep.units import BYTES_PER_MIB

COLUMNS: Final = ("model", "benchmark", "score", "source")
REQUIRED: Final = COLUMNS[:3]
LARGEST_FILE_BYTES: Final = 16 * BYTES_PER_MIB
LONGEST_TEXT: Final = 300
"""Characters of a source or of a benchmark's name: they are printed."""

_VALID: Final = (
    "a .csv file with the columns model, benchmark, score (and source, if wanted), or a .toml file of "
    '[[score]] tables with those keys, e.g. model = "LLaMA-7B", benchmark = "mmlu", score = 35.1'
)


def quality_of_file(path: Path, benchmark: str) -> Quality:
    """The scores of `path` on a benchmark, in any case. Raises BadInput naming file, row and what would be valid.

    Every row is checked, those of other benchmarks too.
    """
    given = GivenFile(path=path, what="quality table", valid=_VALID, largest_bytes=LARGEST_FILE_BYTES)
    rows = {".csv": _csv_rows, ".toml": _toml_rows}.get(path.suffix.lower())
    if rows is None:
        raise given.refused("ends in neither .csv nor .toml")
    found: dict[tuple[str, str], tuple[str, Score]] = {}
    names: dict[str, str] = {}
    for place, row in rows(given):
        name, score = _score(given, place, row)
        key = (name.casefold(), score.model)
        if key in found:
            raise given.refused(f"{place} scores {score.model} on {name} again", f"one score each, as {found[key][0]}")
        found[key] = (place, score)
        names.setdefault(name.casefold(), name)
    if not found:
        raise given.refused("holds no score")
    if benchmark.casefold() not in names:
        raise UnknownFact(f"quality benchmark of {str(path)!r}", benchmark, names.values())
    scores = {model: score for (name, model), (_, score) in found.items() if name == benchmark.casefold()}
    return Quality(benchmark=names[benchmark.casefold()], table=str(path), scores=scores)


def _csv_rows(given: GivenFile) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each row stands and its cells by column."""
    for line, row in given.csv_rows(COLUMNS, REQUIRED):
        yield f"line {line}", row


def _toml_rows(given: GivenFile) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        tables = tomllib.loads(given.text())
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise given.refused(f"is not valid TOML ({error})") from error
    entries = tables.get("score")
    if set(tables) - {"score"} or not isinstance(entries, list):
        raise given.refused(f"has the keys {', '.join(map(repr, tables)) or 'none'}")
    for number, entry in enumerate(entries, 1):
        place = f"[[score]] number {number}"
        if not isinstance(entry, dict) or set(entry) - set(COLUMNS) or not set(REQUIRED) <= set(entry):
            keys = ", ".join(map(repr, entry)) if isinstance(entry, dict) else repr(entry)
            raise given.refused(f"{place} has {keys or 'no keys'}")
        yield place, entry


def _score(given: GivenFile, place: str, row: Mapping[str, Any]) -> tuple[str, Score]:
    """The name of the benchmark, and the score, of one row."""
    texts = {name: row.get(name, "") for name in ("model", "benchmark", "source")}
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > LONGEST_TEXT or not text.isprintable():
            raise given.refused(
                f"{place} has {name} {text!r:.80}", f"a printable text of at most {LONGEST_TEXT} characters"
            )
    if not texts["benchmark"]:
        raise given.refused(f"{place} names no benchmark", "the name of one, as mmlu")
    try:
        model = facts.language_model(texts["model"]).key
    except UnknownFact as error:
        raise BadInput(f"quality table {str(given.path)!r} {place}: {error}") from error
    return texts["benchmark"], Score(
        model=model, score=_number(given, place, row["score"]), source=texts["source"] or None
    )


def _number(given: GivenFile, place: str, value: object) -> float:
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not math.isfinite(number) or abs(number) > 1e9:
        raise given.refused(f"{place} has score {value!r:.80}", "a finite number, more being better")
    return number
