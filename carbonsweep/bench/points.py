"""Configurations as indices into the distinct values of each axis: millions are named by a few short lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from carbonsweep.domain import Configuration, Dtype

Indices = NDArray[np.intp]
Value = TypeVar("Value", str, int, Dtype)


@dataclass(frozen=True, slots=True)
class Axis(Generic[Value]):
    """The distinct values of one axis, and an index into them of shape (configurations,)."""

    values: tuple[Value, ...]
    index: Indices

    def at(self, i: int) -> Value:
        return self.values[int(self.index[i])]

    def of(self, rows: slice | Indices) -> Axis[Value]:
        """The same values for some of the configurations."""
        return Axis(self.values, self.index[rows])

    def places(self, value: Value) -> NDArray[np.bool_]:
        """Where `value` is. Raises ValueError where it is none of the values."""
        return np.equal(self.index, self.values.index(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Configurations, axis by axis."""

    model: Axis[str]
    gpu: Axis[str]
    gpu_count: Axis[int]
    batch_size: Axis[int]
    dtype: Axis[Dtype]
    engine: Axis[str]

    def __len__(self) -> int:
        return len(self.model.index)

    def part(self, rows: slice | Indices) -> Points:
        """Some of the configurations, in the order of `rows`."""
        return Points(
            model=self.model.of(rows),
            gpu=self.gpu.of(rows),
            gpu_count=self.gpu_count.of(rows),
            batch_size=self.batch_size.of(rows),
            dtype=self.dtype.of(rows),
            engine=self.engine.of(rows),
        )

    def configuration(self, i: int) -> Configuration:
        """The i-th configuration."""
        return Configuration(
            model=self.model.at(i),
            gpu=self.gpu.at(i),
            gpu_count=self.gpu_count.at(i),
            batch_size=self.batch_size.at(i),
            dtype=self.dtype.at(i),
            engine=self.engine.at(i),
        )

    def index(self, configuration: Configuration) -> int:
        """The first place of `configuration`. Raises ValueError where it is not among the points."""
        found = np.flatnonzero(
            self.model.places(configuration.model)
            & self.gpu.places(configuration.gpu)
            & self.gpu_count.places(configuration.gpu_count)
            & self.batch_size.places(configuration.batch_size)
            & self.dtype.places(configuration.dtype)
            & self.engine.places(configuration.engine)
        )
        if not len(found):
            raise ValueError(f"{configuration} is none of the {len(self)} points")
        return int(found[0])


def listed(configurations: Sequence[Configuration]) -> Points:
    """Points of any configurations, in their order."""
    return Points(
        model=_axis(c.model for c in configurations),
        gpu=_axis(c.gpu for c in configurations),
        gpu_count=_axis(c.gpu_count for c in configurations),
        batch_size=_axis(c.batch_size for c in configurations),
        dtype=_axis(c.dtype for c in configurations),
        engine=_axis(c.engine for c in configurations),
    )


def product(
    *,
    models: tuple[str, ...],
    gpus: tuple[str, ...],
    gpu_counts: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    dtypes: tuple[Dtype, ...],
    engines: tuple[str, ...],
) -> Points:
    """Every combination, the last axis fastest."""
    shape = tuple(map(len, (models, gpus, gpu_counts, batch_sizes, dtypes, engines)))
    indices = iter(np.indices(shape, dtype=np.intp).reshape(len(shape), -1))
    return Points(
        model=Axis(models, next(indices)),
        gpu=Axis(gpus, next(indices)),
        gpu_count=Axis(gpu_counts, next(indices)),
        batch_size=Axis(batch_sizes, next(indices)),
        dtype=Axis(dtypes, next(indices)),
        engine=Axis(engines, next(indices)),
    )


def _axis(values: Iterable[Value]) -> Axis[Value]:
    order: dict[Value, int] = {}
    indices = [order.setdefault(value, len(order)) for value in values]
    return Axis(tuple(order), np.array(indices, dtype=np.intp))
