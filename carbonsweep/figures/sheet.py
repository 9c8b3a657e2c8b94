"""The paper's pictures on one sheet: title, what to know before reading, legend, panels in rows, small print.

Laid out in inches from the top, and as high as its words need: nothing overlaps whatever the records say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from carbonsweep.figures.page import SMALL_PRINT, wrapped

TITLE_PT: Final = 11.5
NOTE_PT: Final = 8.5
SMALL_PT: Final = 7.0
LEGEND_IN: Final = 0.52
"""Inches for the legend and the titles of the first row."""
LINE: Final = 1.35 / 72
"""Inches of one line of text of one point."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure with `rows` x `columns` panels; `axes` makes them, `legend` fills the line above them."""

    figure: Figure
    rows: int
    columns: int
    panel_in: tuple[float, float]
    gap_in: float
    top_in: float
    legend_in: float

    LEFT = 0.8
    RIGHT = 0.25
    BETWEEN = 0.55
    UNDER = 0.55

    @classmethod
    def of(
        cls,
        rows: int,
        columns: int,
        *,
        panel_in: tuple[float, float],
        title: str,
        note: str,
        foot: str,
        gap_in: float = 0.25,
        legend: bool = True,
    ) -> Sheet:
        """`note` stands under the title, `foot` at the bottom; both are wrapped to the width."""
        over_panels = LEGEND_IN if legend else 0.6 * LEGEND_IN
        width = cls.LEFT + columns * panel_in[0] + (columns - 1) * gap_in + cls.RIGHT
        note_text = wrapped(note, width - 0.3, size_pt=NOTE_PT * 0.92, most=4)
        foot_text = wrapped(foot, width - 0.3, size_pt=SMALL_PT * 0.92, most=12)
        title_text = wrapped(title, width - 0.3, size_pt=TITLE_PT * 0.95, most=2)
        heights = [
            text.count("\n") * pt * LINE + pt * LINE
            for text, pt in ((title_text, TITLE_PT), (note_text, NOTE_PT), (foot_text, SMALL_PT))
        ]
        top = 0.1 + heights[0] + heights[1] + 0.06
        height = top + over_panels + rows * panel_in[1] + (rows - 1) * cls.BETWEEN + cls.UNDER + heights[2] + 0.12
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        left = 0.15 / width
        figure.text(left, 1 - 0.1 / height, title_text, fontsize=TITLE_PT, fontweight="bold", va="top")
        below = 1 - (0.1 + heights[0]) / height
        figure.text(left, below, note_text, fontsize=NOTE_PT, color=SMALL_PRINT, va="top", linespacing=1.25)
        figure.text(left, 0.1 / height, foot_text, fontsize=SMALL_PT, color=SMALL_PRINT, va="bottom", linespacing=1.25)
        return cls(figure, rows, columns, panel_in, gap_in, top + over_panels, top)

    def axes(self, row: int, column: int) -> Axes:
        """The panel at that place."""
        width, height = self.figure.get_size_inches()
        left = self.LEFT + column * (self.panel_in[0] + self.gap_in)
        bottom = height - self.top_in - (row + 1) * self.panel_in[1] - row * self.BETWEEN
        axes = self.figure.add_axes(
            (left / width, bottom / height, self.panel_in[0] / width, self.panel_in[1] / height)
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        return axes

    def legend(self, handles: list[Artist]) -> None:
        """One line of entries above the panels."""
        width, height = self.figure.get_size_inches()
        self.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.105 / width, 1 - self.legend_in / height),
            ncols=len(handles),
            frameon=False,
            fontsize=8,
            handletextpad=0.5,
            columnspacing=1.4,
            borderaxespad=0,
        )
