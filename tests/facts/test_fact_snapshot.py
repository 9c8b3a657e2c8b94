"""Every number of the fact tables, so that a changed number is a visible diff.

After a change that is meant: `python tests/facts/test_fact_snapshot.py > tests/facts/numbers.json`
"""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

SNAPSHOT = Path(__file__).with_name("numbers.json")
TABLES = (
    "gpus",
    "models",
    "processes",
    "memories",
    "grids",
    "footprints",
    "operators",
    "reference_models",
    "links",
    "quality",
)


def numbers() -> dict[str, Any]:
    """Table, row, field: everything but sources and notes."""
    tables = {name: tomllib.loads(files("carbonsweep.facts").joinpath(f"{name}.toml").read_text()) for name in TABLES}
    prose = {"source", "note", "boundary"}
    return {
        table: {key: {field: value for field, value in row.items() if field not in prose} for key, row in rows.items()}
        for table, rows in tables.items()
    }


def text() -> str:
    """One line per row, so that a diff shows the row."""
    tables = []
    for table, rows in numbers().items():
        lines = ",\n".join(f"    {json.dumps(key)}: {json.dumps(row, sort_keys=True)}" for key, row in rows.items())
        tables.append(f'  "{table}": {{\n{lines}\n  }}')
    return "{\n" + ",\n".join(tables) + "\n}"


def test_no_number_changed_unnoticed() -> None:
    assert numbers() == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    print(text())
