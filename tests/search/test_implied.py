"""A batch larger than one that does not fit is not tried, and its record says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Refusal, record_key
from carbonsweep.evidence import TrialCost
from carbonsweep.records import OutputFolder, decode, encode
from carbonsweep.search.implied import implied_record
from carbonsweep.trial import NOT_RUN
from tests.conftest import FAILED, SHORT, configuration, measurement, record

BENCH = RooflineBench()
FULL = Refusal(kind="does-not-fit", reason="does not fit", needed_bytes=17.5e9, available_bytes=15.8e9)


def test_a_larger_batch_is_implied_by_the_smallest_that_does_not_fit() -> None:
    outcomes = [record(configuration(batch_size=size), FULL) for size in (32, 16)]
    implied = implied_record(configuration(batch_size=64), outcomes, BENCH)
    assert implied is not None
    assert implied.configuration == configuration(batch_size=64)
    assert implied.refusal == Refusal(
        kind="does-not-fit",
        reason="not tried: batch 16 already does not fit (17.5 GB asked, 15.8 GB there)",
        needed_bytes=17.5e9,
        available_bytes=15.8e9,
    )


def test_its_key_is_that_of_the_trial_it_replaces() -> None:
    where = configuration(batch_size=64)
    implied = implied_record(where, [record(configuration(batch_size=16), FULL)], BENCH)
    assert implied is not None
    assert implied.key == record_key(where, SHORT.summary(), BENCH.identity(where))
    assert implied.identity == BENCH.identity(where)
    assert implied.workload == SHORT.summary()
    assert decode(encode(implied)) == implied


def test_what_need_not_be_tried_costs_nothing() -> None:
    # Copied from the trial it rests on, a minute would be counted once for every larger batch.
    cost = TrialCost(duration_s=60.0, energy_j=900.0, source="nvml")
    tried = replace(record(configuration(batch_size=16), FULL), cost=cost)
    implied = implied_record(configuration(batch_size=64), [tried], BENCH)
    assert implied is not None
    assert implied.cost == NOT_RUN
    assert (NOT_RUN.duration_s, NOT_RUN.energy_j) == (0.0, 0.0)


def test_unknown_bytes_stay_unknown() -> None:
    unknown = Refusal(kind="does-not-fit", reason="does not fit")
    implied = implied_record(configuration(batch_size=64), [record(configuration(batch_size=16), unknown)], BENCH)
    assert implied is not None
    assert implied.refusal is not None
    assert (implied.refusal.needed_bytes, implied.refusal.available_bytes) == (None, None)
    assert "batch 16 already does not fit (unknown bytes asked, unknown bytes there)" in implied.refusal.reason


@pytest.mark.parametrize(
    "changes", [{"model": "LLaMA-7B"}, {"gpu": "L4"}, {"gpu_count": 2}, {"dtype": "fp32"}, {"engine": "healthy"}]
)
def test_another_model_gpu_count_dtype_or_engine_says_nothing(changes: dict[str, object]) -> None:
    refused = record(configuration(batch_size=16, **changes), FULL)
    assert implied_record(configuration(batch_size=64), [refused], BENCH) is None


@pytest.mark.parametrize("size", [32, 64])
def test_the_same_or_a_larger_batch_says_nothing(size: int) -> None:
    assert implied_record(configuration(batch_size=32), [record(configuration(batch_size=size), FULL)], BENCH) is None


@pytest.mark.parametrize("kind", ["unsupported", "failed", "measured"])
def test_only_memory_implies(kind: str) -> None:
    outcome = {"unsupported": Refusal(kind="unsupported", reason="no bf16"), "failed": FAILED}.get(kind, measurement())
    assert implied_record(configuration(batch_size=64), [record(configuration(batch_size=16), outcome)], BENCH) is None


def test_an_implied_record_is_kept_as_durably_as_any(tmp_path: Path) -> None:
    implied = implied_record(configuration(batch_size=64), [record(configuration(batch_size=16), FULL)], BENCH)
    assert implied is not None
    with OutputFolder(tmp_path) as folder:
        folder.append(implied)
    with OutputFolder(tmp_path) as folder:
        assert folder.records == {implied.key: implied}
