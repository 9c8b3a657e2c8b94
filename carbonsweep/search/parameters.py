"""Configurations as Optuna knows them: which parameters each has, under which names, with which choices.

A name keeps its choices for the whole study, as Optuna demands. Where the GPU kinds of a space have different choices
of an axis, each set of choices is a parameter of its own, suggested after the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from carbonsweep.domain import Configuration
from carbonsweep.search.space import Space

Choices = tuple[str, ...] | tuple[int, ...]


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
        suggested[axis] = trial.suggest_categorical(name, choices)
    return Configuration(**suggested)


def params(space: Space, configuration: Configuration) -> dict[str, Any]:
    """What a trial of this configuration was suggested, for `enqueue_trial` and `create_trial`."""
    return {_parameter(space, axis, configuration.gpu)[0]: getattr(configuration, axis) for axis in space.axes()}


def distributions(space: Space, configuration: Configuration) -> dict[str, BaseDistribution]:
    """What each parameter of this configuration was chosen from, for `create_trial`."""
    named = (_parameter(space, axis, configuration.gpu) for axis in space.axes())
    return {name: CategoricalDistribution(choices) for name, choices in named}


def configuration(space: Space, params: Mapping[str, Any]) -> Configuration:
    """The configuration with these parameters. Raises KeyError where one is missing (see `completed`)."""
    return Configuration(**{axis: params[_parameter(space, axis, params["gpu"])[0]] for axis in space.axes()})


def _parameter(space: Space, axis: str, gpu: str) -> tuple[str, Choices]:
    """Name and choices of an axis on a GPU kind: "engine", or "engine@paper+healthy" where the kinds differ in it.

    An axis that comes before the GPU, and the GPU itself, is the same for all kinds.
    """
    of_kind = {"dtype": space.dtypes_on, "engine": space.engines_on}.get(axis)
    if of_kind is None:
        return axis, space.axes()[axis]
    choices = of_kind(gpu)
    alike = all(of_kind(other) == choices for other in space.gpus)
    return (axis if alike else f"{axis}@{'+'.join(choices)}"), choices
