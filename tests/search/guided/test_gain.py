"""Gains over draws: by hand for one loss, against `pareto.hypervolume` for two and three."""

from __future__ import annotations

import math

import numpy as np
import pytest

from carbonsweep.pareto import hypervolume
from carbonsweep.search.guided.gain import View, _areas, chance, gains, hypervolume_gains, improvements
from carbonsweep.search.guided.outcomes import Outcomes

RANDOM = np.random.default_rng(0)


def view(losses: object, excess: object, open_count: int, found_count: int, runs: object = True) -> View:
    values = np.array(losses, dtype=float)
    values = values if values.ndim == 3 else values[..., None]
    shape = values.shape[:2]
    drawn = Outcomes(
        losses=values,
        excess=np.broadcast_to(np.array(excess, dtype=float), shape),
        runs=np.broadcast_to(np.array(runs), shape),
    )
    return View(drawn, open_count, found_count)


def test_improvement_is_the_logarithm_of_the_best_over_the_loss_in_the_same_draw() -> None:
    # Two draws of two open ones and one found (last). Draw 1: 1 and 4 against 2; draw 2: 3 and 1 against 2.
    seen = view([[1, 4, 2], [3, 1, 2]], -1, 2, 1)
    assert improvements(seen) == pytest.approx(np.array([[math.log(2), 0], [0, math.log(2)]]))
    assert chance(seen) == 1.0


def test_more_is_better_where_losses_are_negative() -> None:
    # Throughputs of 8 and 2 against 4 found.
    assert improvements(view([[-8, -2, -4]], -1, 2, 1)) == pytest.approx(np.array([[math.log(2), 0]]))


def test_what_exceeds_a_limit_or_does_not_run_gains_nothing() -> None:
    assert improvements(view([[1, 1, 2]], [[0.1, 0, 0]], 2, 1))[0] == pytest.approx([0, math.log(2)])
    assert improvements(view([[1, 1, 2]], -1, 2, 1, runs=[[False, True, True]]))[0] == pytest.approx([0, math.log(2)])


def test_a_gain_of_less_than_one_percent_is_no_chance() -> None:
    assert chance(view([[0.995, 1.0]], -1, 1, 1)) == 0.0
    assert chance(view([[0.985, 1.0]], -1, 1, 1)) == 1.0


def test_what_was_measured_feasible_stays_found_and_what_runs_only_where_it_is_drawn_feasible() -> None:
    # The last one is drawn 10 % above a limit: found, it was measured within; running, it is not found.
    assert chance(view([[3, 2]], [[0, 0.1]], 1, 1)) == 0.0
    assert chance(view([[3, 2]], [[0, 0.1]], 1, 0)) == 1.0


def test_what_is_drawn_infeasible_while_it_runs_takes_no_area_from_the_others() -> None:
    # One open point of (2, 2); one running of (1, 1), which would dominate it, but in the first draw breaks a limit.
    losses = [[[2, 2], [1, 1], [4, 4]], [[2, 2], [1, 1], [4, 4]]]
    seen = view(losses, [[-1, 0.1, -1], [-1, -1, -1]], 1, 1)
    # The reference is a tenth of the range beyond the worst of 2 and 4: 4.2; (1, 1) is feasible in no more than half of
    # the draws. The open point adds 2.2 x 2.2 - 0.2 x 0.2 in the first draw, and nothing in the second.
    assert gains(seen, RANDOM) == pytest.approx([(2.2**2 - 0.2**2) / 2])


def test_with_nothing_found_the_chance_is_that_anything_is_feasible() -> None:
    assert chance(view([[1, 2], [1, 2], [1, 2], [1, 2]], [[1, 1], [-1, 1], [1, -1], [1, 1]], 2, 0)) == 0.5


def test_areas_and_gains_are_those_of_pareto() -> None:
    random = np.random.default_rng(1)
    points, feasible = random.random((20, 12, 2)), random.random((20, 12)) < 0.7
    reference = np.array([0.8, 0.9])
    areas = _areas(points, feasible, reference)
    for draw in range(20):
        held = points[draw][feasible[draw]]
        assert areas[draw] == pytest.approx(hypervolume(held, reference))
        grown = hypervolume_gains(points[draw], held[:5], reference)
        before = hypervolume(held[:5], reference)
        after = [hypervolume(np.vstack([held[:5], point]), reference) for point in points[draw]]
        assert grown == pytest.approx(np.array(after) - before, abs=1e-12)


def test_an_empty_front_gains_the_whole_rectangle() -> None:
    assert hypervolume_gains(np.array([[1.0, 2.0]]), np.empty((0, 2)), np.array([3.0, 5.0])) == pytest.approx([6.0])


@pytest.mark.parametrize("objectives", [2, 3])
def test_what_is_dominated_gains_nothing_and_what_dominates_gains_most(objectives: int) -> None:
    # Open: better in all, equal, worse in all than the one found at 2.
    losses = np.array([[[1.0] * objectives, [2.0] * objectives, [3.0] * objectives, [2.0] * objectives]] * 8)
    found = gains(view(losses, -1, 3, 1), RANDOM)
    assert found[0] > 0
    assert found[1:] == pytest.approx([0, 0])
    assert chance(view(losses, -1, 3, 1)) == 1.0
    assert chance(view(losses[:, 1:], -1, 2, 1)) == 0.0
