"""One phase over batch sizes: what is counted, what is stacked, and the unit it is written in."""

from __future__ import annotations

import dataclasses

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from carbonsweep.carbon.footprint import phase_footprint
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.domain import Scenario
from carbonsweep.figures.phase_bars import Phase, phase_carbon_figure, phase_figure
from carbonsweep.units import S_PER_YEAR
from tests.conftest import configuration, measurement, record

QUEBEC = Scenario(intensity=carbon_intensity("QC"), lifetime_s=5 * S_PER_YEAR, embodied="paper")
RECORDS = [record(configuration(batch_size=b), measurement(ttft_s=0.5 * b, prefill_j=20.0)) for b in (1, 4)]


def words(figure: Figure) -> str:
    return " ".join(" ".join(artist.get_text().split()) for artist in figure.findobj(Text) if isinstance(artist, Text))


@pytest.mark.parametrize(("phase", "rates", "joules"), [("prefill", [200, 50], 0.2), ("decode", [100 / 3] * 2, 0.9)])
def test_throughput_and_joules_are_those_of_the_phase(phase: Phase, rates: list[float], joules: float) -> None:
    # 100 tokens in 0.5 and 2 s of prefill with 20 J, in 3 s of decode with 90 J.
    figure, shown = phase_figure(RECORDS, phase, "Figure X")
    values = [cell.estimate.value for cell in shown if cell.estimate is not None]
    assert values == pytest.approx([*rates, joules, joules])
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log"]
    assert "Modelled, not measured" in words(figure)
    assert "Figure X" in words(figure)


def test_carbon_is_drawn_in_a_readable_unit_and_listed_in_grams() -> None:
    figure, shown = phase_carbon_figure(RECORDS, "decode", QUEBEC, "Figure X")
    first = RECORDS[0].measurement
    assert first is not None
    expected = phase_footprint(first, "decode", QUEBEC)
    assert shown[0].unit == "g CO2e/output token"
    assert shown[0].estimate is not None
    assert shown[0].estimate.value == pytest.approx(expected.total_g)
    assert shown[0].estimate.embodied == pytest.approx(expected.embodied_g)
    assert figure.axes[0].get_ylabel() == "decode carbon, µg CO2e/output token"
    tops = [patch.get_y() + patch.get_height() for patch in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert max(tops) == pytest.approx(1e6 * expected.total_g)
    assert "As in the paper's Figure X: embodied carbon below, operational above, linear axis." in words(figure)
    assert "only QC's intensity fits its numbers, so QC it is." in words(figure)
    assert "Priced: QC, 31 g/kWh lifecycle; embodied preset paper over 5 years." in words(figure)


def test_a_picture_of_another_grid_does_not_say_quebec() -> None:
    california = dataclasses.replace(QUEBEC, intensity=carbon_intensity("CISO"))
    figure, _ = phase_carbon_figure(RECORDS, "prefill", california, "Figure X")
    assert "fits its numbers. This is CISO." in words(figure)
    assert "so QC it is" not in words(figure)
