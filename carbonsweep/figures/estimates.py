"""Quantities of a record with their intervals, as pictures show them: a value, what it may be, what of it is embodied.

The interval of a sum adds the ends of its parts' intervals: errors of the two phases are taken to go together, which is
the wider choice. Nothing here is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonsweep.domain import Footprint, Measurement, PhaseMeasurement, Scenario
from carbonsweep.search.objectives import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with the 95 % interval `low..high` of its record; `embodied` is the part of it that is no energy."""

    value: float
    low: float
    high: float
    embodied: float | None = None

    @property
    def embodied_share(self) -> float | None:
        return None if self.embodied is None or self.value == 0 else self.embodied / self.value

    def times(self, factor: float) -> Estimate:
        """The same in another unit."""
        embodied = None if self.embodied is None else factor * self.embodied
        return Estimate(value=factor * self.value, low=factor * self.low, high=factor * self.high, embodied=embodied)

    def inverse(self, amount: float) -> Estimate:
        """`amount` per this: a throughput from a duration. Its high end is infinite where `low` is 0."""
        high = amount / self.low if self.low > 0 else float("inf")
        return Estimate(value=amount / self.value, low=amount / self.high, high=high)


def duration_s(phase: PhaseMeasurement) -> Estimate:
    """Seconds of a phase of one batch."""
    return Estimate(value=phase.duration_s, low=phase.duration_low_s, high=phase.duration_high_s)


def prompt_latency_s(measurement: Measurement) -> Estimate:
    """Seconds from the prompts to the last token; a hand-over between GPUs has no interval of its own."""
    prefill, decode = duration_s(measurement.prefill), duration_s(measurement.decode)
    handed_s = measurement.prompt_latency_s - prefill.value - decode.value
    return Estimate(
        value=measurement.prompt_latency_s,
        low=prefill.low + decode.low + handed_s,
        high=prefill.high + decode.high + handed_s,
    )


def batch_energy_j(measurement: Measurement) -> Estimate | None:
    """Joules of the run of one batch, None where a part is unknown."""
    known = [energy for energy in measurement.energies if energy is not None]
    if len(known) < len(measurement.energies):
        return None
    return Estimate(
        value=sum(each.joules for each in known),
        low=sum(each.low_j for each in known),
        high=sum(each.high_j for each in known),
    )


def phase_throughput(phase: PhaseMeasurement) -> Estimate:
    """Real tokens a second of a phase."""
    return duration_s(phase).inverse(phase.tokens)


def phase_energy_per_token_j(phase: PhaseMeasurement) -> Estimate | None:
    """Joules per real prompt token of prefill, per output token of decode; None where unknown."""
    energy = phase.energy
    if energy is None:
        return None
    return Estimate(value=energy.joules, low=energy.low_j, high=energy.high_j).times(1 / phase.tokens)


def total_g(footprint: Footprint) -> Estimate:
    """Total grams; the interval is that of the energy, under the one embodied preset the footprint has."""
    embodied_g = footprint.embodied_g
    return Estimate(
        value=footprint.total_g,
        low=footprint.operational_low_g + embodied_g,
        high=footprint.operational_high_g + embodied_g,
        embodied=embodied_g,
    )


def embodied_share(footprint: Footprint) -> Estimate:
    """Embodied over total carbon (0..1): small where the energy is at the high end of its interval."""
    ends = (footprint.operational_high_g, footprint.operational_g, footprint.operational_low_g)
    totals = [footprint.embodied_g + operational_g for operational_g in ends]
    low, value, high = (footprint.embodied_g / total if total > 0 else 0.0 for total in totals)
    return Estimate(value=value, low=low, high=high)


def objective_value(objective: Objective, measurement: Measurement, scenario: Scenario) -> Estimate:
    """What `objective.value` gives, with its interval. Raises EnergyUnknown and BadInput as that does."""
    from carbonsweep.carbon.footprint import footprint, functional_units

    value = objective.value(measurement, scenario)
    match objective.name:
        case "carbon":
            return total_g(footprint(measurement, scenario))
        case "energy":
            joules = batch_energy_j(measurement)
            units = functional_units(measurement, scenario.functional_unit)
            if joules is None:
                return Estimate(value=value, low=value, high=value)
            idle_j = value * units - joules.value  # what waiting adds has no interval of its own
            ends = {name: getattr(joules, name) + idle_j for name in ("value", "low", "high")}
            return Estimate(**ends).times(1 / units)
        case "ttft":
            return duration_s(measurement.prefill)
        case "tpot":
            decode = duration_s(measurement.decode)
            steps = measurement.output_tokens - 1
            handed_s = value - decode.value / steps
            return Estimate(value=value, low=decode.low / steps + handed_s, high=decode.high / steps + handed_s)
        case "latency":
            return prompt_latency_s(measurement)
        case "throughput":
            colocated = prompt_latency_s(measurement).inverse(measurement.batch_size * measurement.output_tokens)
            return colocated.times(value / colocated.value)  # in a split the slower phase sets the pace
    raise ValueError(f"objective {objective.name} has no interval here")
