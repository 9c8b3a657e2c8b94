"""From records to what a picture over batch sizes shows: one cell per configuration, with its value or why it has none.

A picture has one bar for each model, GPU kind and batch size, so the records it is drawn from agree in all else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from carbonsweep import facts
from carbonsweep.domain import Measurement, TrialRecord
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.figures.estimates import Estimate
from carbonsweep.tables import csv_text

OUTCOMES: Final[Mapping[str, str]] = {"does-not-fit": "OOM", "unsupported": "not supported", "failed": "failed"}
"""What stands in a picture where a trial has no measurement; OOM as in HotCarbon'24."""
UNKNOWN: Final = "unknown"
SIGNIFICANT: Final = 6
"""Digits of a number in a CSV file: fewer than two machines disagree in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What is drawn of a measurement, and in which unit; `of` gives None, or raises EnergyUnknown, where unknown."""

    label: str
    unit: str
    of: Callable[[Measurement], Estimate | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration in a picture: its value, or in `absent` why there is none. `group` is the panel's name."""

    quantity: str
    unit: str
    group: str
    record: TrialRecord
    estimate: Estimate | None
    absent: str = ""

    @property
    def gpu(self) -> str:
        return self.record.configuration.gpu

    @property
    def batch_size(self) -> int:
        return self.record.configuration.batch_size

    @property
    def model(self) -> str:
        return self.record.configuration.model


def cells(records: Iterable[TrialRecord], quantity: Quantity, group: str) -> tuple[Cell, ...]:
    """A cell for each record, in the order of batch sizes and then GPU kinds."""
    ordered = sorted(records, key=lambda r: (r.configuration.batch_size, r.configuration.gpu))
    return tuple(_cell(record, quantity, group) for record in ordered)


def _cell(record: TrialRecord, quantity: Quantity, group: str) -> Cell:
    estimate, absent = None, ""
    if record.measurement is None:
        absent = OUTCOMES.get("" if record.refusal is None else record.refusal.kind, "failed")
    else:
        try:
            estimate = quantity.of(record.measurement)
        except EnergyUnknown:
            estimate = None
        absent = UNKNOWN if estimate is None else ""
    return Cell(
        quantity=quantity.label, unit=quantity.unit, group=group, record=record, estimate=estimate, absent=absent
    )


def one_per_cell(records: Iterable[TrialRecord], **wanted: str | None) -> tuple[TrialRecord, ...]:
    """Records whose configuration has the `wanted` fields (None: any), at most one for each model, GPU and batch size.

    Raises BadInput where none is left, and where several would share a cell, naming what they differ in.
    """
    listed = tuple(records)
    chosen = {field: value for field, value in wanted.items() if value is not None}
    kept = [r for r in listed if all(getattr(r.configuration, f).casefold() == v.casefold() for f, v in chosen.items())]
    if not kept:
        asked = " and ".join(f"{field} {value}" for field, value in chosen.items())
        there = "; ".join(f"{f}: {', '.join(sorted({getattr(r.configuration, f) for r in listed}))}" for f in chosen)
        raise BadInput(f"no record has {asked}: there is {there}" if chosen else "there are no records")
    taken: dict[tuple[str, str, int], TrialRecord] = {}
    for record in kept:
        where = record.configuration
        other = taken.setdefault((where.model, where.gpu, where.batch_size), record)
        if other is not record:
            raise BadInput(
                f"two records of {where.model} on {where.gpu}, batch {where.batch_size}, differ in "
                f"{_difference(other, record)}: a picture shows one; choose with --engine or --dtype"
            )
    return tuple(kept)


def _difference(first: TrialRecord, second: TrialRecord) -> str:
    a, b = first.configuration, second.configuration
    pairs = {
        "engine": (a.engine, b.engine),
        "dtype": (a.dtype, b.dtype),
        "gpu count": (a.gpu_count, b.gpu_count),
        "workload": (first.workload.digest, second.workload.digest),
        "basis": (first.identity.basis, second.identity.basis),
    }
    found = [f"{name} ({one} and {other})" for name, (one, other) in pairs.items() if one != other]
    return " and ".join(found) or "how they were made"


def by_size(models: Iterable[str]) -> tuple[str, ...]:
    """Models from small to large; those the tables do not know come last, by name."""
    known = facts.language_models()
    return tuple(sorted(set(models), key=lambda m: (known[m].parameters if m in known else float("inf"), m)))


def only_model(records: Sequence[TrialRecord], model: str | None) -> tuple[TrialRecord, ...]:
    """Records of `model`, of the smallest one where it is None. Raises UnknownFact, or BadInput where it has none."""
    there = by_size(record.configuration.model for record in records)
    name = there[0] if model is None else facts.language_model(model).key
    if name not in there:
        raise BadInput(f"there is no record of {name}: there is {', '.join(there)}")
    return tuple(record for record in records if record.configuration.model == name)


def cells_csv(shown: Iterable[Cell]) -> str:
    """One line per cell: value, interval, and the record it was read from."""
    return table_csv([_row(cell) for cell in shown])


def _row(cell: Cell) -> dict[str, Any]:
    where, estimate, identity = cell.record.configuration, cell.estimate, cell.record.identity
    return {
        "group": cell.group,
        "quantity": cell.quantity,
        "unit": cell.unit,
        "model": where.model,
        "gpu": where.gpu,
        "batch_size": where.batch_size,
        "value": None if estimate is None else estimate.value,
        "low": None if estimate is None else estimate.low,
        "high": None if estimate is None else estimate.high,
        "embodied": None if estimate is None else estimate.embodied,
        "outcome": cell.absent or identity.basis,
        "dtype": where.dtype,
        "engine": where.engine,
        "calibration": identity.calibration,
        "record": cell.record.key,
    }


def table_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same columns as CSV; numbers rounded to SIGNIFICANT digits, None left empty."""
    return csv_text(
        [{k: f"{v:.{SIGNIFICANT}g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    )
