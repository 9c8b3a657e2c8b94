"""The map of winners: carbon intensity across, lifetime up, the configuration of least carbon as colour and hatch.

Its boundaries are the closed form of `carbon.break_even`, not a raster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from carbonsweep.carbon.load import load_words
from carbonsweep.carbon.write_off import second_life_words
from carbonsweep.domain import Scenario
from carbonsweep.figures.foundation import foundation
from carbonsweep.figures.page import PALETTE, SMALL_PRINT, wrapped
from carbonsweep.search.objectives import LIMIT_NAMES, UNITS
from carbonsweep.units import S_PER_YEAR
from carbonsweep.winners import YEARS, Field, View, g_years, regions

HATCHES: Final = ("", "////", "....", "\\\\\\\\", "xxxx", "||||", "----", "++++")
PAPER_REGIONS: Final = ("QC", "CISO", "PACE")
CLOSE: Final = 1.02
"""Regions whose intensities differ by less share a mark."""
PANEL_IN: Final = (4.5, 3.5)
LEFT, GAP, RIGHT, TOP, BOTTOM = 0.65, 0.35, 2.1, 1.85, 1.1


def winner_map(field: Field, views: Sequence[View]) -> Figure:
    """One panel per view, side by side, with one legend."""
    width = LEFT + len(views) * PANEL_IN[0] + (len(views) - 1) * GAP + RIGHT
    height = TOP + PANEL_IN[1] + BOTTOM
    with matplotlib.rc_context({"text.parse_math": False, "hatch.linewidth": 0.7}):
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        looks = _looks(field, views)
        for i, view in enumerate(views):
            left = LEFT + i * (PANEL_IN[0] + GAP)
            box = (left / width, BOTTOM / height, PANEL_IN[0] / width, PANEL_IN[1] / height)
            _draw(figure.add_axes(box), field, view, looks, labelled=i == 0)
        _caption(figure, field, looks)
        return figure


def _looks(field: Field, views: Sequence[View]) -> dict[int, dict[str, Any]]:
    """Colour by GPU kind, hatch by its configurations, of everybody who wins somewhere in the picture."""
    high = max(_span(field.scenario)) * YEARS[-1]
    low = min(_span(field.scenario)) * YEARS[0]
    shown = sorted(
        {one.place for view in views for one in view.reigns if g_years(one.high) > low and g_years(one.low) < high}
    )
    gpus = sorted({field.records[place].configuration.gpu for place in shown})
    colours = {gpu: PALETTE[i % len(PALETTE)] for i, gpu in enumerate(gpus)}
    looks: dict[int, dict[str, Any]] = {}
    for place in shown:
        gpu = field.records[place].configuration.gpu
        before = sum(field.records[other].configuration.gpu == gpu for other in looks)
        # A kind of its own hatch to start with: in grey two colours may look alike.
        start = list(colours).index(gpu) + before * len(colours)
        looks[place] = {
            "facecolor": _pale(colours[gpu]),
            "edgecolor": colours[gpu],
            "hatch": HATCHES[start % len(HATCHES)],
        }
    return looks


def _pale(colour: str) -> tuple[float, float, float]:
    red, green, blue = (0.45 * part + 0.55 for part in to_rgb(colour))
    return red, green, blue


def _span(scenario: Scenario) -> tuple[float, float]:
    known = list(regions(scenario).values())
    return min(known) / 1.25, max(known) * 1.25


def _draw(axes: Axes, field: Field, view: View, looks: Mapping[int, dict[str, Any]], *, labelled: bool) -> None:
    low, high = _span(field.scenario)
    xs = np.geomspace(low, high, 400)
    for one in view.reigns:
        bottom, top = (np.clip(g_years(end) / xs, YEARS[0], YEARS[-1]) for end in (one.low, one.high))
        if one.place in looks:
            axes.fill_between(xs, bottom, top, where=top > bottom, linewidth=0, **looks[one.place])
        if math.isfinite(one.high):
            edge = g_years(one.high) / xs
            axes.plot(
                xs, np.where((edge >= YEARS[0]) & (edge <= YEARS[-1]), edge, np.nan), color="black", linewidth=1.4
            )
    axes.set(xscale="log", xlim=(low, high), ylim=(YEARS[0], YEARS[-1]), yticks=YEARS)
    axes.xaxis.set_major_locator(FixedLocator([x for x in (5, 10, 20, 50, 100, 200, 500, 1000) if low <= x <= high]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=8.5)
    axes.set_xlabel("carbon intensity, g CO2e per kWh", fontsize=9)
    if labelled:
        axes.set_ylabel("GPU lifetime, years", fontsize=9)
    else:
        axes.set_yticklabels([])
    # The kilograms of those that win somewhere: of all, they would not fit.
    winning = {field.records[place].configuration.gpu for place in looks}
    kilograms = ", ".join(f"{kind} {kg:.3g} kg" for kind, kg in view.kg.items() if kind in winning)
    what = "charged: " if field.scenario.second_life else ""
    below = wrapped(f"{what}{kilograms}", PANEL_IN[0], size_pt=9, most=1)
    axes.set_title(f"{view.name}\n{below}", fontsize=9, fontweight="bold", loc="left", pad=60)
    _mark_regions(axes, field.scenario)
    _mark_here(axes, field.scenario)


def _mark_regions(axes: Axes, scenario: Scenario) -> None:
    """A tick and a name above the panel for each region, those of (nearly) one intensity together."""
    groups: list[tuple[float, list[str]]] = []
    for name, value in regions(scenario).items():
        if groups and value <= CLOSE * groups[-1][0]:
            groups[-1][1].append(name)
        else:
            groups.append((value, [name]))
    low, high = axes.get_xlim()
    places = [math.log(value / low) / math.log(high / low) for value, _ in groups]
    for place, spread, (value, names) in zip(places, _spread(places, 0.031), groups, strict=True):
        own = [name for name in PAPER_REGIONS if name in names]
        axes.axvline(value, color="black", linewidth=0.9 if own else 0.35, linestyle=(0, (4, 3)), zorder=3)
        axes.annotate(
            ", ".join(own or names[:2]),
            (place, 1.0),
            (spread, 1.045),
            xycoords=axes.transAxes,
            textcoords=axes.transAxes,
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=6,
            fontweight="bold" if own else "normal",
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 0, "relpos": (0.5, 0)},
            annotation_clip=False,
        )


def _spread(places: Sequence[float], gap: float) -> list[float]:
    """The same places, moved apart to `gap` as little as that takes, inside 0 to 1."""
    moved = list(places)
    for _ in range(500):
        for i in range(len(moved) - 1):
            lacking = gap - (moved[i + 1] - moved[i])
            if lacking > 0:
                moved[i] -= lacking / 2
                moved[i + 1] += lacking / 2
        moved = [min(max(place, 0.0), 1.0) for place in moved]
    return moved


def _mark_here(axes: Axes, scenario: Scenario) -> None:
    if scenario.intensity is not None and scenario.intensity.g_per_kwh > 0:
        here = (scenario.intensity.g_per_kwh, scenario.lifetime_s / S_PER_YEAR)
        axes.plot(*here, marker="*", markersize=13, color="white", markeredgecolor="black", zorder=6, clip_on=True)


def _caption(figure: Figure, field: Field, looks: Mapping[int, dict[str, Any]]) -> None:
    """Title, legend and small print: what competes, what it rests on, what prices it."""
    width, height = figure.get_size_inches()
    title, below, small = _texts(field)
    figure.text(LEFT / width, 1 - 0.12 / height, title, fontsize=12, fontweight="bold", va="top")
    figure.text(LEFT / width, 1 - 0.38 / height, below, fontsize=9, color=SMALL_PRINT, va="top")
    footer = wrapped(small, width - 0.4, size_pt=7.5, most=6)
    figure.text(0.2 / width, 0.12 / height, footer, fontsize=7.5, color=SMALL_PRINT, va="bottom")
    handles: list[Any] = [Patch(label=field.name(place), linewidth=0.5, **look) for place, look in looks.items()]
    handles.append(
        Line2D(
            [],
            [],
            color="black",
            linewidth=1.4,
            label="both emit the same\n(closed form:\nintensity x lifetime\nis constant)",
        )
    )
    handles.append(Line2D([], [], color="black", linewidth=0.6, linestyle=(0, (4, 3)), label="a region of the table"))
    if field.scenario.intensity is not None:
        star: dict[str, Any] = {
            "marker": "*",
            "markersize": 11,
            "color": "white",
            "markeredgecolor": "black",
            "linestyle": "none",
        }
        handles.append(Line2D([], [], label="the scenario", **star))
    corner = ((width - RIGHT + 0.12) / width, (height - TOP) / height)
    figure.legend(
        handles=handles, title="least total carbon", alignment="left", loc="upper left", bbox_to_anchor=corner,
        frameon=False, fontsize=8.5, title_fontsize=9, borderaxespad=0, handlelength=2.6, handleheight=1.8,
    )  # fmt: skip


def _batches(batches: Sequence[int]) -> str:
    return f"batch size{'s' * (len(batches) > 1)} {', '.join(map(str, batches))}"


def _texts(field: Field) -> tuple[str, str, str]:
    """Title, the line below, and the small print."""
    priced, model = field.scenario, field.records[0].configuration.model
    bases = " and ".join(sorted({record.identity.basis for record in field.records}))
    batches = sorted({record.configuration.batch_size for record in field.records})
    limits = ", ".join(f"{LIMIT_NAMES[name]} at most {limit:g} s" for name, limit in field.slo.limits().items())
    small = [
        foundation(field.records),
        f"Priced with PUE {priced.pue:g}, {load_words(priced)},",
        f"host {priced.host_power_w:g} W and {priced.host_embodied_kg:g} kg a device.",
        f"Second life: {second_life_words(priced)}.",
        "Lowest and highest figures are taken for all GPUs at once; all GPUs live equally long.",
        "Regions: yearly means of the fact table.",
    ]
    return (
        f"Who serves {model} with the least carbon, by grid and GPU lifetime: {bases}",
        f"CO2e per {UNITS[priced.functional_unit]}; {_batches(batches)}; limits: {limits or 'none'}",
        " ".join(small),
    )
