from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonsweep.bench.power.trace import Row, Trace, trace
from carbonsweep.bench.power.window import (
    Joules,
    NotCovered,
    Steps,
    combined,
    counter_energy,
    power_energy,
    power_steps,
    refresh_s,
    ticks,
    total,
)
from tests.standin import Standin, StandinGpu, Waveform, acting
from tests.standin.library import Running
from tests.standin.rig import Rig

STEP_J = 1e-3


def polled(until_s: float, every_s: float, joules: Callable[[float], float], watts: Callable[[float], float]) -> Trace:
    """Readings that take no time, at regular polls."""
    rows: list[Row] = []
    for n in range(round(until_s / every_s) + 1):
        at_s = n * every_s
        rows.append((at_s, at_s, joules(at_s), watts(at_s)))
    return trace(rows)


def counted(power_w: float, refresh: float, phase_s: float = 0.05) -> Callable[[float], float]:
    """A counter of constant power that refreshes at phase_s + n refresh."""
    return lambda t: 1000 + power_w * (math.floor((t - phase_s) / refresh + 1e-9) * refresh + phase_s)


def nothing(_: float) -> float:
    return math.nan


# ---- the counter ----


def test_ticks_lie_halfway_between_the_readings_that_differ() -> None:
    seen = ticks(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([5.0, 5.0, 6.0, math.nan, 8.0]))
    assert seen.times_s.tolist() == [1.5, 3.0]
    assert seen.values.tolist() == [6.0, 8.0]


def test_the_refresh_period_is_found_from_the_ticks() -> None:
    seen = polled(3.0, 0.013, counted(100, 0.1), nothing)
    assert refresh_s(seen) == pytest.approx(0.1, rel=0.01)


def test_a_missed_tick_does_not_change_the_refresh_period() -> None:
    seen = polled(3.0, 0.01, counted(100, 0.1), nothing)
    kept = (seen.taken_s < 1.0) | (seen.taken_s > 1.17)  # a gap over one tick
    again = Trace(
        asked_s=seen.asked_s[kept],
        answered_s=seen.answered_s[kept],
        counter_j=seen.counter_j[kept],
        power_w=seen.power_w[kept],
    )
    assert refresh_s(again) == pytest.approx(0.1, rel=0.02)


def test_too_few_ticks_tell_no_refresh_period() -> None:
    assert refresh_s(polled(0.3, 0.01, counted(100, 0.1), nothing)) is None


def test_energy_of_constant_power_is_exact_and_its_bound_is_of_whole_ticks() -> None:
    seen = polled(3.0, 0.01, counted(100, 0.1), nothing)
    found = counter_energy(seen, (0.5, 2.5), step_j=STEP_J)
    assert found.joules == pytest.approx(200.0, abs=0.5)
    # At 0.50: ticked by 0.45 surely, 0.55 is the next. At 2.50: 2.45 and 2.55. So 1.9 s to 2.1 s of 100 W.
    assert found.low_j == pytest.approx(190.0, abs=0.01)
    assert found.high_j == pytest.approx(210.0, abs=0.01)


def test_a_reading_that_takes_long_widens_the_bound() -> None:
    slow = polled(3.0, 0.01, counted(100, 0.1), nothing)
    slow = Trace(
        asked_s=slow.asked_s - 0.1, answered_s=slow.answered_s + 0.1, counter_j=slow.counter_j, power_w=slow.power_w
    )
    found = counter_energy(slow, (0.5, 2.5), step_j=STEP_J)
    # Each edge may be a whole tick off to either side.
    assert found.low_j == pytest.approx(170.0, abs=0.01)
    assert found.high_j == pytest.approx(230.0, abs=0.01)


@pytest.mark.parametrize(
    ("span", "reason"),
    [((-1.0, 2.0), "before a window"), ((1.0, 9.0), "after a window"), ((1.0, 2.99), "stood still after a window")],
)
def test_readings_that_do_not_bracket_a_window_give_no_energy(span: tuple[float, float], reason: str) -> None:
    with pytest.raises(NotCovered, match=reason):
        counter_energy(polled(3.0, 0.01, counted(100, 0.1), nothing), span, step_j=STEP_J)


def test_a_counter_that_starts_anew_inside_a_window_gives_no_energy() -> None:
    def reset(t: float) -> float:
        return counted(100, 0.1)(t) if t < 1.5 else counted(100, 0.1)(t) - 1100

    seen = polled(4.0, 0.01, reset, nothing)
    with pytest.raises(NotCovered, match="went backwards"):
        counter_energy(seen, (1.0, 2.0), step_j=STEP_J)
    assert counter_energy(seen, (2.0, 3.0), step_j=STEP_J).joules == pytest.approx(100, abs=1)


def test_a_counter_that_never_moves_gives_no_energy_and_never_zero() -> None:
    with pytest.raises(NotCovered):
        counter_energy(polled(3.0, 0.01, lambda _: 1000.0, nothing), (1.0, 2.0), step_j=STEP_J)


# ---- power ----


def test_power_held_between_refreshes_is_one_sample_a_tick() -> None:
    def ramp(t: float) -> float:  # 100 W/s, shown at ticks of 0.1 s
        return 100 * math.floor(t / 0.1 + 1e-9) * 0.1

    steps = power_steps(polled(2.0, 0.01, nothing, ramp), lag_s=0, refresh_s=None)
    found = power_energy(steps, (0.5, 1.5))
    # Integral of 100 t from 0.5 to 1.5 is 100 J. Read as held, it would be 95 J.
    assert found.joules == pytest.approx(100.0, abs=0.6)


def test_a_step_after_a_long_hold_is_a_step_and_no_ramp() -> None:
    def step(t: float) -> float:
        return 100.0 if t < 5 else 300.0

    steps = power_steps(polled(10.0, 0.01, nothing, step), lag_s=0, refresh_s=0.1)
    found = power_energy(steps, (1.0, 9.0))
    assert found.joules == pytest.approx(400 + 1200, abs=0.1 * 200)  # a refresh period of the difference


def test_an_averaged_power_is_shifted_to_the_middle_of_its_average() -> None:
    seen = polled(4.0, 0.01, nothing, lambda t: 100 * (t - 0.5))  # mean of 100 t over the last second
    found = power_energy(power_steps(seen, lag_s=0.5, refresh_s=None), (1.0, 2.0))
    assert found.joules == pytest.approx(150.0, abs=0.1)


def test_samples_further_apart_than_the_refresh_period_are_taken_as_they_are() -> None:
    seen = polled(2.0, 0.1, nothing, lambda t: 200.0 if 0.95 < t < 1.05 else 100.0)
    found = power_energy(power_steps(seen, lag_s=0, refresh_s=0.02), (0.5, 1.5))
    assert found.joules == pytest.approx(110.0)  # one triangle of 0.2 s and 100 W
    assert found.low_j == pytest.approx(100.0)
    assert found.high_j == pytest.approx(120.0)


def test_power_without_a_sample_on_both_sides_gives_no_energy() -> None:
    steps = Steps(times_s=np.array([1.0, 2.0]), values=np.array([100.0, 100.0]))
    for span in ((0.5, 1.5), (1.5, 2.5)):
        with pytest.raises(NotCovered, match="bracket"):
            power_energy(steps, span)


def test_parts_add_up_with_their_bounds() -> None:
    part = Joules(joules=10, low_j=9, high_j=12)
    assert total([part, part]) == Joules(joules=20, low_j=18, high_j=24)


def test_errors_of_few_parts_add_up_and_those_of_many_average_out() -> None:
    assert combined([1.0]) == 1.0
    assert combined([1.0] * 7) == 7.0
    # sqrt(2 ln 40) = 2.7162; sqrt(100) = 10.
    assert combined([1.0] * 100) == pytest.approx(27.162, abs=1e-3)


# ---- any waveform, through the real bindings ----


@pytest.fixture(scope="module")
def driver() -> Iterator[Running]:
    with acting(Standin(clock="manual")) as running:
        yield running


levels = st.floats(5, 700)
WAVEFORMS = st.one_of(
    st.builds(Waveform.constant, levels),
    st.builds(Waveform.ramp, levels, levels, st.floats(0.5, 30)),
    st.builds(Waveform.decay, levels, levels, st.floats(0.05, 10)),
    st.builds(Waveform.square, levels, levels, st.floats(0.02, 10), duty=st.floats(0.1, 0.9), phase=st.floats(0, 1)),
    st.lists(levels, min_size=1, max_size=8).map(
        lambda watts: Waveform.steps(*((1.7 * n, each) for n, each in enumerate(watts)))
    ),
)


@settings(max_examples=60)
@given(
    waveform=WAVEFORMS,
    refresh=st.floats(0.02, 0.2),
    phase=st.floats(0, 1),
    periods=st.integers(3, 60),
    lateness=st.floats(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_counters_bound_holds_for_every_waveform_and_every_poll(
    driver: Running, waveform: Waveform, refresh: float, phase: float, periods: int, lateness: float, seed: int
) -> None:
    gpu = StandinGpu(waveform=waveform, refresh_s=refresh, refresh_phase_s=phase * refresh)
    rig = Rig(driver, Standin(gpus=(gpu,), clock="manual"), seed=seed, lateness=lateness)
    begin_s = rig.now_s + 3 * refresh
    window = rig.window(begin_s, begin_s + periods * refresh)
    truth_j = waveform.energy_j(begin_s, begin_s + periods * refresh)
    if window.flaw is not None:  # polls so late that no reading brackets it: unknown, and never wrong
        assert lateness > 0.5
        return
    counter = window.readings[0]
    assert counter.low_j is not None
    assert counter.high_j is not None
    assert counter.low_j - 1e-6 <= truth_j <= counter.high_j + 1e-6
    assert counter.low_j <= counter.joules <= counter.high_j
