"""Files of workloads (`plan --workloads`), one a row: a CSV table or JSON lines, or one line that says what is wrong.

Columns: `prompt_tokens`, one length or those of a whole prompt set (in CSV separated by spaces, in JSON a list), which
batches are then padded to; `output_tokens`; and, if wanted, `name`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from carbonsweep.domain import Workload
from carbonsweep.errors import BadInput
from carbonsweep.units import BYTES_PER_MIB

COLUMNS: Final = ("name", "prompt_tokens", "output_tokens")
REQUIRED: Final = ("prompt_tokens", "output_tokens")
LARGEST_FILE_BYTES: Final = 256 * BYTES_PER_MIB
MOST_PROMPT_TOKENS: Final = 2**20
MOST_OUTPUT_TOKENS: Final = 2**17
"""As of `--output-tokens`."""
MOST_DIGITS: Final = 20

_VALID: Final = (
    "a .csv file with the columns prompt_tokens and output_tokens (and name, if wanted), or a .jsonl file with one "
    'such object a line, e.g. {"name": "chat", "prompt_tokens": [120, 480], "output_tokens": 150}'
)


def workloads_of_file(path: Path) -> tuple[Workload, ...]:
    """The workloads of `path`, in its order. Raises BadInput naming the file, the line and what would be valid."""
    rows = {".csv": _csv_rows, ".jsonl": _json_rows}.get(path.suffix.lower())
    if rows is None:
        raise _refused(path, "ends in neither .csv nor .jsonl")
    found = tuple(_workload(path, line, row) for line, row in rows(path, _text(path)))
    if not found:
        raise _refused(path, "holds no workload")
    return found


def _refused(path: Path, flaw: str, valid: str = _VALID) -> BadInput:
    return BadInput(f"workload file {str(path)!r} {flaw}: valid is {valid}")


def _text(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _refused(path, "is not a file")
        if found.st_size > LARGEST_FILE_BYTES:
            raise _refused(path, f"has {found.st_size:,} bytes", f"at most {LARGEST_FILE_BYTES:,.0f} bytes")
        return path.read_bytes().decode("utf-8-sig")  # -sig: some editors put a byte order mark before UTF-8
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # not UTF-8, or a NUL byte in the name
        raise _refused(path, "is not UTF-8 text") from error


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        unknown = [name for name in columns if name not in COLUMNS]
        missing = [name for name in REQUIRED if name not in columns]
        if unknown or missing or len(set(columns)) < len(columns):
            raise _refused(path, f"has the header {','.join(columns)!r}")
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(columns):
                raise _refused(path, f"line {reader.line_num} has {len(fields)} fields, the header {len(columns)}")
            row: dict[str, Any] = dict(zip(columns, map(str.strip, fields), strict=True))
            row["prompt_tokens"] = row["prompt_tokens"].split()
            yield reader.line_num, row
    except csv.Error as error:
        raise _refused(path, f"line {reader.line_num} is not CSV ({error})") from error


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            row = json.loads(written, parse_int=_whole, object_pairs_hook=_of_distinct_names)
        except (ValueError, RecursionError) as error:
            raise _refused(path, f"line {line} is not JSON ({error})") from error
        if not isinstance(row, dict) or set(row) - set(COLUMNS) or not set(REQUIRED) <= set(row):
            raise _refused(path, f"line {line} is {written.strip()[:80]!r}")
        lengths = row["prompt_tokens"]
        yield line, {**row, "prompt_tokens": lengths if isinstance(lengths, list) else [lengths]}


def _whole(digits: str) -> float:
    """int() refuses thousands of digits, and says so in the words of a programmer."""
    return int(digits) if len(digits) <= MOST_DIGITS else math.inf


def _of_distinct_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a name is there twice")
    return row


def _workload(path: Path, line: int, row: Mapping[str, Any]) -> Workload:
    def count(value: Any, column: str, least: int, most: int) -> int:
        # Of the text of a CSV file digits and nothing else: int() would take 1_0 and digits of other scripts.
        digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (digits or whole) or not least <= int(value) <= most:
            valid = f"a whole number from {least} to {most}"
            raise _refused(path, f"line {line}: {column} is {str(value)[:40]!r}", valid)
        return int(value)

    if not row["prompt_tokens"]:
        raise _refused(path, f"line {line}: prompt_tokens is empty", "one or several whole numbers")
    name = "" if row.get("name") is None else row["name"]
    if not isinstance(name, str) or not name.isprintable():
        raise _refused(path, f"line {line}: name is {str(name)[:40]!r}", "a text of printable characters")
    return Workload(
        name=name.strip() or f"line {line}",
        prompts=None,
        prompt_tokens=tuple(count(each, "prompt_tokens", 1, MOST_PROMPT_TOKENS) for each in row["prompt_tokens"]),
        token_basis=f"given in {path.name}",
        output_tokens=count(row["output_tokens"], "output_tokens", 2, MOST_OUTPUT_TOKENS),
    )
