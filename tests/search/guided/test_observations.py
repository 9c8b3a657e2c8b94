"""What a record tells of the guidance: log ratios, their noise, and bounds on other batch sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from carbonsweep.search.guided.belief import Belief, Candidates
from carbonsweep.search.guided.observations import NOISE_FLOOR, monotone, observed
from tests.conftest import SHORT, energy, measurement, phase, record
from tests.search.guided.worlds import World, asking, by_size, configurations

POINTS = configurations(models=("TinyLlama-1.1B",), gpus=("T4", "H100"), batches=(1, 4, 16))
WORLD = World(configurations=POINTS, seconds=by_size)
GUIDANCE = WORLD.guidance()  # of the T4: 8 s, 11.2 s, 14.4 s of decode at 100 W
TIMED = phase(16.0, None, duration_low_s=14.432, duration_high_s=17.568, energy=energy(3200.0))  # +- 1.568: 1.96 x 5 %


def test_a_ratio_is_measured_over_guided_and_its_noise_half_the_interval_over_1_96() -> None:
    found = observed("decode_s", GUIDANCE, {0: measurement(decode_s=1.0, decode=TIMED)})
    assert found.index.tolist() == [0]
    assert found.log_ratio == pytest.approx([math.log(16 / 8)])
    assert found.noise == pytest.approx([math.log1p(0.098) / 1.96])


def test_power_is_energy_over_time_and_as_noisy_as_the_energy() -> None:
    found = observed("decode_w", GUIDANCE, {0: measurement(decode=TIMED)})
    assert found.log_ratio == pytest.approx([math.log(3200 / 16 / 100)])
    assert found.noise == pytest.approx([math.log1p(0.1) / 1.96])


def test_unknown_energy_and_idle_power_tell_nothing() -> None:
    silent = measurement(prefill_j=None, decode_j=None, idle_w=None)
    assert [len(observed(name, GUIDANCE, {0: silent}).index) for name in ("prefill_w", "decode_w", "idle_w")] == [0] * 3
    assert len(observed("prefill_s", GUIDANCE, {0: silent}).index) == 1


def test_an_assumed_power_is_what_is_expected_where_no_meter_read_the_energy() -> None:
    silent = measurement(prefill_j=None, decode_j=None)
    assert observed("decode_w", GUIDANCE, {0: silent}, 50.0).log_ratio == pytest.approx([math.log(50 / 100)])
    # Watts are over all GPUs, and the assumed ones are of each.
    pair = measurement(decode=replace(TIMED, energy=None, gpu_count=2))
    assert observed("decode_w", GUIDANCE, {0: pair}, 50.0).log_ratio == pytest.approx([math.log(2 * 50 / 100)])
    metered = observed("decode_w", GUIDANCE, {0: measurement(decode=TIMED)}, 50.0)
    assert metered.log_ratio == pytest.approx([math.log(3200 / 16 / 100)])


def test_a_value_without_an_interval_is_known_to_the_floor() -> None:
    assert observed("prefill_s", GUIDANCE, {0: measurement()}).noise == pytest.approx([NOISE_FLOOR])


def test_the_interval_of_a_model_is_no_noise() -> None:
    # It has no repeats: asked again, it says the same.
    modelled = measurement(decode=replace(TIMED, repeats=0))
    assert observed("decode_s", GUIDANCE, {0: modelled}).noise == pytest.approx([NOISE_FLOOR])


def test_a_larger_batch_takes_no_less_time_and_a_smaller_no_more() -> None:
    of = Candidates(POINTS, SHORT, asking(), GUIDANCE)
    exact = replace(TIMED, duration_low_s=16.0, duration_high_s=16.0)
    low, high = monotone("decode_s", GUIDANCE, of.group, of.rows[:, -1], {1: measurement(decode=exact)})
    slack = 1.96 * NOISE_FLOOR
    # Batch 4 of the T4 took 16 s. Batch 16 (14.4 s guided) takes that at least, batch 1 (8 s guided) at most.
    assert low[2] == pytest.approx(math.log(16 / 14.4) - slack)
    assert high[0] == pytest.approx(math.log(16 / 8) + slack)
    assert np.isneginf(low[[0, 1, 3, 4, 5]]).all()
    assert np.isposinf(high[[1, 2, 3, 4, 5]]).all()


def test_no_draw_of_a_larger_batch_is_faster_than_a_smaller_one_was_measured() -> None:
    # The guide is off by a factor 8 and may be: 1.6 s, 1 s of it decode, are measured of batch 4 on the T4.
    of = Candidates(POINTS, SHORT, asking(), WORLD.guidance(error=4.0))
    seen = Belief(of, {1: record(POINTS[1], measurement(ttft_s=0.6, decode_s=1.0))})
    latency = seen.joint(np.array([0, 1, 2]), 300, 0).losses[..., 0]
    assert latency[:, 2].min() >= 1.6 * 0.99
    assert latency[:, 0].max() <= 1.6 * 1.01


def test_contradicting_rows_bound_nothing_and_power_is_never_bounded() -> None:
    of = Candidates(POINTS, SHORT, asking(), GUIDANCE)
    rows = {0: measurement(decode_s=20.0), 2: measurement(decode_s=10.0)}  # 16 prompts faster than one
    low, high = monotone("decode_s", GUIDANCE, of.group, of.rows[:, -1], rows)
    assert np.isneginf(low[1])
    assert np.isposinf(high[1])
    low, high = monotone("decode_w", GUIDANCE, of.group, of.rows[:, -1], rows)
    assert np.isneginf(low).all()
    assert np.isposinf(high).all()
