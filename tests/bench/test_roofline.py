"""The device model: by hand, by its physics, and in the order of the paper's findings."""

from __future__ import annotations

import functools
import itertools
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import facts
from carbonsweep.bench.points import listed, product
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.roofline import Prediction, RooflineBench, predict
from carbonsweep.bench.roofline_time import smooth_maximum
from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.domain import Configuration, Footprint, Measurement, Scenario, Workload
from carbonsweep.errors import DoesNotFit, UnknownFact, Unsupported
from carbonsweep.facts.engines import engine, engine_names
from carbonsweep.units import S_PER_YEAR

BENCH = RooflineBench()
BATCHES = (1, 2, 4, 8, 16, 32, 64)
PAPER_MODELS = {"1B": "TinyLlama-1.1B", "3B": "OpenLLaMA-3B", "7B": "LLaMA-7B"}


def point(**changes: Any) -> Configuration:
    start: dict[str, Any] = {
        "model": "TinyLlama-1.1B",
        "gpu": "T4",
        "gpu_count": 1,
        "batch_size": 1,
        "dtype": "fp16",
        "engine": "paper",
    }
    return Configuration(**{**start, **changes})


def fixed(prompt_tokens: int, output_tokens: int = 150) -> Workload:
    return Workload(
        name="fixed", prompts=None, prompt_tokens=(prompt_tokens,), token_basis="given", output_tokens=output_tokens
    )


SPREAD = Workload(name="spread", prompts=None, prompt_tokens=(5, 9, 20, 70), token_basis="given", output_tokens=150)

points = st.builds(
    Configuration,
    model=st.sampled_from(sorted(facts.language_models())),
    gpu=st.sampled_from(sorted(facts.gpus())),
    gpu_count=st.sampled_from([1, 2, 4, 8]),
    batch_size=st.integers(1, 128),
    dtype=st.sampled_from(["fp16", "bf16", "fp32"]),
    engine=st.sampled_from(engine_names()),
)


# ---- by hand ----


def test_one_decode_step_by_hand() -> None:
    # TinyLlama-1.1B: 22 layers, hidden 2048, 32 heads and 4 key-value heads of 64, MLP 5632, vocabulary 32,000.
    # Batch 4 on a T4 (65 TFLOP/s, 320 GB/s) in fp16, prompts of 100 tokens, 150 output tokens.
    e = engine("paper", "T4")
    attention = 2048 * 2048 * 2 + 2048 * 256 * 2  # queries and output; keys and values
    blocks = 22 * (attention + 3 * 2048 * 5632 + 2 * 2048) + 2048  # two norms a layer, one at the end
    head = 32_000 * 2048
    context = 100 + 150 / 2
    flop = 2 * (blocks + head) * 4 + 4 * 22 * 2048 * 4 * context
    kv_bytes_per_token = 2 * 22 * 4 * 64 * 2
    traffic = 2 * (blocks + head) + 4 * context * kv_bytes_per_token
    compute_s = flop / (65e12 * e.compute_efficiency * 4 / (4 + e.compute_half_rows))
    memory_s = traffic / (320e9 * e.bandwidth_efficiency)
    gpu_s = (compute_s**3 + memory_s**3) ** (1 / 3)
    host_s = 22 * e.host_s_per_layer + e.host_s_per_pass
    # The T4 is the GPU the time per sequence refers to: its power law is 1. The host's pass holds the first one's time:
    # as much as both have, smoothly.
    assert e.free_sequences == 1
    sequence_s = 22 * e.sequence_s_per_layer
    host_s -= (sequence_s**-3 + host_s**-3) ** (-1 / 3)
    step_s = (host_s**3 + gpu_s**3) ** (1 / 3) + 4 * sequence_s

    made = BENCH.measure(point(batch_size=4), fixed(100))
    assert made.tpot_s == pytest.approx(step_s, rel=1e-12)
    assert made.decode.duration_s == pytest.approx(149 * step_s, rel=1e-12)


def test_one_prefill_by_hand() -> None:
    # The same model and GPU, 4 prompts of 100 tokens; embeddings are looked up, the head works once a sequence.
    e = engine("paper", "T4")
    blocks = 22 * (2048 * 2048 * 2 + 2048 * 256 * 2 + 3 * 2048 * 5632 + 2 * 2048) + 2048
    head = 32_000 * 2048
    flop = 2 * blocks * 400 + 2 * head * 4 + e.attention_flop_factor * 22 * 2048 * 400 * 100
    traffic = 2 * (blocks + head) + 400 * (2 * 22 * 4 * 64 * 2)
    compute_s = flop / (65e12 * e.compute_efficiency * 400 / (400 + e.compute_half_rows))
    memory_s = traffic / (320e9 * e.bandwidth_efficiency)
    host_s = 22 * e.host_s_per_layer + e.host_s_per_pass
    prefill_s = (host_s**3 + compute_s**3 * (1 + (memory_s / compute_s) ** 3)) ** (1 / 3)
    assert BENCH.measure(point(batch_size=4), fixed(100)).ttft_s == pytest.approx(prefill_s, rel=1e-12)


def test_a_prompt_set_is_padded_to_its_expected_longest() -> None:
    made = BENCH.measure(point(batch_size=2), SPREAD)
    # Mean of 5, 9, 20, 70 is 26. Of 16 pairs, 1, 3, 5 and 7 have these maxima: (5 + 27 + 100 + 490) / 16 = 38.875.
    assert made.prefill.tokens == pytest.approx(2 * 26)
    assert made.prefill.padded_tokens == pytest.approx(2 * 38.875)


def test_what_does_not_fit_lacks_the_bytes_of_hand_arithmetic() -> None:
    # LLaMA-7B has 6,738,415,616 parameters, 32 layers, hidden 4096, 32 key-value heads of 128.
    e = engine("paper", "T4")
    weights = 6_738_415_616 * 2
    cache = 32 * (100 + 150) * (2 * 32 * 32 * 128 * 2)  # 524,288 bytes a token
    activations = 32 * 100 * 4096 * e.activation_bytes_per_row_and_hidden
    needed = weights + cache + activations + e.memory_reserve_bytes
    available = 15_360 * 2**20 * e.memory_share
    with pytest.raises(DoesNotFit) as refused:
        BENCH.measure(point(model="LLaMA-7B", batch_size=32), fixed(100))
    assert refused.value.needed_bytes == pytest.approx(needed)
    assert refused.value.available_bytes == pytest.approx(available)
    assert refused.value.lacking_bytes == pytest.approx(needed - available)
    assert needed > available


def test_two_gpus_hold_half_the_weights_and_half_the_cache_each() -> None:
    e = engine("paper", "T4")
    one, two = predict([point(model="LLaMA-7B", batch_size=32, gpu_count=n) for n in (1, 2)], fixed(100)).needed_bytes
    each_has = e.memory_reserve_bytes + 32 * 100 * 4096 * e.activation_bytes_per_row_and_hidden
    assert two - each_has == pytest.approx((one - each_has) / 2)
    with pytest.raises(DoesNotFit):
        BENCH.measure(point(model="LLaMA-7B", batch_size=32), fixed(100))
    assert BENCH.measure(point(model="LLaMA-7B", batch_size=32, gpu_count=2), fixed(100)).decode.gpu_count == 2


def test_eight_gpus_share_four_key_value_heads_by_repeating_each() -> None:
    # TinyLlama-1.1B on 8 T4: an eighth of 32 heads and of the weights each, but 4 key-value heads make only 4 shares.
    e = engine("paper", "T4")
    blocks = 22 * (2048 * 2048 * 2 + 2048 * 256 * 2 + 3 * 2048 * 5632 + 2 * 2048) + 2048
    head = 32_000 * 2048
    kv_bytes_per_token = 2 * 22 * 4 * 64 * 2 / 4
    predicted = predict([point(batch_size=4, gpu_count=8)], fixed(100))

    weights = 2 * (blocks + 2 * head) / 8  # untied: embedding and head
    cache = 4 * (100 + 150) * kv_bytes_per_token
    activations = 4 * 100 * 2048 * e.activation_bytes_per_row_and_hidden
    needed = weights + cache + activations + e.memory_reserve_bytes
    assert predicted.needed_bytes[0] == pytest.approx(needed, rel=1e-12)

    context = 100 + 150 / 2
    flop = (2 * (blocks + head) * 4 + 4 * 22 * 2048 * 4 * context) / 8
    traffic = 2 * (blocks + head) / 8 + 4 * context * kv_bytes_per_token
    compute_s = flop / (65e12 * e.compute_efficiency * 4 / (4 + e.compute_half_rows))
    memory_s = traffic / (320e9 * e.bandwidth_efficiency)
    gpu_s = (compute_s**3 + memory_s**3) ** (1 / 3)
    host_s = 22 * e.host_s_per_layer + e.host_s_per_pass
    # Two all-reduces a layer, 7 steps to reduce and 7 to gather, each an eighth of 4 rows over PCIe 3 x16.
    ring_s = 14 * (e.link_latency_s + 4 * 2048 * 2 / 8 / 15.75e9)
    sequence_s = 22 * e.sequence_s_per_layer
    host_s -= (sequence_s**-3 + host_s**-3) ** (-1 / 3)
    step_s = (host_s**3 + gpu_s**3) ** (1 / 3) + 4 * sequence_s + 22 * 2 * ring_s
    assert predicted.decode_s[0] == pytest.approx(149 * step_s, rel=1e-12)


@pytest.mark.parametrize("gpu_count", [2, 4, 8])
def test_an_all_reduce_waits_for_its_link_twice_per_further_gpu(
    gpu_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a millisecond more of latency costs: 2 (n - 1) of it in each of 2 all-reduces of each of 22 layers.
    row = engine("paper", "T4")
    slower_link = replace(row, link_latency_s=row.link_latency_s + 1e-3)
    before = predict([point(gpu_count=gpu_count)], fixed(100))
    monkeypatch.setattr("carbonsweep.bench.roofline_inputs.engine", lambda name, gpu: slower_link)
    after = predict([point(gpu_count=gpu_count)], fixed(100))
    added_s = 22 * 2 * 2 * (gpu_count - 1) * 1e-3
    assert after.prefill_s[0] - before.prefill_s[0] == pytest.approx(added_s)
    assert after.decode_s[0] - before.decode_s[0] == pytest.approx(149 * added_s)


# ---- as a bench ----


@given(points)
def test_a_prediction_is_a_measurement_a_refusal_and_nothing_between(where: Configuration) -> None:
    predicted = predict([where], SPREAD)
    if where.dtype not in facts.gpu(where.gpu).peak_flop_per_s:
        assert not predicted.supported[0]
        with pytest.raises(Unsupported, match=where.dtype):
            BENCH.measure(where, SPREAD)
    elif facts.language_model(where.model).heads % where.gpu_count:
        assert not predicted.supported[0]
        with pytest.raises(Unsupported, match="heads"):
            BENCH.measure(where, SPREAD)
    elif predicted.needed_bytes[0] > predicted.available_bytes[0] + engine(where.engine, where.gpu).spill_limit_bytes:
        assert not predicted.fits[0]
        with pytest.raises(DoesNotFit):
            BENCH.measure(where, SPREAD)
    else:
        made = BENCH.measure(where, SPREAD)
        assert (made.basis, made.bench, made.error_source != "") == ("modelled", "roofline", True)


@given(points)
def test_energy_is_power_times_time_between_idle_and_tdp(where: Configuration) -> None:
    predicted = predict([where], SPREAD)
    if not (predicted.supported[0] and predicted.fits[0]):
        return
    made = BENCH.measure(where, SPREAD)
    gpu = facts.gpu(where.gpu)
    for phase, power_w in ((made.prefill, predicted.prefill_w[0]), (made.decode, predicted.decode_w[0])):
        assert phase.energy is not None
        assert phase.energy.joules == pytest.approx(power_w * phase.duration_s)
        assert gpu.idle_w <= power_w / where.gpu_count * (1 + 1e-9)
        assert power_w / where.gpu_count <= gpu.tdp_w * (1 + 1e-9)
    assert made.idle_w == gpu.idle_w * where.gpu_count


@given(st.lists(points, min_size=1, max_size=12))
def test_many_at_once_are_predicted_as_one_by_one(several: list[Configuration]) -> None:
    together = predict(several, SPREAD)
    for i, where in enumerate(several):
        alone = predict([where], SPREAD)
        for field in fields(Prediction):
            np.testing.assert_allclose(
                getattr(together, field.name)[i], getattr(alone, field.name)[0], rtol=1e-12, err_msg=field.name
            )


@pytest.mark.parametrize("gpu", ["T4", "V100", "P100"])
def test_bf16_is_unsupported_where_the_hardware_has_none(gpu: str) -> None:
    with pytest.raises(Unsupported, match=f"{gpu} has no bf16"):
        BENCH.measure(point(gpu=gpu, dtype="bf16"), SPREAD)
    assert BENCH.measure(point(gpu="RTX6000Ada", dtype="bf16"), SPREAD).ttft_s > 0


def test_a_context_that_the_model_does_not_have_is_unsupported() -> None:
    # TinyLlama-1.1B: 2,048 tokens. 1,898 + 150 just fill them.
    assert BENCH.measure(point(), fixed(1898)).ttft_s > 0
    for workload, said in (
        (fixed(1899), "a prompt of 1899 tokens and 150 output tokens"),
        (fixed(100, 100_000), "a prompt of 100 tokens and 100000 output tokens"),
    ):
        assert not predict([point()], workload).supported[0]
        with pytest.raises(Unsupported) as refused:
            BENCH.measure(point(), workload)
        assert str(refused.value) == f"{said} exceed the context of TinyLlama-1.1B, 2048 tokens"


def test_the_longest_prompt_decides_about_the_context_and_not_the_expected_one() -> None:
    # Batches of 1 are padded to (5 + 1,899) / 2 = 952 tokens on average, but the longer prompt needs 1,899 + 150.
    uneven = replace(fixed(5), prompt_tokens=(5, 1899))
    with pytest.raises(Unsupported, match="a prompt of 1899 tokens"):
        BENCH.measure(point(), uneven)
    # Llama-3.1-8B has 131,072 tokens: the same workload, in the same call, is another model's.
    assert predict([point(), point(model="Llama-3.1-8B")], uneven).supported.tolist() == [False, True]


@pytest.mark.parametrize(
    ("model", "heads", "gpu_count"), [("Qwen2.5-0.5B", 14, 1000), ("Qwen2.5-0.5B", 14, 4), ("TinyLlama-1.1B", 32, 3)]
)
def test_gpus_that_cannot_share_the_heads_evenly_are_unsupported(model: str, heads: int, gpu_count: int) -> None:
    with pytest.raises(Unsupported) as refused:
        BENCH.measure(point(model=model, gpu_count=gpu_count), SPREAD)
    assert str(refused.value) == f"{model} has {heads} attention heads, which {gpu_count} GPUs cannot share evenly"


def test_a_cpu_is_measured_and_never_modelled() -> None:
    for name in ("CPU", "cpu"):
        with pytest.raises(Unsupported, match="--bench transformers"):
            BENCH.measure(point(gpu=name), SPREAD)


@pytest.mark.parametrize("changes", [{"gpu": "T5"}, {"model": "LLaMA-8B"}, {"engine": "papers"}])
def test_unknown_names_are_answered_with_the_closest(changes: dict[str, str]) -> None:
    with pytest.raises(UnknownFact, match="did you mean"):
        BENCH.measure(point(**changes), SPREAD)


def test_the_identity_moves_with_engine_and_gpu_and_not_with_the_batch() -> None:
    assert BENCH.identity(point(batch_size=8)) == BENCH.identity(point())
    assert BENCH.identity(point(engine="healthy")) != BENCH.identity(point())
    assert BENCH.identity(point(gpu="L4")) != BENCH.identity(point())
    assert BENCH.identity(point()).basis == "modelled"


def test_points_know_their_configurations_and_where_each_is() -> None:
    searched = [point(batch_size=b, gpu=gpu) for gpu in ("T4", "L4") for b in (1, 8)]
    axes = product(
        models=("TinyLlama-1.1B",),
        gpus=("T4", "L4"),
        gpu_counts=(1,),
        batch_sizes=(1, 8),
        dtypes=("fp16",),
        engines=("paper",),
    )
    for places in (axes, listed(searched)):
        assert [places.configuration(i) for i in range(len(places))] == searched
        assert [places.index(each) for each in searched] == [0, 1, 2, 3]
    first_of_each_gpu = listed([searched[0], searched[3]])
    assert [first_of_each_gpu.index(each) for each in (searched[0], searched[3])] == [0, 1]
    with pytest.raises(ValueError, match="none of the 2 points"):
        first_of_each_gpu.index(searched[1])


# ---- physics ----


@given(points)
def test_a_larger_batch_takes_longer_and_serves_more(where: Configuration) -> None:
    larger = replace(where, batch_size=2 * where.batch_size)
    made = predict([where, larger], SPREAD)
    if not made.supported.all():
        return
    assert made.prefill_s[0] < made.prefill_s[1]
    assert made.decode_s[0] < made.decode_s[1]
    assert made.needed_bytes[0] < made.needed_bytes[1]
    # What lies in host memory is fetched in every pass: a batch that begins to spill, or spills more, may serve fewer.
    lacking = made.needed_bytes - made.available_bytes
    if lacking[1] <= 0 or engine(where.engine, where.gpu).spill_limit_bytes == 0:
        assert made.decode_tokens[0] / made.decode_s[0] < made.decode_tokens[1] / made.decode_s[1]


# From 8 tokens on: below, the head, priced at the efficiency of all rows though it has one a sequence, gains a permille
# from rows that are not its own.
@given(points, st.integers(8, 500), st.integers(2, 500))
def test_longer_prompts_and_outputs_take_longer(where: Configuration, prompt: int, output: int) -> None:
    made = predict([where], fixed(prompt, output))
    if not made.supported[0]:
        return
    longer_prompt, longer_output = (
        predict([where], fixed(2 * prompt, output)),
        predict([where], fixed(prompt, output + 9)),
    )
    assert made.prefill_s[0] < longer_prompt.prefill_s[0]
    assert made.decode_s[0] <= longer_prompt.decode_s[0]
    assert made.prefill_s[0] == longer_output.prefill_s[0]
    assert made.decode_s[0] < longer_output.decode_s[0]


@pytest.mark.parametrize("name", engine_names())
@pytest.mark.parametrize(("slower", "faster"), [("T4", "L4"), ("L4", "L40S"), ("A100-40", "H100"), ("P100", "V100")])
def test_a_gpu_that_is_better_in_everything_is_faster(name: str, slower: str, faster: str) -> None:
    less, more = facts.gpu(slower), facts.gpu(faster)
    assert less.peak_flop_per_s["fp16"] < more.peak_flop_per_s["fp16"]
    bandwidth_grows = less.memory_bandwidth_bytes_per_s < more.memory_bandwidth_bytes_per_s
    assert bandwidth_grows or slower == "T4"  # L4: 300 GB/s against 320
    made = predict([point(gpu=gpu, engine=name, batch_size=64) for gpu in (slower, faster)], SPREAD)
    assert made.prefill_s[1] < made.prefill_s[0]
    if bandwidth_grows:
        assert made.decode_s[1] < made.decode_s[0]


def test_tensor_parallelism_divides_work_and_pays_for_its_link() -> None:
    one, four = (
        predict([point(model="LLaMA-7B", gpu="A100-80", engine="healthy", gpu_count=n, batch_size=32)], fixed(512))
        for n in (1, 4)
    )
    assert one.prefill_s[0] / 4 < four.prefill_s[0] < one.prefill_s[0]
    assert one.decode_s[0] / 4 < four.decode_s[0] < one.decode_s[0]
    assert four.prefill_w[0] > one.prefill_w[0]


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_the_smooth_maximum_is_above_both_and_at_most_a_quarter_above_the_larger(a: float, b: float) -> None:
    made = float(smooth_maximum(np.array([a]), np.array([b]))[0])
    # Equal arguments: 2^(1/3) = 1.26.
    assert max(a, b) <= made * (1 + 1e-12)
    assert made <= 1.26 * max(a, b)
    assert made == pytest.approx(float(smooth_maximum(np.array([b]), np.array([a]))[0]))


# ---- the orders of the paper (experiments of HotCarbon'24, engine "paper", built-in prompts) ----


@functools.cache
def modelled(size: str, gpu: str, batch_size: int) -> Measurement | None:
    where = point(model=PAPER_MODELS[size], gpu=gpu, batch_size=batch_size)
    try:
        return BENCH.measure(where, built_in_workload(150, 0))
    except DoesNotFit:
        return None


def both(size: str, batch_size: int) -> tuple[Measurement, Measurement]:
    t4, ada = modelled(size, "T4", batch_size), modelled(size, "RTX6000Ada", batch_size)
    assert t4 is not None
    assert ada is not None
    return t4, ada


def joules(made: Measurement) -> float:
    assert made.energy_j is not None
    return made.energy_j


def energy_per_token_j(made: Measurement, phase: str) -> float:
    joules_per_token: float | None = getattr(made, phase).energy_per_token_j
    assert joules_per_token is not None
    return joules_per_token


def grams(made: Measurement, region: str) -> Footprint:
    scenario = Scenario(
        intensity=carbon_intensity(region, "lifecycle"),
        lifetime_s=5 * S_PER_YEAR,
        embodied="paper",
        functional_unit="prompt",
    )
    return footprint(made, scenario)


FITTING = [(s, b) for s in PAPER_MODELS for b in BATCHES if modelled(s, "T4", b) is not None]


def test_c03_the_t4_runs_out_of_memory_for_large_model_times_batch_and_the_ada_does_not() -> None:
    # 7B in fp16 leaves a T4 2.6 GB; C02 has it running at batch 4, where its lag is largest: so not beyond.
    assert [(s, b) for s in PAPER_MODELS for b in BATCHES if (s, b) not in FITTING] == [("7B", b) for b in BATCHES[3:]]
    assert all(modelled(s, "RTX6000Ada", b) is not None for s in PAPER_MODELS for b in BATCHES)


@pytest.mark.parametrize(("size", "batch_size"), FITTING)
def test_c03_and_t1_the_ada_has_the_lower_latency_everywhere(size: str, batch_size: int) -> None:
    t4, ada = both(size, batch_size)
    assert ada.prompt_latency_s < t4.prompt_latency_s


@pytest.mark.parametrize("batch_size", BATCHES)
def test_c09_the_ada_prefills_1b_faster_and_with_fewer_joules_at_every_batch(batch_size: int) -> None:
    t4, ada = both("1B", batch_size)
    assert ada.prefill.throughput > t4.prefill.throughput
    assert energy_per_token_j(ada, "prefill") < energy_per_token_j(t4, "prefill")


@pytest.mark.parametrize("gpu", ["T4", "RTX6000Ada"])
def test_c13_decoding_1b_gets_faster_and_thriftier_with_every_larger_batch(gpu: str) -> None:
    made = [each for b in BATCHES if (each := modelled("1B", gpu, b)) is not None]
    for smaller, larger in itertools.pairwise(made):
        assert larger.decode.throughput > smaller.decode.throughput
        assert energy_per_token_j(larger, "decode") < energy_per_token_j(smaller, "decode")


@pytest.mark.parametrize(("gpu", "fastest", "thriftiest"), [("T4", 8, 8), ("RTX6000Ada", 32, 16)])
def test_c07_and_c08_prefill_peaks_where_padding_overtakes_the_gpu(gpu: str, fastest: int, thriftiest: int) -> None:
    made = [each for b in BATCHES if (each := modelled("1B", gpu, b)) is not None]
    assert max(made, key=lambda each: each.prefill.throughput).batch_size == fastest
    assert min(made, key=lambda each: energy_per_token_j(each, "prefill")).batch_size == thriftiest


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("dirtier", ["CISO", "PACE"])
def test_c15_a_t4_in_quebec_runs_on_fewer_grams_than_an_ada_on_a_dirtier_grid(batch_size: int, dirtier: str) -> None:
    t4, ada = both("1B", batch_size)
    assert grams(t4, "QC").operational_g < grams(ada, dirtier).operational_g


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("region", ["QC", "CISO", "PACE"])
def test_c15_within_a_region_the_ada_runs_on_fewer_grams_except_at_batch_1(batch_size: int, region: str) -> None:
    t4, ada = both("1B", batch_size)
    assert (grams(ada, region).operational_g < grams(t4, region).operational_g) == (batch_size > 1)


@pytest.mark.parametrize("size", PAPER_MODELS)
def test_t1_the_t4_saves_energy_at_batch_1_and_the_ada_at_larger_ones(size: str) -> None:
    t4, ada = both(size, 1)
    assert joules(t4) < joules(ada)
    for batch_size in BATCHES[1:]:
        if (size, batch_size) in FITTING:
            t4, ada = both(size, batch_size)
            assert joules(ada) < joules(t4)


@pytest.mark.parametrize("gpu", ["T4", "RTX6000Ada"])
def test_t2_the_phases_have_different_best_batch_sizes(gpu: str) -> None:
    made = [each for b in BATCHES if (each := modelled("1B", gpu, b)) is not None]
    prefill, decode = (
        min(made, key=lambda each: energy_per_token_j(each, phase)).batch_size for phase in ("prefill", "decode")
    )
    assert prefill < decode


def test_t2_the_phases_have_different_best_gpus_at_batch_1() -> None:
    t4, ada = both("1B", 1)
    assert energy_per_token_j(ada, "prefill") < energy_per_token_j(t4, "prefill")
    assert energy_per_token_j(t4, "decode") < energy_per_token_j(ada, "decode")


@pytest.mark.parametrize(("size", "batch_size"), FITTING)
def test_t3_on_a_dirty_grid_operation_dominates_and_on_a_clean_one_embodied_carbon_weighs(
    size: str, batch_size: int
) -> None:
    for made in both(size, batch_size):
        shares = [grams(made, region).embodied_g / grams(made, region).total_g for region in ("QC", "CISO", "PACE")]
        assert shares == sorted(shares, reverse=True)
        assert shares[2] < 0.05
        assert shares[0] > 4 * shares[2]


@pytest.mark.parametrize("size", PAPER_MODELS)
def test_t3_a_clean_grid_favours_the_older_gpu(size: str) -> None:
    # At batch 1 the T4 lags least, and the less a kWh emits the more its smaller embodied carbon counts. Not so at 7B,
    # by the paper's own numbers: 2.2 times the time at 1 / 2.58 of the embodied rate is 0.85, and 0.80 of the energy.
    t4, ada = both(size, 1)
    ratios = [grams(t4, region).total_g / grams(ada, region).total_g for region in ("QC", "CISO", "PACE")]
    assert ratios == sorted(ratios) or size == "7B"
    assert ratios[0] < 1
    for batch_size in BATCHES[1:]:
        if (size, batch_size) in FITTING:
            t4, ada = both(size, batch_size)
            assert grams(ada, "PACE").total_g < grams(t4, "PACE").total_g


def test_c17_batch_16_prefills_with_the_fewest_joules_and_batch_32_comes_second() -> None:
    made = {b: each for b in BATCHES if (each := modelled("1B", "RTX6000Ada", b)) is not None}
    by_energy = sorted(made, key=lambda b: energy_per_token_j(made[b], "prefill"))
    assert by_energy[:2] == [16, 32]


def test_c02_the_t4_lags_most_where_7b_begins_to_live_in_host_memory() -> None:
    lag = {where: both(*where)[0].prompt_latency_s / both(*where)[1].prompt_latency_s for where in FITTING}
    assert max(lag, key=lambda where: lag[where]) == ("7B", 4)
    assert lag["7B", 4] == pytest.approx(11.4, rel=0.1)
    # At batch 1 all of it but a megabyte lies on the card, or 2.2 (C01) would be out of reach.
    predicted = predict([point(model="LLaMA-7B", batch_size=b) for b in (1, 4)], built_in_workload(150, 0))
    lacking_bytes = predicted.needed_bytes - predicted.available_bytes
    assert lacking_bytes[0] < 1e6
    assert lacking_bytes[1] > 0.2e9


def test_the_fitted_engine_meets_the_papers_ratios() -> None:
    # C01, C10, C11, C12: a ratio within 10 %, one between 0.8 and 1.25 within 0.03.
    latency = {size: both(size, 1)[0].prompt_latency_s / both(size, 1)[1].prompt_latency_s for size in PAPER_MODELS}
    assert latency == {
        "1B": pytest.approx(1.1, abs=0.03),
        "3B": pytest.approx(1.4, rel=0.1),
        "7B": pytest.approx(2.2, rel=0.1),
    }
    (t4, ada), (t4_16, ada_16), (t4_64, ada_64) = (both("1B", b) for b in (1, 16, 64))
    assert t4.decode.throughput / ada.decode.throughput == pytest.approx(0.905, abs=0.03)
    assert energy_per_token_j(t4, "decode") / energy_per_token_j(ada, "decode") == pytest.approx(0.729, rel=0.1)
    assert ada_64.decode.throughput / t4_64.decode.throughput == pytest.approx(5.4, rel=0.1)
    assert energy_per_token_j(ada_16, "decode") / energy_per_token_j(t4_16, "decode") == pytest.approx(0.425, rel=0.1)
