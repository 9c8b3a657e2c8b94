"""Configurations as Optuna knows them: which parameters each has, under which names, with which choices.

A name keeps its choices for the whole study, as Optuna demands. Where the GPU kinds of a space have different choices
of an axis, each set of choices is a parameter of its own, suggested after the GPU. Numbers are ordered: Optuna is given
their rank, so that a sampler knows that 8 lies between 4 and 16, and the name lists what the ranks stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from carbonsweep.domain import Configuration
from carbonsweep.search.space import Space

Choices = tuple[str, ...] | tuple[int, ...]
ORDERED: Final = ("gpu_count", "batch_size")
"""Axes of numbers. Neighbours are one rank apart: of the usual powers of two that is their logarithm."""
MOST_NAMED: Final = 12
"""A name lists no more choices than these; of more, the first and the last."""


def ask(study: optuna.Study, space: Space) -> optuna.Trial:
    """A new trial of `study`, or the first of its queue, with every parameter of one configuration of `space`."""
    trial = study.ask()
    completed(trial, space)
    return trial


def completed(trial: optuna.Trial, space: Space) -> Configuration:
    """The configuration of a trial, whatever parameters it lacks suggested: one killed while it was asked for has some.

    What it has, or was enqueued with, stays.
    """
    suggested: dict[str, Any] = {}
    for axis in space.axes():
        name, choices = _parameter(space, axis, suggested.get("gpu", ""))
        if _is_ordered(axis, choices):
            suggested[axis] = choices[trial.suggest_int(name, 0, len(choices) - 1)]
        else:
            suggested[axis] = trial.suggest_categorical(name, choices)
    return Configuration(**suggested)


def params(space: Space, configuration: Configuration) -> dict[str, Any]:
    """What a trial of this configuration was suggested, for `enqueue_trial` and `create_trial`."""
    made = {}
    for axis in space.axes():
        name, choices = _parameter(space, axis, configuration.gpu)
        value = getattr(configuration, axis)
        made[name] = choices.index(value) if _is_ordered(axis, choices) else value
    return made


def distributions(space: Space, configuration: Configuration) -> dict[str, BaseDistribution]:
    """What each parameter of this configuration was chosen from, for `create_trial`."""
    made: dict[str, BaseDistribution] = {}
    for axis in space.axes():
        name, choices = _parameter(space, axis, configuration.gpu)
        ordered = _is_ordered(axis, choices)
        made[name] = IntDistribution(0, len(choices) - 1) if ordered else CategoricalDistribution(choices)
    return made


def configuration(space: Space, params: Mapping[str, Any]) -> Configuration:
    """The configuration with these parameters. Raises KeyError where one is missing (see `completed`)."""
    made = {}
    for axis in space.axes():
        name, choices = _parameter(space, axis, params["gpu"])
        made[axis] = choices[params[name]] if _is_ordered(axis, choices) else params[name]
    return Configuration(**made)


def _parameter(space: Space, axis: str, gpu: str) -> tuple[str, Choices]:
    """Name and choices of an axis on a GPU kind: "engine", or "engine@paper+healthy" where the kinds differ in it.

    An axis that comes before the GPU, and the GPU itself, is the same for all kinds. Ordered choices ascend:
    "batch_size@1+2+4".
    """
    of_kind = {"dtype": space.dtypes_on, "engine": space.engines_on}.get(axis)
    if of_kind is None:
        choices = space.axes()[axis]
        if not _is_ordered(axis, choices):
            return axis, choices
        numbers = tuple(sorted(int(choice) for choice in choices))
        return f"{axis}@{_listed(numbers)}", numbers
    own = of_kind(gpu)
    alike = all(of_kind(other) == own for other in space.gpus)
    return (axis if alike else f"{axis}@{'+'.join(own)}"), own


def _is_ordered(axis: str, choices: Choices) -> bool:
    return axis in ORDERED and len(choices) > 1


def _listed(numbers: tuple[int, ...]) -> str:
    if len(numbers) > MOST_NAMED:
        return f"{numbers[0]}+...+{numbers[-1]}"
    return "+".join(map(str, numbers))
