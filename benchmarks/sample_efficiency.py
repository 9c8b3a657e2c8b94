"""How few trials find the optimum: the model-guided search beside random search and Optuna's, over four ground truths.

python -m benchmarks.sample_efficiency [--seeds 20] [--out benchmarks/results/sample_efficiency.md]

One run: every search on every truth, seeds in order; the same for fronts of two objectives, and under other limits.
CARBONSWEEP_DATA names the folder of the rows that two of the truths are. Exits with 1 where a mark is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from benchmarks import sample_efficiency_page as page
from benchmarks.search_quality import Searched, Told, front_share, searched
from benchmarks.searchers import SEARCHES
from benchmarks.truths import mixed_space, paper_space, power_table, running_llamas
from benchmarks.truths.limits import QUARTILES
from benchmarks.truths.truth import Truth
from carbonsweep.errors import BadInput

Make = Callable[[int, float | None], Truth]
TRUTHS: Final[tuple[Make, ...]] = (running_llamas.truth, power_table.truth, paper_space.truth, mixed_space.truth)
SHARE_MARK: Final = 0.25
RATIO_MARK: Final = 0.5
RATIO_MARK_ON: Final = 3
FRONT_MARK: Final = 0.95
JUDGED: Final = ("random", "TPE", "TPE, 3 start-up trials", "NSGA-II")
"""Baselines of the marks; Optuna's own GP stands beside them."""
FRONT_SEARCHES: Final = ("guided", "random", "NSGA-II")
FEWER: Final = 4
"""Under other limits a search has this part of the seeds."""
WRONG_BY: Final = (2.0, 3.0, 4.0, 5.0)
"""How many times too slow the best GPU kind is to a guide that is wrong; half of the seeds, where there are kinds."""
OUT: Final = Path("benchmarks/results/sample_efficiency.md")


def main() -> None:
    """Run everything, print the page and write it; exit with 1 where a mark is missed."""
    parser = argparse.ArgumentParser(description="Trials until the optimum, over four ground truths.")
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to N - 1 (default 20)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"a .md file (default {OUT})")
    asked = parser.parse_args()
    try:
        text, missed = benchmark(asked.seeds)
    except BadInput as error:
        sys.exit(str(error))
    asked.out.write_text(text, encoding="utf-8")
    print(text)
    if missed:
        sys.exit("missed: " + "; ".join(missed))


def benchmark(seeds: int) -> tuple[str, list[str]]:
    """The page, and the marks that were missed."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    truths = [[make(seed, None) for seed in range(seeds)] for make in TRUTHS]
    fewer, half = max(1, seeds // FEWER), max(1, seeds // 2)
    several = [of_seeds[:half] for of_seeds in truths if len({c.gpu for c in of_seeds[0].configurations}) > 1]
    with Progress(console=Console(stderr=True)) as progress:
        steps = len(TRUTHS) * (seeds * (len(SEARCHES) + len(FRONT_SEARCHES)) + 2 * fewer * (1 + len(JUDGED)))
        steps += len(several) * len(WRONG_BY) * half
        task = progress.add_task("", total=steps)

        def told(what: str) -> None:
            progress.update(task, advance=1, description=what)

        found = [{name: searched(name, of_seeds, told) for name in SEARCHES} for of_seeds in truths]
        asked = [[_of_two(truth) for truth in of_seeds] for of_seeds in truths]
        fronts = [{name: front_share(name, of_seeds, told) for name in FRONT_SEARCHES} for of_seeds in asked]
        wrong = [
            (factor, searched("guided", [truth.misguided(factor) for truth in of_seeds], told))
            for of_seeds in several
            for factor in WRONG_BY
        ]
        others = [each for make in TRUTHS for each in _under_other_limits(make, fewer, told)]
    names = [f"{of_seeds[0].name}: {' and '.join(_names(of_seeds[0]))}" for of_seeds in asked]
    missed = [*_missed(truths, found), *_missed_fronts(names, fronts)]
    took_s, busy_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    parts = [
        "# Trials until the optimum",
        "\n".join(page.method(seeds)),
        "\n".join(page.truth_lines(truths)),
        page.single_table(truths, found),
        page.stopping_table(truths, found),
        page.wrong_table([of_seeds[0].name for of_seeds in several for _ in WRONG_BY], wrong),
        page.front_table(names, fronts),
        "The same under other limits, with fewer seeds:",
        page.limits_table(others),
        "Marks missed: " + "; ".join(missed) if missed else "Every mark is met.",
        f"The whole run took {busy_s:.0f} s of one core ({took_s:.0f} s by the clock).",
    ]
    return "\n\n".join(parts) + "\n", missed


def _of_two(truth: Truth) -> Truth:
    return truth.asking(truth.question.objectives[0].name, "latency")


def _names(truth: Truth) -> list[str]:
    return [objective.name for objective in truth.question.objectives]


def _under_other_limits(make: Make, seeds: int, told: Told) -> Iterator[tuple[str, Searched]]:
    chosen = make(0, None).quantile
    for quantile in QUARTILES:
        if quantile == chosen:
            continue
        of_seeds = [make(seed, quantile) for seed in range(seeds)]
        for name in ("guided", *JUDGED):
            yield f"{of_seeds[0].name}: {of_seeds[0].limits}", searched(name, of_seeds, told)


def _missed(truths: Sequence[Sequence[Truth]], found: Sequence[Mapping[str, Searched]]) -> Iterator[str]:
    halved = 0
    for of_seeds, by_name in zip(truths, found, strict=True):
        share = by_name["guided"].share
        best = min(by_name[name].share for name in JUDGED)
        halved += share <= RATIO_MARK * best
        if share > SHARE_MARK:
            yield f"{of_seeds[0].name} needs {share:.1%} of the grid, more than {SHARE_MARK:.0%}"
    if halved < RATIO_MARK_ON:
        yield f"at most half of the best baseline on {halved} of {len(found)} truths, not on {RATIO_MARK_ON}"


def _missed_fronts(names: Sequence[str], fronts: Sequence[Mapping[str, Sequence[float]]]) -> Iterator[str]:
    for name, by_search in zip(names, fronts, strict=True):
        if (reached := statistics.median(by_search["guided"])) < FRONT_MARK:
            yield f"the front of {name} reaches {reached:.3f} of the true one's hypervolume, less than {FRONT_MARK}"


if __name__ == "__main__":
    main()
