"""No best that breaks a limit, ever: 1,000 random (SLO, seed) pairs over the paper's space, measured with 3 % noise.

Which configurations were tried does not matter to the answer, so most pairs try a random part of them; some are
searched by TPE, a few by the guide, which is the search that aims at the limits.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from collections.abc import Iterator, Mapping, Sequence

import pytest

from benchmarks.searchers import SEARCHES, for_trials
from benchmarks.truths import paper_space
from benchmarks.truths.noise import NOISE
from benchmarks.truths.truth import Truth
from carbonsweep.answer import Answer, answer
from carbonsweep.domain import Configuration, Measurement, Slo, TrialRecord
from carbonsweep.near_misses import closest_document
from carbonsweep.search.objectives import Question, objectives

PAIRS = 1000
NOISES = 20
OBJECTIVES = ("carbon", "energy", "latency", "throughput", "tpot", "ttft")
TPE_EVERY, GUIDED_EVERY = 10, 100

Pair = tuple[Truth, Sequence[TrialRecord]]


@functools.cache
def truth(seed: int) -> Truth:
    return paper_space.truth(seed)


def measured(records: Mapping[Configuration, TrialRecord]) -> list[Measurement]:
    return [record.measurement for record in records.values() if record.measurement is not None]


def slo(random_: random.Random, all_of: Sequence[Measurement]) -> Slo:
    """Any of the limits, each log-uniform from half of the smallest value anyone has to the largest."""
    limits = {}
    for name in ("ttft_s", "tpot_s", "prompt_latency_s"):
        if random_.random() < 0.6:
            values = [getattr(m, name) for m in all_of]
            limits[name] = math.exp(random_.uniform(math.log(min(values) / 2), math.log(max(values))))
    return Slo(**limits)


def tried(i: int, asked: Truth, random_: random.Random) -> Sequence[Configuration]:
    if i % GUIDED_EVERY == 1:
        return SEARCHES["guided"](asked, i, for_trials(3)).tried
    if i % TPE_EVERY == 0:
        return SEARCHES["TPE"](asked, i, for_trials(12)).tried
    return random_.sample(asked.configurations, random_.randint(1, len(asked.configurations)))


def pairs() -> Iterator[Pair]:
    for i in range(PAIRS):
        random_ = random.Random(i)
        known = truth(i % NOISES)
        question = Question(
            objectives=objectives(tuple(random_.sample(OBJECTIVES, random_.choice((1, 1, 2))))),
            slo=slo(random_, measured(known.records)),
            scenario=known.question.scenario,
        )
        asked = dataclasses.replace(known, question=question)
        yield asked, [known.records[c] for c in tried(i, asked, random_)]


@pytest.fixture(scope="module")
def answers() -> list[tuple[Truth, Sequence[TrialRecord], Answer]]:
    """Of each pair that has one measurement at least, or a refusal."""
    return [(asked, records, answer(records, asked.question)) for asked, records in pairs()]


def within(measurement: Measurement, limits: Slo) -> bool:
    """Whether every limit is kept, written out by hand: the package's own judgement is what is judged here."""
    return (
        (limits.ttft_s is None or measurement.prefill.duration_s <= limits.ttft_s)
        and (limits.tpot_s is None or measurement.decode.duration_s <= limits.tpot_s * (measurement.output_tokens - 1))
        and (
            limits.prompt_latency_s is None
            or measurement.prefill.duration_s + measurement.decode.duration_s <= limits.prompt_latency_s
        )
    )


def test_no_best_and_no_runner_up_breaks_a_limit_as_measured(
    answers: list[tuple[Truth, Sequence[TrialRecord], Answer]],
) -> None:
    shown = [
        (candidate.measurement, asked.question.slo)
        for asked, _, found in answers
        for candidate in ((found.best,) if found.best else ()) + found.runners_up + found.front
    ]
    assert len(answers) == PAIRS
    assert len(shown) > PAIRS, "hardly anything was feasible: this would show nothing"
    assert [limits for measurement, limits in shown if not within(measurement, limits)] == []


def test_a_best_is_named_exactly_where_something_tried_keeps_every_limit(
    answers: list[tuple[Truth, Sequence[TrialRecord], Answer]],
) -> None:
    feasible = [
        any(record.measurement is not None and within(record.measurement, asked.question.slo) for record in records)
        for asked, records, _ in answers
    ]
    assert [found.best is not None for _, _, found in answers] == feasible
    # A test with one kind of answer only would show nothing: of 1,000 pairs each kind has a tenth at least.
    assert PAIRS / 10 < sum(feasible) < PAIRS * 9 / 10


def test_with_nothing_feasible_the_answer_names_the_closest_by_each_limit(
    answers: list[tuple[Truth, Sequence[TrialRecord], Answer]],
) -> None:
    for asked, records, found in answers:
        known = [record.measurement for record in records if record.measurement is not None]
        named = found.closest_by_limit
        if found.best is not None or not known:
            assert named == {}
            continue
        limits = asked.question.slo.limits()
        assert named.keys() == limits.keys() == closest_document(found).keys()
        for name, candidate in named.items():
            assert getattr(candidate.measurement, name) == min(getattr(m, name) for m in known)
            assert candidate.excess[name] == pytest.approx(getattr(candidate.measurement, name) / limits[name] - 1)


def test_noise_hides_a_broken_limit_by_no_more_than_its_own_size(
    answers: list[tuple[Truth, Sequence[TrialRecord], Answer]],
) -> None:
    # Measured = true x (1 + 3 % z), and of 20 x 42 x 4 normal z none is below -4.5: what is measured within a limit is
    # truly at most 1 / (1 - 3 % x 4.5) - 1 = 15.6 % beyond it.
    beyond = [
        max(0.0, *asked.question.slo.excess(exact).values())
        for asked, _, found in answers
        if found.best is not None
        and asked.question.slo.limits()
        and isinstance(exact := asked.exact[found.best.record.configuration], Measurement)
    ]
    assert 0 < max(beyond) < 1 / (1 - 4.5 * NOISE) - 1
    # Only an answer within a few percent of its limit can be truly beyond it: not one in twelve here.
    assert sum(excess > 0 for excess in beyond) < len(beyond) / 12
