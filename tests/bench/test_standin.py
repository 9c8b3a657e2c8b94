"""The stand-in driver library itself: it shows exactly the waveform it was given, and fails exactly as it was told."""

from __future__ import annotations

import ctypes
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import standin as standin_package
from tests.standin import (
    Constant,
    Decay,
    Ramp,
    Running,
    Square,
    Standin,
    StandinGpu,
    Waveform,
    acting,
    build,
    environment,
    library,
    rtx_6000_ada,
    t4,
)

FOR_METERS_AND_PEERS = """
nvmlInit nvmlInit_v2 nvmlInitWithFlags nvmlShutdown nvmlErrorString
nvmlDeviceGetCount nvmlDeviceGetCount_v2 nvmlDeviceGetHandleByIndex_v2 nvmlDeviceGetHandleByUUID nvmlDeviceGetIndex
nvmlDeviceGetName nvmlDeviceGetUUID nvmlDeviceGetPowerUsage nvmlDeviceGetTotalEnergyConsumption
nvmlDeviceGetFieldValues nvmlDeviceGetPowerManagementLimit nvmlDeviceGetPowerManagementLimitConstraints
nvmlDeviceGetPowerManagementDefaultLimit nvmlDeviceGetEnforcedPowerLimit nvmlDeviceGetMemoryInfo
nvmlDeviceGetMemoryInfo_v2 nvmlDeviceGetUtilizationRates nvmlDeviceGetTemperature nvmlDeviceGetTemperatureV
nvmlDeviceGetClockInfo nvmlDeviceGetComputeMode nvmlDeviceGetCudaComputeCapability nvmlDeviceGetArchitecture
nvmlDeviceGetMigMode nvmlDeviceGetViolationStatus nvmlDeviceGetCurrentClocksEventReasons
nvmlDeviceGetCurrentClocksThrottleReasons nvmlDeviceGetComputeRunningProcesses_v3
nvmlDeviceGetMPSComputeRunningProcesses_v3 nvmlDeviceGetC2cModeInfoV nvmlSystemGetDriverVersion
nvmlSystemGetNVMLVersion nvmlSystemGetCudaDriverVersion nvmlSystemGetCudaDriverVersion_v2
"""

watts = st.floats(0, 1000, allow_subnormal=False)
spells_s = st.floats(0.001, 100, allow_subnormal=False)
times_s = st.floats(0, 1000, allow_subnormal=False)
shares = st.floats(0.05, 0.95)
shapes = st.one_of(
    st.builds(Constant, watts),
    st.builds(Ramp, watts, watts, spells_s),
    st.builds(Decay, watts, watts, spells_s),
    st.builds(Square, watts, watts, spells_s, shares, shares),
)


@st.composite
def waveforms(draw: st.DrawFn) -> Waveform:
    """One to six shapes, each for a while."""
    at_s, pieces = 0.0, []
    for shape in draw(st.lists(shapes, min_size=1, max_size=6)):
        pieces.append((at_s, shape))
        at_s += draw(spells_s)
    return Waveform(tuple(pieces))


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with acting(Standin()) as machine:
        yield machine


def handle_of(running: Running, *gpus: StandinGpu, index: int = 0, **machine: Any) -> Any:
    """NVML's handle of one of these GPUs, on the manual clock at 0."""
    running.load(Standin(gpus=gpus, clock="manual", **machine))
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def energy_j(handle: Any) -> float:
    return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000


def power_w(handle: Any) -> float:
    return int(pynvml.nvmlDeviceGetPowerUsage(handle)) / 1000


def fields_w(handle: Any) -> tuple[float, float]:
    """Fields 185 and 186."""
    values = pynvml.nvmlDeviceGetFieldValues(handle, [185, 186])
    assert [each.nvmlReturn for each in values] == [0, 0]
    return values[0].value.uiVal / 1000, values[1].value.uiVal / 1000


def cut(exact: float) -> Any:
    """A value the library shows in whole thousandths: up to one less, and what rounding of a sum of doubles makes."""
    return pytest.approx(exact - 0.0005, abs=0.00051 + 1e-9 * abs(exact))


# ---- the truth ----


@pytest.mark.parametrize(
    ("waveform", "end_s", "joules"),
    [
        (Waveform.constant(70), 3.0, 210.0),
        # 60 W for 1 s, 300 W for 1 s, 120 W for half a second.
        (Waveform.steps((0, 60), (1, 300), (2, 120)), 2.5, 60 + 300 + 60),
        # From 100 to 200 W in 2 s: 150 W on average; then 200 W for 1 s.
        (Waveform.ramp(100, 200, 2), 3.0, 300 + 200),
        # The first half of it: from 100 to 150 W in 1 s.
        (Waveform.ramp(100, 200, 2), 1.0, 125.0),
        # 50 W for 4 s, and of 150 W above it 150 * tau * (1 - exp(-4 / tau)).
        (Waveform.decay(200, 50, 2), 4.0, 200 + 300 * (1 - math.exp(-2))),
        # Periods of 4 s with 1 s high: 2 s hold 1 s high and 1 s low; 6 s hold 2 s high and 4 s low.
        (Waveform.square(100, 300, 4, duty=0.25), 2.0, 300 + 100),
        (Waveform.square(100, 300, 4, duty=0.25), 6.0, 2 * 300 + 4 * 100),
        # Half a period had passed: low for 2 s, then high for 1 s.
        (Waveform.square(100, 300, 4, duty=0.25, phase=0.5), 3.0, 2 * 100 + 300),
        # A step after 2 s of a ramp that would take 4: 2 s at 125 W on average, then 1 s at 80 W.
        (Waveform.ramp(100, 200, 4).then(2, Waveform.constant(80)), 3.0, 250 + 80),
    ],
)
def test_the_energy_of_a_waveform_is_its_integral(waveform: Waveform, end_s: float, joules: float) -> None:
    assert waveform.energy_j(0, end_s) == pytest.approx(joules, rel=1e-12)
    assert waveform.energy_j(-1, 0) == pytest.approx(waveform.power_w(0))  # 1 s at the level of 0


@given(waveform=waveforms(), end_s=st.floats(0.01, 300))
def test_the_energy_of_a_waveform_is_what_summing_its_power_gives(waveform: Waveform, end_s: float) -> None:
    edges_s = np.linspace(0, end_s, 4001)
    sampled = [waveform.power_w(t_s) for t_s in (edges_s[1:] + edges_s[:-1]) / 2]
    step_s = end_s / 4000
    # A jump of at most 1000 W misplaces at most a step; a square has two in each period, a piece one.
    jumps = sum(1 + 2 * end_s / shape.period_s if isinstance(shape, Square) else 1 for _, shape in waveform.pieces)
    steepest = 1000 * max(  # midpoints of a curve are off by the slope over a quarter of a step, in each step
        [1 / shape.tau_s for _, shape in waveform.pieces if isinstance(shape, Decay)], default=0.0
    )
    bound_j = (jumps + 2 * len(waveform.pieces)) * 1000 * step_s + steepest * step_s * step_s * 4000 / 4 + 1e-6
    assert waveform.energy_j(0, end_s) == pytest.approx(sum(sampled) * step_s, abs=bound_j)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Waveform(()),
        lambda: Waveform(((1.0, Constant(5)),)),
        lambda: Waveform.steps((0, 1), (2, 1), (2, 3)),
        lambda: Waveform.ramp(1, 2, 0),
        lambda: Waveform.decay(1, 2, 0),
        lambda: Waveform.square(1, 2, 0),
        lambda: Waveform.square(1, 2, 1, duty=1),
        lambda: Waveform.square(1, 2, 1, phase=1),
        lambda: StandinGpu(throttle=((0, 2, 4), (1, 3, 4))),
        lambda: Standin(driver_version="570.1"),
        lambda: Standin(gpus=(StandinGpu(), StandinGpu())),
    ],
)
def test_what_cannot_be_acted_out_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        wrong()


# ---- energy and power ----


@given(waveform=waveforms(), moments_s=st.lists(times_s, min_size=1, max_size=5), offset_j=st.floats(0.01, 1e6))
def test_the_counter_is_the_exact_integral(
    running: Running, waveform: Waveform, moments_s: list[float], offset_j: float
) -> None:
    handle = handle_of(running, StandinGpu(waveform=waveform, counter_offset_j=offset_j))
    for t_s in moments_s:
        running.set_time_s(t_s)
        assert energy_j(handle) == cut(offset_j + waveform.energy_j(0, t_s))


@given(waveform=waveforms(), t_s=times_s, over_s=st.floats(0.01, 5))
def test_an_averaged_power_is_the_exact_moving_average(
    running: Running, waveform: Waveform, t_s: float, over_s: float
) -> None:
    handle = handle_of(running, StandinGpu(waveform=waveform, averaging_s=over_s))
    running.set_time_s(t_s)
    # Differences of integrals lose digits where the window is short against the energy before it.
    mean_w = pytest.approx(waveform.mean_w(t_s, over_s), abs=0.0011 + 1e-9 * waveform.energy_j(0, 1000) / over_s)
    assert power_w(handle) == mean_w
    assert fields_w(handle)[0] == mean_w


def test_power_is_averaged_over_a_second_or_instantaneous_as_asked(running: Running) -> None:
    step = Waveform.steps((0, 100), (10, 300))
    handle = handle_of(running, rtx_6000_ada(waveform=step))
    running.set_time_s(10.25)
    assert power_w(handle) == cut(0.75 * 100 + 0.25 * 300)
    assert fields_w(handle) == (cut(150), 300.0)
    handle = handle_of(running, t4(waveform=step))
    running.set_time_s(10.25)
    assert power_w(handle) == 300.0
    assert fields_w(handle) == (300.0, 300.0)


@given(ticks=st.integers(-5, 500), into=st.integers(0, 99), phase_ms=st.integers(0, 99))
def test_a_refreshed_counter_shows_the_last_refresh(running: Running, ticks: int, into: int, phase_ms: int) -> None:
    waveform = Waveform.ramp(50, 550, 100)
    handle = handle_of(running, StandinGpu(waveform=waveform, refresh_s=0.1, refresh_phase_s=phase_ms / 1000))
    refreshed_ms = 100 * ticks + phase_ms
    running.set_time_s((refreshed_ms + into) / 1000)
    assert energy_j(handle) == cut(5000 + waveform.energy_j(0, refreshed_ms / 1000))


def test_a_step_shows_from_its_nanosecond_on(running: Running) -> None:
    handle = handle_of(running, StandinGpu(waveform=Waveform.steps((0, 60), (1, 300), (2, 120))))
    seen = []
    for t_s in (0.999999999, 1.0, 1.999999999, 2.0):
        running.set_time_s(t_s)
        seen.append((power_w(handle), energy_j(handle)))
    # One nanosecond at 60 or 300 W is less than the millijoule that is cut off.
    assert seen == [(60.0, 5059.999), (300.0, 5060.0), (300.0, 5359.999), (120.0, 5360.0)]


def test_power_is_refreshed_like_the_counter_unless_it_has_a_period_of_its_own(running: Running) -> None:
    rising = Waveform.ramp(100, 200, 1)
    handle = handle_of(running, StandinGpu(waveform=rising, refresh_s=0.1))
    running.set_time_s(0.57)
    assert (power_w(handle), fields_w(handle)) == (150.0, (150.0, 150.0))
    handle = handle_of(running, StandinGpu(waveform=rising, refresh_s=0.1, power_refresh_s=0.02))
    running.set_time_s(0.57)
    assert power_w(handle) == 156.0  # at 0.56 s
    assert energy_j(handle) == cut(5000 + 0.5 * (100 + 150) / 2)  # at 0.5 s


def test_a_frozen_counter_and_power_hold_and_then_catch_up(running: Running) -> None:
    handle = handle_of(running, StandinGpu(waveform=Waveform.ramp(100, 200, 10), frozen=(2.0, 5.0)))
    seen = []
    for t_s in (2.0, 3.5, 4.999, 5.0):
        running.set_time_s(t_s)
        seen.append((energy_j(handle), power_w(handle)))
    # At 2 s: 110 W on average, 120 W now. At 5 s: 125 W on average, 150 W now.
    assert seen == [(5220.0, 120.0)] * 3 + [(5625.0, 150.0)]


def test_a_reset_counter_begins_again_at_zero(running: Running) -> None:
    handle = handle_of(running, StandinGpu(waveform=Waveform.constant(50), reset_at_s=3.0, refresh_s=0.1))
    seen = []
    for t_s in (2.95, 3.0, 3.05, 4.0):
        running.set_time_s(t_s)
        seen.append(energy_j(handle))
    assert seen == [5145.0, 0.0, 0.0, 50.0]


def test_each_gpu_has_its_own_waveform(running: Running) -> None:
    gpus = (t4(uuid="GPU-a"), t4(uuid="GPU-b", waveform=Waveform.constant(65)))
    handle_of(running, *gpus)
    handles = [pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid) for gpu in gpus]
    assert [power_w(handle) for handle in handles] == [40.0, 65.0]
    assert [pynvml.nvmlDeviceGetIndex(handle) for handle in handles] == [0, 1]
    assert pynvml.nvmlDeviceGetCount() == 2


# ---- failures ----


def failure(call: Callable[[], object]) -> int | None:
    """NVML's return code of a call, None where it works."""
    try:
        call()
    except pynvml.NVMLError as error:
        return int(error.value)
    return None


def field_results(handle: Any) -> list[int]:
    return [int(each.nvmlReturn) for each in pynvml.nvmlDeviceGetFieldValues(handle, [185, 186, 187])]


def test_what_a_gpu_does_not_support_says_so(running: Running) -> None:
    handle = handle_of(
        running,
        StandinGpu(
            counter_supported=False,
            power_supported=False,
            architecture=None,
            compute_capability=None,
            cap_w=None,
            temperature_c=None,
            sm_clock_mhz=None,
            memory_clock_mhz=None,
            throttle=None,
            violations_supported=False,
            processes=None,
            memory_bytes=None,
            utilisation=None,
        ),
    )
    calls: dict[str, tuple[int, ...]] = {
        "nvmlDeviceGetTotalEnergyConsumption": (),
        "nvmlDeviceGetPowerUsage": (),
        "nvmlDeviceGetArchitecture": (),
        "nvmlDeviceGetCudaComputeCapability": (),
        "nvmlDeviceGetEnforcedPowerLimit": (),
        "nvmlDeviceGetPowerManagementLimitConstraints": (),
        "nvmlDeviceGetTemperature": (0,),
        "nvmlDeviceGetTemperatureV": (0,),
        "nvmlDeviceGetClockInfo": (1,),
        "nvmlDeviceGetCurrentClocksEventReasons": (),
        "nvmlDeviceGetViolationStatus": (0,),
        "nvmlDeviceGetComputeRunningProcesses": (),
        "nvmlDeviceGetMigMode": (),
        "nvmlDeviceGetMemoryInfo": (),
        "nvmlDeviceGetUtilizationRates": (),
    }
    results = {name: failure(lambda: getattr(pynvml, name)(handle, *rest)) for name, rest in calls.items()}  # noqa: B023
    assert results == dict.fromkeys(calls, pynvml.NVML_ERROR_NOT_SUPPORTED)
    assert field_results(handle) == [pynvml.NVML_ERROR_NOT_SUPPORTED] * 3


def test_field_186_alone_can_be_missing(running: Running) -> None:
    handle = handle_of(running, StandinGpu(field_186_supported=False))
    assert field_results(handle) == [0, pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NOT_SUPPORTED]
    assert power_w(handle) == 100.0


def test_a_lost_gpu_answers_nothing_any_more_and_the_others_still_do(running: Running) -> None:
    handle = handle_of(running, StandinGpu(lost_at_s=2.000000003), t4(uuid="GPU-b"))
    running.set_time_s(2.000000002)
    assert energy_j(handle) == 5200.0
    running.set_time_s(2.000000003)
    calls: list[Callable[[], object]] = [
        lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        lambda: pynvml.nvmlDeviceGetFieldValues(handle, [186]),
        lambda: pynvml.nvmlDeviceGetTemperature(handle, 0),
    ]
    assert [failure(call) for call in calls] == [pynvml.NVML_ERROR_GPU_IS_LOST] * 3
    assert power_w(pynvml.nvmlDeviceGetHandleByIndex(1)) == 40.0


def test_single_calls_can_fail_for_a_while(running: Running) -> None:
    handle = handle_of(running, StandinGpu(counter_away=((1, 2), (3, 4)), power_away=((2, 3),)))
    seen = []
    for t_s in (0.5, 1.5, 2.5, 3.5, 4.5):
        running.set_time_s(t_s)
        calls = (pynvml.nvmlDeviceGetTotalEnergyConsumption, pynvml.nvmlDeviceGetPowerUsage)
        seen.append(tuple(failure(lambda: call(handle)) for call in calls))  # noqa: B023
    away = pynvml.NVML_ERROR_UNKNOWN
    assert seen == [(None, None), (away, None), (None, away), (away, None), (None, None)]
    running.set_time_s(2.5)
    assert field_results(handle)[:2] == [away, away]


def test_a_function_can_be_told_what_to_answer(running: Running) -> None:
    missing, denied = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_NO_PERMISSION
    errors = {"nvmlDeviceGetComputeRunningProcesses_v3": missing, "nvmlDeviceGetTemperature": denied}
    handle = handle_of(running, StandinGpu(), errors=errors)
    assert failure(lambda: pynvml.nvmlDeviceGetTemperature(handle, 0)) == denied
    with pytest.raises(pynvml.NVMLLibraryMismatchError):  # as the bindings say it of an unversioned name
        pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    assert power_w(handle) == 100.0


def test_a_machine_whose_driver_does_not_start_says_why(running: Running) -> None:
    running.load(Standin(init_error=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH))
    assert failure(pynvml.nvmlInit) == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    assert failure(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED


def test_wrong_use_is_answered_as_nvml_does(running: Running) -> None:
    handle_of(running, StandinGpu())
    assert failure(lambda: pynvml.nvmlDeviceGetHandleByIndex(1)) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert failure(lambda: pynvml.nvmlDeviceGetHandleByUUID("GPU-x")) == pynvml.NVML_ERROR_NOT_FOUND
    assert failure(lambda: pynvml.nvmlDeviceGetName(pynvml.c_nvmlDevice_t())) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    short = ctypes.create_string_buffer(3)
    code = running.library.nvmlSystemGetDriverVersion(short, 3)
    assert code == pynvml.NVML_ERROR_INSUFFICIENT_SIZE
    pynvml.nvmlShutdown()
    assert failure(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED
    assert failure(pynvml.nvmlShutdown) == pynvml.NVML_ERROR_UNINITIALIZED


# ---- condition ----


def test_heat_clocks_and_memory_follow_the_script(running: Running) -> None:
    gpu = StandinGpu(
        temperature_c=Waveform.decay(80, 30, 60),
        sm_clock_mhz=Waveform.steps((0, 1980), (5, 1200)),
        memory_bytes=(1000, 400),
        mig=True,
        cap_w=250.5,
    )
    handle = handle_of(running, gpu)
    running.set_time_s(59)
    assert pynvml.nvmlDeviceGetTemperature(handle, 0) == 49  # 30 + 50 exp(-59 / 60) = 48.7
    running.set_time_s(60)
    assert pynvml.nvmlDeviceGetTemperature(handle, 0) == 48  # 30 + 50 / e = 48.4
    assert pynvml.nvmlDeviceGetTemperatureV(handle, 0) == 48
    clocks = [pynvml.nvmlDeviceGetClockInfo(handle, kind) for kind in (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)]
    assert clocks == [1200, 10001]
    memory, memory_2 = (
        pynvml.nvmlDeviceGetMemoryInfo(handle, version=version) for version in (None, pynvml.nvmlMemory_v2)
    )
    assert (memory.total, memory.free, memory.used) == (1000, 600, 400)
    assert (memory_2.total, memory_2.free, memory_2.used) == (1000, 600, 400)
    assert pynvml.nvmlDeviceGetMigMode(handle) == [1, 1]
    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) == 250_500
    assert pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle) == [100_000, 300_000]
    assert pynvml.nvmlDeviceGetArchitecture(handle) == pynvml.NVML_DEVICE_ARCH_ADA
    assert pynvml.nvmlDeviceGetCudaComputeCapability(handle) == (8, 9)


def test_throttling_and_its_times_follow_the_script(running: Running) -> None:
    # Power cap from 1 to 2 s, thermal slowdown from 2 to 4 s, idle (no throttling) from 4 s.
    handle = handle_of(running, StandinGpu(throttle=((1, 2, 0x04), (2, 4, 0x20), (4, math.inf, 0x01))))
    seen = []
    for t_s in (0.5, 1.5, 3.0, 9.0):
        running.set_time_s(t_s)
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        assert pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) == reasons
        times = [pynvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime for policy in (0, 1)]
        seen.append((reasons, *times))
    s = 10**9
    assert seen == [(0, 0, 0), (0x04, s // 2, 0), (0x20, s, s), (0x01, s, 2 * s)]


def test_processes_come_and_go(running: Running) -> None:
    handle = handle_of(running, StandinGpu(processes=((0, math.inf, 101), (1, 2, 202))))
    seen = []
    for t_s in (0.5, 1.5, 2.0):
        running.set_time_s(t_s)
        seen.append([each.pid for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)])
    assert seen == [[101], [101, 202], [101]]


# ---- the library ----


def test_the_library_has_every_function_that_meters_ask_for(running: Running) -> None:
    assert [name for name in FOR_METERS_AND_PEERS.split() if not hasattr(running.library, name)] == []


def test_it_calls_itself_a_stand_in(running: Running) -> None:
    handle_of(running, StandinGpu())
    assert "stand-in" in pynvml.nvmlSystemGetDriverVersion()


def test_a_script_it_cannot_read_is_refused_with_the_line(running: Running) -> None:
    with pytest.raises(ValueError, match=r"line 5 .*name xxxx"):
        running.load(Standin(gpus=(StandinGpu(name="x" * 200),)))


def test_the_real_clock_is_the_monotonic_one(running: Running) -> None:
    running.load(Standin(gpus=(StandinGpu(waveform=Waveform.constant(1000)),)))
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    before_s, after_s = [], []
    for _ in range(20):
        before_s.append(running.at_s(time.perf_counter()))
        joules = energy_j(handle) - 5000
        after_s.append(running.at_s(time.perf_counter()))
        assert before_s[-1] - 1e-5 <= joules / 1000 <= after_s[-1] + 1e-5
    assert 0 <= before_s[0] < running.time_s


def test_afterwards_the_bindings_find_what_they_found_before() -> None:
    before = pynvml.nvmlLib
    with acting(Standin(gpus=(t4(),))) as machine:
        pynvml.nvmlInit()
        assert pynvml.nvmlDeviceGetCount() == 1
        assert pynvml.nvmlLib is machine.library
    assert pynvml.nvmlLib is before
    assert pynvml._nvmlGetFunctionPointer_cache == {}


def test_without_a_compiler_there_is_an_error_and_no_skipped_test(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(FileNotFoundError, match="no cc or gcc"):
        build(tmp_path)


# ---- other processes ----

REPORT = """
import json, sys, time, pynvml
try:
    pynvml.nvmlInit()
except pynvml.NVMLError as error:
    print(json.dumps({"error": error.value}))
    sys.exit()
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
before_s = time.monotonic()
mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
print(json.dumps({"driver": pynvml.nvmlSystemGetDriverVersion(), "mj": mj, "s": [before_s, time.monotonic()]}))
"""


def reported(variables: dict[str, str]) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if name != standin_package.SCRIPT_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_several_processes_see_the_same_waveform_at_the_same_time(tmp_path: Path) -> None:
    epoch_s = time.monotonic() - 100
    gpu = StandinGpu(waveform=Waveform.constant(200))
    variables = environment(tmp_path, Standin(gpus=(gpu,), epoch_monotonic_s=epoch_s))
    for report in (reported(variables), reported(variables)):
        assert report["driver"] == "stand-in 1.0"
        elapsed_s = (report["mj"] / 1000 - 5000) / 200
        before_s, after_s = report["s"]
        assert before_s - epoch_s - 1e-4 <= elapsed_s <= after_s - epoch_s + 1e-4


def test_without_a_script_there_is_no_driver() -> None:
    assert reported({"LD_LIBRARY_PATH": str(library().parent)}) == {"error": pynvml.NVML_ERROR_DRIVER_NOT_LOADED}


def test_a_process_with_a_broken_script_gets_an_error_and_no_gpu(tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("driver stand-in\nwatts 5\n", encoding="utf-8")
    variables = {"LD_LIBRARY_PATH": str(library().parent), standin_package.SCRIPT_VARIABLE: str(script)}
    assert reported(variables) == {"error": pynvml.NVML_ERROR_UNKNOWN}
