"""The scripts of analysis/ and the questions of experiments/: each runs, or says in one line why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd
import pytest

from carbonsweep import facts, results, tune
from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.bench.statistics import distribution
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.document import document
from carbonsweep.domain import Device, Measurement, Refusal, Scenario, Slo, TrialRecord
from carbonsweep.evidence import Closure, EnergyWindow, Evidence, MeterReading
from carbonsweep.records import OutputFolder
from carbonsweep.results import ANSWER
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.trial import trial
from carbonsweep.units import S_PER_YEAR
from tests.conftest import SHORT, TOO_BIG, configuration, measurement, measuring_protocol, record

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.toml"))
SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".pdf": b"%PDF-"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of four modelled configurations in Québec."""
    place = tmp_path_factory.mktemp("sweep")
    points = [configuration(gpu=gpu, batch_size=b) for gpu in ("T4", "RTX6000Ada") for b in (1, 8)]
    records = [trial(RooflineBench(), point, SHORT) for point in points]
    scenario = Scenario(intensity=carbon_intensity("QC", "lifecycle"), lifetime_s=5 * S_PER_YEAR, embodied="paper")
    question = Question(objectives=objectives(("carbon",)), slo=Slo(), scenario=scenario)
    with OutputFolder(place) as output:
        for record in records:
            output.append(record)
    notes = {"records": [record.key for record in records]}
    written = results.plain(document(answer(records, question), notes=notes))
    (place / ANSWER).write_text(json.dumps(written), encoding="utf-8")
    return place


def run(*arguments: str | Path, script: str = "pareto_front.py") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"analysis/{script}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_several_sweeps_give_one_picture(folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"fronts{suffix}"
    done = run(folder, folder.parent / "." / folder.name, "--objectives", "energy,ttft", "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(SIGNATURES[suffix])


def test_what_cannot_be_drawn_ends_with_one_line_and_code_2(folder: Path, tmp_path: Path) -> None:
    cases: list[tuple[str | Path, ...]] = [
        (tmp_path, "--out", tmp_path / "x.png"),
        (folder, "--out", tmp_path / "x.gif"),
        (folder, "--out", tmp_path / "nowhere" / "x.png"),
        (folder, "--objectives", "carbn", "--out", tmp_path / "x.png"),
        ("--out", tmp_path / "x.png"),
    ]
    for arguments in cases:
        done = run(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_winner_is_found_in_every_region(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "where.csv"
    done = run(folder, "--out", out, script="which_gpu_where.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("TinyLlama-1.1B, modelled")
    table = pd.read_csv(out, keep_default_na=False)
    assert set(table["region"]) == set(facts.grids())
    assert len(table) == 4 * len(facts.grids())
    # The sweep's own region keeps the sweep's own grams.
    best = answer(results.load(folder).records, results.load(folder).question).best
    assert best is not None
    assert best.footprint is not None
    in_quebec = table[table["region"] == "QC"]["total_g"].min()
    assert in_quebec == pytest.approx(best.footprint.total_g)


def test_a_model_the_sweep_has_not_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    done = run(folder, "--model", "LLaMA-7B", "--out", tmp_path / "x.csv", script="which_gpu_where.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "holds no LLaMA-7B: it has TinyLlama-1.1B" in done.stderr


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.stem))
def test_every_experiment_is_a_question_the_main_job_understands(path: Path) -> None:
    context = tune.command.make_context("tune", ["--experiment", str(path)])
    assert isinstance(context, click.Context)
    objectives(context.params["objective"])
    if "carbon" in context.params["objective"]:
        assert context.params["region"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.stem))
def test_every_experiment_says_its_question_and_its_command(path: Path) -> None:
    comment = " ".join(line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#")
    assert "?" in comment
    assert f"python -m carbonsweep.tune --experiment experiments/{path.name}" in comment


def test_there_are_experiments() -> None:
    assert EXPERIMENTS


# ---- measured_grid.py ----


def metered(device: str, joules: float, power_j: float) -> EnergyWindow:
    counter, power = (
        MeterReading(source=source, semantics="s", joules=each, low_j=0.99 * each, high_j=1.01 * each)
        for source, each in (("counter", joules), ("power", power_j))
    )
    return EnergyWindow(phase="decode", device=device, runs=1, duration_s=2.0, readings=(counter, power))


def measured_records() -> list[TrialRecord]:
    """Two measured batches, the second without joules, and one that does not fit."""
    windows = (metered("GPU-1", 90.0, 91.0),)
    spread = distribution([1.0], "batch")
    protocol = measuring_protocol()
    evidence = Evidence(
        protocol=protocol,
        ttft=spread,
        tpot=spread,
        prompt_latency=spread,
        closure=Closure(whole_s=3.5, parts_s=3.5, whole_j=100.0, parts_j=110.0),
        windows=windows,
        gates=("closure: the phases' joules are +10.0 % of the whole run's",),
    )
    sound = measurement(basis="measured", evidence=evidence, device=Device(name="Tesla T4", driver="570"))
    blind = measurement(basis="measured", prefill_j=None, decode_j=None, idle_w=None)
    outcomes: tuple[Measurement | Refusal, ...] = (sound, blind, TOO_BIG)
    return [record(configuration(batch_size=b), each) for b, each in zip((1, 2, 4), outcomes, strict=True)]


def test_the_measured_grid_is_a_table_of_seconds_joules_errors_and_failed_checks(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as output:
        for each in measured_records():
            output.append(each)
    done = run(tmp_path, "--out", tmp_path / "table.md", script="measured_grid.py")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert text.startswith("# Measured: Tesla T4, driver 570\n")
    first, second = (line for line in text.splitlines() if line.startswith("| TinyLlama"))
    # Decode: 90 J for 100 tokens, known to 10 %; 3 s for 149 steps.
    assert "| 20.13 ms ± 0.0 % |" in first
    assert "| 0.9 ± 10.0 % |" in first
    assert first.endswith("| +10.0 % | 26.0 | 3 | closure |")
    assert second.count("unknown") == 6
    assert "batch 4, fp16, paper: lacks 1 byte" in text
    assert text.endswith("All windows together (without loading and warm-up): 1, 2 device seconds, 0.09 kJ.\n")


def test_a_folder_without_a_measurement_has_no_table_and_says_how_to_make_one(tmp_path: Path) -> None:
    done = run(tmp_path, "--out", tmp_path / "table.md", script="measured_grid.py")
    assert done.returncode == 2
    assert "holds no measured record: carbonsweep measure" in done.stderr
    assert not (tmp_path / "table.md").exists()
