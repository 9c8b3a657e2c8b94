from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
import torch

from carbonsweep.bench import hardware
from carbonsweep.bench.hardware import cuda_device, gpu_name, gpu_place, refuse_overflow, shortage, usable_threads
from carbonsweep.bench.power.nvml import PresentGpu
from carbonsweep.domain import Configuration, Device
from carbonsweep.errors import BenchFailed, DoesNotFit

CUDA_OUT_OF_MEMORY: Final = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 14.58 GiB of which 512.00 MiB is "
    "free. Including non-PyTorch memory, this process has 13.90 GiB memory in use."
)
CPU_OUT_OF_MEMORY: Final = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4096 bytes. Error code 12 (Cannot allocate memory)"
)


# ---- memory ----


GIB: Final = 2**30


def device_of(
    monkeypatch: pytest.MonkeyPatch, *, total: float | None, free: float | None, own: float | None = 0.0
) -> None:
    """Every device has this memory, in bytes."""
    monkeypatch.setattr(hardware, "total_bytes", lambda _: total)
    monkeypatch.setattr(hardware, "free_bytes", lambda _: free)
    monkeypatch.setattr(hardware, "_own_bytes", lambda _: own)


def test_the_free_bytes_of_a_cuda_message_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    device_of(monkeypatch, total=14.58 * GIB, free=0.5 * GIB, own=13.5 * GIB)
    found = shortage(CUDA_OUT_OF_MEMORY)
    assert isinstance(found, DoesNotFit)
    assert (found.available_bytes, found.lacking_bytes) == (2**29, 3 * 2**29)


def test_an_error_about_anything_else_is_no_shortage() -> None:
    assert shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


@pytest.mark.parametrize("error", [CUDA_OUT_OF_MEMORY, CPU_OUT_OF_MEMORY, MemoryError()])
def test_memory_that_runs_out_because_others_hold_it_is_a_failure_and_lasts_only_as_long(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    # 15 - 1 - 10 = 4 GiB in other hands; 15 - 1 - 13.5 = 0.5 GiB is what an idle device takes for itself.
    device_of(monkeypatch, total=15.0 * GIB, free=1.0 * GIB, own=10.0 * GIB)
    found = shortage(error)
    assert isinstance(found, BenchFailed)
    assert str(found).endswith("free of 16.1 GB; other processes hold 4.3 GB")
    device_of(monkeypatch, total=15.0 * GIB, free=1.0 * GIB, own=13.5 * GIB)
    assert isinstance(shortage(error), DoesNotFit)


def test_more_than_the_whole_device_does_not_fit_whoever_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device_of(monkeypatch, total=1.0 * GIB, free=0.0)
    asks_for_two = shortage(CUDA_OUT_OF_MEMORY)
    assert isinstance(asks_for_two, DoesNotFit)
    assert asks_for_two.lacking_bytes == GIB


def test_the_memory_of_the_gpu_that_ran_out_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    device_of(monkeypatch, total=None, free=None)
    monkeypatch.setattr(hardware, "total_bytes", lambda torch_device: looked.append(torch_device))
    shortage(torch.OutOfMemoryError(str(CUDA_OUT_OF_MEMORY).replace("GPU 0", "GPU 3")))
    assert set(looked) == {"cuda:3"}


def test_what_exceeds_the_total_memory_does_not_fit_and_what_nobody_can_tell_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device_of(monkeypatch, total=10.0 * GIB, free=10.0 * GIB)
    refuse_overflow(10.0 * GIB, "cpu")
    with pytest.raises(DoesNotFit) as refusal:
        refuse_overflow(13.0 * GIB, "cpu")
    assert refusal.value.lacking_bytes == 3.0 * GIB
    device_of(monkeypatch, total=None, free=None)
    refuse_overflow(1e30, "cpu")


def test_what_exceeds_only_the_memory_that_others_leave_is_a_failure_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device_of(monkeypatch, total=20e9, free=10e9)
    with pytest.raises(BenchFailed, match=r"on cuda:0: 13\.0 GB needed, 10\.0 GB free of 20\.0 GB; .* hold 10\.0 GB"):
        refuse_overflow(13e9, "cuda:0")


def test_what_an_idle_device_keeps_for_itself_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    # A driver takes 0.5 GiB of every device: retrying would not change that.
    device_of(monkeypatch, total=15.0 * GIB, free=14.5 * GIB)
    with pytest.raises(DoesNotFit) as refusal:
        refuse_overflow(14.8 * GIB, "cuda:0")
    assert refusal.value.available_bytes == 14.5 * GIB


def test_what_this_process_holds_already_need_not_be_free(monkeypatch: pytest.MonkeyPatch) -> None:
    device_of(monkeypatch, total=20e9, free=4e9, own=16e9)
    refuse_overflow(17e9, "cuda:0", held_bytes=14e9)
    with pytest.raises(DoesNotFit):  # 14 + 4 are all that there is for us, and nobody else is here
        refuse_overflow(19e9, "cuda:0", held_bytes=14e9)


def test_memory_that_torch_keeps_for_itself_is_free_and_in_no_other_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 * GIB, 16 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 8 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 6 * GIB)
    assert hardware.free_bytes("cuda:0") == 5 * GIB  # 3 + (8 - 6)
    assert hardware.total_bytes("cuda:0") == 16 * GIB
    assert hardware.elsewhere_bytes("cuda:0") == 5 * GIB  # 16 - 3 - 8


@pytest.mark.parametrize(
    ("limit", "total"), [("4096\n", 4096), ("max\n", 2048000), ("9000000000\n", 2048000), (None, 2048000)]
)
def test_the_total_of_a_machine_is_what_its_control_group_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str | None, total: int
) -> None:
    memory, group = tmp_path / "meminfo", tmp_path / "memory.max"
    memory.write_text("MemTotal:           2000 kB\nMemFree: 3 kB\nMemAvailable:       1000 kB\n")
    if limit is not None:
        group.write_text(limit)
    monkeypatch.setattr(hardware, "MEMORY", memory)
    monkeypatch.setattr(hardware, "CGROUP_LIMIT", group)
    assert (hardware.total_bytes("cpu"), hardware.free_bytes("cpu")) == (total, 1000 * 1024)


def test_a_system_that_tells_nothing_leaves_memory_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "MEMORY", tmp_path / "absent")
    monkeypatch.setattr(hardware, "CGROUP_LIMIT", tmp_path / "absent")
    assert (hardware.total_bytes("cpu"), hardware.free_bytes("cpu"), hardware.elsewhere_bytes("cpu")) == (None,) * 3


# ---- a GPU, without one ----


def t4(index: int, uuid: str) -> PresentGpu:
    return PresentGpu(index=index, product_name="Tesla T4", uuid=uuid, kind="T4", driver="1", power_cap_w=70.0)


def test_the_cuda_device_is_found_by_uuid_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = PresentGpu(index=0, product_name="x", uuid="GPU-x", kind=None, driver="1", power_cap_w=None)
    monkeypatch.setattr(hardware, "present_gpus", lambda: (stranger, t4(1, "GPU-a"), t4(2, "GPU-b")))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=("b", "x")[index]))
    assert cuda_device("T4") == (0, t4(2, "GPU-b"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(BenchFailed, match="CUDA_VISIBLE_DEVICES"):
        cuda_device("T4")


def test_a_gpu_that_torch_cannot_use_is_a_failure_since_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "present_gpus", lambda: (t4(0, "GPU-a"),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchFailed, match="it finds no CUDA"):
        cuda_device("T4")


def test_a_gpu_brings_its_uuid_driver_and_power_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cuda_device", lambda kind: (3, t4(0, "GPU-a")))
    on_t4 = Configuration(
        model="SmolLM2-135M", gpu="T4", gpu_count=1, batch_size=1, dtype="fp16", engine="transformers"
    )
    place = gpu_place(on_t4)
    assert place.torch_device == "cuda:3"
    assert place.device == Device(name="Tesla T4", uuid="GPU-a", driver="1", power_cap_w=70.0)


def test_a_gpu_cut_into_slices_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "present_gpus", lambda: (replace(t4(0, "GPU-a"), mig=True),))
    with pytest.raises(BenchFailed, match="cut into MIG slices, and a slice has no energy counter"):
        cuda_device("T4")


def test_a_gpu_is_named_with_product_and_power_cap_and_all_that_differ_are() -> None:
    lowered = replace(t4(1, "GPU-b"), power_cap_w=60.0)
    unknown = replace(t4(2, "GPU-c"), power_cap_w=None)
    assert gpu_name("T4", [t4(0, "GPU-a"), t4(3, "GPU-d")]) == "T4: Tesla T4, cap 70 W"
    assert gpu_name("T4", [t4(0, "GPU-a"), lowered]) == "T4: Tesla T4, cap 60 W; Tesla T4, cap 70 W"
    assert gpu_name("T4", [unknown]) == "T4: Tesla T4, cap unknown"
    assert gpu_name("L4", [t4(0, "GPU-a")]) == gpu_name("L4", []) == "L4, not on this machine"


# ---- the processor ----


def test_threads_are_those_asked_for_in_the_environment_or_all_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert usable_threads() == 3
    for no_number in ("", "many", "0", "-2"):
        monkeypatch.setenv("OMP_NUM_THREADS", no_number)
        assert usable_threads() >= 1


def test_a_cpu_is_named_with_its_threads_and_its_product_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "processor_name", lambda: "Model 5")
    assert [hardware.cpu_name(threads) for threads in (1, 2)] == ["CPU, 1 thread, Model 5", "CPU, 2 threads, Model 5"]
