"""The device model that guides a search through a truth, as plain arrays, and what it was fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from carbonsweep.bench.points import listed
from carbonsweep.bench.roofline import Prediction, predict
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.observations import Observation
from carbonsweep.domain import Configuration, Workload
from carbonsweep.facts.engines import engine
from carbonsweep.objective_arrays import Quantities
from carbonsweep.search.guided.guidance import OTHER_STACK_ERROR, Guidance, predicted_guidance
from carbonsweep.search.objectives import Question

ERRORS = ("prefill_time_error", "prefill_energy_error", "decode_time_error", "decode_energy_error")
"""Relative half-widths of 95 % intervals that a guiding model states of itself, as fields of `Engine`."""


@dataclass(frozen=True, kw_only=True)
class Guiding:
    """Predictions of shape (configurations,), `errors` of them by name in `ERRORS`, each of the same shape.

    `statement` says in one line what it is and what it was fitted to; `fitted_to` are those rows, where they are known
    one by one.
    """

    configurations: tuple[Configuration, ...]
    predicted: Prediction
    errors: Mapping[str, Array]
    statement: str
    fitted_to: tuple[Observation, ...] = ()

    @property
    def guidance(self) -> Guidance:
        """The same, as a guide takes it."""
        return predicted_guidance(self.predicted, **self.errors, source=self.statement)

    def values(self, question: Question, workload: Workload) -> Array:
        """What it says of the first objective, in its own unit; NaN where it says that nothing can be measured."""
        quantities = Quantities.of(listed(self.configurations), self.predicted, workload.output_tokens)
        values = quantities.value(question.objectives[0].name, question.scenario)
        return np.where(self.predicted.supported & self.predicted.fits, values, np.nan)


def of_another_stack(errors: Mapping[str, Array]) -> dict[str, Array]:
    """The same errors where a model is asked about a stack it was not fitted to: its times may be off by more."""
    return {name: np.hypot(error, OTHER_STACK_ERROR) for name, error in errors.items()}


def of_engine(
    name: str, configurations: Sequence[Configuration], asked: Sequence[Configuration], workload: Workload
) -> Guiding:
    """The device model under the shipped row of engine `name`, for `configurations` of another engine.

    `asked` are the same points with that engine. Raises UnknownFact.
    """
    rows = [engine(name, c.gpu) for c in asked]
    fitted = engine(name, "")
    return Guiding(
        configurations=tuple(configurations),
        predicted=predict(asked, workload),
        errors=of_another_stack({error: np.array([getattr(row, error) for row in rows]) for error in ERRORS}),
        statement=f"the device model of engine {fitted.key} ({fitted.version}): {fitted.source}",
    )
