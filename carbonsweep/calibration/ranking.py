"""Which of two GPUs needs less energy for the same work: how often a model that has seen neither says so rightly."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.cases import Cases
from carbonsweep.calibration.observations import Observation

DIFFERENT: Final = 0.15
"""Energies closer than this are as good as equal: no pick is right or wrong."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Pairs whose energies differ enough, and how many of them were picked rightly."""

    right: int
    pairs: int

    def __add__(self, other: Picks) -> Picks:
        return Picks(self.right + other.right, self.pairs + other.pairs)


def picks(rows: Cases, energy_per_token_j: Array) -> Picks:
    """Over all pairs of rows of one model, engine, attention, batch and lengths on two GPUs."""
    measured = rows.measured["energy_per_token_j"]
    right = pairs = 0
    for one, other in itertools.combinations(range(len(rows)), 2):
        if not _comparable(rows.observations[one], rows.observations[other]):
            continue
        low, high = sorted((measured[one], measured[other]))
        if not high > (1 + DIFFERENT) * low:  # NaN, where no energy was measured, is not
            continue
        pairs += 1
        right += (energy_per_token_j[one] < energy_per_token_j[other]) == (measured[one] < measured[other])
    return Picks(int(right), pairs)


def _comparable(one: Observation, other: Observation) -> bool:
    return one.origin.gpu != other.origin.gpu and _work(one) == _work(other)


def _work(each: Observation) -> tuple[object, ...]:
    origin = each.origin
    lengths = (origin.batch_size, origin.prompt_tokens, origin.output_tokens)
    return (each.model.key, origin.engine, each.model.host_layers(origin.attention), *lengths)
