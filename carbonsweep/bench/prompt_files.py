"""Prompt files: JSON, JSON lines, CSV, plain text and Parquet as numbered rows, or one line that says what is wrong.

A file is told by its ending, read once, and never run: no pickles, no scripts, no archives.
"""

from __future__ import annotations

import contextlib
import csv
import json
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from carbonsweep.bench.prompt_formats import KNOWN_COLUMNS, Rows, refuse
from carbonsweep.units import BYTES_PER_GIB

LARGEST_FILE_BYTES: Final = BYTES_PER_GIB
"""The whole Alpaca set has 23 MB, ShareGPT's 670 MB; beyond this a file is taken for a mistake."""

SUFFIXES: Final = (".json", ".jsonl", ".csv", ".txt", ".parquet")

_VALID: Final = (
    "a UTF-8 file .json (a list), .jsonl, .csv (with a header) or .txt (one prompt per line), or a .parquet file"
)


def file_rows(path: Path) -> Rows:
    """The rows of a local file; parts of it may be read only as the rows are.

    Raises BadInput, now or while the rows are read: one line naming the file and what would be valid.
    """
    suffix = _checked_suffix(path)
    origin = _origin(path)
    if suffix == ".parquet":
        return _parquet_rows(path)
    text = _text(path)
    if suffix == ".csv":
        return _csv_rows(origin, text)
    if suffix == ".txt":
        return Rows(origin=origin, unit="line", columns=None, numbered=_lines(text))
    if suffix == ".jsonl":
        return Rows(origin=origin, unit="line", columns=None, numbered=_json_lines(path, text))
    return Rows(origin=origin, unit="row", columns=None, numbered=_json_list(path, text))


def table_rows(origin: str, columns: Sequence[str], tables: Iterator[Any]) -> Rows:
    """The rows of Arrow tables that hold those of the KNOWN_COLUMNS that are among `columns`."""

    def numbered() -> Iterator[tuple[int, Any]]:
        rows = (row for table in tables for row in table.to_pylist())
        yield from enumerate(rows, 1)

    return Rows(origin=origin, unit="row", columns=tuple(columns), numbered=numbered())


def known(columns: Sequence[str]) -> list[str]:
    """Those worth reading."""
    return [column for column in KNOWN_COLUMNS if column in columns]


def brief(error: BaseException) -> str:
    """What a library says, on one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


def _origin(path: Path) -> str:
    return f"prompt file {str(path)!r}"


def _refuse(path: Path, flaw: str, valid: str = _VALID) -> NoReturn:
    refuse(_origin(path), flaw, valid)


def _checked_suffix(path: Path) -> str:
    """The file's ending in lower case, if it is a file of a known kind and not too large; nothing is read yet."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL byte in the name
        _refuse(path, "is not there", f"{_VALID}; or a data set on the hub, such as tatsu-lab/alpaca")
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror})", "a file this user may read")
    if stat.S_ISDIR(found.st_mode):
        _refuse(path, "is a folder")
    if not stat.S_ISREG(found.st_mode):
        _refuse(path, "is not a file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        _refuse(path, f"ends in none of {', '.join(SUFFIXES)}")
    if found.st_size > LARGEST_FILE_BYTES:
        _refuse(path, f"has {found.st_size:,} bytes", f"at most {LARGEST_FILE_BYTES:,.0f} bytes, such as a sample")
    if not found.st_size:
        _refuse(path, "is empty")
    return suffix


def _text(path: Path) -> str:
    try:
        # -sig: editors on some systems put a byte order mark before UTF-8. Bytes, so that no line end is changed.
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror})", "a file this user may read")
    except UnicodeDecodeError as error:
        _refuse(path, f"is not UTF-8 (byte {error.start})")
    if "\0" in text:
        _refuse(path, f"holds a NUL character at {text.index(chr(0))}, as binary files and UTF-16 do")
    if not text.strip():
        _refuse(path, "is empty")
    return text


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their ends, from 1; not splitlines(), which also cuts at U+2028, and JSON allows that in a string."""
    start, number = 0, 1
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield number, text[start:end]
        start, number = end, number + 1


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(text):
        if line.strip():
            yield number, _json(path, line.rstrip(), first_line=number)


def _json_list(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    rows = _json(path, text, first_line=1)
    if not isinstance(rows, list):
        _refuse(path, f"holds a JSON {type(rows).__name__} where a list belongs")
    yield from enumerate(rows, 1)


def _json(path: Path, text: str, *, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        lines = "; one row per line is what .jsonl is for" if error.msg == "Extra data" else ""
        _refuse(path, f"is not JSON at line {first_line + error.lineno - 1} ({error.msg})", _VALID + lines)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"holds JSON that cannot be read ({brief(error)})")


def _csv_rows(origin: str, text: str) -> Rows:
    records = _csv_records(origin, text)
    _, names = next(records, (1, []))
    columns = [name.strip() for name in names]
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        refuse(origin, f"has the column {twice[0]!r} twice", "a header that names each column once")

    def numbered() -> Iterator[tuple[int, Any]]:
        for number, record in records:
            if len(record) != len(columns):
                flaw = f"has {len(record)} fields at line {number}, and {len(columns)} in the header"
                refuse(origin, flaw, "as many fields in each row as in the header, text with commas in quotes")
            yield number, dict(zip(columns, record, strict=True))

    return Rows(origin=origin, unit="line", columns=tuple(columns), numbered=numbered())


def _csv_records(origin: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not a blank line, with the number of its last line."""
    reader = csv.reader((line for _, line in _lines(text)), strict=True)
    with _field_limit(len(text)):
        try:
            for record in reader:
                if record:
                    yield reader.line_num, record
        except csv.Error as error:
            refuse(origin, f"is not CSV at line {reader.line_num} ({brief(error)})", _VALID)


@contextlib.contextmanager
def _field_limit(characters: int) -> Iterator[None]:
    """The module's limit, 131,072 characters, is below one long prompt. It is the process's, so it is put back."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, characters))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _parquet_rows(path: Path) -> Rows:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        _refuse(path, "needs the package pyarrow", "pip install 'carbonsweep[measure]', or the same rows as .jsonl")
    unreadable = (pyarrow.ArrowException, OSError, ValueError)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = file.schema_arrow.names
        _check_unpacked_size(path, file.metadata)
    except unreadable as error:
        _refuse(path, f"is no Parquet file that can be read ({brief(error)})")

    def tables() -> Iterator[Any]:
        try:
            yield from file.iter_batches(batch_size=1000, columns=known(columns))
        except unreadable as error:
            _refuse(path, f"is no Parquet file that can be read ({brief(error)})")

    return table_rows(_origin(path), columns, tables())


def _check_unpacked_size(path: Path, metadata: Any) -> None:
    """Compressed, a small file may hold more than memory does."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    unpacked_bytes = sum(group.total_byte_size for group in groups)
    if unpacked_bytes > LARGEST_FILE_BYTES:
        _refuse(path, f"unpacks to {unpacked_bytes:,} bytes", f"at most {LARGEST_FILE_BYTES:,.0f}, such as a sample")
