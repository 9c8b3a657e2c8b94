from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from carbonsweep import facts
from carbonsweep.bench import Bench, generation, hardware
from carbonsweep.bench.prompts import batches, built_in_workload
from carbonsweep.bench.transformers import TransformersBench, interval
from carbonsweep.domain import Configuration, Dtype, Measurement, Workload
from carbonsweep.errors import BadInput, BenchFailed, DoesNotFit, UnknownFact, Unsupported

from .conftest import METER_W, TICK_S, ClockworkMeter, TickingClock
from .test_hardware import CPU_OUT_OF_MEMORY, CUDA_OUT_OF_MEMORY

SMOL_ON_CPU = Configuration(
    model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=2, dtype="fp32", engine="transformers"
)
SHORT = built_in_workload(3, 0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def bench(smollm2_folder: Path) -> TransformersBench:
    return TransformersBench(weights=str(smollm2_folder), batches=1, repeats=2)


# ---- measure ----


def test_measure_counts_real_and_padded_tokens_and_knows_no_energy_on_a_cpu(
    smollm2_folder: Path,
) -> None:
    measurement = TransformersBench(weights=str(smollm2_folder), batches=2, repeats=2).measure(SMOL_ON_CPU, SHORT)
    lengths = [[SHORT.prompt_tokens[i] for i in batch] for batch in batches(SHORT, batch_size=2, count=2)]
    # The built-in lengths are SmolLM2's own, so what the bench counted is their mean over its two batches.
    assert measurement.prefill.tokens == sum(map(sum, lengths)) / 2
    assert measurement.prefill.padded_tokens == sum(2 * max(batch) for batch in lengths) / 2
    assert (measurement.decode.tokens, measurement.decode.padded_tokens) == (4, 4)  # 2 prompts x 2 steps
    assert measurement.prefill.energy is None
    assert measurement.decode.energy is None
    assert measurement.idle_w is None
    assert measurement.peak_memory_bytes is None
    assert (measurement.bench, measurement.basis) == ("transformers", "measured")
    assert measurement.notes == (f"weights: real, folder {smollm2_folder}",)
    assert measurement.device is not None
    assert measurement.device.name.startswith("CPU, 1 thread, ")
    for phase in (measurement.prefill, measurement.decode):
        assert (phase.repeats, phase.gpu, phase.gpu_count) == (2, "CPU", 1)
        assert 0 <= phase.duration_low_s < phase.duration_s < phase.duration_high_s
        assert phase.occupied_s == phase.duration_s


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_random_weights_of_true_shape_are_measured_in_every_dtype(dtype: Dtype) -> None:
    bench = TransformersBench(weights="random", batches=1, repeats=2)
    measurement = bench.measure(replace(SMOL_ON_CPU, dtype=dtype, batch_size=1), SHORT)
    assert measurement.notes == (
        "weights: random, at true shape",
        "prompts are seeded random token ids of the workload's lengths",
    )
    assert bench._loaded is not None
    model = bench._loaded.model
    assert {parameter.dtype for parameter in model.parameters()} == {hardware.torch_dtype(dtype)}
    assert sum(p.numel() for p in model.parameters()) == facts.language_model("SmolLM2-135M").parameters
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_model_is_loaded_once_and_freed_before_another_comes(bench: TransformersBench) -> None:
    bench.measure(SMOL_ON_CPU, SHORT)
    first = bench._loaded
    bench.measure(replace(SMOL_ON_CPU, batch_size=1), SHORT)
    assert bench._loaded is first
    bench.measure(replace(SMOL_ON_CPU, dtype="bf16"), SHORT)
    assert bench._loaded is not first


def test_lengths_without_texts_are_measured_on_random_ids_and_say_so(bench: TransformersBench) -> None:
    lengths = Workload(name="n", prompts=None, prompt_tokens=(4, 8), token_basis="given", output_tokens=2)
    measurement = bench.measure(SMOL_ON_CPU, lengths)
    assert (measurement.prefill.tokens, measurement.prefill.padded_tokens) == (12, 16)
    assert any("random token ids" in note for note in measurement.notes)


def test_the_interval_is_student_t() -> None:
    # t(0.975, 2) = 4.30265; mean 2, s = 1, so the half-width is 4.30265 / sqrt(3) = 2.48414, cut at 0.
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, low) == (2.0, 0.0)
    assert high == pytest.approx(4.48414, abs=1e-5)


# ---- energy, with a meter that counts ----


@pytest.fixture
def metered(smollm2_folder: Path, clock: TickingClock, meter: ClockworkMeter) -> TransformersBench:
    return TransformersBench(weights=str(smollm2_folder), batches=1, repeats=2, meter=meter, clock=clock)


@pytest.fixture
def two_tokens() -> Workload:
    return built_in_workload(2, 0)


def test_energy_of_both_phases_follows_by_hand_from_the_meter(metered: TransformersBench, two_tokens: Workload) -> None:
    measurement = metered.measure(SMOL_ON_CPU, two_tokens)
    for phase in (measurement.prefill, measurement.decode):
        # A window is 2 ticks of 1 s, one run each, metered over 3 ticks: 3 x 100 J / 2.
        assert (phase.duration_s, phase.duration_low_s, phase.duration_high_s) == (TICK_S, TICK_S, TICK_S)
        assert phase.energy is not None
        assert phase.energy.joules == pytest.approx(3 * TICK_S * METER_W / 2)
        # Bound of a window: 2 x 0.1 s x (300 J / 2 s) = 30 J, of a run half of it.
        assert phase.energy.high_j - phase.energy.joules == pytest.approx(15.0)
        assert (phase.energy.source, phase.energy.gates) == ("clockwork", ())
    assert metered.identity(SMOL_ON_CPU).power_protocol == "clockwork"


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([500.0, 3.0], "prefill energy unknown: the energy counter went backwards: it was reset inside a window"),
        ([500.0, 500.0], "prefill energy unknown: the energy counter did not advance inside a window"),
        ([None], "prefill energy unknown: the meter is away"),
    ],
)
def test_a_broken_counter_makes_one_phase_unknown_and_the_times_stay(
    metered: TransformersBench,
    meter: ClockworkMeter,
    two_tokens: Workload,
    readings: list[float | None],
    reason: str,
) -> None:
    meter.readings = readings
    measurement = metered.measure(SMOL_ON_CPU, two_tokens)
    assert measurement.prefill.energy is None
    assert measurement.energy_j is None
    assert measurement.decode.energy is not None
    assert measurement.prefill.duration_s == TICK_S
    assert reason in measurement.notes


# ---- refusals ----


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engine": "paper"}, "runs engine 'transformers', not 'paper'"),
        ({"gpu_count": 2}, "on one device, not on 2"),
        ({"gpu": "T4", "dtype": "bf16"}, "T4 has no bf16"),
        ({"gpu": "T4", "dtype": "fp16"}, r"no T4 on this machine \(GPUs here: none\)"),
    ],
)
def test_what_this_machine_cannot_do_is_unsupported(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr(hardware, "present_gpus", tuple)
    with pytest.raises(Unsupported, match=reason):
        TransformersBench(weights="random").measure(replace(SMOL_ON_CPU, **changes), SHORT)


def test_an_unknown_gpu_kind_is_refused_by_name() -> None:
    with pytest.raises(UnknownFact, match="unknown GPU 'T44'"):
        TransformersBench(weights="random").measure(replace(SMOL_ON_CPU, gpu="T44"), SHORT)


def test_prompt_and_output_beyond_the_context_are_unsupported_with_both_numbers(bench: TransformersBench) -> None:
    long = Workload(name="n", prompts=None, prompt_tokens=(8190,), token_basis="given", output_tokens=3)
    with pytest.raises(Unsupported, match=r"8190 tokens and 3 output tokens exceed .* SmolLM2-135M, 8192 tokens"):
        bench.measure(replace(SMOL_ON_CPU, batch_size=1), long)


def test_damaged_weights_fail_with_type_and_message_in_one_line(tmp_path: Path, smollm2_folder: Path) -> None:
    (tmp_path / "config.json").write_bytes((smollm2_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(BenchFailed, match=r"^SafetensorError: \S") as failure:
        TransformersBench(weights=str(tmp_path)).measure(SMOL_ON_CPU, SHORT)
    assert "\n" not in str(failure.value)
    assert failure.value.__cause__ is not None


def test_a_batch_whose_cache_exceeds_the_memory_does_not_fit_and_is_not_tried() -> None:
    bench = TransformersBench(weights="random")
    with pytest.raises(DoesNotFit) as refusal:
        bench.measure(replace(SMOL_ON_CPU, batch_size=10**9), SHORT)
    assert refusal.value.lacking_bytes is not None
    assert refusal.value.lacking_bytes > 0
    assert bench._loaded is None


def raising(error: Exception) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "needed_bytes"), [(CUDA_OUT_OF_MEMORY, 2 * 2**30), (MemoryError(), None), (CPU_OUT_OF_MEMORY, 4096)]
)
def test_memory_that_runs_out_on_the_way_is_does_not_fit_and_frees_the_model(
    bench: TransformersBench, monkeypatch: pytest.MonkeyPatch, error: Exception, needed_bytes: float | None
) -> None:
    bench.measure(SMOL_ON_CPU, SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(generation, "prefill", raising(error))
        with pytest.raises(DoesNotFit) as refusal:
            bench.measure(SMOL_ON_CPU, SHORT)
    assert refusal.value.needed_bytes == needed_bytes
    assert bench._loaded is None
    assert isinstance(bench.measure(SMOL_ON_CPU, SHORT), Measurement)


def test_a_model_that_breaks_otherwise_fails_with_its_type(
    bench: TransformersBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "prefill", raising(IndexError("index 7\nis out of range")))
    with pytest.raises(BenchFailed, match=r"^IndexError: index 7 is out of range$"):
        bench.measure(SMOL_ON_CPU, SHORT)


@pytest.mark.parametrize("counts", [{"batches": 0}, {"repeats": 1}, {"threads": 0}])
def test_counts_that_give_no_interval_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="at least 1, 2 and 1"):
        TransformersBench(**counts)  # type: ignore[arg-type]


# ---- the seam ----


def test_the_identity_names_versions_weights_threads_and_meter() -> None:
    bench: Bench = TransformersBench(weights="random", threads=2)
    identity = bench.identity(SMOL_ON_CPU)
    assert (identity.bench, identity.basis, identity.calibration) == ("transformers", "measured", "none")
    assert identity.engine_version.startswith("transformers 5.")
    assert f"torch {torch.__version__}" in identity.engine_version
    assert (identity.weights, identity.power_protocol) == ("random, at true shape", "none")
    assert identity.device.startswith("CPU, 2 threads, ")
    on_gpu = bench.identity(replace(SMOL_ON_CPU, gpu="T4"))
    assert (on_gpu.device, on_gpu.power_protocol) == ("T4", "nvml-counter")


def test_more_batches_and_repeats_are_the_same_quantity() -> None:
    few = TransformersBench(weights="random", threads=1, batches=1, repeats=2)
    many = TransformersBench(weights="random", threads=1, batches=5, repeats=9)
    assert few.identity(SMOL_ON_CPU) == many.identity(SMOL_ON_CPU)


def test_threads_are_fixed_where_the_bench_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    bench = TransformersBench(weights="random")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert pickle.loads(pickle.dumps(bench)).cpu_threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert TransformersBench().cpu_threads >= 1


def test_a_bench_travels_without_its_model(bench: TransformersBench) -> None:
    assert pickle.loads(pickle.dumps(bench)) == bench
    bench.measure(SMOL_ON_CPU, SHORT)
    there = pickle.loads(pickle.dumps(bench))
    assert there._loaded is None
    assert there.identity(SMOL_ON_CPU) == bench.identity(SMOL_ON_CPU)


def test_making_asking_and_sending_a_bench_imports_nothing_heavy() -> None:
    program = (
        "import pickle, sys\n"
        "from carbonsweep.bench.transformers import TransformersBench\n"
        "from carbonsweep.domain import Configuration\n"
        "c = Configuration(model='SmolLM2-135M', gpu='CPU', gpu_count=1, batch_size=1, dtype='fp32', engine='x')\n"
        "pickle.loads(pickle.dumps(TransformersBench())).identity(c)\n"
        "sys.exit(bool({'torch', 'transformers', 'scipy', 'pynvml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_missing_torch_is_bad_input_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BadInput, match=r"pip install 'carbonsweep\[measure\]'"):
        TransformersBench(weights="random").measure(SMOL_ON_CPU, SHORT)


def test_an_identity_without_torch_is_bad_input_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    monkeypatch.setattr("importlib.metadata.version", raising(PackageNotFoundError("torch")))
    with pytest.raises(BadInput, match=r"pip install 'carbonsweep\[measure\]'"):
        TransformersBench(weights="random").identity(SMOL_ON_CPU)


def test_gguf_weights_without_accelerate_are_bad_input_in_one_line_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("transformers.utils.is_accelerate_available", lambda: False)
    (tmp_path / "model.gguf").touch()
    with pytest.raises(BadInput, match=r"accelerate.*pip install 'carbonsweep\[measure\]'$") as refusal:
        TransformersBench(weights=str(tmp_path / "model.gguf")).measure(SMOL_ON_CPU, SHORT)
    assert "\n" not in str(refusal.value)
