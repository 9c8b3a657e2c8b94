"""Small tables a user gives: text, or the rows of a CSV one; or one line that says what is wrong and what is valid."""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from carbonsweep.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFile:
    """`what` such a file is called, what a `valid` one holds, and how large it may be."""

    path: Path
    what: str
    valid: str
    largest_bytes: float

    def refused(self, flaw: str, valid: str | None = None) -> BadInput:
        """The error that names the file, its flaw, and what would be valid."""
        return BadInput(f"{self.what} {str(self.path)!r} {flaw}: valid is {valid or self.valid}")

    def text(self) -> str:
        """The whole text. Raises BadInput for what is no file, too large, unreadable or not UTF-8."""
        try:
            found = self.path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise self.refused("is not a file")
            if found.st_size > self.largest_bytes:
                raise self.refused(f"has {found.st_size:,} bytes", f"at most {self.largest_bytes:,.0f} bytes")
            return self.path.read_bytes().decode("utf-8-sig")  # -sig: some editors put a byte order mark before UTF-8
        except OSError as error:
            raise self.refused(f"cannot be read ({error.strerror})") from error
        except ValueError as error:  # not UTF-8, or a NUL byte in the name
            raise self.refused("is not UTF-8 text") from error

    def csv_rows(self, columns: tuple[str, ...], required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
        """The line each row ends on, and its cells by column. Raises BadInput as `text`, and for another header."""
        reader = csv.reader(io.StringIO(self.text(), newline=""), strict=True)
        try:
            header = [cell.strip().casefold() for cell in next(reader, [])]
            unlike = set(header) - set(columns) or set(required) - set(header)
            if unlike or len(set(header)) < len(header):
                named = ", ".join(map(repr, header)) or "none"
                raise self.refused(f"line 1 has the columns {named:.200}")
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise self.refused(
                        f"line {reader.line_num} has {len(cells)} cells", f"{len(header)}, as its header has"
                    )
                yield reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))
        except csv.Error as error:
            raise self.refused(f"line {reader.line_num} is not CSV ({error})") from error
