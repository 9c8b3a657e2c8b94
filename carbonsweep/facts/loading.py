"""TOML text to typed rows; a row that cannot be trusted does not load."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from carbonsweep.errors import CarbonsweepError
from carbonsweep.facts.frozen import FrozenMapping
from carbonsweep.facts.rows import Gpu, Grid, LanguageModel, Link, Memory, Process, PublishedFootprint, QualityScore

Row = TypeVar("Row", Gpu, LanguageModel, Process, Memory, Grid, Link, PublishedFootprint, QualityScore)


class FactError(CarbonsweepError):
    """A fact table that does not load: which table, which row, which field, and why."""

    def __init__(self, table: str, row: str, reason: str) -> None:
        self.table, self.row, self.reason = table, row, reason
        super().__init__(f"{table} [{row}]: {reason}" if row else f"{table}: {reason}")

    def __reduce__(self) -> tuple[type[FactError], tuple[str, str, str]]:
        return type(self), (self.table, self.row, self.reason)


def rows_of_file(path: Path, row_type: type[Row]) -> Mapping[str, Row]:
    """Every row of the table at `path`, by key."""
    return rows_of(path.read_text(encoding="utf-8"), row_type, table=path.name)


def rows_of(text: str, row_type: type[Row], *, table: str) -> Mapping[str, Row]:
    """Every row of TOML `text`, by key; raises FactError. Keys that differ only in case are the same key."""
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FactError(table, "", str(error)) from error
    if len({key.casefold() for key in entries}) < len(entries):
        raise FactError(table, "", "two rows have the same key but for case")
    return FrozenMapping({key: _row(table, key, entry, row_type) for key, entry in entries.items()})


def _row(table: str, key: str, entry: object, row_type: type[Row]) -> Row:
    if not isinstance(entry, dict):
        raise FactError(table, key, f"is {type(entry).__name__}, not a table")
    allowed = {field.name for field in fields(row_type)} - {"key"}
    for reason in _complaints(entry, allowed):
        raise FactError(table, key, reason)
    try:
        row = msgspec.convert(entry | {"key": key}, row_type)
    except msgspec.ValidationError as error:
        raise FactError(table, key, str(error)) from error
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    frozen: dict[str, Any] = {name: FrozenMapping(value) for name, value in values.items() if isinstance(value, dict)}
    return replace(row, **frozen)


def _complaints(entry: dict[str, Any], allowed: set[str]) -> Iterator[str]:
    """Everything wrong with a row that its types do not say."""
    yield from (f"{name} is no field of this table" for name in entry if name not in allowed)
    source = entry.get("source")
    if not isinstance(source, dict) or "default" not in source:
        yield "source has no default: a fact without a source does not load"
        return
    for name, text in source.items():
        if name != "default" and name not in allowed - {"source", "estimated"}:
            yield f"source.{name} is no field of this table"
        if not isinstance(text, str) or not text.strip():
            yield f"source.{name} is empty"
    estimated = entry.get("estimated", [])
    if not isinstance(estimated, list):
        yield "estimated is not a list of fields"
        return
    yield from (f"estimated names {name!r}, which this row does not have" for name in estimated if name not in entry)
    yield from (f"{name} is {value}: not a finite number above 0" for name, value in _bad_numbers(entry))


def _bad_numbers(entry: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from _bad_numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < math.inf:
            yield f"{prefix}{name}", value
