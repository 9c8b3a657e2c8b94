"""What measuring costs the measured: seconds the harness reports, over bare forward calls of the same tokens.

The small real model in fp32 on one thread, batch 4. A round runs the same batch three ways in random order: bare
forward calls whose tokens are known already, a repeat of the harness without a meter, and one with the meter polling
the stand-in driver of the tests at the pace of a real GPU's counter. Ratios are taken within a round. Fails where the
median of either is above 3 %.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))  # the stand-in lives with the tests

import torch
from scipy.stats import binom
from transformers import DynamicCache

from carbonsweep import facts
from carbonsweep.bench import loading
from carbonsweep.bench.generation import Batch, decode, prefill, text_batches
from carbonsweep.bench.hardware import cpu_place
from carbonsweep.bench.power.nvml import NvmlProbe
from carbonsweep.bench.power.sampling import SampledMeter
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.running import ModelRunner
from carbonsweep.bench.weights import weights_source
from tests.standin import Standin, StandinGpu, Waveform, acting

MARK = 0.03
BATCH_SIZE = 4
OUTPUT_TOKENS = 8
REFRESH_S = 0.1
GPU = StandinGpu(waveform=Waveform.constant(200.0), refresh_s=REFRESH_S)


class Bare:
    """Forward calls and nothing else: tokens, masks and positions are there before the clock starts."""

    def __init__(self, model: Any, batch: Batch, steps: int) -> None:
        self._model, self._batch, self._steps = model, batch, steps
        first, cache = prefill(model, batch)
        self._tokens = torch.cat([first, decode(model, batch, first, cache, steps)], dim=1)
        size, longest = batch.ids.shape
        self._mask = torch.ones(size, longest + steps, dtype=batch.mask.dtype)
        self._mask[:, :longest] = batch.mask
        self._positions = (self._mask.cumsum(-1) - 1).clamp(min=0)

    def seconds(self) -> float:
        """Of one prefill and every decode step."""
        longest = self._batch.ids.shape[1]
        with torch.inference_mode():
            cache = DynamicCache(config=self._model.config)
            begin_s = time.perf_counter()
            self._forward(self._batch.ids, self._mask[:, :longest], self._positions[:, :longest], cache)
            for step in range(self._steps):
                end = longest + step + 1
                token = self._tokens[:, step : step + 1]
                self._forward(token, self._mask[:, :end], self._positions[:, end - 1 : end], cache)
            return time.perf_counter() - begin_s

    def _forward(self, ids: Any, mask: Any, positions: Any, cache: Any) -> None:
        self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )


def rounds(count: int) -> tuple[list[float], list[float]]:
    """Overheads of the harness without and with a meter, one of each a round."""
    model, batch = _model_and_batch()
    steps = OUTPUT_TOKENS - 1
    bare, runner = Bare(model, batch, steps), ModelRunner(model, (batch,), steps, time.perf_counter)
    dealer = random.Random(0)
    plain, metered = [], []
    # The loosest bound there is: a window then holds one run or a few, as many as the other ways.
    meter = SampledMeter(probes=(NvmlProbe(uuid=GPU.uuid),), bound=0.99)
    with acting(Standin(gpus=(GPU,))):
        meter.open()
        runner.warm_up(2)
        bare.seconds()
        for number in range(count):
            ways: dict[str, Callable[[], float]] = {
                "bare": bare.seconds,
                "plain": lambda: _reported_s(runner, None),
                "metered": lambda: _metered_s(runner, meter),
            }
            took_s = {name: ways[name]() for name in dealer.sample(list(ways), len(ways))}
            plain.append(took_s["plain"] / took_s["bare"] - 1)
            metered.append(took_s["metered"] / took_s["bare"] - 1)
            if number % 10 == 9:
                print(f"{number + 1}/{count} rounds", file=sys.stderr)
    return plain, metered


def _model_and_batch() -> tuple[Any, Batch]:
    language_model = facts.language_model("SmolLM2-135M")
    workload = built_in_workload(OUTPUT_TOKENS, 0)
    loaded = loading.load(language_model, weights_source("auto", language_model), "fp32", cpu_place(1))
    assert workload.prompts is not None
    (batch,) = text_batches(workload, workload.prompts, BATCH_SIZE, 1, loaded.tokenizer, "cpu")
    return loaded.model, batch


def _metered_s(runner: ModelRunner, meter: SampledMeter) -> float:
    """Polling only meanwhile: the other ways are not to be disturbed."""
    meter.start()
    try:
        return _reported_s(runner, meter)
    finally:
        meter.stop()


def _reported_s(runner: ModelRunner, meter: SampledMeter | None) -> float:
    repeat = runner.repeat([0], meter)
    return repeat.prefill.run_s + repeat.decode.run_s


def upper_bound(samples: Sequence[float]) -> float:
    """Upper end of the 95 % interval of the median, by order statistics."""
    return sorted(samples)[int(binom.ppf(0.975, len(samples), 0.5))]


def main() -> None:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=80)
    asked = parser.parse_args()
    plain, metered = rounds(asked.rounds)
    print(f"harness over bare forward calls, {asked.rounds} interleaved rounds, batch {BATCH_SIZE}:")
    for name, samples in (("without a meter", plain), ("with a meter polling", metered)):
        print(
            f"  {name}: median {median(samples):+.1%}, upper 95 % bound {upper_bound(samples):+.1%} (mark {MARK:.0%})"
        )
    if max(median(plain), median(metered)) > MARK:
        sys.exit("the harness costs more than its mark")


if __name__ == "__main__":
    main()
