from __future__ import annotations

import pytest

from benchmarks import search_quality
from benchmarks.search_quality import front_share, searched
from benchmarks.searchers import SEARCHES, Run, for_trials
from benchmarks.truths import paper_space
from benchmarks.truths.truth import Truth


@pytest.fixture(scope="module")
def truth() -> Truth:
    return paper_space.truth(0)


@pytest.mark.parametrize("name", [name for name in SEARCHES if name not in ("guided", "GP")])
def test_no_search_tries_a_configuration_twice_and_each_reaches_all_of_them(name: str, truth: Truth) -> None:
    run = SEARCHES[name](truth, 0, for_trials(1000))
    assert len(run.tried) == len(set(run.tried)) == 42
    assert set(run.tried) == set(truth.configurations)


def test_a_search_that_begins_at_the_optimum_needs_one_trial(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    def knowing(asked: Truth, seed: int, going: object) -> Run:
        others = [c for c in asked.configurations if c not in asked.found]
        return Run(tried=[*others[:seed], asked.optimum])

    monkeypatch.setitem(SEARCHES, "knowing", knowing)
    # Seeds 0, 1, 2 try that many others first: 1, 2 and 3 trials, in the median 2 of 42.
    found = searched("knowing", [truth, truth, truth])
    assert found.trials == (1, 2, 3)
    assert found.share == pytest.approx(2 / 42)
    assert found.stops == ()


def test_trying_everything_reaches_the_whole_front(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    both = truth.asking("carbon", "latency")
    monkeypatch.setattr(search_quality, "FRONT_SHARE", 1.0)
    assert front_share("random", [both]) == (1.0,)
    monkeypatch.setattr(search_quality, "FRONT_SHARE", 0.1)
    assert front_share("random", [both])[0] < 1.0


def test_the_guided_search_finds_the_optimum_of_the_smallest_truth_within_a_quarter_of_it(truth: Truth) -> None:
    found = searched("guided", [truth])
    # 42 configurations: the mark of a quarter is 10 trials.
    assert found.trials[0] <= 10
    assert len(found.stops) == 1
    assert found.stops[0].loss <= 0.01
