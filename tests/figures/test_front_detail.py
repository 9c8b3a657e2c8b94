"""A Pareto picture in detail: its knee, intervals of the front, a row for each further objective."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from carbonsweep.answer import Answer, answer
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.domain import Scenario, Slo, TrialRecord
from carbonsweep.figures import pareto_figure, pareto_panels
from carbonsweep.figures.front_detail import knee_of
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.units import S_PER_YEAR
from tests.conftest import configuration, measurement, phase, record


def question(*names: str, region: str = "QC", **limits: float) -> Question:
    scenario = Scenario(intensity=carbon_intensity(region), lifetime_s=5 * S_PER_YEAR, embodied="paper")
    return Question(objectives=objectives(names), slo=Slo(**limits), scenario=scenario)


def timed(batch_size: int, ttft_s: float, decode_s: float) -> TrialRecord:
    """TTFT known to 20 %, the rest exactly."""
    prefill = phase(ttft_s, 20.0, duration_low_s=0.8 * ttft_s, duration_high_s=1.2 * ttft_s)
    where = configuration(batch_size=batch_size)
    return record(where, measurement(prefill=prefill, decode_s=decode_s, batch_size=batch_size))


# TTFT 1, 2, 10 s against TPOT of 100, 30, 10 ms: scaled (0, 1), (1/9, 2/9), (1, 0), so the middle one is the knee.
RECORDS = [timed(1, 1.0, 14.9), timed(2, 2.0, 4.47), timed(4, 10.0, 1.49)]


@pytest.fixture
def found() -> Answer:
    return answer(RECORDS, question("ttft", "tpot"))


def words(figure: Figure) -> str:
    return " ".join(" ".join(artist.get_text().split()) for artist in figure.findobj(Text) if isinstance(artist, Text))


def drawn(figure: Figure, label: str, panel: int = 0) -> list[list[float]]:
    lines = [line for line in figure.axes[panel].get_lines() if line.get_label() == label]
    return [np.asarray(line.get_xydata()).ravel().tolist() for line in lines]


def test_the_knee_is_marked_named_and_explained(found: Answer) -> None:
    knee = knee_of(found)
    assert knee is not None
    assert knee.record.configuration.batch_size == 2
    figure = pareto_panels({"": found}, in_detail=True)
    assert drawn(figure, "knee") == [pytest.approx([0.03, 2.0])]
    assert "knee: TinyLlama-1.1B on T4, batch 2" in words(figure)
    assert "Das, Structural Optimization 18, 1999" in words(figure)


def test_a_front_of_two_points_has_no_knee_and_no_word_of_one() -> None:
    found = answer(RECORDS[::2], question("ttft", "tpot"))
    assert knee_of(found) is None
    assert "knee" not in words(pareto_panels({"": found}, in_detail=True)).lower()


def test_a_plain_picture_has_neither_knee_nor_intervals(found: Answer) -> None:
    assert "knee" not in words(pareto_figure(found)).lower()
    assert "95 %" not in words(pareto_figure(found))


def test_points_of_the_front_carry_their_intervals(found: Answer) -> None:
    figure = pareto_panels({"": found}, in_detail=True)
    # TTFT is upright: batch 2 has 1.6 to 2.4 s at a TPOT of 30 ms; TPOT is known exactly.
    crosses = [np.asarray(line.get_xydata()).tolist() for line in figure.axes[0].get_lines()]
    assert any(np.allclose(cross, [[0.03, 1.6], [0.03, 2.4]]) for cross in crosses if len(cross) == 2)
    assert "95 % interval" in words(figure)
    # Against TTFT to the right the same interval lies flat, at the point's own height.
    turned = pareto_panels({"": answer(RECORDS, question("tpot", "ttft"))}, in_detail=True).axes[0]
    crosses = [np.asarray(line.get_xydata()).tolist() for line in turned.get_lines()]
    assert any(np.allclose(cross, [[1.6, 0.03], [2.4, 0.03]]) for cross in crosses if len(cross) == 2)
    # Joules are known to 10 %; the line that runs across lies at the value and at neither end.
    energy = answer([timed(1, 1.0, 14.9), timed(2, 2.0, 4.47)], question("energy", "latency"))
    lines = [np.asarray(line.get_xydata()) for line in pareto_panels({"": energy}, in_detail=True).axes[0].get_lines()]
    across = {round(a[1], 9) for a, b in (each for each in lines if each.shape == (2, 2)) if a[1] == b[1]}
    scenario, (upwards, _) = energy.question.scenario, energy.front_objectives
    expected = {round(upwards.value(c.measurement, scenario), 9) for c in energy.front}
    assert expected <= across
    assert not {round(0.9 * value, 9) for value in expected} & across


def test_every_further_objective_has_a_row_and_its_own_limit() -> None:
    found = answer(RECORDS, question("carbon", "ttft", "tpot", ttft_s=5.0))
    figure = pareto_panels({"QC": found}, in_detail=True)
    assert [axes.get_xlabel().split(",")[0] for axes in figure.axes] == ["TTFT", "TPOT"]
    hatched = [[patch for patch in axes.patches if patch.get_hatch()] for axes in figure.axes]
    assert [len(patches) for patches in hatched] == [1, 0]


def test_regions_stand_side_by_side_and_their_prices_are_one_sentence() -> None:
    panels = {region: answer(RECORDS, question("carbon", "latency", region=region)) for region in ("QC", "PACE")}
    said = words(pareto_panels(panels, in_detail=True))
    assert "QC: Total carbon" in said
    assert "PACE: Total carbon" in said
    assert "Priced: QC, 31 g/kWh lifecycle; PACE, 647 g/kWh lifecycle; embodied preset paper" in said
    assert "Modelled, not measured: test bench" in said


def test_the_knee_of_a_quantity_of_which_more_is_better() -> None:
    # Latency 1, 2, 10 s; throughput 150, 1200, 1920 tokens/s: scaled (0, 1), (1/9, 0.41), (1, 0).
    records = [timed(1, 0.5, 0.5), timed(16, 1.0, 1.0), timed(128, 5.0, 5.0)]
    knee = knee_of(answer(records, question("latency", "throughput")))
    assert knee is not None
    assert knee.record.configuration.batch_size == 16
