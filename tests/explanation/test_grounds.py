"""What an answer rests on: counts, what was never tried, noise, what the search cost and said of itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from carbonsweep.answer import answer
from carbonsweep.domain import TrialRecord
from carbonsweep.evidence import TrialCost
from carbonsweep.explanation.grounds import Grounds, grounds
from carbonsweep.explanation_lines import ground_lines
from carbonsweep.results import Saved
from tests.conftest import FAILED, configuration, identity, measurement, phase, record
from tests.explanation.made import LIMITS, STEPS, made, near, too_big
from tests.test_answer import asking

AXES = {
    "model": ["TinyLlama-1.1B"],
    "gpu": ["T4"],
    "gpu_count": [1],
    "batch_size": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    "dtype": ["fp16"],
    "engine": ["paper"],
}


def rests_on(records: list[TrialRecord], **document: Any) -> tuple[Grounds, list[str]]:
    question = asking("latency", slo=LIMITS)
    found = answer(records, question)
    saved = Saved(question=question, records=tuple(records), damaged=(), document=document)
    made_of = grounds(found, saved, records)
    return made_of, list(ground_lines(made_of, found))


def test_every_record_is_counted_by_how_it_ended_and_the_rest_of_the_space_is_untried() -> None:
    records = [*STEPS, too_big(128, 1e9), record(configuration(batch_size=256), FAILED)]
    found, lines = rests_on(records, space=AXES)
    assert (found.by_outcome["feasible"], found.by_outcome["infeasible"]) == (2, 5)
    assert (found.by_outcome["does_not_fit"], found.by_outcome["failed"]) == (1, 1)
    # Ten batch sizes, nine records.
    assert found.untried == 1
    assert lines[0].startswith("Rests on 9 configurations, by basis: 9 modelled; 2 feasible, 5 over a limit, 1 do not")
    assert lines[0].endswith("untried: 1.")


@pytest.mark.parametrize("document", [{}, {"space": {"colour": ["red"]}}, {"space": [1]}, {"space": {"model": "x"}}])
def test_a_space_that_is_not_on_record_leaves_the_untried_unknown(document: dict[str, Any]) -> None:
    found, lines = rests_on(STEPS, **document)
    assert found.untried is None
    assert "untried: unknown." in lines[0]


def test_kinds_with_fewer_choices_have_fewer_untried() -> None:
    # T4 with two engines, the Ada with one of them: 10 x (2 + 1) less 7 tried.
    axes = {**AXES, "gpu": ["T4", "RTX6000Ada"], "engine": ["paper", "vllm"]}
    kinds = [{"gpu": "RTX6000Ada", "dtypes": ["fp16"], "engines": ["vllm"]}]
    assert rests_on(STEPS, space=axes, of_kind=kinds)[0].untried == 30 - len(STEPS)


def test_repeats_and_half_widths_are_those_of_measured_records() -> None:
    def measured(batch_size: int, half_s: float, repeats: int) -> TrialRecord:
        part = phase(4.0, 90.0, duration_low_s=4 - half_s, duration_high_s=4 + half_s, repeats=repeats)
        found = measurement(prefill=phase(1.0, 20.0, repeats=repeats), decode=part, basis="measured")
        where = record(configuration(batch_size=batch_size), found)
        return dataclasses.replace(where, identity=identity(basis="measured"))

    found, lines = rests_on([measured(1, 0.05, 3), measured(2, 0.2, 7), made(4, 100)])
    assert found.repeats == (3, 7)
    # Of 5 s: 0.05 s are 1 %, 0.2 s are 4 %.
    assert found.half_widths == (near(0.01), near(0.04))
    assert found.by_basis == {"measured": 2, "modelled": 1}
    assert lines[1] == "Measured: 3 to 7 repeats; 95 % half-width of prompt latency 1.0 % to 4.0 %."


def test_a_model_alone_has_no_noise() -> None:
    found, lines = rests_on(STEPS)
    assert (found.repeats, found.half_widths) == (None, None)
    assert lines[1].startswith("Nothing was measured")


def test_attempts_that_failed_first_are_paid_for_as_well() -> None:
    question = asking("latency", slo=LIMITS)
    paid = dataclasses.replace(STEPS[0], cost=TrialCost(duration_s=10.0, energy_j=None, source=None))
    saved = Saved(question=question, records=(paid,), damaged=(), document={})
    assert grounds(answer([paid], question), saved, [paid, paid, paid]).cost.duration_s == 30


def test_what_the_search_says_of_itself_is_passed_on() -> None:
    search = {
        "sampler": "guided",
        "trials": 20,
        "of": 49,
        "stopped_by": "chance",
        "chance_left": 0.004,
        "chance_of": "better",
        "stops_below": 0.05,
        "guided_by": "the device model",
        "guide_is_bench": False,
        "tried": {"T4": 20},
        "not_tried": {"T4": 29},
    }
    found, lines = rests_on(STEPS, search=search)
    assert found.search == search
    said = next(line for line in lines if line.startswith("Search"))
    assert "20 of 49 configurations tried" in said
    assert "under 1 %" in said
    assert rests_on(STEPS, search=None)[0].search is None
    assert not any(line.startswith("Search") for line in rests_on(STEPS)[1])


def test_a_placement_beside_it_is_mentioned() -> None:
    assert any("split placements" in line for line in rests_on(STEPS, placement={"asked": "any"})[1])
    assert not any("split placements" in line for line in rests_on(STEPS, placement=None)[1])


def test_how_sure_is_one_line_or_none_without_a_best() -> None:
    sure = [line for line in rests_on(STEPS)[1] if line.startswith("How sure")]
    assert len(sure) == 1
    found, lines = rests_on([made(8, 100, tpot_s=0.06)])
    assert found.certainty is None
    assert not any(line.startswith("How sure") for line in lines)


def test_an_unfinished_sweep_says_so() -> None:
    assert "The sweep was not finished." in rests_on(STEPS, complete=False)[1]
    assert "The sweep was not finished." not in rests_on(STEPS, complete=True)[1]
