"""The machine as torch sees it: the device of a kind, its memory, threads and number formats.

Torch is imported when a device is used, not before; the names of processor and threads need none.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from carbonsweep import facts
from carbonsweep.bench.power.nvml import EnergyCounter, PresentGpu, present_gpus
from carbonsweep.bench.power.window import Meter
from carbonsweep.domain import Configuration, Device
from carbonsweep.errors import DoesNotFit, Unsupported
from carbonsweep.facts import CPU
from carbonsweep.units import BYTES_PER_GIB, BYTES_PER_MIB

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a trial runs and what meters it, None where nothing does."""

    torch_device: str
    device: Device
    meter: Meter | None


def cpu_place(threads: int, meter: Meter | None) -> Place:
    """The processor, whose work runs on this many threads from now on."""
    import torch

    torch.set_num_threads(threads)
    return Place(torch_device="cpu", device=Device(name=cpu_name(threads)), meter=meter)


def gpu_place(configuration: Configuration, meter: Meter | None) -> Place:
    """The GPU of the configuration's kind; `meter` None means its own energy counter.

    Raises UnknownFact for a kind no table has, Unsupported where it has no such dtype or this machine no such GPU.
    """
    gpu = facts.gpu(configuration.gpu)
    if configuration.dtype not in gpu.peak_flop_per_s:
        raise Unsupported(f"{gpu.key} has no {configuration.dtype}; it has {', '.join(gpu.peak_flop_per_s)}")
    index, present = cuda_device(gpu.key)
    device = Device(
        name=present.product_name, uuid=present.uuid, driver=present.driver, power_cap_w=present.power_cap_w
    )
    meter = EnergyCounter(present.uuid) if meter is None else meter
    return Place(torch_device=f"cuda:{index}", device=device, meter=meter)


def cuda_device(kind: str) -> tuple[int, PresentGpu]:
    """CUDA's index of a GPU of this kind. By UUID: CUDA and NVML may count in different orders.

    Raises Unsupported where there is none, or torch is not shown it.
    """
    import torch

    present = present_gpus()
    if not any(gpu.kind == kind for gpu in present):
        there = ", ".join(gpu.kind or gpu.product_name for gpu in present) or "none"
        raise Unsupported(f"no {kind} on this machine (GPUs here: {there})")
    if not torch.cuda.is_available():
        raise Unsupported(f"torch {torch.__version__} cannot use the {kind} of this machine: it finds no CUDA")
    for index in range(torch.cuda.device_count()):
        uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
        for gpu in present:
            if gpu.uuid == uuid and gpu.kind == kind:
                return index, gpu
    raise Unsupported(f"torch is not shown the {kind} of this machine: see CUDA_VISIBLE_DEVICES")


def cpu_name(threads: int) -> str:
    """What a CPU measurement ran on: the kind, its threads and the processor's product name."""
    return f"{CPU}, {threads} thread{'s' if threads > 1 else ''}, {processor_name()}"


def usable_threads() -> int:
    """OMP_NUM_THREADS where it is a number, else the processors this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """The processor's product name, or its architecture where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def shortage(error: Exception) -> DoesNotFit | None:
    """DoesNotFit where `error` says that memory ran out, with the bytes it names."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        asked = re.search(r"Tried to allocate ([\d.]+) (GiB|MiB)", str(error))
        free = re.search(r"of which ([\d.]+) (GiB|MiB) is free", str(error))
        return DoesNotFit(_bytes(asked), _bytes(free))
    if isinstance(error, MemoryError):
        return DoesNotFit(None, None)
    asked = re.search(r"DefaultCPUAllocator: .*?allocate (\d+) bytes", str(error), re.DOTALL)
    return None if asked is None else DoesNotFit(float(asked[1]), free_bytes("cpu"))


def _bytes(match: re.Match[str] | None) -> float | None:
    if match is None:
        return None
    return float(match[1]) * (BYTES_PER_GIB if match[2] == "GiB" else BYTES_PER_MIB)


def free_bytes(torch_device: str) -> float | None:
    """Free memory of the device; of the machine for "cpu", None where the system does not tell."""
    import torch

    if torch_device != "cpu":
        return float(torch.cuda.mem_get_info(torch_device)[0])
    with contextlib.suppress(OSError):
        available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
        if available is not None:
            return float(available[1]) * 1024
    return None


def refuse_overflow(needed_bytes: float, torch_device: str) -> None:
    """Raises DoesNotFit where the device has fewer bytes free; where nobody knows how many, it is tried."""
    available_bytes = free_bytes(torch_device)
    if available_bytes is not None and needed_bytes > available_bytes:
        raise DoesNotFit(needed_bytes, available_bytes)


def return_unused_memory() -> None:
    """Give back what no living object holds: torch keeps the memory of freed tensors for itself."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def peak_memory_bytes(torch_device: str) -> float | None:
    """The most that tensors held on a GPU since `forget_peak_memory`; None for "cpu", where nothing counts it."""
    import torch

    return None if torch_device == "cpu" else float(torch.cuda.max_memory_allocated(torch_device))


def forget_peak_memory(torch_device: str) -> None:
    """Let the peak start anew."""
    import torch

    if torch_device != "cpu":
        torch.cuda.reset_peak_memory_stats(torch_device)


def synchronise(torch_device: str) -> None:
    """Return when the device has done all it was given."""
    import torch

    if torch_device != "cpu":
        torch.cuda.synchronize(torch_device)


def torch_dtype(dtype: str) -> torch.dtype:
    """Torch's name of a dtype of the vocabulary."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
