"""How good searches are over the seeds of a ground truth: trials until found, where one would stop, fronts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.searchers import SEARCHES, Run, Search, for_trials, until_found
from benchmarks.truths.truth import WITHIN, Truth
from carbonsweep.answer import answer
from carbonsweep.pareto import hypervolume, reference_point
from carbonsweep.ties import kept_out_by_noise, tie

Told = Callable[[str], None]

FRONT_SHARE: Final = 0.25
"""Share of the grid after which fronts are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where a run would have stopped by itself: `loss` is the true relative loss of what it would have answered.

    +inf where that is truly infeasible (noise hid it) or nothing feasible had been found. `tried`: one within 1 % of
    the optimum had been; `named`: the answer names it, as best, as tied with the best, or as kept out by noise alone.
    """

    trials: int
    loss: float
    tried: bool
    named: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """One search on one truth, a value for each seed; `infeasible` is the share of its trials, `gpu_s` until found."""

    name: str
    grid: int
    trials: tuple[int, ...]
    infeasible: tuple[float, ...]
    thought_s: float  # of a trial, mean
    gpu_s: tuple[float, ...] | None
    stops: tuple[Stop, ...]

    @property
    def share(self) -> float:
        """Median share of the grid's trials until a configuration within 1 % of the optimum was tried."""
        return statistics.median(self.trials) / self.grid

    def share_at(self, quantile: float) -> float:
        """The same at another quantile."""
        return float(np.quantile(self.trials, quantile)) / self.grid

    @property
    def stopped_within(self) -> float:
        """Share of the runs that would have answered within 1 % of the optimum."""
        return sum(stop.loss <= WITHIN for stop in self.stops) / len(self.stops)


def searched(name: str, truths: Sequence[Truth], told: Told = lambda _: None) -> Searched:
    """Run a search once on each of `truths`, seeded by its place; `told` hears of each run."""
    runs = []
    for seed, truth in enumerate(truths):
        told(f"{truth.name}: {name}, seed {seed}")
        runs.append(_run(SEARCHES[name], truth, seed))
    trials = [_until_found(run, truth) for run, truth in zip(runs, truths, strict=True)]
    needed = [run.tried[:count] for run, count in zip(runs, trials, strict=True)]
    known_s = [truth.gpu_s for truth in truths if truth.gpu_s is not None]
    return Searched(
        name=name,
        grid=len(truths[0].configurations),
        trials=tuple(trials),
        infeasible=tuple(
            sum(not truth.is_feasible(c) for c in tried) / len(tried)
            for tried, truth in zip(needed, truths, strict=True)
        ),
        thought_s=sum(run.thought_s for run in runs) / sum(len(run.tried) for run in runs),
        gpu_s=tuple(sum(gpu_s[c] for c in tried) for tried, gpu_s in zip(needed, known_s, strict=True))
        if known_s
        else None,
        stops=tuple(_stop(run, truth) for run, truth in zip(runs, truths, strict=True) if run.stopped is not None),
    )


def front_share(name: str, truths: Sequence[Truth], told: Told = lambda _: None) -> tuple[float, ...]:
    """Hypervolume at a quarter of the grid over that of the true front, for each of `truths`; 1 is all of it.

    By true values of the truly feasible configurations that were tried; the reference is that of all feasible ones.
    """
    shares = []
    for seed, truth in enumerate(truths):
        told(f"{truth.name}: front by {name}, seed {seed}")
        trials = round(FRONT_SHARE * len(truth.configurations))
        run = SEARCHES[name](truth, seed, for_trials(trials))
        losses = truth.losses[truth.feasible]
        reference = reference_point(losses)
        tried = np.array([truth.loss_of(c) for c in run.tried if truth.is_feasible(c)]).reshape(-1, losses.shape[1])
        shares.append(hypervolume(tried, reference) / hypervolume(losses, reference))
    return tuple(shares)


def _run(search: Search, truth: Truth, seed: int) -> Run:
    """Until found; one that says when it would stop, until it would as well."""
    finding = until_found(truth)
    seen = False

    def going(run: Run) -> bool:
        nonlocal seen
        seen = seen or not finding(run)
        return not seen or (run.stops and run.stopped is None)

    return search(truth, seed, going)


def _until_found(run: Run, truth: Truth) -> int:
    found = truth.found
    return next(i for i, c in enumerate(run.tried, 1) if c in found)


def _stop(run: Run, truth: Truth) -> Stop:
    assert run.stopped is not None, "asked of runs that stopped"
    tried = run.tried[: run.stopped]
    found = answer((truth.records[c] for c in tried), truth.question)
    tied = tie(found)
    shown = (*(() if tied is None else tied.candidates), *kept_out_by_noise(found))
    return Stop(
        trials=run.stopped,
        loss=math.inf if found.best is None else truth.regret_of(found.best.record.configuration),
        tried=not truth.found.isdisjoint(tried),
        named=not truth.found.isdisjoint(candidate.record.configuration for candidate in shown),
    )
