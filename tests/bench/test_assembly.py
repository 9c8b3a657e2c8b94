from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from carbonsweep.bench.assembly import Counted, Readout, Subject, measurement, phase_energy
from carbonsweep.bench.phases import Effort, Measured, PhaseSample, Repeat
from carbonsweep.domain import Configuration, Measurement
from carbonsweep.evidence import Conditions, DeviceState, EnergyWindow, Evidence, MeterReading

GPU = "GPU-1"
WHERE = Configuration(model="m", gpu="T4", gpu_count=1, batch_size=2, dtype="fp16", engine="transformers")


def window(joules: float, *, device: str = GPU, width: float = 0.02, runs: float = 1, **changes: Any) -> EnergyWindow:
    """A counter that knows `joules` to `width`, and power that says 1 % more."""
    counter = MeterReading(
        source="counter", semantics="c", joules=joules, low_j=(1 - width) * joules, high_j=(1 + width) * joules
    )
    power = MeterReading(source="power", semantics="p", joules=1.01 * joules, low_j=joules, high_j=1.02 * joules)
    start: dict[str, Any] = {
        "phase": "decode",
        "device": device,
        "runs": runs,
        "duration_s": 1.0,
        "readings": (counter, power),
    }
    return EnergyWindow(**{**start, **changes})


def sample(run_s: float, *windows: EnergyWindow, **changes: Any) -> PhaseSample:
    return PhaseSample(run_s=run_s, batch_s=(run_s - 0.1, run_s + 0.1), windows=windows, **changes)


def gathered(*joules: float, whole_j: float = 300.0, **changes: Any) -> Measured:
    """As many repeats as `joules` of decode; prefill always takes 0.5 s and 100 J, decode 2 s."""
    repeats = tuple(
        Repeat(prefill=sample(0.5, window(100, phase="prefill")), decode=sample(2.0, window(each))) for each in joules
    )
    start: dict[str, Any] = {
        "repeats": repeats,
        "orders": ((0, 1),) * len(repeats),
        "whole": sample(2.5, window(whole_j, phase="whole")),
        "stopped_by": "interval",
        "half_width": 0.01,
        "cooled_s": None,
        "start_c": None,
    }
    return Measured(**{**start, **changes})


SUBJECT = Subject(
    bench="test",
    configuration=WHERE,
    output_tokens=11,
    counted=Counted(prompt_tokens=30, padded_tokens=40, decoded_tokens=20),
    batches_digest="0123456789abcdef",
    device=None,
    peak_memory_bytes=None,
    notes=("a note",),
)
READOUT = Readout(devices=(GPU,), poll_s=0.0125, refresh_s=0.1, idle_w=20.0, bare_idle_w=10.0)


def assembled(found: Measured, readout: Readout = READOUT, effort: Effort | None = None, **subject: Any) -> Measurement:
    return measurement(found, effort or Effort(), replace(SUBJECT, **subject), readout)


def evidence(made: Measurement) -> Evidence:
    assert made.evidence is not None
    return made.evidence


# ---- energy of a phase ----


def test_the_interval_is_that_of_the_repeats_widened_by_the_meters_bound() -> None:
    decode = assembled(gathered(190, 200, 210)).decode
    assert decode.energy is not None
    # s = 10, t(0.975, 2) = 4.30265: half-width 24.842; the counter's 2 % of the mean are 4.
    assert decode.energy.joules == pytest.approx(200)
    assert decode.energy.high_j == pytest.approx(228.842, abs=1e-3)
    assert decode.energy.low_j == pytest.approx(171.158, abs=1e-3)


def test_both_meters_views_are_kept_the_figures_first() -> None:
    energy = assembled(gathered(200, 200)).decode.energy
    assert energy is not None
    counter, power = energy.estimates
    assert (counter.source, counter.low_j, counter.high_j) == ("counter", 196.0, 204.0)
    assert power.source == "power"
    assert power.joules == pytest.approx(202)
    assert energy.source == "counter"


def test_windows_of_several_batches_are_averaged_and_several_devices_added() -> None:
    both = [window(100, runs=2), window(300, runs=4), window(10, device="GPU-2")]
    energy, flaws = phase_energy([sample(1, *both), sample(1, *both)], (GPU, "GPU-2"), ())
    assert energy is not None
    # (50 + 75) / 2 + 10
    assert (energy.joules, flaws) == (72.5, ())


def test_meters_of_different_kinds_are_named_together() -> None:
    def from_rapl(device: str, source: str) -> EnergyWindow:
        reading = MeterReading(source=source, semantics=device, joules=5, low_j=4, high_j=6)
        return window(5, device=device, readings=(reading,))

    windows = [from_rapl("package-0", "rapl-package"), from_rapl("package-0-dram", "rapl-dram")]
    energy, _ = phase_energy([sample(1, *windows)] * 2, ("package-0", "package-0-dram"), ())
    assert energy is not None
    assert (energy.joules, energy.low_j, energy.high_j) == (10, 8, 12)
    assert energy.source == "rapl-package + rapl-dram"


def test_one_window_without_joules_makes_the_phase_unknown_with_the_reason_in_a_note() -> None:
    broken = window(200, readings=(), flaw="the counter was reset")
    found = gathered(200, 200)
    found = replace(found, repeats=(found.repeats[0], replace(found.repeats[1], decode=sample(2.0, broken))))
    made = assembled(found)
    assert made.decode.energy is None
    assert made.prefill.energy is not None
    assert made.energy_j is None
    assert made.notes == ("a note", "decode energy unknown: the counter was reset")


def test_power_that_claims_no_accuracy_is_bounded_by_the_cap_alone() -> None:
    aliased = MeterReading(source="power", semantics="p", joules=200, low_j=None, high_j=None)
    samples = [sample(2.0, window(200, readings=(aliased,)))] * 2
    capped = Conditions(device=GPU, before=DeviceState(), after=DeviceState(), power_cap_w=300, most_w=None)
    energy, _ = phase_energy(samples, (GPU,), (capped,))
    assert energy is not None
    # Somewhere between nothing and 300 W for 2 s.
    assert (energy.low_j, energy.joules, energy.high_j) == (0, 200, 600)
    nobody_knows, flaws = phase_energy(samples, (GPU,), (replace(capped, power_cap_w=None),))
    assert nobody_knows is None
    assert flaws == ("the meter claims no accuracy, and the power cap is unknown",)


def test_the_hosts_joules_are_kept_beside_and_never_added() -> None:
    host = window(70, device="package-0")
    found = gathered(200, 200)
    repeats = tuple(replace(each, decode=sample(2.0, window(200), host)) for each in found.repeats)
    decode = assembled(replace(found, repeats=repeats)).decode
    assert decode.energy is not None
    assert decode.host_energy is not None
    assert (decode.energy.joules, decode.host_energy.joules) == (200, 70)


def test_without_a_meter_there_is_no_energy_and_no_complaint() -> None:
    made = assembled(gathered(200, 200), Readout())
    assert made.energies == (None, None)
    assert made.notes == ("a note",)
    assert evidence(made).protocol.window_bound is None


# ---- seconds, tokens, distributions ----


def test_seconds_tokens_and_idle_power_go_where_they_belong() -> None:
    made = assembled(gathered(200, 200))
    assert (made.ttft_s, made.tpot_s, made.prompt_latency_s) == (0.5, 0.2, 2.5)
    assert (made.prefill.tokens, made.prefill.padded_tokens, made.decode.tokens) == (30, 40, 20)
    assert (made.idle_w, evidence(made).bare_idle_w) == (20, 10)
    assert made.basis == "measured"


def test_the_spread_is_over_batches_where_no_requests_are_seen() -> None:
    ttft, tpot, latency = (
        getattr(evidence(assembled(gathered(200, 200))), n) for n in ("ttft", "tpot", "prompt_latency")
    )
    assert (ttft.unit, ttft.count, ttft.minimum, ttft.maximum) == ("batch", 2, 0.4, 0.6)
    assert (tpot.minimum, tpot.maximum) == (pytest.approx(0.19), pytest.approx(0.21))
    assert (latency.minimum, latency.maximum) == (pytest.approx(2.3), pytest.approx(2.7))


def test_the_spread_is_over_requests_where_they_are_seen() -> None:
    seen = tuple(
        Repeat(
            prefill=sample(0.5, requests_s=(0.3, 0.5)),
            decode=sample(2.0, requests_s=(1.0, 2.0, 3.0)),
            latencies_s=(2.0, 9.0),
        )
        for _ in range(2)
    )
    found = evidence(assembled(gathered(1, 1, repeats=seen), Readout()))
    assert (found.ttft.unit, found.ttft.count) == ("request", 4)
    assert found.tpot.maximum == pytest.approx(0.3)  # 3 s over 10 steps
    assert found.prompt_latency.maximum == 9.0


# ---- checks of the run ----


def gates(found: Measured, readout: Readout = READOUT, **subject: Any) -> list[str]:
    return [gate.split(":")[0] for gate in evidence(assembled(found, readout, **subject)).gates]


def test_a_sound_run_fails_no_check() -> None:
    assert gates(gathered(200, 200)) == []


def test_phases_that_do_not_add_up_to_the_whole_run_are_marked() -> None:
    found = gathered(200, 200, whole_j=280)  # 300 / 280 is 7 % more
    closure = evidence(assembled(found)).closure
    assert closure is not None
    assert closure.energy_difference == pytest.approx(300 / 280 - 1)
    assert gates(found) == ["closure"]
    assert gates(gathered(200, 200, whole=sample(2.0, window(300, phase="whole")))) == ["closure"]  # 2.5 s against 2


def conditions(
    before: tuple[int, ...] | None,
    after: tuple[int, ...] | None,
    throttled_by: tuple[str, ...] = (),
    violation_s: float | None = None,
) -> Conditions:
    return Conditions(
        device=GPU,
        before=DeviceState(processes=before, power_violation_s=None if violation_s is None else 1.0),
        after=DeviceState(processes=after, power_violation_s=violation_s),
        power_cap_w=70,
        most_w=60,
        throttled_by=throttled_by,
        processes=None if before is None or after is None else tuple({*before, *after}),
    )


@pytest.mark.parametrize(
    ("before", "after", "own", "foreign"),
    [
        ((7,), (7,), {7}, False),
        ((), (7,), {7}, False),
        ((7, 8), (7,), {7}, True),
        ((7,), (7, 9), {7}, True),
        ((4242,), (4242,), {7}, False),  # a container's ids are not the driver's: one process is taken for ours
        ((4242, 4243), (4242,), {7}, True),
        (None, None, {7}, False),
        ((7, 8), (7, 8), None, False),  # a server's own processes, all there from the start
        ((7, 8), (7, 8, 9), None, True),
    ],
)
def test_a_process_beside_the_measured_one_is_marked(
    before: tuple[int, ...] | None, after: tuple[int, ...] | None, own: set[int] | None, foreign: bool
) -> None:
    mine = None if own is None else frozenset(own)
    readout = replace(READOUT, conditions=(conditions(before, after),), own_processes=mine)
    assert gates(gathered(200, 200), readout) == (["foreign process"] if foreign else [])


def test_throttling_is_marked_with_its_reason() -> None:
    readout = replace(READOUT, conditions=(conditions((), (), ("power cap",)),), own_processes=frozenset())
    assert evidence(assembled(gathered(200, 200), readout)).gates == (f"throttled: {GPU} by power cap",)


def test_throttling_too_short_for_any_look_is_marked_by_the_drivers_own_clock() -> None:
    for violation_s, marked in ((1.25, True), (1.0, False)):
        readout = replace(READOUT, conditions=(conditions((), (), violation_s=violation_s),), own_processes=frozenset())
        said = evidence(assembled(gathered(200, 200), readout)).gates
        assert said == ((f"throttled: {GPU} 0.25 s by power",) if marked else ())


def test_a_process_that_comes_and_goes_in_between_is_marked() -> None:
    passing = replace(conditions((7,), (7,)), processes=(7, 99))
    readout = replace(READOUT, conditions=(passing,), own_processes=frozenset({7}))
    assert gates(gathered(200, 200), readout) == ["foreign process"]


def test_equal_repeats_of_a_meter_without_error_keep_the_interval_around_the_mean() -> None:
    for joules in (0.1, 0.7, 1 / 3, 1.1, 2.3):
        exact = MeterReading(source="s", semantics="m", joules=joules, low_j=joules, high_j=joules)
        samples = [sample(1, window(joules, readings=(exact,), runs=3))] * 7
        energy, _ = phase_energy(samples, (GPU,), ())
        assert energy is not None


def test_a_hot_start_is_marked() -> None:
    assert gates(gathered(200, 200, cooled_s=60.0, start_c=61.0)) == ["temperature"]
    assert gates(gathered(200, 200, cooled_s=5.0, start_c=55.0)) == []


def test_a_check_of_the_bench_itself_comes_first() -> None:
    assert gates(gathered(200, 200, whole_j=280), gates=("prefix cache: hit",)) == ["prefix cache", "closure"]


def test_the_protocol_is_written_down() -> None:
    protocol = evidence(assembled(gathered(200, 200, 200), effort=Effort(interval=0.05))).protocol
    assert (protocol.repeats, protocol.interval, protocol.half_width) == (3, 0.05, 0.01)
    assert (protocol.batches_digest, protocol.poll_s, protocol.refresh_s) == ("0123456789abcdef", 0.0125, 0.1)
    assert (protocol.stopped_by, protocol.window_bound) == ("interval", 0.02)
    other = gathered(200, 200, 200, orders=((1, 0), (0, 1), (0, 1)))
    assert evidence(assembled(other)).protocol.orders_digest != protocol.orders_digest


def test_every_window_is_in_the_evidence() -> None:
    idle = window(60, phase="idle")
    readout = replace(READOUT, idle=(idle,), bare_idle=(replace(idle, phase="bare-idle"),))
    phases = [each.phase for each in evidence(assembled(gathered(200, 200), readout)).windows]
    assert phases == ["bare-idle", "prefill", "decode", "prefill", "decode", "whole", "idle"]
