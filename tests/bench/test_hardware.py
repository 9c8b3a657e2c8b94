from __future__ import annotations

from types import SimpleNamespace
from typing import Final

import pytest
import torch

from carbonsweep.bench import hardware
from carbonsweep.bench.hardware import cuda_device, gpu_place, refuse_overflow, shortage, usable_threads
from carbonsweep.bench.power.nvml import EnergyCounter, PresentGpu
from carbonsweep.domain import Configuration, Device
from carbonsweep.errors import DoesNotFit, Unsupported

CUDA_OUT_OF_MEMORY: Final = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 14.58 GiB of which 512.00 MiB is "
    "free. Including non-PyTorch memory, this process has 13.90 GiB memory in use."
)
CPU_OUT_OF_MEMORY: Final = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4096 bytes. Error code 12 (Cannot allocate memory)"
)


# ---- memory ----


def test_the_free_bytes_of_a_cuda_message_are_read() -> None:
    found = shortage(CUDA_OUT_OF_MEMORY)
    assert found is not None
    assert (found.available_bytes, found.lacking_bytes) == (2**29, 3 * 2**29)


def test_an_error_about_anything_else_is_no_shortage() -> None:
    assert shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_what_exceeds_the_free_memory_does_not_fit_and_what_nobody_can_tell_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "free_bytes", lambda _: 10.0)
    refuse_overflow(10.0, "cpu")
    with pytest.raises(DoesNotFit) as refusal:
        refuse_overflow(13.0, "cpu")
    assert refusal.value.lacking_bytes == 3.0
    monkeypatch.setattr(hardware, "free_bytes", lambda _: None)
    refuse_overflow(1e30, "cpu")


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
    with pytest.raises(Unsupported, match="CUDA_VISIBLE_DEVICES"):
        cuda_device("T4")


def test_a_gpu_that_torch_cannot_use_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "present_gpus", lambda: (t4(0, "GPU-a"),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unsupported, match="it finds no CUDA"):
        cuda_device("T4")


def test_a_gpu_brings_its_own_counter_and_its_power_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cuda_device", lambda kind: (3, t4(0, "GPU-a")))
    on_t4 = Configuration(
        model="SmolLM2-135M", gpu="T4", gpu_count=1, batch_size=1, dtype="fp16", engine="transformers"
    )
    place = gpu_place(on_t4, None)
    assert (place.torch_device, place.meter) == ("cuda:3", EnergyCounter("GPU-a"))
    assert place.device == Device(name="Tesla T4", uuid="GPU-a", driver="1", power_cap_w=70.0)


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
