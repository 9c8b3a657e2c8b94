"""What serving takes under a scenario: joules, replicas, busy shares and device time of one measurement, for JSON."""

from __future__ import annotations

from typing import Any

from carbonsweep.carbon.footprint import functional_units
from carbonsweep.carbon.load import load_of, mean_fill_s, waits
from carbonsweep.domain import Measurement, Scenario
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.search.objectives import OBJECTIVES


def energy_j(measurement: Measurement, scenario: Scenario) -> float | None:
    """Joules of the GPUs per functional unit, idle ones included where they wait; None where unknown."""
    try:
        return OBJECTIVES["energy"].value(measurement, scenario)
    except (EnergyUnknown, BadInput):
        return None


def document(measurement: Measurement, scenario: Scenario) -> dict[str, Any]:
    """The load of one candidate as plain JSON values.

    `energy_j` is of the GPUs per functional unit; utilisations are busy shares of the devices of each phase.
    `replicas` and `mean_batch_fill_s` (in none of the latencies) are null where no rate of requests is stated.
    """
    loaded, rate_per_s = load_of(measurement, scenario), scenario.request_rate_per_s
    return {
        "energy_j": energy_j(measurement, scenario),
        "energy_includes_idle": waits(scenario),
        "replicas": None if loaded.replicas is None else round(loaded.replicas),
        "prefill_utilisation": loaded.prefill,
        "decode_utilisation": loaded.decode,
        "mean_batch_fill_s": None if rate_per_s is None else mean_fill_s(measurement.batch_size, rate_per_s),
        "device_s_per_unit": _device_s(measurement, scenario),
    }


def _device_s(measurement: Measurement, scenario: Scenario) -> float:
    """Device-seconds of life per functional unit, idle ones included: what embodied carbon is charged by."""
    loaded = load_of(measurement, scenario)
    pairs = ((measurement.prefill, loaded.prefill), (measurement.decode, loaded.decode))
    taken_s = sum(phase.occupied_s * phase.gpu_count / utilisation for phase, utilisation in pairs)
    return taken_s / functional_units(measurement, scenario.functional_unit)
