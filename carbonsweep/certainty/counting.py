"""Who is best in each draw: all contenders priced in blocks of draws, with every source drawn or with one alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.bench.points import Indices
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.certainty.contenders import Contenders
from carbonsweep.certainty.pricing import Found, nominal, total_g, value, within_limits
from carbonsweep.certainty.sources import BenchDraws, asked_kg, embodied_draws
from carbonsweep.domain import CarbonIntensity
from carbonsweep.errors import BadInput
from carbonsweep.search.objectives import Question

DRAWS: Final = 1024
BLOCK: Final = 2**18
"""Draws times contenders at a time: some twenty arrays of so many float64, 40 MB."""
NOBODY: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Of each draw: the winner's place, that with the asked preset's own values, that under the other intensity."""

    winners: Indices
    bench_alone: Indices
    other_winners: Indices | None
    best_value: Array
    best_g: Array | None
    best_meets: NDArray[np.bool_]


class Counting:
    """Who wins, counted in blocks of draws."""

    def __init__(self, contenders: Contenders, question: Question) -> None:
        self.contenders, self.question = contenders, question
        self.objective, self.scenario = question.objectives[0], question.scenario
        self.priced = self.objective.name == "carbon"
        knows_g = self.scenario.intensity is not None and _has_joules(contenders)
        self.embodied = embodied_draws(contenders.gpus, self.scenario, DRAWS) if knows_g else None
        self.asked_kg = asked_kg(contenders.gpus, self.scenario) if knows_g else None

    def winners(self, found: Found, kg: Array | None, intensity: CarbonIntensity | None = None) -> Indices:
        """Place of the best of each draw, the first of equals; NOBODY where nothing meets the limits."""
        scenario = self.scenario if intensity is None else dataclasses.replace(self.scenario, intensity=intensity)
        losses = self.objective.sign * value(self.contenders, found, self.objective, scenario, kg)
        met = np.broadcast_to(within_limits(self.contenders, found, self.question.slo), losses.shape)
        best: Indices = np.where(met, losses, np.inf).argmin(axis=1)
        return np.where(met.any(axis=1), best, NOBODY)

    def nominal_winner(self, intensity: CarbonIntensity) -> int:
        """The best of what was found, under another intensity."""
        return int(self.winners(nominal(self.contenders), self.asked_kg, intensity)[0])

    def presets_alone(self) -> Indices:
        """Winners where only the embodied preset and the place in its range are drawn."""
        kg = None if self.embodied is None else self.embodied.kg
        rows = max(1, BLOCK // len(self.contenders))
        found = nominal(self.contenders)
        blocks = [None if kg is None else kg[start : start + rows] for start in range(0, DRAWS, rows)]
        return np.concatenate([self.winners(found, block) for block in blocks])

    def drawn(self, bench: BenchDraws) -> Draws:
        """Everything drawn at once, and the bench alone beside it."""
        rows = max(1, BLOCK // len(self.contenders))
        other = other_intensity(self.question)
        kinds: list[list[Indices]] = [[], [], []]
        best_value, best_g, best_meets = [], [], []
        for start in range(0, DRAWS, rows):
            found = bench.found(start, min(start + rows, DRAWS))
            kg = None if self.embodied is None else self.embodied.kg[start : start + rows]
            kinds[0].append(self.winners(found, kg))
            kinds[1].append(self.winners(found, self.asked_kg) if self.priced else kinds[0][-1])
            kinds[2].append(kinds[0][-1] if other is None else self.winners(found, kg, other))
            best, first = self.contenders.picked(np.array([0])), _first(found)
            best_value.append(value(best, first, self.objective, self.scenario, kg))
            best_meets.append(within_limits(best, first, self.question.slo))
            if kg is not None:
                best_g.append(total_g(best, first, self.scenario, kg))
        winners, alone, others = (np.concatenate(parts) for parts in kinds)
        return Draws(
            winners=winners,
            bench_alone=alone,
            other_winners=None if other is None else others,
            best_value=np.concatenate(best_value)[:, 0],
            best_g=np.concatenate(best_g)[:, 0] if best_g else None,
            best_meets=np.concatenate(best_meets)[:, 0],
        )


def _first(found: Found) -> Found:
    """The draws of the first contender alone."""
    return Found(**{field.name: getattr(found, field.name)[:, :1] for field in dataclasses.fields(Found)})


def _has_joules(contenders: Contenders) -> bool:
    first = (contenders.prefill.energy_j, contenders.decode.energy_j, contenders.exposed_j)
    return not any(np.isnan(joules).any() for joules in first)


def other_intensity(question: Question) -> CarbonIntensity | None:
    """The same grid's intensity on the other basis, where it has one; the paper's rows name the zone that has both."""
    asked = question.scenario.intensity
    if question.objectives[0].name != "carbon" or asked is None or asked.basis == "given":
        return None
    row = facts.grids().get(asked.region)
    for region in () if row is None else (row.key, row.zone):
        try:
            if region is not None:
                return carbon_intensity(region, "direct" if asked.basis == "lifecycle" else "lifecycle")
        except BadInput:  # this row lacks it
            continue
    return None
