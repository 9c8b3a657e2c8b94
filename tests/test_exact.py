"""The enumeration is the scalar model and the scalar pricing, only faster."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonsweep import exact, inputs
from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import FunctionalUnit
from carbonsweep.errors import BenchError
from carbonsweep.search.objectives import OBJECTIVES, Question
from carbonsweep.search.space import space
from carbonsweep.trial import trial

WORKLOAD = inputs.workload(prompts=None, output_tokens=150, seed=0)
SPACE = space(
    models=("TinyLlama-1.1B", "LLaMA-7B"),
    gpus=("T4", "RTX6000Ada", "V100"),
    gpu_counts=(1, 2),
    batch_sizes=(1, 8, 64),
    dtypes=("fp16", "bf16"),
    engines=("paper", "healthy"),
)
CONFIGURATIONS = sorted(SPACE.configurations())
RECORDS = [trial(RooflineBench(), c, WORKLOAD) for c in CONFIGURATIONS]


def question(*objective: str, unit: FunctionalUnit = "1k-output-tokens", slo_tpot: float | None = None) -> Question:
    options = {"region": "CISO", "utilisation": 0.4, "pue": 1.3, "host_power_w": 50.0, "functional_unit": unit}
    scenario = inputs.scenario(options, SPACE.gpus)
    return inputs.question(objective=objective, slo_ttft=None, slo_tpot=slo_tpot, slo_latency=None, scenario=scenario)


@pytest.mark.parametrize("unit", ["1k-output-tokens", "output-token", "prompt", "prompt-token"])
def test_every_loss_is_what_the_bench_and_the_pricing_give_one_by_one(unit: FunctionalUnit) -> None:
    asked = question(*OBJECTIVES, unit=unit)
    planned = exact.plan(SPACE, WORKLOAD, asked)
    for i, configuration in enumerate(CONFIGURATIONS):
        try:
            expected = asked.losses(RooflineBench().measure(configuration, WORKLOAD))
        except BenchError:
            assert all(math.isinf(loss) for loss in planned.losses[i])
            continue
        assert planned.losses[i].tolist() == pytest.approx(expected, rel=1e-12)


@settings(max_examples=15)
@given(rate_per_s=st.floats(1e-3, 1e4), highest=st.floats(0.01, 1), unit=st.sampled_from(["prompt", "output-token"]))
def test_every_loss_at_a_rate_of_requests_is_what_the_records_give_one_by_one(
    rate_per_s: float, highest: float, unit: FunctionalUnit
) -> None:
    start = question(*OBJECTIVES, unit=unit)
    scenario = dataclasses.replace(start.scenario, request_rate_per_s=rate_per_s, utilisation=highest)
    asked = dataclasses.replace(start, scenario=scenario)
    planned = exact.plan(SPACE, WORKLOAD, asked)
    measured = {record.configuration: record.measurement for record in RECORDS}
    for i, configuration in enumerate(CONFIGURATIONS):
        found = measured[configuration]
        if found is not None:
            assert planned.losses[i].tolist() == pytest.approx(asked.losses(found), rel=1e-12)


@settings(max_examples=25)
@given(
    objective=st.lists(st.sampled_from(sorted(OBJECTIVES)), min_size=1, max_size=3, unique=True),
    slo_tpot=st.none() | st.floats(0.005, 0.5),
)
def test_the_records_shown_give_the_answer_of_the_whole_space(objective: list[str], slo_tpot: float | None) -> None:
    asked = question(*objective, slo_tpot=slo_tpot)
    planned = exact.plan(SPACE, WORKLOAD, asked)
    shown, whole = answer(exact.shown(planned, WORKLOAD, asked), asked), answer(RECORDS, asked)

    def names(candidates: object) -> list[str]:
        assert isinstance(candidates, tuple)
        return [str(c.record.configuration) for c in candidates]

    assert (shown.best is None) == (whole.best is None)
    assert names(shown.feasible[:5]) == names(whole.feasible[:5])
    assert names(shown.front) == names(whole.front)
    assert names(shown.closest) == names(whole.closest)
    assert shown.hypervolume == (None if whole.hypervolume is None else pytest.approx(whole.hypervolume))
    assert [(v.preset, v.best.record.configuration) for v in shown.presets] == [
        (v.preset, v.best.record.configuration) for v in whole.presets
    ]
    assert {m: c.record.key for m, c in shown.best_per_model.items()} == {
        m: c.record.key for m, c in whole.best_per_model.items()
    }
    if whole.best is not None:
        assert exact.regret(whole, planned) == pytest.approx(0, abs=1e-12)


def test_counts_add_up_to_the_space() -> None:
    counts = exact.plan(SPACE, WORKLOAD, question("carbon", slo_tpot=0.05)).counts()
    assert sum(counts.values()) == SPACE.size
    # bf16 on T4 and V100: 2 models x 2 GPUs x 2 counts x 3 batches x 2 engines.
    assert counts["unsupported"] == 48


def test_regret_is_the_share_by_which_a_worse_answer_costs_more() -> None:
    asked = question("carbon")
    planned = exact.plan(SPACE, WORKLOAD, asked)
    best = answer(RECORDS, asked).best
    assert best is not None
    without_best = [r for r in RECORDS if r.measurement is None or asked.losses(r.measurement) > best.losses]
    second = answer(without_best, asked)
    assert second.best is not None
    expected = second.best.losses[0] / best.losses[0] - 1
    assert exact.regret(second, planned) == pytest.approx(expected)
    assert expected > 0
