from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from carbonsweep.bench.power import devices
from carbonsweep.bench.power.devices import UNMETERED, instruments, power_protocol
from carbonsweep.bench.power.nvml import NVML_COUNTER
from carbonsweep.bench.power.rapl import RaplProbe
from tests.standin import Running, Standin, rtx_6000_ada, t4
from tests.standin import standin_fixture as standin_fixture

CAN_READ = (RaplProbe(zone=Path("zone"), name="package-0", covers="the package"),)


@pytest.mark.parametrize(
    ("device", "sampled_s", "protocol"),
    [
        ("T4", None, NVML_COUNTER),
        ("P100", None, "nvml-power"),  # Pascal has no counter
        ("T4", 0.1, "nvml-power every 0.1 s"),
        ("CPU", None, "rapl"),
        ("CPU", 0.1, UNMETERED),
    ],
)
def test_the_protocol_names_how_joules_are_read(
    monkeypatch: pytest.MonkeyPatch, device: str, sampled_s: float | None, protocol: str
) -> None:
    monkeypatch.setattr(devices, "rapl_probes", lambda: CAN_READ)
    assert power_protocol(device, sampled_s) == protocol


def test_a_processor_whose_energy_nobody_may_read_is_unmetered_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "rapl_probes", tuple)
    monkeypatch.setattr(devices, "rapl_absence", lambda: "only root may read it")
    assert power_protocol("CPU", None) == UNMETERED
    found = instruments("CPU", None)
    assert (found.probes, found.flaw) == ((), "only root may read it")


def test_rapl_tells_no_power_that_could_be_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "rapl_probes", lambda: CAN_READ)
    found = instruments("CPU", 0.1)
    assert found.probes == ()
    assert found.flaw is not None
    assert "no power" in found.flaw


def test_a_gpu_kind_brings_its_own_probes_and_the_hosts_beside_them(
    monkeypatch: pytest.MonkeyPatch, standin: Callable[[Standin], Running]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "rapl_probes", lambda: CAN_READ)
    standin(Standin(gpus=(t4(uuid="GPU-a"), rtx_6000_ada(uuid="GPU-b"), t4(uuid="GPU-c"), t4(uuid="GPU-d", mig=True))))
    found = instruments("T4", None)
    assert [probe.name for probe in found.probes] == ["GPU-a", "GPU-c"]
    assert found.hosts == CAN_READ


def test_only_gpus_that_this_process_is_shown_have_probes(
    monkeypatch: pytest.MonkeyPatch, standin: Callable[[Standin], Running]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-c")
    standin(Standin(gpus=(t4(uuid="GPU-a"), t4(uuid="GPU-c"))))
    assert [probe.name for probe in instruments("T4", None).probes] == ["GPU-c"]


def test_a_gpu_that_tells_neither_energy_nor_power_costs_only_the_joules(
    monkeypatch: pytest.MonkeyPatch, standin: Callable[[Standin], Running]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    blind = t4(uuid="GPU-a", counter_supported=False, power_supported=False, field_186_supported=False)
    standin(Standin(gpus=(blind,)))
    found = instruments("T4", None)
    assert (found.probes, found.flaw) == ((), "NVML tells neither energy nor power of GPU-a")
