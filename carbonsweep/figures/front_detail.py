"""What a Pareto picture shows in detail: the front's knee, and how wide the 95 % intervals of its points are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from carbonsweep.answer import Answer, Candidate
from carbonsweep.domain import Scenario
from carbonsweep.figures.foundation import foundation, pricing
from carbonsweep.figures.front_axes import Scale
from carbonsweep.figures.page import drawn
from carbonsweep.pareto import knee

INTERVAL: Final[dict[str, Any]] = {"color": "#9a9a9a", "linewidth": 0.7, "zorder": 1.5}
KNEE: Final[dict[str, Any]] = {
    "marker": "D",
    "markersize": 12,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 1.1,
    "linestyle": "none",
}


def knee_of(answer: Answer) -> Candidate | None:
    """The knee of the answer's front over its front objectives, None where it has none."""
    if not answer.front:
        return None
    scenario = answer.question.scenario
    losses = [
        [each.sign * each.value(c.measurement, scenario) for each in answer.front_objectives] for c in answer.front
    ]
    place = knee(losses)
    return None if place is None else answer.front[place]


def draw_intervals(axes: Axes, answer: Answer, x: Scale, y: Scale) -> None:
    """A cross for each point of the front; what lies beyond the axes is cut off."""
    span = {"xlim": axes.get_xlim(), "ylim": axes.get_ylim()}
    for candidate in answer.front:
        across, up = x.interval(candidate, answer), y.interval(candidate, answer)
        axes.plot([max(across.low, span["xlim"][0]), min(across.high, span["xlim"][1])], [up.value] * 2, **INTERVAL)
        axes.plot([across.value] * 2, [max(up.low, span["ylim"][0]), min(up.high, span["ylim"][1])], **INTERVAL)
    axes.set(**span)


def draw_knee(axes: Axes, at: tuple[float, float] | None) -> None:
    """An open diamond."""
    if at is not None:
        axes.plot(*at, **KNEE, zorder=5, label="knee")


def detail_footer(answers: Iterable[Answer]) -> str:
    """What the pictures rest on, how each is priced, and what a knee is."""
    answers = list(answers)
    records = {c.record.key: c.record for answer in answers for c in drawn(answer)}
    said = [foundation(list(records.values()))] if records else []
    # Those that differ in region alone are one sentence.
    alike: dict[Scenario, dict[Scenario, None]] = {}
    for scenario in (answer.question.scenario for answer in answers):
        alike.setdefault(dataclasses.replace(scenario, intensity=None), {})[scenario] = None
    said += [pricing(list(scenarios)) for scenarios in alike.values()]
    if any(knee_of(answer) is not None for answer in answers):
        said.append(
            "Knee: the point of the front farthest below the chord between its ends (of three objectives, the plane), "
            "each objective scaled to 0..1 (Das, Structural Optimization 18, 1999)."
        )
    return " ".join(said)


def detail_entries(answers: Iterable[Answer]) -> list[Artist]:
    """Legend entries of what `answers` show in detail."""
    answers = list(answers)
    entries: list[Artist] = []
    if any(knee_of(answer) is not None for answer in answers):
        entries.append(Line2D([], [], **{**KNEE, "markersize": 8}, label="knee: farthest from the\nfront's chord"))
    if any(answer.front for answer in answers):
        label = "95 % interval of a front\npoint (energy and time;\none embodied preset)"
        entries.append(Line2D([], [], **INTERVAL, label=label))
    return entries
