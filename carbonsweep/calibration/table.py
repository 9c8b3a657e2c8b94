"""CSV files of others, read with suspicion: what is wrong is said with file, line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from carbonsweep.errors import BadInput


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a CSV file; cells are stripped."""

    file: str
    number: int
    cells: Mapping[str, str]

    def wrong(self, column: str, why: str) -> BadInput:
        """The error that names this cell."""
        return BadInput(f"{self.file} line {self.number}, column {column!r}: {self.cells.get(column, '')!r} {why}")

    def quantity(self, column: str, *, least: float = 0.0, most: float = math.inf) -> float:
        """A finite number above 0, from `least` to `most`. Raises BadInput."""
        try:
            value = float(self.cells[column])
        except ValueError:
            raise self.wrong(column, "is not a number") from None
        if not 0 < value < math.inf:
            raise self.wrong(column, "is not a finite number above 0")
        if not least <= value <= most:
            raise self.wrong(
                column, f"is not between {least:g} and {most:g}, which is all it can be: is the unit right?"
            )
        return value

    def count(self, column: str, least: int = 1) -> int:
        """A whole number of at least `least`. Raises BadInput."""
        value = self.quantity(column)
        if value != int(value) or value < least:
            raise self.wrong(column, f"is not a whole number of at least {least}")
        return int(value)

    def one_of(self, column: str, valid: Mapping[str, str]) -> str:
        """What `valid` calls this cell. Raises BadInput naming all that are known."""
        if self.cells[column] not in valid:
            raise self.wrong(column, f"is not known (valid: {', '.join(valid)})")
        return valid[self.cells[column]]


def lines(path: Path, columns: Collection[str]) -> Iterator[Line]:
    """Every line that is not empty. Raises BadInput: no such file, no CSV in UTF-8, or a column is missing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read in {path.parent}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        if missing := [column for column in columns if column not in header]:
            raise BadInput(f"{path.name} line 1: no column {', '.join(map(repr, missing))}; it has {', '.join(header)}")
        for row in reader:
            if not any(cell for cell in row.values() if cell):
                continue
            if None in row or None in row.values():
                raise BadInput(f"{path.name} line {reader.line_num}: not the {len(header)} cells of the header")
            yield Line(path.name, reader.line_num, {name.strip(): cell.strip() for name, cell in row.items()})
    except csv.Error as error:
        raise BadInput(f"{path.name} line {reader.line_num}: {error}") from error
