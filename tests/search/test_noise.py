"""Measurement noise of an objective, from the intervals of seconds and joules; every number by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from carbonsweep.carbon.intensity import given_intensity
from carbonsweep.domain import Measurement, Scenario
from carbonsweep.search.noise import LEAST_SHARE, Interval, at_end, has_noise, is_hidden, limit_noise, objective_noise
from carbonsweep.search.objectives import OBJECTIVES
from carbonsweep.units import S_PER_YEAR
from tests.conftest import measurement, phase

# 360 g/kWh are 1e-4 g/J; 5 years are 157,680,000 s; the paper's T4 is 10.3 kg.
SCENARIO = Scenario(intensity=given_intensity(360), lifetime_s=5 * S_PER_YEAR, embodied="paper")


def metered(**changes: Any) -> Measurement:
    """0.5 s (0.48 to 0.53) and 20 J of prefill, 3 s (2.9 to 3.2) and 90 J of decode; joules to 10 %; 600 tokens."""
    start: dict[str, Any] = {
        "prefill": phase(0.5, 20.0, duration_low_s=0.48, duration_high_s=0.53),
        "decode": phase(3.0, 90.0, duration_low_s=2.9, duration_high_s=3.2),
        "basis": "measured",
    }
    return measurement(**{**start, **changes})


def ends(name: str, of: Measurement) -> tuple[float, float, float]:
    found = objective_noise(OBJECTIVES[name], of, SCENARIO)
    return found.low, found.value, found.high


def test_the_ends_of_both_phases_go_together() -> None:
    assert ends("latency", metered()) == pytest.approx((0.48 + 2.9, 3.5, 0.53 + 3.2))
    assert ends("ttft", metered()) == pytest.approx((0.48, 0.5, 0.53))
    assert ends("tpot", metered()) == pytest.approx((2.9 / 149, 3.0 / 149, 3.2 / 149))


def test_a_throughput_is_high_where_the_time_is_low() -> None:
    assert ends("throughput", metered()) == pytest.approx((600 / 3.73, 600 / 3.5, 600 / 3.38))


def test_joules_of_a_thousand_tokens() -> None:
    # 110 J for 600 tokens, 10 % either way.
    assert ends("energy", metered()) == pytest.approx((99 / 0.6, 110 / 0.6, 121 / 0.6))


def test_grams_follow_the_joules_and_the_time_the_device_is_taken() -> None:
    def grams(joules: float, busy_s: float) -> float:
        return (joules * 1e-4 + 10_300 * busy_s / 157_680_000) / 0.6

    assert ends("carbon", metered()) == pytest.approx((grams(99, 3.38), grams(110, 3.5), grams(121, 3.73)))


def test_a_low_end_at_nothing_still_takes_a_hundredth() -> None:
    unsure = metered(prefill=phase(0.5, 20.0, duration_low_s=0.0, duration_high_s=1.0))
    assert ends("ttft", unsure) == pytest.approx((0.5 * LEAST_SHARE, 0.5, 1.0))


def test_a_limit_has_the_noise_of_its_latency() -> None:
    found = limit_noise("tpot_s", metered())
    assert (found.low, found.value, found.high) == pytest.approx((2.9 / 149, 3.0 / 149, 3.2 / 149))


def test_a_model_has_no_noise() -> None:
    modelled = metered(basis="modelled")
    assert not has_noise(modelled)
    assert has_noise(metered(basis="rehearsed"))
    with pytest.raises(ValueError, match="is a model"):
        at_end(modelled, "low")


def test_a_record_without_a_spread_knows_no_noise() -> None:
    once = metered(prefill=phase(0.5, 20.0), decode=phase(3.0, 90.0))
    assert not objective_noise(OBJECTIVES["latency"], once, SCENARIO).is_known
    assert objective_noise(OBJECTIVES["energy"], once, SCENARIO).is_known


def around(value: float, below: float, above: float) -> Interval:
    return Interval(value=value, low=value - below, high=value + above)


def test_half_widths_add_in_quadrature_not_as_overlap() -> None:
    # Of 3 and 4 the difference has 5: 4.9 apart is hidden, 5.1 is not, though 5.1 < 3 + 4 and the intervals overlap.
    best = around(10, 1, 3)
    assert is_hidden(best, around(14.9, 4, 1), 1)
    assert not is_hidden(best, around(15.1, 4, 1), 1)


def test_only_the_ends_that_face_each_other_count() -> None:
    # The best's way down and the other's way up are far, and of no use.
    assert not is_hidden(around(10, 100, 3), around(15.1, 4, 100), 1)
    # Of a throughput more is better: there the best's way down faces the other's way up.
    assert is_hidden(around(15, 3, 0), around(10.1, 0, 4), -1)
    assert not is_hidden(around(15, 3, 100), around(9.9, 100, 4), -1)


def test_a_hand_over_is_priced_at_its_end_too() -> None:
    from carbonsweep.domain import Transfer
    from tests.conftest import energy

    handed = replace(metered(), transfer=Transfer(bytes=1.0, exposed_s=0.1, energy=energy(10.0)))
    # 120 J in all, 10 % either way; the exposed time has no interval.
    assert ends("energy", handed) == pytest.approx((108 / 0.6, 120 / 0.6, 132 / 0.6))
    assert ends("latency", handed) == pytest.approx((3.48, 3.6, 3.83))
