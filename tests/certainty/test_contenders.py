"""Contenders hold what was found, priced as one by one, in the order of the answer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from carbonsweep import exact, inputs
from carbonsweep.bench.points import product
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.roofline import RooflineBench, predict_points
from carbonsweep.carbon.embodied import embodied_carbon
from carbonsweep.carbon.footprint import footprint
from carbonsweep.certainty import contenders as module
from carbonsweep.certainty.contenders import of_measurements, of_points, ranked
from carbonsweep.certainty.pricing import nominal, value, within_limits
from carbonsweep.certainty.sources import asked_kg
from carbonsweep.domain import FunctionalUnit, Measurement, Slo, Transfer
from carbonsweep.search.objectives import OBJECTIVES
from carbonsweep.search.space import space
from tests.conftest import configuration, energy, measurement, phase

SCENARIO = inputs.scenario(
    {"region": "CISO", "utilisation": 0.4, "pue": 1.3, "host_power_w": 50.0, "host_embodied_kg": 20.0},
    ["T4", "RTX6000Ada"],
)
POINTS = product(
    models=("LLaMA-7B", "TinyLlama-1.1B"),
    gpus=("RTX6000Ada", "T4"),
    gpu_counts=(1, 2),
    batch_sizes=(1, 8),
    dtypes=("fp16",),
    engines=("healthy", "paper"),
)
WORKLOAD = built_in_workload(150, 0)


def split() -> Measurement:
    """Prefill on an RTX 6000 Ada, decode on a T4, the cache handed over."""
    return measurement(
        prefill=phase(0.5, 20.0, gpu="RTX6000Ada", gpu_count=2),
        decode=phase(3.0, 90.0, occupied_s=3.2),
        idle_w=60.0,
        transfer=Transfer(bytes=1e6, exposed_s=0.1, energy=energy(2.0)),
    )


@pytest.mark.parametrize("rate_per_s", [None, 0.2, 7.0])
@pytest.mark.parametrize("unit", ["1k-output-tokens", "output-token", "prompt", "prompt-token"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_what_pricing_one_by_one_gives(
    name: str, unit: FunctionalUnit, rate_per_s: float | None
) -> None:
    scenario = dataclasses.replace(SCENARIO, functional_unit=unit, request_rate_per_s=rate_per_s)
    scenario = dataclasses.replace(scenario, assumed_power_w=65.0)
    unmetered = measurement(
        prefill=phase(0.5, None, gpu="RTX6000Ada", gpu_count=2),
        decode=phase(3.0, None, gpu_count=3),
        idle_w=60.0,
        transfer=Transfer(bytes=1e6, exposed_s=0.1, energy=None),
    )
    listed = [measurement(), split(), measurement(gpu="RTX6000Ada", decode_s=1.7, batch_size=9), unmetered]
    found = of_measurements([configuration(batch_size=b) for b in (1, 2, 3, 4)], listed, scenario)
    kg = asked_kg(found.gpus, scenario)
    objective = OBJECTIVES[name]
    expected = [objective.value(each, scenario) for each in listed]
    assert value(found, nominal(found), objective, scenario, kg)[0].tolist() == pytest.approx(expected, rel=1e-12)


def test_kilograms_are_those_of_each_phases_own_device() -> None:
    found = of_measurements([configuration()], [split()], SCENARIO)
    assert found.gpus == ("RTX6000Ada", "T4")
    kg = np.array([[0.0, 2 * embodied_carbon("T4", "paper").kg]])
    priced = value(found, nominal(found), OBJECTIVES["carbon"], SCENARIO, kg)[0, 0]
    one = footprint(split(), SCENARIO)
    host_only = value(found, nominal(found), OBJECTIVES["carbon"], SCENARIO, np.zeros((1, 2)))[0, 0]
    # Twice the T4's kilograms for 3.2 s of one device: 2 x 10.3 kg x 3.2 s / (5 a x 0.4), per 600 output tokens.
    own_g = 2 * 10.3e3 * 3.2 / (5 * 8760 * 3600 * 0.4) / 0.6
    assert priced - host_only == pytest.approx(own_g)
    assert host_only < one.total_g


def test_limits_are_met_where_the_slo_says_so() -> None:
    listed = [measurement(), split(), measurement(ttft_s=0.1, decode_s=8.0)]
    found = of_measurements([configuration(batch_size=b) for b in (1, 2, 3)], listed, SCENARIO)
    for slo in (Slo(), Slo(ttft_s=0.5), Slo(tpot_s=0.0204), Slo(prompt_latency_s=3.5), Slo(ttft_s=0.2, tpot_s=0.01)):
        met = within_limits(found, nominal(found), slo)[0].tolist()
        assert met == [slo.is_met(each) for each in listed]


def test_points_give_the_same_as_their_measurements() -> None:
    predicted = predict_points(POINTS, WORKLOAD)
    from_points = of_points(POINTS, predicted, WORKLOAD.output_tokens)
    fitting = np.flatnonzero(predicted.fits & predicted.supported)
    configurations = [POINTS.configuration(int(i)) for i in fitting]
    measurements = [RooflineBench().measure(each, WORKLOAD) for each in configurations]
    from_records = of_measurements(configurations, measurements, SCENARIO)
    picked = from_points.picked(fitting)
    for name in ("carbon", "tpot", "throughput"):
        both = [
            value(each, nominal(each), OBJECTIVES[name], SCENARIO, asked_kg(each.gpus, SCENARIO))
            for each in (picked, from_records)
        ]
        np.testing.assert_allclose(both[0], both[1], rtol=1e-12)
    np.testing.assert_allclose(picked.lengths.padded_prompt, from_records.lengths.padded_prompt, rtol=1e-12)
    assert [picked.configuration(i) for i in range(len(picked))] == configurations


def test_the_order_is_that_of_the_answer_feasible_ones_first() -> None:
    losses = np.array([[3.0, 0.0], [1.0, 5.0], [1.0, 4.0], [0.5, 0.0]])
    excess = np.array([-0.1, -0.2, 0.0, 0.3])
    assert ranked(losses, excess, np.zeros(4, dtype=np.intp)).tolist() == [2, 1, 0, 3]


def test_of_many_the_nearest_to_the_best_and_the_best_of_each_group_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    # Eight configurations of two groups, losses 0 to 7; 0 is far over a limit, 1 a little, the last group is 6 and 7.
    losses = np.arange(8.0)[:, None]
    excess = np.array([1.5, 0.2, -1, -1, -1, -1, -1, -1])
    groups = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    # Of those that meet the limits 2 and 3, of those near them 1 and 2, and 6, the best of its group.
    assert ranked(losses, excess, groups).tolist() == [2, 3, 6, 1]


def test_a_plan_has_as_first_contender_its_best() -> None:
    searched = space(
        models=("TinyLlama-1.1B",), gpus=("T4", "RTX6000Ada"), gpu_counts=(1,), batch_sizes=(1, 8), dtypes=("fp16",),
        engines=("paper",),
    )  # fmt: skip
    question = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=SCENARIO)
    planned = exact.plan(searched, WORKLOAD, question)
    order = ranked(planned.losses, planned.excess, np.zeros(4, dtype=np.intp))
    assert order[0] == planned.losses[:, 0].argmin()
