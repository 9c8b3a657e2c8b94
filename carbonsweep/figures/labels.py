"""Names and batch sizes, written into a Pareto picture where there is room and left out where there is none."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axes import Axes

from carbonsweep.answer import Answer, Candidate
from carbonsweep.figures.page import drawn, short

MOST_LABELLED: Final = 60
"""More points than this carry no batch labels."""
POINT_PX: Final = 4.5
RING_PX: Final = 8.0

FAR: Final = [(dx, dy) for d in (16, 28, 42, 60, 84) for dx in (d, -d) for dy in (0.8 * d, -0.8 * d, 0.0)] + [
    (dx, dy) for d in (40, 60, 80, 110, 140) for dx in (0.0, 16, -16, d, -d) for dy in (d, -d)
]
"""Offsets in points at which a name is tried."""
PAPER: Final = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
"""Behind a name: lines and hatches stop there."""
ARROW: Final = {"arrowstyle": "-", "color": "black", "linewidth": 0.8, "shrinkB": 7}
NAME: Final[dict[str, Any]] = {"arrowprops": ARROW, "bbox": PAPER, "zorder": 6}

Point = tuple[float, float]
_Box = tuple[float, float, float, float]
"""Left, bottom, right and top in pixels."""


def label(
    axes: Axes,
    answer: Answer,
    points: Mapping[str, Point],
    corner: Literal["post", "pre"] | None,
    knee: Candidate | None = None,
) -> None:
    """Ring and name the recommended configuration and the knee, then write batch sizes where there is room.

    `corner` is how the front steps from point to point, None where no line is drawn.
    """
    ground = _Ground(axes, [], [])
    ringed = {c.record.key for c in answer.front} if corner is None else set()
    for key, point in points.items():
        ground.keep_off(point, RING_PX if key in ringed else POINT_PX)
    if corner is not None:
        ground.keep_off_steps(sorted(points[c.record.key] for c in answer.front), corner)
    if answer.best is not None:
        at = points[answer.best.record.key]
        axes.plot(*at, marker="o", markersize=13, mfc="none", mec="black", mew=1.6, linestyle="none", zorder=5)
        ground.keep_off(at, 2.2 * POINT_PX)
        also = " (knee)" if knee is answer.best else ""
        # No room at all: the legend's ring still tells which point it is, and the page and terminal name it.
        ground.write(f"{short(answer.best, answer)}{also}", at, FAR, 8.5, fontweight="bold", **NAME)
    if knee is not None and knee is not answer.best:
        at = points[knee.record.key]
        ground.keep_off(at, 2.2 * POINT_PX)
        ground.write(f"knee: {short(knee, answer)}", at, FAR, 8, **NAME)
    if len(points) > MOST_LABELLED:
        return
    near = [(0.0, 8.0), (6.0, 4.0), (0.0, -8.0), (-6.0, 4.0), (6.0, -4.0), (-6.0, -4.0)]
    waiting = {c.record.key: c for c in (*answer.front, *drawn(answer)) if c is not answer.best and c is not knee}
    for key, candidate in waiting.items():
        offsets = [(1.7 * dx, 1.5 * dy) for dx, dy in near] if key in ringed else near
        ground.write(f"b{candidate.record.configuration.batch_size}", points[key], offsets, 6.5, color="#555555")


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is already drawn, as boxes, and where a text still fits; `names` are the texts, which no arrow crosses."""

    axes: Axes
    boxes: list[_Box]
    names: list[_Box]

    def write(self, text: str, at: Point, offsets: Iterable[Point], size_pt: float, **style: Any) -> None:
        """Write at the first offset (in points) from `at` that is free and inside the axes, if there is one."""
        px = self.axes.figure.dpi / 72
        x, y = self.axes.transData.transform(at)
        width, height = 0.62 * size_pt * len(text) * px, 1.15 * size_pt * px
        for dx, dy in offsets:
            left = x + dx * px - (width if dx < 0 else width / 2 if dx == 0 else 0)
            bottom = y + dy * px - height / 2
            box = (left, bottom, left + width, bottom + height)
            arrow = _along((x, y), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)) if "arrowprops" in style else []
            if self._is_free(box) and not any(_overlap(dot, name) for dot in arrow for name in self.names):
                self.boxes.extend([box, *arrow])
                self.names.append(box)
                align = "right" if dx < 0 else "center" if dx == 0 else "left"
                self.axes.annotate(
                    text, at, (dx, dy), textcoords="offset points", ha=align, va="center", fontsize=size_pt, **style
                )
                return

    def _is_free(self, box: _Box) -> bool:
        within = self.axes.bbox
        inside = within.x0 <= box[0] and box[2] <= within.x1 and within.y0 <= box[1] and box[3] <= within.y1
        return bool(inside) and not any(_overlap(box, other) for other in self.boxes)

    def keep_off(self, at: Point, radius_px: float) -> None:
        x, y = self.axes.transData.transform(at)
        self.boxes.append((x - radius_px, y - radius_px, x + radius_px, y + radius_px))

    def keep_off_steps(self, front: Sequence[Point], corner: Literal["post", "pre"]) -> None:
        for (x0, y0), (x1, y1) in itertools.pairwise(self.axes.transData.transform(point) for point in front):
            level, upright = (y0, x1) if corner == "post" else (y1, x0)
            self.boxes.append((min(x0, x1), level - 1, max(x0, x1), level + 1))
            self.boxes.append((upright - 1, min(y0, y1), upright + 1, max(y0, y1)))


def _along(start: Point, end: Point) -> list[_Box]:
    """Dots on the way between two points in pixels, the start left out: others may lie there."""
    shares = [i / 24 for i in range(1, 25)]
    middles = [tuple(a + share * (b - a) for a, b in zip(start, end, strict=True)) for share in shares]
    return [(x - 1, y - 1, x + 1, y + 1) for x, y in middles]


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
