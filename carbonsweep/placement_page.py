"""Where the phases run best, as the HTML page of a sweep shows it: one table of both placements, and lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from carbonsweep import in_turn_lines, placement_lines
from carbonsweep.amounts import grams, seconds
from carbonsweep.answer import Answer
from carbonsweep.domain import Footprint, Measurement
from carbonsweep.placement.answers import Placement, beside
from carbonsweep.placement_option import sought
from carbonsweep.placement_progress import followed


def placement_section(found: Answer, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Verdict, headings, rows and lines; None where no split was asked for. Raises BadInput as `sought`."""
    asked = sought({}, document)
    with followed(asked) as told:
        placed = beside([c.record for c in (*found.feasible, *found.infeasible)], found, told)
    if placed is None:
        return None
    said = placement_lines.verdict(placed)
    return {
        "verdict": f"{said[0].upper()}{said[1:]}.",
        "headings": ["placement", "CO2e", "operational", "embodied", "TTFT", "TPOT", "prompt latency"],
        "rows": list(_rows(placed)),
        "lines": [_unaligned(line) for line in placement_lines.lines(placed)][1:],
    }


def _unaligned(line: str) -> str:
    """A line of the terminal without its column: "why   it moves" as "why: it moves"."""
    return re.sub(r"^(\S.*?) {2,}", r"\1: ", line.strip())


def _rows(placed: Placement) -> Iterator[list[str]]:
    if placed.colocated is not None:
        best = placed.colocated
        yield _row(f"colocated: {best.record.configuration}", best.footprint, best.measurement)
    named = (
        ("split", placed.split),
        ("the phases in turn on the same GPUs", placed.best_in_turn if in_turn_lines.gain(placed) else None),
        ("split, if GPUs that wait did other work", placed.bound),
    )
    for name, split in named:
        if split is not None:
            yield _row(f"{name}: {placement_lines.named(split)}", split.footprint, split.measurement)


def _row(name: str, footprint: Footprint | None, measurement: Measurement) -> list[str]:
    amounts = (None,) * 3 if footprint is None else (footprint.total_g, footprint.operational_g, footprint.embodied_g)
    times = (measurement.ttft_s, measurement.tpot_s, measurement.prompt_latency_s)
    return [name, *map(grams, amounts), *map(seconds, times)]
