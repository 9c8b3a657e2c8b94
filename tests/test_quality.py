"""Quality: published scores, who reaches a stated one, and carbon against it."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from carbonsweep import facts, inputs, quality_front, quality_lines, quality_options
from carbonsweep.answer import answer
from carbonsweep.domain import TrialRecord
from carbonsweep.errors import EXIT_NOTHING_FEASIBLE, BadInput, NothingGoodEnough, UnknownFact
from carbonsweep.quality import Quality, Score, shipped
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import space
from tests.conftest import configuration, measurement, record


def own(scores: dict[str, float], **changes: object) -> Quality:
    """Scores on a benchmark called "own"."""
    rated = {model: Score(model=model, score=score) for model, score in scores.items()}
    return Quality(benchmark="own", table="test", scores=rated, **changes)  # type: ignore[arg-type]


def question(*objective: str) -> Question:
    scenario = inputs.scenario({"region": "QC"}, ["T4"])
    asked = objective or ("carbon",)
    return inputs.question(objective=asked, slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=scenario)


def run_of(model: str, joules: float, batch_size: int = 4) -> TrialRecord:
    """One result: the more joules, the more carbon."""
    return record(
        configuration(model=model, batch_size=batch_size), measurement(decode_j=joules, batch_size=batch_size)
    )


@pytest.mark.parametrize("row", facts.quality_scores().values(), ids=lambda row: row.key)
def test_a_published_score_is_of_a_known_model_and_says_who_scored_what_and_how(row: facts.QualityScore) -> None:
    assert facts.language_model(row.model).key == row.model
    assert 0 < row.score_percent <= 100
    assert all((row.protocol, row.harness, row.checkpoint))
    assert row.date[:2] == "20"
    assert len(row.date.split("-")) == 3


def test_the_default_benchmark_is_the_one_most_models_have() -> None:
    found = shipped("MMLU")
    counts = {row.benchmark: len(shipped(row.benchmark).scores) for row in facts.quality_scores().values()}
    assert found.benchmark == "mmlu"
    assert counts["mmlu"] == max(counts.values())
    # Four-way questions: a guess is right in 25 %.
    assert all(score.score > 25 for score in found.scores.values())


def test_larger_models_of_a_family_score_more() -> None:
    scores = shipped("mmlu").scores
    for family in (
        ("Qwen2.5-0.5B", "Qwen2.5-1.5B", "Qwen2.5-3B", "Qwen2.5-7B", "Qwen2.5-14B"),
        ("Llama-2-7B", "Llama-2-13B"),
    ):
        values = [scores[model].score for model in family]
        assert values == sorted(values)


def test_an_unknown_benchmark_names_those_there_are() -> None:
    with pytest.raises(UnknownFact, match="hellaswag"):
        shipped("mmul")


def test_below_is_left_out_the_bound_itself_passes_and_unknown_is_no_pass() -> None:
    asked = own({"LLaMA-7B": 45.0, "Llama-2-7B": 44.9}, minimum=45.0)
    assert asked.kept(["OpenLLaMA-3B", "Llama-2-7B", "LLaMA-7B"]) == ("LLaMA-7B",)
    refused = asked.refused(["OpenLLaMA-3B", "Llama-2-7B", "LLaMA-7B", "OpenLLaMA-3B"])
    assert [(each.model, each.score) for each in refused] == [("Llama-2-7B", 44.9), ("OpenLLaMA-3B", None)]
    assert "no own score is known" in refused[1].reason


def test_without_a_minimum_every_model_stays() -> None:
    assert own({}).kept(["OpenLLaMA-3B"]) == ("OpenLLaMA-3B",)
    assert own({}).refused(["OpenLLaMA-3B"]) == ()


def test_where_none_is_left_the_error_names_the_closest_and_exits_as_nothing_feasible() -> None:
    asked = own({"LLaMA-7B": 35.0, "TinyLlama-1.1B": 25.0, "Qwen2.5-7B": 74.0}, minimum=60.0)
    with pytest.raises(
        NothingGoodEnough, match=r"closest: LLaMA-7B 35, TinyLlama-1.1B 25; without a score: OpenLLaMA-3B"
    ):
        asked.kept(["TinyLlama-1.1B", "OpenLLaMA-3B", "LLaMA-7B"])
    with pytest.raises(NothingGoodEnough, match=r"Qwen2\.5-7B 74"):
        asked.kept(["LLaMA-7B"])
    with pytest.raises(NothingGoodEnough, match="none of them has a score"):
        asked.kept(["OpenLLaMA-3B"])
    assert NothingGoodEnough.exit_code == EXIT_NOTHING_FEASIBLE


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_is_a_number(score: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Score(model="LLaMA-7B", score=score)


def test_a_space_loses_its_models_before_anything_is_tried() -> None:
    start = space(
        models=("OpenLLaMA-3B", "TinyLlama-1.1B", "LLaMA-7B"),
        gpus=("T4",),
        gpu_counts=(1,),
        batch_sizes=(1,),
        dtypes=("fp16",),
        engines=("paper",),
    )
    left, quality = quality_options.searched({"min_quality": 30.0}, start)
    assert left.models == ("LLaMA-7B",)
    assert [each.model for each in quality.left_out] == ["TinyLlama-1.1B", "OpenLLaMA-3B"]
    same, nothing = quality_options.searched({}, start)
    assert (same, nothing.left_out) == (start, ())


def test_on_the_front_is_who_nobody_beats_on_both() -> None:
    # By joules: A best quality, most carbon; B as good as C for less carbon; D unknown, least carbon of all.
    records = [
        run_of("LLaMA-7B", 400.0),
        run_of("Llama-2-7B", 200.0),
        run_of("OpenLLaMA-3B", 300.0),
        run_of("TinyLlama-1.1B", 10.0),
        run_of("Llama-2-7B", 900.0, batch_size=2),
    ]
    scores = own({"LLaMA-7B": 70.0, "Llama-2-7B": 60.0, "OpenLLaMA-3B": 60.0})
    found = {p.best.record.configuration.model: p for p in quality_front.points(answer(records, question()), scores)}
    assert found["LLaMA-7B"].is_on_front
    assert found["Llama-2-7B"].is_on_front
    assert found["Llama-2-7B"].best.record.configuration.batch_size == 4  # each model by its best
    assert found["OpenLLaMA-3B"].dominated_by == "Llama-2-7B"
    assert found["TinyLlama-1.1B"].score is None
    assert not found["TinyLlama-1.1B"].is_on_front
    assert list(found) == ["LLaMA-7B", "Llama-2-7B", "OpenLLaMA-3B", "TinyLlama-1.1B"]


def test_equal_on_both_counts_nobody_dominates() -> None:
    records = [run_of("LLaMA-7B", 100.0), run_of("Llama-2-7B", 100.0)]
    points = quality_front.points(answer(records, question()), own({"LLaMA-7B": 60.0, "Llama-2-7B": 60.0}))
    assert [point.is_on_front for point in points] == [True, True]


def test_more_throughput_is_better_there_too() -> None:
    fast, slow = measurement(decode_s=1.0), measurement(decode_s=3.0)
    records = [record(configuration(model="LLaMA-7B"), slow), record(configuration(model="Llama-2-7B"), fast)]
    scores = own({"LLaMA-7B": 50.0, "Llama-2-7B": 60.0})
    points = quality_front.points(answer(records, question("throughput")), scores)
    assert [(p.best.record.configuration.model, p.dominated_by) for p in points] == [
        ("Llama-2-7B", None),
        ("LLaMA-7B", "Llama-2-7B"),
    ]


def test_the_document_is_read_back_as_it_was() -> None:
    found = answer([run_of("LLaMA-7B", 100.0), run_of("TinyLlama-1.1B", 50.0)], question())
    start = dataclasses.replace(shipped("mmlu"), minimum=20.0)
    asked = dataclasses.replace(start, left_out=start.refused(["OpenLLaMA-3B"]))
    written = json.loads(json.dumps({"quality": quality_front.document(found, asked)}))
    assert quality_front.stated(written) == asked
    assert quality_front.stated({}) is None
    assert written["quality"]["front"][0] == {
        "model": "LLaMA-7B",
        "score": 35.1,
        "value": found.best_per_model["LLaMA-7B"].values[0],
        "on_front": True,
        "dominated_by": None,
        "record": found.best_per_model["LLaMA-7B"].record.key,
    }
    for broken in ({}, {**written["quality"], "minimum": "much"}, {**written["quality"], "scores": [1]}):
        with pytest.raises(BadInput, match="quality"):
            quality_front.stated({"quality": broken})


def test_the_lines_say_what_the_scores_are_worth() -> None:
    found = answer([run_of("LLaMA-7B", 100.0), run_of("Qwen2.5-7B", 90.0)], question())
    said = " ".join(quality_lines.footing_lines(found, shipped("mmlu")))
    assert "2 harnesses" in said
    assert "Qwen2.5-7B as Qwen/Qwen2.5-7B" in said
    rows = quality_lines.rows(found, shipped("mmlu"))
    assert [row[0] for row in rows] == ["Qwen2.5-7B", "LLaMA-7B"]
    assert rows[0][3] == str(configuration(model="x")).removeprefix("x on ")  # the model is said once
    assert rows[1][-1] == "dominated by Qwen2.5-7B"
    assert rows[0][-1] == "on the front"


def test_a_front_takes_two_scored_models() -> None:
    found = answer([run_of("LLaMA-7B", 100.0), run_of("OpenLLaMA-3B", 90.0)], question())
    assert not quality_lines.shows_front(found, shipped("mmlu"))
    assert quality_lines.shows_front(found, shipped("hellaswag-lm-eval"))
    assert not quality_lines.shows_front(found, None)


def test_what_is_not_given_stays_but_a_minimum_is_of_its_own_benchmark(tmp_path: Path) -> None:
    before = dataclasses.replace(shipped("mmlu"), minimum=50.0)
    assert quality_options.asked({}, before) == before
    assert quality_options.asked({"min_quality": 60.0}, before).minimum == 60.0
    with pytest.raises(BadInput, match="at least 50 on mmlu"):
        quality_options.asked({"quality_benchmark": "hellaswag"}, before)
    other = quality_options.asked({"quality_benchmark": "hellaswag", "min_quality": 70.0}, before)
    assert (other.benchmark, other.minimum) == ("hellaswag", 70.0)
    table = tmp_path / "own.csv"
    table.write_text("model,benchmark,score\nllama-7b,MMLU,36\n")
    assert quality_options.asked({"quality_table": table}, before).minimum == 50.0
    assert quality_options.asked({"quality_table": table}).scores["LLaMA-7B"].score == 36
