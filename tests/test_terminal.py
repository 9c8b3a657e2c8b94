"""What is printed: readable numbers, unknown as 'unknown', and nothing hostile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import answer, inputs, terminal
from carbonsweep.amounts import digits
from carbonsweep.document import document
from carbonsweep.domain import Basis, Configuration, Slo, TrialRecord
from carbonsweep.evidence import TrialCost
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.sweep_cost import sweep_cost
from tests.conftest import configuration, measurement, record


def question(*names: str, slo: Slo | None = None, region: str | None = "QC") -> Question:
    scenario = inputs.scenario({} if region is None else {"region": region}, ["T4", "RTX6000Ada"])
    return Question(objectives=objectives(names), slo=slo or Slo(), scenario=scenario)


def printed(capsys: pytest.CaptureFixture[str], asked: Question, *records: TrialRecord) -> str:
    found = answer.answer(records, asked)
    terminal.show_answer(found, document(found))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("value_g", "text"),
    [(None, "unknown"), (1234.0, "1.23 kg"), (5.0, "5 g"), (0.00103, "1.03 mg"), (2e-7, "0.2 µg"), (0.0, "0 µg")],
)
def test_grams_are_written_with_a_readable_prefix(value_g: float | None, text: str) -> None:
    assert terminal.grams(value_g) == text


@given(st.floats(1e-9, 1e9))
def test_a_prefix_never_changes_the_grams(value_g: float) -> None:
    number, unit = terminal.grams(value_g).split()
    factor = {"kg": 1e3, "g": 1.0, "mg": 1e-3, "µg": 1e-6}[unit]
    assert float(number) * factor == pytest.approx(value_g, rel=0.006)


@pytest.mark.parametrize(
    ("value_j", "text"),
    [(None, "unknown"), (3.1e7, "31 MJ"), (31_000.0, "31 kJ"), (400.0, "400 J"), (0.5, "500 mJ"), (0.0, "0 mJ")],
)
def test_joules_are_written_with_a_readable_prefix(value_j: float | None, text: str) -> None:
    assert terminal.joules(value_j) == text


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.31, "310 ms"), (412.0, "412 s"), (600.0, "10 min"), (3600.0, "1 h 0 min"), (8040.0, "2 h 14 min")],
)
def test_a_span_of_hours_is_no_number_of_seconds(value_s: float, text: str) -> None:
    assert terminal.span(value_s) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("carbon", 0.00196, "1.96 mg CO2e per 1,000 output tokens"),
        ("energy", 183.33, "183.3 J per 1,000 output tokens"),
        ("latency", 0.5, "500 ms"),
        ("throughput", 171.43, "171.4 tokens/s"),
    ],
)
def test_a_value_of_an_objective_has_its_unit(name: str, value: float, text: str) -> None:
    assert terminal.objective_value(question(name), value) == text


def test_seconds_below_one_are_milliseconds() -> None:
    assert (terminal.seconds(0.0725), terminal.seconds(11.53)) == ("72.5 ms", "11.5 s")


def test_unknown_energy_is_said_and_never_zero(capsys: pytest.CaptureFixture[str]) -> None:
    blind = record(configuration(), measurement(prefill_j=None, decode_j=None))
    text = printed(capsys, question("latency"), blind)
    assert "carbon          unknown: this measurement has no energy" in text
    assert "0 g" not in text
    assert "unknown: no --region given" in printed(capsys, question("latency", region=None), blind)


def test_the_distance_to_each_limit_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    # TTFT 0.5 s against 1 s: 50 % below.
    text = printed(capsys, question("carbon", slo=Slo(ttft_s=1.0)), record(configuration(), measurement(ttft_s=0.5)))
    assert "TTFT            500 ms (500 ms to 500 ms), 50.0 % below the limit of 1 s" in text


def test_with_nothing_feasible_the_misses_are_printed_and_no_best(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, question("carbon", slo=Slo(ttft_s=0.25)), record(configuration(), measurement(ttft_s=0.5)))
    assert "Best" not in text
    assert "+100.0 %" in text
    assert "TTFT 500 ms, 100.0 % above the limit of 250 ms" in text


def test_markup_in_a_name_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        record(configuration(model=f"[red]{ttft_s}[/red] [/]"), measurement(ttft_s=ttft_s)) for ttft_s in (0.5, 0.6)
    ]
    assert "[red]0.6[/red] [/]" in printed(capsys, question("carbon"), *records)


# ---- what the sweep itself cost ----


def spent(
    duration_s: float, energy_j: float | None, where: Configuration, ttft_s: float = 0.5, basis: Basis = "measured"
) -> TrialRecord:
    made = record(where, measurement(ttft_s=ttft_s, gpu=where.gpu))
    cost = TrialCost(duration_s=duration_s, energy_j=energy_j, source=None if energy_j is None else "nvml-counter")
    return replace(made, cost=cost, identity=replace(made.identity, basis=basis))


def costed(capsys: pytest.CaptureFixture[str], asked: Question, *records: TrialRecord) -> str:
    found = answer.answer(records, asked)
    terminal.show_answer(found, document(found, cost=sweep_cost(records, asked.scenario)))
    return capsys.readouterr().out


def test_the_sweeps_own_cost_is_part_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    # 31 kJ at 31 g/kWh: 267 mg; 412 s of 10.3 kg over five years (157.68 Ms): 26.9 mg; together 294 mg.
    text = costed(capsys, question("carbon"), spent(412.0, 31_000.0, configuration()))
    assert (
        "This sweep itself: 1 trial, 412 s of GPU time, 31 kJ, 294 mg CO2e (267 mg operational, 26.9 mg embodied)."
    ) in text
    # The best emits 1.959 mg per 1,000 output tokens (as in the page's test): 294 / 1.959 = 150 thousand tokens.
    assert "As much as serving 150,000 output tokens by the best configuration." in text


def test_the_saving_against_the_next_best_repays_the_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    records = [spent(412.0, 31_000.0, configuration()), spent(0.001, 0.001, configuration(batch_size=8), ttft_s=5.5)]
    text = costed(capsys, question("carbon"), *records)
    # The next best is 5 s longer on the same joules: 5 s of 10.3 kg over five years is 0.3266 mg, over 0.6 thousand
    # tokens 0.544 mg per thousand: 293.9 / 0.5444 = 540 thousand tokens.
    assert "; against the next best it is repaid after 540,000 output tokens." in text


def test_unmetered_trials_make_the_cost_a_lower_bound(capsys: pytest.CaptureFixture[str]) -> None:
    records = [spent(412.0, 31_000.0, configuration()), spent(10.0, None, configuration(batch_size=8))]
    text = costed(capsys, question("carbon"), *records)
    assert "422 s of GPU time, at least 31 kJ (1 of 2 trials unmetered), at least 295 mg CO2e" in text
    assert "As much as serving at least 150,000 output tokens" in text


def test_a_sweep_whose_cost_nobody_knows_says_so_and_prints_no_zero(capsys: pytest.CaptureFixture[str]) -> None:
    text = costed(capsys, question("carbon"), spent(0.31, None, configuration(), basis="modelled"))
    assert "This sweep itself: 1 trial, 310 ms, energy unknown, carbon unknown." in text
    assert "As much as" not in text


def test_without_a_region_the_joules_of_a_sweep_are_told_and_its_grams_are_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = costed(capsys, question("latency", region=None), spent(412.0, 31_000.0, configuration()))
    assert "412 s of GPU time, 31 kJ, carbon unknown." in text


def test_several_kinds_of_gpu_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    ada = configuration(gpu="RTX6000Ada")
    text = costed(capsys, question("carbon"), spent(412.0, 31_000.0, configuration()), spent(88.0, 9_000.0, ada))
    assert "This sweep itself: 2 trials, 500 s of GPU time, 40 kJ" in text
    assert "  T4: 1 trial, 412 s of GPU time, 31 kJ" in text
    assert "  RTX6000Ada: 1 trial, 88 s of GPU time, 9 kJ" in text


def test_an_answer_that_states_no_cost_prints_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "This sweep itself" not in printed(capsys, question("carbon"), record(configuration(), measurement()))


@pytest.mark.parametrize(("value", "said"), [(20763.4, "20,760"), (4626.0, "4,626"), (0.11482, "0.1148"), (7.0, "7")])
def test_large_numbers_are_written_out(value: float, said: str) -> None:
    assert digits(value) == said
