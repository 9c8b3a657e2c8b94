"""A record speaks of a space when the bench, the workload and all but the batch size are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration, TrialRecord, record_key
from carbonsweep.search.reuse import matching_records
from carbonsweep.search.space import Space
from tests.conftest import PROVENANCE, SHORT, configuration, measurement

BENCH = RooflineBench()
SPACE = Space(
    models=("TinyLlama-1.1B",), gpus=("T4",), gpu_counts=(1,), batch_sizes=(4, 8), dtypes=("fp16",), engines=("paper",)
)


def made(where: Configuration, workload: Any = SHORT) -> TrialRecord:
    summary, identity = workload.summary(), BENCH.identity(where)
    return TrialRecord(
        key=record_key(where, summary, identity),
        configuration=where,
        workload=summary,
        identity=identity,
        provenance=PROVENANCE,
        measurement=measurement(),
    )


@pytest.mark.parametrize("size", [1, 4, 8, 64])
def test_any_batch_size_speaks_of_the_space(size: int) -> None:
    found = made(configuration(batch_size=size))
    assert list(matching_records([found], SPACE, BENCH, SHORT.summary())) == [found]


@pytest.mark.parametrize(
    "changes", [{"model": "LLaMA-7B"}, {"gpu": "L4"}, {"gpu_count": 2}, {"dtype": "fp32"}, {"engine": "healthy"}]
)
def test_another_model_gpu_count_dtype_or_engine_does_not(changes: dict[str, Any]) -> None:
    assert list(matching_records([made(configuration(**changes))], SPACE, BENCH, SHORT.summary())) == []


def test_another_workload_or_bench_does_not() -> None:
    other_workload = made(configuration(), replace(SHORT, output_tokens=8))
    other_bench = replace(made(configuration()), key="0" * 16)
    assert list(matching_records([other_workload, other_bench], SPACE, BENCH, SHORT.summary())) == []


def test_a_gpu_no_table_has_any_more_is_passed_over() -> None:
    stranger = replace(made(configuration()), configuration=configuration(gpu="Withdrawn"))
    assert list(matching_records([stranger], SPACE, BENCH, SHORT.summary())) == []
