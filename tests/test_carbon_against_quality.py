"""analysis/carbon_against_quality.py: models one harness has scored, each by its best configuration."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from carbonsweep import inputs, quality_front, results
from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.document import document
from carbonsweep.figures.front_axes import Scale
from carbonsweep.figures.quality_points import one_harness, quality_figure
from carbonsweep.quality import Quality, shipped
from carbonsweep.records import OutputFolder
from carbonsweep.search.space import space
from carbonsweep.trial import trial

ROOT = Path(__file__).parents[1]
MODELS = ("LLaMA-7B", "Llama-2-7B", "Qwen2.5-0.5B", "Qwen2.5-7B", "Llama-2-13B", "OpenLLaMA-3B")
SPACE = space(
    models=MODELS, gpus=("H100",), gpu_counts=(1,), batch_sizes=(1, 8), dtypes=("fp16",), engines=("healthy",)
)
WORKLOAD = inputs.workload(prompts=None, output_tokens=150, seed=0)
RECORDS = [trial(RooflineBench(), c, WORKLOAD) for c in SPACE.configurations()]
QUESTION = inputs.question(
    objective=("carbon",),
    slo_ttft=None,
    slo_tpot=None,
    slo_latency=None,
    scenario=inputs.scenario({"region": "DE"}, SPACE.gpus),
)


def drawn(*arguments: str, folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The script, run over a folder."""
    return subprocess.run(
        [sys.executable, "analysis/carbon_against_quality.py", str(folder), "--out", str(out), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep as it is left."""
    place = tmp_path_factory.mktemp("sweep")
    with OutputFolder(place) as output:
        for each in RECORDS:
            output.append(each)
        found = answer(RECORDS, QUESTION)
        notes = {
            "records": [each.key for each in RECORDS],
            quality_front.KEY: quality_front.document(found, shipped("mmlu")),
        }
        results.write(place, found, results.plain(document(found, notes=notes)))
    return place


def test_only_scores_of_the_harness_that_scored_most_are_compared() -> None:
    # Three by Meta's library of the Llama 2 paper, two by Qwen's own, one by nobody.
    alike, left_out = one_harness(answer(RECORDS, QUESTION), shipped("mmlu"))
    assert set(alike.scores) == {"LLaMA-7B", "Llama-2-7B", "Llama-2-13B"}
    assert set(left_out) == {"Qwen2.5-0.5B", "Qwen2.5-7B", "OpenLLaMA-3B"}
    assert len({score.harness for score in alike.scores.values()}) == 1


def test_an_own_table_without_harnesses_is_one() -> None:
    start = shipped("mmlu")
    plain = {model: type(score)(model=model, score=score.score) for model, score in start.scores.items()}
    alike, left_out = one_harness(answer(RECORDS, QUESTION), Quality(benchmark="own", table="t", scores=plain))
    assert left_out == ("OpenLLaMA-3B",)
    assert len(alike.scores) == len(start.scores)


def test_the_picture_holds_each_model_at_its_score_and_its_best() -> None:
    found = answer(RECORDS, QUESTION)
    alike, _ = one_harness(found, shipped("mmlu"))
    [axes] = quality_figure(found, alike).axes
    scale = Scale.of(QUESTION.objectives[0], found)
    points = [line for line in axes.lines if line.get_marker() == "o"]
    shown = sorted((*line.get_xdata(), *line.get_ydata()) for line in points)  # type: ignore[misc]
    best = {model: one for model, one in found.best_per_model.items() if model in alike.scores}
    expected = sorted((alike.scores[model].score, scale.value(one, found)) for model, one in best.items())
    assert [x for x, _ in shown] == [score for score, _ in expected]
    assert [y for _, y in shown] == pytest.approx([value for _, value in expected])
    # LLaMA-7B and Llama-2-7B are of one shape, so of one carbon: the better one dominates, and is filled.
    assert [line.get_markerfacecolor() == "white" for line in points].count(True) == 1
    assert "CO2e per 1,000 output tokens" in axes.get_ylabel()
    assert "mmlu" in axes.get_xlabel()


def test_the_script_writes_picture_and_numbers_and_names_who_is_not_drawn(folder: Path, tmp_path: Path) -> None:
    process = drawn(folder=folder, out=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "Not drawn" in process.stdout
    assert "Qwen2.5-7B" in process.stdout
    assert (tmp_path / "carbon_against_quality.png").stat().st_size > 0
    rows = list(csv.DictReader((tmp_path / "carbon_against_quality.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["model"] for row in rows} == set(MODELS)
    assert {row["model"] for row in rows if row["drawn"] == "True"} == {"LLaMA-7B", "Llama-2-7B", "Llama-2-13B"}
    assert all(row["unit"] == "g CO2e per 1,000 output tokens" for row in rows)


def test_a_lone_score_makes_no_picture(folder: Path, tmp_path: Path) -> None:
    process = drawn("--quality-benchmark", "mmlu-cloze", folder=folder, out=tmp_path)
    assert process.returncode == 2
    assert "no two models" in process.stderr
    assert list(tmp_path.iterdir()) == []
