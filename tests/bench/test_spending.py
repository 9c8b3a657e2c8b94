"""Joules of a whole trial: right where both readings are sound, unknown with a reason everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pynvml
import pytest

from carbonsweep.bench.power import devices
from carbonsweep.bench.power.devices import Instruments
from carbonsweep.bench.power.rapl import RaplProbe, rapl_probes
from carbonsweep.bench.power.spending import Drawn, Spending, spending
from carbonsweep.bench.power.trace import Instrument, MeterError, Reading
from carbonsweep.evidence import DeviceState
from tests.bench.test_rapl import RANGE_UJ, count, zone
from tests.conftest import configuration
from tests.standin import Running, Standin, StandinGpu, Waveform, rtx_6000_ada, t4
from tests.standin import standin_fixture as standin_fixture

Act = Callable[[Standin], Running]


@pytest.fixture(autouse=True)
def _no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """All GPUs visible, and no RAPL, whatever this machine has."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "rapl_probes", tuple)
    monkeypatch.setattr(devices, "rapl_absence", lambda: "no RAPL here")


def drawn(standin: Act, *gpus: StandinGpu, seconds: float = 10.0, uuid: str | None = None, count: int = 1) -> Drawn:
    """What a trial of `seconds` on `count` of these GPUs took."""
    running = standin(Standin(gpus=gpus, clock="manual"))
    around = spending(configuration(gpu_count=count), machine=Path("nowhere"))
    with around:
        running.set_time_s(seconds)
    return around.drawn(uuid)


@dataclass
class Scripted:
    """A probe whose counter shows these readings in turn; one that is an exception is raised."""

    shown: list[float | Exception | None]
    name: str = "GPU-a"
    power_cap_w: float | None = None
    asked: int = 0
    counter: Instrument | None = field(
        default_factory=lambda: Instrument(source="test-counter", semantics="all of it", step=1.0)
    )

    def instruments(self) -> tuple[Instrument | None, Instrument | None]:
        return self.counter, None

    def read(self) -> Reading:
        self.asked += 1
        shown = self.shown.pop(0)
        if isinstance(shown, Exception):
            raise shown
        return Reading(counter_j=shown, power_w=None)

    def state(self) -> DeviceState | None:
        return None


def test_a_trial_takes_what_its_gpus_counter_went_up_by(standin: Act) -> None:
    # 40 W for 2 s and 70 W for 8 s: 640 J.
    gpu = t4(waveform=Waveform.steps((0, 40), (2, 70)))
    found = drawn(standin, gpu)
    assert found.energy_j == pytest.approx(640.0)
    assert (found.source, found.flaw) == ("nvml-counter", None)


def test_a_second_trial_counts_from_its_own_begin(standin: Act) -> None:
    running = standin(Standin(gpus=(t4(),), clock="manual"))
    joules = []
    for until_s in (10, 15):
        around = spending(configuration(), machine=Path("nowhere"))
        with around:
            running.set_time_s(until_s)
        joules.append(around.drawn().energy_j)
    assert joules == pytest.approx([400.0, 200.0])  # 40 W


def test_two_gpus_of_one_trial_are_added_up_and_other_kinds_are_left_out(standin: Act) -> None:
    found = drawn(standin, t4(uuid="GPU-a"), rtx_6000_ada(uuid="GPU-b"), t4(uuid="GPU-c"), count=2)
    assert found.energy_j == pytest.approx(800.0)  # 2 x 40 W x 10 s


def test_only_gpus_this_process_is_shown_count(standin: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
    found = drawn(standin, t4(uuid="GPU-a"), t4(uuid="GPU-b", waveform=Waveform.constant(70)))
    assert found.energy_j == pytest.approx(700.0)


def test_of_several_gpus_the_one_the_trial_was_on_counts(standin: Act) -> None:
    gpus = (t4(uuid="GPU-a"), t4(uuid="GPU-b", waveform=Waveform.constant(70)))
    assert drawn(standin, *gpus, uuid="GPU-b").energy_j == pytest.approx(700.0)


def test_of_several_gpus_with_nobody_saying_which_the_joules_are_unknown(standin: Act) -> None:
    found = drawn(standin, t4(uuid="GPU-a"), t4(uuid="GPU-b"))
    assert found == Drawn(energy_j=None, flaw="2 GPUs can be read here, and which of them the trial was on is unknown")


@pytest.mark.parametrize(
    ("gpu", "flaw"),
    [
        (t4(lost_at_s=5.0), "GPU is lost"),
        (t4(counter_away=((5, 11),)), "gave no reading of GPU-0000"),
        (t4(reset_at_s=5.0), "went backwards: it was reset in mid-trial"),
        (t4(reset_at_s=10.0), "reads 0: it is not counting"),
        (t4(frozen=(0, 11)), "stood still from begin to end of the trial"),
        (t4(counter_supported=False), "has no energy counter"),
        (t4(counter_offset_j=0.0), "has no energy counter"),
        (t4(mig=True), "no T4 is here"),
        (t4(counter_supported=False, power_supported=False), "tells neither energy nor power"),
        (rtx_6000_ada(), "no T4 is here"),
    ],
)
def test_a_counter_that_fails_makes_the_joules_unknown_with_the_reason(
    standin: Act, gpu: StandinGpu, flaw: str
) -> None:
    found = drawn(standin, gpu)
    assert (found.energy_j, found.source) == (None, None)
    assert flaw in str(found.flaw)


def test_one_bad_counter_of_two_leaves_the_sum_unknown(standin: Act) -> None:
    found = drawn(standin, t4(uuid="GPU-a"), t4(uuid="GPU-b", lost_at_s=5.0), count=2)
    assert found.energy_j is None
    assert "GPU-b" in str(found.flaw)


@pytest.mark.parametrize("broken", [pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_without_a_driver_that_answers_the_trial_goes_on(standin: Act, broken: int) -> None:
    standin(Standin(init_error=broken))
    with spending(configuration()) as around:
        pass
    assert around.drawn().energy_j is None
    assert around.drawn().flaw


def test_an_error_no_meter_should_raise_is_still_only_an_unknown() -> None:
    around = Spending(probes=[Scripted([5.0, RuntimeError("odd")])])
    with around:
        pass
    assert around.drawn() == Drawn(energy_j=None, flaw="RuntimeError: odd")


def test_a_counter_that_failed_once_is_not_asked_again() -> None:
    probe = Scripted([MeterError("gone"), 5.0])
    with Spending(probes=[probe]) as around:
        pass
    assert (around.drawn().flaw, probe.asked) == ("gone", 1)


def test_an_interrupted_trial_leaves_no_thread_behind(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    around = Spending(probes=rapl_probes(tmp_path), poll_s=60.0)
    begin_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt), around:
        raise KeyboardInterrupt
    assert around._poller is not None
    assert not around._poller.is_alive()
    assert time.monotonic() - begin_s < 30  # it did not sit out the time between two polls


# ---- the host ----


def host_beside(standin: Act, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, gpus_of_machine: int) -> Spending:
    """A T4 at 40 W for 10 s in a machine of so many GPUs, whose only package takes 300 J meanwhile."""
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    monkeypatch.setattr(devices, "rapl_probes", lambda: rapl_probes(tmp_path))
    for number in range(gpus_of_machine):
        (tmp_path / "gpus" / f"0000:0{number}:00.0").mkdir(parents=True)
    running = standin(Standin(gpus=(t4(),), clock="manual"))
    around = spending(configuration(), machine=tmp_path / "gpus")
    with around:
        running.set_time_s(10)
        count(folder, 305_000_000)
    return around


def test_the_host_is_the_trials_by_its_share_of_the_machines_gpus(
    standin: Act, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # 400 J of the GPU and a quarter of 300 J.
    found = host_beside(standin, monkeypatch, tmp_path, gpus_of_machine=4).drawn()
    assert found.energy_j == pytest.approx(475.0)
    assert found.source == "nvml-counter + 1/4 of rapl"


def test_the_only_gpu_of_a_machine_has_the_whole_host(
    standin: Act, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = host_beside(standin, monkeypatch, tmp_path, gpus_of_machine=1).drawn()
    assert found.energy_j == pytest.approx(700.0)
    assert found.source == "nvml-counter + rapl"


def test_where_nobody_knows_the_machines_gpus_its_host_is_left_out(
    standin: Act, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = host_beside(standin, monkeypatch, tmp_path, gpus_of_machine=0).drawn()
    assert found.energy_j == pytest.approx(400.0)
    assert found.source == "nvml-counter"


def test_a_host_that_fails_leaves_the_gpus_joules_known() -> None:
    around = Spending(
        probes=[Scripted([5.0, 9.0])], hosts=[Scripted([1.0, MeterError("gone")])], host_share=Fraction(1)
    )
    with around:
        pass
    assert around.drawn() == Drawn(energy_j=4.0, source="test-counter")


def test_a_trial_on_the_processor_takes_all_that_rapl_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package, memory = (
        zone(tmp_path, place, name) for place, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram"))
    )
    monkeypatch.setattr(devices, "rapl_probes", lambda: rapl_probes(tmp_path))
    around = spending(configuration(gpu="CPU"))
    with around:
        count(package, 25_000_000)
        count(memory, 7_000_000)
    found = around.drawn()
    assert found.energy_j == pytest.approx(22.0)  # 20 J and 2 J from 5 J each
    assert found.source == "rapl"


def test_a_processor_that_nobody_may_read_says_so() -> None:
    with spending(configuration(gpu="CPU")) as around:
        pass
    assert around.drawn() == Drawn(energy_j=None, flaw="no RAPL here")


def test_a_long_trial_is_polled_so_that_no_wrap_of_rapl_goes_unseen(tmp_path: Path) -> None:
    now_s = 0.0
    folder = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 40_000_000)
    probe = RaplProbe(zone=folder, name="package-0", covers="the package", clock=lambda: now_s)
    around = Spending(probes=[probe], poll_s=0.01)
    with around:
        # Two wraps: without a reading between them the second would hide the first.
        for energy_uj in (60_000_000, RANGE_UJ - 40_000_000, 60_000_000):
            now_s += 1300.0
            # As the kernel does it: never half a number.
            (tmp_path / "next").write_text(f"{energy_uj}\n")
            (tmp_path / "next").rename(folder / "energy_uj")
            until_s = time.monotonic() + 30
            while probe._raw_j != pytest.approx(energy_uj * 1e-6) and time.monotonic() < until_s:
                time.sleep(0.005)
    assert around.drawn().energy_j == pytest.approx(RANGE_UJ * 1e-6 + 100.0)


# ---- devices of elsewhere ----


def test_a_bench_with_instruments_of_its_own_is_counted_by_those() -> None:
    given = Instruments(probes=(Scripted([100.0, 350.0], name="far"),))
    with spending(configuration(), given) as around:
        pass
    assert around.drawn() == Drawn(energy_j=250.0, source="test-counter")


def test_a_server_that_no_meter_was_named_for_is_unknown_with_the_reason(standin: Act) -> None:
    standin(Standin(gpus=(t4(),)))  # this machine's own GPU is not the server's
    with spending(configuration(), Instruments(probes=(), flaw="name that machine's with --meter")) as around:
        pass
    assert around.drawn() == Drawn(energy_j=None, flaw="name that machine's with --meter")


def test_reading_costs_milliseconds(standin: Act) -> None:
    standin(Standin(gpus=(t4(),)))
    spent_s = []
    for _ in range(5):
        begin_s = time.perf_counter()
        with spending(configuration()):
            pass
        spent_s.append(time.perf_counter() - begin_s)
    assert min(spent_s) < 0.02
