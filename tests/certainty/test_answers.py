"""An answer over records and a plan over the same space are equally sure, and write it down the same way."""

from __future__ import annotations

import json

import pytest

from carbonsweep import exact, inputs
from carbonsweep.answer import answer
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.certainty import contenders
from carbonsweep.certainty.answers import of_answer, of_plan
from carbonsweep.document import certainty_document, document
from carbonsweep.facts.draws import FitDraws
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import space
from carbonsweep.trial import trial

SPACE = space(
    models=("TinyLlama-1.1B", "LLaMA-7B"),
    gpus=("T4", "RTX6000Ada"),
    gpu_counts=(1, 2),
    batch_sizes=(1, 8, 64),
    dtypes=("fp16",),
    engines=("paper",),
)
WORKLOAD = built_in_workload(150, 0)
FITS = FitDraws(
    draws=4,
    seed=0,
    rows={
        "paper": {
            "T4": {"time_factor": (1.0, 0.7, 1.2, 1.1), "power_factor": (1.0, 0.8, 1.0, 1.1)},
            "RTX6000Ada": {"time_factor": (1.0, 1.3, 0.8, 1.6), "bandwidth_efficiency": (0.9, 0.5, 0.7, 0.8)},
        }
    },
)


def question(*names: str, slo_tpot: float | None = None) -> Question:
    scenario = inputs.scenario({"region": "QC", "utilisation": 0.5}, SPACE.gpus)
    return inputs.question(objective=names, slo_ttft=None, slo_tpot=slo_tpot, slo_latency=None, scenario=scenario)


@pytest.mark.parametrize(
    ("names", "slo_tpot"),
    [(("carbon",), None), (("carbon",), 0.05), (("energy", "ttft"), 0.04), (("throughput",), None)],
)
def test_a_plan_and_the_records_of_its_whole_space_are_equally_sure(
    names: tuple[str, ...], slo_tpot: float | None
) -> None:
    asked = question(*names, slo_tpot=slo_tpot)
    planned = exact.plan(SPACE, WORKLOAD, asked)
    records = [trial(RooflineBench(), each, WORKLOAD) for each in SPACE.configurations()]
    found = answer(records, asked)
    by_records, by_plan = of_answer(found, FITS), of_plan(planned, asked, FITS)
    assert by_records is not None
    assert by_plan is not None
    assert found.best is not None
    assert by_plan.best == by_records.best == found.best.record.configuration
    assert by_plan.shares == by_records.shares
    assert by_plan.by_source == by_records.by_source
    assert (by_plan.low, by_plan.high) == pytest.approx((by_records.low, by_records.high), rel=1e-9)
    assert by_plan.contenders == by_records.contenders == int(planned.measurable.sum())
    assert by_plan.embodied_range == by_records.embodied_range or names != ("carbon",)


def test_where_nothing_is_feasible_a_plan_has_no_certainty() -> None:
    asked = question("carbon", slo_tpot=1e-6)
    assert of_plan(exact.plan(SPACE, WORKLOAD, asked), asked, FITS) is None


def test_of_a_large_plan_the_nearest_to_the_best_are_drawn_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "MOST", 4)
    asked = question("carbon")
    planned = exact.plan(SPACE, WORKLOAD, asked)
    found = of_plan(planned, asked, FITS)
    assert found is not None
    assert found.contenders < found.configurations == int(planned.measurable.sum())
    monkeypatch.undo()
    whole = of_plan(planned, asked, FITS)
    assert whole is not None
    assert found.best == whole.best


def test_the_document_holds_it_as_plain_json() -> None:
    asked = question("carbon")
    planned = exact.plan(SPACE, WORKLOAD, asked)
    found = of_plan(planned, asked, FITS)
    assert found is not None
    read = json.loads(json.dumps(certainty_document(found)))
    assert read["best_share"] == found.best_share
    assert read["draws"] == 1024
    assert read["shares"][0]["configuration"] == read["best"]
    assert read["low_g"] == read["low"] < read["high"]
    assert read["unknown"] is None
    shown = answer(exact.shown(planned, WORKLOAD, asked), asked)
    assert document(shown, certainty=found)["certainty"] == certainty_document(found)
    assert document(shown)["certainty"] is None
