"""The paper's contradictions: what its own numbers give, by hand, and what the cells give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from carbonsweep.claims.cells import ADA, Cells
from carbonsweep.claims.findings import (
    READ,
    Finding,
    findings,
    flip_g_per_kwh,
    power_behind_share_w,
    power_ratio,
    share_at_power,
)
from carbonsweep.claims.ratios import at
from carbonsweep.claims.statements import claim, contradictions
from tests.claims.grid import made_up


def finding(name: str, cells: Cells | None = None) -> Finding:
    return next(each for each in findings(made_up() if cells is None else cells) if each.id == name)


def test_every_contradiction_of_the_table_is_a_finding_and_arithmetic_says_what_it_can() -> None:
    found = findings(made_up())
    assert [(each.id, each.text) for each in found] == [(each.id, each.text) for each in contradictions()]
    # What can only be read: sizes, weights, names and years, wording, boundaries.
    assert {each.id for each in found if each.arithmetic == READ} == {"X3", "X4", "X5", "X8", "X11", "X12"}


@pytest.mark.parametrize(("gpu", "power_w"), [("T4", 30.9), ("RTX6000Ada", 44.2)])
def test_d1_one_mean_power_per_gpu_gives_all_three_shares(gpu: str, power_w: float) -> None:
    # T4: 0.23516 g/h x (1 / 0.197 - 1) / 31 g/kWh = 30.92 W.
    found_w = power_behind_share_w(gpu, "QC", claim("C16").values[f"{gpu} QC"])
    assert found_w == pytest.approx(power_w, abs=0.05)
    for region in ("CISO", "PACE"):
        assert share_at_power(gpu, region, found_w) == pytest.approx(claim("C16").values[f"{gpu} {region}"], abs=6e-4)


def test_d2_the_3b_numbers_alone_need_equal_powers() -> None:
    assert {size: round(power_ratio(size), 3) for size in ("1B", "3B", "7B")} == {"1B": 0.655, "3B": 1.0, "7B": 0.364}
    # The made-up cells have 0.5 of the energy in 2 times the time.
    assert finding("D2").ours == "1B 0.250, 3B 0.250, 7B 0.250"


def test_d5_only_a_large_embodied_share_makes_both_ratios_of_c17_true() -> None:
    # (0.927 - 0.860) / (1.1 - 0.860) = 0.279; / (1.5 - 0.860) = 0.105.
    assert "must be 28 % (10 %) of b32's total" in finding("D5").arithmetic
    assert "30.7 % in QC, 5.0 % in CISO" in finding("D5").arithmetic


def test_d6_the_older_gpu_wins_on_embodied_carbon_where_it_is_less_slow_than_26_6_over_10_3() -> None:
    said = finding("D6").arithmetic
    assert "2.58" in said
    assert "7B b1 2.2 (T4)" in said
    assert "1B decode b64 5.4 (Ada)" in said


def test_d7_the_powers_behind_the_shares_do_not_share_a_batch_size() -> None:
    # 30.92 / 44.23 = 0.699; 0.729 x 0.905 = 0.660; 30.92 / 0.660 = 46.9 W.
    assert "= 0.699; at batch 1 0.660 (C10) and 0.655 (C01, C04): the Ada draws 46.9 W" in finding("D7").arithmetic


def test_d8_reads_the_time_of_a_further_sequence_off_the_cells() -> None:
    cells = made_up()
    # Steps of 149 tokens a prompt: 9 s at batch 1, and 9 s + 149 x 63 x 1 ms at batch 64.
    cells.decode_s[0, 0, at(64)] += 149 * 63 * 1e-3
    assert finding("D8", cells).ours.startswith(f"T4 {9e3 / 149:.1f} ms at b1, 1.00 ms for each further sequence")


def test_the_best_batch_flips_where_the_embodied_grams_outweigh_the_joules() -> None:
    cells = made_up()
    cells.prompt_tokens[0, ADA] = 1
    cells.prefill_j[0, ADA, at(16)], cells.prefill_s[0, ADA, at(16)] = 100, 2
    cells.prefill_j[0, ADA, at(32)], cells.prefill_s[0, ADA, at(32)] = 200, 1
    # 26.6 kg over 5 x 8760 h are 0.168697 mg/s; 100 J more are 2.77778e-5 kWh: 0.168697e-3 / 2.77778e-5 = 6.0731 g/kWh.
    assert flip_g_per_kwh(cells) == pytest.approx(6.0731, abs=1e-4)
    assert "flips to batch 32 below 6.1 g/kWh" in finding("X6", cells).ours
    cells.prefill_s[0, ADA, at(32)] = 3  # slower and hungrier: never
    assert flip_g_per_kwh(cells) is None
    assert finding("X6", cells).ours == "batch 16 stays best on every grid"


def test_x13_names_the_batch_of_the_largest_saving() -> None:
    cells = made_up()
    cells.decode_j[0, ADA, at(32)] = 18
    assert finding("X13", cells).ours == "least 0.100, at batch 32"
    # 5.4 times the tokens at no less than 0.425 of the joules: 2.295 times the power.
    assert "= 2.29 times" in finding("X13").arithmetic or "= 2.30 times" in finding("X13").arithmetic


def test_x14_where_the_t4_is_ahead_in_energy_its_embodied_carbon_widens_the_difference() -> None:
    # 1 / 0.905 = 1.105 times the time at 10.3 / 26.6 of the embodied carbon an hour: 0.428.
    assert finding("X14").arithmetic.endswith("0.729 in energy, 1.105 / 2.58 = 0.428 in embodied carbon")
    # Made up: 180 / 350 J are 0.514; in QC, in mg, (1.5500 + 9 x 0.0653219) / (3.0139 + 4 x 0.168697) = 0.5795.
    assert finding("X14").ours == "T4/Ada at batch 1: 0.514 in energy, 0.580 in total carbon in QC"


def test_findings_over_unknown_cells_say_unknown() -> None:
    cells = made_up()
    cells.decode_s[1, 0, 2] = math.nan
    cells.decode_j[0, 0, 3] = np.nan
    assert finding("D3", cells).ours.startswith("unknown")
    assert finding("X13", cells).ours.startswith("unknown")
