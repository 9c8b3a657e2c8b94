from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from carbonsweep import facts
from carbonsweep.bench import Bench, transformers
from carbonsweep.bench.power.nvml import PresentGpu
from carbonsweep.bench.prompts import batches, built_in_workload
from carbonsweep.bench.transformers import TransformersBench, decode, interval, prefill, random_batch, text_batch
from carbonsweep.domain import Configuration, Dtype, Measurement, Workload
from carbonsweep.errors import BadInput, BenchFailed, DoesNotFit, UnknownFact, Unsupported

from .conftest import METER_W, TICK_S, ClockworkMeter, TickingClock

SMOL_ON_CPU = Configuration(
    model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=2, dtype="fp32", engine="transformers"
)
SHORT = built_in_workload(3, 0)
# Left pads differ: 5 to 33 tokens.
TEXTS = [
    "The capital of France is",
    "Water boils at a temperature of one hundred degrees, and it freezes at zero degrees; the difference is",
    "Name three colours.",
    "A train leaves the station at noon. Two hours later it has gone one hundred and sixty kilometres. Its speed is",
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def smollm2(smollm2_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(smollm2_folder)


@pytest.fixture
def bench(smollm2_folder: Path) -> TransformersBench:
    return TransformersBench(weights=str(smollm2_folder), batches=1, repeats=2)


def loop_tokens(model: Any, batch: transformers.Batch, count: int) -> torch.Tensor:
    first, cache = prefill(model, batch)
    return torch.cat([first, decode(model, batch, first, cache, count - 1)], dim=1)


# `generate` warns that no end token -1 exists; that is how it is made not to stop.
NEVER_STOPPING = "ignore:.*(eos|pad)_token_id.*"


def generated_tokens(model: Any, batch: transformers.Batch, count: int) -> torch.Tensor:
    tokens: torch.Tensor = model.generate(
        batch.ids,
        attention_mask=batch.mask,
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=-1,
        pad_token_id=0,
    )
    return tokens[:, batch.ids.shape[1] :]


# ---- the loop ----


@pytest.mark.filterwarnings(NEVER_STOPPING)
def test_the_loop_chooses_the_tokens_of_generate_on_real_weights(smollm2: Any, tokenizer: Any) -> None:
    batch = text_batch(tokenizer, TEXTS, "cpu")
    assert (batch.mask[:, 0] == 0).sum() == 3
    assert torch.equal(loop_tokens(smollm2, batch, 12), generated_tokens(smollm2, batch, 12))


def test_the_loop_gives_sensible_text(smollm2: Any, tokenizer: Any) -> None:
    tokens = loop_tokens(smollm2, text_batch(tokenizer, TEXTS, "cpu"), 6)
    assert tokenizer.decode(tokens[0]).startswith(" Paris")


def test_padding_changes_no_token_in_fp32(smollm2: Any, tokenizer: Any) -> None:
    together = loop_tokens(smollm2, text_batch(tokenizer, TEXTS, "cpu"), 12)
    alone = [loop_tokens(smollm2, text_batch(tokenizer, [text], "cpu"), 12)[0] for text in TEXTS]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.filterwarnings(NEVER_STOPPING)
def test_the_loop_chooses_the_tokens_of_generate_on_a_tiny_random_model() -> None:
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
        initializer_range=0.5,  # large, so that the tokens differ from step to step
    )
    model = LlamaForCausalLM(config).eval()
    batch = random_batch([9, 3, 1], 512, seed=0, torch_device="cpu")
    tokens = loop_tokens(model, batch, 30)
    assert len(set(tokens.flatten().tolist())) > 20
    assert torch.equal(tokens, generated_tokens(model, batch, 30))


def test_positions_count_real_tokens_only_and_prefill_builds_one_row_of_logits() -> None:
    # Rotary positions are relative, so in fp32 no token would tell a wrong offset; in bf16 it shifts logits by 0.6.
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=1, vocab_size=32)).eval()
    seen: list[dict[str, Any]] = []
    model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    loop_tokens(model, random_batch([2, 5], 32, seed=0, torch_device="cpu"), 3)
    assert [call["position_ids"].tolist() for call in seen] == [
        [[0, 0, 0, 0, 1], [0, 1, 2, 3, 4]],
        [[2], [5]],
        [[3], [6]],
    ]
    assert [call["attention_mask"].sum(-1).tolist() for call in seen] == [[2, 5], [3, 6], [4, 7]]
    assert all(call["logits_to_keep"] == 1 for call in seen)


def test_a_rewound_decode_repeats_itself(smollm2: Any, tokenizer: Any) -> None:
    run = transformers._Run(smollm2, text_batch(tokenizer, TEXTS[:2], "cpu"), 3)
    run.prefill()
    longest = run.batch.ids.shape[1]
    run.decode()
    before = [layer.keys.clone() for layer in run.cache.layers]
    run.decode()
    assert run.cache.get_seq_length() == longest + 3
    assert all(torch.equal(old, layer.keys) for old, layer in zip(before, run.cache.layers, strict=True))


def test_a_batch_is_padded_on_the_left_and_counts_its_real_tokens(tokenizer: Any) -> None:
    batch = random_batch([2, 5], 100, seed=0, torch_device="cpu")
    assert batch.mask.tolist() == [[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]]
    assert batch.ids[0, :3].tolist() == [0, 0, 0]
    assert batch.tokens == 7
    texts = text_batch(tokenizer, TEXTS[:2], "cpu")
    assert texts.mask[0, 0] == 0
    assert texts.tokens == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS[:2])


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
    assert {parameter.dtype for parameter in model.parameters()} == {transformers._torch_dtype(dtype)}
    assert sum(p.numel() for p in model.parameters()) == facts.language_model("SmolLM2-135M").parameters
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_random_weights_have_finite_logits_and_the_rotary_frequencies_of_the_real_model(smollm2: Any) -> None:
    model = transformers._random_model(facts.language_model("SmolLM2-135M"), "fp32", "cpu")
    assert torch.equal(model.model.rotary_emb.inv_freq, smollm2.model.rotary_emb.inv_freq)
    with torch.inference_mode():
        assert model(random_batch([4], 49152, 0, "cpu").ids).logits.isfinite().all()


@pytest.mark.parametrize("name", sorted(facts.language_models()))
def test_every_model_of_the_fact_table_has_a_random_shape_with_its_parameter_count(name: str) -> None:
    model = facts.language_model(name)
    kind, config = transformers._random_config(model)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in kind(config).parameters()) == model.parameters


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
    monkeypatch.setattr(transformers, "present_gpus", tuple)
    with pytest.raises(Unsupported, match=reason):
        TransformersBench(weights="random").measure(replace(SMOL_ON_CPU, **changes), SHORT)


def test_an_unknown_gpu_kind_is_refused_by_name() -> None:
    with pytest.raises(UnknownFact, match="unknown GPU 'T44'"):
        TransformersBench(weights="random").measure(replace(SMOL_ON_CPU, gpu="T44"), SHORT)


def test_prompt_and_output_beyond_the_context_are_unsupported_with_both_numbers(bench: TransformersBench) -> None:
    long = Workload(name="n", prompts=None, prompt_tokens=(8190,), token_basis="given", output_tokens=3)
    with pytest.raises(Unsupported, match=r"8190 tokens and 3 output tokens exceed .* SmolLM2-135M, 8192 tokens"):
        bench.measure(replace(SMOL_ON_CPU, batch_size=1), long)


def test_weights_of_another_shape_are_refused_naming_what_differs(bench: TransformersBench) -> None:
    with pytest.raises(BenchFailed, match=r"are not Qwen2.5-0.5B: hidden 576 instead of 896, mlp 1536 instead of"):
        bench.measure(replace(SMOL_ON_CPU, model="Qwen2.5-0.5B"), SHORT)


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path, smollm2: Any, smollm2_folder: Path) -> None:
    tensors = {name: tensor for name, tensor in smollm2.state_dict().items() if "layers.7.mlp.up_proj" not in name}
    smollm2.save_pretrained(tmp_path, state_dict=tensors)
    with pytest.raises(BenchFailed, match=r"1 tensors are missing, such as model.layers.7.mlp.up_proj.weight"):
        TransformersBench(weights=str(tmp_path)).measure(SMOL_ON_CPU, SHORT)


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


CUDA_OUT_OF_MEMORY = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 14.58 GiB of which 512.00 MiB is "
    "free. Including non-PyTorch memory, this process has 13.90 GiB memory in use."
)
CPU_OUT_OF_MEMORY = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4096 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    ("error", "needed_bytes"), [(CUDA_OUT_OF_MEMORY, 2 * 2**30), (MemoryError(), None), (CPU_OUT_OF_MEMORY, 4096)]
)
def test_memory_that_runs_out_on_the_way_is_does_not_fit_and_frees_the_model(
    bench: TransformersBench, monkeypatch: pytest.MonkeyPatch, error: Exception, needed_bytes: float | None
) -> None:
    bench.measure(SMOL_ON_CPU, SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(transformers, "prefill", raising(error))
        with pytest.raises(DoesNotFit) as refusal:
            bench.measure(SMOL_ON_CPU, SHORT)
    assert refusal.value.needed_bytes == needed_bytes
    assert bench._loaded is None
    assert isinstance(bench.measure(SMOL_ON_CPU, SHORT), Measurement)


def test_the_free_bytes_of_a_cuda_message_are_read() -> None:
    shortage = transformers._shortage(CUDA_OUT_OF_MEMORY)
    assert shortage is not None
    assert (shortage.available_bytes, shortage.lacking_bytes) == (2**29, 3 * 2**29)


def test_a_model_that_breaks_otherwise_fails_with_its_type(
    bench: TransformersBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers, "prefill", raising(IndexError("index 7\nis out of range")))
    with pytest.raises(BenchFailed, match=r"^IndexError: index 7 is out of range$"):
        bench.measure(SMOL_ON_CPU, SHORT)


@pytest.mark.parametrize("counts", [{"batches": 0}, {"repeats": 1}, {"threads": 0}])
def test_counts_that_give_no_interval_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="at least 1, 2 and 1"):
        TransformersBench(**counts)  # type: ignore[arg-type]


# ---- a GPU, without one ----


def t4(index: int, uuid: str) -> PresentGpu:
    return PresentGpu(index=index, product_name="Tesla T4", uuid=uuid, kind="T4", driver="1", power_cap_w=70.0)


def test_the_cuda_device_is_found_by_uuid_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = PresentGpu(index=0, product_name="x", uuid="GPU-x", kind=None, driver="1", power_cap_w=None)
    monkeypatch.setattr(transformers, "present_gpus", lambda: (stranger, t4(1, "GPU-a"), t4(2, "GPU-b")))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=("b", "x")[index]))
    assert transformers._cuda_device("T4") == (0, t4(2, "GPU-b"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(Unsupported, match="CUDA_VISIBLE_DEVICES"):
        transformers._cuda_device("T4")


def test_a_gpu_that_torch_cannot_use_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "present_gpus", lambda: (t4(0, "GPU-a"),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unsupported, match="it finds no CUDA"):
        transformers._cuda_device("T4")


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
