"""Savings of splits: a panel for each model and question, a mark for each region and link, and room for all words."""

from __future__ import annotations

import numpy as np

from carbonsweep.figures.placement_dots import ABSENT, Saving, placement_dots_figure
from tests.figures.test_nothing_overlaps import overlapping


def saving(region: str, link: str, saves: float | None, model: str = "TinyLlama-1.1B") -> Saving:
    return Saving(question="no limits", model=model, region=region, link=link, saves=saves, error=0.1)


SAVINGS = [
    saving("QC", "10GbE", -0.4),
    saving("QC", "PCIe4", 0.1),
    saving("PACE", "10GbE", None),
    saving("PACE", "PCIe4", 0.3),
    saving("QC", "10GbE", None, "LLaMA-7B"),
    saving("QC", "PCIe4", None, "LLaMA-7B"),
]


def test_each_known_saving_is_one_mark_at_its_value() -> None:
    figure = placement_dots_figure(SAVINGS, title="Title", note="Note.", foot="Foot.")
    first, second = figure.axes
    marks = [np.asarray(line.get_xdata())[0] for line in first.lines if line.get_marker() not in ("None", None, "")]
    assert marks == [-0.4, 0.1, 0.3]
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["QC", "PACE"]
    assert [text.get_text() for text in second.texts] == [ABSENT]
    low, high = first.get_xlim()
    assert low < -0.4
    assert high > 0.3


def test_words_have_room() -> None:
    assert overlapping(placement_dots_figure(SAVINGS, title="Title " * 20, note="Note " * 40, foot="Foot.")) == []
