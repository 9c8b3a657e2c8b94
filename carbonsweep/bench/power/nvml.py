"""NVIDIA GPUs of this machine and their energy counters, through NVML.

The library is loaded when first asked. No driver means no GPU, an empty tuple; a driver that is there and broken is an
error, because an empty list would look like a machine without GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from carbonsweep.bench.power.window import MeterError
from carbonsweep.errors import BenchFailed
from carbonsweep.facts import Gpu, gpu_of_product
from carbonsweep.units import J_PER_MJ, W_PER_MW

NVML_COUNTER: Final = "nvml-counter"
_WITHOUT_COUNTER: Final = frozenset({"Kepler", "Maxwell", "Pascal"})
"""Architectures before Volta. Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption, "For Volta or newer"."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentGpu:
    """A GPU of this machine. `index` is NVML's (bus order); `kind` its key in the fact table, None for a stranger."""

    index: int
    product_name: str
    uuid: str
    kind: str | None
    driver: str
    power_cap_w: float | None


def present_gpus() -> tuple[PresentGpu, ...]:
    """GPUs this process may use, in the order of CUDA_VISIBLE_DEVICES where that is set; none without a driver.

    Integers in CUDA_VISIBLE_DEVICES are read as bus order (CUDA_DEVICE_ORDER=PCI_BUS_ID), so on a machine of mixed
    GPUs UUIDs are the safe way to name them. MIG slices have no counter of their own and count as absent.
    Raises BenchFailed where the driver is there and does not answer.
    """
    import pynvml

    try:
        with _session(pynvml):
            everything = [_present(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return ()
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as error:
        raise BenchFailed(f"the NVIDIA driver does not answer: {error}") from error
    return _visible(everything, os.environ.get("CUDA_VISIBLE_DEVICES"))


def has_energy_counter(gpu: Gpu) -> bool:
    """Whether NVML counts the joules of this kind of GPU: from Volta on."""
    return gpu.architecture not in _WITHOUT_COUNTER


@dataclass(slots=True)
class EnergyCounter:
    """Joules one GPU has used since its driver was loaded; implements `Meter`."""

    uuid: str
    _handle: Any = field(default=None, init=False, repr=False, compare=False)

    @property
    def source(self) -> str:
        return NVML_COUNTER

    @property
    def semantics(self) -> str:
        return "all energy of the GPU board, idle share included"

    def read_j(self) -> float:
        """Joules since the driver was loaded. Raises MeterError; never returns 0, which is what a broken one says."""
        import pynvml

        try:
            if self._handle is None:
                pynvml.nvmlInit()
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(self.uuid)
            counted_mj = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        # A missing symbol can surface as NVMLLibraryMismatchError, which is no NVMLError.
        except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as error:
            raise MeterError(f"NVML's energy counter gave no reading: {error}") from error
        if counted_mj == 0:
            raise MeterError("NVML's energy counter reads 0: it is not counting")
        return counted_mj * J_PER_MJ


def _present(pynvml: Any, index: int) -> PresentGpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    product = _text(pynvml.nvmlDeviceGetName(handle))
    row = gpu_of_product(product)
    cap_mw = _where_supported(pynvml, lambda: int(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)))
    return PresentGpu(
        index=index,
        product_name=product,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        kind=None if row is None else row.key,
        driver=_text(pynvml.nvmlSystemGetDriverVersion()),
        power_cap_w=None if cap_mw is None else cap_mw * W_PER_MW,
    )


def _visible(everything: Sequence[PresentGpu], wanted: str | None) -> tuple[PresentGpu, ...]:
    """What CUDA would show; like CUDA, the list ends at the first entry that names no GPU ("-1", "")."""
    if wanted is None:
        return tuple(everything)
    chosen: list[PresentGpu] = []
    for entry in (part.strip() for part in wanted.split(",")):
        match = [gpu for gpu in everything if str(gpu.index) == entry or _names_uuid(entry, gpu.uuid)]
        if len(match) != 1 or match[0] in chosen:
            break
        chosen += match
    return tuple(chosen)


def _names_uuid(entry: str, uuid: str) -> bool:
    """CUDA accepts a UUID shortened to a prefix."""
    return entry.startswith("GPU-") and uuid.startswith(entry)


def _where_supported(pynvml: Any, read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission, pynvml.NVMLError_FunctionNotFound):
        return None


@contextmanager
def _session(pynvml: Any) -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    """Older NVML bindings answer in bytes."""
    return value.decode() if isinstance(value, bytes) else value
