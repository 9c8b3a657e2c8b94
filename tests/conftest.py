"""Values every test may start from, each with only what the test is about left to say."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

from carbonsweep.domain import (
    BenchIdentity,
    Configuration,
    Energy,
    Measurement,
    PhaseMeasurement,
    Provenance,
    Refusal,
    TrialRecord,
    Workload,
    record_key,
)
from carbonsweep.evidence import MeasuringProtocol

# No deadline: on shared cores one slow example says nothing about the code.
settings.register_profile("carbonsweep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("carbonsweep")

SHORT = Workload(name="test", prompts=None, prompt_tokens=(10, 20, 30), token_basis="given", output_tokens=150)
PROVENANCE = Provenance(utc="2026-01-01T00:00:00+00:00", host="test", python="3.11", versions=("carbonsweep==0",))


def configuration(**changes: Any) -> Configuration:
    """TinyLlama in batches of 4 on a T4, with `changes`."""
    start: dict[str, Any] = {
        "model": "TinyLlama-1.1B",
        "gpu": "T4",
        "gpu_count": 1,
        "batch_size": 4,
        "dtype": "fp16",
        "engine": "paper",
    }
    return Configuration(**{**start, **changes})


def energy(joules: float) -> Energy:
    """Joules known to 10 %."""
    return Energy(joules=joules, low_j=0.9 * joules, high_j=1.1 * joules, source="test", semantics="energy")


def phase(duration_s: float, joules: float | None, **changes: Any) -> PhaseMeasurement:
    """One phase of 100 tokens on a T4, with `changes`."""
    start: dict[str, Any] = {
        "tokens": 100.0,
        "padded_tokens": 120.0,
        "duration_s": duration_s,
        "duration_low_s": duration_s,
        "duration_high_s": duration_s,
        "repeats": 3,
        "energy": None if joules is None else energy(joules),
        "gpu": "T4",
        "gpu_count": 1,
        "occupied_s": duration_s,
    }
    return PhaseMeasurement(**{**start, **changes})


def measuring_protocol(**changes: Any) -> MeasuringProtocol:
    """Three repeats of one batch, resolved to 1 %, with `changes`."""
    start: dict[str, Any] = {
        "batches": 1,
        "batches_digest": "0",
        "orders_digest": "1",
        "warm_up_runs": 1,
        "repeats": 3,
        "stopped_by": "interval",
        "interval": 0.03,
        "half_width": 0.01,
        "budget_s": 120,
    }
    return MeasuringProtocol(**{**start, **changes})


def measurement(
    *,
    ttft_s: float = 0.5,
    decode_s: float = 3.0,
    prefill_j: float | None = 20.0,
    decode_j: float | None = 90.0,
    gpu: str = "T4",
    **changes: Any,
) -> Measurement:
    """A batch of 4 prompts and 150 output tokens, with `changes`."""
    start: dict[str, Any] = {
        "prefill": phase(ttft_s, prefill_j, gpu=gpu),
        "decode": phase(decode_s, decode_j, gpu=gpu),
        "batch_size": 4,
        "output_tokens": 150,
        "peak_memory_bytes": 3e9,
        "idle_w": 26.0,
        "bench": "test",
        "basis": "modelled",
        "error_source": "none: made up",
    }
    return Measurement(**{**start, **changes})


def identity(**changes: Any) -> BenchIdentity:
    """What a bench called "test" says of itself."""
    start: dict[str, Any] = {
        "bench": "test",
        "basis": "modelled",
        "engine_version": "1",
        "weights": "none",
        "calibration": "1",
        "power_protocol": "none",
        "device": "T4",
    }
    return BenchIdentity(**{**start, **changes})


def record(where: Configuration, outcome: Measurement | Refusal) -> TrialRecord:
    """The record of `outcome`, on the SHORT workload."""
    return TrialRecord(
        key=record_key(where, SHORT.summary(), identity(device=where.gpu)),
        configuration=where,
        workload=SHORT.summary(),
        identity=identity(device=where.gpu),
        provenance=PROVENANCE,
        measurement=outcome if isinstance(outcome, Measurement) else None,
        refusal=outcome if isinstance(outcome, Refusal) else None,
    )


FAILED = Refusal(kind="failed", reason="the driver went away")
TOO_BIG = Refusal(kind="does-not-fit", reason="lacks 1 byte", needed_bytes=2.0, available_bytes=1.0)
