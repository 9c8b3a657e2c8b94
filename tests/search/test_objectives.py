"""Objectives by hand, their signs, and the name under which a question is remembered."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import given_intensity
from carbonsweep.domain import BenchIdentity, Scenario, Slo
from carbonsweep.errors import BadInput, EnergyUnknown, UnknownFact
from carbonsweep.search.objectives import OBJECTIVES, Question, objectives, study_name, worst_excess
from carbonsweep.search.space import Space
from carbonsweep.units import S_PER_YEAR
from tests.conftest import measurement

SCENARIO = Scenario(intensity=given_intensity(360.0), lifetime_s=5 * S_PER_YEAR, embodied="paper")
MODELLED = [
    BenchIdentity(
        bench="roofline",
        basis="modelled",
        engine_version="paper",
        weights="none",
        calibration="1",
        power_protocol="modelled",
        device="T4",
    )
]
MEASURED = [replace(MODELLED[0], bench="transformers", basis="measured")]
QUESTION = Question(objectives=objectives(("carbon",)), slo=Slo(), scenario=SCENARIO)
SPACE = Space(
    models=("TinyLlama-1.1B",), gpus=("T4",), gpu_counts=(1,), batch_sizes=(1, 2), dtypes=("fp16",), engines=("paper",)
)


def value(name: str, scenario: Scenario = SCENARIO) -> float:
    return OBJECTIVES[name].value(measurement(), scenario)


def test_each_objective_of_one_batch_by_hand() -> None:
    # 4 prompts, 150 output tokens each; 0.5 s + 3 s; 20 J + 90 J.
    assert value("latency") == 3.5
    assert value("ttft") == 0.5
    assert value("tpot") == pytest.approx(3 / 149)
    assert value("throughput") == pytest.approx(600 / 3.5)
    assert value("energy") == pytest.approx(110 / 0.6)  # per 1,000 of 600 tokens
    assert value("energy", replace(SCENARIO, functional_unit="prompt")) == pytest.approx(110 / 4)
    # 110 J at 360 g/kWh are 110 x 1e-4 g; 3.5 s of a T4's 10.3 kg over 5 years of 8760 h.
    operational_g, embodied_g = 110 * 1e-4, 10_300 * 3.5 / (5 * 8760 * 3600)
    assert value("carbon") == pytest.approx((operational_g + embodied_g) / 0.6)
    assert value("carbon") == footprint(measurement(), SCENARIO).total_g


def test_only_throughput_is_better_when_larger() -> None:
    assert {name: o.sign for name, o in OBJECTIVES.items() if o.sign != 1} == {"throughput": -1}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_is_less_where_a_measurement_is_better(name: str) -> None:
    slower = measurement(ttft_s=1.0, decode_s=6.0, prefill_j=40.0, decode_j=180.0)
    asked = replace(QUESTION, objectives=objectives((name,)))
    assert asked.losses(measurement()) < asked.losses(slower)


def test_values_keep_the_direction_that_losses_turn() -> None:
    asked = replace(QUESTION, objectives=objectives(("latency", "throughput")))
    latency_s, throughput = asked.values(measurement())
    assert asked.losses(measurement()) == (latency_s, -throughput)
    assert throughput > 0


@pytest.mark.parametrize("name", ["carbon", "energy"])
def test_what_needs_energy_says_so_and_refuses_without(name: str) -> None:
    assert OBJECTIVES[name].needs_energy
    with pytest.raises(EnergyUnknown, match="assume-power-w"):
        OBJECTIVES[name].value(measurement(prefill_j=None), SCENARIO)


@pytest.mark.parametrize("name", ["latency", "ttft", "tpot", "throughput"])
def test_seconds_need_neither_energy_nor_a_grid(name: str) -> None:
    assert not OBJECTIVES[name].needs_energy
    without = replace(SCENARIO, intensity=None)
    assert OBJECTIVES[name].value(measurement(prefill_j=None, decode_j=None), without) == value(name)


def test_carbon_without_a_grid_is_bad_input() -> None:
    with pytest.raises(BadInput, match="--region"):
        value("carbon", replace(SCENARIO, intensity=None))


def test_objectives_are_looked_up_in_any_case_each_once_in_order() -> None:
    assert [o.name for o in objectives(("Latency", "carbon", "latency"))] == ["latency", "carbon"]


def test_an_unknown_objective_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownFact, match="did you mean throughput"):
        objectives(("carbon", "troughput"))
    with pytest.raises(BadInput, match="empty"):
        objectives(())


def test_the_worst_excess_is_the_largest() -> None:
    assert worst_excess({"ttft_s": -0.5, "tpot_s": 0.2}) == 0.2
    assert worst_excess({}) == -math.inf


def test_every_change_of_the_question_opens_another_study() -> None:
    names = [
        study_name(SPACE, QUESTION, "w", MODELLED),
        study_name(replace(SPACE, batch_sizes=(1,)), QUESTION, "w", MODELLED),
        study_name(SPACE, QUESTION, "other", MODELLED),
        study_name(SPACE, QUESTION, "w", MEASURED),
        study_name(SPACE, QUESTION, "w", [replace(MODELLED[0], calibration="2")]),
        study_name(SPACE, replace(QUESTION, slo=Slo(ttft_s=1.0)), "w", MODELLED),
        study_name(SPACE, replace(QUESTION, slo=Slo(tpot_s=1.0)), "w", MODELLED),
        study_name(SPACE, replace(QUESTION, objectives=objectives(("energy",))), "w", MODELLED),
        study_name(
            SPACE, replace(QUESTION, scenario=replace(SCENARIO, intensity=given_intensity(31.0))), "w", MODELLED
        ),
        study_name(SPACE, replace(QUESTION, scenario=replace(SCENARIO, intensity=None)), "w", MODELLED),
        study_name(SPACE, replace(QUESTION, scenario=replace(SCENARIO, pue=1.2)), "w", MODELLED),
        study_name(SPACE, replace(QUESTION, scenario=replace(SCENARIO, lifetime_s=1.0)), "w", MODELLED),
    ]
    assert len(set(names)) == len(names)


NAME_IN_ANOTHER_PROCESS = """
from tests.search.test_objectives import MODELLED, QUESTION, SPACE
from carbonsweep.search.objectives import study_name
print(study_name(SPACE, QUESTION, "w", MODELLED))
"""


def test_the_study_name_is_the_same_in_every_process_and_can_name_a_folder() -> None:
    name = study_name(SPACE, QUESTION, "w", MODELLED)
    there = subprocess.run(
        [sys.executable, "-c", NAME_IN_ANOTHER_PROCESS],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == name
    assert re.fullmatch(r"[\w.-]+", name), name
