"""What each unusual term of the paper's stack is for: the fit without it, and what it then misses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.calibration.paper_errors import LEFT_OUT_GENERATIONS, Progress
from carbonsweep.calibration.paper_stack import Changes, fit, modelled_cells, targets
from carbonsweep.claims.cells import Cells
from carbonsweep.claims.judging import judge_cells, judge_takeaways

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


def _first(cells: Cells) -> Cells:
    return Cells(**{name: getattr(cells, name)[0] for name in Cells.__dataclass_fields__})
