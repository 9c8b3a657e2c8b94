"""A refusal of the engine tells of those that share its cause, and a run rules a cause out."""

from __future__ import annotations

import numpy as np

from carbonsweep.bench.points import listed
from carbonsweep.search.guided.support import supported
from tests.search.guided.worlds import configurations

ALL = [*configurations(batches=(1, 4)), *configurations(batches=(1, 4), dtype="bf16")]
POINTS = listed(ALL)


def runs(refused: list[int], ran: list[int]) -> dict[int, float]:
    drawn = supported(POINTS, np.arange(len(ALL)), refused, ran, 2000, np.random.default_rng(0))
    return dict(enumerate(drawn.mean(axis=0).tolist()))


def index(**fields: object) -> int:
    return next(i for i, c in enumerate(ALL) if all(getattr(c, name) == value for name, value in fields.items()))


REFUSED = index(model="TinyLlama-1.1B", gpu="T4", batch_size=1, dtype="bf16")


def test_without_refusals_all_runs() -> None:
    assert set(runs([], []).values()) == {1.0}


def test_another_batch_size_is_refused_for_certain() -> None:
    other = index(model="TinyLlama-1.1B", gpu="T4", batch_size=4, dtype="bf16")
    assert runs([REFUSED], [])[other] == 0.0


def test_the_dtype_on_that_gpu_is_the_likeliest_cause() -> None:
    found = runs([REFUSED], [])
    same_dtype = found[index(model="LLaMA-7B", gpu="T4", dtype="bf16")]
    same_model = found[index(model="TinyLlama-1.1B", gpu="H100", dtype="bf16")]
    unlike = found[index(model="LLaMA-7B", gpu="H100", dtype="fp16")]
    assert same_dtype < same_model < unlike


def test_a_run_rules_out_every_cause_that_would_have_hit_it() -> None:
    # The model ran on a T4 in fp16: neither its context nor the number of GPUs was the cause.
    found = runs([REFUSED], [index(model="TinyLlama-1.1B", gpu="T4", batch_size=1, dtype="fp16")])
    assert found[index(model="TinyLlama-1.1B", gpu="H100", dtype="bf16")] == 1.0
    assert (
        found[index(model="LLaMA-7B", gpu="T4", dtype="bf16")] < 0.25
    )  # 0.5 against 0.1: the dtype, or this one alone


def test_two_refusals_of_one_dtype_are_surer_than_one() -> None:
    second = index(model="LLaMA-7B", gpu="T4", batch_size=1, dtype="bf16")
    third = index(model="LLaMA-7B", gpu="T4", batch_size=4, dtype="bf16")
    assert runs([REFUSED, second], [])[third] == 0.0
    assert runs([REFUSED], [])[third] > 0.2
