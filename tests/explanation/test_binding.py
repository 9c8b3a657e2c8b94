"""What holds the best back: slack, what each limit costs, and the next larger batch that does not fit."""

from __future__ import annotations

from dataclasses import replace

from carbonsweep.answer import answer
from carbonsweep.domain import Slo, TrialRecord
from carbonsweep.explanation.binding import Binding, binding
from carbonsweep.explanation.choices import refused_reason
from carbonsweep.explanation_lines import binding_lines
from carbonsweep.trial import NOT_RUN
from tests.conftest import FAILED, configuration, record
from tests.explanation.made import LIMITS, STEPS, made, near, too_big
from tests.test_answer import asking


def bound(records: list[TrialRecord], slo: Slo = LIMITS) -> tuple[Binding, list[str]]:
    found = answer(records, asking("energy", slo=slo))
    held = binding(found)
    assert held is not None
    return held, list(binding_lines(found, held))


def test_each_limit_has_its_slack_and_what_lifting_it_alone_saves() -> None:
    held, _ = bound(STEPS)
    by_name = {limit.name: limit for limit in held.limits}
    # 0.5 s of 1 s, and 48 ms of 50 ms.
    assert (by_name["ttft_s"].slack, by_name["tpot_s"].slack) == (near(0.5), near(0.04))
    # Without the TTFT batch 2 (95 J), without the TPOT batch 4 (60 J), without both batch 64 (50 J).
    assert (by_name["ttft_s"].saving, by_name["tpot_s"].saving) == (near(0.05), near(0.40))
    assert held.saving == near(0.5)
    assert [limit.name for limit in held.binding_limits] == ["tpot_s", "ttft_s"]


def test_the_costliest_limit_is_said_first() -> None:
    _, lines = bound(STEPS)
    assert lines == [
        "What binds: TPOT, 48 ms, 4.0 % below its limit of 50 ms: without it T4 batch 4 would be best, -40 %.",
        "What binds: TTFT, 500 ms, 50 % below its limit of 1 s: without it T4 batch 2 would be best, -5.0 %.",
    ]


def test_a_limit_that_costs_nothing_does_not_bind() -> None:
    held, lines = bound([made(8, 100), made(4, 120, tpot_s=0.06)])
    assert held.binding_limits == ()
    assert not held.bind_together
    assert lines == ["What binds: no limit; without all of them the best stays the best."]


def test_limits_that_bind_only_together() -> None:
    held, lines = bound([made(8, 100), made(64, 50, ttft_s=1.2, tpot_s=0.07)])
    assert held.binding_limits == ()
    assert held.bind_together
    assert lines == ["What binds: only several limits at once; without all of them T4 batch 64 would be best, -50 %."]


def test_no_limits_no_binding() -> None:
    assert bound(STEPS, Slo())[1] == ["What binds: no limit is set."]


def test_the_next_larger_batch_that_does_not_fit_is_memory() -> None:
    held, lines = bound([made(4, 125), made(8, 100), too_big(16, 2e9), too_big(32, 9e9)])
    assert held.memory is not None
    assert (held.memory.refused.configuration.batch_size, held.memory.lacking_bytes) == (16, 2e9)
    # From 125 J to 100 J.
    assert held.memory.last_step == near(-0.2)
    assert lines[-1] == (
        "Memory: batch 16, the next larger one, does not fit (lacks 2 GB a device); "
        "from batch 4 to 8 energy changed by -20 %; what it would give is unknown."
    )


def test_what_a_smaller_batch_stands_for_lacks_at_least_as_much() -> None:
    # Batch 32 was not tried, since 16 lacks 2 GB already: its own need is larger, by how much nobody knows.
    implied = replace(too_big(32, 2e9), cost=NOT_RUN)
    assert refused_reason(too_big(16, 2e9)) == "does not fit: lacks 2 GB a device"
    assert refused_reason(implied) == "does not fit: lacks at least 2 GB a device"


def test_a_larger_batch_that_ran_or_failed_is_not_memory() -> None:
    assert bound([made(8, 100), made(16, 120), too_big(32, 9e9)])[0].memory is None
    assert bound([made(8, 100), record(configuration(batch_size=16), FAILED)])[0].memory is None
    # Another GPU's memory is not the best's.
    assert bound([made(8, 100), too_big(16, 9e9, gpu="L4")])[0].memory is None


def test_without_a_best_nothing_binds() -> None:
    assert binding(answer([made(8, 100, tpot_s=0.06)], asking("energy", slo=LIMITS))) is None
