"""No winner is declared inside measurement noise, and a model's error is none."""

from __future__ import annotations

import pytest

from carbonsweep import verdict_lines
from carbonsweep.answer import Answer, answer
from carbonsweep.document import document
from carbonsweep.domain import Slo, TrialRecord
from carbonsweep.ties import kept_out_by_noise, limits_in_noise, tie
from tests.conftest import configuration, measurement, phase, record
from tests.test_answer import asking


def timed(
    batch_size: int, latency_s: float, half_s: float, basis: str = "measured", decode_j: float = 90.0
) -> TrialRecord:
    """A tenth of a second of prefill, the rest decode of 149 steps, which alone has an interval."""
    decode_s = latency_s - 0.1
    interval = {"duration_low_s": decode_s - half_s, "duration_high_s": decode_s + half_s}
    found = measurement(prefill=phase(0.1, 20.0), decode=phase(decode_s, decode_j, **interval), basis=basis)
    return record(configuration(batch_size=batch_size), found)


def by_latency(*records: TrialRecord, slo: Slo | None = None) -> Answer:
    return answer(records, asking("latency", slo=slo))


def tied(found: Answer) -> list[int]:
    judged = tie(found)
    assert judged is not None
    return [c.record.configuration.batch_size for c in judged.candidates]


# Of two half-widths of 0.03 the difference has 0.0424.
CLOSE, FAR = timed(2, 1.04, 0.03), timed(4, 1.05, 0.03)
BEST = timed(1, 1.0, 0.03)


def test_those_within_noise_tie_and_those_beyond_do_not() -> None:
    found = by_latency(FAR, CLOSE, BEST)
    assert tied(found) == [1, 2]
    judged = tie(found)
    assert judged is not None
    assert [(i.low, i.high) for i in judged.intervals] == [pytest.approx(e) for e in ((0.97, 1.03), (1.01, 1.07))]
    assert judged.unjudged == 0


def test_alone_at_the_top_is_no_tie() -> None:
    assert tied(by_latency(BEST, FAR)) == [1]
    assert verdict_lines.heading(by_latency(BEST, FAR)) == "Best (prompt latency)"
    assert list(verdict_lines.lines(by_latency(BEST, FAR))) == []


def test_a_modelled_best_ties_with_nobody_and_says_why() -> None:
    found = by_latency(timed(1, 1.0, 0.5, "modelled"), timed(2, 1.001, 0.5))
    assert tied(found) == [1]
    judged = tie(found)
    assert judged is not None
    assert (judged.intervals, judged.unjudged) == ((), None)
    assert "a model has an error, not noise" in judged.statement


def test_a_modelled_rival_is_not_judged() -> None:
    found = by_latency(BEST, timed(2, 1.001, 0.5, "modelled"), CLOSE)
    judged = tie(found)
    assert judged is not None
    assert judged.unjudged == 1
    assert set(tied(found)) == {1, 2}
    assert all(c.measurement.basis == "measured" for c in judged.candidates)


def test_a_rehearsal_has_noise() -> None:
    assert tied(by_latency(timed(1, 1.0, 0.03, "rehearsed"), timed(2, 1.04, 0.03, "rehearsed"))) == [1, 2]


def test_a_record_without_an_interval_is_not_known_to_be_ahead() -> None:
    judged = tie(by_latency(timed(1, 1.0, 0.0), FAR))
    assert judged is not None
    assert (judged.is_tie, judged.unjudged) == (False, None)
    assert "holds no interval" in judged.statement


def test_several_objectives_tie_by_the_first() -> None:
    # Their joules are the same, and so is their noise by energy; by latency the far one is beyond it.
    assert tied(answer([BEST, CLOSE, FAR], asking("latency", "energy"))) == [1, 2]
    assert sorted(tied(answer([BEST, CLOSE, FAR], asking("energy", "latency")))) == [1, 2, 4]


def test_the_answer_says_tie_and_lists_it() -> None:
    found = by_latency(BEST, CLOSE, FAR)
    assert verdict_lines.heading(found) == "Best (prompt latency; tie of 2 within measurement noise)"
    assert list(verdict_lines.lines(found)) == [
        "Tied, with 95 % intervals of the measurements:",
        "  T4 batch 1: 1 s (970 ms to 1.03 s)",
        "  T4 batch 2: 1.04 s (1.01 s to 1.07 s)",
    ]
    written = document(found)["tie"]
    assert [each["configuration"]["batch_size"] for each in written["configurations"]] == [1, 2]
    assert written["configurations"][1]["high"] == pytest.approx(1.07)
    assert written["objective"] == "latency"


def test_a_limit_met_by_less_than_noise_is_said() -> None:
    # 0.9 s of decode in 149 steps, 0.03 s either way: 6.04 ms to 6.24 ms.
    inside, outside = Slo(tpot_s=0.92 / 149), Slo(tpot_s=0.94 / 149)
    assert list(limits_in_noise(by_latency(BEST, slo=inside))) == ["tpot_s"]
    assert limits_in_noise(by_latency(BEST, slo=outside)) == {}
    said = list(verdict_lines.lines(by_latency(BEST, slo=inside)))
    assert said == ["TPOT 6.04 ms, limit 6.17 ms: inside the noise of +0.201 ms (95 %)."]
    assert limits_in_noise(by_latency(timed(1, 1.0, 0.03, "modelled"), slo=inside)) == {}


@pytest.mark.parametrize(("limit_s", "kept_out"), [(0.98, [2]), (0.96, [])])
def test_a_better_one_that_misses_a_limit_by_less_than_noise_is_named(limit_s: float, kept_out: list[int]) -> None:
    # The second needs 0.97 s to 1.03 s: a limit of 0.98 s may well be met, 0.96 s is not. It has 70 J against 110 J.
    records = [timed(1, 0.5, 0.03), timed(2, 1.0, 0.03, decode_j=50.0), timed(4, 1.0, 0.03, decode_j=95.0)]
    found = answer(records, asking("energy", slo=Slo(prompt_latency_s=limit_s)))
    assert [c.record.configuration.batch_size for c in kept_out_by_noise(found)] == kept_out
    said = ["Better, and over a limit by no more than noise: T4 batch 2."] if kept_out else []
    assert list(verdict_lines.lines(found)) == said


def test_without_a_best_there_is_no_tie() -> None:
    found = by_latency(BEST, slo=Slo(ttft_s=0.01))
    assert tie(found) is None
    assert document(found)["tie"] is None
    assert verdict_lines.page_lines(found) == []
