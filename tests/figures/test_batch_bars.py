"""Bars over batch sizes: their heights, stacks, scales, OOM in its place, best marked, intervals cut with a sign."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from carbonsweep.figures.batch_bars import EMBODIED_HATCH, Best, Panel, bars_figure, best_cell
from carbonsweep.figures.cells import Cell
from carbonsweep.figures.estimates import Estimate
from carbonsweep.figures.page import PALETTE
from tests.conftest import TOO_BIG, configuration, measurement, record


def cell(gpu: str, batch_size: int, value: float | None, spread: float = 0.1, embodied: float | None = None) -> Cell:
    where = configuration(gpu=gpu, batch_size=batch_size)
    estimate = None
    if value is not None:
        estimate = Estimate(value=value, low=value * (1 - spread), high=value * (1 + spread), embodied=embodied)
    found = record(where, TOO_BIG if value is None else measurement())
    absent = "OOM" if value is None else ""
    return Cell(quantity="q", unit="s", group="g", record=found, estimate=estimate, absent=absent)


def figure_of(cells: Sequence[Cell], *, logarithmic: bool = False, best: Best | None = None) -> Figure:
    panel = Panel(title="A", label="q, s", cells=cells, logarithmic=logarithmic, best=best)
    return bars_figure([[panel]], title="Title", note="Note.", foot="Foot.", panel_in=(4.0, 2.0))


def bars(axes: Axes) -> list[tuple[float, float, float]]:
    """Centre, bottom and top of each bar, from the left."""
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return sorted((b.get_x() + b.get_width() / 2, b.get_y(), b.get_y() + b.get_height()) for b in found)


def texts(figure: Figure) -> list[str]:
    return [artist.get_text() for artist in figure.findobj(Text) if isinstance(artist, Text)]


def test_each_gpu_has_a_bar_as_high_as_its_value_at_its_batch_size() -> None:
    axes = figure_of([cell("T4", 1, 3.0), cell("RTX6000Ada", 1, 2.0), cell("T4", 8, 5.0)]).axes[0]
    # The Ada is left of the T4 (by name), batch 1 at 0 and batch 8 at 1.
    assert [top for _, _, top in bars(axes)] == [2.0, 3.0, 5.0]
    (ada, *_), (t4, *_), (eight, *_) = bars(axes)
    assert ada < 0 < t4 < 0.5 < eight
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "8"]


def test_what_does_not_fit_says_so_where_its_bar_would_be() -> None:
    axes = figure_of([cell("T4", 1, 3.0), cell("T4", 8, None)]).axes[0]
    (mark,) = (text for text in axes.texts if text.get_text() == "OOM")
    assert mark.get_position()[0] == pytest.approx(1.0)
    assert len(bars(axes)) == 1


def test_a_stack_stands_on_its_embodied_part_which_is_hatched_in_its_gpus_colour() -> None:
    figure = figure_of([cell("T4", 1, 4.0, embodied=1.0)])
    patches = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    (embodied,) = (p for p in patches if p.get_hatch() == EMBODIED_HATCH)
    (operational,) = (p for p in patches if p is not embodied)
    assert (embodied.get_y(), embodied.get_height()) == (0.0, 1.0)
    assert (operational.get_y(), operational.get_height()) == (1.0, 3.0)
    assert to_hex(embodied.get_edgecolor()).upper() == to_hex(operational.get_facecolor()).upper() == PALETTE[0]
    # Its share is written, because a logarithmic stack does not show it.
    assert "25 %" in texts(figure)
    assert {"T4, operational", "T4, embodied", "95 % interval"} <= set(texts(figure))


def test_a_logarithmic_axis_reaches_below_the_smallest_embodied_part() -> None:
    axes = figure_of([cell("T4", 1, 100.0, embodied=0.5), cell("T4", 2, 200.0, embodied=2.0)], logarithmic=True).axes[0]
    assert axes.get_ylim()[0] < 0.5


def test_gpus_differ_in_colour_and_in_hatch() -> None:
    axes = figure_of([cell("T4", 1, 3.0), cell("RTX6000Ada", 1, 2.0), cell("L4", 1, 1.0)]).axes[0]
    patches = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len({patch.get_hatch() for patch in patches}) == 3
    assert len({to_hex(patch.get_facecolor()) for patch in patches}) == 3


@pytest.mark.parametrize(("logarithmic", "scale"), [(True, "log"), (False, "linear")])
def test_the_scale_is_the_one_asked_for(logarithmic: bool, scale: str) -> None:
    axes = figure_of([cell("T4", 1, 3.0), cell("T4", 2, 300.0)], logarithmic=logarithmic).axes[0]
    assert axes.get_yscale() == scale
    assert (axes.get_ylim()[0] == 0) == (not logarithmic)


@pytest.mark.parametrize(("best", "expected"), [("highest", 8), ("lowest", 4)])
def test_the_best_batch_of_each_gpu_carries_a_star(best: Best, expected: int) -> None:
    cells = [cell("T4", 1, 3.0), cell("T4", 4, 2.0), cell("T4", 8, 5.0), cell("T4", 16, None)]
    figure = figure_of(cells, best=best)
    (star,) = (text for text in figure.axes[0].texts if text.get_text() == "★")
    batches = [1, 4, 8, 16]
    assert batches[round(star.xy[0])] == expected  # type: ignore[attr-defined]
    assert f"{best} of its GPU" in texts(figure)
    found = best_cell(cells, best)
    assert found is not None
    assert found.batch_size == expected


def test_nothing_is_best_where_nothing_is_known() -> None:
    assert best_cell([cell("T4", 1, None)], "highest") is None
    assert "★" not in texts(figure_of([cell("T4", 1, None)], best="highest"))


def test_an_interval_is_drawn_from_end_to_end() -> None:
    axes = figure_of([cell("T4", 1, 10.0, spread=0.2)]).axes[0]
    lines = [line for line in axes.get_lines() if line.get_linestyle() != "None"]
    assert [np.asarray(line.get_ydata()).tolist() for line in lines] == [[8.0, 12.0]]


def test_an_interval_that_would_dwarf_the_bars_is_cut_and_the_legend_says_so() -> None:
    wide = figure_of([cell("T4", 1, 10.0), cell("T4", 2, 9.0, spread=9.0)])
    assert wide.axes[0].get_ylim()[1] < 30
    assert "95 % interval (arrow: goes on)" in texts(wide)
    assert [line for line in wide.axes[0].get_lines() if line.get_marker() == "^"]
    assert "95 % interval" in texts(figure_of([cell("T4", 1, 10.0)]))
    # What ends at the end of the axis is whole, whatever the last digit of 1.22 x high / 1.22 is.
    for value in np.linspace(1, 2, 40):
        whole = figure_of([cell("T4", 1, float(value), spread=0.53)])
        assert not [line for line in whole.axes[0].get_lines() if line.get_marker() == "^"], value


def test_panels_of_a_row_share_their_axis_and_every_word_is_there() -> None:
    low, high = (
        Panel(title=title, label="q, s", cells=[cell("T4", 1, value)], logarithmic=True)
        for title, value in (("A", 1.0), ("B", 50.0))
    )
    figure = bars_figure([[low, high]], title="Title", note="Note.", foot="Foot.", panel_in=(3.0, 2.0))
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert {"Title", "Note.", "Foot.", "T4"} <= set(texts(figure))
    assert [axes.get_ylabel() for axes in figure.axes] == ["q, s", ""]
