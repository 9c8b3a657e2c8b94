"""Quantities as a person reads them in an answer: three digits and a prefix that keeps them readable."""

from __future__ import annotations

from collections.abc import Mapping

from carbonsweep.search.objectives import Question


def grams(value_g: float | None) -> str:
    """Three significant digits with the prefix that keeps them readable; None is 'unknown'."""
    return _prefixed(value_g, {"kg": 1e-3, "g": 1.0, "mg": 1e3, "µg": 1e6})


def joules(value_j: float | None) -> str:
    """Likewise."""
    return _prefixed(value_j, {"MJ": 1e-6, "kJ": 1e-3, "J": 1.0, "mJ": 1e3})


def data_size(value_bytes: float) -> str:
    """Likewise, in powers of ten."""
    return _prefixed(value_bytes, {"TB": 1e-12, "GB": 1e-9, "MB": 1e-6, "kB": 1e-3, "B": 1.0})


def _prefixed(value: float | None, factors: Mapping[str, float]) -> str:
    """In the first unit, from large to small, that makes it at least 1; else in the last."""
    if value is None:
        return "unknown"
    unit = next((unit for unit, factor in factors.items() if value * factor >= 1), list(factors)[-1])
    return f"{value * factors[unit]:.3g} {unit}"


def digits(value: float, significant: int = 4) -> str:
    """So many significant digits, thousands set apart, large numbers written out."""
    return f"{float(f'{value:.{significant}g}'):,.10g}"


def seconds(value_s: float) -> str:
    """Milliseconds below one second."""
    return f"{value_s * 1e3:.3g} ms" if value_s < 1 else f"{value_s:.3g} s"


def span(value_s: float) -> str:
    """How long something takes that may take hours: seconds, from ten minutes on minutes."""
    if value_s < 600:
        return seconds(value_s)
    hours, minutes = divmod(round(value_s / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def objective_value(question: Question, value: float) -> str:
    """A value of the first objective, with its unit."""
    objective = question.objectives[0]
    if objective.unit == "s":
        return seconds(value)
    unit = objective.unit_under(question.scenario)
    if objective.name == "carbon":
        return f"{grams(value)} {unit.removeprefix('g ')}"
    return f"{digits(value)} {unit}"
