"""No word of a picture lies over another or outside the paper, whatever the records say."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from carbonsweep.answer import answer
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.domain import Scenario, Slo, TrialRecord
from carbonsweep.figures import pareto_panels
from carbonsweep.figures.batch_bars import Panel, bars_figure
from carbonsweep.figures.cells import Quantity, cells, one_per_cell
from carbonsweep.figures.estimates import embodied_share, prompt_latency_s
from carbonsweep.figures.foundation import foundation
from carbonsweep.figures.phase_bars import phase_carbon_figure, phase_figure
from carbonsweep.figures.share_lines import Share, share_lines_figure
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.search.space import Space
from carbonsweep.trial import trial
from carbonsweep.units import S_PER_YEAR

SMALL, LARGE = "TinyLlama-1.1B", "LLaMA-7B"
SPACE = Space(
    models=(SMALL, LARGE),
    gpus=("T4", "RTX6000Ada"),
    gpu_counts=(1,),
    batch_sizes=(1, 2, 4, 8, 16, 32, 64),
    dtypes=("fp16",),
    engines=("paper",),
)
QUEBEC = Scenario(intensity=carbon_intensity("QC"), lifetime_s=5 * S_PER_YEAR, embodied="paper")


@pytest.fixture(scope="module")
def records() -> tuple[TrialRecord, ...]:
    served = built_in_workload(150, 0)
    return one_per_cell(trial(RooflineBench(), point, served) for point in SPACE.configurations())


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that touch, and texts that leave the figure (paired with 'the edge')."""
    # Arrows of annotations do not count: they lead to a point.
    placed = [(each.get_text(), Text.get_window_extent(each)) for each in drawn_texts(figure)]
    pairs = [(a, b) for (a, one), (b, other) in itertools.combinations(placed, 2) if _share_area(one, other)]
    width, height = figure.bbox.width, figure.bbox.height
    outside = [(a, "the edge") for a, box in placed if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    return pairs + outside


def drawn_texts(figure: Figure) -> list[Text]:
    """Every text that is really drawn: an axis keeps more tick labels than it shows."""
    seen: list[Text] = []
    draw = Text.draw

    def noted(text: Text, *arguments: Any, **named: Any) -> None:
        if text.get_text().strip() and text not in seen:
            seen.append(text)
        draw(text, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    return seen


def _share_area(one: Bbox, other: Bbox) -> bool:
    """By more than a pixel: boxes of text have room of their own."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    tall = min(one.y1, other.y1) - max(one.y0, other.y0)
    return bool(wide > 1 and tall > 1)


def test_the_test_sees_an_overlap_and_an_edge() -> None:
    figure = Figure()
    figure.text(0.5, 0.5, "one")
    figure.text(0.5, 0.5, "other")
    figure.text(0.99, 0.1, "a long text")
    assert overlapping(figure) == [("one", "other"), ("a long text", "the edge")]


def test_bars_by_model_have_room(records: tuple[TrialRecord, ...]) -> None:
    quantity = Quantity(label="prompt latency", unit="s", of=prompt_latency_s)
    row = [
        Panel(
            title=model,
            label="prompt latency, s",
            cells=cells((r for r in records if r.configuration.model == model), quantity, model),
            logarithmic=True,
        )
        for model in SPACE.models
    ]
    long = foundation(records) * 3
    figure = bars_figure([row, row], title="A title " * 9, note="A note. " * 40, foot=long, panel_in=(3.2, 2.1))
    assert overlapping(figure) == []


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_bars_of_a_phase_have_room(records: tuple[TrialRecord, ...], phase: str) -> None:
    small = [record for record in records if record.configuration.model == SMALL]
    assert overlapping(phase_figure(small, phase, "Figure")[0]) == []  # type: ignore[arg-type]
    assert overlapping(phase_carbon_figure(small, phase, QUEBEC, "Note.")[0]) == []  # type: ignore[arg-type]


def test_lines_over_lifetimes_have_room(records: tuple[TrialRecord, ...]) -> None:
    alone = [r for r in records if (r.configuration.gpu, r.configuration.batch_size) == ("T4", 1)]
    shares = [
        Share(record=r, region=region, years=years, estimate=embodied_share(footprint(r.measurement, QUEBEC)))
        for r in alone
        if r.measurement is not None
        for region in ("QC", "CISO", "PACE")
        for years in (4, 5, 6, 7, 8)
    ]
    figure = share_lines_figure(shares, SPACE.models, title="Title", note="Note.", foot="Foot. " * 60)
    assert overlapping(figure) == []


@pytest.mark.parametrize("names", [("carbon", "latency"), ("carbon", "ttft", "tpot")])
def test_fronts_have_room(records: tuple[TrialRecord, ...], names: tuple[str, ...]) -> None:
    small = [record for record in records if record.configuration.model == SMALL]
    asked = Question(objectives=objectives(names), slo=Slo(ttft_s=0.5), scenario=QUEBEC)
    panels = {name: answer(small, asked) for name in ("QC", "CISO", "PACE")}
    assert overlapping(pareto_panels(panels, in_detail=True)) == []


def test_no_arrow_to_a_name_crosses_another_name(records: tuple[TrialRecord, ...]) -> None:
    small = [record for record in records if record.configuration.model == SMALL]
    asked = Question(objectives=objectives(("carbon", "ttft", "tpot")), slo=Slo(), scenario=QUEBEC)
    figure = pareto_panels({"QC": answer(small, asked)}, in_detail=True)
    named = [text for text in drawn_texts(figure) if isinstance(text, Annotation) and text.arrow_patch is not None]
    assert named
    for one, other in itertools.permutations(named, 2):
        if one.axes is other.axes and one.axes is not None:
            start = one.axes.transData.transform(one.xy)
            box = Text.get_window_extent(one)
            middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
            way = [start + share * (middle - start) for share in np.linspace(0, 1, 50)]
            assert not any(Text.get_window_extent(other).contains(x, y) for x, y in way)
