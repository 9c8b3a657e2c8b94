"""The exact plan over a million (configuration, workload) pairs against the same device model called pair by pair.

One run: the plan in a process of its own on one core, its peak memory beside its time; the scalar loop over whole
workloads of the same million, whose best configurations have to be the plan's. The marks are of the project's plan.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Final

from carbonsweep import facts, inputs
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration, Workload
from carbonsweep.errors import BenchError
from carbonsweep.per_workload import best_per_workload
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import Space, space
from carbonsweep.units import BYTES_PER_GIB, BYTES_PER_MIB

RUNS: Final = 5
WORKLOADS: Final = 1000
SAMPLED: Final = 3
"""Workloads the scalar loop goes through, from both ends of the million and its middle."""
RATIO_MARK: Final = 300
RATE_MARK: Final = 500_000
MEMORY_MARK_BYTES: Final = BYTES_PER_GIB
KIB_BYTES: Final = 1024
"""Unit of ru_maxrss on Linux."""


def searched() -> Space:
    """5 models x 10 GPUs x 2 counts x 10 batch sizes: 1,000 configurations, some of which do not fit."""
    return space(
        models=tuple(sorted(facts.language_models()))[:5],
        gpus=tuple(sorted(facts.gpus()))[:10],
        gpu_counts=(1, 2),
        batch_sizes=(1, 2, 4, 8, 12, 16, 24, 32, 48, 64),
        dtypes=("fp16",),
        engines=("healthy",),
    )


def workloads() -> list[Workload]:
    """Prompt sets of three lengths and answers of every length from 20 tokens on, no two alike."""
    return [
        Workload(
            name=f"{i}", prompts=None, prompt_tokens=(8 + i, 40 + i, 120), token_basis="made up", output_tokens=20 + i
        )
        for i in range(WORKLOADS)
    ]


def question() -> Question:
    """The least carbon in Québec with a limit that some configurations miss."""
    scenario = inputs.scenario({"region": "QC"}, searched().gpus)
    return inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=0.05, slo_latency=None, scenario=scenario)


def planned() -> None:
    """In the process of its own: seconds of each run, peak memory, and what was found best, as JSON."""
    asked, listed, points = question(), workloads(), searched()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        choices = best_per_workload(points, listed, asked)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    losses = choices.quantities.value("carbon", asked.scenario)
    found = {i: [str(choices.configuration(i)), float(losses[i])] for i in sampled()}
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_bytes": peak * KIB_BYTES,
                "added_bytes": (peak - before) * KIB_BYTES,
                "answered": int((choices.best >= 0).sum()),
                "found": found,
            }
        )
    )


def sampled() -> list[int]:
    """Places of the workloads of the scalar loop."""
    return [0, WORKLOADS // 2, WORKLOADS - 1][:SAMPLED]


def scalar(workload: Workload, configurations: list[Configuration], asked: Question) -> tuple[str, float]:
    """The best configuration and its grams, one configuration at a time."""
    bench, best = RooflineBench(), (float("inf"), "")
    for configuration in configurations:
        try:
            measurement = bench.measure(configuration, workload)
        except BenchError:
            continue
        if asked.slo.is_met(measurement):
            best = min(best, (asked.losses(measurement)[0], str(configuration)))
    return best[1], best[0]


def main() -> None:
    """Print ratio, rate and memory, each beside its mark; ends in an error where the two disagree."""
    process = subprocess.run(
        [sys.executable, __file__, "planned"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # one core, as the scalar loop
    )
    plan = json.loads(process.stdout)
    asked, listed = question(), workloads()
    configurations = sorted(searched().configurations())
    start = time.perf_counter()
    slowly = {i: scalar(listed[i], configurations, asked) for i in sampled()}
    scalar_s = (time.perf_counter() - start) / (SAMPLED * len(configurations))
    for i, (configuration, loss) in slowly.items():
        theirs, found = plan["found"][str(i)]
        if theirs != configuration or abs(found - loss) > 1e-12 * loss:
            raise SystemExit(
                f"workload {i}: the plan finds {theirs} ({found}), the scalar loop {configuration} ({loss})"
            )
    pairs = len(configurations) * WORKLOADS
    plan_s = statistics.median(plan["seconds"])
    ratio, rate, peak = scalar_s * pairs / plan_s, pairs / plan_s, plan["peak_bytes"]
    print(f"{pairs:,} pairs: {len(configurations):,} configurations x {WORKLOADS:,} workloads, one core")
    print(f"  plan {plan_s:.3f} s (median of {RUNS}, {min(plan['seconds']):.3f} to {max(plan['seconds']):.3f} s)")
    print(f"    {plan['answered']:,} of the workloads have a configuration within the limit")
    print(
        f"  scalar loop {scalar_s * 1e6:.0f} us a pair, over {SAMPLED * len(configurations):,} of the pairs; same best"
    )
    print(f"  ratio {ratio:,.0f} (mark: {RATIO_MARK}, {verdict(ratio >= RATIO_MARK)})")
    print(f"  {rate:,.0f} pairs/s (mark: {RATE_MARK:,}, {verdict(rate >= RATE_MARK)})")
    print(
        f"  peak memory {peak / BYTES_PER_MIB:.0f} MiB of the whole process, {plan['added_bytes'] / BYTES_PER_MIB:.0f} "
        f"MiB by planning (mark: {MEMORY_MARK_BYTES / BYTES_PER_MIB:.0f}, {verdict(peak <= MEMORY_MARK_BYTES)})"
    )


def verdict(passed: bool) -> str:
    """In a word."""
    return "passed" if passed else "MISSED"


if __name__ == "__main__":
    planned() if sys.argv[1:] == ["planned"] else main()
