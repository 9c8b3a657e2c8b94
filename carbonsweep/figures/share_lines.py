"""Embodied share of total carbon over the GPU's lifetime: a panel for each model, a named line for each region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from carbonsweep.domain import TrialRecord
from carbonsweep.figures.batch_bars import draw_interval
from carbonsweep.figures.estimates import Estimate
from carbonsweep.figures.page import MARKERS, PALETTE
from carbonsweep.figures.sheet import Sheet
from carbonsweep.shares import percent

LINE_STYLES: Final = ("-", "--", ":", "-.")
APART: Final = 0.06
"""Names of lines are at least this share of the axis apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One point: the embodied share of a record under one region and lifetime; None where there is no price."""

    record: TrialRecord
    region: str
    years: float
    estimate: Estimate | None
    absent: str = ""

    @property
    def model(self) -> str:
        return self.record.configuration.model


def share_lines_figure(shares: Sequence[Share], models: Sequence[str], *, title: str, note: str, foot: str) -> Figure:
    """Panels in the order of `models`, one vertical axis for all of them, from zero."""
    with matplotlib.rc_context({"text.parse_math": False}):
        sheet = Sheet.of(1, len(models), panel_in=(3.3, 2.6), title=title, note=note, foot=foot, legend=False)
        regions = list(dict.fromkeys(share.region for share in shares))
        highest = max((share.estimate.high for share in shares if share.estimate is not None), default=1.0)
        for i, model in enumerate(models):
            axes = sheet.axes(0, i)
            members = [share for share in shares if share.model == model]
            years = sorted({share.years for share in members})
            axes.set(ylim=(0, 1.06 * highest), xlim=(years[0] - 0.35, years[-1] + 0.4 * (years[-1] - years[0] + 1)))
            axes.set_xticks(years, [f"{each:g}" for each in years])
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
            axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
            axes.set_title(model, loc="left", fontsize=9, fontweight="bold")
            axes.set_xlabel("GPU lifetime, years", fontsize=8.5)
            axes.set_ylabel("embodied share of total carbon" if i == 0 else "", fontsize=8.5)
            axes.tick_params(labelleft=i == 0)
            _draw(axes, members, regions)
        return sheet.figure


def _draw(axes: Axes, members: Sequence[Share], regions: Sequence[str]) -> None:
    ends: list[tuple[float, float, str, str]] = []
    for i, region in enumerate(regions):
        known = [(s.years, s.estimate) for s in members if s.region == region and s.estimate is not None]
        if not known:
            continue
        colour = PALETTE[i % len(PALETTE)]
        for years, estimate in known:
            x = years + 0.07 * (i - (len(regions) - 1) / 2)
            if estimate.high > estimate.low:
                draw_interval(axes, x, estimate.low, estimate.high)
        axes.plot(
            [years for years, _ in known],
            [estimate.value for _, estimate in known],
            color=colour,
            linestyle=LINE_STYLES[i % len(LINE_STYLES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            linewidth=1.6,
            label=region,
            zorder=5,
        )
        ends.append((known[-1][1].value, known[-1][0], region, colour))
    _name(axes, ends)
    if not ends and members:
        axes.text(0.5, 0.5, members[0].absent, transform=axes.transAxes, ha="center", fontsize=9)


def _name(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Region and last value at the ends of their lines, from the bottom up, pushed apart where they would touch."""
    height = axes.get_ylim()[1]
    reached = -0.5 * APART * height
    for value, years, region, colour in sorted(ends):
        reached = max(value, reached + APART * height)
        text = f"{region} {percent(value, 1)}"
        axes.text(years + 0.18, reached, text, color=colour, fontsize=8, fontweight="bold", va="center")
