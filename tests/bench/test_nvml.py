from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml
import pytest

from carbonsweep import facts
from carbonsweep.bench.power.nvml import EnergyCounter, PresentGpu, has_energy_counter, present_gpus
from carbonsweep.bench.power.window import MeterError
from carbonsweep.errors import BenchFailed

NAMES = ("Tesla T4", "NVIDIA RTX 6000 Ada Generation", "Some Board")
UUIDS = ("GPU-aa11", "GPU-bb22", "GPU-bb33")


def failing(error: Exception) -> Callable[..., Any]:
    def call(*_: object) -> Any:
        raise error

    return call


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real bindings over a driver that is not there; a handle is the index."""
    answers: dict[str, Callable[..., Any]] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(NAMES),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetHandleByUUID": UUIDS.index,
        "nvmlDeviceGetName": lambda handle: NAMES[handle].encode(),
        "nvmlDeviceGetUUID": lambda handle: UUIDS[handle],
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: (70_000, 300_000, 150_000)[handle],
        "nvmlSystemGetDriverVersion": lambda: "600.1",
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 1_234_567 + handle,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize("absent", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, absent: int) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", failing(pynvml.NVMLError(absent)))
    assert present_gpus() == ()


@pytest.mark.parametrize(
    "broken", [pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH), pynvml.NVMLLibraryMismatchError("old")]
)
def test_a_driver_that_is_broken_is_an_error_and_not_an_empty_list(
    monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", failing(broken))
    with pytest.raises(BenchFailed, match="does not answer"):
        present_gpus()


@pytest.mark.usefixtures("three_gpus")
def test_gpus_are_named_by_the_fact_table_and_a_stranger_has_no_kind() -> None:
    first, second, third = present_gpus()
    assert first == PresentGpu(
        index=0, product_name="Tesla T4", uuid="GPU-aa11", kind="T4", driver="600.1", power_cap_w=70.0
    )
    assert (second.kind, third.kind) == ("RTX6000Ada", None)


@pytest.mark.usefixtures("three_gpus")
def test_a_power_limit_that_the_driver_does_not_tell_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    unsupported = failing(pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetEnforcedPowerLimit", unsupported)
    assert [gpu.power_cap_w for gpu in present_gpus()] == [None, None, None]


@pytest.mark.usefixtures("three_gpus")
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
        ("MIG-GPU-aa11/1/0", []),
    ],
)
def test_only_the_gpus_that_cuda_would_show_are_present(
    monkeypatch: pytest.MonkeyPatch, visible: str, indices: list[int]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.index for gpu in present_gpus()] == indices


@pytest.mark.usefixtures("three_gpus")
def test_the_counter_reads_joules_of_the_gpu_with_its_uuid() -> None:
    counter = EnergyCounter("GPU-bb33")
    # 1,234,567 mJ + 2 mJ, the third GPU's.
    assert counter.read_j() == pytest.approx(1234.569)
    assert counter.source == "nvml-counter"


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    "error",
    [
        pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED),
        pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST),
        pynvml.NVMLLibraryMismatchError("missing symbol"),
    ],
)
def test_a_counter_without_a_reading_is_an_error_and_never_zero(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", failing(error))
    with pytest.raises(MeterError, match="gave no reading"):
        EnergyCounter("GPU-aa11").read_j()


@pytest.mark.usefixtures("three_gpus")
def test_a_counter_that_stands_at_zero_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", lambda _: 0)
    with pytest.raises(MeterError, match="reads 0"):
        EnergyCounter("GPU-aa11").read_j()


def test_every_kind_of_the_fact_table_but_the_pascal_one_has_an_energy_counter() -> None:
    assert [key for key, gpu in facts.gpus().items() if not has_energy_counter(gpu)] == ["P100"]
    assert has_energy_counter(facts.gpu("V100"))  # Volta, the first


def test_a_counter_without_a_driver_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = failing(pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    with pytest.raises(MeterError):
        EnergyCounter("GPU-aa11").read_j()
