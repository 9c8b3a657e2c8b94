"""How a sweep searched, as JSON and as lines: what was tried, what was not, and why it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.errors import BadInput
from carbonsweep.search.sampling import SAMPLERS
from carbonsweep.search.study import Search
from carbonsweep.search_lines import KEY, NAMES, Searched, chance_words, lines, searched, space_line, stated
from tests.conftest import FAILED, record
from tests.search.guide_double import ListedGuide
from tests.search.test_guided_search import falling_to, fits, guided
from tests.search.test_study import POINTS, SPACE, asking, run, search

GUIDED = Searched(
    sampler="guided",
    trials=14,
    of=84,
    stopped_by="chance",
    chance_left=0.031,
    chance_of="better",
    stops_below=0.05,
    guided_by="guided by the device model (engine paper: fitted to 18 numbers)",
    guide_is_bench=False,
    tried={"T4": 4, "L4": 10},
    not_tried={"T4": 38, "L4": 32},
)


def said(found: Searched) -> list[str]:
    """Lines of an answer.json that states it."""
    return list(lines(json.loads(json.dumps({KEY: asdict(found)}))))


def test_a_guided_search_says_how_much_it_tried_what_may_be_left_and_what_guided_it() -> None:
    assert said(GUIDED) == [
        (
            "Search: model-guided, 14 of 84 configurations tried; chance that something better by more than 1 % "
            "remains: 3 % (stopped below 5 %)."
        ),
        "  Guided by the device model (engine paper: fitted to 18 numbers).",
        "  All that is compared here is compared among those tried.",
        "  Not tried: 38 of 42 on T4, 32 of 42 on L4.",
    ]


def test_a_kind_that_was_not_looked_at_is_named_unless_nothing_said_of_it_holds() -> None:
    left = replace(GUIDED, stopped_by="trials", in_doubt=["H100", "A100-40"])
    line = "  Not ruled out: nothing was measured yet on H100, A100-40; it may be far faster than modelled."
    assert line in said(left)
    assert line not in said(replace(left, of_another_question=True))
    assert line not in said(replace(left, guide_is_bench=True))  # the model cannot be wrong of itself
    assert not any("ruled out" in each for each in said(GUIDED))


def test_an_answer_from_before_kinds_were_in_doubt_can_be_read() -> None:
    before = {name: value for name, value in asdict(GUIDED).items() if name != "in_doubt"}
    assert stated(json.loads(json.dumps({KEY: before}))) == GUIDED


def test_a_search_that_only_looks_at_kinds_in_doubt_says_which(tmp_path: Path) -> None:
    t4s, adas = ([each for each in POINTS if each.gpu == gpu] for gpu in SPACE.gpus)
    searching = guided(ListedGuide(adas, falling_to(0.01, after=3), doubted=t4s))
    run(searching, by=fits, most=3)
    assert searching.in_doubt == ("T4",)
    line = space_line(searching, tmp_path)
    assert "3 known from before, at most 9 to run, model-guided: nothing was measured yet on T4; records in" in line
    made = searched(searching, list(searching.outcomes.values()), feasible=True, modelled=False, interrupted=True)
    assert (made.in_doubt, made.chance_left) == (["T4"], 0.01)


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"stopped_by": "trials"}, "more than 1 % remains: 3 % (stopped by --trials)."),
        ({"stopped_by": "interrupted"}, "more than 1 % remains: 3 % (interrupted)."),
        ({"stopped_by": "closed"}, "more than 1 % remains: 3 % (no node was left for the rest)."),
        ({"chance_of": "front"}, "chance that the front can still grow by more than 1 % in hypervolume: 3 % (stopped"),
        ({"chance_of": "feasible"}, "chance that anything untried meets every limit: 3 % (stopped below 5 %)."),
        ({"chance_left": 0.0}, "remains: under 1 % (stopped below 5 %)."),
        ({"chance_left": None, "stopped_by": "trials"}, "remains: not known yet (stopped by --trials)."),
        ({"stops_below": 0.001}, "(stopped below 0.1 %)."),
    ],
)
def test_why_it_stopped_and_what_the_chance_is_of_is_said(changes: dict[str, Any], end: str) -> None:
    assert end in said(replace(GUIDED, **changes))[0]


def test_where_everything_was_tried_that_is_all_there_is_to_say() -> None:
    every = replace(
        GUIDED,
        sampler="exhaustive",
        trials=84,
        stopped_by="exhausted",
        chance_left=None,
        chance_of=None,
        guided_by=None,
        not_tried={},
    )
    assert said(every) == ["Search: exhaustive, all 84 configurations tried."]
    assert said(replace(every, sampler="tpe", trials=60, stopped_by="trials", not_tried={"T4": 24})) == [
        "Search: TPE (Optuna), 60 of 84 configurations tried; stopped by --trials; what the others hold is not known.",
        "  All that is compared here is compared among those tried.",
        "  Not tried: 24 of 28 on T4.",
    ]


def test_records_that_answer_another_question_now_say_that_no_chance_is_known_for_it() -> None:
    assert said(replace(GUIDED, of_another_question=True))[0] == (
        "Search: model-guided, 14 of 84 configurations tried; they were chosen for another question: what the others "
        "hold for this one is not known."
    )
    whole = replace(GUIDED, trials=84, not_tried={}, of_another_question=True)
    assert said(whole)[0] == "Search: model-guided, all 84 configurations tried."


def test_a_guide_that_is_the_bench_is_said_to_be_that() -> None:
    assert any(
        "That model is also what every trial here asks" in line for line in said(replace(GUIDED, guide_is_bench=True))
    )


def test_an_answer_of_before_says_nothing_and_one_that_cannot_be_read_is_an_error() -> None:
    assert list(lines({})) == list(lines({KEY: None})) == []
    assert stated({KEY: asdict(GUIDED)}) == GUIDED
    with pytest.raises(BadInput, match=r"'search' of answer\.json"):
        stated({KEY: {"sampler": 3}})


def test_a_chance_counted_over_few_draws_is_never_called_nothing() -> None:
    assert [chance_words(c) for c in (None, 0.0, 0.004, 0.02, 0.316, 1.0)] == [
        "not known yet",
        "under 1 %",
        "under 1 %",
        "2 %",
        "32 %",
        "100 %",
    ]


def test_every_sampler_has_words() -> None:
    assert set(NAMES) == set(SAMPLERS)


# ---- of a search ----


def of(searching: Search, records: list[TrialRecord], **changes: bool) -> Searched:
    given = {"feasible": True, "modelled": False, "interrupted": False, **changes}
    made = searched(searching, records, **given)
    assert stated({KEY: msgspec.to_builtins(made)}) == made  # as answer.json holds it
    return made


def test_a_search_that_stopped_at_its_chance_is_described() -> None:
    kept: dict[Configuration, TrialRecord] = {}
    searching = guided(ListedGuide(POINTS, falling_to(0.01, after=4)))
    run(searching, by=fits, into=kept)
    made = of(searching, list(kept.values()))
    assert (made.sampler, made.trials, made.of, made.stopped_by) == ("guided", 4, 12, "chance")
    assert (made.chance_left, made.chance_of, made.stops_below) == (0.01, "better", 0.05)
    assert made.guided_by == "guided by a list"
    # The first four of POINTS: three batch sizes of the first model on the T4, one on the Ada; six points on each.
    assert (made.tried, made.not_tried) == ({"T4": 3, "RTX6000Ada": 1}, {"T4": 3, "RTX6000Ada": 5})


def test_a_kind_that_was_tried_whole_is_not_among_those_with_something_left() -> None:
    t4s = [point for point in POINTS if point.gpu == "T4"]
    searching = guided(ListedGuide(t4s, falling_to(0.01, after=6)))
    kept: dict[Configuration, TrialRecord] = {}
    run(searching, by=fits, into=kept)
    made = of(searching, list(kept.values()))
    assert (made.tried, made.not_tried) == ({"T4": 6, "RTX6000Ada": 0}, {"RTX6000Ada": 6})


def test_what_the_chance_is_of_follows_the_question_and_what_was_found() -> None:
    one = guided(ListedGuide(POINTS))
    several = guided(ListedGuide(POINTS), question=asking("latency", "throughput"))
    assert of(one, []).chance_of == "better"
    assert of(several, []).chance_of == "front"
    assert of(several, [], feasible=False).chance_of == "feasible"
    assert of(search(asking(), sampler="random"), []).chance_of is None


def test_an_interrupted_search_says_so_and_a_failure_counts_as_tried() -> None:
    searching = search(asking(), sampler="random")
    first = searching.suggest()
    assert first is not None
    searching.tell(record(first, FAILED))
    made = of(searching, [record(first, FAILED)], interrupted=True)
    assert (made.trials, made.stopped_by, made.stops_below) == (1, "interrupted", None)


def test_a_guided_search_of_the_model_itself_is_said_to_be_one() -> None:
    searching = guided(ListedGuide(POINTS))
    assert of(searching, [], modelled=True).guide_is_bench
    assert not of(searching, []).guide_is_bench
    assert not of(search(asking(), sampler="random"), [], modelled=True).guide_is_bench


def test_the_first_line_says_what_is_about_to_be_searched_and_how(tmp_path: Any) -> None:
    size = SPACE.size
    assert space_line(search(asking()), tmp_path) == (
        f"Space: {size} configurations; 0 known from before, {size} to run; records in {tmp_path}"
    )
    assert space_line(guided(ListedGuide(POINTS)), tmp_path) == (
        f"Space: {size} configurations; 0 known from before, at most {size} to run, model-guided until a chance below "
        f"5 %; records in {tmp_path}"
    )
    assert "11 to run, TPE (Optuna); records" in space_line(search(asking(), trials=11), tmp_path)
    done = guided(ListedGuide(POINTS), records={point: fits(point) for point in POINTS})
    assert "12 known from before, 0 to run; records" in space_line(done, tmp_path)
