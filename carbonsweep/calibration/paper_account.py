"""The fit of the paper's stack in words and tables: what was free, what was fixed, and what it foretells of claims."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from carbonsweep import facts
from carbonsweep.calibration.paper_parameters import ASSUMPTIONS, PARAMETERS
from carbonsweep.calibration.paper_rows import LEFT_OUT, MOVED, WITHOUT
from carbonsweep.calibration.paper_stack import IDLE, ORDERED, committed, targets
from carbonsweep.claims.cells import paper_models
from carbonsweep.claims.judging import Verdict
from carbonsweep.shares import percent, signed_percent
from carbonsweep.tables import markdown_table

NEAR_END: Final = 0.1
"""Share of a prior's range, from either end, in which it may have had a say."""
STATED: Final = (
    "- Prompts are bare, without Alpaca's template; lengths are those of the built-in set, padded in a batch.",
    "- fp16 on one GPU, 150 output tokens. Energy is the board's: no host, no idling, no PUE, as in the paper.",
    "- Any other GPU under this engine gets the geometric means of the two: a guess, with its own, wider error.",
)
"""What the modelled claims take for granted, beside the stand-in models."""


def fit_account(verdicts: Sequence[Verdict], results: Path) -> Iterator[str]:
    """Paragraphs and tables: parameters, what is fixed, assumptions, claims and terms left out.

    `verdicts` are the claims as the committed row meets them; `results` holds the tables that `recalibrate` writes, and
    what is not there is called unknown.
    """
    yield from _free()
    yield from _fixed(results / MOVED)
    yield "## Assumptions"
    yield f"- Models: {', '.join(paper_models())} stand in for 1B, 3B and 7B: which weights were served is not stated."
    yield from STATED
    yield "## Claims left out"
    yield (
        "Each claim left out with all its numbers and its own order, everything refitted, and the claim predicted; "
        "what other claims and T1 say of the same configurations stays. Beside it, what the fit to all of them gives."
    )
    yield from _left_out(verdicts, results / LEFT_OUT)
    yield "## Terms left out"
    yield "The fit again without one of the model's less usual terms: what it then misses."
    yield _table_of(results / WITHOUT)


def _free() -> Iterator[str]:

    yield "## Parameters"
    yield (
        f"Free: {len(PARAMETERS)}, fewer than the {len(targets())} ratios and shares that they were fitted to. The fit "
        f"also asked for the orders and peaks of {', '.join(ORDERED)} and T1. Place in a prior: on its own scale, "
        "logarithmic where it spans more than a factor of 5; the outer 2 % are its edge."
    )
    header = ("parameter", "GPU", "meaning", "unit", "fitted", "prior", "place in it", "on the edge", "why this prior")
    rows = []
    for p, value in zip(PARAMETERS, committed(), strict=True):
        edge = "YES" if p.on_edge(value) else "no"
        prior = f"{p.low:g} to {p.high:g}"
        place = percent(p.place(value), 1)
        rows.append((p.field, p.gpu or "both", p.meaning, p.unit, f"{value:.4g}", prior, place, edge, p.prior))
    yield markdown_table(header, rows)
    pairs = list(zip(PARAMETERS, committed(), strict=True))
    near = [
        f"`{p.field}` ({p.gpu or 'both'}) at {percent(p.place(value), 1)}"
        for p, value in pairs
        if not NEAR_END <= p.place(value) <= 1 - NEAR_END
    ]
    yield (
        f"In the outer {percent(NEAR_END)} of a prior, where it may have had a say, {len(near)} of {len(pairs)}: "
        f"{', '.join(near) or 'none'}."
    )
    beyond = [
        f"`{p.field}` ({p.gpu or 'both'}) {value:.4g}, seen {p.seen[0]:g} to {p.seen[1]:g}"
        for p, value in pairs
        if p.seen is not None and not p.is_seen(value)
    ]
    yield (
        f"Inside its prior and outside what measurements elsewhere have shown, {len(beyond)}: "
        f"{'; '.join(beyond) or 'none'}. The paper's stack may have been so, or these make up for what the model lacks."
    )


def _fixed(moved: Path) -> Iterator[str]:

    yield "## Fixed by hand"
    yield (
        "Neither fitted nor counted as free; what was chosen in view of a claim says so. The board's idle power is of "
        "this kind and decides much: it is what a GPU draws while it awaits the host."
    )
    fixed = [(field, f"{each.value:g}", each.why) for field, each in ASSUMPTIONS.items()]
    idle = [(name, f"{facts.gpu(gpu).idle_w:g}", facts.gpu(gpu).source["idle_w"]) for name, gpu in IDLE.items()]
    yield markdown_table(("field", "value", "why"), [*fixed, *idle])
    yield (
        "Other values that could be defended: the claims and takeaways then missed with all else as fitted, those "
        "missed after a new fit from there, and the parameters which that fit leaves on the edge of their priors."
    )
    yield _table_of(moved)


def _left_out(verdicts: Sequence[Verdict], path: Path) -> Iterator[str]:
    """Claims left out, each beside what the fit to all of them gives; and how large the errors are."""
    rows = _rows_of(path)
    if rows is None:
        yield _absent(path)
        return
    ours = {(each.id, value.label): value for each in verdicts for value in each.values}
    lines, errors = [], []
    for claim, label, paper, predicted, error in rows[1:]:
        value = ours[claim, label]
        off = value.relative_error
        fitted = ("unknown", "") if value.ours is None or off is None else (f"{value.ours:.4g}", signed_percent(off))
        lines.append((claim, label, paper, *fitted, predicted, signed_percent(float(error))))
        errors.append(abs(float(error)))
    yield markdown_table(("claim", "what", "paper", "fitted", "error", "left out", "error left out"), lines)
    within = sum(error <= 0.1 for error in errors)
    yield (
        f"Left out, mean absolute error {percent(sum(errors) / len(errors), 1)}, largest {percent(max(errors), 1)}, "
        f"{within} of {len(errors)} within 10 %."
    )


def _table_of(path: Path) -> str:
    rows = _rows_of(path)
    return (
        _absent(path)
        if rows is None
        else markdown_table(rows[0], [[cell or "none" for cell in row] for row in rows[1:]])
    )


def _rows_of(path: Path) -> list[list[str]] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return [[name.replace("_", " ") for name in header], *rows]


def _absent(path: Path) -> str:
    return f"unknown: {path.name} is not there; `python -m carbonsweep.calibrate --paper` writes it"
