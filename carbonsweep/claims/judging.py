"""Verdicts: each of the paper's claims and takeaways, judged over the records of any bench, measured or modelled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from carbonsweep.carbon.embodied import embodied_carbon
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.claims.cells import BATCHES, GPUS, Cells, basis_of_records, cells_of_records
from carbonsweep.claims.grams import LIFETIME_YEARS, PRESET, REGIONS, embodied_share
from carbonsweep.claims.orders import Margins, margins
from carbonsweep.claims.ratios import numbers, prefill_j_per_token, prefill_throughput
from carbonsweep.claims.statements import Claim, claims, takeaways
from carbonsweep.claims.takeaways import takeaway_margins
from carbonsweep.claims.tolerance import tolerance
from carbonsweep.domain import Basis, TrialRecord
from carbonsweep.shares import percent, signed_percent

NAMED: Final = 3
"""Broken orders that a reason names; the verdict holds all."""

Outcome = Literal["met", "missed", "reported only", "not judged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One value of a claim beside ours; None where ours is unknown, `tolerance` 0 where it must be exact."""

    label: str
    paper: float
    ours: float | None
    tolerance: float

    @property
    def relative_error(self) -> float | None:
        """Ours over the paper's, less 1."""
        return None if self.ours is None else self.ours / self.paper - 1

    @property
    def met(self) -> bool | None:
        """Within the tolerance (and a rounding error of it); None where ours is unknown."""
        return None if self.ours is None else abs(self.ours - self.paper) <= self.tolerance + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order: its label, and the logarithm by which it holds; None where it is unknown, infinite without a rival."""

    label: str
    margin: float | None

    @property
    def met(self) -> bool | None:
        return None if self.margin is None else self.margin > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one claim or takeaway. `reason` says why it is not met, or how narrowly an order holds."""

    id: str
    section: str
    kind: str
    text: str
    values: tuple[Compared, ...]
    orders: tuple[Order, ...]
    outcome: Outcome
    reason: str
    basis: Basis | None


def judge(records: Iterable[TrialRecord]) -> tuple[Verdict, ...]:
    """A verdict on each claim, over records of the 42 configurations. Raises BadInput as `cells_of_records`."""
    kept = tuple(records)
    return judge_cells(cells_of_records(kept), basis_of_records(kept))


def judge_cells(cells: Cells, basis: Basis | None) -> tuple[Verdict, ...]:
    """The same over one grid of cells, of shape (size, GPU, batch)."""
    ours, ordered = _ours(cells), margins(cells)
    return tuple(_verdict(each, ours.get(each.id, {}), ordered.get(each.id), basis) for each in claims())


def judge_takeaways(cells: Cells, basis: Basis | None) -> tuple[Verdict, ...]:
    """A verdict on each takeaway, over one grid of cells."""
    ordered = takeaway_margins(cells)
    return tuple(
        _decided(
            Verdict(
                id=each.id,
                section="",
                kind="takeaway",
                text=each.text,
                values=(),
                orders=_orders(ordered[each.id]),
                outcome="met",
                reason="",
                basis=basis,
            )
        )
        for each in takeaways()
    )


def _ours(cells: Cells) -> dict[str, dict[str, float]]:
    found = {name: {label: float(value) for label, value in each.items()} for name, each in numbers(cells).items()}
    found["C07"] = _best_batches(prefill_throughput(cells)[0], cells)
    found["C08"] = _best_batches(1 / prefill_j_per_token(cells)[0], cells)
    found["C14"] = _inputs()
    found["C19"] = {
        f"{region} {years}": float(embodied_share(cells, region, years)[0, 0, 0])
        for region in REGIONS
        for years in range(4, 9)
    }
    return found


def _best_batches(quantity: np.ndarray, cells: Cells) -> dict[str, float]:
    """Batch size of the largest, by GPU; NaN where a cell that fits is unknown."""
    best = {}
    for g, gpu in enumerate(GPUS):
        held = np.where(cells.fits[0, g], quantity[g], -np.inf)
        best[gpu] = math.nan if np.isnan(held).any() else float(BATCHES[int(held.argmax())])
    return best


def _inputs() -> dict[str, float]:
    """What this project's facts say where the paper states its inputs."""
    intensities = {f"{region} g/kWh": carbon_intensity(region, "lifecycle").g_per_kwh for region in REGIONS}
    return (
        {f"{gpu} kg": embodied_carbon(gpu, PRESET).kg for gpu in GPUS}
        | intensities
        | {"lifetime years": LIFETIME_YEARS}
    )


def _verdict(claim: Claim, ours: Mapping[str, float], ordered: Margins | None, basis: Basis | None) -> Verdict:
    values = tuple(
        Compared(
            label=label,
            paper=paper,
            ours=ours[label] if math.isfinite(ours[label]) else None,
            tolerance=tolerance(claim, paper),
        )
        for label, paper in claim.values.items()
    )
    return _decided(
        Verdict(
            id=claim.id,
            section=claim.section,
            kind=claim.kind,
            text=claim.text,
            values=values,
            orders=() if ordered is None else _orders(ordered),
            outcome="reported only" if claim.judged == "reported" else "met",
            reason=claim.note,
            basis=basis,
        )
    )


def _orders(ordered: Margins) -> tuple[Order, ...]:
    return tuple(
        Order(label=label, margin=None if np.isnan(value) else float(value))
        for label, value in zip(ordered.labels, ordered.values, strict=True)
    )


def _decided(verdict: Verdict) -> Verdict:
    """With its outcome and reason: an unknown part leaves it open, a missed part decides.

    What the table notes on a claim is the reason of a reported one, and is added to that of a missed one.
    """
    lost = [each for each in verdict.values if each.met is False]
    broken = [each for each in verdict.orders if each.met is False]
    parts: tuple[Compared | Order, ...] = (*verdict.values, *verdict.orders)
    unknown = [each.label for each in parts if each.met is None]
    reasons = [*(_off(each, verdict.kind) for each in lost), *_named(broken)]
    note = [verdict.reason] if verdict.reason else []
    if verdict.outcome == "reported only":
        return replace(verdict, reason="; ".join([*note, *_named(broken)]))
    if reasons:
        return replace(verdict, outcome="missed", reason="; ".join([*reasons, *note]))
    if unknown:
        lacking = f"no record with the seconds and joules that {len(unknown)} of its parts need"
        return replace(verdict, outcome="not judged", reason=f"{lacking}, the first: {unknown[0]}")
    return replace(verdict, reason=_narrowest(verdict.orders))


def _named(broken: Sequence[Order]) -> list[str]:
    """The first few by name, the rest by number."""
    more = len(broken) - NAMED
    return [f"broken: {each.label}" for each in broken[:NAMED]] + ([f"and {more} more"] if more > 0 else [])


def _off(value: Compared, kind: str) -> str:
    if kind == "peak":
        return f"{value.label}: ours is at batch {value.ours:g}"
    off = value.relative_error or 0.0
    allowed = f"{value.tolerance:.3g}" if value.tolerance else "nothing"
    return f"{value.label}: off by {signed_percent(off)}, {allowed} is allowed"


def _narrowest(orders: Iterable[Order]) -> str:
    """The order that holds by least, where some rival takes part."""
    finite = [each for each in orders if each.margin is not None and math.isfinite(each.margin)]
    if not finite:
        return ""
    least = min(finite, key=lambda each: each.margin or 0.0)
    return f"narrowest order: {least.label}, by {percent(math.expm1(least.margin or 0.0), 1)}"
