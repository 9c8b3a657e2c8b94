"""What the best split saves against the best colocated configuration: a panel for each model and question, a row for
each region, a mark for each link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from carbonsweep.figures.page import MARKERS, PALETTE
from carbonsweep.figures.sheet import Sheet

ROOM = 1.15
"""How far beyond the farthest mark the axis goes."""
ABSENT = "no colocated\nconfiguration\nmeets the limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Of one question, model, region and link: the share saved (negative: it costs), and how far off it may be.

    None where there is nothing colocated, or no split, to compare, and where the error is unknown.
    """

    question: str
    model: str
    region: str
    link: str
    saves: float | None
    error: float | None


def placement_dots_figure(savings: Sequence[Saving], *, title: str, note: str, foot: str) -> Figure:
    """Panels in the order of questions (rows) and of each one's models (columns); regions from the top down."""
    questions = list(dict.fromkeys(each.question for each in savings))
    models = {name: list(dict.fromkeys(s.model for s in savings if s.question == name)) for name in questions}
    links = list(dict.fromkeys(each.link for each in savings))
    with matplotlib.rc_context({"text.parse_math": False}):
        columns = max(map(len, models.values()))
        sheet = Sheet.of(len(questions), columns, panel_in=(2.6, 1.7), title=title, note=note, foot=foot)
        for row, name in enumerate(questions):
            members = [each for each in savings if each.question == name]
            known = [each.saves for each in members if each.saves is not None]
            reach = (ROOM * min([0.0, *known]), ROOM * max([0.0, *known]))
            room = (ROOM - 1) * max(reach[1] - reach[0], 0.01)
            reach = (reach[0] - room, reach[1] + room)
            for column, model in enumerate(models[name]):
                axes = sheet.axes(row, column)
                axes.set_title(f"{model}\n{name}", loc="left", fontsize=7.5, fontweight="bold")
                _draw(axes, [each for each in members if each.model == model], links, reach, named=column == 0)
                axes.set_xlabel("saved by the best split" if row == len(questions) - 1 else "", fontsize=8)
        sheet.legend(
            [
                Line2D([], [], color=PALETTE[i], marker=MARKERS[i], linestyle="", markersize=5, label=f"over {link}")
                for i, link in enumerate(links)
            ]
        )
        return sheet.figure


def _draw(
    axes: Axes, members: Sequence[Saving], links: Sequence[str], reach: tuple[float, float], *, named: bool
) -> None:
    regions = list(dict.fromkeys(each.region for each in members))
    axes.axvline(0, color="#777777", linewidth=0.8)
    axes.set(xlim=reach, ylim=(len(regions) - 0.5, -0.5))
    axes.set_yticks(range(len(regions)), regions if named else [""] * len(regions))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if reach[1] - reach[0] > 0.1 else 1, symbol=" %"))
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    for each in members:
        if each.saves is None:
            continue
        link = links.index(each.link)
        y = regions.index(each.region) + 0.22 * (link - (len(links) - 1) / 2)
        axes.plot([each.saves], [y], color=PALETTE[link], marker=MARKERS[link], markersize=4, linestyle="", zorder=3)
    if all(each.saves is None for each in members):
        axes.text(0.5, 0.5, ABSENT, transform=axes.transAxes, ha="center", va="center", fontsize=8)
