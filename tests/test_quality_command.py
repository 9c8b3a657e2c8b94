"""--min-quality and --request-rate, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.running import assert_one_line_error, run

MODELS = "TinyLlama-1.1B,OpenLLaMA-3B,LLaMA-7B,Llama-3.2-3B"


def planned(home: Path, *options: str) -> dict[str, object]:
    """The answer of a small plan."""
    process = run("plan", "--region", "QC", "--models", MODELS, "--batch-sizes", "1,8", "--json", *options, home=home)
    assert process.returncode == 0, process.stderr
    found: dict[str, object] = json.loads(process.stdout)
    return found


def test_models_below_the_quality_and_those_without_a_score_are_not_tried_and_named(tmp_path: Path) -> None:
    process = run("plan", "--region", "QC", "--models", MODELS, "--min-quality", "30", home=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "Space: all 28 configurations" in process.stdout  # 2 models, 2 GPUs, 7 batch sizes
    assert "Left out, by quality: TinyLlama-1.1B: mmlu 25.34 is below 30." in process.stdout
    assert "Left out, by quality: OpenLLaMA-3B: no mmlu score is known" in process.stdout
    assert "Best (total carbon): Llama-3.2-3B" in process.stdout
    assert "dominated by Llama-3.2-3B" in process.stdout


def test_the_document_holds_the_front(tmp_path: Path) -> None:
    found = planned(tmp_path)["quality"]
    assert isinstance(found, dict)
    assert (found["benchmark"], found["minimum"], found["left_out"]) == ("mmlu", None, [])
    assert [each["model"] for each in found["front"]][-1] == "OpenLLaMA-3B"  # without a score


@pytest.mark.parametrize("command", ["plan", "tune"])
def test_none_left_ends_before_any_trial_and_names_the_closest(command: str, tmp_path: Path) -> None:
    process = run(
        command, "--bench", "roofline", "--region", "QC", "--models", MODELS, "--min-quality", "90", home=tmp_path
    )
    assert_one_line_error(process, 3, "--min-quality 90", "Llama-3.2-3B 58", "OpenLLaMA-3B")
    assert list(tmp_path.iterdir()) == []


def test_bad_quality_options_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("model,benchmark,score\nLLaMA-7B,own,x\n")
    for options, words in (
        (("--min-quality", "nan"), "--min-quality"),
        (("--quality-benchmark", "mmul"), "mmlu"),
        (("--quality-benchmark", ""), "unknown quality benchmark ''"),
        (("--quality-table", "q.csv", "--quality-benchmark", "own"), "line 2"),
        (("--quality-table", "gone.csv"), "gone.csv"),
        (("--request-rate", "nan"), "150/min"),
        (("--request-rate", "0"), "--request-rate"),
        (("--request-rate", "3/week"), "--request-rate"),
    ):
        assert_one_line_error(run("plan", "--region", "QC", *options, home=tmp_path), 2, words)


def test_an_own_table_takes_the_place_of_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("model,benchmark,score,source\nOpenLLaMA-3B,support,4.5,our raters\n")
    (tmp_path / "q.toml").write_text('quality_table = "q.csv"\nquality_benchmark = "support"\nmin_quality = 4\n')
    found = planned(tmp_path, "--experiment", "q.toml")
    assert found["best"]["configuration"]["model"] == "OpenLLaMA-3B"  # type: ignore[index]
    assert found["quality"]["scores"]["OpenLLaMA-3B"]["source"] == "our raters"  # type: ignore[index]


def test_a_rate_of_requests_is_met_by_replicas_and_the_answer_says_how_busy_they_are(tmp_path: Path) -> None:
    options = ("--models", "LLaMA-7B", "--request-rate", "300/min", "--utilisation", "0.8")
    process = run("plan", "--region", "QC", *options, home=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "At 5 prompts/s the best runs as" in process.stdout
    assert "No latency here counts the wait for a batch" in process.stdout
    assert "J per 1,000 output tokens, idle included" in process.stdout
    found = planned(tmp_path, *options)
    best = found["best"]
    assert isinstance(best, dict)
    # Each of n replicas serves batch / latency prompts/s at most.
    capacity_per_s = best["configuration"]["batch_size"] / best["prompt_latency_s"]
    assert best["replicas"] == -(-5 // (0.8 * capacity_per_s))
    assert best["prefill_utilisation"] == pytest.approx(5 / (best["replicas"] * capacity_per_s))
    assert best["prefill_utilisation"] <= 0.8


def test_an_answer_from_before_is_repriced_at_a_rate_and_for_a_quality(tmp_path: Path) -> None:
    # Written by tune, then stripped of what older versions did not write.
    options = ("--models", "TinyLlama-1.1B,LLaMA-7B", "--gpus", "T4,RTX6000Ada", "--batch-sizes", "1,8")
    process = run("tune", "--bench", "roofline", "--region", "QC", *options, "--out", "out", home=tmp_path)
    assert process.returncode == 0, process.stderr
    path = tmp_path / "out" / "answer.json"
    document = json.loads(path.read_text())
    del document["scenario"]["request_rate_per_s"], document["quality"]
    path.write_text(json.dumps(document))
    before = json.loads(run("price", "out", "--json", home=tmp_path).stdout)
    assert before["scenario"]["request_rate_per_s"] is None
    assert before["best"]["total_g"] == pytest.approx(document["best"]["total_g"])
    rated = json.loads(run("price", "out", "--request-rate", "0.01", "--json", home=tmp_path).stdout)
    assert rated["best"]["replicas"] == 1
    assert rated["best"]["total_g"] > 10 * before["best"]["total_g"]  # a nearly idle GPU
    assert rated["best"]["configuration"]["gpu"] == "T4"  # 10 W idle, not 20: at a trickle idle power decides
    good = json.loads(run("price", "out", "--min-quality", "30", "--json", home=tmp_path).stdout)
    assert good["best"]["configuration"]["model"] == "LLaMA-7B"
    assert [each["model"] for each in good["quality"]["left_out"]] == ["TinyLlama-1.1B"]
    assert_one_line_error(run("price", "out", "--min-quality", "80", home=tmp_path), 3, "LLaMA-7B 35.1")
