"""The cells in grams: operational and embodied carbon under the paper's accounting, by `carbonsweep.carbon` alone."""

from __future__ import annotations

import functools
from typing import Final, Literal

import numpy as np

from carbonsweep.carbon.embodied import embodied_carbon
from carbonsweep.carbon.footprint import batch_embodied_g, batch_operational_g
from carbonsweep.carbon.intensity import carbon_intensity, given_intensity
from carbonsweep.claims.cells import GPUS, Array, Cells
from carbonsweep.domain import Scenario
from carbonsweep.units import S_PER_YEAR

REGIONS: Final = ("QC", "CISO", "PACE")
PRESET: Final = "paper"
LIFETIME_YEARS: Final = 5.0

Phase = Literal["prefill", "decode", "both"]


@functools.cache
def paper_scenario(region: str, lifetime_years: float = LIFETIME_YEARS) -> Scenario:
    """The paper's accounting in one of its regions: no PUE, no idling, no host, preset `paper`. Raises UnknownFact."""
    return Scenario(
        intensity=carbon_intensity(region, "lifecycle"),
        lifetime_s=lifetime_years * S_PER_YEAR,
        embodied=PRESET,
        functional_unit="prompt",
    )


@functools.cache
def scenario_at(g_per_kwh: float, lifetime_years: float = LIFETIME_YEARS) -> Scenario:
    """The same on a grid of that intensity. Raises BadInput unless it is finite and not negative."""
    return Scenario(
        intensity=given_intensity(g_per_kwh),
        lifetime_s=lifetime_years * S_PER_YEAR,
        embodied=PRESET,
        functional_unit="prompt",
    )


def operational_and_embodied_g(
    cells: Cells, region: str, phase: Phase = "both", lifetime_years: float = LIFETIME_YEARS
) -> tuple[Array, Array]:
    """Grams of one batch run, or of one phase of it: two arrays of the cells' shape."""
    return priced_g(cells, paper_scenario(region, lifetime_years), phase)


def priced_g(cells: Cells, scenario: Scenario, phase: Phase = "both") -> tuple[Array, Array]:
    """The same in any scenario that counts neither idling nor a host."""
    energy_j = {"prefill": cells.prefill_j, "decode": cells.decode_j, "both": cells.energy_j}[phase]
    busy_s = {"prefill": cells.prefill_s, "decode": cells.decode_s, "both": cells.latency_s}[phase]
    operational = batch_operational_g(
        energy_j=energy_j, busy_s=busy_s, idle_w=None, gpu_count=1.0, utilisation=1.0, scenario=scenario
    )
    embodied = batch_embodied_g(
        embodied_kg=_embodied_kg(), busy_s=busy_s, gpu_count=1.0, utilisation=1.0, scenario=scenario
    )
    return operational, embodied


def embodied_share(cells: Cells, region: str, lifetime_years: float = LIFETIME_YEARS) -> Array:
    """Embodied over total grams of a prompt, of the cells' shape; the batch divides both, so it cancels."""
    operational, embodied = operational_and_embodied_g(cells, region, "both", lifetime_years)
    return np.asarray(embodied / (operational + embodied))


@functools.cache
def _embodied_kg() -> Array:
    """Shape (GPU, 1): against the last two axes of the cells."""
    kg = np.array([[embodied_carbon(gpu, PRESET).kg] for gpu in GPUS])
    kg.setflags(write=False)
    return kg
