"""Fronts and volumes against their definitions, applied by brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep.pareto import dominates, front, hypervolume, knee, reference_point

Point = tuple[float, ...]

# Few distinct values, so that ties and duplicates are common; and any finite ones.
coordinates = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, allow_nan=False), st.sampled_from([math.inf, -math.inf, -0.0])
)


def sets_of_points(most: int, values: st.SearchStrategy[float] = coordinates) -> st.SearchStrategy[list[Point]]:
    return st.integers(1, 4).flatmap(lambda count: st.lists(st.tuples(*[values] * count), min_size=1, max_size=most))


def dominates_by_definition(first: Sequence[float], second: Sequence[float]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@given(sets_of_points(2))
def test_dominance_is_its_definition(points: list[Point]) -> None:
    assert dominates(points[0], points[-1]) == dominates_by_definition(points[0], points[-1])


@given(sets_of_points(30))
def test_the_front_is_what_no_point_dominates_each_point_once(points: list[Point]) -> None:
    undominated = {point for point in points if not any(dominates_by_definition(other, point) for other in points)}
    kept = front(points).tolist()
    assert len(kept) == len(undominated)
    assert {points[i] for i in kept} == undominated
    assert kept == [points.index(points[i]) for i in kept]  # of equal points, the first
    firsts = [points[i][0] for i in kept]
    assert firsts == sorted(firsts)


def test_equal_points_are_on_the_front_once() -> None:
    assert front([(1.0, 2.0), (2.0, 1.0), (1.0, 2.0)]).tolist() == [0, 1]


def test_nothing_has_an_empty_front() -> None:
    assert front(np.empty((0, 2))).tolist() == []


@pytest.mark.parametrize("function", [front, reference_point])
def test_nan_is_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="NaN"):
        function([(1.0, math.nan), (0.0, 0.0)])


def test_a_volume_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        hypervolume([(1.0, math.nan)], (2.0, 2.0))


def test_a_list_of_numbers_is_no_set_of_points() -> None:
    with pytest.raises(ValueError, match="shape"):
        front([1.0, 2.0])


def union_volume(points: Sequence[Point], bound: Point) -> float:
    """Inclusion and exclusion over the boxes from each point to `bound`."""
    inside = [point for point in points if all(a < b for a, b in zip(point, bound, strict=True))]
    total = 0.0
    for size in range(1, len(inside) + 1):
        for chosen in itertools.combinations(inside, size):
            corner = [max(values) for values in zip(*chosen, strict=True)]
            total -= (-1) ** size * math.prod(b - a for a, b in zip(corner, bound, strict=True))
    return total


@given(sets_of_points(7, st.integers(-4, 6).map(float)))
def test_the_volume_is_that_of_the_union_of_boxes(points: list[Point]) -> None:
    bound = (4.0,) * len(points[0])  # some points lie beyond it
    assert hypervolume(points, bound) == union_volume(points, bound)  # integers: exact


@given(sets_of_points(20, st.floats(-1e3, 1e3)))
def test_the_front_alone_has_the_whole_volume(points: list[Point]) -> None:
    bound = reference_point(points)
    assert hypervolume([points[i] for i in front(points)], bound) == pytest.approx(hypervolume(points, bound))


def test_the_volume_of_two_steps_by_hand() -> None:
    # Boxes 3 x 1 and 1 x 3 below (4, 4) share 1 x 1: 3 + 3 - 1.
    assert hypervolume([(1.0, 3.0), (3.0, 1.0)], (4.0, 4.0)) == 5


def test_points_beyond_the_reference_count_nothing() -> None:
    assert hypervolume([(5.0, 0.0), (4.0, 4.0)], (4.0, 4.0)) == 0


@given(sets_of_points(10, st.floats(-1e6, 1e6)))
def test_the_reference_point_is_worse_than_every_point(points: list[Point]) -> None:
    assert (np.array(points) < reference_point(points)).all()


def test_the_reference_point_is_a_tenth_of_the_range_away() -> None:
    # Ranges 10 and 0; without a range, a tenth of the size: 5 + 0.5.
    assert reference_point([(0.0, 5.0), (10.0, 5.0)]).tolist() == [11.0, 5.5]


def test_the_knee_is_farthest_below_the_chord_of_the_scaled_front() -> None:
    # Scaled by 10 and 100: (0, 1), (0.1, 0.5), (0.4, 0.1), (1, 0): depths 0, 0.4, 0.5, 0.
    assert knee([(0, 100), (1, 50), (4, 10), (10, 0)]) == 2
    # The chord's distance is the depth over the square root of two: by hand, for the two in the middle.
    for (x, y), depth in (((0.1, 0.5), 0.4), ((0.4, 0.1), 0.5)):
        assert abs(x + y - 1) / math.sqrt(2) == pytest.approx(depth / math.sqrt(2))


def test_the_knee_of_three_objectives_is_farthest_below_the_plane_through_the_corners() -> None:
    # Depths 1 - sum: 0, 0, 0, 0.4 and 0.1.
    assert knee([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2, 0.2, 0.2), (0.3, 0.3, 0.3)]) == 3


def test_a_front_without_a_bend_has_no_knee() -> None:
    assert knee([(0, 1), (1, 0)]) is None
    assert knee([(0, 3), (1, 2), (2, 1), (3, 0)]) is None  # straight
    assert knee([(0, 1), (0.9, 0.9), (1, 0)]) is None  # bulges away
    assert knee([(0, 5), (1, 5), (2, 5)]) is None  # one objective is the same everywhere
    with pytest.raises(ValueError, match="NaN"):
        knee([(0, math.nan), (1, 0), (2, 0)])


@given(st.lists(st.tuples(*[st.integers(0, 20)] * 2), min_size=3, max_size=12, unique=True), st.floats(0.01, 100))
def test_the_knee_knows_no_units(points: list[tuple[int, int]], factor: float) -> None:
    kept = [points[i] for i in front(points)]
    found, scaled = knee(kept), knee([(factor * x - 7, y) for x, y in kept])
    assert (found is None) == (scaled is None)
    if found is not None and scaled is not None:
        # Equal depths may change places by rounding.
        columns = [(min(column), max(column)) for column in zip(*kept, strict=True)]
        depths = [
            sum((value - low) / (high - low) for value, (low, high) in zip(kept[place], columns, strict=True))
            for place in (found, scaled)
        ]
        assert depths[0] == pytest.approx(depths[1])
