"""Operational beside embodied carbon: the best configuration of each model and of each GPU kind as stacked bars."""

from __future__ import annotations

from typing import Any, Final

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from carbonsweep.answer import Answer, Candidate
from carbonsweep.carbon.footprint import embodied_share
from carbonsweep.domain import Footprint
from carbonsweep.figures.page import Page, digits, footer, mass_unit, short
from carbonsweep.search.objectives import UNITS
from carbonsweep.shares import percent

OPERATIONAL_COLOUR: Final = "#0072B2"
EMBODIED: Final[dict[str, Any]] = {"facecolor": "#E69F00", "hatch": "////", "edgecolor": "white", "linewidth": 0}
"""Hatched, so that grey will do."""

_Priced = tuple[Candidate, Footprint]


def embodied_figure(answer: Answer) -> Figure | None:
    """Operational and embodied grams of the best configuration of each model and of each GPU kind, as stacked bars.

    The error bars span the embodied presets (each with its own range). None where no candidate has a footprint.
    """
    priced = [(c, c.footprint) for c in answer.feasible if c.footprint is not None]
    if not priced:
        return None
    best_of_model: dict[str, _Priced] = {}
    best_of_gpu: dict[str, _Priced] = {}
    for candidate, footprint in priced:
        best_of_model.setdefault(candidate.record.configuration.model, (candidate, footprint))
        best_of_gpu.setdefault(candidate.record.configuration.gpu, (candidate, footprint))
    unit, factor = mass_unit(footprint.total_g for _, footprint in (*best_of_model.values(), *best_of_gpu.values()))
    with matplotlib.rc_context({"text.parse_math": False}):
        best_by = f"by {answer.question.objectives[0].label}"
        rows = max(len(best_of_model), len(best_of_gpu))
        page = Page.of(2, height_in=max(1.6, 0.55 * rows + 0.4))
        per = UNITS[answer.question.scenario.functional_unit]
        for i, (kind, best) in enumerate((("model", best_of_model), ("GPU kind", best_of_gpu))):
            axes = page.axes(i)
            _draw(axes, answer, best, factor, rows)
            axes.set_title(f"Best configuration of each {kind} ({best_by})", loc="left", fontsize=11, fontweight="bold")
            axes.set_xlabel(f"{unit} CO2e per {per}", fontsize=9.5)
        page.footer(footer(answer))
        page.legend(_entries())
        return page.figure


def _draw(axes: Axes, answer: Answer, best: dict[str, _Priced], factor: float, rows: int) -> None:
    """A bar per name: operational, then embodied with its range over the presets."""
    axes.set(yticks=[], ylim=(rows - 0.45, -0.75))
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
    widest = 0.0
    for i, (candidate, priced) in enumerate(best.values()):
        operational, embodied = priced.operational_g * factor, priced.embodied_g * factor
        ends = (operational + priced.embodied_low_g * factor, operational + priced.embodied_high_g * factor)
        reach = max(ends[1], operational + embodied)
        axes.barh(i, operational, height=0.42, color=OPERATIONAL_COLOUR)
        axes.barh(i, embodied, left=operational, height=0.42, **EMBODIED)
        axes.plot(ends, (i, i), color="black", linewidth=1.1, marker="|", markersize=7)
        split = f"{digits(operational + embodied)}, {percent(embodied_share(priced) or 0.0)} embodied"
        axes.annotate(split, (reach, i), (5, 0), fontsize=8, **beside)
        axes.annotate(short(candidate, answer), (0, i - 0.36), (1, 0), fontsize=8.5, **beside)
        widest = max(widest, reach)
    axes.set_xlim(0, widest * 1.45 or 1.0)  # where nothing emits, every bar is a line


def _entries() -> list[Artist]:
    return [
        Patch(color=OPERATIONAL_COLOUR, label="operational"),
        Patch(**EMBODIED, label="embodied"),
        Line2D([], [], color="black", marker="|", linewidth=1.1, label="range over the\nembodied presets"),
    ]
