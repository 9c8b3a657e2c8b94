"""How often the recommended configuration stays the best when everything uncertain is drawn again, and its interval.

Drawn: what the bench found (draws of the device model's fit, or the 95 % intervals of a measured record), and, where
grams are asked, the embodied preset and the place in its range. The basis of the carbon intensity is a choice, not an
error: the asked one stands, and the same draws are counted once more under the grid's other basis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.bench.points import Indices
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.certainty.contenders import Contenders
from carbonsweep.certainty.counting import DRAWS, NOBODY, Counting, Draws, other_intensity
from carbonsweep.certainty.ranges import EmbodiedRange, embodied_range_view
from carbonsweep.certainty.sources import BenchDraws, bench_draws
from carbonsweep.domain import CarbonIntensity, Configuration
from carbonsweep.facts.draws import FitDraws
from carbonsweep.search.objectives import Question

INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A configuration, and in what share of the draws it is the best of those that meet every limit."""

    configuration: Configuration
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherBasis:
    """The grid's other intensity: the best by what was found, and who is best in the same draws."""

    intensity: CarbonIntensity
    nominal: Configuration
    best_share: float | None
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certainty:
    """How sure the answer's best configuration is; values of the first objective in its own unit, grams as asked.

    `low` to `high` is the 95 % interval over the draws, `shares` who is best in how many of them (largest first, none
    that never is), `nothing_feasible` the share in which nothing meets the limits, `best_misses` in which the best
    does not. `by_source` is the best's share where one source alone is drawn: "bench" (fits, measured intervals),
    "presets" (embodied carbon), "basis" (of the carbon intensity: the two are two draws). Where draws of the fit are
    missing, `unknown` says so, and everything that rests on them is None or empty. `contenders` of `configurations`
    were drawn; `how` says what was.
    """

    best: Configuration
    objective: str
    draws: int
    low: float | None
    high: float | None
    low_g: float | None
    high_g: float | None
    shares: tuple[Share, ...]
    gpu_shares: Mapping[str, float]
    nothing_feasible: float | None
    best_misses: float | None
    by_source: Mapping[str, float]
    other_basis: OtherBasis | None
    embodied_range: EmbodiedRange | None
    contenders: int
    configurations: int
    how: tuple[str, ...]
    unknown: str | None

    @property
    def best_share(self) -> float | None:
        """Share of the draws in which the recommended configuration is the best."""
        if self.unknown is not None:
            return None
        return next((each.share for each in self.shares if each.configuration == self.best), 0.0)

    @property
    def runner_up(self) -> Share | None:
        """Of the others the one that is best most often."""
        return next((each for each in self.shares if each.configuration != self.best), None)

    @property
    def most_moved_by(self) -> str | None:
        """The source that alone takes the most from the best; None where none takes any."""
        moving = {name: share for name, share in self.by_source.items() if share < 1}
        return min(moving, key=moving.__getitem__) if moving else None


def certainty(contenders: Contenders, question: Question, fits: FitDraws | None) -> Certainty:
    """Of contenders in their order (the first is the answer's best); `fits` are draws of the device model, if any.

    Raises BadInput for a device no embodied preset knows.
    """
    bench = bench_draws(contenders, fits)
    counted = Counting(contenders, question)
    by_source: dict[str, Indices] = {}
    if counted.priced:
        by_source["presets"] = counted.presets_alone()
    found = None
    if isinstance(bench, BenchDraws):
        found = counted.drawn(bench)
        by_source = {"bench": found.bench_alone, **by_source}
    other = other_intensity(question)
    shares = {name: _best_share(contenders, winners) for name, winners in by_source.items()}
    other_winner = None if other is None else counted.nominal_winner(other)
    if other_winner is not None:
        same = contenders.configuration(other_winner) == contenders.configuration(0)
        shares["basis"] = 1.0 if same else 0.5
    low, high = (None, None) if found is None else _interval(found.best_value)
    low_g, high_g = (None, None) if found is None else _interval(found.best_g)
    winners = np.empty(0, dtype=np.intp) if found is None else found.winners
    return Certainty(
        best=contenders.configuration(0),
        objective=question.objectives[0].name,
        draws=DRAWS,
        low=low,
        high=high,
        low_g=low_g,
        high_g=high_g,
        shares=_shares(contenders, winners),
        gpu_shares=_gpu_shares(contenders, winners),
        nothing_feasible=None if found is None else float(np.mean(winners == NOBODY)),
        best_misses=None if found is None else float(np.mean(~found.best_meets)),
        by_source=shares,
        other_basis=_other_basis(contenders, other, other_winner, found),
        embodied_range=embodied_range_view(contenders, question) if counted.priced else None,
        contenders=len(contenders),
        configurations=contenders.of,
        how=_how(contenders, bench, counted),
        unknown=bench if isinstance(bench, str) else None,
    )


def _interval(values: Array | None) -> tuple[float, float] | tuple[None, None]:
    """Its 95 % interval over the draws; without any, or where one is unknown, twice None."""
    if values is None or np.isnan(values).any():
        return None, None
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)


def _shares(contenders: Contenders, winners: Indices) -> tuple[Share, ...]:
    """By configuration, for two records may be of one; the first of equal shares ranks first."""
    counted: dict[Configuration, int] = {}
    places, times = np.unique(winners[winners != NOBODY], return_counts=True)
    for place, count in zip(places.tolist(), times.tolist(), strict=True):
        configuration = contenders.configuration(place)
        counted[configuration] = counted.get(configuration, 0) + count
    found = [Share(configuration=each, share=count / len(winners)) for each, count in counted.items()]
    return tuple(sorted(found, key=lambda each: -each.share))


def _best_share(contenders: Contenders, winners: Indices) -> float:
    """Of the first contender's configuration."""
    best = contenders.configuration(0)
    return next((each.share for each in _shares(contenders, winners) if each.configuration == best), 0.0)


def _gpu_shares(contenders: Contenders, winners: Indices) -> dict[str, float]:
    shares: dict[str, float] = {}
    for each in _shares(contenders, winners):
        shares[each.configuration.gpu] = shares.get(each.configuration.gpu, 0.0) + each.share
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _other_basis(
    contenders: Contenders, intensity: CarbonIntensity | None, winner: int | None, found: Draws | None
) -> OtherBasis | None:
    if intensity is None or winner is None:
        return None
    winners = np.empty(0, dtype=np.intp) if found is None or found.other_winners is None else found.other_winners
    return OtherBasis(
        intensity=intensity,
        nominal=contenders.configuration(winner),
        best_share=_best_share(contenders, winners) if len(winners) else None,
        shares=_shares(contenders, winners),
    )


def _how(contenders: Contenders, bench: BenchDraws | str, counted: Counting) -> tuple[str, ...]:
    """What was drawn, in words."""
    said: list[str] = []
    measured = int((~contenders.modelled).sum())
    if isinstance(bench, BenchDraws) and bench.fit_draws is not None:
        said.append(
            f"{bench.fit_draws} draws of the device model's fit, joint over the GPUs of an engine, with an error in "
            "time and power of each GPU that all its models and batch sizes share"
        )
    if measured:
        rehearsed = " (rehearsed, on a stand-in)" if contenders.rehearsed.any() else ""
        said.append(f"the 95 % intervals of {measured} measured records{rehearsed}, each by itself")
    if counted.priced and counted.embodied is not None:
        presets = ", ".join(counted.embodied.presets)
        said.append(f"embodied presets {presets}, each anywhere in its range, all GPUs at the same place of it")
    return tuple(said)
