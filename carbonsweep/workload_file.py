"""Files of workloads (`plan --workloads`), one a row: a CSV table or JSON lines, or one line that says what is wrong.

Columns: `prompt_tokens`, one length or those of a whole prompt set (in CSV separated by spaces, in JSON a list), which
batches are then padded to; `output_tokens`; and, if wanted, `name`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from carbonsweep.domain import Workload
from carbonsweep.given_file import GivenFile
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
    given = GivenFile(path=path, what="workload file", valid=_VALID, largest_bytes=LARGEST_FILE_BYTES)
    rows = {".csv": _csv_rows, ".jsonl": _json_rows}.get(path.suffix.lower())
    if rows is None:
        raise given.refused("ends in neither .csv nor .jsonl")
    found = tuple(_workload(given, line, row) for line, row in rows(given))
    if not found:
        raise given.refused("holds no workload")
    return found


def _csv_rows(given: GivenFile) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, row in given.csv_rows(COLUMNS, REQUIRED):
        yield line, {**row, "prompt_tokens": row["prompt_tokens"].split()}


def _json_rows(given: GivenFile) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, written in enumerate(given.text().split("\n"), 1):
        if not written.strip():
            continue
        try:
            row = json.loads(written, parse_int=_whole, object_pairs_hook=_of_distinct_names)
        except (ValueError, RecursionError) as error:
            raise given.refused(f"line {line} is not JSON ({error})") from error
        if not isinstance(row, dict) or set(row) - set(COLUMNS) or not set(REQUIRED) <= set(row):
            raise given.refused(f"line {line} is {written.strip()[:80]!r}")
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


def _workload(given: GivenFile, line: int, row: Mapping[str, Any]) -> Workload:
    def count(value: Any, column: str, least: int, most: int) -> int:
        # Of the text of a CSV file digits and nothing else: int() would take 1_0 and digits of other scripts.
        digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (digits or whole) or not least <= int(value) <= most:
            valid = f"a whole number from {least} to {most}"
            raise given.refused(f"line {line}: {column} is {str(value)[:40]!r}", valid)
        return int(value)

    if not row["prompt_tokens"]:
        raise given.refused(f"line {line}: prompt_tokens is empty", "one or several whole numbers")
    name = "" if row.get("name") is None else row["name"]
    if not isinstance(name, str) or not name.isprintable():
        raise given.refused(f"line {line}: name is {str(name)[:40]!r}", "a text of printable characters")
    return Workload(
        name=name.strip() or f"line {line}",
        prompts=None,
        prompt_tokens=tuple(count(each, "prompt_tokens", 1, MOST_PROMPT_TOKENS) for each in row["prompt_tokens"]),
        token_basis=f"given in {given.path.name}",
        output_tokens=count(row["output_tokens"], "output_tokens", 2, MOST_OUTPUT_TOKENS),
    )
