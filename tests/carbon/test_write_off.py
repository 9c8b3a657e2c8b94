"""Second life in a price: embodied grams follow the share, operational ones never change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.carbon.write_off import charged_kg, second_life_words, share_left
from carbonsweep.domain import Footprint, Scenario
from carbonsweep.errors import UnknownFact
from carbonsweep.second_life import SecondLife
from carbonsweep.sweep_cost import sweep_cost
from carbonsweep.units import S_PER_YEAR
from tests.conftest import measurement, phase

NEW = Scenario(intensity=carbon_intensity("QC"), lifetime_s=5 * S_PER_YEAR, embodied="paper", utilisation=0.5)
T4 = measurement()
SPLIT = measurement(prefill=phase(0.5, 20.0, gpu="RTX6000Ada"), decode=phase(3.0, 90.0))


def left(age_years: float, device: str = "T4") -> SecondLife:
    return SecondLife(device=device, policy="left", age_s=age_years * S_PER_YEAR, first_lifetime_s=5 * S_PER_YEAR)


def with_life(*lives: SecondLife) -> Scenario:
    return replace(NEW, second_life=lives)


def operational(found: Footprint) -> tuple[float, float, float]:
    return found.operational_g, found.operational_low_g, found.operational_high_g


def embodied(found: Footprint) -> tuple[float, float, float]:
    return found.embodied_g, found.embodied_low_g, found.embodied_high_g


def test_none_makes_the_embodied_grams_0_and_nothing_else() -> None:
    sunk = footprint(T4, with_life(SecondLife(device="T4", policy="none")))
    assert embodied(sunk) == (0, 0, 0)
    assert operational(sunk) == operational(footprint(T4, NEW))


@given(age=st.floats(min_value=0, max_value=12), device=st.sampled_from(["T4", "t4"]))
def test_what_is_left_scales_value_and_range_alike(age: float, device: str) -> None:
    old, new = footprint(T4, with_life(left(age, device))), footprint(T4, NEW)
    share = max(0.0, 1 - age / 5)
    assert embodied(old) == pytest.approx([share * g for g in embodied(new)], rel=1e-12)
    assert operational(old) == operational(new)


def test_all_and_left_at_age_0_and_no_second_life_are_one_price() -> None:
    prices = [footprint(T4, s) for s in (NEW, with_life(SecondLife(device="T4", policy="all")), with_life(left(0)))]
    assert prices[0] == prices[1] == prices[2]


def test_from_the_end_of_the_first_life_on_left_is_none() -> None:
    sunk = footprint(T4, with_life(SecondLife(device="T4", policy="none")))
    assert footprint(T4, with_life(left(5))) == footprint(T4, with_life(left(9))) == sunk


def test_only_the_named_device_of_a_split_is_old() -> None:
    # Ada: 26.6 kg x 0.5 s, T4: 10.3 kg x 3 s; over 5 years at half use, per 0.6 thousand tokens of 4 prompts.
    old = footprint(SPLIT, with_life(SecondLife(device="T4", policy="none")))
    assert old.embodied_g == pytest.approx(26_600 * 0.5 / (5 * S_PER_YEAR * 0.5) / 0.6)


def test_the_host_has_no_second_life() -> None:
    sunk = replace(with_life(SecondLife(device="T4", policy="none")), host_embodied_kg=2.0)
    # 2,000 g x 3.5 s over 5 years at half use, per 0.6 thousand tokens.
    assert footprint(T4, sunk).embodied_g == pytest.approx(2000 * 3.5 / (5 * S_PER_YEAR * 0.5) / 0.6)


def test_charged_kilograms_by_hand_and_other_devices_as_new() -> None:
    old = with_life(left(2))
    assert charged_kg("T4", old) == pytest.approx(6.18)  # 10.3 x 3/5
    assert charged_kg("RTX6000Ada", old) == 26.6
    assert (share_left("RTX6000Ada", old), share_left("CPU", old)) == (1, 1)
    with pytest.raises(UnknownFact, match="T4"):
        share_left("T5", old)


def test_a_device_has_one_second_life() -> None:
    with pytest.raises(ValueError, match="twice"):
        with_life(left(1), SecondLife(device="T4", policy="none"))


def test_the_policy_in_words() -> None:
    assert second_life_words(NEW) == "of no device, all are charged whole"
    both = with_life(left(3), SecondLife(device="A40", policy="none"))
    assert second_life_words(both) == (
        "T4 40 % left (3 years old, planned for 5), A40 none (sunk); every other device all of its embodied carbon"
    )


def test_a_sweep_on_a_sunk_gpu_embodies_nothing_itself() -> None:
    assert sweep_cost([], NEW).embodied_g is None
    from carbonsweep.evidence import TrialCost
    from tests.conftest import configuration, identity, record

    cost = TrialCost(duration_s=100.0, energy_j=500.0, source="NVML")
    ran = replace(record(configuration(), T4), cost=cost, identity=identity(basis="measured"))
    new, sunk = (sweep_cost([ran], s) for s in (NEW, with_life(SecondLife(device="T4", policy="none"))))
    assert sunk.embodied_g == 0
    assert new.embodied_g == pytest.approx(10_300 * 100 / (5 * S_PER_YEAR * 0.5))
    assert sunk.operational_g == new.operational_g
