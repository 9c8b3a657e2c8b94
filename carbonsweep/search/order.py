"""The order in which measuring pays: weights loaded once for all batch sizes, small batches first.

What memory refuses at one batch size it refuses at every larger one, so the smallest that does not fit spares the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import TypeVar

from carbonsweep.domain import Configuration

_Value = TypeVar("_Value", bound=Hashable)


def weights_group(configuration: Configuration) -> tuple[str, int, str, str, str]:
    """Everything but the batch size: configurations of one group use the same loaded weights."""
    return configuration.gpu, configuration.gpu_count, configuration.model, configuration.dtype, configuration.engine


def grouped(configurations: Iterable[Configuration]) -> list[Configuration]:
    """Group after group, batch sizes ascending; GPUs, and models on each, in the order they first appear in."""
    given = list(configurations)
    gpus, groups = _ranks(c.gpu for c in given), _ranks(map(weights_group, given))
    return sorted(given, key=lambda c: (gpus[c.gpu], groups[weights_group(c)], c.batch_size))


def next_in_order(
    untried: Sequence[Configuration], running: Collection[Configuration], last: Configuration | None
) -> Configuration:
    """The one of `untried` (in the order of `grouped`, not empty) that spares loads while others are `running`.

    First the group of `last`, whose worker is free now and holds those weights; then a group nobody runs, on the GPU
    with the fewest running; a second worker joins a group only when every group has one.
    """
    busy_groups, busy_gpus = {weights_group(c) for c in running}, Counter(c.gpu for c in running)
    own = None if last is None else weights_group(last)

    def cost(configuration: Configuration) -> tuple[bool, bool, int]:
        group = weights_group(configuration)
        return group != own, group in busy_groups, busy_gpus[configuration.gpu]

    return min(untried, key=cost)


def _ranks(values: Iterable[_Value]) -> dict[_Value, int]:
    return {value: rank for rank, value in enumerate(dict.fromkeys(values))}
