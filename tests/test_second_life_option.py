"""`--second-life`: typed, in TOML, wrong; and that it reaches every price."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import exact, inputs, plan, results, tune
from carbonsweep.answer import answer
from carbonsweep.document import document
from carbonsweep.errors import BadInput, UnknownFact
from carbonsweep.search.objectives import study_name
from carbonsweep.search.space import space
from carbonsweep.second_life import SecondLife
from carbonsweep.second_life_option import SecondLives
from carbonsweep.units import S_PER_YEAR

SUNK = SecondLife(device="T4", policy="none")
OLD = SecondLife(device="A100-40", policy="left", age_s=3 * S_PER_YEAR, first_lifetime_s=5 * S_PER_YEAR)
BOTH = ("T4", "RTX6000Ada")


def typed(value: object) -> tuple[SecondLife, ...]:
    return SecondLives().convert(value, None, None)


@pytest.mark.parametrize(
    "value",
    [
        "T4=none,A100-40=left:3y",
        " a100-40 = LEFT:3y/5y , t4=None",
        ["T4=none", "A100-40=left:3"],
        {"T4": "none", "A100-40": "left:3.0y"},
        "T4=none,A100-40=left:3y,RTX6000Ada=all",
    ],
)
def test_what_is_typed_in_any_way_is_one_value(value: object) -> None:
    assert typed(value) == (OLD, SUNK)


def test_the_first_life_may_be_stated() -> None:
    (one,) = typed("T4=left:1.5y/4y")
    assert one.share == pytest.approx(1 - 1.5 / 4)


@pytest.mark.parametrize(
    "value",
    ["T4", "=none", "T4=", "T4=non", "T4=left", "T4=left:", "T4=left:-1y", "T4=left:3y/0", "T4=left:1.2.3",
     "T4=left:nan", "T4=left:1e9y", "T4=left:5000", "T4=none,", "T4=none,t4=all", ["T4=none", "T4=none"], ""],
)  # fmt: skip
def test_what_names_no_policy_is_told_which_there_are(value: object) -> None:
    with pytest.raises(click.BadParameter, match=r"all, none, left:AGE|is named twice"):
        typed(value)


def test_a_device_nobody_knows_is_told_the_closest() -> None:
    with pytest.raises(UnknownFact, match="did you mean T4"):
        typed("T5=none")


@given(st.text() | st.integers() | st.dictionaries(st.text(), st.text()) | st.lists(st.text()))
def test_anything_else_is_refused_in_one_sentence(value: object) -> None:
    try:
        found = typed(value)
    except (click.BadParameter, UnknownFact):
        return
    assert all(0 <= one.share <= 1 for one in found)


def test_a_device_the_question_is_not_about_is_refused() -> None:
    with pytest.raises(
        BadInput, match=r"names A100-40, which this question is not about: its devices are RTX6000Ada, T4"
    ):
        inputs.scenario({"second_life": (OLD,)}, BOTH)


def test_it_replaces_what_was_before_and_all_takes_it_back() -> None:
    before = inputs.scenario({"region": "QC", "second_life": (SUNK,)}, BOTH)
    assert before.second_life == (SUNK,)
    assert inputs.scenario({"pue": 1.2}, BOTH, before).second_life == (SUNK,)
    assert inputs.scenario({"second_life": typed("T4=all")}, BOTH, before).second_life == ()


@pytest.mark.parametrize("line", ['second-life = "T4=none"', 'second_life = ["T4=none"]', '[second-life]\nT4 = "none"'])
def test_an_experiment_file_may_name_it(tmp_path: Path, line: str) -> None:
    file = tmp_path / "question.toml"
    file.write_text(f'region = "QC"\n{line}\n', encoding="utf-8")
    for command in (tune.command, plan.command):
        context = command.make_context("x", ["--experiment", str(file)])
        assert context.params["second_life"] == (SUNK,)


def planned(**options: Any) -> tuple[exact.Plan, Any]:
    searched = space(
        models=("TinyLlama-1.1B",), gpus=BOTH, gpu_counts=(1, 2), batch_sizes=(1, 4, 16), dtypes=("fp16",),
        engines=("paper",),
    )  # fmt: skip
    scenario = inputs.scenario({"region": "QC", **options}, searched.gpus)
    asked = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=scenario)
    workload = inputs.workload(prompts=None, output_tokens=150, seed=0)
    found = exact.plan(searched, workload, asked)
    return found, answer(exact.shown(found, workload, asked), asked)


def test_the_arrays_of_a_plan_charge_what_a_record_is_charged() -> None:
    lives = typed("T4=left:2y,RTX6000Ada=none")
    found, answered = planned(second_life=lives)
    for each in answered.feasible:
        index = found.points.index(each.record.configuration)
        assert found.losses[index, 0] == pytest.approx(each.footprint.total_g, rel=1e-12)
        if each.record.configuration.gpu == "RTX6000Ada":
            assert each.footprint.embodied_g == 0
    # Every preset charges the same share: the sunk one wins or loses by its energy under each of them.
    assert {view.preset for view in answered.presets} == {"paper", "act", "sc23", "vendor"}


def test_answer_json_states_it_and_is_read_back() -> None:
    _, answered = planned(second_life=(SUNK,))
    written = json.loads(json.dumps(results.plain(document(answered))))
    assert written["scenario"]["second_life"] == [
        {"device": "T4", "policy": "none", "age_s": None, "first_lifetime_s": None}
    ]
    assert results._question(written).scenario == answered.question.scenario
    written["scenario"].pop("second_life")  # as an earlier version wrote it
    assert results._question(written).scenario.second_life == ()


def test_another_second_life_is_another_study() -> None:
    (_, new), (_, old) = planned(), planned(second_life=(SUNK,))
    searched = space(models=("TinyLlama-1.1B",), gpus=BOTH, gpu_counts=(1,), batch_sizes=(1,), dtypes=("fp16",),
                     engines=("paper",))  # fmt: skip
    names = {study_name(searched, each.question, "0", []) for each in (new, old)}
    assert len(names) == 2
