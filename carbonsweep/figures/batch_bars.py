"""Bars over batch sizes, one for each GPU kind: linear or logarithmic, stacked on embodied carbon, OOM in its place.

GPU kinds differ in colour, in lightness and in hatch; the embodied part of a stack is hatched in its GPU's colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from carbonsweep.figures.cells import Cell
from carbonsweep.figures.estimates import Estimate
from carbonsweep.figures.page import PALETTE
from carbonsweep.figures.sheet import Sheet
from carbonsweep.shares import percent

HATCHES: Final = ("", "....", "xxxx", "----", "||||", "oooo", "++++")
EMBODIED_HATCH: Final = "//////"
INTERVAL: Final[dict[str, Any]] = {
    "color": "black",
    "linewidth": 0.8,
    "zorder": 4,
    "path_effects": [Stroke(linewidth=2.0, foreground="white"), Normal()],
}
"""With a white rim, so that it is seen on any bar."""
MARK_ROOM: Final = 1.22
"""A linear axis goes on so much further than what is drawn: room for marks and percentages."""
MOST_OVER: Final = 2.0
"""A linear axis ends at so many times its highest value: an interval beyond is cut off, with an arrow at its end."""
MOST_SHARES: Final = 42
"""More stacked bars than this carry no percentage."""

Best = Literal["highest", "lowest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One set of bars. `best` marks the highest or lowest bar of each GPU kind."""

    title: str
    label: str
    cells: Sequence[Cell]
    logarithmic: bool
    best: Best | None = None


def bars_figure(
    rows: Sequence[Sequence[Panel]], *, title: str, note: str, foot: str, panel_in: tuple[float, float]
) -> Figure:
    """Panels in rows; a row shares its vertical axis where all its panels have the same label."""
    with matplotlib.rc_context({"text.parse_math": False, "hatch.linewidth": 0.6}):
        columns = max(map(len, rows))
        apart = any(len({panel.label for panel in row}) > 1 for row in rows)
        sheet = Sheet.of(
            len(rows), columns, panel_in=panel_in, title=title, note=note, foot=foot, gap_in=0.95 if apart else 0.25
        )
        gpus = sorted({cell.gpu for row in rows for panel in row for cell in panel.cells})
        for i, row in enumerate(rows):
            for j, panel in enumerate(row):
                axes = sheet.axes(i, j)
                alone = apart or j == 0
                _draw(axes, panel, gpus, [panel] if apart else row)
                axes.set_ylabel(panel.label if alone else "", fontsize=8.5)
                axes.tick_params(labelleft=alone)
                if i == len(rows) - 1:
                    axes.set_xlabel("batch size (prompts)", fontsize=8.5)
        sheet.legend(_entries(rows, gpus))
        return sheet.figure


def colour_of(gpu: str, gpus: Sequence[str]) -> Any:
    """The colour of a GPU kind among those of the picture."""
    place = gpus.index(gpu)
    if len(gpus) > len(PALETTE):
        return matplotlib.colormaps["cividis"](place / len(gpus))
    return PALETTE[place]


def _draw(axes: Axes, panel: Panel, gpus: Sequence[str], row: Sequence[Panel]) -> None:
    batches = sorted({cell.batch_size for each in row for cell in each.cells})
    width = 0.84 / len(gpus)
    low, high = _span(row)
    axes.set(xlim=(-0.6, len(batches) - 0.4), ylim=(low, high))
    if panel.logarithmic:
        axes.set_yscale("log")
        decades = math.log10(high / low)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
    axes.set_title(panel.title, loc="left", fontsize=9, fontweight="bold")
    stacked = sum(cell.estimate is not None and cell.estimate.embodied is not None for cell in panel.cells)
    for cell in panel.cells:
        x = batches.index(cell.batch_size) + (gpus.index(cell.gpu) - (len(gpus) - 1) / 2) * width
        _bar(axes, cell, x, width, gpus)
        if cell.estimate is not None and 0 < stacked <= MOST_SHARES:
            _write_share(axes, cell, x)
    if panel.best is not None:
        _mark_best(axes, panel, batches, gpus, width)


def _bar(axes: Axes, cell: Cell, x: float, width: float, gpus: Sequence[str]) -> None:
    colour = colour_of(cell.gpu, gpus)
    if cell.estimate is None:
        at = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "rotation": 90}
        axes.text(x, 0.02, cell.absent, fontsize=6.5, color="#222222", **at)  # type: ignore[arg-type]
        return
    embodied = cell.estimate.embodied or 0.0
    body: dict[str, Any] = {"color": colour, "edgecolor": "white", "linewidth": 0, "width": 0.94 * width, "zorder": 2}
    if cell.estimate.embodied is None:
        body["hatch"] = HATCHES[gpus.index(cell.gpu) % len(HATCHES)]
    axes.bar(x, cell.estimate.value - embodied, bottom=embodied, **body)
    if embodied:
        axes.bar(x, embodied, width=0.94 * width, facecolor="white", edgecolor=colour, hatch=EMBODIED_HATCH, zorder=3,
                 linewidth=0.8)  # fmt: skip
    if cell.estimate.high > cell.estimate.low:
        top = _top(axes, cell.estimate)
        # The end of the axis is a product: only what is clearly beyond it is cut.
        cut = top < cell.estimate.high * (1 - 1e-9)
        draw_interval(axes, x, max(cell.estimate.low, axes.get_ylim()[0]), top, cut=cut)


def draw_interval(axes: Axes, x: float, low: float, high: float, *, cut: bool = False) -> None:
    """An upright line with an end at `low` and at `high`, or an arrow there where it goes on."""
    axes.plot([x, x], [low, high], **INTERVAL)
    ends: dict[str, Any] = {"color": "black", "linestyle": "none", "zorder": 4.1}
    axes.plot([x] if cut else [x, x], [low] if cut else [low, high], marker="_", markersize=3.2, **ends)
    if cut:
        axes.plot([x], [high], marker="^", markersize=4, **ends)


def _top(axes: Axes, estimate: Estimate) -> float:
    """Where the interval ends in the picture: marks go above."""
    return min(estimate.high, axes.get_ylim()[1] / MARK_ROOM) if axes.get_yscale() == "linear" else estimate.high


def _write_share(axes: Axes, cell: Cell, x: float) -> None:
    """The embodied percentage above its bar: in a logarithmic stack the eye cannot read it."""
    assert cell.estimate is not None
    share = cell.estimate.embodied_share
    if share is not None:
        text = percent(share, 1) if share < 0.1 else percent(share)
        at = (x, _top(axes, cell.estimate))
        axes.annotate(text, at, (0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=6, rotation=90)


def best_cell(cells: Iterable[Cell], best: Best) -> Cell | None:
    """The cell with the highest or lowest value; the smallest batch of equals, None where none has a value."""
    known = [cell for cell in cells if cell.estimate is not None]
    sign = -1 if best == "highest" else 1
    return min(known, key=lambda c: (sign * (c.estimate.value if c.estimate else 0), c.batch_size), default=None)


def _mark_best(axes: Axes, panel: Panel, batches: Sequence[int], gpus: Sequence[str], width: float) -> None:
    for i, gpu in enumerate(gpus):
        cell = best_cell((cell for cell in panel.cells if cell.gpu == gpu), panel.best or "highest")
        if cell is None or cell.estimate is None:
            continue
        x = batches.index(cell.batch_size) + (i - (len(gpus) - 1) / 2) * width
        # Above the interval, and above the percentage of a stacked bar.
        over = 13 if cell.estimate.embodied is None else 27
        at = (x, _top(axes, cell.estimate))
        look: dict[str, Any] = {"fontsize": 10, "color": colour_of(gpu, gpus), "zorder": 6}
        axes.annotate("★", at, (0, over), textcoords="offset points", ha="center", va="center", **look)


def _span(row: Sequence[Panel]) -> tuple[float, float]:
    """Limits of the vertical axis that all panels of a row share; room above for marks."""
    shown = [cell.estimate for panel in row for cell in panel.cells if cell.estimate is not None]
    if not shown:
        return 0.1, 1.0
    high = max(each.high if math.isfinite(each.high) else each.value for each in shown)
    marks = row[0].best is not None or any(each.embodied is not None for each in shown)
    if not row[0].logarithmic:
        return 0.0, min(high, MOST_OVER * max(each.value for each in shown)) * MARK_ROOM
    # An interval that reaches down to nothing would take decades of paper.
    low = min(min(max(each.low, each.value / 6), each.embodied or math.inf) for each in shown) / 1.5
    return low, high * (high / low) ** (0.2 if marks else 0.05)


def _is_cut(row: Sequence[Panel]) -> bool:
    """Whether an interval of a linear panel goes on beyond its axis."""
    shown = [cell.estimate for panel in row if not panel.logarithmic for cell in panel.cells if cell.estimate]
    return bool(shown) and max(each.high for each in shown) > MOST_OVER * max(each.value for each in shown)


def _entries(rows: Sequence[Sequence[Panel]], gpus: Sequence[str]) -> list[Artist]:
    panels = [panel for row in rows for panel in row]
    shown = [cell for panel in panels for cell in panel.cells]
    stacked = any(cell.estimate is not None and cell.estimate.embodied is not None for cell in shown)
    entries: list[Artist] = []
    for i, gpu in enumerate(gpus):
        hatch = "" if stacked else HATCHES[i % len(HATCHES)]
        fill = {"facecolor": colour_of(gpu, gpus), "edgecolor": "white", "hatch": hatch, "linewidth": 0}
        entries.append(Patch(**fill, label=f"{gpu}, operational" if stacked else gpu))
        if stacked:
            colour = colour_of(gpu, gpus)
            entries.append(Patch(facecolor="white", edgecolor=colour, hatch=EMBODIED_HATCH, label=f"{gpu}, embodied"))
    if any(cell.estimate is not None and cell.estimate.high > cell.estimate.low for cell in shown):
        cut = " (arrow: goes on)" if any(map(_is_cut, rows)) else ""
        entries.append(Line2D([], [], marker="|", markersize=5, label=f"95 % interval{cut}", **INTERVAL))
    star: dict[str, Any] = {"marker": "*", "color": "#666666", "linestyle": "none", "markersize": 8}
    marked = dict.fromkeys(panel.best for panel in panels if panel.best is not None)
    return [*entries, *(Line2D([], [], **star, label=f"{best} of its GPU") for best in marked)]
