"""What `benchmarks.sample_efficiency` found, as Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.search_quality import FRONT_SHARE, Searched
from benchmarks.searchers import ATTEMPTS, POPULATION, STOP_AT
from benchmarks.truths.truth import Truth
from carbonsweep.search.counsel import LEAST_MEASURED
from carbonsweep.search.guided.doubt import DOUBT
from carbonsweep.shares import percent
from carbonsweep.tables import markdown_table

Found = Mapping[str, Searched]
Shares = Mapping[str, Sequence[float]]


def method(seeds: int) -> Iterator[str]:
    """What was run, in words."""
    yield f"`python -m benchmarks.sample_efficiency --seeds {seeds}`: one run, seeds 0 to {seeds - 1}."
    yield ""
    yield (
        "Nothing is measured here: rows that others measured, and outcomes of the device model, are replayed as "
        "trials. The optimum counts as found once a configuration within 1 % of the true constrained optimum was "
        "tried, by values without noise; no search tries one twice. Optuna's samplers have their best form: ordered "
        "batch sizes, limits as constraints, a point asked again (or one nobody ran) told again at no cost, after "
        f"{ATTEMPTS} of them an untried one at random; NSGA-II has a population of {POPULATION}, because its default "
        "of 50 is most of a grid. GP is Optuna's own surrogate, beside the marks."
    )
    yield ""
    yield (
        "What it does not show: the constants of the guided search were chosen with these truths in sight (other "
        "limits, in the last table, were not). The two modelled truths have the form of the device model that guides; "
        "parameters and drawn errors differ. The power table times whole runs: their split over phases is the guide's, "
        "and only sums count. Of the real rows there is one truth each, so its seeds vary the search alone. "
        "Times per trial are the processor's."
    )
    yield ""
    yield (
        "Limits were chosen by one rule, from the rows alone: every limit of a truth is the same quartile of its "
        "quantity, the loosest of 0.75, 0.5 and 0.25 at which without any one limit the optimum would be another "
        "(where none is: without all of them). Other quartiles: last table."
    )


def truth_lines(truths: Sequence[Sequence[Truth]]) -> Iterator[str]:
    """What each truth is, and who guides: fitted to what, how wrong."""
    for of_seeds in truths:
        first = of_seeds[0]
        off = [truth.guide_errors() for truth in of_seeds]
        median, worst = statistics.median(each for each, _ in off), max(each for _, each in off)
        feasible = statistics.median(int(truth.feasible.sum()) for truth in of_seeds)
        yield f"- **{first.name}**: {first.title}. Limits (seed 0): {first.limits}; {feasible:g} are feasible (median)."
        yield f"  Noise: {first.noise}."
        yield f"  Guided by {first.guiding.statement}."
        off_by = f"{percent(median)} in the median and {percent(worst)} at worst"
        yield f"  It is off the truth by {off_by} (first objective)."


def single_table(truths: Sequence[Sequence[Truth]], found: Sequence[Found]) -> str:
    """Share of the grid until found, by truth and search."""
    header = [
        "truth",
        "search",
        "share of the grid, median",
        "quartiles",
        "worst",
        "trials, median",
        "infeasible trials",
        "ms per trial",
        "GPU s, median",
    ]
    rows = [
        _single_row(of_seeds[0].name, each)
        for of_seeds, by_name in zip(truths, found, strict=True)
        for each in by_name.values()
    ]
    return markdown_table(header, rows)


def _single_row(truth: str, each: Searched) -> list[str]:
    return [
        truth,
        each.name,
        percent(each.share, 1),
        f"{percent(each.share_at(0.25), 1)} to {percent(each.share_at(0.75), 1)}",
        percent(each.share_at(1), 1),
        f"{statistics.median(each.trials):g} of {each.grid}",
        percent(statistics.mean(each.infeasible)),
        f"{1000 * each.thought_s:.1f}",
        "unknown" if each.gpu_s is None else f"{statistics.median(each.gpu_s):.0f}",
    ]


def stopping_table(truths: Sequence[Sequence[Truth]], found: Sequence[Found]) -> str:
    """The guided search where it would stop by itself."""
    header = [
        "truth",
        "trials, median",
        "most",
        "optimum tried",
        "best within 1 %",
        "largest loss of the best",
        "truly infeasible best",
        "optimum named",
    ]
    rows = []
    for of_seeds, by_name in zip(truths, found, strict=True):
        stops = by_name["guided"].stops
        losses = [stop.loss for stop in stops]
        rows.append(
            [
                of_seeds[0].name,
                f"{statistics.median(stop.trials for stop in stops):g}",
                f"{max(stop.trials for stop in stops)}",
                percent(statistics.mean(stop.tried for stop in stops)),
                percent(by_name["guided"].stopped_within),
                percent(max((loss for loss in losses if math.isfinite(loss)), default=math.nan), 1),
                f"{sum(map(math.isinf, losses))} of {len(losses)}",
                percent(statistics.mean(stop.named for stop in stops)),
            ]
        )
    return (
        f"Stopped as `tune` stops: after {LEAST_MEASURED} measurements at least, where the chance that something "
        f"better than 1 % is left is below {percent(STOP_AT)} and no GPU kind is in doubt (one that nobody measured, "
        f"and that would win if it were {DOUBT:g} times faster than modelled). `optimum` is any within 1 % of it; one "
        "trial of each cannot tell what its noise hides, so the last column counts the answers "
        "that name the optimum: as best, as tied with the best, or as kept out by noise alone.\n\n"
        + markdown_table(header, rows)
    )


def wrong_table(names: Sequence[str], wrong: Sequence[tuple[float, Searched]]) -> str:
    """Where the guide is far more wrong about the best GPU kind than it says: what had been tried at the stop."""
    rows = [
        [
            name,
            f"{factor:g}",
            str(len(found.stops)),
            f"{statistics.median(stop.trials for stop in found.stops):g}",
            percent(statistics.mean(stop.tried for stop in found.stops)),
            percent(statistics.mean(stop.named for stop in found.stops)),
        ]
        for name, (factor, found) in zip(names, wrong, strict=True)
    ]
    return (
        "Where the guide has the optimum's GPU kind so many times too slow, beside what it is off already, and states "
        "no more error than before:\n\n"
        + markdown_table(["truth", "times", "seeds", "trials, median", "optimum tried", "optimum named"], rows)
    )


def front_table(names: Sequence[str], shares: Sequence[Shares]) -> str:
    """Hypervolume over the true front's, by front and search."""
    rows = [
        [name, search, f"{statistics.median(of):.3f}", f"{min(of):.3f}"]
        for name, by_search in zip(names, shares, strict=True)
        for search, of in by_search.items()
    ]
    return (
        f"Hypervolume after {percent(FRONT_SHARE)} of the grid over the true front's, by true values of feasible "
        "trials:\n\n" + markdown_table(["front", "search", "median", "worst"], rows)
    )


def limits_table(found: Sequence[tuple[str, Searched]]) -> str:
    """The share of the grid under other limits: of each truth, what was asked and what was found."""
    rows = [
        [where, each.name, percent(each.share, 1), percent(each.share_at(1), 1), str(len(each.trials))]
        for where, each in found
    ]
    return markdown_table(["truth and limits", "search", "share of the grid, median", "worst", "seeds"], rows)
