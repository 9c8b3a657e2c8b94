"""The first objective of many candidates under any scenario at once, as `answer` prices each by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonsweep.answer import Candidate
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.certainty.contenders import Contenders, of_measurements
from carbonsweep.certainty.pricing import nominal, value
from carbonsweep.certainty.sources import asked_kg
from carbonsweep.domain import Configuration, Scenario
from carbonsweep.explanation.sensitivity import EQUAL
from carbonsweep.search.objectives import Question


class Prices:
    """Candidates of an answer, the best first; values are (candidates,), NaN where one is unknown."""

    def __init__(self, candidates: Sequence[Candidate], question: Question) -> None:
        self.candidates, self.question = candidates, question
        self._contenders: dict[tuple[float, float | None], Contenders] = {}

    def values(self, scenario: Scenario) -> Array:
        """Of the first objective in its unit. Raises BadInput as `footprint`."""
        contenders, objective = self._of(scenario), self.question.objectives[0]
        kg = asked_kg(contenders.gpus, scenario) if objective.name == "carbon" else None
        found: Array = value(contenders, nominal(contenders), objective, scenario, kg)[0]
        return found

    def best(self, scenario: Scenario) -> tuple[float | None, Configuration | None]:
        """The value of the first candidate under `scenario`, and who is better than it there; None: unknown, nobody."""
        values = self.values(scenario)
        if np.isnan(values[0]):
            return None, None
        losses = self.question.objectives[0].sign * values
        least = int(np.nanargmin(losses))
        ahead = losses[least] < losses[0] - EQUAL * abs(losses[0])
        return float(values[0]), self.candidates[least].record.configuration if ahead else None

    def _of(self, scenario: Scenario) -> Contenders:
        """A split's idle power is shared out only where devices wait, so each utilisation has arrays of its own."""
        key = (scenario.utilisation, scenario.request_rate_per_s)
        if key not in self._contenders:
            configurations = [c.record.configuration for c in self.candidates]
            measurements = [c.measurement for c in self.candidates]
            self._contenders[key] = of_measurements(configurations, measurements, scenario)
        return self._contenders[key]
