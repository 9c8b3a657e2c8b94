"""A rehearsal: the GPU must be there and its meter is read, the work is the CPU's, and everything says so."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from carbonsweep.bench import hardware
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.domain import Configuration, Device, Measurement, TrialRecord, record_key
from carbonsweep.errors import BenchFailed, DoesNotFit, Unsupported
from carbonsweep.records import decode, encode
from carbonsweep.trial import trial
from tests.standin import Running, Standin, Waveform, acting, rtx_6000_ada, t4
from tests.standin import standin_fixture as standin_fixture

WHERE = Configuration(model="SmolLM2-135M", gpu="T4", gpu_count=1, batch_size=1, dtype="fp32", engine="transformers")
POWER_W = 40.0
FIRST, SECOND = (
    t4(
        uuid=f"GPU-00000000-0000-0000-0000-00000000000{number}",
        waveform=Waveform.constant(POWER_W),
        refresh_s=0.02,
        temperature_c=Waveform.constant(40.0),
    )
    for number in (1, 2)
)
ADA = rtx_6000_ada(uuid="GPU-00000000-0000-0000-0000-000000000003")
EFFORT = Effort(batches=1, repeats=2, budget_s=0, window_bound=0.05)
SHORT = built_in_workload(3, 0)


def rehearsing(weights: str = "random") -> TransformersBench:
    return TransformersBench(weights=weights, effort=EFFORT, threads=1, rehearse=True)


@pytest.fixture(scope="module")
def record(smollm2_folder: Path) -> TrialRecord:
    with acting(Standin(gpus=(ADA, FIRST))), pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return trial(rehearsing(str(smollm2_folder)), WHERE, SHORT)


@pytest.fixture
def measurement(record: TrialRecord) -> Measurement:
    assert record.measurement is not None, record.refusal
    return record.measurement


def test_the_record_says_rehearsed_wherever_it_says_what_it_rests_on(
    record: TrialRecord, measurement: Measurement
) -> None:
    on_cpu = f"(rehearsed on {hardware.cpu_name(1)})"
    assert record.identity.basis == measurement.basis == "rehearsed"
    assert record.identity.device == f"T4: Tesla T4, cap 70 W {on_cpu}"
    assert measurement.device == Device(
        name=f"Tesla T4 {on_cpu}", uuid=FIRST.uuid, driver="stand-in 1.0", power_cap_w=70.0
    )
    assert measurement.notes[0] == (
        "rehearsed on the CPU, not measured on T4: seconds are the CPU's, joules those of a T4 that had nothing to do"
    )
    assert decode(encode(record)) == record


def test_the_meter_of_the_kind_that_was_asked_for_is_read(record: TrialRecord, measurement: Measurement) -> None:
    for phase in (measurement.prefill, measurement.decode):
        assert (phase.gpu, phase.gpu_count) == ("T4", 1)
        assert phase.energy is not None
        # The other GPU of this machine draws 100 W.
        assert phase.energy.joules == pytest.approx(POWER_W * phase.duration_s, rel=0.05)
    assert measurement.idle_w == pytest.approx(POWER_W, rel=0.05)
    assert measurement.evidence is not None
    assert {window.device for window in measurement.evidence.windows} == {FIRST.uuid}
    assert record.identity.power_protocol == "nvml-counter"


def test_the_work_is_the_processors(measurement: Measurement) -> None:
    # Nothing counts the memory of tensors on a CPU; on a GPU torch does.
    assert measurement.peak_memory_bytes is None


def test_a_rehearsal_is_never_taken_for_a_measurement_of_the_same_gpu(standin: Callable[[Standin], Running]) -> None:
    standin(Standin(gpus=(FIRST,)))
    real = replace(rehearsing(), rehearse=False).identity(WHERE)
    rehearsed = rehearsing().identity(WHERE)
    assert (real.basis, real.device) == ("measured", "T4: Tesla T4, cap 70 W")
    assert record_key(WHERE, SHORT.summary(), rehearsed) != record_key(WHERE, SHORT.summary(), real)


def test_a_kind_that_is_not_there_cannot_be_rehearsed_either(standin: Callable[[Standin], Running]) -> None:
    standin(Standin(gpus=(ADA,)))
    with pytest.raises(BenchFailed, match=r"no T4 on this machine \(GPUs here: RTX6000Ada\)"):
        rehearsing().measure(WHERE, SHORT)
    standin(Standin(gpus=(replace(FIRST, mig=True),)))
    with pytest.raises(BenchFailed, match="the T4 of this machine is cut into MIG slices"):
        rehearsing().measure(WHERE, SHORT)


@pytest.mark.parametrize(("shown", "uuid"), [("0", FIRST.uuid), ("1", SECOND.uuid), (SECOND.uuid, SECOND.uuid)])
def test_the_gpu_a_process_is_shown_is_the_one_it_rehearses_for(
    standin: Callable[[Standin], Running], monkeypatch: pytest.MonkeyPatch, shown: str, uuid: str
) -> None:
    standin(Standin(gpus=(FIRST, SECOND)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    place = hardware.rehearsal_place(WHERE, 1)
    assert (place.torch_device, place.device.uuid) == ("cpu", uuid)


def test_what_the_gpu_has_not_is_refused_and_memory_is_the_hosts(standin: Callable[[Standin], Running]) -> None:
    standin(Standin(gpus=(FIRST,)))
    with pytest.raises(Unsupported, match="T4 has no bf16"):
        rehearsing().measure(replace(WHERE, dtype="bf16"), SHORT)
    bench = rehearsing()
    bench._bare_idle[FIRST.uuid] = ()  # seconds of waiting that are not the point here
    with pytest.raises(DoesNotFit) as refusal:
        bench.measure(replace(WHERE, batch_size=10**9), SHORT)
    assert refusal.value.available_bytes == hardware.total_bytes("cpu")


def test_the_processor_is_no_stand_in_for_itself() -> None:
    on_cpu = replace(WHERE, gpu="CPU")
    assert rehearsing().identity(on_cpu) == replace(rehearsing(), rehearse=False).identity(on_cpu)


def test_sent_to_another_machine_a_bench_finds_the_gpus_of_that_one(standin: Callable[[Standin], Running]) -> None:
    standin(Standin(gpus=(replace(FIRST, cap_w=60.0),)))
    benches = [TransformersBench(weights="random", threads=1, elsewhere=elsewhere) for elsewhere in (True, False)]
    assert {bench.identity(WHERE).device for bench in benches} == {"T4: Tesla T4, cap 60 W"}
    sent = [pickle.dumps(bench) for bench in benches]
    standin(Standin(gpus=(FIRST,)))
    # The one of this machine goes on to know a record by the key the driver knows it by.
    assert [pickle.loads(each).identity(WHERE).device for each in sent] == [
        "T4: Tesla T4, cap 70 W",
        "T4: Tesla T4, cap 60 W",
    ]
