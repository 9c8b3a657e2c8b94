"""The map of winners: its boundary is the closed form, each field is its winner's, errors alike are told once."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from carbonsweep.carbon.intensity import given_intensity
from carbonsweep.domain import Measurement, Scenario, Slo
from carbonsweep.figures.foundation import foundation
from carbonsweep.figures.page import PALETTE
from carbonsweep.figures.winner_map import winner_map
from carbonsweep.units import S_PER_YEAR
from carbonsweep.winners import Field, competing, embodied_views
from tests.conftest import configuration, measurement, record

HERE = Scenario(intensity=given_intensity(31.0), lifetime_s=5 * S_PER_YEAR, embodied="paper", functional_unit="prompt")


def ran(gpu: str, hours: float, watts: float) -> Measurement:
    """A batch of 4; a third of the time is prefill."""
    times_s = {"ttft_s": hours * 1200, "decode_s": hours * 2400}
    joules = {"prefill_j": watts * times_s["ttft_s"], "decode_j": watts * times_s["decode_s"]}
    return measurement(
        gpu=gpu,
        **times_s,
        **joules,
        error_source=f"twelve refits to the same resampled claims and what each of them is off; of {gpu}",
    )


def field() -> Field:
    t4 = record(configuration(gpu="T4", batch_size=4), ran("T4", 1, 50))
    ada = record(configuration(gpu="RTX6000Ada", batch_size=4), ran("RTX6000Ada", 0.5, 95))
    return competing([t4, ada], HERE, Slo())


def drawn() -> Figure:
    return winner_map(field(), embodied_views(field())[:1])


def boundary(axes: Axes) -> np.ndarray:
    (line,) = (each for each in axes.get_lines() if len(np.asarray(each.get_xdata())) > 2)
    found = np.asarray(line.get_xydata())
    return np.asarray(found[np.isfinite(found[:, 1])])


def test_the_boundary_is_where_both_emit_the_same() -> None:
    # Ada 0.5 h x 95 W against T4 50 Wh: 2.5 Wh less. Embodied, g x years an hour of use: 26,600 x 0.5 - 10,300 over
    # 8760 h are 0.342466; over 0.0025 kWh a product of 136.99 g/kWh x years.
    found = boundary(drawn().axes[0])
    assert len(found) > 50
    for g_per_kwh, years in found:
        assert g_per_kwh * years == pytest.approx(136.986, rel=1e-5)


def test_cleaner_grids_and_shorter_lives_are_the_older_gpus() -> None:
    axes = drawn().axes[0]
    fields = [each for each in axes.collections if isinstance(each, PolyCollection)]
    # The T4 is the second by name: paler, but of its palette colour at the edge.
    by_edge = {to_hex(tuple(np.asarray(each.get_edgecolor())[0])).upper(): each.get_paths() for each in fields}
    t4, ada = by_edge[PALETTE[1]], by_edge[PALETTE[0]]
    assert any(path.contains_point((40, 2)) for path in t4)  # a product of 80
    assert not any(path.contains_point((40, 2)) for path in ada)
    assert any(path.contains_point((200, 5)) for path in ada)  # a product of 1000
    assert not any(path.contains_point((200, 5)) for path in t4)


def test_the_words_say_what_the_map_rests_on_and_alike_errors_once() -> None:
    figure = drawn()
    said = [" ".join(each.get_text().split()) for each in figure.findobj(Text) if isinstance(each, Text)]
    assert any(each.startswith(foundation(field().records)) for each in said)
    assert "Modelled, not measured" in " ".join(said)
    assert " ".join(said).count("twelve refits") == 1
    assert "what each of them is off ... (by GPU)" in " ".join(said)
    assert "CO2e per prompt; batch size 4; limits: none" in said
    assert any("RTX6000Ada 26.6 kg, T4 10.3 kg" in each for each in said)


def test_the_views_are_the_presets_and_the_lowest_and_the_highest_figures_of_any() -> None:
    preset, lowest, highest = (view.kg for view in embodied_views(field()))
    # `act`'s low end and `vendor`'s high end: 15.87 and 106.4 kg of an Ada, 8.325 and 53.42 kg of a T4.
    assert preset == pytest.approx({"RTX6000Ada": 26.6, "T4": 10.3})
    assert lowest == pytest.approx({"RTX6000Ada": 15.87, "T4": 8.325}, rel=1e-3)
    assert highest == pytest.approx({"RTX6000Ada": 106.4, "T4": 53.42}, rel=1e-3)


def test_who_misses_a_limit_does_not_compete() -> None:
    everybody = field().records
    # Prefill takes 1200 s on the T4 and 600 s on the Ada.
    left = competing(everybody, HERE, Slo(ttft_s=1000.0))
    assert [record.configuration.gpu for record in left.records] == ["RTX6000Ada"]
