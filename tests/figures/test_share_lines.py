"""Shares over lifetimes: a panel for each model, a named line for each region through its values."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.figure import Figure

from carbonsweep.figures.estimates import Estimate
from carbonsweep.figures.share_lines import Share, share_lines_figure
from tests.conftest import TOO_BIG, configuration, measurement, record


def drawn(shares: list[Share], models: list[str]) -> Figure:
    return share_lines_figure(shares, models, title="Title", note="Note.", foot="Foot.")


def share(region: str, years: float, value: float, model: str = "TinyLlama-1.1B") -> Share:
    estimate = Estimate(value=value, low=0.8 * value, high=1.2 * value)
    return Share(record=record(configuration(model=model), measurement()), region=region, years=years,
                 estimate=estimate)  # fmt: skip


def test_each_region_is_a_line_through_its_shares_with_its_name_and_last_value_at_the_end() -> None:
    figure = drawn([share("QC", 4, 0.2), share("QC", 8, 0.1), share("PACE", 4, 0.02), share("PACE", 8, 0.01)],
                   ["TinyLlama-1.1B"])  # fmt: skip
    lines = {str(line.get_label()): line for line in figure.axes[0].get_lines() if str(line.get_label())[0] != "_"}
    assert {name: np.asarray(line.get_ydata()).tolist() for name, line in lines.items()} == {
        "QC": [0.2, 0.1],
        "PACE": [0.02, 0.01],
    }
    assert len({(line.get_linestyle(), line.get_marker(), line.get_color()) for line in lines.values()}) == 2
    assert {text.get_text() for text in figure.axes[0].texts} == {"QC 10.0 %", "PACE 1.0 %"}


def test_names_of_lines_that_meet_do_not_touch() -> None:
    figure = drawn([share(region, 8, 0.1) for region in ("A", "B", "C")], ["TinyLlama-1.1B"])
    heights = sorted(float(text.get_position()[1]) for text in figure.axes[0].texts)
    apart = [upper - lower for lower, upper in itertools.pairwise(heights)]
    assert min(apart) > 0.05 * figure.axes[0].get_ylim()[1]


def test_models_have_a_panel_each_and_share_the_axis_from_zero() -> None:
    models = ["TinyLlama-1.1B", "LLaMA-7B"]
    figure = drawn([share("QC", 4, 0.2), share("QC", 4, 0.1, "LLaMA-7B")], models)
    assert [axes.get_title(loc="left") for axes in figure.axes] == models
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.axes[0].get_ylim()[0] == 0


def test_a_model_that_does_not_fit_says_so_in_its_panel() -> None:
    refused = Share(record=record(configuration(model="LLaMA-7B"), TOO_BIG), region="QC", years=4, estimate=None,
                    absent="OOM")  # fmt: skip
    figure = drawn([share("QC", 4, 0.2), refused], ["TinyLlama-1.1B", "LLaMA-7B"])
    assert [text.get_text() for text in figure.axes[1].texts] == ["OOM"]
