"""The best split placement over every ordered pair of a large modelled space, against the same pairs one by one.

One run: `placement.answers.of_plan` in a process of its own on one core; the scalar loop (compose, footprint,
objective) over a sample of the same pairs, links and pools, drawn with a fixed seed, whose grams have to be the
arrays'. The marks are of the project's plan.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from typing import Final

import numpy as np

from carbonsweep import exact, facts, inputs
from carbonsweep.bench.points import Indices
from carbonsweep.bench.roofline import RooflineBench, predict_points
from carbonsweep.carbon.write_off import charged_kg
from carbonsweep.domain import Configuration, Workload
from carbonsweep.placement import sides
from carbonsweep.placement.answers import Sought, of_plan
from carbonsweep.placement.quantities import Terms, quantities, reached
from carbonsweep.placement.sides import Phase
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import Space, space
from carbonsweep.split import Pools, Side, compose
from carbonsweep.units import BYTES_PER_MIB

RUNS: Final = 5
SAMPLED: Final = 4000
GPUS: Final = 14
MODELS: Final = 14
LINKS: Final = ("PCIe4", "25GbE", "100GbE", "400GbE")
RATIO_MARK: Final = 300
SECONDS_MARK: Final = 5.0
PHASES: Final[tuple[Phase, ...]] = ("prefill", "decode")
KIB_BYTES: Final = 1024
"""Unit of ru_maxrss on Linux."""
WORKLOAD: Final = Workload(
    name="long prompts", prompts=None, prompt_tokens=(100, 500, 1200), token_basis="made up", output_tokens=150
)
SOUGHT: Final = Sought(choice="any", links=tuple(facts.link(key) for key in LINKS), most_per_pool=4)


def searched() -> Space:
    """14 models x 14 GPUs x 7 batch sizes, the same on both sides of a pair; some do not fit."""
    return space(
        models=tuple(sorted(facts.language_models()))[:MODELS],
        gpus=tuple(sorted(facts.gpus()))[:GPUS],
        gpu_counts=(1,),
        batch_sizes=(1, 2, 4, 8, 16, 32, 64),
        dtypes=("fp16",),
        engines=("healthy",),
    )


def question() -> Question:
    """The least carbon in Québec with a limit that some pairs miss."""
    scenario = inputs.scenario({"region": "QC"}, searched().gpus)
    return inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=0.05, slo_latency=None, scenario=scenario)


def planned() -> None:
    """In the process of its own: seconds of each run, peak memory, and the best, as JSON."""
    asked, points = question(), searched()
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        found = of_plan(exact.plan(points, WORKLOAD, asked), WORKLOAD, asked, SOUGHT)
        seconds.append(time.perf_counter() - start)
    if found.split is None:
        raise SystemExit("no split is feasible")
    print(
        json.dumps(
            {
                "seconds": seconds,
                "combinations": found.combinations,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB_BYTES,
                "best_g": found.split.values[0],
            }
        )
    )


def scalar() -> tuple[float, float, float]:
    """Seconds of one combination in a loop over a sample of them, the best grams of it, and the worst disagreement."""
    asked = question()
    points = exact.in_order(searched())
    prefill, decode = (sides.of_points(points, predict_points(points, WORKLOAD, phase), phase) for phase in PHASES)
    sampled = sample(prefill.group, decode.group)
    first = {i: side(points.configuration(int(prefill.place[i])), "prefill") for i in {each[0] for each in sampled}}
    second = {j: side(points.configuration(int(decode.place[j])), "decode") for j in {each[1] for each in sampled}}
    best, grams = float("inf"), []
    start = time.perf_counter()
    for i, j, link, pools in sampled:
        split = compose(first[i], second[j], SOUGHT.links[link], pools)
        grams.append(asked.losses(split)[0])
        if asked.slo.is_met(split):
            best = min(best, grams[-1])
    each_s = (time.perf_counter() - start) / len(sampled)
    gpus = points.gpu.values
    kg = np.array([charged_kg(gpu, asked.scenario) for gpu in gpus])
    terms = Terms(output_tokens=WORKLOAD.output_tokens, links=SOUGHT.links, kg=kg, reached=reached(SOUGHT.links, gpus))
    worst = 0.0
    for (i, j, link, pools), scalar_g in zip(sampled, grams, strict=True):
        one, other = prefill.part(np.array([i])).along(1), decode.part(np.array([j])).along(2)
        arrays_g = float(quantities(one, other, terms, pools, None).value("carbon", asked.scenario)[link, 0, 0])
        worst = max(worst, abs(arrays_g - scalar_g) / scalar_g)
    return each_s, best, worst


def sample(prefill: Indices, decode: Indices) -> list[tuple[int, int, int, Pools]]:
    """Pairs of one group, each over a link and pools, drawn with a fixed seed."""
    drawn = random.Random(0)
    groups = sorted(set(prefill.tolist()) & set(decode.tolist()))
    of_group = {group: (np.flatnonzero(prefill == group), np.flatnonzero(decode == group)) for group in groups}
    found = []
    for _, group in zip(range(SAMPLED), itertools.cycle(groups), strict=False):
        first, second = of_group[group]
        pools = drawn.choice(SOUGHT.pools)
        found.append((int(drawn.choice(first)), int(drawn.choice(second)), drawn.randrange(len(LINKS)), pools))
    return found


def side(served: Configuration, phase: Phase) -> Side:
    """One phase of a configuration, as the device model finds it: made before the clock starts."""
    measurement = RooflineBench(phases=phase).measure(served, WORKLOAD)
    return Side(configuration=served, workload=WORKLOAD.name, measurement=measurement)


def main() -> None:
    """Print time, ratio and memory, beside their marks; ends in an error where the two disagree."""
    process = subprocess.run(
        [sys.executable, __file__, "planned"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # one core, as the scalar loop
    )
    plan = json.loads(process.stdout)
    each_s, sampled_g, worst = scalar()
    if worst > 1e-12 or plan["best_g"] > sampled_g * (1 + 1e-12):
        raise SystemExit(f"arrays and loop differ by {worst:.2g}; best {plan['best_g']} g, of the sample {sampled_g} g")
    plan_s, pools = statistics.median(plan["seconds"]), len(SOUGHT.pools)
    ratio = each_s * plan["combinations"] / plan_s
    pairs = plan["combinations"] // (pools * len(LINKS))
    print(
        f"{plan['combinations']:,} combinations: {pairs:,} pairs that fit x {len(LINKS)} links x {pools} pools, "
        f"one core"
    )
    print(
        f"  of {GPUS} GPUs x {MODELS} models x 7 x 7 batch sizes; colocated plan and the bound without pools included"
    )
    print(
        f"  plan {plan_s:.3f} s (median of {RUNS}, {min(plan['seconds']):.3f} to {max(plan['seconds']):.3f} s; mark: "
        f"{SECONDS_MARK:g} s, {verdict(plan_s <= SECONDS_MARK)})"
    )
    print(f"  scalar loop {each_s * 1e6:.0f} us a combination, over {SAMPLED:,} of them; same grams to {worst:.1g}")
    print(f"  ratio {ratio:,.0f} (mark: {RATIO_MARK}, {verdict(ratio >= RATIO_MARK)})")
    print(f"  peak memory {plan['peak_bytes'] / BYTES_PER_MIB:.0f} MiB of the whole process")


def verdict(passed: bool) -> str:
    """In a word."""
    return "passed" if passed else "MISSED"


if __name__ == "__main__":
    planned() if sys.argv[1:] == ["planned"] else main()
