"""Shares in per cent: one style, and none printed as nothing or everything where it only nearly is."""

from __future__ import annotations

import pytest

from carbonsweep.shares import change_percent, percent, signed_percent


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (0.0001, "under 1 %"),
        (0.17, "17 %"),
        (0.005, "under 1 %"),
        (0.995, "over 99 %"),
        (0.9999, "over 99 %"),
        (1, "100 %"),
    ],
)
def test_nearly_all_is_not_all_and_nearly_none_not_none(share: float, said: str) -> None:
    assert percent(share) == said


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (0.2149, "+21 %"),
        (-0.0499, "-5.0 %"),
        (-0.2149, "-21 %"),
        (20.18, "+2,018 %"),
        (0.0996, "+10 %"),
    ],
)
def test_a_change_in_per_cent(share: float, words: str) -> None:
    assert change_percent(share) == words


def test_digits_are_those_asked_for() -> None:
    assert (percent(0.0004, 1), percent(12.5, 1), percent(0.021, 2)) == ("0.0 %", "1,250.0 %", "2.10 %")
    assert (signed_percent(0.073), signed_percent(-0.02, 2)) == ("+7.3 %", "-2.00 %")
    assert change_percent(0.21, signed=False) == "21 %"
