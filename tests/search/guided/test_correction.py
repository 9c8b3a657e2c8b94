"""The correction passes through what was measured, is as sure as its noise allows, and spreads as it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor

from carbonsweep.bench.points import listed
from carbonsweep.search.guided.correction import (
    JITTER,
    Correction,
    Likeness,
    ResidualKernel,
    _weights,
    features,
    likenesses,
)
from carbonsweep.search.guided.observations import Observed
from tests.search.guided.worlds import configurations

POINTS = configurations(batches=(1, 2, 4, 8, 16))  # 2 models x 4 GPUs x 5 batches, the last axis fastest
ROWS = features(listed(POINTS))
WHERE = np.arange(len(POINTS))
LIKE = Likeness(scale=2.0, own=(0.5, 0.25, 0.9, 0.9), curve=0.6, trend=0.0, octaves=2.0, alone=0.1)


def told(values: dict[int, float], noise: float = 0.003) -> Observed:
    index = np.array(list(values), dtype=np.intp)
    return Observed(index, np.array(list(values.values()), dtype=float), np.full(len(values), noise))


def drawn(values: dict[int, float], noise: float = 0.003, error: float = 0.2, count: int = 1200) -> np.ndarray:
    known = {"decode_s": told(values, noise)}
    correction = Correction(ROWS, {"decode_s": np.full(len(POINTS), error)}, known)
    return correction.draws(WHERE, count, np.random.default_rng(0))["decode_s"]


def test_likeness_multiplies_what_two_configurations_share() -> None:
    kernel = ResidualKernel(LIKE)(ROWS)
    # By hand, scale 2: 4 x 0.9 x (shares kept). Same GPU, other model: 0.75; other GPU, same model: 0.5; both: 0.375.
    assert kernel[0, 0] == pytest.approx(4.0)
    assert kernel[0, 20] == pytest.approx(4 * 0.9 * 0.75)
    assert kernel[0, 5] == pytest.approx(4 * 0.9 * 0.5)
    assert kernel[0, 25] == pytest.approx(4 * 0.9 * 0.375)
    # Batch 1 against 4, two doublings at 2 octaves: 0.4 + 0.6 exp(-1/2).
    assert kernel[0, 2] == pytest.approx(4 * 0.9 * (0.4 + 0.6 * np.exp(-0.5)))


def test_an_error_may_grow_steadily_with_the_batch() -> None:
    # All of the curve a trend, as large as stated at 3 doublings: batch 1 has 0.4 of the variance, batch 16, four
    # doublings, 0.4 + 0.6 x 16 / 9; both parts of what the configuration shares, 0.9, and 0.1 it has alone.
    kernel = ResidualKernel(replace(LIKE, scale=1.0, curve=0.6, trend=1.0))
    covariance = kernel(ROWS)
    assert covariance[0, 0] == pytest.approx(0.9 * 0.4 + 0.1)
    assert covariance[4, 4] == pytest.approx(0.9 * (0.4 + 0.6 * 16 / 9) + 0.1)
    assert covariance[3, 4] == pytest.approx(0.9 * (0.4 + 0.6 * 3 * 4 / 9))
    assert covariance[0, 4] == pytest.approx(0.9 * 0.4)


@pytest.mark.parametrize("like", likenesses()[::8])
def test_every_likeness_is_a_covariance(like: Likeness) -> None:
    kernel = ResidualKernel(like)
    covariance = kernel(ROWS)
    assert np.allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    assert np.allclose(np.diag(covariance), kernel.diag(ROWS))
    assert np.allclose(covariance[:3, 5:9], kernel(ROWS[:3], ROWS[5:9]))


def test_weights_are_the_marginal_likelihoods_of_the_library() -> None:
    known = told({0: 0.3, 3: 0.1, 7: -0.2, 21: 0.25}, noise=0.05)
    own = np.full(4, 0.2)
    covariances = np.array([ResidualKernel(like)(ROWS[known.index]) for like in likenesses()])
    alpha = (known.noise / own) ** 2 + JITTER
    scores = [
        GaussianProcessRegressor(ResidualKernel(like), alpha=alpha, optimizer=None)
        .fit(ROWS[known.index], known.log_ratio / own)
        .log_marginal_likelihood_value_
        for like in likenesses()
    ]
    expected = np.exp(np.array(scores) - max(scores))
    assert _weights(covariances, np.arange(4), known, own) == pytest.approx(expected / expected.sum(), rel=1e-6)


def test_what_was_measured_exactly_is_known_and_its_neighbours_follow() -> None:
    found = drawn({0: 1.1})  # three times slower, of which 20 % were stated
    assert found[:, 0] == pytest.approx(1.1, abs=0.05)
    assert found[:, 1].mean() > 0.5  # the next batch size
    # Likeness decides: the same GPU and model more than the same GPU, and that more than another model elsewhere.
    same, same_gpu, elsewhere = found[:, 4].mean(), found[:, 24].mean(), found[:, 39].mean()
    assert same > same_gpu > elsewhere
    # One measurement far from what was stated widens what is believed of all others.
    assert found[:, 39].std() > 2 * drawn({0: 0.02})[:, 39].std()


def test_noise_is_taken_off_the_measurement() -> None:
    # A prior of some 20 %, a value of 1.1 known to 100 %: it moves the place itself only a little.
    found = drawn({0: 1.1}, noise=1.0)
    assert found[:, 0].mean() < 0.5
    assert found[:, 0].std() > 0.1


def test_two_measurements_on_two_gpus_that_agree_move_a_third() -> None:
    both = drawn({0: 0.7, 5: 0.7})[:, 10].mean()
    one = drawn({0: 0.7})[:, 10].mean()
    assert both > one > 0


def test_without_measurements_draws_have_no_bias_and_the_spread_of_the_prior() -> None:
    found = drawn({}, error=0.2)
    assert abs(found.mean()) < 0.05
    # Scales run from 0.4 to 4, evenly in their logarithm: their mean square is (16 - 0.16) / (2 ln 10) = 3.4.
    assert found.std() == pytest.approx(0.2 * np.sqrt(3.4), rel=0.3)


def test_what_is_not_known_of_one_output_has_nothing_to_do_with_another() -> None:
    # Scales spread over a decade: were both outputs of a draw under one likeness, the logarithms of their sizes would
    # correlate by 0.44 / (0.44 + 1.23), the variances of ln(scale) and of ln|normal|: by a quarter.
    known = {output: told({}) for output in ("prefill_s", "decode_s")}
    correction = Correction(ROWS, {output: np.full(len(POINTS), 0.2) for output in known}, known)
    draws = correction.draws(WHERE[:1], 6000, np.random.default_rng(0))
    sizes = [np.log(np.abs(each[:, 0])) for each in draws.values()]
    assert abs(np.corrcoef(sizes)[0, 1]) < 0.08


def test_marginals_agree_with_draws() -> None:
    values = {0: 0.5, 2: 0.4, 6: 0.3, 21: 0.45, 33: 0.2, 12: 0.35}
    correction = Correction(ROWS, {"decode_s": np.full(len(POINTS), 0.2)}, {"decode_s": told(values)})
    mean, deviation = correction.marginals(WHERE)["decode_s"]
    found = drawn(values)
    assert np.abs(mean - found.mean(axis=0)).max() < 0.15
    assert np.all(deviation >= 0)
