"""The picture of an explanation: what its bars and steps show, and that it says what it rests on."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carbonsweep.answer import Answer, answer
from carbonsweep.domain import Slo, TrialRecord
from carbonsweep.explanation.explaining import explanation
from carbonsweep.figures.tornado import explanation_figure
from carbonsweep.results import Saved
from tests.explanation.made import LIMITS, STEPS, made, too_big
from tests.test_answer import asking, default_records


def drawn(records: list[TrialRecord], slo: Slo = LIMITS, objective: str = "energy") -> Figure | None:
    found: Answer = answer(records, asking(objective, slo=slo))
    saved = Saved(question=found.question, records=tuple(records), damaged=(), document={})
    return explanation_figure(explanation(found, saved, records))


def panels(figure: Figure | None) -> list[Axes]:
    assert figure is not None
    return figure.axes


def texts(figure: Figure | None) -> str:
    assert figure is not None
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))  # type: ignore[attr-defined]


def test_each_bar_reaches_from_the_lowest_to_the_highest_value_over_the_best() -> None:
    # Batch 4 with 60 J and batch 16 with 79 J, of 100 J: from 0.6 to the best itself.
    axes = panels(drawn(STEPS))[0]
    names = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]  # type: ignore[attr-defined]
    assert dict(zip(names, spans, strict=True))["batch size"] == pytest.approx((0.6, 1.0))


def test_the_steps_are_the_relaxations() -> None:
    axes = panels(drawn(STEPS))[1]
    steps = {line.get_label(): line.get_xydata() for line in axes.lines}
    # In per cent of the limit; 600 tokens of 100, 79 and 60 J are 166.7, 131.7 and 100 J per 1,000.
    points: Any = steps["TPOT"]
    assert [tuple(point) for point in points][:3] == [
        (0, pytest.approx(100 / 0.6)),
        (pytest.approx(25), pytest.approx(79 / 0.6)),
        (pytest.approx(80), pytest.approx(60 / 0.6)),
    ]
    assert {"TTFT", "TPOT", "all limits together"} <= set(steps)


def test_without_a_best_the_steps_stand_alone_and_without_limits_the_bars() -> None:
    assert len(panels(drawn([r for r in STEPS if r.configuration.batch_size not in (1, 8)]))) == 1
    assert len(panels(drawn(STEPS, Slo()))) == 1
    assert drawn([too_big(8, 1e9)]) is None
    assert drawn([made(8, 100)], Slo(), "latency") is None


def test_it_names_the_best_and_says_modelled_by_what() -> None:
    figure = drawn(list(default_records()), Slo(tpot_s=0.1), "carbon")
    said = texts(figure)
    assert "TinyLlama-1.1B on RTX6000Ada, batch 32, fp16, paper; modelled" in said
    assert "Modelled, not measured: roofline bench, engine paper." in said


def test_no_text_lies_on_another_panel() -> None:
    # Names as long as they come, at the end of the longest bars, and steps beside them.
    far = made(8, 2000, model="a-model-with-a-long-name-of-its-own", gpu="RTX6000Ada")
    figure = drawn([*STEPS, far])
    left, right = panels(figure)
    assert figure is not None
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    figure.draw(renderer)
    edge = right.get_tightbbox(renderer)
    assert edge is not None
    for text in left.texts:
        assert text.get_window_extent(renderer).x1 < edge.x0
        assert text.get_window_extent(renderer).x0 > left.get_window_extent(renderer).x0
