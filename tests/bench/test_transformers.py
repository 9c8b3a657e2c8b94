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
from carbonsweep.bench import transformers as measuring
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.nvml import PresentGpu
from carbonsweep.bench.prompts import batches, built_in_workload
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.bench.weights import weights_source
from carbonsweep.domain import Configuration, Dtype, Measurement, Workload
from carbonsweep.errors import BadInput, BenchFailed, DoesNotFit, UnknownFact, Unsupported

from .conftest import METER_W, TICK_S, ClockworkMeter, TickingClock
from .test_hardware import CPU_OUT_OF_MEMORY, CUDA_OUT_OF_MEMORY

SMOL_ON_CPU = Configuration(
    model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=2, dtype="fp32", engine="transformers"
)
SHORT = built_in_workload(3, 0)
LEAST = Effort(batches=1, repeats=2, budget_s=0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def bench(smollm2_folder: Path) -> TransformersBench:
    return TransformersBench(weights=str(smollm2_folder), effort=LEAST)


# ---- measure ----


def test_measure_counts_real_and_padded_tokens_and_knows_no_energy_on_a_cpu(
    smollm2_folder: Path,
) -> None:
    measurement = TransformersBench(weights=str(smollm2_folder), effort=replace(LEAST, batches=2)).measure(
        SMOL_ON_CPU, SHORT
    )
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
    label = weights_source(str(smollm2_folder), facts.language_model("SmolLM2-135M")).label
    assert measurement.notes[0] == f"weights: {label}"
    assert len(measurement.notes) == 2
    assert measurement.notes[1].startswith("energy unknown: ")
    assert measurement.device is not None
    assert measurement.device.name.startswith("CPU, 1 thread, ")
    for phase in (measurement.prefill, measurement.decode):
        assert (phase.repeats, phase.gpu, phase.gpu_count) == (2, "CPU", 1)
        assert 0 <= phase.duration_low_s < phase.duration_s < phase.duration_high_s
        assert phase.occupied_s == phase.duration_s


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_random_weights_of_true_shape_are_measured_in_every_dtype(dtype: Dtype) -> None:
    bench = TransformersBench(weights="random", effort=LEAST)
    measurement = bench.measure(replace(SMOL_ON_CPU, dtype=dtype, batch_size=1), SHORT)
    assert measurement.notes[:2] == (
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


# ---- energy, with a meter that counts ----


@pytest.fixture
def metered(smollm2_folder: Path, clock: TickingClock, meter: ClockworkMeter) -> TransformersBench:
    return TransformersBench(weights=str(smollm2_folder), effort=LEAST, meter=meter, clock=clock, sleep=clock.sleep)


@pytest.fixture
def two_tokens() -> Workload:
    return built_in_workload(2, 0)


def test_energy_of_both_phases_follows_by_hand_from_the_meter(
    metered: TransformersBench, meter: ClockworkMeter, two_tokens: Workload
) -> None:
    measurement = metered.measure(SMOL_ON_CPU, two_tokens)
    assert meter.entered == 1
    for phase in (measurement.prefill, measurement.decode):
        # A run takes one tick between two looks, so it lasts 1 s, whatever the processor does.
        assert (phase.duration_s, phase.duration_low_s, phase.duration_high_s) == (TICK_S, TICK_S, TICK_S)
        assert phase.energy is not None
        # Begin of the window, begin and end of its one run: 2 s at 100 W, which is long enough.
        assert phase.energy.joules == pytest.approx(2 * TICK_S * METER_W)
        # No spread over the repeats, so what is left is the meter's 1 %.
        assert phase.energy.high_j == pytest.approx(1.01 * phase.energy.joules)
        assert (phase.energy.source, phase.energy.gates) == ("clockwork", ())
    assert measurement.idle_w == pytest.approx(METER_W)
    assert metered.identity(SMOL_ON_CPU).power_protocol == "given meter"


def test_a_meter_that_fails_makes_both_phases_unknown_with_the_reason_and_the_times_stay(
    metered: TransformersBench, meter: ClockworkMeter, two_tokens: Workload
) -> None:
    meter.flaw = "the energy counter stood still"
    measurement = metered.measure(SMOL_ON_CPU, two_tokens)
    assert measurement.energies == (None, None)
    assert measurement.idle_w is None
    assert measurement.prefill.duration_s == TICK_S
    reason = "energy unknown: the energy counter stood still"
    assert measurement.notes[-2:] == (f"prefill {reason}", f"decode {reason}")


def test_a_failed_check_of_a_window_marks_the_phase_and_keeps_its_energy(
    metered: TransformersBench, meter: ClockworkMeter, two_tokens: Workload
) -> None:
    meter.gates = ("gap: no reading for 3 s",)
    energy = metered.measure(SMOL_ON_CPU, two_tokens).prefill.energy
    assert energy is not None
    assert energy.gates == ("gap: no reading for 3 s",)


# ---- refusals ----


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engine": "paper"}, "runs engine 'transformers', not 'paper'"),
        ({"gpu_count": 2}, "on one device, not on 2"),
        ({"gpu": "T4", "dtype": "bf16"}, "T4 has no bf16"),
    ],
)
def test_what_this_bench_or_the_hardware_can_never_do_is_unsupported(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr(hardware, "present_gpus", tuple)
    with pytest.raises(Unsupported, match=reason):
        TransformersBench(weights="random").measure(replace(SMOL_ON_CPU, **changes), SHORT)


def test_a_gpu_that_is_away_is_a_failure_since_it_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "present_gpus", tuple)
    with pytest.raises(BenchFailed, match=r"no T4 on this machine \(GPUs here: none\)"):
        TransformersBench(weights="random").measure(replace(SMOL_ON_CPU, gpu="T4", dtype="fp16"), SHORT)


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
        patch.setattr(hardware, "total_bytes", lambda _: 2.0**40)
        patch.setattr(hardware, "elsewhere_bytes", lambda _: 0.0)
        patch.setattr(generation, "prefill", raising(error))
        with pytest.raises(DoesNotFit) as refusal:
            bench.measure(SMOL_ON_CPU, SHORT)
    assert refusal.value.needed_bytes == needed_bytes
    assert bench._loaded is None
    assert isinstance(bench.measure(SMOL_ON_CPU, SHORT), Measurement)


def test_memory_that_others_hold_when_it_runs_out_is_a_failure_and_frees_the_model(
    bench: TransformersBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.measure(SMOL_ON_CPU, SHORT)
    monkeypatch.setattr(generation, "prefill", raising(CPU_OUT_OF_MEMORY))
    monkeypatch.setattr(hardware, "elsewhere_bytes", lambda _: 2.0**34)
    with pytest.raises(BenchFailed, match=r"other processes hold 17\.2 GB$"):
        bench.measure(SMOL_ON_CPU, SHORT)
    assert bench._loaded is None


def test_a_loaded_model_need_not_fit_a_second_time(bench: TransformersBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.measure(SMOL_ON_CPU, SHORT)
    # 135 M values of 4 bytes are 538 MB: 100 MB are too few for them, and enough for a cache of a few hundred tokens.
    monkeypatch.setattr(hardware, "free_bytes", lambda _: 1e8)
    monkeypatch.setattr(hardware, "total_bytes", lambda _: 2e10)
    bench.measure(SMOL_ON_CPU, SHORT)
    bench._free()
    with pytest.raises(BenchFailed, match=r"0\.5 GB needed, 0\.1 GB free of 20\.0 GB"):
        bench.measure(SMOL_ON_CPU, SHORT)


def test_a_model_that_breaks_otherwise_fails_with_its_type(
    bench: TransformersBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "prefill", raising(IndexError("index 7\nis out of range")))
    with pytest.raises(BenchFailed, match=r"^IndexError: index 7 is out of range$"):
        bench.measure(SMOL_ON_CPU, SHORT)


def test_no_thread_is_refused() -> None:
    with pytest.raises(BadInput, match="at least 1"):
        TransformersBench(threads=0)


# ---- the seam ----


def test_the_identity_names_versions_weights_threads_and_meter() -> None:
    bench: Bench = TransformersBench(weights="random", threads=2)
    identity = bench.identity(SMOL_ON_CPU)
    assert (identity.bench, identity.basis, identity.calibration) == ("transformers", "measured", "none")
    assert identity.engine_version.startswith("transformers 5.")
    assert f"torch {torch.__version__}" in identity.engine_version
    assert (identity.weights, identity.power_protocol) == ("random, at true shape", "none")
    assert identity.device.startswith("CPU, 2 threads, ")


def showing(monkeypatch: pytest.MonkeyPatch, *present: PresentGpu) -> list[int]:
    """This process is shown these GPUs; the list grows with each look."""
    looks: list[int] = []

    def look() -> tuple[PresentGpu, ...]:
        looks.append(1)
        return present

    monkeypatch.setattr(measuring, "present_gpus", look)
    return looks


def capped_t4(power_cap_w: float) -> PresentGpu:
    return PresentGpu(index=0, product_name="Tesla T4", uuid="GPU-a", kind="T4", driver="1", power_cap_w=power_cap_w)


def test_the_identity_on_a_gpu_names_its_product_and_power_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    on_t4, identities = replace(SMOL_ON_CPU, gpu="T4"), []
    for present in ((capped_t4(70.0),), (capped_t4(60.0),), ()):
        showing(monkeypatch, *present)
        identities.append(TransformersBench(weights="random").identity(on_t4))
    assert [identity.device for identity in identities] == [
        "T4: Tesla T4, cap 70 W",
        "T4: Tesla T4, cap 60 W",
        "T4, not on this machine",
    ]
    assert {identity.power_protocol for identity in identities} == {"nvml-counter"}


def test_gpus_are_looked_for_once_and_only_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = showing(monkeypatch, capped_t4(70.0))
    bench = TransformersBench(weights="random")
    bench.identity(SMOL_ON_CPU)
    assert looks == []
    bench.identity(replace(SMOL_ON_CPU, gpu="T4"))
    bench.identity(replace(SMOL_ON_CPU, gpu="L4"))
    assert looks == [1]


def test_a_worker_knows_a_record_by_the_key_of_the_driver_whatever_gpus_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_t4 = replace(SMOL_ON_CPU, gpu="T4")
    showing(monkeypatch, capped_t4(70.0))
    bench = TransformersBench(weights="random")
    on_driver = bench.identity(on_t4)
    showing(monkeypatch)
    assert pickle.loads(pickle.dumps(bench)).identity(on_t4) == on_driver


def test_a_gpu_from_before_volta_is_metered_by_its_power(
    monkeypatch: pytest.MonkeyPatch, meter: ClockworkMeter
) -> None:
    showing(monkeypatch)
    on_p100 = replace(SMOL_ON_CPU, gpu="P100")
    assert TransformersBench(weights="random").identity(on_p100).power_protocol == "nvml-power"
    assert TransformersBench(weights="random", meter=meter).identity(on_p100).power_protocol == "given meter"


def test_more_repeats_are_the_same_quantity_and_other_batches_are_not() -> None:
    few = TransformersBench(weights="random", threads=1, effort=LEAST)
    many = TransformersBench(weights="random", threads=1, effort=Effort(batches=1, repeats=9, interval=0.01))
    assert few.identity(SMOL_ON_CPU) == many.identity(SMOL_ON_CPU)
    other = TransformersBench(weights="random", threads=1, effort=replace(LEAST, batches=5))
    assert few.identity(SMOL_ON_CPU) != other.identity(SMOL_ON_CPU)  # other prompts


def test_another_way_of_reading_power_is_another_quantity() -> None:
    sampled = TransformersBench(weights="random", threads=1, effort=Effort(power_sampling_s=0.1))
    assert sampled.identity(replace(SMOL_ON_CPU, gpu="T4")).power_protocol == "nvml-power every 0.1 s"


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


def test_a_driver_without_torch_has_an_identity_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    with_torch = TransformersBench(weights="random").identity(SMOL_ON_CPU)
    monkeypatch.setattr("importlib.metadata.version", raising(PackageNotFoundError("torch")))
    without = TransformersBench(weights="random").identity(SMOL_ON_CPU)
    assert without.engine_version == "transformers not installed, torch not installed"
    assert replace(without, engine_version=with_torch.engine_version) == with_torch


def test_gguf_weights_without_accelerate_are_bad_input_in_one_line_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("transformers.utils.is_accelerate_available", lambda: False)
    (tmp_path / "model.gguf").touch()
    with pytest.raises(BadInput, match=r"accelerate.*pip install 'carbonsweep\[measure\]'$") as refusal:
        TransformersBench(weights=str(tmp_path / "model.gguf")).measure(SMOL_ON_CPU, SHORT)
    assert "\n" not in str(refusal.value)
