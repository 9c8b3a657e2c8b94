"""The paper's space, 3 models x T4 and RTX 6000 Ada x 7 batches, on the device model of its stack, with 3 % noise."""

from __future__ import annotations

from typing import Final

from benchmarks.truths.guiding import of_engine
from benchmarks.truths.modelled import limited, outcomes, with_engine
from benchmarks.truths.noise import noisy
from benchmarks.truths.replay import Replay
from benchmarks.truths.truth import Truth
from carbonsweep import inputs
from carbonsweep.search.space import space

BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
STACK: Final = "paper"
GUIDE: Final = "transformers"
LIMITED: Final = ("tpot_s",)
REGION: Final = "CISO"
NOISE_WORDS: Final = "3 % on each phase's time and power, drawn anew for every seed; intervals stated as 1.96 x 3 %"


def truth(seed: int = 0, quantile: float | None = None) -> Truth:
    """Carbon in California under a TPOT limit; `seed` draws the noise, `quantile` sets the limit (None: the rule)."""
    searched = space(
        models=inputs.DEFAULT_MODELS,
        gpus=inputs.DEFAULT_GPUS,
        gpu_counts=(1,),
        batch_sizes=BATCH_SIZES,
        dtypes=("fp16",),
        engines=(STACK,),
    )
    named = tuple(searched.configurations())
    workload = inputs.workload(prompts=None, output_tokens=150, seed=0)
    exact = outcomes(named, workload)
    scenario = inputs.scenario({"region": REGION}, searched.gpus)
    question, words, quantile = limited(exact, named, scenario, LIMITED, quantile)
    return Truth(
        name="paper-space",
        title="42 configurations of the paper's stack: carbon under a TPOT limit, 3 % noise",
        configurations=named,
        workload=workload,
        question=question,
        exact=exact,
        bench=Replay(outcomes=noisy(exact, named, seed), source=f"device model, engine {STACK}", basis="rehearsed"),
        guiding=of_engine(GUIDE, named, with_engine(named, GUIDE), workload),
        limits=words,
        quantile=quantile,
        noise=NOISE_WORDS,
    )
