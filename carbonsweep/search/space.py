"""The search space: the product of what the user listed, as configurations; on some GPU kinds of fewer choices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from carbonsweep import facts
from carbonsweep.domain import DTYPE_BYTES, Configuration, Dtype
from carbonsweep.errors import BadInput, UnknownFact

Value = TypeVar("Value", str, int, Dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindChoices:
    """What one GPU kind is tried with, where that is not everything the axes hold."""

    gpu: str
    dtypes: tuple[str, ...]
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Every combination of the axes. Names are canonical fact keys, in the user's order, each once.

    A GPU kind in `of_kind` has its own dtypes and engines: a measured kind and a modelled one share no engine.
    Raises ValueError where none of them is on the axes: the kind would be left out in silence.
    """

    models: tuple[str, ...]
    gpus: tuple[str, ...]
    gpu_counts: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    dtypes: tuple[Dtype, ...]
    engines: tuple[str, ...]
    of_kind: tuple[KindChoices, ...] = ()

    def __post_init__(self) -> None:
        for each in self.of_kind:
            if not (self.dtypes_on(each.gpu) and self.engines_on(each.gpu)):
                raise ValueError(f"{each} has nothing in common with dtypes {self.dtypes} and engines {self.engines}")

    @property
    def size(self) -> int:
        of_kinds = sum(len(self.dtypes_on(gpu)) * len(self.engines_on(gpu)) for gpu in self.gpus)
        return len(self.models) * len(self.gpu_counts) * len(self.batch_sizes) * of_kinds

    def dtypes_on(self, gpu: str) -> tuple[Dtype, ...]:
        """Dtypes a GPU kind is tried with."""
        own = self._own(gpu)
        return self.dtypes if own is None else tuple(dtype for dtype in self.dtypes if dtype in own.dtypes)

    def engines_on(self, gpu: str) -> tuple[str, ...]:
        """Engines a GPU kind is tried with."""
        own = self._own(gpu)
        return self.engines if own is None else tuple(engine for engine in self.engines if engine in own.engines)

    @property
    def conditional_axes(self) -> tuple[str, ...]:
        """Axes of which GPU kinds have different choices, and one kind at least more than one."""
        of_kinds = {"dtype": self.dtypes_on, "engine": self.engines_on}
        choices = {axis: {of_kind(gpu) for gpu in self.gpus} for axis, of_kind in of_kinds.items()}
        return tuple(axis for axis, sets in choices.items() if len(sets) > 1 and max(map(len, sets)) > 1)

    def _own(self, gpu: str) -> KindChoices | None:
        return next((each for each in self.of_kind if each.gpu == gpu), None)

    def axes(self) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
        """Choices by field of `Configuration`, those of all GPU kinds together; the order is that of the search."""
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
        for model, gpu in itertools.product(self.models, self.gpus):
            for count, batch_size, dtype, engine in itertools.product(
                self.gpu_counts, self.batch_sizes, self.dtypes_on(gpu), self.engines_on(gpu)
            ):
                yield Configuration(
                    model=model, gpu=gpu, gpu_count=count, batch_size=batch_size, dtype=dtype, engine=engine
                )

    def __contains__(self, configuration: object) -> bool:
        if not isinstance(configuration, Configuration):
            return False
        axes = {
            **self.axes(),
            "dtype": self.dtypes_on(configuration.gpu),
            "engine": self.engines_on(configuration.gpu),
        }
        return all(getattr(configuration, field) in choices for field, choices in axes.items())


def space(
    *,
    models: tuple[str, ...],
    gpus: tuple[str, ...],
    gpu_counts: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    dtypes: tuple[str, ...],
    engines: tuple[str, ...],
    of_kind: tuple[KindChoices, ...] = (),
) -> Space:
    """A space from what a user typed: names looked up, repetitions dropped; `of_kind` as a `benches.Chosen` has it.

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
        of_kind=tuple(replace(each, dtypes=_each_once(_dtype(name) for name in each.dtypes)) for each in of_kind),
    )


def _each_once(values: Iterator[Value]) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(values))


def _dtype(name: str) -> Dtype:
    for dtype in DTYPE_BYTES:
        if dtype == name.casefold():
            return dtype
    raise UnknownFact("dtype", name, DTYPE_BYTES)
