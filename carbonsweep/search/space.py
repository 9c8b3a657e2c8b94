"""The search space: the product of what the user listed, as configurations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from carbonsweep import facts
from carbonsweep.domain import DTYPE_BYTES, Configuration, Dtype
from carbonsweep.errors import BadInput, UnknownFact

Value = TypeVar("Value", str, int, Dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Every combination of the axes. Names are canonical fact keys, in the user's order, each once."""

    models: tuple[str, ...]
    gpus: tuple[str, ...]
    gpu_counts: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    dtypes: tuple[Dtype, ...]
    engines: tuple[str, ...]

    @property
    def size(self) -> int:
        size = 1
        for choices in self.axes().values():
            size *= len(choices)
        return size

    def axes(self) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
        """Choices by field of `Configuration`; the order is that of the search."""
        return {
            "model": self.models,
            "gpu": self.gpus,
            "gpu_count": self.gpu_counts,
            "batch_size": self.batch_sizes,
            "dtype": self.dtypes,
            "engine": self.engines,
        }

    def configurations(self) -> Iterator[Configuration]:
        """All points, the last axis fastest."""
        for model, gpu, count, batch_size, dtype, engine in itertools.product(
            self.models, self.gpus, self.gpu_counts, self.batch_sizes, self.dtypes, self.engines
        ):
            yield Configuration(
                model=model, gpu=gpu, gpu_count=count, batch_size=batch_size, dtype=dtype, engine=engine
            )

    def __contains__(self, configuration: object) -> bool:
        return isinstance(configuration, Configuration) and all(
            getattr(configuration, field) in choices for field, choices in self.axes().items()
        )


def space(
    *,
    models: tuple[str, ...],
    gpus: tuple[str, ...],
    gpu_counts: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    dtypes: tuple[str, ...],
    engines: tuple[str, ...],
) -> Space:
    """A space from what a user typed: names looked up, repetitions dropped.

    Raises UnknownFact for a name no table has, BadInput for an empty axis or a number below 1.
    """
    listed = {
        "models": models,
        "gpus": gpus,
        "gpu-counts": gpu_counts,
        "batch-sizes": batch_sizes,
        "dtypes": dtypes,
        "engine": engines,
    }
    for axis, choices in listed.items():
        if not choices:
            raise BadInput(f"--{axis} is empty: list at least one value")
    for axis, numbers in (("gpu-counts", gpu_counts), ("batch-sizes", batch_sizes)):
        for number in numbers:
            if number < 1:
                raise BadInput(f"--{axis} holds {number}: every value must be at least 1")
    return Space(
        models=_each_once(facts.language_model(name).key for name in models),
        gpus=_each_once(facts.device_key(name) for name in gpus),
        gpu_counts=_each_once(iter(gpu_counts)),
        batch_sizes=_each_once(iter(batch_sizes)),
        dtypes=_each_once(_dtype(name) for name in dtypes),
        engines=_each_once(iter(engines)),
    )


def _each_once(values: Iterator[Value]) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(values))


def _dtype(name: str) -> Dtype:
    for dtype in DTYPE_BYTES:
        if dtype == name.casefold():
            return dtype
    raise UnknownFact("dtype", name, DTYPE_BYTES)
