"""Search quality on a space too large to exhaust: regret and infeasible share at 5 % of the points, 20 seeds.

Optuna's samplers as `tune --sampler` runs them (ordered batch sizes and GPU counts, limits as constraints, no point
twice), beside random. The space is modelled, so the true optimum is known exactly; the guided search is not here,
because this truth is the very model that guides it: `benchmarks/sample_efficiency.py` judges that one. `--gp` adds
Optuna's GP sampler, which takes about a second for a proposal.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep import exact, facts, inputs
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration, TrialRecord, Workload
from carbonsweep.search.objectives import Question
from carbonsweep.search.sampling import SamplerName
from carbonsweep.search.space import Space, space
from carbonsweep.search.study import Search
from carbonsweep.trial import trial

SEEDS: Final = range(20)
SHARE: Final = 0.05
SLO_TPOT_S: Final = 0.020
NAMES: Final[Sequence[SamplerName]] = ("random", "tpe", "nsga2")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is searched, and the loss of every configuration: +inf where it is infeasible."""

    space: Space
    workload: Workload
    question: Question
    loss: dict[Configuration, float]
    records: dict[Configuration, TrialRecord]

    def record(self, configuration: Configuration) -> TrialRecord:
        """Of the device model, worked out once."""
        if configuration not in self.records:
            self.records[configuration] = trial(RooflineBench(), configuration, self.workload)
        return self.records[configuration]


def world() -> World:
    """Every model and GPU of the tables, carbon in California under a limit per token."""
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
    return World(space=searched, workload=workload, question=question, loss=loss, records={})


def tried(searched: World, sampler: SamplerName, seed: int, budget: int) -> list[Configuration]:
    """What one search hands out."""
    search = Search(
        space=searched.space,
        question=searched.question,
        name=sampler,
        trials=budget,
        seed=seed,
        known={},
        sampler=sampler,
    )
    handed = []
    while (configuration := search.suggest()) is not None:
        search.tell(searched.record(configuration))
        handed.append(configuration)
    print(".", end="", file=sys.stderr, flush=True)
    return handed


def line(sampler: SamplerName, runs: list[list[Configuration]], loss: dict[Configuration, float]) -> str:
    """One row of figures over the seeds."""
    best = min(loss.values())
    regrets = [min(loss[c] for c in handed) / best - 1 for handed in runs]
    infeasible = [sum(np.isinf(loss[c]) for c in handed) / len(handed) for handed in runs]
    found = sum(regret == 0 for regret in regrets)
    return (
        f"| {sampler} | {statistics.median(regrets):.1%} | {max(regrets):.1%} | {found} of {len(regrets)} | "
        f"{statistics.mean(infeasible):.0%} |"
    )


def main() -> None:
    """Print median and worst regret, the seeds at the optimum, and the share of infeasible trials."""
    searched = world()
    budget = round(SHARE * searched.space.size)
    feasible = np.isfinite(list(searched.loss.values())).mean()
    print(
        f"{searched.space.size} configurations, {feasible:.0%} feasible under TPOT {SLO_TPOT_S} s; {budget} trials, "
        f"{len(SEEDS)} seeds, carbon in CISO, device model (healthy engine), modelled\n\n"
        "| sampler | median regret | worst regret | optimum found | infeasible trials |\n|---|---|---|---|---|"
    )
    names: list[SamplerName] = [*NAMES, "gp"] if "--gp" in sys.argv[1:] else [*NAMES]
    for name in names:
        print(line(name, [tried(searched, name, seed, budget) for seed in SEEDS], searched.loss), flush=True)
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
