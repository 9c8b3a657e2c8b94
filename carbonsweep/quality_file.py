"""A quality table of the user's own (`--quality-table`): CSV, or TOML, or one line that says what is wrong with it.

CSV: the columns model, benchmark, score and, if wanted, source. TOML: one [[score]] per row with those keys.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from carbonsweep import facts
from carbonsweep.errors import BadInput, UnknownFact
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
    rows = {".csv": _csv_rows, ".toml": _toml_rows}.get(path.suffix.lower())
    if rows is None:
        raise _refused(path, "ends in neither .csv nor .toml")
    found: dict[tuple[str, str], tuple[str, Score]] = {}
    names: dict[str, str] = {}
    for place, row in rows(path, _text(path)):
        name, score = _score(path, place, row)
        key = (name.casefold(), score.model)
        if key in found:
            raise _refused(path, f"{place} scores {score.model} on {name} again", f"one score each, as {found[key][0]}")
        found[key] = (place, score)
        names.setdefault(name.casefold(), name)
    if not found:
        raise _refused(path, "holds no score")
    if benchmark.casefold() not in names:
        raise UnknownFact(f"quality benchmark of {str(path)!r}", benchmark, names.values())
    scores = {model: score for (name, model), (_, score) in found.items() if name == benchmark.casefold()}
    return Quality(benchmark=names[benchmark.casefold()], table=str(path), scores=scores)


def _refused(path: Path, flaw: str, valid: str = _VALID) -> BadInput:
    return BadInput(f"quality table {str(path)!r} {flaw}: valid is {valid}")


def _text(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _refused(path, "is not a file")
        if found.st_size > LARGEST_FILE_BYTES:
            raise _refused(path, f"has {found.st_size:,} bytes", f"at most {LARGEST_FILE_BYTES:,.0f} bytes")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, ValueError) as error:  # ValueError: a NUL in the name
        raise _refused(path, f"is not UTF-8 text ({error})") from error


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each row stands and its cells by column."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip().casefold() for cell in next(reader, [])]
        missing = [name for name in REQUIRED if name not in header]
        unknown = [name for name in header if name not in COLUMNS]
        if missing or unknown or len(set(header)) < len(header):
            raise _refused(path, f"line 1 has the columns {', '.join(map(repr, header)) or 'none'}")
        for cells in reader:
            place = f"line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise _refused(path, f"{place} has {len(cells)} cells", f"{len(header)}, as its header has")
            yield place, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise _refused(path, f"line {reader.line_num} is not CSV ({error})") from error


def _toml_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _refused(path, f"is not valid TOML ({error})") from error
    entries = tables.get("score")
    if set(tables) - {"score"} or not isinstance(entries, list):
        raise _refused(path, f"has the keys {', '.join(map(repr, tables)) or 'none'}")
    for number, entry in enumerate(entries, 1):
        place = f"[[score]] number {number}"
        if not isinstance(entry, dict) or set(entry) - set(COLUMNS) or not set(REQUIRED) <= set(entry):
            keys = ", ".join(map(repr, entry)) if isinstance(entry, dict) else repr(entry)
            raise _refused(path, f"{place} has {keys or 'no keys'}")
        yield place, entry


def _score(path: Path, place: str, row: Mapping[str, Any]) -> tuple[str, Score]:
    """The name of the benchmark, and the score, of one row."""
    texts = {name: row.get(name, "") for name in ("model", "benchmark", "source")}
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > LONGEST_TEXT or not text.isprintable():
            raise _refused(
                path, f"{place} has {name} {text!r:.80}", f"a printable text of at most {LONGEST_TEXT} characters"
            )
    if not texts["benchmark"]:
        raise _refused(path, f"{place} names no benchmark", "the name of one, as mmlu")
    try:
        model = facts.language_model(texts["model"]).key
    except UnknownFact as error:
        raise BadInput(f"quality table {str(path)!r} {place}: {error}") from error
    return texts["benchmark"], Score(
        model=model, score=_number(path, place, row["score"]), source=texts["source"] or None
    )


def _number(path: Path, place: str, value: object) -> float:
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not math.isfinite(number) or abs(number) > 1e9:
        raise _refused(path, f"{place} has score {value!r:.80}", "a finite number, more being better")
    return number
