"""What is asked of a sweep: objectives, limits, scenario; and the value of each objective for one measurement."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from carbonsweep.carbon.footprint import batch_energy_j, footprint, functional_units
from carbonsweep.carbon.load import waits
from carbonsweep.domain import BenchIdentity, FunctionalUnit, Measurement, Scenario, Slo, TrialRecord
from carbonsweep.errors import BadInput, EnergyUnknown, UnknownFact
from carbonsweep.search.space import Space

UNITS: Final[Mapping[FunctionalUnit, str]] = {
    "1k-output-tokens": "1,000 output tokens",
    "output-token": "output token",
    "prompt": "prompt",
    "prompt-token": "prompt token",
}
"""Functional units as a reader says them."""
LIMIT_NAMES: Final = {"ttft_s": "TTFT", "tpot_s": "TPOT", "prompt_latency_s": "prompt latency"}
"""Limits of an Slo as a reader says them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One quantity to optimise.

    Energy is that of the GPUs, with the idle energy that falls on the work where devices wait (`carbon.load`).
    `needs_energy` and `needs_intensity` say what must be known before a value exists; `sign` is -1 where more is
    better, so that value x sign is always minimised.
    """

    name: str
    label: str
    unit: str
    value: Callable[[Measurement, Scenario], float]
    needs_energy: bool = False
    needs_intensity: bool = False
    sign: int = 1

    def unit_under(self, scenario: Scenario) -> str:
        """The unit, with the functional unit named: "s", "g CO2e per prompt", "J per prompt, idle included"."""
        amount, per_unit, _ = self.unit.partition("/functional unit")
        per = f" per {UNITS[scenario.functional_unit]}" if per_unit else ""
        co2 = " CO2e" if self.needs_intensity else ""
        return f"{amount}{co2}{per}{', idle included' if self.name == 'energy' and waits(scenario) else ''}"


def _carbon_g(measurement: Measurement, scenario: Scenario) -> float:
    return footprint(measurement, scenario).total_g


def _energy_j(measurement: Measurement, scenario: Scenario) -> float:
    return batch_energy_j(measurement, scenario) / functional_units(measurement, scenario.functional_unit)


OBJECTIVES: Final[Mapping[str, Objective]] = {
    objective.name: objective
    for objective in (
        Objective(
            name="carbon",
            label="total carbon",
            unit="g/functional unit",
            value=_carbon_g,
            needs_energy=True,
            needs_intensity=True,
        ),
        Objective(name="energy", label="energy", unit="J/functional unit", value=_energy_j, needs_energy=True),
        Objective(name="latency", label="prompt latency", unit="s", value=lambda m, _: m.prompt_latency_s),
        Objective(name="ttft", label="TTFT", unit="s", value=lambda m, _: m.ttft_s),
        Objective(name="tpot", label="TPOT", unit="s", value=lambda m, _: m.tpot_s),
        Objective(
            name="throughput", label="output throughput", unit="tokens/s", value=lambda m, _: m.throughput, sign=-1
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Objectives (the first decides which point of a front is recommended), limits and scenario."""

    objectives: tuple[Objective, ...]
    slo: Slo
    scenario: Scenario

    def values(self, measurement: Measurement) -> tuple[float, ...]:
        """One value per objective, in its own unit and direction; raises EnergyUnknown, BadInput as `footprint`."""
        return tuple(objective.value(measurement, self.scenario) for objective in self.objectives)

    def lacks(self, record: TrialRecord) -> str | None:
        """Why a measured record has no value of an objective (unknown joules), or None where it has all."""
        if record.measurement is None:
            return None
        try:
            self.values(record.measurement)
        except EnergyUnknown as error:
            return str(error)
        return None

    def losses(self, measurement: Measurement) -> tuple[float, ...]:
        """The same, turned so that less is better."""
        pairs = zip(self.objectives, self.values(measurement), strict=True)
        return tuple(objective.sign * value for objective, value in pairs)


def objectives(names: tuple[str, ...]) -> tuple[Objective, ...]:
    """Objectives by name, each once. Raises UnknownFact, or BadInput for an empty list."""
    if not names:
        raise BadInput(f"--objective is empty: list at least one of {', '.join(OBJECTIVES)}")
    for name in names:
        if name.casefold() not in OBJECTIVES:
            raise UnknownFact("objective", name, OBJECTIVES)
    return tuple(OBJECTIVES[name] for name in dict.fromkeys(name.casefold() for name in names))


def study_name(space: Space, question: Question, workload_digest: str, identities: Iterable[BenchIdentity]) -> str:
    """Same space, question, workload and bench: same study; anything else opens a new one over the same records.

    `identities` are those of the space's configurations: other weights or another engine version are another study.
    """
    distinct = sorted(set(identities), key=repr)
    region = "" if question.scenario.intensity is None else f"-{question.scenario.intensity.region}"
    names = [objective.name for objective in question.objectives]
    identity = repr((space, names, question.slo, question.scenario, workload_digest, distinct))
    benches = "+".join(sorted({one.bench for one in distinct}))
    return f"{'-'.join(names)}{region}-{benches}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def worst_excess(excess: Mapping[str, float]) -> float:
    """The largest relative excess over any limit, -inf where no limit is set."""
    return max(excess.values(), default=-math.inf)
