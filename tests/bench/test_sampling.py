"""The meter over the stand-in driver: what a window says, which checks fail, and what survives a failing device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from carbonsweep.bench.power.nvml import NvmlProbe
from carbonsweep.bench.power.sampling import WINDOW_PERIODS, SampledMeter
from carbonsweep.bench.power.trace import Instrument, MeterError, Reading
from carbonsweep.evidence import DeviceState, EnergyWindow
from tests.standin import Running, Standin, StandinGpu, Waveform
from tests.standin import standin_fixture as standin_fixture
from tests.standin.rig import Rig

STEADY = StandinGpu(waveform=Waveform.constant(200.0), refresh_s=0.1, cap_w=300.0)


@pytest.fixture
def rig(standin: Callable[[Standin], Running]) -> Callable[..., Rig]:
    """A rig over one GPU, STEADY with changes; keywords of the rig come in `of`."""

    def make(of: dict[str, Any] | None = None, **changes: Any) -> Rig:
        machine = Standin(gpus=(replace(STEADY, **changes),), clock="manual")
        return Rig(standin(machine), machine, **(of or {}))

    return make


def window(rig: Rig, seconds: float = 20.0, after_s: float = 0.5) -> EnergyWindow:
    begin_s = rig.now_s + after_s
    return rig.window(begin_s, begin_s + seconds)


# ---- what a window says ----


def test_a_window_holds_both_estimates_the_counter_first(rig: Callable[..., Rig]) -> None:
    found = window(rig())
    assert [reading.source for reading in found.readings] == ["nvml-counter", "nvml-power-instant"]
    for reading in found.readings:
        assert reading.joules == pytest.approx(4000, rel=0.005)
        assert reading.semantics
    assert (found.flaw, found.gates, found.device) == (None, (), STEADY.uuid)


def test_the_refresh_period_is_found_on_the_device_and_sets_polls_and_windows(rig: Callable[..., Rig]) -> None:
    meter = rig(refresh_s=0.04).meter
    assert meter.refresh_s == pytest.approx(0.04, rel=0.05)
    assert meter.poll_s == pytest.approx(0.005, rel=0.1)
    assert meter.least_window_s == pytest.approx(WINDOW_PERIODS * (0.04 + 0.005) / 0.02, rel=0.05)


def test_a_window_of_the_least_length_meets_the_bound_that_was_asked_for(rig: Callable[..., Rig]) -> None:
    made = rig({"bound": 0.01})
    found = window(made, made.meter.least_window_s)
    assert not [gate for gate in found.gates if gate.startswith("short")]


def test_a_shorter_one_is_marked(rig: Callable[..., Rig]) -> None:
    assert any(gate.startswith("short window: its bound is") for gate in window(rig(), 1.0).gates)


def test_the_papers_protocol_makes_sampled_power_the_figure_and_the_counter_its_check(rig: Callable[..., Rig]) -> None:
    made = rig({"power_sampling_s": 0.1})
    assert made.meter.poll_s == 0.1
    found = window(made)
    assert [reading.source for reading in found.readings] == ["nvml-power-instant", "nvml-counter"]
    assert found.readings[0].joules == pytest.approx(4000, rel=0.001)


def test_without_a_counter_the_power_is_the_figure(rig: Callable[..., Rig]) -> None:
    found = window(rig(counter_supported=False, waveform=Waveform.square(100, 300, 4.0)))
    assert [reading.source for reading in found.readings] == ["nvml-power-instant"]
    assert found.readings[0].joules == pytest.approx(4000, rel=0.02)
    assert found.flaw is None


def test_an_averaged_power_is_named_and_shifted_so_that_it_agrees_with_the_counter(rig: Callable[..., Rig]) -> None:
    made = rig(averaging_s=1.0, field_186_supported=False, waveform=Waveform.ramp(50, 290, 40))
    found = window(made)
    counter, power = found.readings
    assert power.source == "nvml-power-average"
    assert power.joules == pytest.approx(counter.joules, rel=0.005)


def test_a_device_without_any_instrument_is_an_error(rig: Callable[..., Rig]) -> None:
    with pytest.raises(MeterError, match="neither energy nor power"):
        rig(counter_supported=False, power_supported=False, field_186_supported=False)


# ---- checks ----


@pytest.mark.parametrize(
    ("changes", "marks"),
    [
        ({"waveform": Waveform.square(100, 300, 0.05)}, {"aliasing", "disagreement"}),
        ({"waveform": Waveform.square(100, 300, 0.1)}, {"aliasing", "disagreement"}),
        ({"waveform": Waveform.square(100, 300, 0.5)}, {"aliasing", "disagreement"}),
        ({"waveform": Waveform.square(100, 300, 2.0)}, set()),
        ({"waveform": Waveform.constant(340.0)}, {"power above cap"}),
        ({"waveform": Waveform.constant(320.0)}, set()),  # less than 1.1 x 300 W
        ({"frozen": (8.0, 12.0)}, {"frozen"}),
    ],
)
def test_checks_mark_a_window_and_keep_its_joules(
    rig: Callable[..., Rig], changes: dict[str, Any], marks: set[str]
) -> None:
    found = window(rig(**changes))
    assert {gate.split(":")[0] for gate in found.gates} - {"disagreement"} == marks - {"disagreement"}
    assert found.readings[0].joules > 0


def test_aliased_power_claims_no_interval_and_the_counter_keeps_its_own(rig: Callable[..., Rig]) -> None:
    counter, power = window(rig(waveform=Waveform.square(100, 300, 0.05))).readings
    assert (power.low_j, power.high_j) == (None, None)
    assert counter.joules == pytest.approx(4000, rel=0.01)
    assert counter.low_j is not None


def test_a_pause_of_the_polls_is_marked_and_costs_the_counter_nothing(rig: Callable[..., Rig]) -> None:
    made = rig()
    begin_s = made.now_s + 0.5
    made.watch(begin_s + 5)
    made.advance(2.0)
    found = made.window(begin_s, begin_s + 20)
    assert [gate.split(":")[0] for gate in found.gates] == ["gap"]
    assert found.readings[0].joules == pytest.approx(4000, rel=0.01)


# ---- failing devices ----


def test_a_counter_reset_inside_a_window_leaves_a_flaw_and_the_power_as_evidence(rig: Callable[..., Rig]) -> None:
    found = window(rig(reset_at_s=10.0))
    assert found.flaw == "the energy counter went backwards: it was reset inside a window"
    assert [reading.source for reading in found.readings] == ["nvml-power-instant"]


def test_a_gpu_lost_inside_a_window_leaves_a_flaw_that_says_so(rig: Callable[..., Rig]) -> None:
    found = window(rig(lost_at_s=10.0))
    assert found.flaw is not None
    assert "lost" in found.flaw.casefold()
    assert found.readings == ()


def test_a_counter_that_stops_for_good_gives_no_joules(rig: Callable[..., Rig]) -> None:
    found = window(rig(frozen=(5.0, 1e6)))
    assert found.flaw == "the energy counter stood still after a window"
    assert any(gate.startswith("frozen") for gate in found.gates)


class Dying:
    """A probe that breaks in a way nobody foresaw."""

    name = "dying"
    power_cap_w = None
    reads = 0

    def instruments(self) -> tuple[Instrument, None]:
        return Instrument(source="s", semantics="m", step=1.0), None

    def read(self) -> Reading:
        self.reads += 1
        if self.reads > 10_000:
            raise ZeroDivisionError("no idea")
        return Reading(counter_j=float(self.reads), power_w=None)

    def state(self) -> DeviceState | None:
        return None


def test_a_probe_that_breaks_otherwise_is_a_flaw_with_its_type_and_never_a_silent_thread() -> None:
    probe = Dying()
    with SampledMeter(probes=(probe,)) as meter:
        probe.reads = 20_000
        begin_s = time.perf_counter()
        time.sleep(0.1)
        found = meter.windows("decode", [(begin_s, time.perf_counter())], 1)[0]
    assert found.flaw == "ZeroDivisionError: no idea"


# ---- several devices, conditions ----


def test_each_device_has_a_window_of_its_own_and_hosts_do_not_count(standin: Callable[[Standin], Running]) -> None:
    gpus = (STEADY, replace(STEADY, uuid="GPU-2", waveform=Waveform.constant(50)))
    standin(Standin(gpus=gpus))
    probes = tuple(NvmlProbe(uuid=gpu.uuid) for gpu in gpus)
    with SampledMeter(probes=probes[:1], hosts=probes[1:]) as meter:
        begin_s = time.perf_counter()
        time.sleep(1.5)
        first, second = meter.windows("decode", [(begin_s, time.perf_counter())], 3)
    assert meter.devices == (STEADY.uuid,)
    assert (first.device, second.device) == (STEADY.uuid, "GPU-2")
    assert (first.runs, first.phase) == (3, "decode")
    # Real time on a busy machine: the ratio of both is that of their powers.
    assert first.readings[0].joules / second.readings[0].joules == pytest.approx(4, rel=0.25)


def test_conditions_tell_what_happened_between_the_first_and_the_last_look(rig: Callable[..., Rig]) -> None:
    sw_thermal = 0x20
    made = rig(temperature_c=Waveform.ramp(40, 80, 20), throttle=((5.0, 9.0, sw_thermal),), processes=((0.0, 1e9, 77),))
    for _ in range(30):
        made.meter.look(with_state=True)
        made.advance(1.0)
    (conditions,) = made.meter.conditions()
    assert conditions.processes == (77,)
    assert conditions.before.temperature_c is not None
    assert conditions.before.temperature_c < 50
    assert conditions.after.temperature_c == conditions.most_temperature_c == 80
    assert (conditions.power_cap_w, conditions.most_w) == (300.0, 200.0)
    assert len(conditions.throttled_by) == 1, conditions.throttled_by
    assert "thermal" in conditions.throttled_by[0]
    assert conditions.after.processes == (77,)
    assert made.meter.temperature_c() == 80


def test_conditions_begin_when_they_are_told_to(rig: Callable[..., Rig]) -> None:
    made = rig(temperature_c=Waveform.steps((0, 40), (6, 50)))
    made.watch(8.0)
    made.meter.begin_conditions()
    (conditions,) = made.meter.conditions()
    assert conditions.before.temperature_c == 50


# ---- what the sensor is, found out ----


def test_a_power_sensor_slower_than_the_counter_is_not_believed_for_what_it_cannot_follow(
    rig: Callable[..., Rig],
) -> None:
    made = rig(refresh_s=0.02, power_refresh_s=0.1, waveform=Waveform.square(100, 300, 0.5))
    found = window(made)
    assert any(gate.startswith("aliasing") for gate in found.gates)
    assert found.readings[1].low_j is None


def test_a_power_sensor_faster_than_the_counter_is_believed_for_what_it_can_follow(rig: Callable[..., Rig]) -> None:
    up_and_down = Waveform.constant(100)  # a triangle of 0.6 s, which changes at every tick of the sensor
    for n in range(120):
        ramp = Waveform.ramp(100, 300, 0.3) if n % 2 == 0 else Waveform.ramp(300, 100, 0.3)
        up_and_down = up_and_down.then(0.3 * (n + 1), ramp)
    found = window(rig(refresh_s=0.1, power_refresh_s=0.02, waveform=up_and_down))
    assert not [gate for gate in found.gates if gate.startswith("aliasing")]
    assert found.readings[1].joules == pytest.approx(found.readings[0].joules, rel=0.02)


def test_averaged_power_is_widened_by_what_its_average_smears_over_the_edges(rig: Callable[..., Rig]) -> None:
    made = rig(averaging_s=1.0, field_186_supported=False, waveform=Waveform.steps((0, 100), (8, 320), (18, 100)))
    made.watch(8.0)
    power = made.window(8.0, 18.0).readings[1]
    assert power.low_j is not None
    assert power.high_j is not None
    assert power.low_j <= 3200 <= power.high_j


def test_a_counter_that_refreshes_once_a_second_is_waited_for(rig: Callable[..., Rig]) -> None:
    made = rig(refresh_s=1.0)
    assert made.meter.found_refresh_s == pytest.approx(1.0, rel=0.05)
    assert window(made, 30.0, after_s=2.0).flaw is None


def test_a_refresh_period_that_cannot_be_found_is_unknown_and_the_flaw_says_so(rig: Callable[..., Rig]) -> None:
    made = rig(refresh_s=30.0)
    assert made.meter.found_refresh_s is None
    flaw = window(made, 5.0).flaw
    assert flaw is not None
    assert flaw.endswith("how often it refreshes could not be found")


def test_idle_windows_have_a_length_of_their_own_and_are_never_called_short(rig: Callable[..., Rig]) -> None:
    made = rig()
    begin_s = made.now_s + 0.5
    assert made.window(begin_s, begin_s + 3.0, phase="idle").gates == ()
    assert made.window(begin_s + 4, begin_s + 7).gates != ()


def test_a_host_that_gives_no_reading_costs_nothing_but_a_remark(standin: Callable[[Standin], Running]) -> None:
    blind = replace(STEADY, uuid="GPU-2", counter_supported=False, power_supported=False, field_186_supported=False)
    standin(Standin(gpus=(STEADY, blind)))
    with SampledMeter(probes=(NvmlProbe(uuid=STEADY.uuid),), hosts=(NvmlProbe(uuid="GPU-2"),)) as meter:
        begin_s = time.perf_counter()
        time.sleep(0.5)
        found = meter.windows("decode", [(begin_s, time.perf_counter())], 1)
    assert [each.device for each in found] == [STEADY.uuid]
    assert meter.remarks == ("host energy unknown: NVML tells neither energy nor power of GPU-2",)


def test_many_short_spans_are_together_enough_where_few_are_not(rig: Callable[..., Rig]) -> None:
    meter = rig().meter
    span = (0.0, meter.least_window_s / 4)
    assert meter.is_enough([(0.0, meter.least_window_s)])
    assert not meter.is_enough([span] * 4)
    # 2.716 sqrt(k) edges over k / 4 windows: from k = (4 x 2.716)^2 = 118 on.
    assert not meter.is_enough([span] * 117)
    assert meter.is_enough([span] * 119)
