"""What the first objective of a placement is made of: prefill, decode, hand-over, waiting; and what changes with it."""

from __future__ import annotations

from collections.abc import Mapping

from carbonsweep.carbon.footprint import batch_energy_j, footprint, functional_units, phase_footprint
from carbonsweep.domain import Measurement, Scenario
from carbonsweep.split import Handover

PART_NAMES = {
    "prefill_operational": "prefill operational",
    "prefill_embodied": "prefill embodied",
    "decode_operational": "decode operational",
    "decode_embodied": "decode embodied",
    "prefill": "prefill",
    "decode": "decode",
    "handover": "hand-over",
    "waiting": "waiting",
}
"""Parts as a reader says them."""


def parts(
    objective: str, scenario: Scenario, measurement: Measurement, busy: Measurement, handed: Handover | None
) -> dict[str, float]:
    """The objective of `measurement` by part; the parts add up to it, in its unit.

    `busy` is the same placement with each GPU charged for its busy time alone: what `measurement` has beyond it is
    waiting. Of a colocated one both are the same and there is no hand-over. Throughput has no parts that add up: it is
    shown as seconds of GPU time per output token. Raises as `footprint`.
    """
    match objective:
        case "carbon":
            found = _grams(scenario, measurement, busy)
        case "energy":
            found = _joules(scenario, measurement, busy)
        case "throughput":
            found = _device_seconds(measurement, busy)
        case "ttft":
            found = {"prefill": measurement.ttft_s}
        case "latency" | "tpot":
            found = _seconds(objective, measurement, handed)
        case _:
            raise ValueError(f"objective {objective} has no parts")
    return {name: value for name, value in found.items() if value or name.startswith(("prefill", "decode"))}


def changes(of: Mapping[str, float], instead: Mapping[str, float]) -> dict[str, float]:
    """What changes where `instead` takes the place of `of`: each part's difference over the whole of `of`."""
    whole = sum(of.values())
    return {name: (instead.get(name, 0.0) - of.get(name, 0.0)) / whole for name in dict.fromkeys((*of, *instead))}


def _grams(scenario: Scenario, measurement: Measurement, busy: Measurement) -> dict[str, float]:
    units = functional_units(busy, scenario.functional_unit)
    whole = footprint(busy, scenario)
    prefill, decode = (phase_footprint(busy, phase, scenario) for phase in ("prefill", "decode"))
    prefill_units, decode_units = busy.prefill.tokens / units, busy.decode.tokens / units
    phases = {
        "prefill_operational": prefill.operational_g * prefill_units,
        "prefill_embodied": prefill.embodied_g * prefill_units,
        "decode_operational": decode.operational_g * decode_units,
        "decode_embodied": decode.embodied_g * decode_units,
    }
    handed_g = 0.0 if busy.transfer is None else whole.total_g - sum(phases.values())
    waiting_g = 0.0 if measurement is busy else footprint(measurement, scenario).total_g - whole.total_g
    return {**phases, "handover": handed_g, "waiting": waiting_g}


def _joules(scenario: Scenario, measurement: Measurement, busy: Measurement) -> dict[str, float]:
    """As metered or modelled; what is charged beyond that, idle energy of either kind, is waiting."""
    units = functional_units(busy, scenario.functional_unit)
    known = {"prefill": busy.prefill.energy, "decode": busy.decode.energy}
    handed = None if busy.transfer is None else busy.transfer.energy
    whole_j = batch_energy_j(measurement, scenario)
    powers = {"prefill": busy.prefill, "decode": busy.decode}
    joules = {
        name: energy.joules
        if energy is not None
        else (scenario.assumed_power_w or 0.0) * powers[name].gpu_count * powers[name].occupied_s
        for name, energy in known.items()
    }
    joules["handover"] = 0.0 if handed is None else handed.joules
    rest_j = whole_j - sum(joules.values())
    joules["waiting"] = rest_j if abs(rest_j) > 1e-12 * whole_j else 0.0
    return {name: value / units for name, value in joules.items()}


def _device_seconds(measurement: Measurement, busy: Measurement) -> dict[str, float]:
    """GPU seconds per output token."""
    tokens = busy.batch_size * busy.output_tokens
    phases = {name: getattr(busy, name).occupied_s * getattr(busy, name).gpu_count for name in ("prefill", "decode")}
    taken_s = sum(phase.occupied_s * phase.gpu_count for phase in (measurement.prefill, measurement.decode))
    waiting_s = 0.0 if measurement is busy else taken_s - sum(phases.values())
    return {**{name: value / tokens for name, value in phases.items()}, "waiting": waiting_s / tokens}


def _seconds(objective: str, measurement: Measurement, handed: Handover | None) -> dict[str, float]:
    steps = measurement.output_tokens - 1 if objective == "tpot" else 1
    link_s = 0.0 if handed is None else handed.transfer_s - handed.hidden_s
    found = {
        "decode": measurement.decode.duration_s / steps,
        "handover": link_s / steps,
        "waiting": 0.0 if handed is None else handed.wait_s / steps,
    }
    return found if objective == "tpot" else {"prefill": measurement.ttft_s, **found}
