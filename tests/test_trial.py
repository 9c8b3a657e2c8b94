"""One configuration to one record, whatever came of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from carbonsweep.bench.power import devices
from carbonsweep.bench.power.devices import Instruments
from carbonsweep.domain import Basis, BenchIdentity, Configuration, Device, Measurement, Workload, record_key
from carbonsweep.errors import BadInput, BenchFailed, DoesNotFit, Unsupported
from carbonsweep.records import decode, encode
from carbonsweep.trial import trial
from tests.conftest import SHORT, configuration, identity, measurement
from tests.standin import Running, Standin, Waveform, t4
from tests.standin import standin_fixture as standin_fixture


@dataclass
class OutcomeBench:
    """Gives one outcome, and counts how often it was asked to measure."""

    outcome: Measurement | Exception
    measured: int = 0
    name: str = "test"

    def identity(self, configuration: Configuration) -> BenchIdentity:
        return identity(device=configuration.gpu)

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        self.measured += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_a_measurement_becomes_a_record_with_its_key() -> None:
    bench = OutcomeBench(measurement())
    made = trial(bench, configuration(), SHORT)
    assert made.measurement == measurement()
    assert made.refusal is None
    assert made.key == record_key(configuration(), SHORT.summary(), identity())
    assert made.workload == SHORT.summary()
    assert bench.measured == 1


def test_what_does_not_fit_keeps_its_bytes() -> None:
    made = trial(OutcomeBench(DoesNotFit(18e9, 16e9)), configuration(), SHORT)
    assert made.measurement is None
    assert made.refusal is not None
    assert made.refusal.kind == "does-not-fit"
    assert (made.refusal.needed_bytes, made.refusal.available_bytes) == (18e9, 16e9)


@pytest.mark.parametrize(("error", "kind"), [(Unsupported("no bf16"), "unsupported"), (BenchFailed("broke"), "failed")])
def test_a_refusal_keeps_its_reason(error: Exception, kind: str) -> None:
    made = trial(OutcomeBench(error), configuration(), SHORT)
    assert made.refusal is not None
    assert made.refusal.kind == kind
    assert made.refusal.reason == str(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(BadInput("no torch here"), "no torch here"), (RuntimeError("CUDA\nerror"), "RuntimeError: CUDA\nerror")],
)
def test_an_error_no_bench_foresaw_costs_one_trial_and_not_the_sweep(error: Exception, reason: str) -> None:
    made = trial(OutcomeBench(error), configuration(), SHORT)
    assert made.refusal is not None
    assert (made.refusal.kind, made.refusal.reason) == ("failed", reason)


def test_an_interrupt_is_no_outcome() -> None:
    class InterruptedBench(OutcomeBench):
        def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial(InterruptedBench(measurement()), configuration(), SHORT)


def test_a_reason_that_is_no_unicode_can_still_be_written() -> None:
    # What os.fsdecode makes of a file name in another encoding: half a surrogate pair, which JSON cannot hold.
    made = trial(OutcomeBench(BenchFailed("cannot read caf\udce9.gguf")), configuration(), SHORT)
    again = decode(encode(made))
    assert again == made
    assert again.refusal is not None
    assert again.refusal.reason == r"cannot read caf\udce9.gguf"


def test_a_record_says_when_where_and_with_what() -> None:
    provenance = trial(OutcomeBench(measurement()), configuration(), SHORT).provenance
    assert datetime.now(UTC) - datetime.fromisoformat(provenance.utc) < timedelta(minutes=5)
    assert provenance.host
    assert any(version.startswith("numpy==") for version in provenance.versions)


def test_a_record_names_the_attempt_that_made_it() -> None:
    assert trial(OutcomeBench(measurement()), configuration(), SHORT, attempt="7f").provenance.attempt == "7f"
    assert trial(OutcomeBench(measurement()), configuration(), SHORT).provenance.attempt is None


# ---- what the trial itself cost ----


@dataclass
class BusyBench(OutcomeBench):
    """Its measuring is whatever `work` does."""

    work: Callable[[], object] = lambda: None
    basis: Basis = "measured"

    def identity(self, configuration: Configuration) -> BenchIdentity:
        return replace(identity(device=configuration.gpu), basis=self.basis)

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        self.work()
        return super().measure(configuration, workload)


@dataclass
class ServingBench(BusyBench):
    """Measures a device of elsewhere, as a bench for servers does."""

    instruments: Instruments = field(default_factory=lambda: Instruments(probes=(), flaw="no meter over there"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, standin: Callable[[Standin], Running]) -> Running:
    """Two T4 at 40 and 70 W on the manual clock, and no RAPL, whatever this machine has."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "rapl_probes", tuple)
    gpus = (t4(uuid="GPU-a"), t4(uuid="GPU-b", waveform=Waveform.constant(70)))
    return standin(Standin(gpus=gpus, clock="manual"))


@pytest.mark.parametrize("basis", ["measured", "rehearsed"])
def test_a_trial_costs_the_joules_its_gpu_drew_from_begin_to_end(machine: Running, basis: Basis) -> None:
    found = measurement(device=Device(name="Tesla T4", uuid="GPU-b"))
    made = trial(BusyBench(found, work=lambda: machine.set_time_s(3), basis=basis), configuration(), SHORT)
    assert made.cost is not None
    assert made.cost.energy_j == pytest.approx(210.0)  # 70 W for 3 s
    assert (made.cost.source, made.cost.flaw) == ("nvml-counter", None)


@pytest.mark.parametrize("outcome", [BenchFailed("broke"), DoesNotFit(2.0, 1.0), RuntimeError("odd")])
def test_a_trial_that_found_nothing_has_cost_something_all_the_same(
    monkeypatch: pytest.MonkeyPatch, machine: Running, outcome: Exception
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    made = trial(BusyBench(outcome, work=lambda: machine.set_time_s(3)), configuration(), SHORT)
    assert made.cost is not None
    assert made.cost.energy_j == pytest.approx(120.0)  # 40 W for 3 s


def test_the_time_of_a_trial_is_all_of_it() -> None:
    made = trial(BusyBench(measurement(), work=lambda: time.sleep(0.05), basis="modelled"), configuration(), SHORT)
    assert made.cost is not None
    assert 0.05 <= made.cost.duration_s < 30


def test_a_modelled_trial_has_seconds_and_unknown_joules_though_a_gpu_is_here(machine: Running) -> None:
    made = trial(BusyBench(measurement(), work=lambda: machine.set_time_s(3), basis="modelled"), configuration(), SHORT)
    assert made.cost is not None
    assert made.cost.energy_j is None
    assert made.cost.flaw == "modelled: nobody counted the processor's joules"


def test_a_modelled_trial_loads_no_meter() -> None:
    script = (
        "import sys; from tests.test_trial import OutcomeBench; from tests.conftest import *; "
        "from carbonsweep.trial import trial; "
        "loaded = {name for name in sys.modules if 'power' in name or name == 'pynvml'}; "
        "[sys.modules.pop(name) for name in loaded]; "
        "trial(OutcomeBench(measurement()), configuration(), SHORT); "
        "print(sorted(name for name in sys.modules if 'power' in name or name == 'pynvml'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_servers_joules_are_never_those_of_a_gpu_of_this_machine(machine: Running) -> None:
    made = trial(ServingBench(measurement(), work=lambda: machine.set_time_s(3)), configuration(), SHORT)
    assert made.cost is not None
    assert (made.cost.energy_j, made.cost.flaw) == (None, "no meter over there")


def test_the_cost_is_read_back_as_it_was_written(machine: Running) -> None:
    found = measurement(device=Device(name="Tesla T4", uuid="GPU-b"))
    made = trial(BusyBench(found, work=lambda: machine.set_time_s(3)), configuration(), SHORT, attempt="7f")
    assert decode(encode(made)) == made
