"""Everything together in real time: a real model, the real NVML bindings, the stand-in driver, the whole protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.nvml import NvmlProbe
from carbonsweep.bench.power.sampling import SampledMeter
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.domain import Configuration, Energy, Measurement, TrialRecord
from carbonsweep.records import decode, encode, read
from carbonsweep.trial import trial
from tests.standin import Running, Standin, StandinGpu, Waveform, acting
from tests.standin import standin_fixture as standin_fixture

POWER_W = 200.0
GPU = StandinGpu(waveform=Waveform.constant(POWER_W), refresh_s=0.02, temperature_c=Waveform.constant(40.0))
WHERE = Configuration(model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=2, dtype="fp32", engine="transformers")
EFFORT = Effort(batches=2, repeats=2, budget_s=0, window_bound=0.05)


def run(
    smollm2_folder: Path, gpu: StandinGpu, standin: Callable[[Standin], Running], effort: Effort = EFFORT
) -> TrialRecord:
    """One trial on the processor, metered as if it were `gpu`."""
    standin(Standin(gpus=(gpu,)))
    meter = SampledMeter(probes=(NvmlProbe(uuid=gpu.uuid),), bound=effort.window_bound)
    bench = TransformersBench(weights=str(smollm2_folder), effort=effort, threads=1, meter=meter)
    return trial(bench, WHERE, built_in_workload(4, 0))


@pytest.fixture(scope="module")
def record(smollm2_folder: Path) -> TrialRecord:
    with acting(Standin(gpus=(GPU,))) as running:

        def act(standin: Standin) -> Running:
            running.load(standin)
            return running

        return run(smollm2_folder, GPU, act)


@pytest.fixture
def measurement(record: TrialRecord) -> Measurement:
    assert record.measurement is not None, record.refusal
    return record.measurement


def test_joules_of_both_phases_are_power_times_seconds_within_their_interval(measurement: Measurement) -> None:
    for phase in (measurement.prefill, measurement.decode):
        energy = phase.energy
        assert isinstance(energy, Energy)
        assert energy.low_j <= POWER_W * phase.duration_s <= energy.high_j
        counter, power = energy.estimates
        assert counter.joules == pytest.approx(POWER_W * phase.duration_s, rel=0.05)
        assert power.joules == pytest.approx(counter.joules, rel=0.05)
        assert (counter.source, power.source) == ("nvml-counter", "nvml-power-instant")


def test_idle_power_is_measured_with_the_model_loaded(measurement: Measurement) -> None:
    assert measurement.idle_w == pytest.approx(POWER_W, rel=0.05)


def test_the_evidence_holds_every_window_and_the_state_of_the_device(measurement: Measurement) -> None:
    evidence = measurement.evidence
    assert evidence is not None
    phases = [window.phase for window in evidence.windows]
    # Two repeats of one prefill window and a decode window for each of two batches, a whole run, idle.
    assert phases == ["prefill", "decode", "decode"] * 2 + ["whole", "idle"]
    assert all(window.duration_s >= 1.5 * 0.02 / 0.05 for window in evidence.windows)
    (conditions,) = evidence.conditions
    assert (conditions.device, conditions.before.temperature_c) == (GPU.uuid, 40.0)
    assert evidence.protocol.refresh_s == pytest.approx(0.02, rel=0.2)
    assert evidence.closure is not None
    assert evidence.closure.whole_j is not None


def test_the_record_can_be_kept(record: TrialRecord) -> None:
    assert decode(encode(record)) == record


def test_a_gpu_lost_on_the_way_leaves_seconds_and_says_why_there_are_no_joules(
    smollm2_folder: Path, standin: Callable[[Standin], Running]
) -> None:
    made = run(smollm2_folder, replace(GPU, lost_at_s=4.0), standin, replace(EFFORT, batches=1)).measurement
    assert made is not None
    assert made.energy_j is None
    assert made.prefill.duration_s > 0
    assert any("energy unknown" in note and "lost" in note.casefold() for note in made.notes)


def test_a_gpu_whose_counter_starts_anew_leaves_the_phase_unknown_and_never_zero(
    smollm2_folder: Path, standin: Callable[[Standin], Running]
) -> None:
    made = run(smollm2_folder, replace(GPU, reset_at_s=3.0), standin, replace(EFFORT, batches=1)).measurement
    assert made is not None
    assert all(energy is None or energy.joules > 0 for energy in made.energies)
    if made.energy_j is None:
        assert any("reset" in note or "went backwards" in note for note in made.notes)


def test_nothing_under_results_came_from_the_stand_in(record: TrialRecord) -> None:
    results = Path(__file__).parents[2] / "experiments" / "results"
    kept = [each for folder in results.glob("**/") for each in read(folder)[0]] if results.is_dir() else []
    assert not [each for each in kept if from_stand_in(each)]
    # And were one there, it would be found: here is one of a GPU that is no GPU.
    assert record.measurement is not None
    device = replace(record.measurement.device, driver=Standin().driver_version) if record.measurement.device else None
    assert from_stand_in(replace(record, measurement=replace(record.measurement, device=device)))


def from_stand_in(record: TrialRecord) -> bool:
    """Its driver version says so, by design; a CPU's record has no driver, so the whole line is searched."""
    return b"stand-in" in encode(record)
