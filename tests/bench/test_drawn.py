"""Draws of the fit become factors on what the device model says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from carbonsweep.bench import roofline_inputs
from carbonsweep.bench.drawn import Drawn, Lengths, drawn, undrawn
from carbonsweep.bench.points import listed
from carbonsweep.bench.roofline import predict
from carbonsweep.domain import Workload
from carbonsweep.facts.draws import FitDraws
from carbonsweep.facts.engines import engine
from tests.conftest import configuration

POINTS = listed([configuration(), configuration(gpu="RTX6000Ada", batch_size=32), configuration(engine="healthy")])
WORKLOAD = Workload(name="w", prompts=None, prompt_tokens=(60,), token_basis="given", output_tokens=100)
LENGTHS = Lengths(prompt=np.full(3, 60.0), padded_prompt=np.full(3, 60.0), output_tokens=np.full(3, 100.0))


def made(**fields: tuple[float, ...]) -> Drawn:
    """The same fields for both engines, on any GPU."""
    rows = {name: {"": fields} for name in ("paper", "healthy")}
    return drawn(POINTS, LENGTHS, FitDraws(draws=2, seed=0, rows=rows))


def test_the_models_own_values_are_factors_of_one() -> None:
    rows = {name: {"": {"kv_power": (engine(name, "T4").kv_power,) * 2}} for name in ("paper", "healthy")}
    found = drawn(POINTS, LENGTHS, FitDraws(draws=2, seed=0, rows=rows))
    for each in (found.prefill_s, found.decode_s):
        np.testing.assert_array_equal(each, np.ones((2, 3)))
    assert found.fits.all()


def test_a_time_factor_stretches_time_and_energy_and_a_power_factor_energy_alone() -> None:
    found = made(time_factor=(2.0, 2.0), power_factor=(1.5, 1.5))
    np.testing.assert_allclose(found.prefill_s, np.full((2, 3), 2))
    np.testing.assert_allclose(found.decode_s, np.full((2, 3), 2))
    np.testing.assert_allclose(found.prefill_j, np.full((2, 3), 3))
    np.testing.assert_allclose(found.decode_j, np.full((2, 3), 3))


def test_a_drawn_parameter_gives_what_an_engine_with_it_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    own = predict([POINTS.configuration(i) for i in range(3)], WORKLOAD)
    slow: dict[str, Any] = {"bandwidth_efficiency": 0.2, "decode_power_floor": 0.9}
    found = made(bandwidth_efficiency=(0.5, 0.2), decode_power_floor=(0.5, 0.9))
    monkeypatch.setattr(roofline_inputs, "engine", lambda name, gpu: replace(engine(name, gpu), **slow))
    other = predict([POINTS.configuration(i) for i in range(3)], WORKLOAD)
    np.testing.assert_allclose(found.decode_s[1], other.decode_s / own.decode_s, rtol=1e-12)
    expected_j = other.decode_s * other.decode_w / (own.decode_s * own.decode_w)
    np.testing.assert_allclose(found.decode_j[1], expected_j, rtol=1e-12)
    assert (found.decode_s[1] > found.decode_s[0]).any()


def test_a_draw_that_needs_more_memory_does_not_fit() -> None:
    # A T4 has 16 GB, an RTX 6000 Ada 48: a reserve of 30 GB leaves a billion parameters room on the second alone.
    found = made(memory_reserve_bytes=(1e9, 30e9))
    assert found.fits.tolist() == [[True, True, True], [False, True, False]]


def test_draw_i_is_one_joint_draw_over_the_gpus_of_an_engine() -> None:
    rows: dict[str, dict[str, dict[str, tuple[float, ...]]]]
    rows = {
        "paper": {"T4": {"time_factor": (1.0, 3.0)}, "RTX6000Ada": {"time_factor": (2.0, 5.0)}},
        "healthy": {"": {}},
    }
    found = drawn(POINTS, LENGTHS, FitDraws(draws=2, seed=0, rows=rows))
    np.testing.assert_allclose(found.decode_s, [[1, 2, 1], [3, 5, 1]])


def test_gpus_nobody_calibrated_on_err_each_by_itself() -> None:
    factors = tuple(float(i) for i in range(1, 65))
    rows = {name: {"": {"time_factor": factors, "power_factor": factors}} for name in ("paper", "healthy")}
    found = drawn(POINTS, LENGTHS, FitDraws(draws=64, seed=0, rows=rows))
    ours, theirs, _ = found.decode_s.T
    assert sorted(ours) == sorted(theirs) == pytest.approx(factors)
    assert abs(np.corrcoef(ours, theirs)[0, 1]) < 0.4  # three standard deviations of 64 independent pairs
    np.testing.assert_allclose(found.decode_j, found.decode_s**2)  # time and power of one GPU stay together


def test_what_has_no_draws_is_named() -> None:
    draws = FitDraws(draws=2, seed=0, rows={"paper": {"T4": {}}})
    assert undrawn(POINTS, draws) == [("paper", "RTX6000Ada"), ("healthy", "T4")]
    with pytest.raises(ValueError, match="no draws"):
        drawn(POINTS, LENGTHS, draws)
