"""Losses and limits of drawn contenders: what `footprint`, `Objective` and `Slo` do, over (draws, contenders)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.footprint import batch_embodied_g, batch_operational_g, batch_units, served_energy_j
from carbonsweep.carbon.load import Load, load
from carbonsweep.certainty.contenders import Contenders, Phase
from carbonsweep.domain import Scenario, Slo
from carbonsweep.search.objectives import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Seconds and joules of both phases, (draws, contenders), and whether the configuration can run at all."""

    prefill_s: Array
    decode_s: Array
    prefill_j: Array
    decode_j: Array
    runs: NDArray[np.bool_]


def nominal(contenders: Contenders) -> Found:
    """What was found, as one draw."""
    return Found(
        prefill_s=contenders.prefill.duration_s[None, :],
        decode_s=contenders.decode.duration_s[None, :],
        prefill_j=contenders.prefill.energy_j[None, :],
        decode_j=contenders.decode.energy_j[None, :],
        runs=np.ones((1, len(contenders)), dtype=bool),
    )


def value(contenders: Contenders, found: Found, objective: Objective, scenario: Scenario, kg: Array | None) -> Array:
    """The objective in its own unit; `kg` is what is charged for making one device of each kind, (draws, kinds)."""
    latency_s = found.prefill_s + contenders.exposed_s + found.decode_s
    output_tokens = contenders.batch * contenders.lengths.output_tokens
    match objective.name:
        case "carbon":
            if kg is None:
                raise ValueError("carbon needs the kilograms of every kind of device")
            return total_g(contenders, found, scenario, kg)
        case "energy":
            return _energy_j(contenders, found, scenario) / _units(contenders, scenario)
        case "latency":
            return latency_s
        case "ttft":
            return found.prefill_s
        case "tpot":
            return (found.decode_s + contenders.exposed_s) / (contenders.lengths.output_tokens - 1)
        case "throughput":
            # In a split the slower phase sets the pace.
            slower_s = np.maximum(*_devices_s(contenders, found))
            return output_tokens / np.where(contenders.split, slower_s, latency_s)
    raise ValueError(f"objective {objective.name} has no array form")


def total_g(contenders: Contenders, found: Found, scenario: Scenario, kg: Array) -> Array:
    """Grams per functional unit: HotCarbon'24, Equation 4, summed over the phases."""
    handed_over_g = batch_operational_g(
        energy_j=contenders.exposed_j,
        busy_s=np.zeros(len(contenders)),
        idle_w=0.0,
        gpu_count=0.0,
        utilisation=1.0,
        scenario=scenario,
    )
    loaded = _load(contenders, found, scenario)
    prefill_g = _phase_g(contenders.prefill, found.prefill_s, found.prefill_j, loaded.prefill, scenario, kg)
    decode_g = _phase_g(contenders.decode, found.decode_s, found.decode_j, loaded.decode, scenario, kg)
    return (prefill_g + decode_g + handed_over_g) / _units(contenders, scenario)


def within_limits(contenders: Contenders, found: Found, slo: Slo) -> NDArray[np.bool_]:
    """Where every limit is met, by a configuration that runs."""
    times = {
        "ttft_s": found.prefill_s,
        "tpot_s": (found.decode_s + contenders.exposed_s) / (contenders.lengths.output_tokens - 1),
        "prompt_latency_s": found.prefill_s + contenders.exposed_s + found.decode_s,
    }
    met = found.runs
    for name, limit in slo.limits().items():
        met = met & (times[name] / limit - 1 <= 0)
    return met


def _load(contenders: Contenders, found: Found, scenario: Scenario) -> Load[Array]:
    """How busy the devices are in each draw, (draws, contenders): a slower draw takes more replicas."""
    prefill_s, decode_s = _devices_s(contenders, found)
    return load(prefill_devices_s=prefill_s, decode_devices_s=decode_s, batch=contenders.batch, scenario=scenario)


def _devices_s(contenders: Contenders, found: Found) -> tuple[Array, Array]:
    """Seconds the devices of each phase are busy with a batch: with both phases, unless each has devices of its own."""
    prefill_s = found.prefill_s * contenders.prefill.occupied
    decode_s = found.decode_s * contenders.decode.occupied
    both_s = prefill_s + decode_s
    return np.where(contenders.split, prefill_s, both_s), np.where(contenders.split, decode_s, both_s)


def _energy_j(contenders: Contenders, found: Found, scenario: Scenario) -> Array:
    loaded = _load(contenders, found, scenario)
    prefill_j, decode_j = (
        served_energy_j(
            energy_j=joules, busy_s=duration_s * phase.occupied, idle_w=phase.idle_w, utilisation=utilisation
        )
        for joules, duration_s, phase, utilisation in (
            (found.prefill_j, found.prefill_s, contenders.prefill, loaded.prefill),
            (found.decode_j, found.decode_s, contenders.decode, loaded.decode),
        )
    )
    return prefill_j + decode_j + contenders.exposed_j


def _phase_g(
    phase: Phase, duration_s: Array, energy_j: Array, utilisation: Array | float, scenario: Scenario, kg: Array
) -> Array:
    busy_s = duration_s * phase.occupied
    operational_g = batch_operational_g(
        energy_j=energy_j,
        busy_s=busy_s,
        idle_w=phase.idle_w,
        gpu_count=phase.gpu_count,
        utilisation=utilisation,
        scenario=scenario,
    )
    embodied_g = batch_embodied_g(
        embodied_kg=kg[:, phase.gpu_index],
        busy_s=busy_s,
        gpu_count=phase.gpu_count,
        utilisation=utilisation,
        scenario=scenario,
    )
    return operational_g + embodied_g


def _units(contenders: Contenders, scenario: Scenario) -> Array:
    return batch_units(
        scenario.functional_unit,
        batch=contenders.batch,
        output_tokens=contenders.batch * contenders.lengths.output_tokens,
        prompt_tokens=contenders.prompt_tokens,
    )
