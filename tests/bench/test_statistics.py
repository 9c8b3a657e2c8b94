from __future__ import annotations

import pytest

from carbonsweep.bench.statistics import distribution, half_width, interval


def test_the_interval_is_student_t() -> None:
    # t(0.975, 2) = 4.30265; mean 2, s = 1, so the half-width is 4.30265 / sqrt(3) = 2.48414, cut at 0.
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, low) == (2.0, 0.0)
    assert high == pytest.approx(4.48414, abs=1e-5)
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(2.48414 / 2, abs=1e-5)


def test_equal_samples_have_no_width() -> None:
    assert interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_a_distribution_tells_its_quantiles() -> None:
    found = distribution([float(n) for n in range(1, 102)], "request")
    assert (found.unit, found.count, found.mean) == ("request", 101, 51.0)
    assert (found.minimum, found.median, found.p90, found.p99, found.maximum) == (1.0, 51.0, 91.0, 100.0, 101.0)
    assert found.stdev == pytest.approx(29.3001, abs=1e-4)


def test_one_sample_has_no_spread() -> None:
    assert distribution([3.0], "batch").stdev is None
