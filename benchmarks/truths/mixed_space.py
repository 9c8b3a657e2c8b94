"""A mixed space: 8 GPU kinds of five generations x 4 models of 7 to 8 billion parameters x 7 batches, with 3 % noise.

What is so is the device model of one serving stack times errors: log-normal, of each GPU kind and of each model on each
kind, as large as the device model's own held-out errors. The guide knows another stack, and none of the errors. Models
of one size, because a smaller one would win by its size alone.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np

from benchmarks.truths.guiding import of_engine
from benchmarks.truths.modelled import limited, outcomes, with_engine
from benchmarks.truths.noise import Array, Factors, factors, multiplied, noisy
from benchmarks.truths.paper_space import BATCH_SIZES, NOISE_WORDS, REGION
from benchmarks.truths.replay import Outcome, Replay
from benchmarks.truths.truth import Truth
from carbonsweep import inputs
from carbonsweep.domain import Configuration, Measurement
from carbonsweep.facts.engines import engine
from carbonsweep.search.space import space

GPUS: Final = ("T4", "V100", "A10G", "A100-40", "RTX6000Ada", "L4", "L40S", "H100")
MODELS: Final = ("Llama-2-7B", "Mistral-7B", "Qwen2.5-7B", "Llama-3.1-8B")
STACK: Final = "vllm"
GUIDE: Final = "tensorrt-llm"
LIMITED: Final = ("ttft_s", "tpot_s")
POOLED: Final = "healthy"
"""The engine whose held-out errors set the size of the errors: three dies and two models left out in turn."""
CERTAIN: Final = 1.96


def truth(seed: int = 0, quantile: float | None = None) -> Truth:
    """Carbon in California under TTFT and TPOT limits; `seed` draws errors and noise, so every seed is another truth.

    `quantile` sets both limits; None: the rule of `limits`.
    """
    searched = space(
        models=MODELS, gpus=GPUS, gpu_counts=(1,), batch_sizes=BATCH_SIZES, dtypes=("fp16",), engines=(STACK,)
    )
    named = tuple(searched.configurations())
    workload = inputs.workload(prompts=None, output_tokens=150, seed=0)
    exact = _with_errors(outcomes(named, workload), seed)
    scenario = inputs.scenario({"region": REGION}, searched.gpus)
    question, words, quantile = limited(exact, named, scenario, LIMITED, quantile)
    return Truth(
        name="mixed-space",
        title=f"{len(named)} configurations on 8 GPU kinds: carbon under TTFT and TPOT limits, model errors, 3 % noise",
        configurations=named,
        workload=workload,
        question=question,
        exact=exact,
        bench=Replay(
            outcomes=noisy(exact, named, seed), source=f"device model, engine {STACK}, errors {seed}", basis="rehearsed"
        ),
        guiding=of_engine(GUIDE, named, with_engine(named, GUIDE), workload),
        limits=words,
        quantile=quantile,
        noise=f"{NOISE_WORDS}; errors of GPU kinds and of models on them are drawn anew as well",
    )


def error_sizes() -> tuple[Factors, Factors]:
    """Standard deviations of the logarithms: of a GPU kind never seen, and of a model never seen on a kind."""
    general = engine(POOLED, "")
    of_gpu = Factors(
        prefill_time=_sigma(general.prefill_time_error),
        prefill_power=_sigma_between(general.prefill_time_error, general.prefill_energy_error),
        decode_time=_sigma(general.decode_time_error),
        decode_power=_sigma_between(general.decode_time_error, general.decode_energy_error),
    )
    seen = [engine(POOLED, gpu) for gpu in ("A100-40", "GH200", "H100")]
    time = float(np.median([row.decode_time_error for row in seen]))
    energy = float(np.median([row.decode_energy_error for row in seen]))
    # Prefill was never timed per model under a serving stack: its error is taken to be that of decode.
    sigma_time, sigma_power = _sigma(time), _sigma_between(time, energy)
    of_model = Factors(
        prefill_time=sigma_time, prefill_power=sigma_power, decode_time=sigma_time, decode_power=sigma_power
    )
    return of_gpu, of_model


def _sigma(half_width: float) -> float:
    return math.log1p(half_width) / CERTAIN


def _sigma_between(time: float, energy: float) -> float:
    """Energy is time x power: what energy's error has beyond time's is power's."""
    return math.sqrt(max(0.0, _sigma(energy) ** 2 - _sigma(time) ** 2))


def _with_errors(exact: dict[Configuration, Outcome], seed: int) -> dict[Configuration, Outcome]:
    random = np.random.default_rng([seed, 7])
    of_gpu, of_model = error_sizes()
    by_gpu = {gpu: _drawn(of_gpu, random.standard_normal(4)) for gpu in GPUS}
    by_both = {(gpu, model): _drawn(of_model, random.standard_normal(4)) for gpu in GPUS for model in MODELS}
    found: dict[Configuration, Outcome] = {}
    for c, outcome in exact.items():
        if isinstance(outcome, Measurement):
            outcome = multiplied(outcome, by_gpu[c.gpu] * by_both[c.gpu, c.model], half_width=0.0, repeats=0)
        found[c] = outcome
    return found


def _drawn(sizes: Factors, scores: Array) -> Factors:
    return factors(np.exp(np.array(dataclasses.astuple(sizes)) * scores))
