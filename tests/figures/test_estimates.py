"""Values with intervals: each is the quantity of the domain, and its interval follows from the record's by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from carbonsweep.carbon.footprint import footprint
from carbonsweep.domain import CarbonIntensity, Footprint, Scenario, Transfer
from carbonsweep.figures.estimates import (
    Estimate,
    batch_energy_j,
    duration_s,
    embodied_share,
    objective_value,
    phase_energy_per_token_j,
    phase_throughput,
    prompt_latency_s,
    total_g,
)
from carbonsweep.search.objectives import OBJECTIVES
from carbonsweep.units import S_PER_YEAR
from tests.conftest import measurement, phase

GRID = CarbonIntensity(g_per_kwh=360.0, region="X", basis="given", source="test")
SCENARIO = Scenario(intensity=GRID, lifetime_s=5 * S_PER_YEAR, embodied="paper", functional_unit="prompt")
SPREAD = measurement(
    prefill=phase(0.5, 20.0, duration_low_s=0.4, duration_high_s=1.0),
    decode=phase(2.98, 90.0, duration_low_s=2.0, duration_high_s=4.47),
)


def ends(estimate: Estimate | None) -> tuple[float, float, float]:
    assert estimate is not None
    return estimate.low, estimate.value, estimate.high


def test_a_throughput_is_highest_where_the_duration_is_shortest() -> None:
    # 100 tokens in 0.4 to 1.0 s.
    assert ends(phase_throughput(SPREAD.prefill)) == pytest.approx((100.0, 200.0, 250.0))


def test_a_duration_that_may_be_nothing_gives_a_throughput_without_end() -> None:
    estimate = phase_throughput(phase(0.5, 1.0, duration_low_s=0.0, duration_high_s=1.0))
    assert estimate.high == math.inf
    assert estimate.value == 200.0


def test_latency_and_energy_add_their_phases_ends() -> None:
    assert ends(prompt_latency_s(SPREAD)) == pytest.approx((2.4, 3.48, 5.47))
    # The joules are known to 10 %: 0.9 x 110 to 1.1 x 110.
    assert ends(batch_energy_j(SPREAD)) == pytest.approx((99.0, 110.0, 121.0))


def test_a_hand_over_between_gpus_moves_both_ends_of_the_latency() -> None:
    handed = replace(SPREAD, transfer=Transfer(bytes=1e6, exposed_s=0.25, energy=None))
    assert ends(prompt_latency_s(handed)) == pytest.approx((2.65, 3.73, 5.72))


def test_unknown_joules_stay_unknown() -> None:
    dark = measurement(decode_j=None)
    assert batch_energy_j(dark) is None
    assert phase_energy_per_token_j(dark.decode) is None
    assert phase_energy_per_token_j(dark.prefill) is not None


def test_the_interval_of_grams_is_the_energys_and_holds_the_embodied_part_still() -> None:
    priced = footprint(SPREAD, SCENARIO)
    estimate = total_g(priced)
    # 110 J for 4 prompts at 360 g/kWh = 1e-4 g/J: 2.75e-3 g, known to 10 %.
    assert estimate.embodied == priced.embodied_g
    assert estimate.value - priced.embodied_g == pytest.approx(2.75e-3)
    assert estimate.high - estimate.value == pytest.approx(2.75e-4)
    assert estimate.value - estimate.low == pytest.approx(2.75e-4)


def test_the_embodied_share_is_low_where_the_energy_is_high() -> None:
    priced = Footprint(
        operational_g=3.0,
        operational_low_g=1.0,
        operational_high_g=9.0,
        embodied_g=1.0,
        embodied_low_g=0.5,
        embodied_high_g=5.0,
        functional_unit="prompt",
        assumed=False,
    )
    assert ends(embodied_share(priced)) == pytest.approx((0.1, 0.25, 0.5))


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_has_its_own_value_and_an_interval_around_it(name: str) -> None:
    objective = OBJECTIVES[name]
    low, value, high = ends(objective_value(objective, SPREAD, SCENARIO))
    assert value == pytest.approx(objective.value(SPREAD, SCENARIO))
    assert low < value < high


def test_the_ends_of_tpot_and_throughput_follow_from_the_durations() -> None:
    # 149 steps in 2.0 to 4.47 s; 4 x 150 tokens in 2.4 to 5.47 s.
    assert ends(objective_value(OBJECTIVES["tpot"], SPREAD, SCENARIO)) == pytest.approx((2 / 149, 0.02, 0.03))
    assert ends(objective_value(OBJECTIVES["throughput"], SPREAD, SCENARIO))[::2] == pytest.approx((600 / 5.47, 250.0))


def test_another_unit_scales_everything() -> None:
    scaled = Estimate(value=2.0, low=1.0, high=3.0, embodied=0.5).times(10)
    assert (ends(scaled), scaled.embodied, scaled.embodied_share) == ((10.0, 20.0, 30.0), 5.0, 0.25)
    assert duration_s(SPREAD.prefill).embodied_share is None
