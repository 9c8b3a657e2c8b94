"""Rows as text: what a spreadsheet and a Markdown page read back."""

from __future__ import annotations

import csv
import io

from carbonsweep.tables import csv_text, markdown_table


def test_csv_is_read_back_with_hostile_cells_whole_and_none_empty() -> None:
    rows: list[dict[str, object]] = [{"name": 'a,"b"\nc', "grams": 1.5}, {"name": "d", "grams": None}]
    text = csv_text(rows)
    assert text.startswith("name,grams\n")
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == [
        {"name": 'a,"b"\nc', "grams": "1.5"},
        {"name": "d", "grams": ""},
    ]


def test_a_bar_in_a_cell_does_not_add_a_column() -> None:
    assert markdown_table(("x", "y"), [("1", "a|b")]) == "| x | y |\n| --- | --- |\n| 1 | a/b |"
