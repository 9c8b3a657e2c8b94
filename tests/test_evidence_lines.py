"""The evidence behind one number, as lines: every value shown, what is unknown said, nothing invented."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from carbonsweep.domain import Device, Energy, EnergyEstimate, Measurement, Refusal
from carbonsweep.evidence import (
    Closure,
    Conditions,
    DeviceState,
    Distribution,
    EnergyWindow,
    Evidence,
    MeasuringProtocol,
    MeterReading,
)
from carbonsweep.evidence_lines import evidence_lines, headline, record_lines
from tests.conftest import configuration, energy, measurement, phase, record

COUNTER, POWER = "nvml-counter", "nvml-power"


def spread(median: float) -> Distribution:
    return Distribution(
        unit="batch",
        count=2,
        mean=median,
        stdev=0.1,
        minimum=median / 2,
        median=median,
        p90=2 * median,
        p99=3 * median,
        maximum=4 * median,
    )


def window(phase: Any, joules: float, **changes: Any) -> EnergyWindow:
    counter = MeterReading(source=COUNTER, semantics="board", joules=joules, low_j=0.99 * joules, high_j=1.01 * joules)
    power = MeterReading(source=POWER, semantics="board", joules=0.98 * joules, low_j=None, high_j=None)
    start: dict[str, Any] = {"phase": phase, "device": "GPU-1", "runs": 50, "duration_s": 5.0}
    return EnergyWindow(**{**start, "readings": (counter, power), **changes})


PROTOCOL = MeasuringProtocol(
    batches=2,
    batches_digest="feedc0de",
    orders_digest="1",
    warm_up_runs=1,
    repeats=5,
    stopped_by="interval",
    interval=0.03,
    half_width=0.021,
    budget_s=120.0,
    window_bound=0.02,
    poll_s=0.005,
    refresh_s=0.1,
    cool_to_c=55.0,
    cooled_s=12.0,
)
EVIDENCE = Evidence(
    protocol=PROTOCOL,
    ttft=spread(0.1),
    tpot=spread(0.02),
    prompt_latency=spread(3.0),
    closure=Closure(whole_s=4.0, parts_s=4.1, whole_j=100.0, parts_j=98.0),
    bare_idle_w=70.0,
    windows=(window("prefill", 1000.0), window("decode", 4500.0, gates=("counter frozen",))),
    conditions=(
        Conditions(
            device="GPU-1",
            before=DeviceState(
                temperature_c=35.0,
                sm_clock_mhz=1980.0,
                memory_clock_mhz=3201.0,
                throttle_reasons=(),
                power_violation_s=10.0,
                thermal_violation_s=0.0,
            ),
            after=DeviceState(
                temperature_c=51.0,
                sm_clock_mhz=1755.0,
                memory_clock_mhz=3201.0,
                throttle_reasons=("software power cap",),
                power_violation_s=11.5,
                thermal_violation_s=0.0,
            ),
            power_cap_w=700.0,
            most_w=612.0,
            most_temperature_c=58.0,
        ),
    ),
    gates=("throttled: GPU-1 by software power cap",),
)


def estimated(joules: float) -> Energy:
    views = (
        EnergyEstimate(joules=joules, source=COUNTER, semantics="board", low_j=0.95 * joules, high_j=1.05 * joules),
        EnergyEstimate(joules=0.9 * joules, source=POWER, semantics="board"),
    )
    return replace(energy(joules), source=COUNTER, semantics="board", estimates=views)


def measured(**changes: Any) -> Measurement:
    """100 prompt tokens in 0.1 s for 20 J; 400 output tokens in 20 steps of 0.2 s for 90 J; 25 W idle."""
    start: dict[str, Any] = {
        "prefill": phase(0.1, 20.0, energy=estimated(20.0), duration_low_s=0.098, duration_high_s=0.102),
        "decode": phase(4.0, 90.0, energy=estimated(90.0), tokens=400.0, padded_tokens=400.0),
        "output_tokens": 21,
        "idle_w": 25.0,
        "device": Device(name="NVIDIA H200", uuid="GPU-1", driver="570.1", power_cap_w=700.0),
        "basis": "measured",
        "evidence": EVIDENCE,
    }
    return measurement(**{**start, **changes})


def text(of: Measurement) -> str:
    return "\n".join(evidence_lines(of))


def test_device_driver_cap_tokens_and_fill_are_said() -> None:
    said = text(measured())
    assert "device          NVIDIA H200 (GPU-1), driver 570.1, power cap 700 W" in said
    assert "100 prompt tokens, 120 with padding (fill 83.3 %)" in said  # 100 / 120
    assert "peak memory     3 GB" in said


def test_the_protocol_says_how_it_stopped() -> None:
    said = text(measured())
    assert "5 repeats of 2 batches (digest feedc0de) after 1 warm-up" in said
    assert "half-width 2.10 %, within the interval of 3.00 %" in said
    assert "a meter's bound of 2.00 %; read every 5 ms, refreshed every 100 ms" in said
    assert "waited 12 s for at most 55 °C" in said


def test_a_budget_that_ran_out_is_not_an_interval_reached() -> None:
    spent = replace(PROTOCOL, stopped_by="budget", half_width=0.08)
    said = text(measured(evidence=replace(EVIDENCE, protocol=spent)))
    assert "half-width 8.00 %, budget of 120 s spent before the interval of 3.00 %" in said


def test_prefill_and_decode_have_time_rate_energy_per_token_and_power() -> None:
    said = text(measured())
    assert "TTFT          100 ms (98 ms to 102 ms, 95 % over 3 repeats)" in said
    assert "throughput    1000 prompt tokens/s" in said  # 100 / 0.1
    assert "energy        0.2 J per prompt token (0.18 J to 0.22 J)" in said  # 20 J +- 10 % over 100 tokens
    assert "power         200 W" in said  # 20 J in 0.1 s
    assert "TPOT          200 ms (200 ms to 200 ms" in said  # 4 s over 20 steps
    assert "throughput    100 output tokens/s" in said  # 400 / 4
    assert "energy        0.225 J per output token (0.2025 J to 0.2475 J)" in said  # 90 J +- 10 % over 400 tokens
    assert "power         22.5 W" in said


def test_each_meter_is_shown_with_its_bound_and_how_far_they_are_apart() -> None:
    # 20 J against 18 J: 2 J apart, 10 % of the 20 J reported.
    assert "prefill: nvml-counter 20 J (19 to 21), nvml-power 18 J (no bound); 10.00 % apart" in text(measured())


def test_one_meter_alone_is_said_to_be_alone() -> None:
    said = text(measured(prefill=phase(0.1, 20.0)))
    assert "prefill: test alone, no second view" in said


def test_static_and_dynamic_joules_are_told_apart() -> None:
    said = text(measured())
    assert "idle            bare 70 W, model loaded 25 W" in said
    # 25 W for 0.1 s are 2.5 J of 20 J; for 4 s, 100 J of 90 J: less than idle, and shown as it is.
    assert "prefill: 17.5 J dynamic and 2.5 J static of 20 J a batch" in said
    assert "decode: -10 J dynamic and 100 J static of 90 J a batch" in said


def test_without_idle_power_dynamic_joules_are_unknown() -> None:
    said = text(measured(idle_w=None))
    assert "model loaded unknown" in said
    assert "prefill: unknown, as is the idle power with the model loaded" in said


def test_closure_is_shown_in_time_and_energy() -> None:
    # 4.1 / 4 and 98 / 100.
    expected = "phases 4.1 s, whole run 4 s (+2.50 %); phases 98 J, whole run 100 J (-2.00 %)"
    assert f"closure         {expected}" in text(measured())
    without = replace(EVIDENCE, closure=Closure(whole_s=4.0, parts_s=4.1, whole_j=None, parts_j=98.0))
    assert "whole run 4 s (+2.50 %); joules unknown" in text(measured(evidence=without))
    assert "closure         unknown" in text(measured(evidence=replace(EVIDENCE, closure=None)))


def test_the_spread_is_that_of_batches_or_requests() -> None:
    assert "prompt latency: median 3 s, p90 6 s, p99 9 s over 2 batches" in text(measured())
    requests = replace(EVIDENCE, prompt_latency=replace(spread(3.0), unit="request", count=1))
    assert "p99 9 s over 1 request" in text(measured(evidence=requests))


def test_conditions_before_and_after_are_shown() -> None:
    said = text(measured())
    assert "GPU-1: 35 to 51 °C, at most 58 °C; SM clock 1980 to 1755 MHz, memory clock 3201 to 3201 MHz" in said
    assert "at most 612 W of 700 W" in said
    assert "slowed down before by nothing, after by software power cap, in between by nothing" in said
    assert "by power for 1.5 s, by heat for 0 ms" in said  # 11.5 - 10


def test_a_driver_that_does_not_tell_leaves_conditions_unknown() -> None:
    silent = Conditions(device="GPU-1", before=DeviceState(), after=DeviceState(), power_cap_w=None, most_w=None)
    said = text(measured(evidence=replace(EVIDENCE, conditions=(silent,))))
    assert "unknown to unknown °C; SM clock unknown to unknown MHz" in said
    assert "slowed down before by unknown, after by unknown" in said
    assert "by power for unknown, by heat for unknown" in said


def test_each_failed_check_is_a_line_and_none_failed_is_said() -> None:
    said = text(measured()).splitlines()
    assert [line for line in said if line.startswith("FAILED CHECK")] == [
        "FAILED CHECK    throttled: GPU-1 by software power cap",
        "FAILED CHECK    decode: counter frozen",
    ]
    clean = replace(EVIDENCE, gates=(), windows=EVIDENCE.windows[:1])
    assert "checks          none failed" in text(measured(evidence=clean))


def test_a_check_that_failed_in_every_window_is_one_line() -> None:
    same = window("decode", 4500.0, gates=("counter frozen",))
    assert text(measured(evidence=replace(EVIDENCE, windows=(same,) * 9))).count("FAILED CHECK    decode:") == 1


def test_the_windows_are_a_table_with_each_meters_joules() -> None:
    lines = text(measured()).splitlines()
    table = lines[lines.index("windows") + 1 :]
    assert [line.split() for line in table] == [
        ["phase", "runs", "seconds", "nvml-counter,", "J", "nvml-power,", "J", "flaws"],
        # 1 % either way of 1000 J and 4500 J by the counter; power claims no bound, 2 % less.
        ["prefill", "50", "5", "1000", "(990", "to", "1010)", "980", "(no", "bound)"],
        ["decode", "50", "5", "4500", "(4455", "to", "4545)", "4410", "(no", "bound)", "counter", "frozen"],
    ]
    # Columns stand under their headings.
    assert {line.index(word) for line, word in zip(table, ("nvml-counter", "1000", "4500"), strict=True)} == {
        table[0].index("nvml-counter")
    }


def test_several_devices_and_a_meter_that_failed_show_in_the_table() -> None:
    blind = window("decode", 1.0, device="GPU-2", readings=(), flaw="the driver went away")
    said = text(measured(evidence=replace(EVIDENCE, windows=(*EVIDENCE.windows, blind)))).splitlines()
    assert said[-1].split() == ["decode", "GPU-2", "50", "5", "unknown", "unknown", "the", "driver", "went", "away"]


@pytest.mark.parametrize(
    ("notes", "windows", "reason"),
    [
        (("energy unknown: no RAPL here",), (), "no RAPL here"),
        (("prefill energy unknown: counter reset",), (), "counter reset"),
        ((), (window("prefill", 1.0, readings=(), flaw="counter frozen"),), "counter frozen"),
        (("decode energy unknown: counter reset",), (), "no meter read it"),
    ],
)
def test_unknown_energy_says_why(notes: tuple[str, ...], windows: tuple[EnergyWindow, ...], reason: str) -> None:
    blind = measured(prefill=phase(0.1, None), notes=notes, evidence=replace(EVIDENCE, windows=windows))
    lines = text(blind).splitlines()
    assert lines[lines.index("prefill") + 3] == f"  energy        unknown: {reason}"


def test_the_hosts_joules_are_shown_apart() -> None:
    host = measured(prefill=phase(0.1, 20.0, host_energy=energy(7.0)))
    assert "host          7 J a batch besides, test: energy" in text(host)


def test_a_record_without_evidence_says_so_and_shows_its_phases() -> None:
    said = text(measured(evidence=None))
    assert "protocol        unknown: this record holds no evidence" in said
    assert "TTFT          100 ms" in said
    assert "windows" not in said
    assert "none failed" not in said  # nothing was checked


def test_a_record_says_what_served_whom() -> None:
    lines = list(record_lines(record(configuration(), measured(notes=("weights: random",)))))
    assert lines[0] == "TinyLlama-1.1B on T4, batch 4, fp16, paper"
    assert all(line.startswith("  ") for line in lines[1:])
    said = "\n".join(lines)
    assert "  measured        2026-01-01T00:00:00+00:00 on test" in said
    assert "  weights         none" in said
    # (10 + 20 + 30) / 3 tokens
    assert "  prompts         test: 3 prompts, 20 tokens in the mean (given), template none, seed 0, digest " in said


def test_a_refusal_has_its_reason_and_bytes() -> None:
    refused = Refusal(kind="does-not-fit", reason="lacks", needed_bytes=17.5e9, available_bytes=None)
    assert list(record_lines(record(configuration(), refused))) == [
        "TinyLlama-1.1B on T4, batch 4, fp16, paper",
        "  does not fit    lacks",
        "  memory          17.5 GB asked, unknown there",
    ]
    broken = Refusal(kind="failed", reason="the driver went away")
    assert list(record_lines(record(configuration(), broken)))[1:] == ["  failed          the driver went away"]


def test_a_headline_is_one_line() -> None:
    # 20 J / 100 tokens, 90 J / 400 tokens
    assert headline(record(configuration(), measured())) == (
        "TinyLlama-1.1B on T4, batch 4, fp16, paper: TTFT 100 ms, TPOT 200 ms, 0.2 J and 0.225 J per prompt and output "
        "token"
    )
    assert headline(record(configuration(), Refusal(kind="failed", reason="gone"))).endswith("paper: gone")


def test_what_was_not_measured_on_its_gpu_says_so_beside_its_time_and_in_its_headline() -> None:
    for basis, words in (
        ("rehearsed", ", rehearsed on the CPU, not measured on T4"),
        ("modelled", ", modelled, not measured"),
        ("measured", ""),
    ):
        made = record(configuration(), measurement(basis=basis))
        lines = list(record_lines(made))
        assert f"  {basis:<16}2026-01-01T00:00:00+00:00 on test{words}" in lines
        assert headline(made).endswith(f"per prompt and output token{words}")
