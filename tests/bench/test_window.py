from __future__ import annotations

import pytest

from carbonsweep.bench.power.window import COUNTER_REFRESH_S, LEAST_WINDOW_S, Window, phase_energy, window

from .conftest import ClockworkMeter, TickingClock


def nothing() -> None:
    pass


def test_without_a_meter_the_work_is_done_once_and_has_no_energy(clock: TickingClock) -> None:
    done: list[int] = []
    measured = window(lambda: done.append(1), meter=None, clock=clock)
    assert done == [1]
    assert measured == Window(runs=1, duration_s=1.0, joules=None, flaw="no meter")
    assert phase_energy([measured], None) == (None, ())


def test_a_window_is_repeated_until_it_spans_twenty_refresh_periods(clock: TickingClock, meter: ClockworkMeter) -> None:
    measured = window(nothing, meter=meter, clock=clock)
    # One look per run: 2 s / 1 s = 2 runs. The reading before sees the clock one tick earlier: 3 s at 100 W.
    assert LEAST_WINDOW_S == 20 * COUNTER_REFRESH_S
    assert measured == Window(runs=2, duration_s=2.0, joules=300.0)


def test_energy_of_a_run_and_its_bound_follow_by_hand(meter: ClockworkMeter) -> None:
    windows = [Window(runs=8, duration_s=2.0, joules=200.0), Window(runs=2, duration_s=4.0, joules=200.0)]
    energy, flaws = phase_energy(windows, meter)
    assert energy is not None
    assert flaws == ()
    # 200/8 = 25 J and 200/2 = 100 J: every window counts once, however often its work was repeated.
    assert energy.joules == pytest.approx(62.5)
    # 2 x 0.1 s x 100 W / 8 = 2.5 J and 2 x 0.1 s x 50 W / 2 = 5 J.
    assert energy.high_j - energy.joules == pytest.approx(3.75)
    assert energy.joules - energy.low_j == pytest.approx(3.75)
    assert (energy.source, energy.semantics) == ("clockwork", "a test double")
    assert [estimate.joules for estimate in energy.estimates] == [energy.joules]


def test_the_lower_bound_is_not_below_zero(meter: ClockworkMeter) -> None:
    energy, _ = phase_energy([Window(runs=1, duration_s=0.1, joules=10.0)], meter)
    assert energy is not None
    assert energy.low_j == 0.0
    assert energy.high_j == pytest.approx(30.0)  # 10 J + 2 x 0.1 s x 100 W


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([500.0, 3.0], "went backwards"),
        ([500.0, 500.0], "did not advance"),
        ([None, 500.0], "the meter is away"),
        ([500.0, None], "the meter is away"),
    ],
)
def test_a_reading_that_cannot_be_trusted_makes_the_energy_unknown_and_says_why(
    clock: TickingClock, meter: ClockworkMeter, readings: list[float | None], reason: str
) -> None:
    meter.readings = readings
    flawed = window(nothing, meter=meter, clock=clock)
    assert flawed.joules is None
    energy, flaws = phase_energy([flawed, window(nothing, meter=meter, clock=clock)], meter)
    assert energy is None
    assert len(flaws) == 1
    assert reason in flaws[0]
