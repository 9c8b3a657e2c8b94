"""Guidance is the device model's prediction, with the errors its rows state, and says what stands in for what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carbonsweep import facts
from carbonsweep.bench.roofline import predict
from carbonsweep.errors import UnknownFact
from carbonsweep.facts.engines import engine
from carbonsweep.search.guided.guidance import (
    LEAST_ERROR,
    OTHER_STACK_ERROR,
    STAND_IN_ERROR,
    STAND_IN_GPU,
    guidance,
    predicted_guidance,
)
from tests.conftest import SHORT
from tests.search.guided.worlds import World, by_size, configurations

T4 = configurations(gpus=("T4",))
GOOD = World(configurations=T4, seconds=by_size).guidance()


def test_it_is_the_prediction_of_the_configurations_own_engine_with_its_errors() -> None:
    guided, predicted, row = guidance(T4, SHORT), predict(T4, SHORT), engine("paper", "T4")
    assert guided.decode_s == pytest.approx(predicted.decode_s)
    assert guided.prefill_w == pytest.approx(predicted.prefill_w)
    assert guided.prefill_s_error == pytest.approx(row.prefill_time_error)
    assert guided.decode_s_error == pytest.approx(row.decode_time_error)
    # What the joules are off beyond the seconds is the power: 0.52 and 0.5 of prefill leave 0.143.
    power = np.sqrt(row.prefill_energy_error**2 - row.prefill_time_error**2)
    assert guided.prefill_w_error == pytest.approx(power)
    # Joules of decode are stated no worse than its seconds: then the power is known, to the least error.
    assert guided.decode_w_error == pytest.approx(LEAST_ERROR)


def test_what_may_spill_to_the_host_fits() -> None:
    guided, predicted, row = guidance(T4, SHORT), predict(T4, SHORT), engine("paper", "T4")
    assert guided.available_bytes == pytest.approx(predicted.available_bytes + row.spill_limit_bytes)
    assert row.spill_limit_bytes > 0


def test_an_engine_nobody_knows_is_guided_by_another_stack_broadly() -> None:
    unknown = [replace(c, engine="llama.cpp") for c in T4]
    guided = guidance(unknown, SHORT)
    healthy = [replace(c, engine="healthy") for c in T4]
    assert guided.decode_s == pytest.approx(predict(healthy, SHORT).decode_s)
    assert np.all(guided.decode_s_error > OTHER_STACK_ERROR)
    assert guided.decode_w_error == pytest.approx(guidance(healthy, SHORT).decode_w_error)
    assert "no row of llama.cpp: healthy stands in" in guided.source


def test_a_device_without_a_row_has_a_stand_in_that_may_be_ten_times_off() -> None:
    cpu = [replace(c, gpu=facts.CPU, dtype="bf16", engine="transformers") for c in T4]
    stand_in = [replace(c, gpu=STAND_IN_GPU) for c in cpu]
    guided = guidance(cpu, SHORT)
    assert guided.supported.all()
    assert guided.decode_s == pytest.approx(predict(stand_in, SHORT).decode_s)
    for name in ("prefill_s_error", "decode_s_error", "prefill_w_error", "bytes_error"):
        assert np.all(getattr(guided, name) >= STAND_IN_ERROR)
    assert f"no row of {facts.CPU}: {STAND_IN_GPU} stands in" in guided.source


def test_it_says_what_the_rows_were_fitted_to() -> None:
    said = guidance([replace(c, engine="transformers") for c in T4], SHORT).source
    assert "transformers" in said
    assert "rows of 44 models on A100-80, A10G, T4" in said
    assert "no row of" not in said


def test_a_gpu_that_was_never_calibrated_is_believed_less() -> None:
    both = [replace(T4[0], engine="transformers", gpu=gpu) for gpu in ("T4", "H100")]
    guided = guidance(both, SHORT)
    assert guided.decode_s_error[1] > 1.5 * guided.decode_s_error[0]


def test_what_the_device_model_knows_to_be_impossible_is_not_supported() -> None:
    assert guidance([replace(T4[0], dtype="bf16")], SHORT).supported.tolist() == [False]


def test_an_unknown_model_is_an_error() -> None:
    with pytest.raises(UnknownFact):
        guidance([replace(T4[0], model="nobody's")], SHORT)


def test_of_a_prediction_with_one_error_for_all() -> None:
    guided = predicted_guidance(
        predict(T4, SHORT),
        prefill_time_error=0.3,
        decode_time_error=np.full(len(T4), 0.4),
        prefill_energy_error=0.5,
        decode_energy_error=0.01,
        source="a test",
    )
    assert guided.prefill_s_error == pytest.approx(0.3)
    assert guided.prefill_w_error == pytest.approx(0.4)  # 0.5^2 - 0.3^2 = 0.4^2
    assert guided.decode_s_error == pytest.approx(0.4)
    assert guided.source == "a test"


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_value_that_is_no_number_above_0_is_refused_where_it_is_supported(value: float) -> None:
    good = GOOD
    decode_s = good.decode_s.copy()
    decode_s[0] = value
    with pytest.raises(ValueError, match="decode_s"):
        replace(good, decode_s=decode_s)
    unsupported = good.supported.copy()
    unsupported[0] = False
    assert not replace(good, decode_s=decode_s, supported=unsupported).supported[0]


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        replace(GOOD, idle_w=GOOD.idle_w[1:])
