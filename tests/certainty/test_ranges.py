"""The lower envelope of straight lines, by hand and against looking everywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep.certainty.ranges import lower_envelope


def test_two_lines_cross_where_they_cross() -> None:
    # 1 + 2t and 2: equal at t = 0.5.
    assert lower_envelope(np.array([1.0, 2.0]), np.array([3.0, 2.0])) == [(0.0, 0.5, 0), (0.5, 1.0, 1)]


def test_a_line_above_the_others_everywhere_is_on_no_part() -> None:
    # 4t, 1 + t, 2, and 3: 4t = 1 + t at 1/3; 1 + t = 2 at 1, which is the end.
    found = lower_envelope(np.array([0.0, 1.0, 2.0, 3.0]), np.array([4.0, 2.0, 2.0, 3.0]))
    assert [place for _, _, place in found] == [0, 1]
    assert found[0][1] == pytest.approx(1 / 3)


def test_of_equal_lines_the_first_is_named() -> None:
    assert lower_envelope(np.array([1.0, 1.0]), np.array([2.0, 2.0])) == [(0.0, 1.0, 0)]


def test_infinite_lines_are_never_lowest() -> None:
    assert lower_envelope(np.array([np.inf, 1.0]), np.array([np.inf, 9.0])) == [(0.0, 1.0, 1)]


lines = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=8)


@given(lines)
def test_the_parts_cover_the_range_and_each_is_lowest_on_its_own(ends: list[tuple[float, float]]) -> None:
    start, end = np.array(ends).T
    found = lower_envelope(start, end)
    assert found[0][0] == 0
    assert found[-1][1] == 1
    assert all(left[1] == right[0] for left, right in itertools.pairwise(found))
    for low, high, place in found:
        for t in np.linspace(low, high, 5):
            values = start + (end - start) * t
            assert values[place] <= values.min() + 1e-9
