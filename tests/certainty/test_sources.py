"""Embodied presets are drawn whole, and all kinds of device at the same place of their ranges."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from carbonsweep import inputs
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.embodied import embodied_carbon
from carbonsweep.certainty.contenders import of_measurements
from carbonsweep.certainty.sources import BenchDraws, asked_kg, bench_draws, embodied_draws
from carbonsweep.domain import EMBODIED_PRESETS
from carbonsweep.second_life import SecondLife
from tests.conftest import configuration, measurement, phase

GPUS = ("RTX6000Ada", "T4")


def places(gpu: str, kg: Array, preset: str) -> Array:
    made = embodied_carbon(gpu, preset)
    return (kg - made.low_kg) / (made.high_kg - made.low_kg)


def test_each_draw_is_one_preset_and_one_place_for_all_kinds() -> None:
    draws = embodied_draws(GPUS, inputs.scenario({"region": "QC"}, GPUS), 1024)
    assert draws.presets == EMBODIED_PRESETS
    common = np.zeros((4, 1024), dtype=bool)
    for i, preset in enumerate(EMBODIED_PRESETS):
        ada, t4 = (places(gpu, draws.kg[:, k], preset) for k, gpu in enumerate(GPUS))
        common[i] = np.isclose(ada, t4) & (ada > -1e-9) & (ada < 1 + 1e-9)
    assert common.any(axis=0).all()
    # Each of four presets in a quarter of the draws: 256, standard deviation 13.9.
    assert common.sum(axis=1) == pytest.approx([256] * 4, abs=45)


def test_a_preset_that_does_not_know_every_kind_is_not_drawn() -> None:
    kinds = ("L4", "T4")  # the paper's table has no L4
    draws = embodied_draws(kinds, inputs.scenario({"region": "QC"}, kinds), 16)
    assert draws.presets == ("act", "sc23", "vendor")


def test_the_same_seed_gives_the_same_draws() -> None:
    scenario = inputs.scenario({"region": "QC"}, GPUS)
    np.testing.assert_array_equal(embodied_draws(GPUS, scenario, 64).kg, embodied_draws(GPUS, scenario, 64).kg)


def test_the_asked_preset_is_its_own_values() -> None:
    assert asked_kg(GPUS, inputs.scenario({"region": "QC"}, GPUS)).tolist() == [[26.6, 10.3]]  # Table 1 of the paper


def test_a_second_life_charges_its_share_of_the_asked_preset_and_of_every_draw() -> None:
    new = inputs.scenario({"region": "QC"}, GPUS)
    half = SecondLife(device="T4", policy="left", age_s=1.0, first_lifetime_s=2.0)
    used = dataclasses.replace(new, second_life=(half,))
    assert asked_kg(GPUS, used).tolist() == [[26.6, 5.15]]
    np.testing.assert_allclose(embodied_draws(GPUS, used, 64).kg, embodied_draws(GPUS, new, 64).kg * [1.0, 0.5])


def test_the_joules_of_both_phases_of_a_measured_record_vary_each_by_itself() -> None:
    made = dataclasses.replace(measurement(prefill=phase(1.0, 50.0), decode=phase(3.0, 90.0)), basis="measured")
    contenders = of_measurements([configuration()], [made], inputs.scenario({"region": "QC"}, GPUS))
    bench = bench_draws(contenders, None)
    assert isinstance(bench, BenchDraws)
    found = bench.found(0, 1024)
    prefill, decode = (each[:, 0] - each[:, 0].mean() for each in (found.prefill_j, found.decode_j))
    assert prefill.std() > 0
    assert decode.std() > 0
    # Of 1,024 independent pairs the correlation has a standard deviation of 0.03.
    assert abs(float((prefill * decode).mean())) < 0.12 * prefill.std() * decode.std()
