"""What each phase prefers by itself: the best batch size of each GPU kind, by tokens per second, joules or grams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from carbonsweep.carbon.footprint import phase_footprint
from carbonsweep.domain import Configuration, Measurement, PhaseMeasurement, Scenario, TrialRecord
from carbonsweep.errors import EnergyUnknown
from carbonsweep.placement.sides import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Where one GPU kind runs a phase best by one measure, and its value there; `wins` where no other kind is better.

    `by` is "tokens/s", "J/token" or "g/token NAME", per real prompt token of prefill and output token of decode.
    """

    model: str
    phase: Phase
    gpu: str
    by: str
    configuration: Configuration
    value: float
    wins: bool


def preferences(records: Sequence[TrialRecord], scenarios: Mapping[str, Scenario]) -> Iterator[Preference]:
    """Of every model, phase, measure and GPU kind among `records`, in their order; grams under each named scenario.

    Raises EnergyUnknown where joules of a phase are unknown.
    """
    measured = [record for record in records if record.measurement is not None]
    for model in dict.fromkeys(record.configuration.model for record in measured):
        of_model = [record for record in measured if record.configuration.model == model]
        for phase in _PHASES:
            for by, loss in _measures(phase, scenarios).items():
                yield from _preferred(of_model, phase, by, loss)


_PHASES: tuple[Phase, ...] = ("prefill", "decode")
_Loss = Callable[[Measurement], float]


def _measures(phase: Phase, scenarios: Mapping[str, Scenario]) -> dict[str, _Loss]:
    """By name: less is better."""

    def found(measurement: Measurement) -> PhaseMeasurement:
        return measurement.prefill if phase == "prefill" else measurement.decode

    def joules(measurement: Measurement) -> float:
        value = found(measurement).energy_per_token_j
        if value is None:
            raise EnergyUnknown(f"{phase} has no energy, so nobody knows where it is least")
        return value

    def grams(scenario: Scenario) -> _Loss:
        return lambda measurement: phase_footprint(measurement, phase, scenario).total_g

    named = {f"g/token {name}": grams(scenario) for name, scenario in scenarios.items()}
    return {"tokens/s": lambda measurement: -found(measurement).throughput, "J/token": joules, **named}


def _preferred(records: Sequence[TrialRecord], phase: Phase, by: str, loss: _Loss) -> Iterator[Preference]:
    best: dict[str, tuple[float, Configuration]] = {}
    for record in records:
        if record.measurement is None:
            continue
        here = (loss(record.measurement), record.configuration)
        gpu = record.configuration.gpu
        best[gpu] = min(best.get(gpu, here), here)
    least = min(value for value, _ in best.values())
    for gpu, (value, configuration) in best.items():
        yield Preference(
            model=configuration.model,
            phase=phase,
            gpu=gpu,
            by=by,
            configuration=configuration,
            value=abs(value),
            wins=value == least,
        )
