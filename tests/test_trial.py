"""One configuration to one record, whatever came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from carbonsweep.domain import BenchIdentity, Configuration, Measurement, Workload, record_key
from carbonsweep.errors import BadInput, BenchFailed, DoesNotFit, Unsupported
from carbonsweep.records import decode, encode
from carbonsweep.trial import trial
from tests.conftest import SHORT, configuration, identity, measurement


@dataclass
class OutcomeBench:
    """Gives one outcome, and counts how often it was asked to measure."""

    outcome: Measurement | Exception
    measured: int = 0
    name: str = "test"

    def identity(self, configuration: Configuration) -> BenchIdentity:
        return identity(device=configuration.gpu)

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        self.measured += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_a_measurement_becomes_a_record_with_its_key() -> None:
    bench = OutcomeBench(measurement())
    made = trial(bench, configuration(), SHORT)
    assert made.measurement == measurement()
    assert made.refusal is None
    assert made.key == record_key(configuration(), SHORT.summary(), identity())
    assert made.workload == SHORT.summary()
    assert bench.measured == 1


def test_what_does_not_fit_keeps_its_bytes() -> None:
    made = trial(OutcomeBench(DoesNotFit(18e9, 16e9)), configuration(), SHORT)
    assert made.measurement is None
    assert made.refusal is not None
    assert made.refusal.kind == "does-not-fit"
    assert (made.refusal.needed_bytes, made.refusal.available_bytes) == (18e9, 16e9)


@pytest.mark.parametrize(("error", "kind"), [(Unsupported("no bf16"), "unsupported"), (BenchFailed("broke"), "failed")])
def test_a_refusal_keeps_its_reason(error: Exception, kind: str) -> None:
    made = trial(OutcomeBench(error), configuration(), SHORT)
    assert made.refusal is not None
    assert made.refusal.kind == kind
    assert made.refusal.reason == str(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(BadInput("no torch here"), "no torch here"), (RuntimeError("CUDA\nerror"), "RuntimeError: CUDA\nerror")],
)
def test_an_error_no_bench_foresaw_costs_one_trial_and_not_the_sweep(error: Exception, reason: str) -> None:
    made = trial(OutcomeBench(error), configuration(), SHORT)
    assert made.refusal is not None
    assert (made.refusal.kind, made.refusal.reason) == ("failed", reason)


def test_an_interrupt_is_no_outcome() -> None:
    class InterruptedBench(OutcomeBench):
        def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial(InterruptedBench(measurement()), configuration(), SHORT)


def test_a_reason_that_is_no_unicode_can_still_be_written() -> None:
    # What os.fsdecode makes of a file name in another encoding: half a surrogate pair, which JSON cannot hold.
    made = trial(OutcomeBench(BenchFailed("cannot read caf\udce9.gguf")), configuration(), SHORT)
    again = decode(encode(made))
    assert again == made
    assert again.refusal is not None
    assert again.refusal.reason == r"cannot read caf\udce9.gguf"


def test_a_record_says_when_where_and_with_what() -> None:
    provenance = trial(OutcomeBench(measurement()), configuration(), SHORT).provenance
    assert datetime.now(UTC) - datetime.fromisoformat(provenance.utc) < timedelta(minutes=5)
    assert provenance.host
    assert any(version.startswith("numpy==") for version in provenance.versions)
