from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from carbonsweep.bench.phases import Effort, Measured, PhaseSample, Repeat, cool_down, idle, idle_w, measured, run_j
from carbonsweep.bench.power.meter import Meter
from carbonsweep.errors import BadInput
from carbonsweep.evidence import EnergyWindow, MeterReading

from .conftest import METER_W, ClockworkMeter, TickingClock


@dataclass
class ScriptedRunner:
    """Two batches whose prefill takes what the script says next; decode always 1 s."""

    prefill_s: list[float]
    orders: list[tuple[int, ...]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    batches: int = 2

    def warm_up(self, runs: int) -> None:
        self.said.append(f"warm-up {runs}")

    def repeat(self, order: Sequence[int], meter: Meter | None) -> Repeat:
        self.orders.append(tuple(order))
        self.said.append("repeat")
        took_s = self.prefill_s.pop(0) if len(self.prefill_s) > 1 else self.prefill_s[0]
        return Repeat(
            prefill=PhaseSample(run_s=took_s, batch_s=(took_s, took_s)), decode=PhaseSample(run_s=1, batch_s=(1, 1))
        )

    def whole(self, order: Sequence[int], meter: Meter | None) -> PhaseSample:
        self.said.append("whole")
        return PhaseSample(run_s=1.5, batch_s=(1.5, 1.5))


def follow(runner: ScriptedRunner, clock: TickingClock, effort: Effort, seed: int = 0) -> Measured:
    return measured(runner, effort, seed=seed, meter=None, clock=clock, sleep=clock.sleep)


def test_it_warms_up_repeats_at_least_three_times_and_closes_with_a_whole_run(clock: TickingClock) -> None:
    runner = ScriptedRunner([0.5])
    found = follow(runner, clock, Effort())
    assert runner.said == ["warm-up 1", "repeat", "repeat", "repeat", "whole"]
    assert (len(found.repeats), found.stopped_by, found.half_width) == (3, "interval", 0.0)


def test_it_goes_on_until_the_interval_is_narrow_enough(clock: TickingClock) -> None:
    # 1, 2, 1, then 1 for ever: the half-width falls below 20 % somewhere after the tenth repeat.
    found = follow(ScriptedRunner([1.0, 2.0, 1.0]), clock, Effort(interval=0.2, budget_s=1e6))
    assert found.stopped_by == "interval"
    assert found.half_width <= 0.2
    samples = [each.prefill.run_s for each in found.repeats[:-1]]
    from carbonsweep.bench.statistics import half_width

    assert half_width(samples) > 0.2  # one fewer would not have done


def test_it_stops_when_one_more_repeat_would_exceed_the_budget_and_says_how_wide_the_interval_is(
    clock: TickingClock,
) -> None:
    # A look at the clock takes 1 s; one look a repeat from the third on, so the third sees 1 s, the fourth 2 s, ...
    found = follow(ScriptedRunner([1.0, 2.0, 3.0]), clock, Effort(budget_s=4.0))
    assert found.stopped_by == "budget"
    assert found.half_width > 0.03
    assert len(found.repeats) > 3


def test_a_spent_budget_never_costs_the_least_repeats(clock: TickingClock) -> None:
    assert len(follow(ScriptedRunner([1.0, 2.0]), clock, Effort(repeats=5, budget_s=0)).repeats) == 5


def test_every_repeat_runs_all_batches_in_an_order_drawn_from_the_seed(clock: TickingClock) -> None:
    runs = [ScriptedRunner([1.0], batches=5) for _ in range(3)]
    for runner, seed in zip(runs, (1, 1, 2), strict=True):
        follow(runner, clock, Effort(repeats=4), seed)
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in runs[0].orders)
    assert len(set(runs[0].orders)) > 1
    assert runs[0].orders == runs[1].orders != runs[2].orders
    assert follow(ScriptedRunner([1.0], batches=5), clock, Effort(repeats=4), 1).orders == tuple(runs[0].orders)


def test_the_spread_between_batches_stops_nothing(clock: TickingClock) -> None:
    class Uneven(ScriptedRunner):
        def repeat(self, order: Sequence[int], meter: Meter | None) -> Repeat:
            sample = PhaseSample(run_s=5.5, batch_s=(1.0, 10.0))
            return Repeat(prefill=sample, decode=sample)

    assert follow(Uneven([1.0]), clock, Effort()).stopped_by == "interval"


@pytest.mark.parametrize(
    "changes",
    [
        {"batches": 0},
        {"repeats": 1},
        {"warm_up_runs": -1},
        {"interval": 0.0},
        {"interval": float("nan")},
        {"window_bound": 1.0},
        {"budget_s": -1.0},
        {"budget_s": float("inf")},
        {"power_sampling_s": 0.0},
        {"power_sampling_s": float("nan")},
    ],
)
def test_an_effort_that_can_give_no_answer_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Effort(**changes)  # type: ignore[arg-type]


# ---- joules ----


def reading(joules: float) -> MeterReading:
    return MeterReading(source="s", semantics="m", joules=joules, low_j=None, high_j=None)


def some_window(device: str, joules: float | None, runs: float = 1) -> EnergyWindow:
    readings = () if joules is None else (reading(joules),)
    flaw = "lost" if joules is None else None
    return EnergyWindow(phase="decode", device=device, runs=runs, duration_s=1, readings=readings, flaw=flaw)


def test_windows_of_one_device_are_averaged_by_the_run_and_devices_add_up() -> None:
    windows = [some_window("a", 10, runs=2), some_window("a", 21, runs=3), some_window("b", 4, runs=4)]
    # a: (5 + 7) / 2 = 6; b: 1
    assert run_j(windows, ("a", "b")) == 7
    assert run_j(windows, ("b",)) == 1


def test_joules_are_unknown_where_any_window_of_a_device_is() -> None:
    windows = [some_window("a", 10), some_window("a", None)]
    assert run_j(windows, ("a",)) is None
    assert run_j(windows, ("b",)) is None
    assert run_j(windows, ()) is None


def test_idle_power_is_that_of_a_window_in_which_nothing_is_done(clock: TickingClock, meter: ClockworkMeter) -> None:
    windows = idle(meter, "idle", clock, clock.sleep)
    # 30 refresh periods of 0.5 s, and a look at the clock.
    assert windows[0].duration_s == pytest.approx(16.0)
    assert idle_w(windows, meter.devices) == METER_W
    meter.flaw = "lost"
    assert idle_w(idle(meter, "idle", clock, clock.sleep), meter.devices) is None


# ---- heat ----


@dataclass
class Cooling(ClockworkMeter):
    """A device that loses a degree each time it is looked at."""

    hot_c: float = 60.0

    def temperature_c(self) -> float | None:
        self.hot_c -= 1
        return self.hot_c


def test_it_waits_until_the_device_is_cool(clock: TickingClock) -> None:
    waited_s, start_c = cool_down(Cooling(), 55.0, clock, clock.sleep)
    assert waited_s is not None
    assert waited_s > 0
    assert start_c is not None
    assert start_c <= 55


def test_it_waits_a_minute_at_most_and_tells_the_temperature_it_started_at(clock: TickingClock) -> None:
    waited_s, start_c = cool_down(Cooling(hot_c=1000.0), 55.0, clock, clock.sleep)
    assert waited_s == pytest.approx(60, abs=3)
    assert start_c is not None
    assert start_c > 900


def test_a_device_that_tells_no_temperature_is_not_waited_for(clock: TickingClock, meter: ClockworkMeter) -> None:
    assert cool_down(meter, 55.0, clock, clock.sleep) == (None, None)
    assert cool_down(None, 55.0, clock, clock.sleep) == (None, None)
