"""A rate of requests is written per second, minute, hour or day; anything else is told what would be one."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import inputs
from carbonsweep.option_types import NO_RATE, RequestRate


@pytest.mark.parametrize(
    ("typed", "per_s"),
    [
        ("2.5", 2.5),
        (2.5, 2.5),
        (3, 3.0),
        ("3/s", 3.0),
        ("150/min", 2.5),
        ("9000 / H", 2.5),
        ("216000/day", 2.5),
    ],
)
def test_a_rate_in_prompts_per_second(typed: object, per_s: float) -> None:
    assert RequestRate().convert(typed, None, None) == pytest.approx(per_s)


@pytest.mark.parametrize("typed", ["", "nan", "inf", "0", "-1", "3/week", "/s", "3//s", "3/s/s", "1e10", True, [3]])
def test_what_is_no_rate_is_refused_with_what_would_be(typed: object) -> None:
    with pytest.raises(click.BadParameter, match="150/min"):
        RequestRate().convert(typed, None, None)


@given(st.text() | st.floats() | st.none() | st.lists(st.integers()))
def test_nothing_else_gets_through(value: object) -> None:
    try:
        found = RequestRate().convert(value, None, None)
    except click.BadParameter:
        return
    assert found == NO_RATE or 1e-9 <= float(found) <= 1e9


def test_a_scenario_takes_the_rate_keeps_it_and_lets_it_go() -> None:
    start = inputs.scenario({"region": "QC", "request_rate": 2.5}, ["T4"])
    assert start.request_rate_per_s == 2.5
    assert inputs.scenario({"pue": 1.2}, ["T4"], start).request_rate_per_s == 2.5
    assert inputs.scenario({"request_rate": NO_RATE}, ["T4"], start).request_rate_per_s is None
