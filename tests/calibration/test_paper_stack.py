"""The paper's stack as committed: every claim it met is still met, and the fit behind it is one."""

from __future__ import annotations

import csv
import functools
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.calibration.paper_errors import (
    HeldOut,
    Spread,
    drawn_columns,
    half_width,
    held_out_spread,
    phase_errors,
    resampled,
)
from carbonsweep.calibration.paper_parameters import ASSUMED, ASSUMPTIONS, EDGE, IDLE_W, PARAMETERS
from carbonsweep.calibration.paper_rows import (
    MOVED,
    draw_rows,
    engine_rows,
    left_out_text,
    means_of_gpus,
    moved_text,
    without_text,
)
from carbonsweep.calibration.paper_stack import (
    IDLE,
    committed,
    fit,
    loss,
    modelled_cells,
    places_of,
    rounded,
    targets,
    values_at,
)
from carbonsweep.calibration.paper_terms import Without, moved_assumptions
from carbonsweep.claims.cells import Cells, cells_of_records, paper_points, paper_workload
from carbonsweep.claims.judging import Verdict, judge_cells, judge_takeaways
from carbonsweep.claims.orders import margins
from carbonsweep.claims.takeaways import takeaway_margins
from carbonsweep.facts.engines import engine
from carbonsweep.trial import trial

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"
DRAWS = ROOT / "carbonsweep" / "facts" / "engine_draws.json"

MET = {f"C{n:02}" for n in range(1, 20)} - {"C05", "C19"}
"""Every claim but the two that are reported: what the committed row meets, and must go on meeting."""
WITHIN_10_PERCENT = 13
"""Of the 13 ratios; the mark is eleven, none beyond 20 %."""


@functools.cache
def verdicts() -> dict[str, Verdict]:
    """Over records of the device model with the committed engine row, claims and takeaways."""
    points, workload = paper_points(), paper_workload()
    records = [trial(RooflineBench(), points.configuration(i), workload) for i in range(len(points))]
    cells = cells_of_records(records)
    return {each.id: each for each in (*judge_cells(cells, "modelled"), *judge_takeaways(cells, "modelled"))}


# ---- the claims table ----


@pytest.mark.parametrize("name", sorted(MET))
def test_no_met_claim_is_lost(name: str) -> None:
    assert verdicts()[name].outcome == "met", verdicts()[name].reason


@pytest.mark.parametrize("name", ["T1", "T2", "T3", "T4", "T5"])
def test_no_takeaway_is_lost(name: str) -> None:
    assert verdicts()[name].outcome == "met", verdicts()[name].reason


def test_the_orders_of_figure_7_hold_though_its_numbers_are_only_reported() -> None:
    assert [each.label for each in verdicts()["C19"].orders if not each.met] == []


def test_the_thirteen_ratios_are_as_near_as_they_were() -> None:
    ratios = [v for each in verdicts().values() if each.kind == "ratio" and each.id != "C05" for v in each.values]
    assert len(ratios) == 13
    errors = [abs(v.relative_error) for v in ratios if v.relative_error is not None]
    assert sum(error <= 0.10 for error in errors) >= WITHIN_10_PERCENT
    assert max(errors) <= 0.20
    assert [v.label for v in ratios if 0.8 <= v.paper <= 1.25 and abs((v.ours or 0) - v.paper) > 0.03] == []


def test_the_six_shares_follow_from_the_bench_s_own_power() -> None:
    shares = verdicts()["C16"].values
    assert len(shares) == 6
    assert [v.label for v in shares if v.ours is None or abs(v.ours - v.paper) > 0.015] == []


# ---- the fit ----


def test_there_are_fewer_parameters_than_numbers_they_are_fitted_to() -> None:
    assert len(PARAMETERS) <= 18
    # C01 3, C02, C04 2, C06, C10 2, C11, C12, C17 2 are 13 ratios; C16 has 6 shares.
    assert len(targets()) == 19
    assert {aim.claim for aim in targets()} == {"C01", "C02", "C04", "C06", "C10", "C11", "C12", "C16", "C17"}


def test_every_parameter_has_unit_meaning_and_prior_and_no_field_is_both_free_and_assumed() -> None:
    for parameter in PARAMETERS:
        assert parameter.unit, parameter.name
        assert parameter.meaning, parameter.name
        assert parameter.prior, parameter.name
        assert parameter.low < parameter.high
    assert len({parameter.name for parameter in PARAMETERS}) == len(PARAMETERS)
    assert not {parameter.field for parameter in PARAMETERS} & set(ASSUMED)


def test_the_committed_values_are_inside_their_priors_and_none_is_on_the_edge() -> None:
    for parameter, value in zip(PARAMETERS, committed(), strict=True):
        assert parameter.low < value < parameter.high, parameter.name
        assert not parameter.on_edge(value), parameter.name


def test_the_edge_is_two_percent_of_the_prior_on_its_own_scale() -> None:
    linear = next(p for p in PARAMETERS if p.scale == "linear")
    log = next(p for p in PARAMETERS if p.scale == "log")
    for parameter in (linear, log):
        inside, outside = (float(parameter.value(np.array(place))) for place in (EDGE * 1.01, EDGE * 0.99))
        assert (parameter.on_edge(inside), parameter.on_edge(outside)) == (False, True)
    assert float(log.value(np.array(0.5))) == pytest.approx((log.low * log.high) ** 0.5)
    assert float(linear.value(np.array(0.5))) == pytest.approx((linear.low + linear.high) / 2)


def test_both_gpus_hold_the_same_values_of_what_is_shared_and_what_is_assumed() -> None:
    for parameter, value in zip(PARAMETERS, committed(), strict=True):
        for gpu in ("T4", "RTX6000Ada") if parameter.gpu is None else (parameter.gpu,):
            assert getattr(engine("paper", gpu), parameter.field) == value
    for gpu in ("T4", "RTX6000Ada", "A100-80"):
        row = engine("paper", gpu)
        assert {field: getattr(row, field) for field in ASSUMED} == ASSUMED


def test_the_fast_path_of_the_fit_is_the_device_model_itself() -> None:
    points, workload = paper_points(), paper_workload()
    records = [trial(RooflineBench(), points.configuration(i), workload) for i in range(len(points))]
    by_records = cells_of_records(records)
    # Two candidates at once, the second another one: the first must be what the committed row gives.
    other = [value * 1.01 for value in committed()]
    by_arrays = modelled_cells(np.array([committed(), other]).T)
    np.testing.assert_array_equal(by_arrays.fits[0], by_records.fits)
    for name in Cells.__dataclass_fields__:
        if name != "fits":
            of_first = getattr(by_arrays, name)[0][by_records.fits]
            np.testing.assert_allclose(of_first, getattr(by_records, name)[by_records.fits], rtol=1e-12, err_msg=name)
    assert not np.allclose(by_arrays.decode_s[0], by_arrays.decode_s[1])


def test_no_small_step_of_one_parameter_is_better_than_the_committed_values() -> None:
    places = places_of(committed())
    here = float(loss(places[:, None])[0])
    for i, parameter in enumerate(PARAMETERS):
        for step in (-0.02, 0.02):
            moved = places.copy()
            moved[i] += step
            # Four digits are kept of each value: a permille of the loss may be had back.
            assert float(loss(moved[:, None])[0]) > here * 0.999, (parameter.name, step)


def test_a_search_that_starts_beside_the_committed_values_finds_nothing_better() -> None:
    here = float(loss(places_of(committed())[:, None])[0])
    found = fit(generations=25, seed=1, start=committed())
    assert float(loss(places_of(found)[:, None])[0]) > 0.98 * here


def test_the_same_seed_finds_the_same_digits() -> None:
    assert fit(generations=5, seed=3) == fit(generations=5, seed=3)
    assert fit(generations=5, seed=3) != fit(generations=5, seed=4)


def test_a_broken_order_costs_more_than_any_ratio_can_win() -> None:
    # A T4 whose prefill draws no more than its decode loses C09; all ratios of decode stay as they are.
    values = list(committed())
    names = [parameter.name for parameter in PARAMETERS]
    here = float(loss(places_of(values)[:, None])[0])
    values[names.index("prefill_power_floor, T4")] = 0.6
    cells = modelled_cells(np.array(values)[:, None])
    first = Cells(**{name: getattr(cells, name)[0] for name in Cells.__dataclass_fields__})
    broken = [each for each in judge_cells(first, "modelled") if each.id == "C09"]
    assert broken[0].outcome == "missed"
    # A number at the edge of its tolerance costs 0.3.
    assert float(loss(places_of(values)[:, None])[0]) > here + 1


def test_a_claim_left_out_has_no_say() -> None:
    aims = [aim for aim in targets() if aim.claim != "C02"]
    values = list(committed())
    values[[parameter.name for parameter in PARAMETERS].index("spill_bytes_per_s")] *= 2
    with_it, without_it = (
        float(loss(places_of(values)[:, None], some, left_out=left_out)[0])
        for some, left_out in (((), ""), (aims, "C02"))
    )
    assert with_it > without_it + 1


def test_places_and_values_are_inverse_and_kept_to_four_digits() -> None:
    places = np.linspace(0.05, 0.95, len(PARAMETERS))
    assert places_of(values_at(places[:, None])[:, 0].tolist()) == pytest.approx(places)
    assert rounded(np.array([[0.0123456], [2.5391e9]])) == (0.01235, 2.539e9)


# ---- how far it can be trusted ----


def held(claim: str, label: str, paper: float, predicted: float) -> HeldOut:
    return HeldOut(claim=claim, label=label, paper=paper, predicted=predicted)


def test_half_of_a_quotient_s_variance_falls_to_each_gpu() -> None:
    made = held_out_spread(
        [
            held("C01", "1B", 1.0, np.exp(0.2)),  # of times
            held("C11", "b64", 5.0, 5.0),
            held("C04", "1B", 1.0, np.exp(-0.4)),  # of energies
            held("C12", "b16", 0.5, 0.5),
            held("C17", "J/token", 0.9, 9.0),  # of one GPU: no say
            held("C16", "T4 QC", 0.2, 0.2),
            held("C16", "T4 PACE", 0.01, 0.1),  # QC alone stands for its power
        ]
    )
    # Times: mean square (0.04 + 0) / 2, half of it 0.01. Energies: (0.16 + 0) / 2 / 2 = 0.04, less 0.01 of time.
    assert made.time == pytest.approx(0.1)
    assert made.power == pytest.approx(0.03**0.5)


def test_an_embodied_share_that_is_off_is_a_power_that_is_off() -> None:
    # 0.2 / 0.8 against 0.25 / 0.75: the power is 0.75 times the one behind the paper's share.
    made = held_out_spread([held("C01", "1B", 1, 1), held("C04", "1B", 1, 1), held("C16", "T4 QC", 0.2, 0.25)])
    assert made.power == pytest.approx(-np.log(0.75))


def test_the_error_of_a_phase_joins_draws_and_what_no_draw_sees() -> None:
    no_draws = np.array([committed(), committed()])
    errors = phase_errors(committed(), no_draws, Spread(time=0.1, power=0.2))
    # Without any spread of the draws: exp(1.96 x 0.1) - 1, and for energy with 0.1 and 0.2 together.
    for gpu in ("T4", "RTX6000Ada"):
        assert errors[gpu].decode_time_error == pytest.approx(np.expm1(0.196), abs=0.005)
        assert errors[gpu].prefill_energy_error == pytest.approx(np.expm1(1.96 * 0.05**0.5), abs=0.005)
    assert half_width(0.0) == 0
    slower = np.array(committed())
    slower[[parameter.name for parameter in PARAMETERS].index("host_s_per_pass, T4")] *= 1.3
    wider = phase_errors(committed(), np.array([committed(), slower]), Spread(time=0.1, power=0.2))
    assert wider["T4"].prefill_time_error > errors["T4"].prefill_time_error + 0.05
    assert wider["RTX6000Ada"].prefill_time_error == errors["RTX6000Ada"].prefill_time_error


def test_a_resampled_target_moves_within_half_of_its_last_digit() -> None:
    drawn = list(resampled(np.random.default_rng(1)))
    assert len(drawn) == len(targets())
    by_name = {aim.name: aim for aim in targets()}
    for aim in drawn:
        assert abs(aim.value - by_name[aim.name].value) <= aim.digit / 2
        assert aim.digit in (0.1, 0.01, 0.001)
    assert any(aim.value != by_name[aim.name].value for aim in drawn)
    assert len({aim.name for aim in drawn}) < len(targets())  # with replacement


def test_any_other_gpu_gets_the_geometric_means_and_a_wider_error() -> None:
    elsewhere = engine("paper", "A100-80")
    t4, ada = (engine("paper", gpu) for gpu in ("T4", "RTX6000Ada"))
    assert elsewhere.host_s_per_pass == pytest.approx((t4.host_s_per_pass * ada.host_s_per_pass) ** 0.5, rel=1e-3)
    for field in ("prefill_time_error", "prefill_energy_error", "decode_time_error", "decode_energy_error"):
        assert getattr(elsewhere, field) > max(getattr(t4, field), getattr(ada, field))
    means = means_of_gpus(committed())
    names = [parameter.name for parameter in PARAMETERS]
    assert means[names.index("sequence_busy, T4")] == means[names.index("sequence_busy, RTX6000Ada")]
    assert means[names.index("spill_bytes_per_s")] == pytest.approx(t4.spill_bytes_per_s)


def test_the_rows_that_a_fit_writes_are_the_rows_that_are_read() -> None:
    spread = Spread(time=0.1, power=0.1)
    rows = engine_rows(committed(), np.array([committed(), committed()]), spread)
    for gpu in ("T4", "RTX6000Ada"):
        read = engine("paper", gpu)
        written = {**{key: value for key, value in rows.items() if key != "gpu"}, **rows["gpu"][gpu]}
        fitted = {key: value for key, value in written.items() if not key.endswith("_error")}
        assert {key: getattr(read, key) for key in fitted} == fitted


def test_the_committed_draws_are_joint_and_inside_the_priors() -> None:
    rows = json.loads(DRAWS.read_text(encoding="utf-8"))["rows"]["paper"]
    assert set(rows) == {"", "T4", "RTX6000Ada"}
    for parameter in PARAMETERS:
        for gpu in ("T4", "RTX6000Ada") if parameter.gpu is None else (parameter.gpu,):
            drawn = rows[gpu][parameter.field]
            assert len(drawn) == 64
            assert min(drawn) >= parameter.low * 0.999
            assert max(drawn) <= parameter.high * 1.001
            assert len(set(drawn)) > 32, parameter.name
        if parameter.gpu is None:
            assert rows["T4"][parameter.field] == rows["RTX6000Ada"][parameter.field]
    for gpu in rows:
        for factor in ("time_factor", "power_factor"):
            assert len(rows[gpu][factor]) == 64
            assert abs(np.log(rows[gpu][factor]).mean()) < 0.15
    assert rows["T4"]["time_factor"] != rows["RTX6000Ada"]["time_factor"]
    assert np.log(rows[""]["power_factor"]).std() > np.log(rows["T4"]["power_factor"]).std()


def test_every_committed_draw_keeps_every_order_of_the_paper() -> None:
    rows = json.loads(DRAWS.read_text(encoding="utf-8"))["rows"]["paper"]
    values = np.array([rows[parameter.gpu or "T4"][parameter.field] for parameter in PARAMETERS])
    cells = modelled_cells(values)
    least = {name: each.least for name, each in {**margins(cells), **takeaway_margins(cells)}.items()}
    assert {len(each) for each in least.values()} == {64}
    assert [name for name, each in least.items() if not (each > 0).all()] == []


def test_columns_of_draws_are_what_the_draws_file_holds() -> None:
    drawn = np.array([committed()] * 3)
    columns = drawn_columns(drawn, Spread(time=0.0, power=0.0))
    assert columns["T4"]["host_s_per_pass"] == [engine("paper", "T4").host_s_per_pass] * 3
    assert columns["T4"]["time_factor"] == [1.0] * 3
    rows = draw_rows(committed(), drawn, Spread(time=0.0, power=0.0))
    assert set(rows) == {"T4", "RTX6000Ada", ""}
    assert rows[""]["sequence_busy"] == pytest.approx([engine("paper", "A100-80").sequence_busy] * 3, rel=1e-3)
    assert len(set(rows[""]["time_factor"])) == 3  # giving a GPU the means of two others is never exact


def test_the_tables_of_what_was_left_out_are_committed_and_complete() -> None:
    with (RESULTS / "claims_left_out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["claim"], row["label"]) for row in rows] == [(aim.claim, aim.label) for aim in targets()]
    for row in rows:
        assert float(row["relative_error"]) == pytest.approx(
            float(row["predicted"]) / float(row["paper"]) - 1, abs=1e-3
        )
    with (RESULTS / "claims_without_a_term.csv").open(encoding="utf-8", newline="") as file:
        without = list(csv.DictReader(file))
    # What is missed at other values of what was fixed by hand, with all else as fitted, is what is missed now.
    with (RESULTS / MOVED).open(encoding="utf-8", newline="") as file:
        moved = list(csv.DictReader(file))
    asked = [(field, other) for field, each in ASSUMPTIONS.items() for other in each.others]
    asked += [(name, other) for name, gpu in IDLE.items() for other in IDLE_W[gpu]]
    assert [(row["field"], float(row["other"])) for row in moved] == asked
    for row, change in zip(moved, asked, strict=True):
        cells = modelled_cells(np.array(committed())[:, None], (change,))
        first = Cells(**{name: getattr(cells, name)[0] for name in Cells.__dataclass_fields__})
        judged = (*judge_cells(first, "modelled"), *judge_takeaways(first, "modelled"))
        assert row["missed_as_fitted"].split() == [each.id for each in judged if each.outcome == "missed"], change
    # Each of the unusual terms is there because something is missed without it.
    assert len(without) == 3
    assert [row["term"] for row in without if not row["missed"]] == []


def test_idle_power_is_what_a_gpu_of_the_fit_draws_at_least_and_another_gpus_is_not_touched() -> None:
    values = np.array(committed())[:, None]
    # 1B decode at batch 1 mostly waits for the host: with 7 W more of idle power, nearly so many more.
    here, there = modelled_cells(values), modelled_cells(values, (("idle_w of T4", 33.0),))
    power_w, moved_w = (each.decode_j / each.decode_s for each in (here, there))
    assert 5 < moved_w[0, 0, 0, 0] - power_w[0, 0, 0, 0] <= 7
    np.testing.assert_array_equal(moved_w[:, :, 1], power_w[:, :, 1])
    # And 14 W less are not stopped at the 26 W of the table of GPUs.
    less = modelled_cells(values, (("idle_w of T4", 12.0),))
    assert (less.decode_j / less.decode_s)[0, 0, 0, 0] < 21
    np.testing.assert_array_equal(here.decode_s, there.decode_s)


def test_a_value_outside_what_was_seen_elsewhere_is_known_to_be() -> None:
    p = replace(PARAMETERS[0], seen=(1.0, 2.0))
    assert [p.is_seen(value) for value in (0.9, 1.0, 2.0, 2.1)] == [False, True, True, False]
    assert replace(p, seen=None).is_seen(9.0)
    # A range seen reaches into its prior: else every value would be outside.
    assert [p.name for p in PARAMETERS if p.seen and not (p.low <= p.seen[1] and p.seen[0] <= p.high)] == []


def test_assumptions_are_moved_one_at_a_time_with_and_without_a_new_fit() -> None:
    (first, *rest) = moved_assumptions(committed(), generations=1)
    assert (first.name, first.value, first.other) == ("free_sequences", 1.0, 0.0)
    assert "C10" in first.lost
    assert len(rest) + 1 == sum(len(each.others) for each in ASSUMPTIONS.values()) + sum(map(len, IDLE_W.values()))
    text = moved_text([replace(first, lost=("C01", "C10"), lost_refitted=(), on_edge=("a, T4", "b"))])
    assert text.splitlines()[1] == 'free_sequences,1,0,C01 C10,,"a, T4; b"'


def test_the_tables_are_comma_separated_with_one_line_for_each() -> None:
    text = left_out_text([replace(held("C01", "1B", 1.1, 1.21))])
    assert text == "claim,label,paper,predicted,relative_error\nC01,1B,1.1,1.21,0.1000\n"
    rows = list(
        csv.reader(io.StringIO(without_text([Without(term="t", numbers_met=3, numbers=19, missed=("a", "b"))])))
    )
    assert rows[1] == ["t", "3", "19", "a | b"]
