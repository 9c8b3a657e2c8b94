"""The machine as torch sees it: the device of a kind, its memory, threads and number formats.

Torch is imported when a device is used, not before; the names of processor and threads need none.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from carbonsweep import facts
from carbonsweep.bench.power.nvml import PresentGpu, present_gpus
from carbonsweep.domain import Configuration, Device
from carbonsweep.errors import BenchFailed, DoesNotFit, Unsupported
from carbonsweep.facts import CPU
from carbonsweep.units import BYTES_PER_GB, BYTES_PER_GIB, BYTES_PER_MIB

if TYPE_CHECKING:
    import torch

IDLE_BYTES: Final = BYTES_PER_GIB
"""What is taken of a device nobody else uses (CUDA's context, the system) stays below this: half a GiB is usual."""

OUT_OF_CUDA_MEMORY: Final = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What a CUDA library says that found no memory: torch's own allocator has an exception of its own."""

MEMORY: Final = Path("/proc/meminfo")
CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a trial runs."""

    torch_device: str
    device: Device


def cpu_place(threads: int) -> Place:
    """The processor, whose work runs on this many threads from now on."""
    import torch

    torch.set_num_threads(threads)
    return Place(torch_device="cpu", device=Device(name=cpu_name(threads)))


def gpu_place(configuration: Configuration) -> Place:
    """The GPU of the configuration's kind. Raises what `cuda_device` raises."""
    index, present = cuda_device(facts.gpu(configuration.gpu).key)
    return Place(torch_device=f"cuda:{index}", device=_device(present, present.product_name))


def rehearsal_place(configuration: Configuration, threads: int) -> Place:
    """The processor in place of the first GPU of the configuration's kind, whose meter is read. Raises BenchFailed."""
    present = _whole_gpus(facts.gpu(configuration.gpu).key)[0]
    name = rehearsed_name(present.product_name, threads)
    return Place(torch_device=cpu_place(threads).torch_device, device=_device(present, name))


def _device(present: PresentGpu, name: str) -> Device:
    return Device(name=name, uuid=present.uuid, driver=present.driver, power_cap_w=present.power_cap_w)


def refuse_dtype(configuration: Configuration) -> None:
    """Raises Unsupported where the GPU has no such dtype, UnknownFact for a kind no table has."""
    if configuration.gpu == CPU:
        return
    gpu = facts.gpu(configuration.gpu)
    if configuration.dtype not in gpu.peak_flop_per_s:
        raise Unsupported(f"{gpu.key} has no {configuration.dtype}; it has {', '.join(gpu.peak_flop_per_s)}")


def cuda_device(kind: str) -> tuple[int, PresentGpu]:
    """CUDA's index of a GPU of this kind. By UUID: CUDA and NVML may count in different orders.

    Raises BenchFailed where there is none, or torch cannot use it: another driver or environment may bring it back.
    """
    import torch

    whole = _whole_gpus(kind)
    if not torch.cuda.is_available():
        raise BenchFailed(f"torch {torch.__version__} cannot use the {kind} of this machine: it finds no CUDA")
    for index in range(torch.cuda.device_count()):
        uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
        for gpu in whole:
            if gpu.uuid == uuid:
                return index, gpu
    raise BenchFailed(f"torch is not shown the {kind} of this machine: see CUDA_VISIBLE_DEVICES")


def _whole_gpus(kind: str) -> list[PresentGpu]:
    """GPUs of this kind that are shown to this process, at least one. Raises BenchFailed."""
    present = present_gpus()
    mine = [gpu for gpu in present if gpu.kind == kind]
    if not mine:
        there = ", ".join(gpu.kind or gpu.product_name for gpu in present) or "none"
        raise BenchFailed(f"no {kind} on this machine (GPUs here: {there})")
    whole = [gpu for gpu in mine if not gpu.mig]
    if not whole:
        raise BenchFailed(f"the {kind} of this machine is cut into MIG slices, and a slice has no energy counter")
    return whole


def cpu_name(threads: int) -> str:
    """What a CPU measurement ran on: the kind, its threads and the processor's product name."""
    return f"{CPU}, {threads} thread{'s' if threads > 1 else ''}, {processor_name()}"


def rehearsed_name(device: str, threads: int) -> str:
    """What a rehearsal runs on: the device it is for, and the processor that stands in for it."""
    return f"{device} (rehearsed on {cpu_name(threads)})"


def gpu_name(kind: str, present: Sequence[PresentGpu]) -> str:
    """What a GPU measurement runs on: the kind, and product name and power cap of each such GPU among `present`."""
    products = sorted(
        {
            f"{gpu.product_name}, cap {'unknown' if gpu.power_cap_w is None else f'{gpu.power_cap_w:g} W'}"
            for gpu in present
            if gpu.kind == kind
        }
    )
    return f"{kind}: {'; '.join(products)}" if products else f"{kind}, not on this machine"


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


def shortage(error: Exception) -> DoesNotFit | BenchFailed | None:
    """What to raise where `error` says that memory ran out, with the bytes it names; None for any other error."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        index = re.search(r"GPU (\d+)", str(error))
        asked = re.search(r"Tried to allocate ([\d.]+) (GiB|MiB)", str(error))
        free = re.search(r"of which ([\d.]+) (GiB|MiB) is free", str(error))
        return _shortage(_bytes(asked), _bytes(free), "cuda" if index is None else f"cuda:{index[1]}")
    if any(text in str(error) for text in OUT_OF_CUDA_MEMORY):
        return _shortage(None, None, "cuda")
    if isinstance(error, MemoryError):
        return _shortage(None, free_bytes("cpu"), "cpu")
    asked = re.search(r"DefaultCPUAllocator: .*?allocate (\d+) bytes", str(error), re.DOTALL)
    return None if asked is None else _shortage(float(asked[1]), free_bytes("cpu"), "cpu")


def refuse_overflow(needed_bytes: float, torch_device: str, held_bytes: float = 0.0) -> None:
    """Raises where the device has too little memory; where nobody knows how much it has, it is tried.

    `held_bytes` of `needed_bytes` this process holds already. DoesNotFit, a lasting outcome, where the device is too
    small even when nobody else uses it; BenchFailed where somebody else holds what is lacking.
    """
    free = free_bytes(torch_device)
    available = None if free is None else free + held_bytes
    limits = [limit for limit in (available, total_bytes(torch_device)) if limit is not None]
    if limits and needed_bytes > min(limits):
        raise _shortage(needed_bytes, available, torch_device)


def _shortage(needed_bytes: float | None, available_bytes: float | None, torch_device: str) -> DoesNotFit | BenchFailed:
    total = total_bytes(torch_device)
    if total is not None and needed_bytes is not None and needed_bytes > total:
        return DoesNotFit(needed_bytes, total)
    elsewhere = elsewhere_bytes(torch_device)
    if elsewhere is None or elsewhere <= IDLE_BYTES:
        return DoesNotFit(needed_bytes, available_bytes)
    return BenchFailed(
        f"too little memory is free on {torch_device}: {_gb(needed_bytes)} needed, {_gb(available_bytes)} free of "
        f"{_gb(total)}; other processes hold {_gb(elsewhere)}"
    )


def elsewhere_bytes(torch_device: str) -> float | None:
    """Memory of the device that is not free and not held by this process; None where the system does not tell."""
    total, free, own = total_bytes(torch_device), free_bytes(torch_device), _own_bytes(torch_device)
    return None if total is None or free is None or own is None else max(0.0, total - free - own)


def free_bytes(torch_device: str) -> float | None:
    """Memory a new tensor can have; None for "cpu" where the system does not tell."""
    import torch

    if torch_device == "cpu":
        return _stated_bytes(MEMORY, "MemAvailable")
    # Torch keeps the memory of freed tensors: taken for the driver, free for us.
    kept = torch.cuda.memory_reserved(torch_device) - torch.cuda.memory_allocated(torch_device)
    return float(torch.cuda.mem_get_info(torch_device)[0] + kept)


def total_bytes(torch_device: str) -> float | None:
    """All memory of the device, or what the control group allows of the machine's; None where nobody tells."""
    import torch

    if torch_device != "cpu":
        return float(torch.cuda.mem_get_info(torch_device)[1])
    limit: float | None = None
    with contextlib.suppress(OSError, ValueError):  # ValueError: it says "max"
        limit = float(int(CGROUP_LIMIT.read_text(encoding="ascii")))
    known = [each for each in (_stated_bytes(MEMORY, "MemTotal"), limit) if each is not None]
    return min(known, default=None)


def _own_bytes(torch_device: str) -> float | None:
    import torch

    if torch_device == "cpu":
        return _stated_bytes(Path("/proc/self/status"), "VmRSS")
    return float(torch.cuda.memory_allocated(torch_device))


def _stated_bytes(path: Path, name: str) -> float | None:
    """The number after `name` in a file of /proc, which counts in kB of 1024 bytes."""
    with contextlib.suppress(OSError):
        stated = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if stated is not None:
            return float(stated[1]) * 1024
    return None


def _bytes(match: re.Match[str] | None) -> float | None:
    if match is None:
        return None
    return float(match[1]) * (BYTES_PER_GIB if match[2] == "GiB" else BYTES_PER_MIB)


def _gb(count: float | None) -> str:
    return "an unknown number of GB" if count is None else f"{count / BYTES_PER_GB:.1f} GB"


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
