"""What the words mean: derived quantities by hand, refusals of impossible values, keys that never move."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import random
import subprocess
import sys
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import domain
from carbonsweep.domain import (
    CarbonIntensity,
    Configuration,
    Energy,
    Footprint,
    Scenario,
    Slo,
    Transfer,
    TrialRecord,
    Workload,
    record_key,
)
from carbonsweep.evidence import Distribution, Evidence
from tests.conftest import (
    PROVENANCE,
    SHORT,
    TOO_BIG,
    configuration,
    energy,
    identity,
    measurement,
    measuring_protocol,
    phase,
    record,
)

lengths = st.lists(st.integers(1, 300), min_size=1, max_size=20).map(tuple)


def workload(prompt_tokens: tuple[int, ...], **changes: Any) -> Workload:
    start: dict[str, Any] = {"name": "w", "prompts": None, "token_basis": "given", "output_tokens": 150}
    return Workload(**{**start, "prompt_tokens": prompt_tokens, **changes})


# ---- workload ----


def test_the_expected_longest_of_two_of_three_lengths_by_hand() -> None:
    # Of the 9 ordered pairs of 1, 2, 3, one has maximum 1, three have 2, five have 3: (1 + 6 + 15) / 9.
    assert workload((3, 1, 2)).expected_longest(2) == pytest.approx(22 / 9)


def test_the_expected_longest_of_one_is_the_mean() -> None:
    assert SHORT.expected_longest(1) == pytest.approx(SHORT.mean_prompt_tokens) == 20


def test_the_expected_longest_agrees_with_drawing_batches() -> None:
    made = workload((5, 7, 7, 12, 40, 90))
    dealer = random.Random(0)
    draws = [max(dealer.choices(made.prompt_tokens, k=4)) for _ in range(20_000)]
    # The maximum has a standard deviation below 40, so the mean of 20,000 draws one below 0.3; 5 of them: 1.5.
    assert made.expected_longest(4) == pytest.approx(sum(draws) / len(draws), abs=1.5)


@given(lengths, st.integers(1, 64))
def test_the_expected_longest_grows_with_the_batch_and_stays_below_the_longest(
    prompt_tokens: tuple[int, ...], batch_size: int
) -> None:
    made = workload(prompt_tokens)
    now, later = made.expected_longest(batch_size), made.expected_longest(batch_size + 1)
    assert made.mean_prompt_tokens <= now * (1 + 1e-12)
    assert now <= later * (1 + 1e-12)
    assert later <= max(prompt_tokens) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("prompt_tokens", "changes"),
    [((), {}), ((3, 0), {}), ((3,), {"output_tokens": 1}), ((3,), {"prompts": ("a", "b")})],
)
def test_a_workload_without_prompts_tokens_or_decode_steps_is_refused(
    prompt_tokens: tuple[int, ...], changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"prompt|output_tokens"):
        workload(prompt_tokens, **changes)


def test_decode_has_one_step_less_than_output_tokens() -> None:
    assert SHORT.decode_steps == 149


@pytest.mark.parametrize(
    "changes",
    [{"prompt_tokens": (10, 20, 31)}, {"seed": 1}, {"output_tokens": 149}, {"prompts": ("a", "b", "c")}],
)
def test_the_workload_digest_moves_with_prompts_lengths_seed_and_output(changes: dict[str, Any]) -> None:
    assert dataclasses.replace(SHORT, **changes).summary().digest != SHORT.summary().digest


# ---- keys ----

KEYS_IN_ANOTHER_PROCESS = """
from tests.conftest import SHORT, configuration, identity
from carbonsweep.domain import record_key
print(configuration().fingerprint, SHORT.summary().digest, record_key(configuration(), SHORT.summary(), identity()))
"""


def test_keys_are_the_same_in_every_process() -> None:
    here = [
        configuration().fingerprint,
        SHORT.summary().digest,
        record_key(configuration(), SHORT.summary(), identity()),
    ]
    for seed in ("0", "4242"):
        there = subprocess.run(
            [sys.executable, "-c", KEYS_IN_ANOTHER_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.split() == here


def test_the_fingerprint_is_the_hash_of_the_sorted_fields() -> None:
    # Written out, so that a changed encoding (which would orphan every record on disk) is seen here.
    canonical = '{"batch_size":4,"dtype":"fp16","engine":"paper","gpu":"T4","gpu_count":1,"model":"TinyLlama-1.1B"}'
    assert configuration().fingerprint == hashlib.sha256(canonical.encode()).hexdigest()[:16]


CONFIGURATION_CHANGES: dict[str, Any] = {
    "model": "LLaMA-7B",
    "gpu": "L4",
    "gpu_count": 2,
    "batch_size": 5,
    "dtype": "fp32",
    "engine": "healthy",
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Configuration)])
def test_the_record_key_moves_with_each_field_of_the_configuration(field: str) -> None:
    other = configuration(**{field: CONFIGURATION_CHANGES[field]})
    before = record_key(configuration(), SHORT.summary(), identity())
    assert record_key(other, SHORT.summary(), identity()) != before
    assert other.fingerprint != configuration().fingerprint


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(domain.BenchIdentity)])
def test_the_record_key_moves_with_each_field_of_the_bench_identity(field: str) -> None:
    other = identity(**{field: "measured" if field == "basis" else "other"})
    before = record_key(configuration(), SHORT.summary(), identity())
    assert record_key(configuration(), SHORT.summary(), other) != before


def test_the_record_key_moves_with_the_workload() -> None:
    longer = dataclasses.replace(SHORT, output_tokens=151).summary()
    assert record_key(configuration(), longer, identity()) != record_key(configuration(), SHORT.summary(), identity())


def test_a_configuration_reads_as_a_line() -> None:
    assert str(configuration(gpu_count=2)) == "TinyLlama-1.1B on 2x T4, batch 4, fp16, paper"
    assert str(configuration()) == "TinyLlama-1.1B on T4, batch 4, fp16, paper"


@pytest.mark.parametrize("field", ["gpu_count", "batch_size"])
def test_counts_start_at_one(field: str) -> None:
    with pytest.raises(ValueError, match="start at 1"):
        configuration(**{field: 0})


# ---- measurements ----


def test_latencies_of_a_batch_on_one_gpu() -> None:
    made = measurement(ttft_s=0.5, decode_s=2.98)
    assert made.ttft_s == 0.5
    assert made.tpot_s == pytest.approx(2.98 / 149)  # 150 output tokens: 149 decode steps
    assert made.prompt_latency_s == pytest.approx(3.48)
    assert made.throughput == pytest.approx(4 * 150 / 3.48)


def test_a_hand_over_delays_token_two_and_not_token_one() -> None:
    handed = measurement(
        ttft_s=0.5, decode_s=3.0, output_tokens=4, transfer=Transfer(bytes=1e9, exposed_s=0.3, energy=energy(2.0))
    )
    assert handed.ttft_s == 0.5
    assert handed.tpot_s == pytest.approx((3.0 + 0.3) / 3)
    assert handed.prompt_latency_s == pytest.approx(0.5 + 0.3 + 3.0)
    assert handed.energy_j == pytest.approx(20 + 90 + 2)


def test_rates_of_a_phase() -> None:
    made = phase(2.0, 50.0, tokens=100.0, padded_tokens=160.0)
    assert made.throughput == 50  # real tokens, not the 80/s that were computed
    assert made.energy_per_token_j == 0.5
    assert made.power_w == 25


@pytest.mark.parametrize(
    "unknown",
    [
        measurement(prefill_j=None),
        measurement(decode_j=None),
        measurement(transfer=Transfer(bytes=1.0, exposed_s=0.0, energy=None)),
    ],
)
def test_energy_with_an_unknown_part_is_unknown_and_not_the_rest(unknown: domain.Measurement) -> None:
    assert unknown.energy_j is None


def test_a_phase_without_energy_has_no_power() -> None:
    made = phase(2.0, None)
    assert made.energy_per_token_j is None
    assert made.power_w is None


@pytest.mark.parametrize(
    ("joules", "low_j", "high_j"),
    [
        (0.0, 0.0, 1.0),  # zero is what a broken meter says
        (-1.0, -2.0, 1.0),
        (math.nan, 0.0, 1.0),
        (math.inf, 0.0, math.inf),
        (1.0, 2.0, 3.0),  # interval above the value
        (3.0, 1.0, 2.0),  # and below
        (1.0, 2.0, 0.5),  # inverted
        (1.0, math.nan, 2.0),
        (1.0, 0.5, math.nan),
        (1.0, 0.5, math.inf),
        (1.0, -0.5, 2.0),
    ],
)
def test_joules_that_cannot_be_are_refused(joules: float, low_j: float, high_j: float) -> None:
    with pytest.raises(ValueError, match=r"joules|interval"):
        Energy(joules=joules, low_j=low_j, high_j=high_j, source="s", semantics="e")


@pytest.mark.parametrize("field", ["tokens", "padded_tokens", "duration_s", "occupied_s", "gpu_count"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_phase_of_nothing_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(phase(1.0, 1.0), **cast(Any, {field: value}))


def test_a_duration_outside_its_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="interval"):
        phase(1.0, 1.0, duration_high_s=0.9)


@pytest.mark.parametrize("changes", [{"output_tokens": 1}, {"batch_size": 0}])
def test_a_measurement_without_a_decode_step_or_a_prompt_is_refused(changes: Any) -> None:
    with pytest.raises(ValueError, match="at least"):
        measurement(**changes)


def test_a_record_holds_a_measurement_or_a_refusal() -> None:
    whole = record(configuration(), measurement())
    with pytest.raises(ValueError, match="one of the two"):
        dataclasses.replace(whole, refusal=TOO_BIG)
    with pytest.raises(ValueError, match="one of the two"):
        dataclasses.replace(whole, measurement=None)


# ---- limits and scenarios ----


def test_excess_is_relative_to_each_limit_that_is_set() -> None:
    made = measurement(ttft_s=0.5, decode_s=2.98)  # TPOT 0.02 s, latency 3.48 s
    excess = Slo(ttft_s=0.4, tpot_s=0.04).excess(made)
    # 0.5 / 0.4 - 1 and 0.02 / 0.04 - 1
    assert excess == {"ttft_s": pytest.approx(0.25), "tpot_s": pytest.approx(-0.5)}
    assert not Slo(ttft_s=0.4, tpot_s=0.04).is_met(made)


def test_a_limit_that_is_exactly_reached_is_met() -> None:
    assert Slo(ttft_s=0.5, prompt_latency_s=3.5).is_met(measurement(ttft_s=0.5, decode_s=3.0))


def test_no_limits_are_always_met() -> None:
    assert Slo().excess(measurement()) == {}
    assert Slo().is_met(measurement())


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("field", ["ttft_s", "tpot_s", "prompt_latency_s"])
def test_limits_are_finite_and_above_zero(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Slo(**{field: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"lifetime_s": 0.0},
        {"lifetime_s": math.nan},
        {"utilisation": 0.0},
        {"utilisation": 1.01},
        {"pue": 0.99},
        {"pue": math.nan},
        {"pue": math.inf},
        {"host_power_w": -1.0},
        {"host_power_w": math.nan},
        {"host_embodied_kg": -1.0},
        {"host_embodied_kg": math.inf},
        {"assumed_power_w": 0.0},
        {"assumed_power_w": math.nan},
    ],
)
def test_a_scenario_out_of_range_is_refused(changes: dict[str, float]) -> None:
    start: dict[str, Any] = {"intensity": None, "lifetime_s": 1.0, "embodied": "paper"}
    assert Scenario(**start).pue == 1  # the start itself is fine
    with pytest.raises(ValueError, match=next(iter(changes)).split("_")[0]):
        Scenario(**{**start, **changes})


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_carbon_intensity_is_finite_and_not_negative(value: float) -> None:
    with pytest.raises(ValueError, match="carbon intensity"):
        CarbonIntensity(g_per_kwh=value, region="X", basis="given", source="s")


def test_total_carbon_is_operational_plus_embodied() -> None:
    made = Footprint(
        operational_g=2.0,
        operational_low_g=1.0,
        operational_high_g=3.0,
        embodied_g=0.5,
        embodied_low_g=0.1,
        embodied_high_g=1.0,
        functional_unit="prompt",
        assumed=False,
    )
    assert made.total_g == 2.5


# ---- frozen ----

VALUES = [value for value in vars(domain).values() if isinstance(value, type) and dataclasses.is_dataclass(value)]


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_every_value_is_frozen_slotted_and_keyword_only(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)
    assert all(field.kw_only for field in dataclasses.fields(kind))


@pytest.mark.parametrize("value", [configuration(), measurement(), SHORT, record(configuration(), TOO_BIG), PROVENANCE])
def test_values_cannot_be_changed_and_can_be_hashed(value: Any) -> None:
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, getattr(value, field))
    assert hash(value) == hash(dataclasses.replace(value))


def test_there_are_values_to_check() -> None:
    assert {Workload, Configuration, TrialRecord} <= set(VALUES)


def test_failed_checks_are_those_of_windows_and_of_the_run_each_once() -> None:
    marked = dataclasses.replace(energy(20.0), gates=("gap: 1 s", "frozen: 2 s"))
    protocol = measuring_protocol()
    spread = Distribution(unit="batch", count=1, mean=1, stdev=None, minimum=1, median=1, p90=1, p99=1, maximum=1)
    evidence = Evidence(
        protocol=protocol, ttft=spread, tpot=spread, prompt_latency=spread, gates=("gap: 1 s", "closure: +7 %")
    )
    made = measurement(prefill=dataclasses.replace(phase(0.5, None), energy=marked), evidence=evidence)
    assert made.failed_checks == ("gap: 1 s", "frozen: 2 s", "closure: +7 %")
    assert measurement().failed_checks == ()
