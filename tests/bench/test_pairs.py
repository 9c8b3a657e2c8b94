"""The table of configurations and workloads holds for each pair what the device model says of that pair alone."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep.bench.pairs import expected_longest, pairs
from carbonsweep.bench.points import product
from carbonsweep.bench.roofline import Prediction, predict_inputs, predict_points
from carbonsweep.domain import Workload

POINTS = product(
    models=("LLaMA-7B", "TinyLlama-1.1B"),
    gpus=("RTX6000Ada", "T4", "V100"),
    gpu_counts=(1, 2),
    batch_sizes=(1, 6, 64),
    dtypes=("bf16", "fp16"),
    engines=("healthy", "paper"),
)


def workload(lengths: tuple[int, ...], output_tokens: int) -> Workload:
    return Workload(name="w", prompts=None, prompt_tokens=lengths, token_basis="given", output_tokens=output_tokens)


WORKLOADS = [workload((20,), 2), workload((5, 90, 400), 150), workload((1900, 30), 700), workload((5, 90, 400), 60)]


def same(found: Prediction, expected: Prediction, column: int) -> None:
    for field in fields(Prediction):
        whole = np.broadcast_to(getattr(found, field.name), (len(POINTS), len(WORKLOADS)))
        wanted = np.broadcast_to(getattr(expected, field.name), (len(POINTS),))
        np.testing.assert_allclose(whole[:, column], wanted, rtol=1e-12, err_msg=field.name)


def test_every_pair_is_predicted_as_alone() -> None:
    found = predict_inputs(pairs(POINTS, WORKLOADS).inputs(slice(None), slice(None)))
    for i, each in enumerate(WORKLOADS):
        same(found, predict_points(POINTS, each), i)


def test_blocks_and_single_pairs_are_parts_of_the_whole() -> None:
    table = pairs(POINTS, WORKLOADS)
    assert table.shape == (144, 4)
    whole = predict_inputs(table.inputs(slice(None), slice(None))).decode_s
    block = predict_inputs(table.inputs(slice(10, 50), slice(1, 3))).decode_s
    np.testing.assert_array_equal(block, whole[10:50, 1:3])
    places, columns = np.array([143, 0, 77]), np.array([3, 3, 0])
    np.testing.assert_allclose(predict_inputs(table.inputs_at(places, columns)).decode_s, whole[places, columns])


def test_what_depends_on_one_of_the_two_is_held_once() -> None:
    inputs = pairs(POINTS, WORKLOADS).inputs(slice(None), slice(None))
    assert np.shape(inputs.bandwidth) == (144, 1)
    assert np.shape(inputs.prompt) == (1, 4)
    assert np.shape(inputs.padded_prompt) == (144, 4)


@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=40).map(tuple),
    st.lists(st.integers(1, 512), min_size=1, max_size=4, unique=True).map(tuple),
)
def test_the_expected_longest_is_that_of_the_workload(lengths: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    expected = [workload(lengths, 2).expected_longest(size) for size in sizes]
    assert expected_longest(lengths, sizes).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_expected_longest_of_two_of_three_lengths_by_hand() -> None:
    # Of 1, 2, 3 drawn twice: the larger is 1 in 1 of 9 cases, 2 in 3, 3 in 5: (1 + 6 + 15) / 9.
    assert expected_longest((3, 1, 2), (2,)).tolist() == pytest.approx([22 / 9])
