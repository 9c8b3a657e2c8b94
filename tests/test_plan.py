"""The planning command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from carbonsweep import exact, inputs
from carbonsweep.answer import answer
from carbonsweep.domain import Workload
from carbonsweep.search.space import space
from tests.running import assert_one_line_error, environment, run


def test_it_answers_without_writing_anything(tmp_path: Path) -> None:
    process = run("plan", "--region", "QC", home=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "Modelled, not measured" in process.stdout
    assert "Best (total carbon)" in process.stdout
    assert list(tmp_path.iterdir()) == []


def test_json_is_the_answer_and_nothing_else(tmp_path: Path) -> None:
    process = run("plan", "--region", "DE", "--gpus", "T4,L4,H100", "--engine", "healthy", "--json", home=tmp_path)
    document = json.loads(process.stdout)
    assert document["carbon_intensity"]["g_per_kwh"] == 366.8  # Electricity Maps, DE, life-cycle mean of 2023
    assert document["scenario"]["embodied"] == "act"  # the paper's preset has no L4
    assert document["regret"] == 0


def nothing_emitted(sunk: str) -> tuple[str, ...]:
    """A grid without carbon, and GPUs that are charged nothing for their making."""
    return ("--gpus", "T4,H100", "--engine", "healthy", "--carbon-intensity-g-per-kwh", "0", "--second-life", sunk)


@pytest.mark.parametrize("sunk", ["T4=none", "T4=none,H100=none"])
def test_where_some_or_all_gpus_emit_nothing_there_are_no_shares_of_it(tmp_path: Path, sunk: str) -> None:
    process = run("plan", *nothing_emitted(sunk), "--placement", "any", home=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert "no carbon" in process.stdout  # an embodied share of nothing
    assert "no split is better: the best one is as good as the best colocated configuration" in process.stdout


def test_a_sweep_of_what_emits_nothing_is_answered_whole(tmp_path: Path) -> None:
    question = nothing_emitted("T4=none,H100=none")
    swept = run("tune", *question, "--batch-sizes", "1,2", "--out", "out", home=tmp_path)
    assert (swept.returncode, "Warning" in swept.stderr) == (0, False)
    assert "nan" not in swept.stdout
    document = (tmp_path / "out" / "answer.json").read_text()
    assert json.loads(document, parse_constant=pytest.fail)["regret"] == 0
    for command in ("report", "explain"):
        done = run(command, "out", home=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), command


def test_the_direct_intensity_is_another_row_of_the_same_grid(tmp_path: Path) -> None:
    process = run("plan", "--region", "CA-QC", "--intensity-basis", "direct", "--json", home=tmp_path)
    assert json.loads(process.stdout)["carbon_intensity"]["g_per_kwh"] == 1.7


def test_a_terminal_without_the_letter_mu_still_gets_the_answer(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "carbonsweep", "plan", "--region", "QC"],
        cwd=tmp_path,
        env={**environment(tmp_path), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Regret" in process.stdout


def test_a_plan_of_a_question_written_for_tune_is_the_same_question(tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_text('region = "QC"\nbench = "roofline"\n')
    assert run("plan", "--experiment", "q.toml", home=tmp_path).returncode == 0
    (tmp_path / "q.toml").write_text('region = "QC"\nbench = "transformers"\n')
    assert_one_line_error(run("plan", "--experiment", "q.toml", home=tmp_path), 2, "--bench", "roofline")


def test_nothing_feasible_ends_with_3(tmp_path: Path) -> None:
    process = run("plan", "--region", "QC", "--slo-tpot", "0.0001", home=tmp_path)
    assert process.returncode == 3
    assert "Closest misses" in process.stdout
    assert "Regret" not in process.stdout  # nothing was recommended


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    assert_one_line_error(run("plan", "--region", "QC", "--gpus", "T44", home=tmp_path), 2, "unknown GPU 'T44'")


def test_it_imports_neither_ray_nor_optuna_nor_torch(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom carbonsweep.plan import command\n"
        "command.main(['--region', 'QC', '--json'], standalone_mode=False)\n"
        "sys.exit(bool({'ray', 'optuna', 'torch', 'transformers', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=False
    )
    assert process.returncode == 0, process.stderr


def test_it_says_how_sure_it_is_or_that_nobody_knows(tmp_path: Path) -> None:
    process = run("plan", "--region", "QC", home=tmp_path)
    lines = process.stdout.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("How sure: "))
    assert lines[place + 1].startswith("  Its 95 % interval over the draws: ")
    # What the draws cannot see is said: batch sizes of one GPU are off together.
    assert "an error in time and power of each GPU that all its models and batch sizes share" in process.stdout
    process = run("plan", "--region", "QC", "--json", home=tmp_path)
    sure = json.loads(process.stdout)["certainty"]
    assert sure["best"] == json.loads(process.stdout)["best"]["configuration"]
    assert (sure["best_share"] is None) == (sure["unknown"] is not None)
    assert set(sure["by_source"]) <= {"bench", "presets", "basis"}
    assert sure["draws"] == 1024


WORKLOADS = "name,prompt_tokens,output_tokens\nchat,120 480,150\nlong,1500,100\ntoo long,90000,100\n"


def test_each_workload_of_a_file_has_its_own_answer(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text(WORKLOADS)
    process = run("plan", "--region", "QC", "--workloads", "w.csv", "--out", "best.csv", home=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "Modelled, not measured" in process.stdout
    assert "2 with an answer" in process.stdout
    assert "nothing runs" in process.stdout
    rows = list(csv.DictReader((tmp_path / "best.csv").read_text().splitlines()))
    assert [(row["workload"], row["outcome"]) for row in rows] == [
        ("chat", "best"),
        ("long", "best"),
        ("too long", "nothing runs"),
    ]
    assert rows[0]["mean_prompt_tokens"] == "300.0"
    assert rows[0]["basis"] == "modelled"
    assert rows[2]["model"] == ""
    assert rows[2]["total_g"] == ""


def test_one_workload_of_a_file_has_the_answer_it_has_alone(tmp_path: Path) -> None:
    (tmp_path / "w.jsonl").write_text('{"prompt_tokens": [7, 90], "output_tokens": 150}\n')
    process = run("plan", "--region", "QC", "--slo-tpot", "0.06", "--workloads", "w.jsonl", "--json", home=tmp_path)
    document = json.loads(process.stdout)
    (row,) = document["workloads"]
    assert (document["objective"], document["slo"], document["configurations"]) == (["carbon"], {"tpot_s": 0.06}, 42)
    # The same lengths by the one way a single workload has: the records' own model, over the same space.
    searched = space(
        models=inputs.DEFAULT_MODELS,
        gpus=inputs.DEFAULT_GPUS,
        gpu_counts=(1,),
        batch_sizes=(1, 2, 4, 8, 16, 32, 64),
        dtypes=("fp16",),
        engines=("paper",),
    )
    alone = Workload(name="w", prompts=None, prompt_tokens=(7, 90), token_basis="given", output_tokens=150)
    scenario = inputs.scenario({"region": "QC"}, searched.gpus)
    asked = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=0.06, slo_latency=None, scenario=scenario)
    best = answer(exact.shown(exact.plan(searched, alone, asked), alone, asked), asked).best
    assert best is not None
    assert {name: row[name] for name in ("model", "gpu", "batch_size")} == {
        name: getattr(best.record.configuration, name) for name in ("model", "gpu", "batch_size")
    }
    assert best.footprint is not None
    assert row["total_g"] == pytest.approx(best.footprint.total_g)
    assert row["tpot_s"] == pytest.approx(best.measurement.tpot_s)


def test_where_no_workload_has_an_answer_it_ends_with_3_and_shows_the_closest(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("prompt_tokens,output_tokens\n20,150\n")
    process = run("plan", "--region", "QC", "--slo-tpot", "0.0001", "--workloads", "w.csv", home=tmp_path)
    assert process.returncode == 3
    assert "misses by" in process.stdout


def test_a_file_of_workloads_and_one_workload_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text(WORKLOADS)
    mixed = run("plan", "--region", "QC", "--workloads", "w.csv", "--output-tokens", "5", home=tmp_path)
    assert_one_line_error(mixed, 2, "--output-tokens", "--workloads")
    assert_one_line_error(run("plan", "--region", "QC", "--out", "x.csv", home=tmp_path), 2, "--workloads")
    nowhere = run("plan", "--region", "QC", "--workloads", "w.csv", "--out", "no/x.csv", home=tmp_path)
    assert_one_line_error(nowhere, 2, "--out")
    (tmp_path / "bad.csv").write_text("prompt_tokens,output_tokens\nx,150\n")
    bad = run("plan", "--region", "QC", "--workloads", "bad.csv", home=tmp_path)
    assert_one_line_error(bad, 2, "bad.csv", "line 2", "prompt_tokens")
