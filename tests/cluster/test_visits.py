"""Clocks of nodes, against the time in which they were asked."""

from __future__ import annotations

import pytest

from carbonsweep.cluster.visits import SKEW_S, Found, skewed


def found(clock_s: float, host: str = "one") -> Found:
    return Found(host=host, clock_s=clock_s, lines={})


@pytest.mark.parametrize(
    ("clock_s", "apart_s"),
    [
        (100.0, None),  # read at any time between question (100) and answer (110): nothing is known to be wrong
        (110.0, None),
        (110.0 + SKEW_S, None),
        (113.0, 3.0),  # 3 s after the answer came: at least so far ahead
        (100.0 - SKEW_S, None),
        (95.0, -5.0),  # 5 s before it was asked: at least so far behind
        (110.0 + 86400.0, 86400.0),
    ],
)
def test_a_clock_is_skewed_only_by_what_the_waiting_does_not_explain(clock_s: float, apart_s: float | None) -> None:
    expected = {} if apart_s is None else {"one": apart_s}
    assert skewed([found(clock_s)], asked_s=100.0, answered_s=110.0) == expected


def test_each_skewed_host_is_named_and_nobody_else() -> None:
    clocks = [found(105.0, "right"), found(50.0, "behind"), found(200.0, "ahead")]
    assert skewed(clocks, asked_s=100.0, answered_s=110.0) == {"behind": -50.0, "ahead": 90.0}
    assert skewed([], asked_s=100.0, answered_s=110.0) == {}
