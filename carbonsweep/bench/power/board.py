"""One GPU as NVML shows it: what it can be asked for, joules, watts and condition. Knows NVML's calls, loads nothing.

Two calls tell a power, and what they tell is not the same quantity. nvmlDeviceGetPowerUsage, NVIDIA's documentation
says, "returns power averaged over 1 sec interval" on "Ampere (except GA100) or newer GPUs", and "on GA100 and older
architectures, instantaneous power"; field 186, NVML_FI_DEV_POWER_INSTANT, is instantaneous wherever it exists.
Source: NVML API reference, nvmlDeviceGetPowerUsage (docs.nvidia.com/deploy/nvml-api, Device Queries).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from carbonsweep.bench.power.trace import Instrument, MeterError
from carbonsweep.evidence import DeviceState
from carbonsweep.units import J_PER_MJ, S_PER_NS, W_PER_MW

NVML_COUNTER: Final = "nvml-counter"

_COUNTER: Final = Instrument(
    source=NVML_COUNTER, semantics="all energy of the GPU board, idle share included", step=J_PER_MJ
)
_INSTANT: Final = Instrument(
    source="nvml-power-instant", semantics="instantaneous board power, NVML field 186", step=W_PER_MW
)
_USAGE: Final = Instrument(source="nvml-power-usage", semantics="instantaneous board power", step=W_PER_MW)
_USAGE_UNKNOWN: Final = replace(_USAGE, semantics="board power, unknown whether instantaneous or a one-second average")
_AVERAGE: Final = Instrument(
    source="nvml-power-average", semantics="board power averaged over one second", step=W_PER_MW, lag_s=0.5
)

_GA100: Final = (8, 0)
"""The compute capability of the last chip whose plain call is instantaneous; that of other Ampere chips is higher."""

_SLOWING: Final = {
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "thermal (software)",
    0x040: "thermal (hardware)",
    0x080: "power brake",
    0x200: "board limit",
    0x400: "reliability",
}
"""NVML's clock event reasons that slow a GPU down. The others (0x1 idle, 0x2 clocks somebody set, 0x100 a display's
clocks) are no throttling. Source: NVML API reference, NvmlClocksEventReasons."""


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One GPU as NVML shows it: the handle, and which instruments answered when it was opened."""

    pynvml: Any
    handle: Any
    counter: Instrument | None
    power: Instrument | None

    def counter_j(self) -> float:
        """Joules since the driver was loaded. Raises MeterError where it stands at 0, and NVML's errors."""
        counted_mj = int(self.pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        if counted_mj == 0:
            raise MeterError("NVML's energy counter reads 0: it is not counting")
        return counted_mj * J_PER_MJ

    def power_w(self) -> float:
        """Watts. Raises MeterError where it is 0, which no GPU that is on draws, and NVML's errors."""
        read = _field_186_mw if self.power is _INSTANT else _usage_mw
        power_mw = read(self.pynvml, self.handle)
        if power_mw == 0:
            raise MeterError("NVML says that the GPU draws 0 W")
        return power_mw * W_PER_MW

    def told(self, *names: str, of: int | None = None) -> Any | None:
        """The answer of the first of these calls that gives one, about the sensor `of`; None where none does."""
        arguments = (self.handle,) if of is None else (self.handle, of)
        for name in names:
            with suppress(AttributeError, *failures(self.pynvml)):  # AttributeError: older or newer bindings
                return getattr(self.pynvml, name)(*arguments)
        return None

    def state(self) -> DeviceState:
        """Its condition now, each value None where the driver does not tell."""
        nvml = self.pynvml
        # Second names are what older drivers call it.
        celsius = self.told("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", of=nvml.NVML_TEMPERATURE_GPU)
        reasons = self.told("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        power = self.told("nvmlDeviceGetViolationStatus", of=nvml.NVML_PERF_POLICY_POWER)
        thermal = self.told("nvmlDeviceGetViolationStatus", of=nvml.NVML_PERF_POLICY_THERMAL)
        processes = self.told("nvmlDeviceGetComputeRunningProcesses")
        # Violation times are in nanoseconds. Source: NVML API reference, nvmlViolationTime_t.
        return DeviceState(
            temperature_c=_number(celsius),
            sm_clock_mhz=_number(self.told("nvmlDeviceGetClockInfo", of=nvml.NVML_CLOCK_SM)),
            memory_clock_mhz=_number(self.told("nvmlDeviceGetClockInfo", of=nvml.NVML_CLOCK_MEM)),
            throttle_reasons=None if reasons is None else tuple(why for bit, why in _SLOWING.items() if bit & reasons),
            power_violation_s=None if power is None else power.violationTime * S_PER_NS,
            thermal_violation_s=None if thermal is None else thermal.violationTime * S_PER_NS,
            processes=None if processes is None else tuple(sorted(int(each.pid) for each in processes)),
        )


def board_of(pynvml: Any, handle: Any) -> Board:
    """What this GPU can be asked for. Raises NVML's errors where it is lost, or the driver does not answer."""
    counted_mj = where_supported(pynvml, lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)))
    return Board(
        pynvml=pynvml,
        handle=handle,
        counter=_COUNTER if counted_mj else None,
        power=_power_instrument(pynvml, handle),
    )


def _power_instrument(pynvml: Any, handle: Any) -> Instrument | None:
    """The instantaneous power where it answers, else the plain call under the name of what it is on this GPU."""
    with suppress(*failures(pynvml)):  # drivers that do not know the field say so in several ways
        if _field_186_mw(pynvml, handle) > 0:
            return _INSTANT
    if not where_supported(pynvml, lambda: _usage_mw(pynvml, handle)):
        return None
    capability = where_supported(pynvml, lambda: tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)))
    if capability is None:
        return _USAGE_UNKNOWN
    return _AVERAGE if capability > _GA100 else _USAGE


def _field_186_mw(pynvml: Any, handle: Any) -> int:
    field_value = pynvml.nvmlDeviceGetFieldValues(handle, [(pynvml.NVML_FI_DEV_POWER_INSTANT, 0)])[0]
    if field_value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(field_value.nvmlReturn)
    return int(field_value.value.uiVal)


def _usage_mw(pynvml: Any, handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetPowerUsage(handle))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def failures(pynvml: Any) -> tuple[type[Exception], type[Exception]]:
    """What NVML raises; a missing symbol can surface as NVMLLibraryMismatchError, which is no NVMLError."""
    return pynvml.NVMLError, pynvml.NVMLLibraryMismatchError


def where_supported(pynvml: Any, read: Callable[[], _T]) -> _T | None:
    """What `read` gives; None where this GPU, driver or user cannot have it. Raises NVML's other errors."""
    try:
        return read()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission, pynvml.NVMLError_FunctionNotFound):
        return None
