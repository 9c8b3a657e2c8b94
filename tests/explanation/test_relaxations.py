"""Each step is exactly the smallest rise that changes the best, by what the answer itself says before and at it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from carbonsweep.answer import Answer, answer
from carbonsweep.domain import Slo, TrialRecord
from carbonsweep.explanation.relaxations import Relaxation, relaxations
from tests.conftest import configuration, measurement, phase, record
from tests.explanation.made import LIMITS, STEPS, made, near
from tests.test_answer import asking


def answered(records: list[TrialRecord], slo: Slo = LIMITS, objective: str = "energy") -> Answer:
    return answer(records, asking(objective, slo=slo))


def batch(step: Relaxation) -> int:
    return step.candidate.record.configuration.batch_size


def test_the_steps_of_each_limit_alone() -> None:
    found = relaxations(answered(STEPS)).alone
    assert [(batch(s), s.saving, s.share) for s in found["tpot_s"]] == [
        (16, near(0.21), near(0.25)),
        (4, near(0.40), near(0.80)),
    ]
    assert [(batch(s), s.saving, s.share) for s in found["ttft_s"]] == [(2, near(0.05), near(0.10))]
    assert found["tpot_s"][0].raised == {"tpot_s": near(0.0625)}


def test_the_steps_of_all_limits_together() -> None:
    found = relaxations(answered(STEPS))
    assert [(batch(s), s.share) for s in found.together] == [
        (2, near(0.10)),
        (16, near(0.25)),
        (64, near(0.40)),
    ]
    assert found.together[-1].raised == {"ttft_s": near(1.2), "tpot_s": near(0.070)}
    assert found.cheapest is not None
    assert batch(found.cheapest) == 2
    assert list(found.cheapest_alone) == ["ttft_s", "tpot_s"]


def test_with_nothing_feasible_the_first_step_makes_something_feasible() -> None:
    found = relaxations(answered([each for each in STEPS if each.configuration.batch_size not in (1, 8)]))
    assert [(batch(s), s.saving) for s in found.together] == [(2, None), (16, None), (64, None)]
    # TPOT alone: +12 % is the first that gives anything at all.
    assert [batch(s) for s in found.alone["tpot_s"]] == [32, 16, 4]


def test_nothing_better_or_no_limit_has_no_step() -> None:
    assert relaxations(answered([made(8, 100), made(4, 120, tpot_s=0.06)])).together == ()
    unlimited = relaxations(answered(STEPS, Slo()))
    assert (dict(unlimited.alone), unlimited.together, unlimited.cheapest) == ({}, (), None)


def test_a_throughput_is_gained() -> None:
    # Of 600 tokens: 2 s against 1 s twice the throughput.
    slow, fast = made(1, 100, ttft_s=0.5, tpot_s=1.5 / 149), made(2, 100, ttft_s=0.6, tpot_s=0.4 / 149)
    found = relaxations(answered([slow, fast], Slo(ttft_s=0.55), "throughput"))
    assert found.cheapest is not None
    assert found.cheapest.saving == near(1.0)


@pytest.mark.parametrize(("joules", "hidden"), [(99.0, True), (80.0, False)])
def test_a_saving_within_measurement_noise_says_so(joules: float, hidden: bool) -> None:
    # 10 % of 100 J and of 99 J: the difference has 14 J; of 100 and 80 it has 12.8 J.
    records = [made(8, 100), made(16, joules, tpot_s=0.0625)]
    measured = [replace(r, measurement=replace(r.measurement, basis="measured")) for r in records]  # type: ignore[type-var]
    for listed, expected in ((measured, hidden), (records, False)):
        step = relaxations(answered(listed)).cheapest
        assert step is not None
        assert step.in_noise is expected


# Of 1,024ths, 149 steps and a 149th of them are exact.
values = st.integers(512, 2048).map(lambda parts: parts / 1024)
points = st.lists(st.tuples(values, values, st.floats(1, 100)), min_size=1, max_size=12)


@given(points, values, values)
def test_a_step_is_the_smallest_rise_that_changes_the_best(
    drawn: list[tuple[float, float, float]], ttft_s: float, tpot_s: float
) -> None:
    records = [
        record(
            configuration(batch_size=i),
            measurement(prefill=phase(ttft, joules), decode=phase(149 * tpot, joules)),
        )
        for i, (ttft, tpot, joules) in enumerate(drawn, 1)
    ]
    asked = Slo(ttft_s=ttft_s, tpot_s=tpot_s)
    found = answered(records, asked)
    for name, steps in relaxations(found).alone.items():
        before = found.best
        for step in steps:
            enough = step.raised[name]
            at = answered(records, replace(asked, **{name: enough})).best
            just_below = answered(records, replace(asked, **{name: enough * (1 - 1e-12)})).best
            assert at is not None
            assert at.losses == step.candidate.losses
            assert (None if just_below is None else just_below.losses) == (None if before is None else before.losses)
            before = at
        # Beyond the last step nothing more is to be had.
        last = answered(records, replace(asked, **{name: 1e9})).best
        assert (None if last is None else last.losses) == (None if before is None else before.losses)


@given(points, values, values)
def test_together_is_the_smallest_share_that_changes_the_best(
    drawn: list[tuple[float, float, float]], ttft_s: float, tpot_s: float
) -> None:
    records = [made(i, joules, ttft_s=ttft, tpot_s=tpot) for i, (ttft, tpot, joules) in enumerate(drawn, 1)]
    found = answered(records, Slo(ttft_s=ttft_s, tpot_s=tpot_s))
    cheapest = relaxations(found).cheapest
    assume(cheapest is not None)
    assert cheapest is not None

    def best_at(share: float) -> float | None:
        best = answered(records, Slo(ttft_s=ttft_s * (1 + share), tpot_s=tpot_s * (1 + share))).best
        return None if best is None else best.losses[0]

    assert best_at(cheapest.share + 1e-12) == cheapest.candidate.losses[0]
    assert best_at(cheapest.share - 1e-12) == (None if found.best is None else found.best.losses[0])
