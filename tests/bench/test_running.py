from __future__ import annotations

from typing import Any

import pytest

from carbonsweep.bench import running
from carbonsweep.bench.running import GUARD_STEPS, WARM_UP_STEPS, ModelRunner

from .conftest import METER_W, TICK_S, ClockworkMeter, TickingClock

STEPS = 30


class ScriptedRun:
    """Says what is asked of it instead of running a model; batch and kind of work are told by name."""

    said: list[str]

    def __init__(self, model: Any, batch: str, steps: int) -> None:
        self.batch, self.steps, self.has_cache = batch, steps, False

    def prefill(self) -> None:
        self.has_cache = True
        self.said.append(f"{self.batch} prefill")

    def decode(self) -> None:
        assert self.has_cache
        self.said.append(f"{self.batch} decode")

    def decode_some(self, steps: int) -> None:
        assert self.has_cache
        self.said.append(f"{self.batch} {steps} steps")

    def forget(self) -> None:
        self.has_cache = False


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, clock: TickingClock) -> ModelRunner:
    ScriptedRun.said = []
    monkeypatch.setattr(running, "RewindingRun", ScriptedRun)
    return ModelRunner(None, ("a", "b"), STEPS, clock)  # type: ignore[arg-type]


def said() -> list[str]:
    return ScriptedRun.said


def test_every_batch_is_warmed_up_since_each_has_a_shape_of_its_own(runner: ModelRunner) -> None:
    runner.warm_up(2)
    assert said() == ["a prefill", f"a {WARM_UP_STEPS} steps", "b prefill", f"b {WARM_UP_STEPS} steps"] * 2


def test_without_a_meter_nothing_is_run_that_is_not_timed(runner: ModelRunner) -> None:
    repeat = runner.repeat([1, 0], None)
    assert said() == ["b prefill", "b decode", "a prefill", "a decode"]
    assert (repeat.prefill.run_s, repeat.decode.run_s) == (TICK_S, TICK_S)
    assert repeat.prefill.batch_s == (TICK_S, TICK_S)
    assert repeat.prefill.windows == repeat.decode.windows == ()


def test_a_metered_prefill_window_cycles_over_whole_passes_inside_more_of_the_same(
    runner: ModelRunner, meter: ClockworkMeter
) -> None:
    meter.least_window_s, meter.guard_s = 5 * TICK_S, 1.2 * TICK_S  # a guard is one run long
    repeat = runner.repeat([1, 0], meter)
    (window,) = repeat.prefill.windows
    assert window.phase == "prefill"
    # A run takes two looks, so whole passes of two runs end 4 s and 8 s after the begin: 4 runs.
    assert (window.runs, window.duration_s) == (4, 8 * TICK_S)
    assert window.readings[0].joules == 8 * TICK_S * METER_W
    begun = said().index("b prefill")
    assert said()[begun - 1 : begun] == ["a prefill"]  # the guard before it
    assert said()[begun : begun + 4] == ["b prefill", "a prefill"] * 2
    assert said()[begun + 4] == "a prefill"  # and after


def test_each_batch_has_a_decode_window_of_its_own_between_guards(runner: ModelRunner, meter: ClockworkMeter) -> None:
    meter.guard_s = 1.2 * TICK_S
    repeat = runner.repeat([1, 0], meter)
    assert [(each.phase, each.runs) for each in repeat.decode.windows] == [("decode", 1), ("decode", 1)]
    decoded = [each for each in said() if "prefill" not in each]
    guard = f"{GUARD_STEPS} steps"
    assert next(each for each in decoded if each.startswith("b")) == f"b {guard}"
    assert decoded.index("b decode") < decoded.index("a decode")
    assert [each for each in decoded if each.startswith("a")][-1] == f"a {guard}"


def test_the_whole_run_goes_from_prompt_to_last_token_in_turn(runner: ModelRunner, meter: ClockworkMeter) -> None:
    whole = runner.whole([1, 0], None)
    assert said() == ["b prefill", "b decode", "a prefill", "a decode"]
    assert (whole.run_s, whole.windows) == (TICK_S, ())
    said().clear()
    meter.least_window_s = 5 * TICK_S
    (window,) = runner.whole([0, 1], meter).windows
    assert (window.phase, window.runs) == ("whole", 4)


def test_unmetered_repeats_are_whole_runs_already(runner: ModelRunner) -> None:
    runner.repeat([1, 0], None)
    runner.repeat([0, 1], None)
    said().clear()
    whole = runner.whole([1, 0], None)
    assert said() == []
    # Begin, after the prefill, after the decode: three looks at the clock, 2 s apart from first to last.
    assert whole.batch_s == (2 * TICK_S, 2 * TICK_S)


def test_one_kv_cache_is_in_memory_at_a_time(runner: ModelRunner, meter: ClockworkMeter) -> None:
    held: list[int] = []
    for run in runner._runs:
        before = run.prefill

        def prefill(before: Any = before) -> None:
            before()
            held.append(sum(each.has_cache for each in runner._runs))  # type: ignore[attr-defined]

        run.prefill = prefill  # type: ignore[method-assign]
    runner.warm_up(1)
    runner.repeat([1, 0], meter)
    runner.whole([0, 1], meter)
    assert set(held) == {1}
    assert not any(each.has_cache for each in runner._runs)  # type: ignore[attr-defined]
