"""The scripts that draw the paper: every file is there, its numbers are the package's, and errors are one line."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carbonsweep import facts, results
from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.domain import Configuration, Measurement, Scenario, TrialRecord
from carbonsweep.records import OutputFolder, read
from carbonsweep.units import S_PER_YEAR
from tests.conftest import configuration, measurement, record

ROOT = Path(__file__).parents[1]
SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".pdf": b"%PDF-"}
PICTURES = (
    "latency_and_energy_by_model_and_batch",
    "prefill_throughput_and_energy_by_batch",
    "decode_throughput_and_energy_by_batch",
    "carbon_by_region_and_batch",
    "prefill_carbon_by_batch",
    "decode_carbon_by_batch",
    "embodied_share_by_lifetime",
    "front_of_carbon_and_latency",
    "front_of_carbon_ttft_and_tpot",
    "break_even_map",
)
TABLES = ("gpus_and_embodied_carbon", "carbon_intensity_by_region")
# No engine lets a 7B in batches of 4096 onto a T4.
SPACE = ("--models", "TinyLlama-1.1B,LLaMA-7B", "--batch-sizes", "1,2,4,4096", "--gpus", "T4,RTX6000Ada")


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"analysis/{script}.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen modelled configurations, some of which do not fit."""
    place = tmp_path_factory.mktemp("sweep")
    done = run("modelled_records", *SPACE, "--objective", "energy,latency", "--out", place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def figures(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("figures")
    done = run("paper_figures", sweep, "--out", place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def measured(sweep: Path) -> dict[Configuration, Measurement]:
    return {r.configuration: r.measurement for r in results.load(sweep).records if r.measurement is not None}


def at(
    found: dict[Configuration, Measurement], gpu: str, batch_size: int, model: str = "TinyLlama-1.1B"
) -> Measurement:
    return found[configuration(gpu=gpu, batch_size=batch_size, model=model)]


def numbers(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", keep_default_na=False)


def only(table: pd.DataFrame, **wanted: str | int) -> pd.Series[Any]:
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1, wanted
    return table.iloc[0]


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_there_as_png_and_pdf_and_small(figures: Path, name: str) -> None:
    for suffix, signature in SIGNATURES.items():
        content = (figures / f"{name}{suffix}").read_bytes()
        assert content.startswith(signature)
    assert (figures / f"{name}.png").stat().st_size < 150_000
    assert len(numbers(figures, name)) > 0


def test_drawing_again_changes_no_byte(sweep: Path, figures: Path, tmp_path: Path) -> None:
    done = run("paper_figures", sweep, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = ({f.name: f.read_bytes() for f in folder.iterdir()} for folder in (figures, tmp_path))
    assert sorted(before) == sorted(after)
    assert [name for name in before if before[name] != after[name]] == []


def test_the_records_are_those_of_a_sweep_over_the_whole_space(sweep: Path) -> None:
    saved = results.load(sweep)
    assert len(saved.records) == 2 * 2 * 4
    assert {r.identity.basis for r in saved.records} == {"modelled"}


def test_the_same_space_once_more_writes_no_record_twice(tmp_path: Path) -> None:
    space = ("--models", "TinyLlama-1.1B", "--batch-sizes", "1,2", "--gpus", "T4", "--objective", "energy")
    for _ in range(2):
        assert run("modelled_records", *space, "--out", tmp_path).returncode == 0
    assert len(read(tmp_path)[0]) == len(results.load(tmp_path).records) == 2


def test_latency_and_energy_are_those_of_the_batch_and_oom_is_said_where_nothing_fits(
    figures: Path, sweep: Path, measured: dict[Configuration, Measurement]
) -> None:
    table = numbers(figures, "latency_and_energy_by_model_and_batch")
    one = at(measured, "T4", 4)
    latency = only(table, model="TinyLlama-1.1B", gpu="T4", batch_size=4, quantity="prompt latency")
    energy = only(table, model="TinyLlama-1.1B", gpu="T4", batch_size=4, quantity="energy of a batch run")
    assert float(latency["value"]) == pytest.approx(one.prompt_latency_s, rel=1e-5)
    assert float(energy["value"]) == pytest.approx(one.energy_j, rel=1e-5)
    refused = {r.configuration for r in results.load(sweep).records if r.measurement is None}
    said = table[table["outcome"] == "OOM"]
    assert {(r["model"], r["gpu"], r["batch_size"]) for _, r in said.iterrows()} == {
        (where.model, where.gpu, where.batch_size) for where in refused
    }
    assert len(refused) > 0


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_phases_throughput_and_energy_are_per_token(
    figures: Path, measured: dict[Configuration, Measurement], phase: str
) -> None:
    table = numbers(figures, f"{phase}_throughput_and_energy_by_batch")
    part = getattr(at(measured, "RTX6000Ada", 2), phase)
    rate = only(table, gpu="RTX6000Ada", batch_size=2, quantity=f"{phase} throughput")
    joules = only(table, gpu="RTX6000Ada", batch_size=2, quantity=f"{phase} energy")
    assert float(rate["value"]) == pytest.approx(part.tokens / part.duration_s, rel=1e-5)
    assert float(joules["value"]) == pytest.approx(part.energy.joules / part.tokens, rel=1e-5)
    assert set(table["model"]) == {"TinyLlama-1.1B"}


def test_carbon_by_region_is_the_batchs_and_its_embodied_part_is_the_same_everywhere(
    figures: Path, measured: dict[Configuration, Measurement]
) -> None:
    table = numbers(figures, "carbon_by_region_and_batch")
    one = at(measured, "T4", 4)
    embodied_g = 10_300 * one.prompt_latency_s / (5 * 8760 * 3600)
    assert one.energy_j is not None
    for region, g_per_kwh in (("QC", 31), ("CISO", 262), ("PACE", 647)):
        row = only(table, group=region, gpu="T4", batch_size=4)
        assert float(row["embodied"]) == pytest.approx(embodied_g, rel=1e-5)
        assert float(row["value"]) == pytest.approx(embodied_g + one.energy_j / 3.6e6 * g_per_kwh, rel=1e-5)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_carbon_of_a_phase_is_quebecs(figures: Path, measured: dict[Configuration, Measurement], phase: str) -> None:
    part = getattr(at(measured, "RTX6000Ada", 2), phase)
    row = only(numbers(figures, f"{phase}_carbon_by_batch"), gpu="RTX6000Ada", batch_size=2)
    embodied_g = 26_600 * part.duration_s / (5 * 8760 * 3600) / part.tokens
    assert float(row["embodied"]) == pytest.approx(embodied_g, rel=1e-5)
    expected = embodied_g + part.energy.joules / 3.6e6 * 31 / part.tokens
    assert float(row["value"]) == pytest.approx(expected, rel=1e-5)


def test_the_embodied_share_follows_the_lifetime_in_every_region_and_model(
    figures: Path, measured: dict[Configuration, Measurement]
) -> None:
    table = numbers(figures, "embodied_share_by_lifetime")
    assert len(table) == 2 * 3 * 5
    for model in ("TinyLlama-1.1B", "LLaMA-7B"):
        one = at(measured, "T4", 1, model)
        assert one.energy_j is not None
        for years in (4, 8):
            embodied_g = 10_300 * one.prompt_latency_s / (years * 8760 * 3600)
            share = embodied_g / (embodied_g + one.energy_j / 3.6e6 * 31)
            row = only(table, model=model, region="QC", lifetime_years=years)
            assert float(row["embodied_share"]) == pytest.approx(share, rel=1e-5)


def test_fronts_of_three_regions_are_priced_in_each_and_have_one_choice(
    figures: Path, measured: dict[Configuration, Measurement]
) -> None:
    table = numbers(figures, "front_of_carbon_and_latency")
    for region in ("QC", "CISO", "PACE"):
        scenario = Scenario(
            intensity=carbon_intensity(region),
            lifetime_s=5 * S_PER_YEAR,
            embodied="paper",
        )
        mine = table[table["region"] == region]
        row = only(mine, gpu="T4", batch_size=4)
        expected = footprint(at(measured, "T4", 4), scenario)
        assert float(row["carbon"]) == pytest.approx(expected.total_g, rel=1e-5)
        assert mine["recommended"].sum() == 1
        within = mine[mine["feasible"]]
        assert (within["latency"] <= 12).all()
        chosen = mine[mine["recommended"]].iloc[0]
        assert chosen["carbon"] == within["carbon"].min()
        assert mine[mine["recommended"]]["on_front"].all()
        assert mine["knee"].sum() <= 1


def test_tables_hold_the_papers_figures_beside_the_other_presets(figures: Path) -> None:
    gpus = numbers(figures, "gpus_and_embodied_carbon")
    assert only(gpus, gpu="T4", preset="paper")["embodied_kg"] == 10.3
    assert only(gpus, gpu="RTX6000Ada", preset="paper")["embodied_kg"] == 26.6
    assert set(gpus["preset"]) == {"paper", "act", "sc23", "vendor"}
    grids = numbers(figures, "carbon_intensity_by_region")
    for region, g_per_kwh in (("QC", 31.0), ("CISO", 262.0), ("PACE", 647.0)):
        assert float(only(grids, region=region)["lifecycle_g_per_kwh"]) == g_per_kwh
        assert facts.grid(region).zone in set(grids["region"])
    for name in TABLES:
        assert "nothing measured here" in (figures / f"{name}.md").read_text(encoding="utf-8")


def saved(folder: Path, *records: TrialRecord) -> Path:
    folder.mkdir()
    with OutputFolder(folder) as output:
        for each in records:
            output.append(each)
    return folder


def test_measured_records_without_a_question_are_drawn_too(tmp_path: Path) -> None:
    known = [record(configuration(batch_size=b), measurement(basis="measured", ttft_s=0.1 * b)) for b in (1, 2)]
    dark = record(configuration(batch_size=4), measurement(basis="measured", decode_j=None))
    folder = saved(tmp_path / "gpu", *known, dark)
    out = tmp_path / "out"
    out.mkdir()
    done = run("paper_figures", folder, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "No fronts and no map" in done.stdout
    table = numbers(out, "latency_and_energy_by_model_and_batch")
    assert only(table, batch_size=4, quantity="energy of a batch run")["outcome"] == "unknown"


def test_what_cannot_be_drawn_ends_with_one_line_and_code_2(sweep: Path, tmp_path: Path) -> None:
    two = [record(configuration(engine=engine), measurement()) for engine in ("paper", "healthy")]
    mixed = saved(tmp_path / "mixed", *two)
    empty = tmp_path / "empty"
    empty.mkdir()
    cases: list[tuple[str, tuple[str | Path, ...], str]] = [
        ("paper_figures", (empty, "--out", tmp_path), "holds no records.jsonl"),
        ("paper_figures", (sweep, "--out", tmp_path / "nowhere"), "name a folder that exists"),
        ("latency_and_energy_by_model_and_batch", (mixed, "--out", tmp_path), "differ in engine"),
        ("prefill_carbon_by_batch", (sweep, "--region", "QB", "--out", tmp_path), "QB"),
        ("decode_carbon_by_batch", (sweep, "--embodied", "papr", "--out", tmp_path), "unknown embodied preset"),
        ("carbon_by_region_and_batch", (sweep, "--model", "OpenLLaMA-3B", "--out", tmp_path), "no record of"),
        ("embodied_share_by_lifetime", (sweep, "--batch-size", "3", "--out", tmp_path), "batch size 3"),
        ("decode_throughput_and_energy_by_batch", (sweep, "--dtype", "bf16", "--out", tmp_path), "dtype: fp16"),
        ("gpus_and_embodied_carbon", ("--gpus", "T5", "--out", tmp_path), "T5"),
        ("carbon_intensity_by_region", ("--regions", "QC,", "--out", tmp_path), "empty entry"),
        ("modelled_records", ("--gpus", "T4", "--models", "x", "--out", tmp_path / "new"), "x"),
        ("pareto_front", (sweep, "--regions", "QB", "--out", tmp_path / "x.png"), "QB"),
        ("pareto_front", (sweep, "--model", "OpenLLaMA-3B", "--out", tmp_path / "x.png"), "holds no OpenLLaMA-3B"),
    ]
    for script, arguments, words in cases:
        done = run(script, *arguments)
        assert done.returncode == 2, (script, done.stderr)
        assert done.stderr.count("\n") == 1, (script, done.stderr)
        assert words in done.stderr, (script, done.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mixed"]


@pytest.mark.parametrize("engine", ["paper", "healthy"])
def test_an_engine_can_be_chosen_where_there_are_several(tmp_path: Path, engine: str) -> None:
    slow = measurement(ttft_s=2.0)
    two = [record(configuration(engine="paper"), slow), record(configuration(engine="healthy"), measurement())]
    folder = saved(tmp_path / "mixed", *two)
    done = run("latency_and_energy_by_model_and_batch", folder, "--engine", engine, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    table = numbers(tmp_path, "latency_and_energy_by_model_and_batch")
    assert set(table["engine"]) == {engine}
    assert float(table["value"][0]) == {"paper": 5.0, "healthy": 3.5}[engine]


def test_limits_given_here_replace_those_of_the_sweep(sweep: Path, tmp_path: Path) -> None:
    saved_question = results.load(sweep).question
    assert replace(saved_question.slo).limits() == {}
    out = tmp_path / "front.png"
    done = run("pareto_front", sweep, "--slo-latency", "6", "--objectives", "energy,throughput", "--out", out)
    assert done.returncode == 0, done.stderr
    table = numbers(tmp_path, "front")
    latency = {r.key: r.measurement.prompt_latency_s for r in results.load(sweep).records if r.measurement is not None}
    assert [bool(f) for f in table["feasible"]] == [latency[key] <= 6 for key in table["record"]]


def test_make_figures_draws_the_papers_whole_space() -> None:
    named = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "PAPER_SPACE =" in line]
    (experiment,) = (line.split("=")[1].strip() for line in named)
    asked = tomllib.loads((ROOT / experiment).read_text(encoding="utf-8"))
    assert set(asked["gpus"]) == {"T4", "RTX6000Ada"}
    assert [facts.language_model(name).paper_size for name in asked["models"]] == ["1B", "3B", "7B"]
    assert (asked["batch-sizes"], asked["output-tokens"]) == ([1, 2, 4, 8, 16, 32, 64], 150)
    assert asked["engine"] == ["paper"]
