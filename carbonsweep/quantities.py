"""Quantities as a person reads them: three or four digits, their unit, and 'unknown' for what is unknown."""

from __future__ import annotations

from collections.abc import Iterable

from carbonsweep.amounts import seconds
from carbonsweep.units import BYTES_PER_GB


def quantity(value: float | None, unit: str) -> str:
    """Four significant digits and the unit."""
    return "unknown" if value is None else f"{value:.4g} {unit}"


def joules(value_j: float | None) -> str:
    """Energy in J."""
    return quantity(value_j, "J")


def gigabytes(value_bytes: float | None) -> str:
    """Bytes, written in GB (1e9)."""
    return quantity(None if value_bytes is None else value_bytes / BYTES_PER_GB, "GB")


def seconds_or_unknown(value_s: float | None) -> str:
    """Seconds, milliseconds below one."""
    return "unknown" if value_s is None else seconds(value_s)


def range_j(low_j: float | None, high_j: float | None) -> str:
    """What surely holds some joules, in brackets after them."""
    return " (no bound)" if low_j is None or high_j is None else f" ({low_j:.4g} to {high_j:.4g})"


def change(before: float | None, after: float | None, unit: str) -> str:
    """A value at two moments."""
    ends = ["unknown" if value is None else f"{value:g}" for value in (before, after)]
    return f"{ends[0]} to {ends[1]} {unit}"


def elapsed(before_s: float | None, after_s: float | None) -> str:
    """How far a count of seconds went on."""
    return seconds_or_unknown(None if before_s is None or after_s is None else after_s - before_s)


def words(names: Iterable[str] | None) -> str:
    """A list in words; an empty one is 'nothing', None 'unknown'."""
    return "unknown" if names is None else " and ".join(names) or "nothing"
