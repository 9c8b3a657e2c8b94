"""The share a second life carries, by hand and as properties, and what cannot be one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep.second_life import SecondLife

YEAR_S = 8760 * 3600.0


def left(age_years: float, first_years: float = 5.0) -> SecondLife:
    return SecondLife(device="T4", policy="left", age_s=age_years * YEAR_S, first_lifetime_s=first_years * YEAR_S)


def test_the_share_by_hand() -> None:
    assert SecondLife(device="T4", policy="all").share == 1
    assert SecondLife(device="T4", policy="none").share == 0
    assert left(3).share == pytest.approx(0.4)  # 1 - 3 / 5
    assert left(3, 4).share == pytest.approx(0.25)  # 1 - 3 / 4


@given(first=st.floats(min_value=0.01, max_value=100), over=st.floats(min_value=1, max_value=100))
def test_at_age_0_all_is_left_and_from_the_end_of_the_first_life_on_nothing(first: float, over: float) -> None:
    assert left(0, first).share == 1
    assert left(first * over, first).share == 0


@given(younger=st.floats(min_value=0, max_value=20), older=st.floats(min_value=0, max_value=20))
def test_an_older_device_never_has_more_left(younger: float, older: float) -> None:
    younger, older = sorted((younger, older))
    assert 0 <= left(older).share <= left(younger).share <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "some"},
        {"policy": "none", "age_s": 1.0},
        {"policy": "all", "first_lifetime_s": 1.0},
        {"policy": "left"},
        {"policy": "left", "age_s": 1.0},
        {"policy": "left", "age_s": -1.0, "first_lifetime_s": 1.0},
        {"policy": "left", "age_s": float("nan"), "first_lifetime_s": 1.0},
        {"policy": "left", "age_s": 1.0, "first_lifetime_s": 0.0},
        {"policy": "left", "age_s": 1.0, "first_lifetime_s": float("inf")},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"policy|age_s|first_lifetime_s"):
        SecondLife(device="T4", **wrong)
