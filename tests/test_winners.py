"""Who emits least over intensity and lifetime, as a list of bounds and in words."""

from __future__ import annotations

import pytest

from carbonsweep.carbon.intensity import carbon_intensity, given_intensity
from carbonsweep.domain import Measurement, Scenario, Slo
from carbonsweep.units import S_PER_YEAR
from carbonsweep.winners import competing, embodied_views, regions, words
from tests.conftest import configuration, measurement, record

QC = Scenario(intensity=given_intensity(31.0), lifetime_s=5 * S_PER_YEAR, embodied="paper", functional_unit="prompt")


def ran(gpu: str, hours: float, watts: float) -> Measurement:
    """A batch; a third of the time is prefill."""
    prefill_s, decode_s = hours * 1200, hours * 2400
    return measurement(
        ttft_s=prefill_s, decode_s=decode_s, prefill_j=watts * prefill_s, decode_j=watts * decode_s, gpu=gpu
    )


def test_one_boundary_is_told_with_both_winners_and_none_as_everywhere() -> None:
    t4 = record(configuration(gpu="T4", batch_size=1), ran("T4", 1, 50))
    ada = record(configuration(gpu="RTX6000Ada", batch_size=1), ran("RTX6000Ada", 0.5, 70))
    field = competing([t4, ada], QC, Slo())
    own, *_ = embodied_views(field)
    # As in tests/test_swaps.py: at 5 years they swap at 4.566 g/kWh, a product of 22.83.
    assert words(field, own) == ["T4, batch 1 up to 22.83 g/kWh x years", "RTX6000Ada, batch 1 from there on"]
    alone = competing([ada], QC, Slo())
    assert words(alone, embodied_views(alone)[0]) == ["RTX6000Ada, batch 1 everywhere"]


def test_the_range_of_embodied_figures_may_leave_no_boundary() -> None:
    t4 = record(configuration(gpu="T4", batch_size=1), ran("T4", 1, 50))
    ada = record(configuration(gpu="RTX6000Ada", batch_size=1), ran("RTX6000Ada", 0.5, 70))
    field = competing([t4, ada], QC, Slo())
    for view in embodied_views(field)[1:]:
        # Half an hour of an Ada is made with less than an hour of a T4, by the lowest and by the highest of figures.
        assert 0.5 * view.kg["RTX6000Ada"] < view.kg["T4"]
        assert words(field, view) == ["RTX6000Ada, batch 1 everywhere"]


def test_regions_are_those_of_the_basis_the_cleanest_first() -> None:
    lifecycle = regions(QC)
    assert list(lifecycle.values()) == sorted(lifecycle.values())
    assert lifecycle["QC"] == 31
    direct = regions(Scenario(intensity=carbon_intensity("CA-QC", "direct"), lifetime_s=1, embodied="paper"))
    assert direct["CA-QC"] == pytest.approx(1.7)
    assert "PACE" not in direct  # the paper's row has no direct intensity
