"""Verdicts on made-up cells: what is met, what is missed and why, what stays open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carbonsweep.claims.cells import ADA, BATCHES, T4, Cells, cells_of_records
from carbonsweep.claims.judging import Verdict, judge, judge_cells, judge_takeaways
from carbonsweep.claims.ratios import at
from carbonsweep.claims.statements import claim, claims, contradictions, takeaways
from carbonsweep.claims.tolerance import tolerance
from carbonsweep.errors import UnknownFact
from tests.claims.grid import made_up, records


def verdict(name: str, cells: Cells) -> Verdict:
    return next(each for each in judge_cells(cells, "modelled") if each.id == name)


def takeaway(name: str, cells: Cells) -> Verdict:
    return next(each for each in judge_takeaways(cells, "modelled") if each.id == name)


def peaked(cells: Cells, best: dict[int, int]) -> Cells:
    """1B prefill with twice the speed and half the joules at each GPU's `best` batch, among equals a token."""
    cells.prompt_tokens[0] = 10
    for gpu, batch in best.items():
        cells.prefill_s[0, gpu, at(batch)] /= 2
        cells.prefill_j[0, gpu, at(batch)] /= 2
    return cells


# ---- the table of claims ----


def test_the_table_has_every_claim_takeaway_and_contradiction() -> None:
    assert [each.id for each in claims()] == [f"C{n:02}" for n in range(1, 20)]
    assert [each.id for each in takeaways()] == [f"T{n}" for n in range(1, 6)]
    ids = [each.id for each in contradictions()]
    assert {f"D{n}" for n in (1, 2, 3, 5, 6, 7, 8, 9)} | {f"X{n}" for n in range(1, 13)} <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_claim_that_nobody_made_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownFact, match="unknown claim 'C0': did you mean"):
        claim("C0")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("C01", 2.2, 0.22),  # 10 %
        ("C01", 1.1, 0.03),  # between 0.8 and 1.25
        ("C04", 0.8, 0.03),
        ("C04", 0.72, 0.072),
        ("C16", 0.197, 0.015),
        ("C07", 8, 0),
        ("C14", 26.6, 0),
    ],
)
def test_the_tolerance_is_tighter_where_it_could_turn_the_winner(name: str, value: float, allowed: float) -> None:
    assert tolerance(claim(name), value) == pytest.approx(allowed)


# ---- ratios and shares ----


def test_a_ratio_is_met_within_its_tolerance_and_missed_beyond_it() -> None:
    cells = made_up()
    # C11: 5.4 times the tokens a second at batch 64, +- 0.54; and more than at any other batch (here 9 / 4).
    for decode_s, met in ((4 * 5.4, True), (4 * 5.93, True), (4 * 5.95, False), (4 * 4.85, False)):
        cells.decode_s[0, T4, at(64)] = decode_s
        found = verdict("C11", cells)
        assert found.outcome == ("met" if met else "missed"), decode_s
    assert found.values[0].relative_error == pytest.approx(4.85 / 5.4 - 1)
    assert found.reason == "b64: off by -10.2 %, 0.54 is allowed"


def test_one_missed_value_misses_the_claim_and_is_named() -> None:
    cells = made_up()
    cells.decode_s[0, T4, 0] = 4 / 0.905
    cells.decode_j[0, T4, 0] = 350 * 0.9
    found = verdict("C10", cells)
    assert [each.met for each in found.values] == [False, True]
    assert found.outcome == "missed"
    assert found.reason.startswith("J/token: off by +23.5 %")
    assert "tokens/s" not in found.reason


def test_the_largest_lag_must_be_where_the_paper_has_it() -> None:
    cells = made_up()
    cells.decode_s[2, T4, at(4)] = 56  # (1 + 56) / 5 = 11.4
    assert verdict("C02", cells).outcome == "met"
    elsewhere = made_up()
    elsewhere.decode_s[2, T4, at(4)], elsewhere.decode_s[2, T4, at(8)] = 10, 56
    found = verdict("C02", elsewhere)
    assert found.values[0].met
    assert found.outcome == "missed"
    # What the table knows of the claim is said where it is missed.
    assert found.reason.startswith("broken: 7B b4 above 7B b8; the paper's is more than compute and bandwidth explain")


def test_reported_claims_are_neither_met_nor_missed() -> None:
    found = verdict("C05", made_up())
    assert found.outcome == "reported only"
    assert found.values[0].ours == pytest.approx(0.5)
    assert "X2" in found.reason


# ---- peaks and orders ----


def test_a_peak_is_met_at_its_batch_size_and_nowhere_else() -> None:
    right = peaked(made_up(), {T4: 8, ADA: 32})
    assert verdict("C07", right).outcome == "met"
    wrong = peaked(made_up(), {T4: 8, ADA: 16})
    found = verdict("C07", wrong)
    assert found.outcome == "missed"
    assert found.reason.startswith("RTX6000Ada: ours is at batch 16; broken: RTX6000Ada b32 above")
    # And the energy peak of C08, which for the Ada is at 16.
    assert verdict("C08", wrong).outcome == "met"
    assert verdict("C08", right).outcome == "missed"


def test_a_tie_is_not_a_peak() -> None:
    # Every batch the same: no batch is above another.
    cells = made_up()
    cells.prompt_tokens[0] = 10
    assert verdict("C07", cells).outcome == "missed"


def test_decode_must_improve_with_every_larger_batch() -> None:
    cells = made_up()  # 149 b tokens in the same time: it does
    assert verdict("C13", cells).outcome == "met"
    cells.decode_s[0, ADA, at(32)] *= 2.01
    found = verdict("C13", cells)
    assert found.outcome == "missed"
    assert found.reason == "broken: RTX6000Ada b32: tokens/s rise"
    cells = made_up()
    cells.decode_j[0, T4, at(2)] *= 2.01
    assert verdict("C13", cells).reason == "broken: T4 b2: J/token fall"


def test_the_ada_is_faster_in_every_configuration_that_fits_both() -> None:
    cells = made_up()
    cells.fits[2, T4, -1] = False
    assert verdict("C03", cells).outcome == "met"
    cells.decode_s[1, ADA, 3] = 9.01
    assert verdict("C03", cells).reason == "broken: 3B b8: Ada faster"


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ((0, T4, 6), "1B fits the T4 at every batch size"),
        ((2, ADA, 6), "everything fits the Ada"),
        ((1, T4, 2), "what fits a model fits it at smaller batches"),
    ],
)
def test_only_the_t4_runs_out_of_memory_and_only_for_large_models_and_batches(
    place: tuple[int, int, int], broken: str
) -> None:
    cells = made_up()
    cells.fits[2, T4, -1] = False
    cells.fits[place] = False
    assert broken in verdict("C03", cells).reason
    assert "the T4 runs out of memory for 7B at batch 64" in verdict("C03", made_up()).reason


def test_prefill_on_the_ada_must_be_faster_and_thriftier_at_every_batch() -> None:
    cells = made_up()
    cells.prefill_s[0, T4], cells.prefill_j[0, T4] = 2, 60
    assert verdict("C09", cells).outcome == "met"
    cells.prefill_j[0, T4, at(2)] = 49
    assert verdict("C09", cells).reason == "broken: b2: Ada thriftier"


def test_within_a_region_the_ada_emits_less_except_at_batch_1() -> None:
    cells = made_up()  # the T4 needs half of the joules: right at batch 1 only
    found = verdict("C15", cells)
    # Six are broken; three are enough to read.
    assert found.reason == "; ".join(
        [*(f"broken: b{b}: Ada below within a region" for b in BATCHES[1:4]), "and 3 more"]
    )
    cells.decode_j[:, T4, 1:] = 400
    assert verdict("C15", cells).outcome == "met"
    # A T4 in QC (31 g/kWh) against an Ada in CISO (262): ahead up to 8.45 times the joules.
    cells.decode_j[0, T4, -1] = 400 * 8.44 - 20
    assert verdict("C15", cells).outcome == "met"
    cells.decode_j[0, T4, -1] = 400 * 8.46 - 20
    assert verdict("C15", cells).reason == "broken: b64: T4 in QC below Ada in CISO"


def test_the_gap_shrinks_in_carbon_where_the_t4_is_less_slow_than_its_energy_is_more() -> None:
    cells = made_up()
    # Embodied rates are 26.6 / 10.3 = 2.583: carbon lies between the ratio of joules and that of seconds / 2.583.
    cells.decode_j[0, T4] = 2 * 350
    cells.decode_s[0, T4] = 4 * 5.1  # 1.97 < 2
    assert verdict("C18", cells).outcome == "met"
    cells.decode_s[0, T4] = 4 * 5.2  # 2.01 > 2
    assert verdict("C18", cells).outcome == "missed"


def test_a_longer_life_always_lowers_the_share_and_larger_models_must_have_a_lower_one() -> None:
    cells = made_up()
    assert verdict("C19", cells).reason.endswith("broken: 3B lower than 1B; broken: 7B lower than 3B")
    cells.decode_j[1, T4], cells.decode_j[2, T4] = 300, 400
    found = verdict("C19", cells)
    assert "broken" not in found.reason
    assert found.outcome == "reported only"
    # 20 W in QC: 0.235160 x 5/4 g/h against 0.62 g/h after 4 years, 0.235160 x 5/8 after 8.
    by_label = {each.label: each.ours for each in found.values}
    assert by_label["QC 4"] == pytest.approx(0.29395 / 0.91395, abs=1e-4)
    assert by_label["QC 8"] == pytest.approx(0.14697 / 0.76697, abs=1e-4)


# ---- what is not known ----


def test_a_claim_without_its_records_is_not_judged() -> None:
    cells = made_up()
    kept = [each for each in records(cells) if each.configuration.batch_size != 64]
    by_id = {each.id: each for each in judge(kept)}
    assert by_id["C11"].outcome == "not judged"
    assert by_id["C11"].values[0].ours is None
    assert "the first: b64" in by_id["C11"].reason
    assert by_id["C10"].outcome == "missed"  # batch 1 is there
    # The largest of all is unknown where one is.
    assert by_id["C02"].values[0].ours is None


def test_what_is_broken_already_is_missed_whatever_else_is_unknown() -> None:
    cells = made_up()
    cells.decode_s[0, ADA, at(2)] = 9.5
    cells.decode_s[2, ADA, at(8)] = np.nan
    found = verdict("C03", cells)
    assert found.outcome == "missed"
    assert "1B b2: Ada faster" in found.reason


def test_inputs_are_judged_without_any_record() -> None:
    by_id = {each.id: each for each in judge([])}
    assert by_id["C14"].outcome == "met"
    assert {each.outcome for each in by_id.values()} == {"met", "not judged", "reported only"}
    assert [each.id for each in by_id.values() if each.outcome == "met"] == ["C14"]


def test_a_verdict_says_what_stands_behind_it() -> None:
    assert {each.basis for each in judge(records(made_up()))} == {"modelled"}
    assert {each.basis for each in judge_cells(made_up(), "measured")} == {"measured"}


# ---- takeaways ----


def test_t1_holds_where_the_t4_saves_energy_at_batch_1_and_the_ada_beyond() -> None:
    cells = made_up()
    cells.decode_j[:, T4, 1:] = 400  # 420 against 400
    assert takeaway("T1", cells).outcome == "met"
    cells.decode_j[1, T4, 0] = 381
    assert takeaway("T1", cells).reason == "broken: 3B b1: T4 needs less energy"


def test_t2_needs_other_best_batches_and_other_best_gpus() -> None:
    cells = peaked(made_up(), {T4: 8, ADA: 16})
    cells.prefill_j[0, T4, 0] = 60
    assert takeaway("T2", cells).outcome == "met"
    cells.decode_j[0, T4, 0] = 351
    assert takeaway("T2", cells).reason == "broken: b1: decode best on the T4"


def test_t3_needs_shares_that_follow_the_grid_and_winners_that_do() -> None:
    cells = made_up()
    # Twice the joules in twice the time, which is 2 / 2.583 = 0.77 of the embodied carbon; at batch 1, 0.8 of them.
    cells.decode_j[:, T4, 1:] = 2 * 400 - 20
    cells.decode_j[:, T4, 0] = 0.8 * 400 - 20
    assert takeaway("T3", cells).outcome == "met"
    cells.decode_s[0, T4, 1] = 4 * 8  # 33 s against 5: 2.56 of the embodied carbon
    assert takeaway("T3", cells).reason == "broken: 1B: the cleaner the grid, the better the T4"


def test_t4_needs_a_comparison_that_embodied_carbon_turns() -> None:
    cells = made_up()
    # Half of the joules and 2 / 2.583 of the embodied carbon: the T4 is ahead in both.
    assert takeaway("T4", cells).outcome == "missed"
    # 1.02 times the joules: the Ada is ahead in energy. In QC 80 W are 2.48 g/h and the embodied rate 0.607: the T4 has
    # (1.02 x 2.48 + 0.774 x 0.607) / 3.087 = 0.972 of its carbon.
    cells.decode_j[1, T4, 3] = 1.02 * 400 - 20
    assert takeaway("T4", cells).outcome == "met"


def test_t5_is_the_lifetime_order_of_figure_7() -> None:
    cells = made_up()
    cells.decode_j[1, T4], cells.decode_j[2, T4] = 300, 400
    assert takeaway("T5", cells).outcome == "met"


def test_takeaways_without_records_are_not_judged() -> None:
    assert {each.outcome for each in judge_takeaways(cells_of_records([]), None)} == {"not judged"}


def test_t2_asks_for_a_peak_of_prefill_on_both_gpus_and_for_none_of_decode() -> None:
    for gpu, name in ((T4, "T4"), (ADA, "RTX6000Ada")):
        other = {T4: 16} if gpu == ADA else {ADA: 16}
        cells = peaked(made_up(), other)
        cells.prefill_j[0, T4] += 40
        cells.prefill_j[0, gpu, at(64)] /= 4  # thriftiest at the largest batch, as decode is
        assert takeaway("T2", cells).reason == f"broken: {name}: prefill's best batch below 64"
        cells = peaked(made_up(), {T4: 8, ADA: 16})
        cells.prefill_j[0, T4] += 40
        cells.decode_j[0, gpu, at(64)] *= 4
        assert f"broken: {name}: decode's best batch is 64" in takeaway("T2", cells).reason


def test_t3_asks_operation_to_dominate_on_a_dirty_grid_and_embodied_carbon_to_weigh_on_a_clean_one() -> None:
    # T4 at 0.235160 g/h embodied. 3 W in PACE are 1.941 g/h: 89 % operational. 69 W in QC are 2.139: 9.9 % embodied.
    cells = made_up()
    cells.prefill_j[0, T4, 3], cells.decode_j[0, T4, 3] = 3, 27
    assert "broken: 1B T4: operation dominates in PACE" in takeaway("T3", cells).reason
    cells = made_up()
    cells.prefill_j[0, T4], cells.decode_j[0, T4] = 69, 9 * 69
    assert "broken: 1B T4: embodied carbon weighs in QC" in takeaway("T3", cells).reason
    # Ada at 0.607306 g/h: 190 W in QC are 5.89 g/h, 9.3 % embodied.
    cells = made_up()
    cells.prefill_j[0, ADA], cells.decode_j[0, ADA] = 190, 4 * 190
    assert "broken: 1B RTX6000Ada: embodied carbon weighs in QC" in takeaway("T3", cells).reason


def test_t4_counts_a_turn_either_way() -> None:
    cells = made_up()
    # 0.98 of the joules in 4 times the time, 1.549 of the embodied carbon: ahead in energy, behind in carbon.
    cells.decode_j[2, T4, 1], cells.decode_s[2, T4, 1] = 0.98 * 400 - 20, 4 * 5 - 1
    assert takeaway("T4", cells).outcome == "met"


def test_c17_needs_its_two_batches_to_be_the_best_two_and_carbon_between_energy_and_1() -> None:
    cells = made_up()
    cells.prompt_tokens[0, ADA] = 1
    cells.prefill_s[0, ADA], cells.prefill_j[0, ADA] = 1, 200
    cells.prefill_j[0, ADA, at(16)], cells.prefill_j[0, ADA, at(32)] = 86, 100
    cells.prefill_s[0, ADA, at(16)] = 1.35
    # 86 J in 1.35 s against 100 J in 1 s, in mg: (0.74055 + 0.22774) / 1.02981 = 0.94027, within 0.03 of 0.927.
    assert verdict("C17", cells).outcome == "met"
    third = replace(cells, prefill_j=cells.prefill_j.copy())
    third.prefill_j[0, ADA, at(8)] = 99
    assert verdict("C17", third).reason == "broken: b32 second in J/token, above b8"
    faster = replace(cells, prefill_s=cells.prefill_s.copy())
    faster.prefill_s[0, ADA, at(16)] = 0.8
    # (0.74055 + 0.13496) / 1.02981 = 0.85017, below the 0.86 of the energies.
    assert "broken: energy ratio below carbon ratio" in verdict("C17", faster).reason
    slower = replace(cells, prefill_s=cells.prefill_s.copy())
    slower.prefill_s[0, ADA, at(16)] = 2
    # (0.74055 + 0.33739) / 1.02981 = 1.04674.
    assert "broken: carbon ratio below 1" in verdict("C17", slower).reason


def test_t3_asks_for_the_t4_in_quebec_alone_and_for_the_ada_in_the_dirtiest_region_alone() -> None:
    cells = made_up()
    # 1.02 times the joules at 0.774 of the embodied carbon: in QC 0.972 of the Ada's carbon (as for T4), in PACE, where
    # 80 W are 51.76 g/h, (1.02 x 51.76 + 0.774 x 0.607) / 52.37 = 1.017.
    cells.decode_j[:, T4] = 1.02 * 400 - 20
    assert takeaway("T3", cells).outcome == "met"


def test_the_share_must_fall_most_on_the_cleanest_grid() -> None:
    cells = made_up()
    cells.decode_j[1, T4], cells.decode_j[2, T4] = 300, 400
    # At 0.1 W nearly everything is embodied in QC, whatever the lifetime: from 4 to 8 years 0.0102 less there, 0.0695
    # less in CISO (0.29395 and 0.14697 g/h against 0.0031 and 0.0262).
    cells.prefill_j[0, T4, 0], cells.decode_j[0, T4, 0] = 0.1, 0.9
    assert "broken: falls more in QC than in CISO" in verdict("C19", cells).reason
