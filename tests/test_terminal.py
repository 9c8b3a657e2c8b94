"""What is printed: readable numbers, unknown as 'unknown', and nothing hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import answer, inputs, terminal
from carbonsweep.document import document
from carbonsweep.domain import Slo, TrialRecord
from carbonsweep.search.objectives import Question, objectives
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
    assert "TTFT            500 ms (500 ms to 500 ms), 50.0% below the limit of 1 s" in text


def test_with_nothing_feasible_the_misses_are_printed_and_no_best(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, question("carbon", slo=Slo(ttft_s=0.25)), record(configuration(), measurement(ttft_s=0.5)))
    assert "Best" not in text
    assert "+100.0%" in text
    assert "TTFT 500 ms, 100.0% above the limit of 250 ms" in text


def test_markup_in_a_name_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        record(configuration(model=f"[red]{ttft_s}[/red] [/]"), measurement(ttft_s=ttft_s)) for ttft_s in (0.5, 0.6)
    ]
    assert "[red]0.6[/red] [/]" in printed(capsys, question("carbon"), *records)
