"""The device model of a GPU that runs one phase alone: it needs less memory, and is otherwise the same."""

from __future__ import annotations

import numpy as np
import pytest

from carbonsweep import facts
from carbonsweep.bench.points import product
from carbonsweep.bench.roofline import RooflineBench, predict_points
from carbonsweep.domain import DTYPE_BYTES, Workload
from carbonsweep.errors import DoesNotFit
from carbonsweep.facts.engines import engine
from tests.conftest import configuration

LONG = Workload(name="w", prompts=None, prompt_tokens=(1500,), token_basis="given", output_tokens=500)
POINTS = product(
    models=("LLaMA-7B", "TinyLlama-1.1B"),
    gpus=("L4", "T4"),
    gpu_counts=(1, 2),
    batch_sizes=(1, 8, 64),
    dtypes=("fp16",),
    engines=("healthy", "paper"),
)


def test_each_phase_needs_what_the_other_leaves() -> None:
    # Prefill keeps no output: b x 500 tokens of cache less. Decode has no prefill activations: b x 1500 rows less.
    served = configuration(gpu="L4", batch_size=8, engine="healthy")
    model, row = facts.language_model(served.model), engine("healthy", "L4")
    output_bytes = 8 * 500 * model.kv_bytes_per_token(DTYPE_BYTES["fp16"])
    activation_bytes = 8 * 1500 * model.hidden * row.activation_bytes_per_row_and_hidden
    needed = {
        phases: RooflineBench(phases=phases).measure(served, LONG).peak_memory_bytes
        for phases in ("both", "prefill", "decode")
    }
    assert needed["both"] is not None
    assert activation_bytes > 0
    assert needed["prefill"] == pytest.approx(needed["both"] - output_bytes)
    assert needed["decode"] == pytest.approx(needed["both"] - activation_bytes)


def test_time_and_power_of_the_phase_are_those_of_the_whole() -> None:
    both, prefill, decode = (predict_points(POINTS, LONG, phases) for phases in ("both", "prefill", "decode"))
    assert np.array_equal(prefill.prefill_s, both.prefill_s)
    assert np.array_equal(prefill.prefill_w, both.prefill_w)
    # What spills to the host is fetched in every step, and less spills without activations: never slower.
    unspilled = both.needed_bytes <= both.available_bytes
    assert np.array_equal(decode.decode_s[unspilled], both.decode_s[unspilled])
    assert (decode.decode_s <= both.decode_s).all()
    assert (prefill.needed_bytes < both.needed_bytes).all()
    assert (decode.needed_bytes < both.needed_bytes).all()


def test_a_phase_that_does_not_fit_alone_is_refused() -> None:
    served = configuration(model="LLaMA-7B", gpu="L4", batch_size=64, engine="healthy")
    for phases in ("prefill", "decode"):
        with pytest.raises(DoesNotFit):
            RooflineBench(phases=phases).measure(served, LONG)
