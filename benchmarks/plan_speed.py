"""The vectorised plan against the same device model called once per configuration, in one run. The mark is 50."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from carbonsweep import exact, facts, inputs
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration
from carbonsweep.errors import BenchError
from carbonsweep.search.space import space

RUNS = 5


def main() -> None:
    """Print the ratio of the two times over the same configurations, priced the same way."""
    searched = space(
        models=tuple(facts.language_models()),
        gpus=tuple(facts.gpus()),
        gpu_counts=(1, 2),
        batch_sizes=(1, 2, 4, 8, 16, 32, 64),
        dtypes=("fp16",),
        engines=("paper", "healthy"),
    )
    workload = inputs.workload(prompts=None, output_tokens=150, seed=0)
    question = inputs.question(
        objective=("carbon",),
        slo_ttft=None,
        slo_tpot=None,
        slo_latency=None,
        scenario=inputs.scenario({"region": "QC"}, searched.gpus),
    )
    bench = RooflineBench()
    configurations = list(searched.configurations())

    def one(configuration: Configuration) -> float:
        try:
            return question.losses(bench.measure(configuration, workload))[0]
        except BenchError:
            return float("inf")

    def scalar() -> float:
        return min(one(configuration) for configuration in configurations)

    def vectorised() -> float:
        return float(exact.plan(searched, workload, question).losses.min())

    scalar_s, scalar_best = timed(scalar)
    pairs = [timed(vectorised) for _ in range(RUNS)]
    if any(abs(best - scalar_best) > 1e-12 * scalar_best for _, best in pairs):
        raise SystemExit("the two disagree on the best configuration's carbon")
    vectorised_s = statistics.median(seconds for seconds, _ in pairs)
    size = len(configurations)
    print(f"{size} configurations: scalar {scalar_s:.2f} s, plan {vectorised_s * 1e3:.1f} ms (median of {RUNS})")
    print(f"  ratio {scalar_s / vectorised_s:.0f} (mark: 50); plan {size / vectorised_s:,.0f} configurations/s")


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """Seconds and result of one call."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
