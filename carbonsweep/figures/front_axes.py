"""The axes of a Pareto picture: which objective, in which unit, linear or logarithmic, and what belongs on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from carbonsweep.answer import Answer, Candidate
from carbonsweep.figures.estimates import Estimate, objective_value
from carbonsweep.figures.page import drawn, mass_unit
from carbonsweep.search.objectives import Objective

DECADE: Final = 10.0
"""An axis whose values span more than this is logarithmic."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis of a Pareto picture: an objective, and the unit its values are shown in."""

    objective: Objective
    label: str
    factor: float

    @classmethod
    def of(cls, objective: Objective, answer: Answer) -> Scale:
        unit, factor = objective.unit_under(answer.question.scenario), 1.0
        if objective.unit.startswith("g/"):
            mass, factor = mass_unit(objective.value(c.measurement, answer.question.scenario) for c in drawn(answer))
            unit = f"{mass} {unit.removeprefix('g ')}"
        better = "more is better" if objective.sign < 0 else "less is better"
        return cls(objective, f"{objective.label}, {unit} ({better})", factor)

    def value(self, candidate: Candidate, answer: Answer) -> float:
        return self.factor * self.objective.value(candidate.measurement, answer.question.scenario)

    def interval(self, candidate: Candidate, answer: Answer) -> Estimate:
        """The value with the 95 % interval of its record."""
        return objective_value(self.objective, candidate.measurement, answer.question.scenario).times(self.factor)


def near(limit: float | None, values: Sequence[float]) -> list[float]:
    """The limit belongs in the picture unless it would squeeze the points into a corner."""
    return [] if limit is None or not min(values) / DECADE < limit < max(values) * DECADE else [limit]


def set_scale(axes: Axes, which: str, values: list[float]) -> None:
    """Log where the values span more than a decade; ticks are plain numbers, at 1, 2 and 5 of each decade."""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > DECADE
    if logarithmic:
        margin = (high / low) ** 0.07
        span = (low / margin, high * margin)
    else:
        margin = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
        span = (low - margin, high + margin)
    axes.set(**{f"{which}scale": "log" if logarithmic else "linear", f"{which}lim": span})
    axis = axes.xaxis if which == "x" else axes.yaxis
    if logarithmic:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e3 else (1,)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}" if abs(value) < 1e7 else f"{value:.0e}"))
