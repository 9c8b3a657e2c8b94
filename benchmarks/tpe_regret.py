"""Search quality on a space too large to exhaust: TPE's regret and infeasible share at 5 % of the points, 20 seeds.

The space is modelled, so the true optimum is known exactly. Printed, not judged: it is what a later search must beat.
Random search without replacement over the same budget stands beside it.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Iterable

import numpy as np

from carbonsweep import exact, facts, inputs
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration
from carbonsweep.search.space import space
from carbonsweep.search.study import Search
from carbonsweep.trial import trial

SEEDS = range(20)
SHARE = 0.05
SLO_TPOT_S = 0.020


def main() -> None:
    """Print median and worst regret, the share of seeds at the optimum, and the share of infeasible trials."""
    searched = space(
        models=tuple(facts.language_models()),
        gpus=tuple(facts.gpus()),
        gpu_counts=(1, 2),
        batch_sizes=(1, 2, 4, 8, 16, 32, 64),
        dtypes=("fp16",),
        engines=("healthy",),
    )
    workload = inputs.workload(prompts=None, output_tokens=150, seed=0)
    question = inputs.question(
        objective=("carbon",),
        slo_ttft=None,
        slo_tpot=SLO_TPOT_S,
        slo_latency=None,
        scenario=inputs.scenario({"region": "CISO"}, searched.gpus),
    )
    planned = exact.plan(searched, workload, question)
    configurations = [planned.points.configuration(i) for i in range(searched.size)]
    loss = {c: planned.losses[i, 0] if planned.feasible[i] else np.inf for i, c in enumerate(configurations)}
    budget = round(SHARE * searched.size)
    print(
        f"{searched.size} configurations, {planned.feasible.mean():.0%} feasible under TPOT {SLO_TPOT_S} s; "
        f"{budget} trials, {len(SEEDS)} seeds, carbon in CISO, device model (healthy engine)"
    )
    bench, known = RooflineBench(), {}

    def tpe(seed: int) -> list[Configuration]:
        search = Search(space=searched, question=question, name="tpe", trials=budget, seed=seed, known={})
        tried = []
        while (configuration := search.suggest()) is not None:
            if configuration not in known:
                known[configuration] = trial(bench, configuration, workload)
            search.tell(known[configuration])
            tried.append(configuration)
        print(".", end="", file=sys.stderr, flush=True)
        return tried

    def at_random(seed: int) -> list[Configuration]:
        return random.Random(seed).sample(configurations, budget)

    best = min(loss.values())
    for name, runs in (("random", [at_random(s) for s in SEEDS]), ("TPE", [tpe(s) for s in SEEDS])):
        report(name, runs, loss, best)


def report(name: str, runs: Iterable[list[Configuration]], loss: dict[Configuration, float], best: float) -> None:
    """One line of figures over the seeds."""
    regrets, infeasible = [], []
    for tried in runs:
        regrets.append(min(loss[c] for c in tried) / best - 1)
        infeasible.append(sum(np.isinf(loss[c]) for c in tried) / len(tried))
    found = sum(regret == 0 for regret in regrets)
    print(
        f"\n  {name:6} regret: median {statistics.median(regrets):.1%}, worst {max(regrets):.1%}; optimum found by "
        f"{found} of {len(regrets)} seeds; infeasible trials {statistics.mean(infeasible):.0%}",
        end="",
    )
    if name == "TPE":
        print()


if __name__ == "__main__":
    main()
