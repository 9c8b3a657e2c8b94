"""NVIDIA's own bindings over the stand-in driver library: what the tool makes of what NVML tells."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest

from carbonsweep import facts
from carbonsweep.bench.power.nvml import NvmlProbe, PresentGpu, has_energy_counter, present_gpus
from carbonsweep.bench.power.trace import Instrument, MeterError, Probe, Reading
from carbonsweep.errors import BenchFailed
from carbonsweep.evidence import DeviceState
from tests.standin import Running, Standin, StandinGpu, Waveform, rtx_6000_ada, t4
from tests.standin import standin_fixture as standin_fixture

Act = Callable[[Standin], Running]

THREE = (
    t4(uuid="GPU-aa11"),
    rtx_6000_ada(uuid="GPU-bb22"),
    StandinGpu(name="Some Board", uuid="GPU-bb33", cap_w=None, mig=False),
)
COUNTER = Instrument(source="nvml-counter", semantics="all energy of the GPU board, idle share included", step=0.001)
INSTANT = Instrument(
    source="nvml-power-instant", semantics="instantaneous board power, NVML field 186", step=0.001, lag_s=0.0
)


@pytest.fixture(autouse=True)
def _all_gpus_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def probe_of(standin: Act, gpu: StandinGpu, **machine: object) -> tuple[Probe, Running]:
    """The probe of the only GPU, and the machine on the manual clock at 0."""
    running = standin(replace(Standin(gpus=(gpu,), clock="manual"), **machine))  # type: ignore[arg-type]
    return NvmlProbe(uuid=gpu.uuid), running


# ---- the GPUs that are there ----


@pytest.mark.parametrize("absent", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_without_a_driver_there_is_no_gpu(standin: Act, absent: int) -> None:
    standin(Standin(init_error=absent))
    assert present_gpus() == ()


@pytest.mark.parametrize(
    "broken",
    [
        Standin(init_error=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH),
        Standin(errors={"nvmlDeviceGetName": pynvml.NVML_ERROR_UNKNOWN}),
        Standin(gpus=(StandinGpu(lost_at_s=0.0),)),
    ],
)
def test_a_driver_that_is_broken_is_an_error_and_not_an_empty_list(standin: Act, broken: Standin) -> None:
    standin(broken)
    with pytest.raises(BenchFailed, match="does not answer"):
        present_gpus()


def test_bindings_that_do_not_match_the_driver_are_an_error_and_not_an_empty_list(
    standin: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mismatched() -> int:
        raise pynvml.NVMLLibraryMismatchError("Unversioned function called")

    standin(Standin())
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", mismatched)
    with pytest.raises(BenchFailed, match="does not answer"):
        present_gpus()


def test_gpus_are_named_by_the_fact_table_and_a_stranger_has_no_kind(standin: Act) -> None:
    standin(Standin(gpus=THREE))
    first, second, third = present_gpus()
    assert first == PresentGpu(
        index=0,
        product_name="Tesla T4",
        uuid="GPU-aa11",
        kind="T4",
        driver="stand-in 1.0",
        power_cap_w=70.0,
        mig=False,
    )
    assert (second.kind, second.power_cap_w) == ("RTX6000Ada", 300.0)
    assert (third.kind, third.power_cap_w) == (None, None)  # a cap the driver does not tell is unknown


def test_a_gpu_in_mig_mode_is_there_and_says_so(standin: Act) -> None:
    standin(Standin(gpus=(StandinGpu(mig=True), t4(uuid="GPU-b", mig=False), t4(uuid="GPU-c"))))
    assert [gpu.mig for gpu in present_gpus()] == [True, False, False]


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        ("GPU-bb33,GPU-aa11", [2, 0]),
        ("GPU-a", [0]),
        ("GPU-bb", []),
        ("1,7,0", [1]),
        ("1,1,0", [1]),
    ],
)
def test_only_the_gpus_that_cuda_would_show_are_present(
    standin: Act, monkeypatch: pytest.MonkeyPatch, visible: str, indices: list[int]
) -> None:
    standin(Standin(gpus=THREE))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.index for gpu in present_gpus()] == indices


@pytest.mark.parametrize("visible", ["MIG-GPU-aa11/1/0", "0,MIG-1234"])
def test_a_slice_of_a_gpu_is_refused_and_the_whole_ones_are_named(
    standin: Act, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    standin(Standin(gpus=THREE))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(BenchFailed, match=r"no energy counter of their own: .*'MIG-.*GPU-aa11, GPU-bb22, GPU-bb33"):
        present_gpus()


def test_every_kind_of_the_fact_table_but_the_pascal_one_has_an_energy_counter() -> None:
    assert [key for key, gpu in facts.gpus().items() if not has_energy_counter(gpu)] == ["P100"]
    assert has_energy_counter(facts.gpu("V100"))  # Volta, the first


@pytest.mark.parametrize("ask", [present_gpus, NvmlProbe(uuid="GPU-a").read])
def test_an_unofficial_package_that_hides_the_bindings_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Callable[[], object]
) -> None:
    # Laid out as pynvml 11 is: a package whose names come from a file within.
    (tmp_path / "pynvml").mkdir()
    (tmp_path / "pynvml" / "__init__.py").write_text("from .nvml import *\n", encoding="utf-8")
    (tmp_path / "pynvml" / "nvml.py").write_text("def nvmlInit(): ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pynvml")
    with pytest.raises(BenchFailed, match=r"hides NVIDIA's own bindings.*pip uninstall pynvml"):
        ask()


# ---- instruments ----


@pytest.mark.parametrize(
    ("gpu", "source", "semantics", "lag_s"),
    [
        # Before Ampere, and on GA100, which has compute capability 8.0.
        (t4(), "nvml-power-usage", "instantaneous board power", 0.0),
        (StandinGpu(compute_capability=(7, 0)), "nvml-power-usage", "instantaneous board power", 0.0),
        (StandinGpu(compute_capability=(8, 0)), "nvml-power-usage", "instantaneous board power", 0.0),
        # The other Ampere chips, Ada, Hopper, Blackwell: the average of a second is that of half a second ago.
        (StandinGpu(compute_capability=(8, 6)), "nvml-power-average", "board power averaged over one second", 0.5),
        (rtx_6000_ada(), "nvml-power-average", "board power averaged over one second", 0.5),
        (StandinGpu(compute_capability=(9, 0)), "nvml-power-average", "board power averaged over one second", 0.5),
        (StandinGpu(compute_capability=(10, 0)), "nvml-power-average", "board power averaged over one second", 0.5),
        (
            StandinGpu(compute_capability=None),
            "nvml-power-usage",
            "board power, unknown whether instantaneous or a one-second average",
            0.0,
        ),
    ],
)
def test_the_plain_power_call_is_named_for_what_it_is_on_this_chip(
    standin: Act, gpu: StandinGpu, source: str, semantics: str, lag_s: float
) -> None:
    probe, _ = probe_of(standin, replace(gpu, field_186_supported=False))
    counter, power = probe.instruments()
    assert counter == COUNTER
    assert power == Instrument(source=source, semantics=semantics, step=0.001, lag_s=lag_s)


@pytest.mark.parametrize("gpu", [t4(), rtx_6000_ada()])
def test_instantaneous_power_is_preferred_wherever_it_answers(standin: Act, gpu: StandinGpu) -> None:
    probe, _ = probe_of(standin, gpu)
    assert probe.instruments() == (COUNTER, INSTANT)


def test_field_values_that_an_old_driver_does_not_know_leave_the_plain_call(standin: Act) -> None:
    errors = {"nvmlDeviceGetFieldValues": pynvml.NVML_ERROR_INVALID_ARGUMENT}
    probe, _ = probe_of(standin, t4(), errors=errors)
    power = probe.instruments()[1]
    assert power is not None
    assert power.source == "nvml-power-usage"


@pytest.mark.parametrize(
    ("gpu", "instruments"),
    [
        (StandinGpu(counter_supported=False), (None, INSTANT)),
        # A counter that stands at 0 does not count.
        (StandinGpu(counter_offset_j=0.0), (None, INSTANT)),
        (StandinGpu(power_supported=False), (COUNTER, None)),
        (StandinGpu(waveform=Waveform.constant(0)), (COUNTER, None)),
    ],
)
def test_an_instrument_that_a_gpu_does_not_have_is_none(
    standin: Act, gpu: StandinGpu, instruments: tuple[Instrument | None, Instrument | None]
) -> None:
    probe, _ = probe_of(standin, gpu)
    assert probe.instruments() == instruments


def test_a_gpu_with_neither_counter_nor_power_is_an_error(standin: Act) -> None:
    probe, _ = probe_of(standin, StandinGpu(counter_supported=False, power_supported=False))
    with pytest.raises(MeterError, match="neither energy nor power of GPU-0000"):
        probe.instruments()


def test_making_a_probe_touches_no_driver_and_two_of_one_gpu_are_equal() -> None:
    assert NvmlProbe(uuid="GPU-a") == NvmlProbe(uuid="GPU-a") != NvmlProbe(uuid="GPU-b")
    assert NvmlProbe(uuid="GPU-a").name == "GPU-a"


# ---- readings ----


def test_a_reading_is_the_joules_and_watts_of_that_moment(standin: Act) -> None:
    gpu = rtx_6000_ada(waveform=Waveform.steps((0, 60), (1, 300)), refresh_s=0.1)
    probe, running = probe_of(standin, gpu)
    assert probe.read() == Reading(counter_j=5000.0, power_w=60.0)
    running.set_time_s(1.25)
    # The counter's last refresh was at 1.2 s: 60 J of the first second, and 0.2 s at 300 W.
    assert probe.read() == Reading(counter_j=5120.0, power_w=300.0)


def test_the_plain_call_shows_the_average_where_the_chip_averages(standin: Act) -> None:
    gpu = rtx_6000_ada(waveform=Waveform.steps((0, 60), (1, 300)), field_186_supported=False)
    probe, running = probe_of(standin, gpu)
    running.set_time_s(1.25)
    assert probe.read().power_w == pytest.approx(0.75 * 60 + 0.25 * 300)


def test_a_probe_reads_the_gpu_with_its_uuid(standin: Act) -> None:
    running = standin(Standin(gpus=THREE, clock="manual"))
    running.set_time_s(10)
    readings = [NvmlProbe(uuid=gpu.uuid).read() for gpu in THREE]
    assert [reading.power_w for reading in readings] == [40.0, 100.0, 100.0]
    assert [reading.counter_j for reading in readings] == pytest.approx([5400.0, 6000.0, 6000.0])


def test_in_real_time_every_reading_lies_on_the_waveform(standin: Act) -> None:
    gpu = rtx_6000_ada(waveform=Waveform.square(60, 300, 0.05).then(0.2, Waveform.decay(300, 50, 0.1)))
    running = standin(Standin(gpus=(gpu,)))
    probe = NvmlProbe(uuid=gpu.uuid)
    until_s = time.perf_counter() + 0.4
    while (asked_s := time.perf_counter()) < until_s:
        reading = probe.read()
        assert reading.counter_j is not None
        truths_j = [gpu.waveform.energy_j(0, running.at_s(t_s)) for t_s in (asked_s, time.perf_counter())]
        assert truths_j[0] - 0.0011 <= reading.counter_j - 5000 <= truths_j[1] + 0.0011  # it shows whole millijoules
        time.sleep(0.01)


def test_what_a_gpu_does_not_have_is_none_in_every_reading(standin: Act) -> None:
    probe, _ = probe_of(standin, StandinGpu(counter_supported=False))
    assert probe.read() == Reading(counter_j=None, power_w=100.0)
    probe, _ = probe_of(standin, StandinGpu(power_supported=False))
    assert probe.read() == Reading(counter_j=5000.0, power_w=None)


def test_power_that_fails_for_a_moment_is_none_while_the_counter_answers(standin: Act) -> None:
    probe, running = probe_of(standin, StandinGpu(power_away=((1, 2),)))
    readings = []
    for t_s in (0.5, 1.5, 2.5):
        running.set_time_s(t_s)
        readings.append(probe.read())
    assert [reading.power_w for reading in readings] == [100.0, None, 100.0]
    assert [reading.counter_j for reading in readings] == [5050.0, 5150.0, 5250.0]


def test_a_power_of_zero_watts_is_none_while_the_counter_answers(standin: Act) -> None:
    probe, running = probe_of(standin, StandinGpu(waveform=Waveform.steps((0, 100), (1, 0))))
    assert probe.read().power_w == 100.0
    running.set_time_s(2)
    assert probe.read() == Reading(counter_j=5100.0, power_w=None)


@pytest.mark.parametrize(
    ("gpu", "message"),
    [
        (StandinGpu(counter_away=((1, 2),)), "gave no reading of GPU-0000.*: Unknown Error"),
        (StandinGpu(counter_supported=False, power_away=((1, 2),)), "gave no reading of GPU-0000.*: Unknown Error"),
        (StandinGpu(lost_at_s=1.0), "gave no reading of GPU-0000.*: GPU is lost"),
        (StandinGpu(reset_at_s=1.5), "reads 0"),
        (StandinGpu(counter_supported=False, waveform=Waveform.steps((0, 100), (1, 0))), "draws 0 W"),
    ],
)
def test_a_reading_that_cannot_be_had_is_an_error_and_never_zero(standin: Act, gpu: StandinGpu, message: str) -> None:
    probe, running = probe_of(standin, gpu)
    probe.read()
    running.set_time_s(1.5)
    with pytest.raises(MeterError, match=message):
        probe.read()


def test_a_gpu_that_is_lost_between_counter_and_power_is_an_error(
    standin: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, running = probe_of(standin, StandinGpu(lost_at_s=1.0))
    probe.read()
    counted = pynvml.nvmlDeviceGetTotalEnergyConsumption

    def last(handle: object) -> int:
        value = int(counted(handle))
        running.set_time_s(1.0)
        return value

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", last)
    with pytest.raises(MeterError, match="GPU is lost"):
        probe.read()


def test_bindings_that_do_not_match_the_driver_give_a_meter_error(
    standin: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mismatched(_: object) -> int:
        raise pynvml.NVMLLibraryMismatchError("Unversioned function called")

    probe, _ = probe_of(standin, StandinGpu())
    probe.read()
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", mismatched)
    with pytest.raises(MeterError, match="Unversioned"):
        probe.read()


@pytest.mark.parametrize(
    "machine",
    [
        Standin(init_error=pynvml.NVML_ERROR_DRIVER_NOT_LOADED),
        Standin(gpus=(t4(uuid="GPU-other"),)),
        Standin(gpus=(StandinGpu(lost_at_s=0.0),)),
    ],
)
def test_a_probe_of_a_gpu_that_is_not_there_is_an_error_and_tells_nothing(standin: Act, machine: Standin) -> None:
    standin(machine)
    probe = NvmlProbe(uuid=StandinGpu().uuid)
    for ask in (probe.read, probe.instruments):
        with pytest.raises(MeterError, match="does not show GPU-0000"):
            ask()
    assert (probe.state(), probe.power_cap_w) == (None, None)


# ---- condition ----

STATED = StandinGpu(
    temperature_c=Waveform.constant(71),
    sm_clock_mhz=Waveform.constant(1590),
    memory_clock_mhz=Waveform.constant(5001),
    throttle=((0, 3, 0x04), (3, 5, 0x20), (5, 8, 0x03), (8, math.inf, 0x5DC)),
    processes=((0, math.inf, 900), (0, math.inf, 77), (6, 7, 5)),
    cap_w=72.5,
)


def test_the_condition_of_a_gpu_is_told_in_words_and_seconds(standin: Act) -> None:
    probe, running = probe_of(standin, STATED)
    running.set_time_s(4)
    assert probe.state() == DeviceState(
        temperature_c=71.0,
        sm_clock_mhz=1590.0,
        memory_clock_mhz=5001.0,
        throttle_reasons=("thermal (software)",),
        power_violation_s=3.0,
        thermal_violation_s=1.0,
        processes=(77, 900),
    )
    assert probe.power_cap_w == 72.5


def test_only_reasons_that_slow_a_gpu_down_are_throttling(standin: Act) -> None:
    probe, running = probe_of(standin, STATED)
    seen = []
    # 0x03 is idle, and clocks somebody set. 0x5DC is all that slows down but 0x20 and 0x200, and a display's clocks.
    for t_s in (2, 6, 9):
        running.set_time_s(t_s)
        state = probe.state()
        assert state is not None
        seen.append(state.throttle_reasons)
    assert seen == [
        ("power cap",),
        (),
        ("power cap", "hardware slowdown", "sync boost", "thermal (hardware)", "power brake", "reliability"),
    ]


@pytest.mark.parametrize(
    ("mask", "word"),
    [
        (pynvml.nvmlClocksEventReasonSwPowerCap, "power cap"),
        (pynvml.nvmlClocksEventReasonHwSlowdown, "hardware slowdown"),
        (pynvml.nvmlClocksEventReasonSyncBoost, "sync boost"),
        (pynvml.nvmlClocksEventReasonSwThermalSlowdown, "thermal (software)"),
        (pynvml.nvmlClocksEventReasonHwThermalSlowdown, "thermal (hardware)"),
        (pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown, "power brake"),
        (pynvml.nvmlClocksThrottleReasonBoardLimit, "board limit"),
        (pynvml.nvmlClocksThrottleReasonReliability, "reliability"),
    ],
)
def test_throttle_reasons_are_nvmls(standin: Act, mask: int, word: str) -> None:
    probe, _ = probe_of(standin, StandinGpu(throttle=((0, math.inf, mask),)))
    state = probe.state()
    assert state is not None
    assert state.throttle_reasons == (word,)


def test_what_the_driver_does_not_tell_is_unknown_one_by_one(standin: Act) -> None:
    silent = replace(STATED, temperature_c=None, memory_clock_mhz=None, processes=None, violations_supported=False)
    probe, _ = probe_of(standin, silent)
    assert probe.state() == DeviceState(sm_clock_mhz=1590.0, throttle_reasons=("power cap",))


def test_a_gpu_that_tells_nothing_has_no_state(standin: Act) -> None:
    silent = replace(
        STATED,
        temperature_c=None,
        sm_clock_mhz=None,
        memory_clock_mhz=None,
        throttle=None,
        processes=None,
        violations_supported=False,
        cap_w=None,
    )
    probe, _ = probe_of(standin, silent)
    assert (probe.state(), probe.power_cap_w) == (None, None)


def test_an_older_driver_is_asked_by_the_older_names(standin: Act) -> None:
    missing = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    newer = {"nvmlDeviceGetTemperatureV": missing, "nvmlDeviceGetCurrentClocksEventReasons": missing}
    probe, _ = probe_of(standin, STATED, errors={**newer, "nvmlDeviceGetComputeRunningProcesses_v3": missing})
    state = probe.state()
    assert state is not None
    assert (state.temperature_c, state.throttle_reasons, state.processes) == (71.0, ("power cap",), None)


def test_the_state_of_a_gpu_that_was_lost_is_unknown_and_no_error(standin: Act) -> None:
    probe, running = probe_of(standin, replace(STATED, lost_at_s=1.0))
    assert probe.state() is not None
    running.set_time_s(1.0)
    assert (probe.state(), probe.power_cap_w) == (None, None)
