"""What the claims owe to what is not fitted: terms left out, and fixed numbers moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep import facts
from carbonsweep.calibration.paper_errors import LEFT_OUT_GENERATIONS, Progress
from carbonsweep.calibration.paper_parameters import ASSUMPTIONS, IDLE_W, PARAMETERS
from carbonsweep.calibration.paper_stack import IDLE, Changes, fit, modelled_cells, targets
from carbonsweep.claims.cells import Cells
from carbonsweep.claims.judging import judge_cells, judge_takeaways

MOVED_GENERATIONS: Final = 600
"""Of a search that starts at the fit's own values."""

TERMS: Final[tuple[tuple[str, Changes], ...]] = (
    ("time per further sequence of a decode batch", (("sequence_s_per_layer", 0.0),)),
    (
        "that time at its own power, the first sequence free of it",
        (("sequence_power", 0.0), ("free_sequences", 0.0)),
    ),
    ("spill to host memory", (("spill_limit_bytes", 0.0),)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """One term less, refitted: how many of the numbers are within tolerance, and what is missed and why."""

    term: str
    numbers_met: int
    numbers: int
    missed: tuple[str, ...]


def without_terms(tell: Progress = lambda line: None) -> tuple[Without, ...]:
    """Refit without each term. Takes minutes."""
    found = []
    for term, changes in TERMS:
        values = fit(generations=LEFT_OUT_GENERATIONS, changes=changes)
        cells = _first(modelled_cells(np.array(values)[:, None], changes))
        verdicts = (*judge_cells(cells, "modelled"), *judge_takeaways(cells, "modelled"))
        fitted = {(aim.claim, aim.label) for aim in targets()}
        met = sum(bool(v.met) for each in verdicts for v in each.values if (each.id, v.label) in fitted)
        missed = tuple(f"{each.id}: {each.reason}" for each in verdicts if each.outcome == "missed")
        found.append(Without(term=term, numbers_met=met, numbers=len(fitted), missed=missed))
        tell(f"without {term}: {met} of {len(fitted)} numbers; {' | '.join(missed)}")
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A number fixed by hand at another value that could be defended: what is missed, as fitted and refitted.

    `on_edge` are the parameters that the new fit leaves on the edge of their priors.
    """

    name: str
    value: float
    other: float
    lost: tuple[str, ...]
    lost_refitted: tuple[str, ...]
    on_edge: tuple[str, ...]


def moved_assumptions(
    fitted: Sequence[float], tell: Progress = lambda line: None, *, generations: int = MOVED_GENERATIONS
) -> tuple[Moved, ...]:
    """Each assumption, and the idle power of both GPUs, elsewhere; with and without a new fit. Takes minutes."""
    others = [(field, each.value, other) for field, each in ASSUMPTIONS.items() for other in each.others]
    for name, gpu in IDLE.items():
        others += [(name, facts.gpu(gpu).idle_w, other) for other in IDLE_W[gpu]]
    found = []
    for name, value, other in others:
        changes = ((name, other),)
        again = fit(generations=generations, changes=changes, start=fitted)
        lost, lost_refitted = (_lost(modelled_cells(np.array(each)[:, None], changes)) for each in (fitted, again))
        on_edge = tuple(p.name for p, each in zip(PARAMETERS, again, strict=True) if p.on_edge(each))
        moved = Moved(name=name, value=value, other=other, lost=lost, lost_refitted=lost_refitted, on_edge=on_edge)
        found.append(moved)
        tell(f"{name} {other:g}: missed {len(moved.lost)}, refitted {len(moved.lost_refitted)}")
    return tuple(found)


def _lost(cells: Cells) -> tuple[str, ...]:
    """Claims and takeaways that are missed."""
    first = _first(cells)
    verdicts = (*judge_cells(first, "modelled"), *judge_takeaways(first, "modelled"))
    return tuple(each.id for each in verdicts if each.outcome == "missed")


def _first(cells: Cells) -> Cells:
    return Cells(**{name: getattr(cells, name)[0] for name in Cells.__dataclass_fields__})
