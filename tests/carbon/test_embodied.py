"""Embodied carbon: hand arithmetic to the last printed digit, and which preset knows what."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from carbonsweep import facts
from carbonsweep.carbon.embodied import (
    ACT,
    SC23,
    Convention,
    amortised_g,
    board_carbon_kg,
    choose_preset,
    die_carbon_g,
    embodied_carbon,
    embodied_range,
    memory_carbon_g,
    packaging_carbon_g,
    presets_covering,
    presets_of,
)
from carbonsweep.domain import EMBODIED_PRESETS
from carbonsweep.errors import BadInput, UnknownFact
from carbonsweep.units import S_PER_HOUR, S_PER_YEAR

PLAIN_SC23 = replace(SC23, ic_packages=0)


def board_kg(area_cm2: float, process: str, memory_gb: float, convention: Convention) -> float:
    return board_carbon_kg(
        die_cm2=area_cm2,
        process=facts.process(process),
        memory_gb=memory_gb,
        memory=facts.memory("ddr4_10nm"),
        convention=convention,
    )


# Expected: (area x (583 EPA + GPA + 500) / 0.875 + GB x 65 [/ 0.875] + 150 x ICs) / 1000. By hand for the first row:
# 8.26 x (583 x 2.15 + 350 + 500) / 0.875 = 8.26 x 2103.45 / 0.875 = 19856.568; + 40 x 65 = 2600; + 26 x 150 = 3900.
@pytest.mark.parametrize(
    ("area_cm2", "process", "memory_gb", "convention", "kg"),
    [
        (8.26, "7nm", 40, SC23, 26.356568),  # SC'23's A100-40: 26,356.57 g
        (8.26, "7nm", 80, SC23, 28.956568),  # SC'23's A100-80: 28,956.57 g
        (8.15, "12nm", 32, SC23, 19.949216),  # SC'23's V100-32: 19,949.22 g
        (7.24, "6nm", 128, SC23, 31.402690),  # SC'23's MI250X, one die: 31,402.69 g
        (6.10, "14nm", 12, SC23, 14.437211),  # SC'23's P100-12: 14,437 g
        (6.085, "5nm", 48, ACT, 20.469844),  # ACT defaults, RTX 6000 Ada: GPA (430 + 225) / 2 = 327.5
        (5.45, "14nm", 16, ACT, 9.672509),  # ACT defaults, T4 taken as 14 nm
        (5.45, "12nm", 16, ACT, 10.273021),  # ACT defaults, T4 at 12 nm: EPA 1.3375, GPA (220 + 137.5) / 2 = 178.75
        (6.085, "5nm", 48, PLAIN_SC23, 20.736944),  # SC'23 without packaging, RTX 6000 Ada
        (6.085, "5nm", 48, SC23, 24.636944),  # + 26 x 150 g
        (5.45, "12nm", 16, PLAIN_SC23, 10.381377),  # SC'23 without packaging, T4
        (5.45, "12nm", 16, SC23, 14.281377),  # + 26 x 150 g
    ],
)
def test_act_and_sc23_boards_are_exact_to_the_last_digit(
    area_cm2: float, process: str, memory_gb: float, convention: Convention, kg: float
) -> None:
    assert board_kg(area_cm2, process, memory_gb, convention) == pytest.approx(kg, abs=1e-6)


def test_the_three_parts_of_a_board_by_hand() -> None:
    # 1 cm2 at 28 nm on a 100 g/kWh grid, 95 %: (100 x 0.9 + 175 + 500) / 0.875 = 874.285714
    die_g = die_carbon_g(1.0, facts.process("28nm"), fab_g_per_kwh=100.0, abatement_percent=95)
    assert die_g == pytest.approx(765 / 0.875)
    # 8 GB x 48 g/GB = 384 g, over a yield of 0.875: 438.857
    assert memory_carbon_g(8, facts.memory("lpddr4"), memory_yield=1.0) == 384
    assert memory_carbon_g(8, facts.memory("lpddr4"), memory_yield=0.875) == pytest.approx(438.857143)
    assert packaging_carbon_g(26) == 3900


@pytest.mark.parametrize(
    ("device", "preset", "kg"),
    [
        ("T4", "paper", 10.3),
        ("RTX6000Ada", "paper", 26.6),
        ("T4", "act", 10.273021),
        ("RTX6000Ada", "act", 20.469844),
        ("T4", "sc23", 14.281377),
        ("RTX6000Ada", "sc23", 24.636944),
        ("A100-40", "sc23", 26.356568),
        ("A100-80", "sc23", 28.956568),
        ("V100", "sc23", 19.949216),
        ("H100", "vendor", 164.0),
        ("A100-40", "vendor", 127.6),
        ("CPU", "sc23", 15.581),
        # act x sqrt(4.5 x 5.2) = 10.2730214 x 4.8373546
        ("T4", "vendor", 49.694244),
    ],
)
def test_the_preset_values_of_shipped_devices(device: str, preset: str, kg: float) -> None:
    assert embodied_carbon(device, preset).kg == pytest.approx(kg, abs=2e-6)


def test_the_act_range_is_a_clean_fab_to_a_dirty_one_with_packages() -> None:
    # T4, low: 5.45 (380 x 1.3375 + 137.5 + 500) / .875 = 7136.386; + 16 x 65 / .875 = 1188.571
    # high: 5.45 (642 x 1.3375 + 220 + 500) / .875 = 9832.890; + 1188.571 + 3900
    found = embodied_carbon("T4", "act")
    assert found.low_kg == pytest.approx(8.324957, abs=1e-6)
    assert found.high_kg == pytest.approx(14.921461, abs=1e-6)


def test_the_sc23_range_keeps_packages_and_undivided_memory() -> None:
    # T4, low: 7136.386 + 1040 + 3900; high: 9832.890 + 1040 + 3900
    found = embodied_carbon("T4", "sc23")
    assert found.low_kg == pytest.approx(12.076386, abs=1e-6)
    assert found.high_kg == pytest.approx(14.772890, abs=1e-6)


def test_the_papers_range_is_only_the_rounding_of_its_digit_and_says_so() -> None:
    found = embodied_carbon("T4", "paper")
    assert (found.low_kg, found.high_kg) == (10.25, 10.35)
    assert "not derivable" in found.source


def test_a_vendor_estimate_is_marked_and_a_publication_is_not() -> None:
    t4, h100 = embodied_carbon("T4", "vendor"), embodied_carbon("H100", "vendor")
    assert t4.estimated
    assert not h100.estimated
    act_kg = embodied_carbon("T4", "act").kg
    assert (t4.low_kg, t4.high_kg) == pytest.approx((4.5 * act_kg, 5.2 * act_kg))
    assert t4.kg == pytest.approx(math.sqrt(t4.low_kg * t4.high_kg))


def test_low_ends_of_upper_bound_footprints_are_act_times_4_5() -> None:
    for device in ("P100", "L4"):
        assert embodied_carbon(device, "vendor").low_kg == pytest.approx(
            4.5 * embodied_carbon(device, "act").kg, abs=0.05
        )


@pytest.mark.parametrize("device", [*facts.gpus(), facts.CPU])
def test_every_preset_of_every_device_has_a_source_and_a_range_that_holds_it(device: str) -> None:
    low_kg, high_kg = embodied_range(device)
    for preset in presets_of(device):
        found = embodied_carbon(device, preset)
        assert found.source
        assert (found.device, found.preset) == (device, preset)
        assert low_kg <= found.low_kg <= found.kg <= found.high_kg <= high_kg


def test_the_range_of_a_t4_goes_from_a_clean_act_fab_to_the_vendor_ratio() -> None:
    assert embodied_range("T4") == pytest.approx((8.324957, 5.2 * 10.273021), abs=1e-5)


def test_the_paper_knows_two_gpus_and_the_cpu_only_sc23() -> None:
    assert [key for key in facts.gpus() if "paper" in presets_of(key)] == ["T4", "RTX6000Ada"]
    assert presets_of("T4") == EMBODIED_PRESETS
    assert presets_of("cpu") == ("sc23",)
    assert presets_covering(["T4", "H100"]) == ("act", "sc23", "vendor")


def test_the_default_is_the_first_preset_that_covers_all() -> None:
    assert choose_preset(["T4", "rtx6000ada"], None) == "paper"
    assert choose_preset(["T4", "H100"], None) == "act"
    assert choose_preset(["T4", "CPU"], None) == "sc23"
    assert choose_preset(["T4"], "vendor") == "vendor"


def test_a_requested_preset_that_lacks_a_device_is_refused_naming_both_sides() -> None:
    with pytest.raises(BadInput, match=r"'paper' has no H100 and no L4; presets that have all: act, sc23, vendor"):
        choose_preset(["T4", "H100", "L4"], "paper")


def test_a_preset_without_the_device_names_those_that_have_it() -> None:
    with pytest.raises(BadInput, match=r"'paper' has no H100; presets that have it: act, sc23, vendor"):
        embodied_carbon("H100", "paper")


def test_unknown_presets_and_devices_are_refused() -> None:
    with pytest.raises(BadInput, match=r"unknown embodied preset 'ACT2': valid are paper, act, sc23, vendor"):
        embodied_carbon("T4", "ACT2")
    with pytest.raises(BadInput, match="unknown embodied preset"):
        choose_preset(["T4"], "mine")
    with pytest.raises(UnknownFact, match="T4"):
        presets_of("T40")


def test_the_hourly_embodied_rates_of_the_paper() -> None:
    # 26,600 g / 43,800 h = 0.6073 g/h; 10,300 / 43,800 = 0.2352; ratio 2.58
    ada, t4 = (amortised_g(kg, S_PER_HOUR, 5 * S_PER_YEAR) for kg in (26.6, 10.3))
    assert ada == pytest.approx(0.6073, abs=5e-5)
    assert t4 == pytest.approx(0.2352, abs=5e-5)
    assert ada / t4 == pytest.approx(2.58, abs=5e-3)


def test_half_the_utilisation_doubles_the_share_of_each_busy_second() -> None:
    assert amortised_g(10.0, 60.0, S_PER_YEAR, 0.5) == 2 * amortised_g(10.0, 60.0, S_PER_YEAR, 1.0)
