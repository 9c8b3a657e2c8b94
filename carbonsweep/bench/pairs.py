"""Every configuration with every workload: what the device model computes with, block by block of the whole table.

An input that depends on the configuration alone is a column, on the workload alone a row; only the padded prompt length
depends on both. So what is computed of one of them is computed once, and memory is that of the block.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from carbonsweep.bench.points import Indices, Points
from carbonsweep.bench.roofline_inputs import Array, Inputs, of_configurations
from carbonsweep.domain import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The table of all pairs, not yet spread out: C configurations down, W workloads across; lengths in tokens."""

    points: Points
    columns: Mapping[str, Array]  # of each configuration, (C, 1)
    output_tokens: Array  # (1, W)
    prompt: Array  # mean length, (1, W)
    longest_prompt: Array  # (1, W)
    longest_of_batch: Array  # expected, (distinct batch sizes, W)

    @property
    def shape(self) -> tuple[int, int]:
        """Configurations, workloads."""
        return len(self.points), self.output_tokens.shape[1]

    def inputs(self, configurations: slice, workloads: slice) -> Inputs:
        """Inputs of one block of the table, of shapes that broadcast to (configurations, workloads)."""
        batch = self.points.batch_size.index[configurations]
        return Inputs(
            output_tokens=self.output_tokens[:, workloads],
            longest_prompt=self.longest_prompt[:, workloads],
            prompt=self.prompt[:, workloads],
            padded_prompt=self.longest_of_batch[:, workloads].take(batch, axis=0),
            **{name: column[configurations] for name, column in self.columns.items()},
        )

    def inputs_at(self, configurations: Indices, workloads: Indices) -> Inputs:
        """Inputs of single pairs, of shape (pairs,)."""
        batch = self.points.batch_size.index[configurations]
        return Inputs(
            output_tokens=self.output_tokens[0, workloads],
            longest_prompt=self.longest_prompt[0, workloads],
            prompt=self.prompt[0, workloads],
            padded_prompt=self.longest_of_batch[batch, workloads],
            **{name: column[configurations, 0] for name, column in self.columns.items()},
        )


def pairs(points: Points, workloads: Sequence[Workload]) -> Pairs:
    """Every point with every workload. Raises UnknownFact for a GPU, model or engine that no table has."""
    sizes = points.batch_size.values
    longest = [expected_longest(workload.prompt_tokens, sizes) for workload in workloads]
    return Pairs(
        points=points,
        columns={name: values[:, None] for name, values in of_configurations(points).items()},
        output_tokens=np.array([[float(workload.output_tokens) for workload in workloads]]),
        prompt=np.array([[workload.mean_prompt_tokens for workload in workloads]]),
        longest_prompt=np.array([[float(max(workload.prompt_tokens)) for workload in workloads]]),
        longest_of_batch=np.stack(longest, axis=1),
    )


@functools.lru_cache(maxsize=1024)
def expected_longest(prompt_tokens: tuple[int, ...], batch_sizes: tuple[int, ...]) -> Array:
    """`Workload.expected_longest` of each batch size: workloads that share their prompts share it."""
    lengths, counts = np.unique(np.array(prompt_tokens, dtype=float), return_counts=True)
    below = np.concatenate([[0.0], np.cumsum(counts) / len(prompt_tokens)])
    powers = below[:, None] ** np.array(batch_sizes, dtype=float)
    found: Array = lengths @ np.diff(powers, axis=0)
    return found
