"""The planning command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
