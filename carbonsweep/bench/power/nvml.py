"""NVIDIA GPUs of this machine, and the power instruments and condition of each, through NVML.

The library is loaded when first asked. No driver means no GPU, an empty tuple; a driver that is there and broken is an
error, because an empty list would look like a machine without GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from carbonsweep.bench.power.board import NVML_COUNTER as NVML_COUNTER  # also what a record says it was metered by
from carbonsweep.bench.power.board import Board, board_of, failures, where_supported
from carbonsweep.bench.power.trace import Instrument, MeterError, Reading
from carbonsweep.errors import BenchFailed
from carbonsweep.evidence import DeviceState
from carbonsweep.facts import Gpu, gpu_of_product
from carbonsweep.units import W_PER_MW

_WITHOUT_COUNTER: Final = frozenset({"Kepler", "Maxwell", "Pascal"})
"""Architectures before Volta. Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption, "For Volta or newer"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentGpu:
    """A GPU of this machine. `index` is NVML's (bus order); `kind` its key in the fact table, None for a stranger.

    `mig` says that it is split into slices, which share one energy counter: nothing can be measured on it.
    """

    index: int
    product_name: str
    uuid: str
    kind: str | None
    driver: str
    power_cap_w: float | None
    mig: bool = False


def present_gpus() -> tuple[PresentGpu, ...]:
    """GPUs this process may use, in the order of CUDA_VISIBLE_DEVICES where that is set; none without a driver.

    Integers in CUDA_VISIBLE_DEVICES are read as bus order (CUDA_DEVICE_ORDER=PCI_BUS_ID), so on a machine of mixed
    GPUs UUIDs are the safe way to name them.
    Raises BenchFailed where the driver is there and does not answer, and where CUDA_VISIBLE_DEVICES names a MIG slice.
    """
    pynvml = _bindings()
    try:
        with _session(pynvml):
            everything = [_present(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return ()
    except failures(pynvml) as error:
        raise BenchFailed(f"the NVIDIA driver does not answer: {error}") from error
    return _visible(everything, os.environ.get("CUDA_VISIBLE_DEVICES"))


def has_energy_counter(gpu: Gpu) -> bool:
    """Whether NVML counts the joules of this kind of GPU: from Volta on."""
    return gpu.architecture not in _WITHOUT_COUNTER


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlProbe:
    """The energy counter, the power and the condition of one GPU; implements `Probe`. NVML stays open once used."""

    uuid: str
    _opened: list[Board] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The UUID."""
        return self.uuid

    @property
    def power_cap_w(self) -> float | None:
        """The limit the driver enforces now; None where it does not tell."""
        try:
            cap_mw = self._board().told("nvmlDeviceGetEnforcedPowerLimit")
        except MeterError:
            return None
        return None if cap_mw is None else int(cap_mw) * W_PER_MW

    def instruments(self) -> tuple[Instrument | None, Instrument | None]:
        """Counter and power, as found when the GPU was first asked. Raises MeterError where it has neither."""
        board = self._board()
        if board.counter is None and board.power is None:
            raise MeterError(f"NVML tells neither energy nor power of {self.uuid}")
        return board.counter, board.power

    def read(self) -> Reading:
        """Joules since the driver was loaded, and watts: None where there is no such instrument.

        Watts are None, too, where that call failed and the counter answered. Raises MeterError for any other failure
        and a counter that says 0, which is what a broken one says.
        """
        board = self._board()
        pynvml = board.pynvml
        try:
            counter_j = None if board.counter is None else board.counter_j()
            try:
                power_w = None if board.power is None else board.power_w()
            except pynvml.NVMLError_GpuIsLost:
                raise
            except (MeterError, *failures(pynvml)):
                if counter_j is None:
                    raise
                power_w = None
        except failures(pynvml) as error:
            raise MeterError(f"NVML gave no reading of {self.uuid}: {error}") from error
        return Reading(counter_j=counter_j, power_w=power_w)

    def state(self) -> DeviceState | None:
        """Temperature, clocks, throttling and processes now, each None where the driver does not tell; None for none.

        Process ids are the driver's: inside a container they may be those of the host.
        """
        try:
            state = self._board().state()
        except MeterError:
            return None
        return None if state == DeviceState() else state

    def _board(self) -> Board:
        if not self._opened:
            self._opened.append(_open(self.uuid))
        return self._opened[0]


def _open(uuid: str) -> Board:
    """The GPU with this UUID. Raises MeterError where it is not there."""
    pynvml = _bindings()
    try:
        pynvml.nvmlInit()
        return board_of(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except failures(pynvml) as error:
        raise MeterError(f"NVML does not show {uuid}: {error}") from error


def _present(pynvml: Any, index: int) -> PresentGpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    product = _text(pynvml.nvmlDeviceGetName(handle))
    row = gpu_of_product(product)
    cap_mw = where_supported(pynvml, lambda: int(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)))
    mig_mode = where_supported(pynvml, lambda: int(pynvml.nvmlDeviceGetMigMode(handle)[0]))
    return PresentGpu(
        index=index,
        product_name=product,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        kind=None if row is None else row.key,
        driver=_text(pynvml.nvmlSystemGetDriverVersion()),
        power_cap_w=None if cap_mw is None else cap_mw * W_PER_MW,
        mig=mig_mode == pynvml.NVML_DEVICE_MIG_ENABLE,
    )


def _visible(everything: Sequence[PresentGpu], wanted: str | None) -> tuple[PresentGpu, ...]:
    """What CUDA would show; like CUDA, the list ends at the first entry that names no GPU ("-1", "")."""
    if wanted is None:
        return tuple(everything)
    chosen: list[PresentGpu] = []
    for entry in (part.strip() for part in wanted.split(",")):
        if entry.startswith("MIG-"):
            whole = ", ".join(gpu.uuid for gpu in everything) or "none"
            raise BenchFailed(
                f"MIG slices have no energy counter of their own: CUDA_VISIBLE_DEVICES names {entry!r}; show whole "
                f"GPUs (here: {whole}), with MIG mode off"
            )
        match = [gpu for gpu in everything if str(gpu.index) == entry or _names_uuid(entry, gpu.uuid)]
        if len(match) != 1 or match[0] in chosen:
            break
        chosen += match
    return tuple(chosen)


def _names_uuid(entry: str, uuid: str) -> bool:
    """CUDA accepts a UUID shortened to a prefix."""
    return entry.startswith("GPU-") and uuid.startswith(entry)


def _bindings() -> Any:
    """NVIDIA's own module. Raises BenchFailed where another distribution, a package of the same name, hides it."""
    import pynvml

    if hasattr(pynvml, "__path__"):  # NVIDIA's is a single file
        raise BenchFailed(
            "the distribution 'pynvml' hides NVIDIA's own bindings, which are 'nvidia-ml-py': run "
            "`pip uninstall pynvml` and `pip install --force-reinstall nvidia-ml-py`"
        )
    return pynvml


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
