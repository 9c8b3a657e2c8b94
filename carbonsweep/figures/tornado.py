"""Why an answer is what it is, drawn: a bar for each factor it is sensitive to, and what raising a limit would save.

Bars are on a logarithmic scale of the objective over that of the best: halving and doubling are the same length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from carbonsweep.explanation.explaining import Explanation
from carbonsweep.explanation.relaxations import Relaxation
from carbonsweep.explanation.sensitivity import Sensitivity, Setting
from carbonsweep.figures.foundation import bases
from carbonsweep.figures.page import PALETTE, Page, digits, footer, mass_unit, wrapped
from carbonsweep.search.objectives import LIMIT_NAMES

COLOURS: Final = {"choice": PALETTE[0], "scenario": PALETTE[1]}
LINE_STYLES: Final = ("-", "--", ":", "-.")
ROOM: Final = 1.9
"""The axis goes on so much further than the bars, relative to their reach: for the words at their ends."""
NAME_IN: Final = 1.15
"""Inches for those words on the narrower of the panels."""
LEAST_REACH: Final = math.log(1.1)
ROW_IN: Final = 0.46
TOGETHER: Final = "all limits together"

_Line = tuple[str, Sequence[Relaxation]]


def explanation_figure(explained: Explanation) -> Figure | None:
    """The bars, and beside them the steps of each limit; None where there is neither."""
    bars = [each for each in explained.sensitivities if each.known]
    lines = _lines(explained)
    if not bars and not lines:
        return None
    with matplotlib.rc_context({"text.parse_math": False}):
        page = Page.of(bool(bars) + bool(lines), height_in=max(2.6, ROW_IN * len(bars) + 0.3))
        if bars:
            _draw_bars(page.axes(0), bars, explained)
        if lines:
            _draw_lines(page.axes(page.panels - 1), lines, explained)
        _name_best(page, explained)
        page.footer(footer(explained.answer))
        page.legend([*_bar_entries(bars), *_line_entries(lines)])
        return page.figure


def _name_best(page: Page, explained: Explanation) -> None:
    """Whose objective it is, and what it rests on, above the panels."""
    found = explained.answer
    best = "nothing feasible" if found.best is None else str(found.best.record.configuration)
    rests_on = bases([c.record for c in (*found.feasible, *found.infeasible)])
    width, height = page.figure.get_size_inches()
    page.figure.text(0.15 / width, 1 - 0.12 / height, f"{best}; {rests_on}", fontsize=9.5, va="top")


def _draw_bars(axes: Axes, bars: Sequence[Sensitivity], explained: Explanation) -> None:
    reach = max(LEAST_REACH, *(abs(math.log(ratio)) for each in bars for ratio in _ends(each)))
    for i, each in enumerate(bars):
        low, high = _ends(each)
        axes.barh(i, high - low, left=low, height=0.44, color=COLOURS[each.kind], zorder=2)
        if low < 1 and each.low is not None:
            _name(axes, low, i, each.low, left=True)
        if (high > 1 or low == high) and each.high is not None:
            _name(axes, high, i, each.high, left=False)
        others = [1 + s.change for s in each.known if s.winner is not None and s.change is not None and s.change > -1]
        if others:
            axes.plot(
                others, [i + 0.32] * len(others), linestyle="none", marker="^", markersize=4, color="black", zorder=3
            )
    axes.axvline(1, color="black", linewidth=1, zorder=4)
    axes.set_xscale("log")
    axes.set(xlim=(math.exp(-ROOM * reach), math.exp(ROOM * reach)), ylim=(len(bars) - 0.45, -0.75))
    axes.set_yticks(range(len(bars)), [wrapped(each.factor, 0.85, size_pt=8, most=2) for each in bars], fontsize=8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"x {value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    label = explained.answer.question.objectives[0].label
    axes.set_xlabel(f"{label} over that of the best", fontsize=9.5)
    axes.set_title("What the answer is sensitive to", loc="left", fontsize=11, fontweight="bold")


def _name(axes: Axes, x: float, y: int, setting: Setting, *, left: bool) -> None:
    """The setting at the end of a bar, outside of it."""
    mark = "" if setting.is_feasible else "*"
    axes.annotate(
        wrapped(f"{setting.label}{mark}", NAME_IN, size_pt=7, most=2),
        (x, y),
        (-4 if left else 4, 0),
        textcoords="offset points",
        fontsize=7,
        va="center",
        ha="right" if left else "left",
    )


def _ends(each: Sensitivity) -> tuple[float, float]:
    """Lowest and highest value over the best's; the bar reaches to the best itself. Nothing is below a thousandth."""
    ratios = [max(1e-3, 1 + s.change) for s in (each.low, each.high) if s is not None and s.change is not None]
    return min(1.0, *ratios), max(1.0, *ratios)


def _lines(explained: Explanation) -> list[_Line]:
    """Each limit that has a step, and all limits together where a step raises several."""
    relaxed = explained.relaxations
    alone: list[_Line] = [(LIMIT_NAMES[name], steps) for name, steps in relaxed.alone.items() if steps]
    several = any(len(step.raised) > 1 for step in relaxed.together)
    together: list[_Line] = [(TOGETHER, relaxed.together)] if several else []
    return [*alone, *together]


def _draw_lines(axes: Axes, lines: Sequence[_Line], explained: Explanation) -> None:
    """The best's objective over the rise of the limits; without a best, from where one is."""
    found = explained.answer
    objective, best = found.question.objectives[0], found.best
    values = [step.candidate.values[0] for _, steps in lines for step in steps]
    values += [] if best is None else [best.values[0]]
    unit, factor = mass_unit(values) if objective.name == "carbon" else ("", 1.0)
    furthest = max(step.share for _, steps in lines for step in steps)
    for i, (name, steps) in enumerate(lines):
        start = [] if best is None else [(0.0, best.values[0])]
        points = [*start, *((step.share, step.candidate.values[0]) for step in steps)]
        xs, ys = [100 * x for x, _ in points], [factor * y for _, y in points]
        axes.step([*xs, 108 * furthest], [*ys, ys[-1]], where="post", label=name, **_style(i))
        axes.plot(xs, ys, linestyle="none", marker="o", markersize=3.5, color=_style(i)["color"])
    axes.set_xlim(0, 108 * furthest)
    axes.set_ylim(0, 1.08 * factor * max(values))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: digits(value)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"+{value:g} %"))
    axes.set_xlabel("limit raised by", fontsize=9.5)
    unit_words = objective.unit_under(found.question.scenario)
    shown = f"{unit} {unit_words.removeprefix('g ')}" if unit else unit_words
    axes.set_ylabel(f"{objective.label} of the best\n{shown}", fontsize=8.5)
    axes.set_title("What a higher limit gives", loc="left", fontsize=11, fontweight="bold")


def _style(i: int) -> dict[str, Any]:
    return {"color": PALETTE[(i + 2) % len(PALETTE)], "linestyle": LINE_STYLES[i % len(LINE_STYLES)], "linewidth": 1.5}


def _bar_entries(bars: Sequence[Sensitivity]) -> list[Artist]:
    words = {"choice": "another choice,\nas it was found", "scenario": "another scenario,\nthe same best"}
    kinds = dict.fromkeys(each.kind for each in bars)
    entries: list[Artist] = [Patch(color=COLOURS[kind], label=words[kind]) for kind in kinds]
    if any(each.stretches for each in bars):
        marker: dict[str, Any] = {"linestyle": "none", "marker": "^", "markersize": 4, "color": "black"}
        entries.append(Line2D([], [], label="there another\nconfiguration is best", **marker))
    if any(not s.is_feasible for each in bars for s in (each.low, each.high) if s is not None):
        entries.append(Line2D([], [], linestyle="none", label="* over a limit"))
    return entries


def _line_entries(lines: Sequence[_Line]) -> list[Artist]:
    return [Line2D([], [], label=f"{name} raised", **_style(i)) for i, (name, _) in enumerate(lines)]
