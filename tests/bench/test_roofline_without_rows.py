"""GPUs no row was ever measured on: what the device model says of them is physics, or it is wrong."""

from __future__ import annotations

import pytest

from carbonsweep import facts
from carbonsweep.bench.roofline import Prediction, predict
from carbonsweep.domain import Configuration, Workload
from carbonsweep.facts.engines import engine

ENGINES = ("transformers", "vllm", "tensorrt-llm", "deepspeed-mii", "healthy")
GPUS = tuple(facts.gpus())
PROMPT, OUTPUT = 512, 129
WORKLOAD = Workload(
    name="fixed", prompts=None, prompt_tokens=(PROMPT,), token_basis="given", output_tokens=OUTPUT, seed=0
)


def said(name: str, gpu: str, model: str = "Llama-2-7B", batch_size: int = 1) -> Prediction:
    where = Configuration(gpu=gpu, model=model, engine=name, batch_size=batch_size, dtype="fp16", gpu_count=1)
    return predict([where], WORKLOAD)


def step_s(name: str, gpu: str, model: str = "Llama-2-7B", batch_size: int = 1) -> float:
    return float(said(name, gpu, model, batch_size).decode_s[0]) / (OUTPUT - 1)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("batch_size", [1, 16, 64])
def test_power_lies_between_idle_and_tdp(name: str, batch_size: int) -> None:
    for gpu in GPUS:
        row, found = facts.gpu(gpu), said(name, gpu, "TinyLlama-1.1B", batch_size)
        for power_w in (found.prefill_w[0], found.decode_w[0]):
            assert row.idle_w <= power_w <= row.tdp_w, gpu


@pytest.mark.parametrize("name", ENGINES)
def test_decoding_one_prompt_takes_what_the_weights_take_to_read_and_little_more(name: str) -> None:
    model = facts.language_model("Llama-2-7B")
    weights_bytes = 2 * (model.block_parameters + model.embedding_parameters)
    for gpu in GPUS:
        row, e = facts.gpu(gpu), engine(name, gpu)
        read_s = weights_bytes / (e.bandwidth_efficiency * row.memory_bandwidth_bytes_per_s)
        launch_s = model.layers * (e.host_s_per_layer + e.kernel_s_per_layer) + e.host_s_per_pass
        # 576 tokens of cache are 0.3 GB beside 13 GB of weights; an eager cache moves up to seven times.
        assert read_s < step_s(name, gpu) < 1.25 * read_s + launch_s, gpu


@pytest.mark.parametrize("name", ENGINES)
def test_where_the_weights_are_all_a_faster_memory_is_a_faster_decode(name: str) -> None:
    # No two of these are nearer than 10 % in bandwidth; a P100 has no tensor cores, a T4 slow ones.
    kinds = ("T4", "P100", "V100", "A100-40", "H200")
    steps = [step_s(name, gpu) for gpu in kinds]
    assert steps == sorted(steps, reverse=True)


@pytest.mark.parametrize("name", ENGINES)
def test_a_faster_peak_is_a_faster_prefill(name: str) -> None:
    kinds = ("P100", "T4", "L4", "RTX6000Ada", "H200")
    times = [float(said(name, gpu).prefill_s[0]) for gpu in kinds]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("name", "gpu", "model", "low_s", "high_s"),
    [
        # One prompt in fp16. 13.2 GB over the data sheet's bandwidth is the least; twice that would be a poor engine's.
        ("vllm", "RTX6000Ada", "Llama-2-7B", 0.016, 0.020),
        ("vllm", "L4", "Llama-2-7B", 0.050, 0.060),
        ("vllm", "H100", "Llama-2-7B", 0.0065, 0.0085),
        ("healthy", "V100", "Llama-2-7B", 0.017, 0.022),
        ("healthy", "P100", "Llama-2-7B", 0.021, 0.030),
        ("transformers", "T4", "TinyLlama-1.1B", 0.017, 0.025),
    ],
)
def test_absolute_times_are_of_the_order_people_see(
    name: str, gpu: str, model: str, low_s: float, high_s: float
) -> None:
    assert low_s < step_s(name, gpu, model) < high_s


def test_cuda_cores_take_few_rows_and_tiles_many() -> None:
    # healthy on a P100: 9.3 TFLOP/s in fp32, so half of it at many rows, and half of that again at 4 rows.
    e = engine("healthy", "P100")
    assert e.cuda_core_efficiency == 0.5
    model = facts.language_model("Llama-2-7B")
    weights = model.block_parameters + model.embedding_parameters
    flop = (2 * weights + 4 * 32 * 4096 * (PROMPT + OUTPUT / 2)) * 4
    compute_s = flop / (0.5 * 9.3e12 * 4 / (4 + 4))
    moved = 2 * weights + 4 * (PROMPT + OUTPUT / 2) * 2 * 32 * 32 * 128 * 2
    memory_s = moved / (e.bandwidth_efficiency * 732e9)
    gpu_s = (compute_s**3 + memory_s**3) ** (1 / 3) + 32 * e.kernel_s_per_layer
    host_s = 32 * e.host_s_per_layer + e.host_s_per_pass
    assert step_s("healthy", "P100", batch_size=4) == pytest.approx((gpu_s**3 + host_s**3) ** (1 / 3), rel=1e-9)
    # The paper's stack was fitted without.
    assert engine("paper", "T4").cuda_core_efficiency == 0
