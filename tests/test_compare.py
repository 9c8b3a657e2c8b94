"""`compare`, `report` with a scenario, and the map: as a user runs them."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from carbonsweep import answer, inputs, results
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import given_intensity
from carbonsweep.document import document
from carbonsweep.records import OutputFolder
from carbonsweep.search.space import space
from carbonsweep.second_life import SecondLife
from carbonsweep.trial import trial
from carbonsweep.units import S_PER_YEAR
from tests.running import assert_one_line_error, run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `out` as a sweep leaves it, of two GPUs and three batch sizes."""
    place = tmp_path_factory.mktemp("home")
    searched = space(
        models=("TinyLlama-1.1B",), gpus=("T4", "RTX6000Ada"), gpu_counts=(1,), batch_sizes=(1, 2, 8),
        dtypes=("fp16",), engines=("paper",),
    )  # fmt: skip
    workload = inputs.workload(prompts=None, output_tokens=150, seed=0)
    scenario = inputs.scenario({"region": "QC"}, searched.gpus)
    asked = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=scenario)
    records = [trial(RooflineBench(), c, workload) for c in searched.configurations()]
    with OutputFolder(place / "out") as folder:
        for record in records:
            folder.append(record)
        found = answer.answer(records, asked)
        notes = {"records": [r.key for r in records]}
        results.write(folder.folder, found, results.plain(document(found, regret=0.0, notes=notes)))
    return place


def test_the_json_states_where_the_records_own_prices_are_equal(home: Path) -> None:
    process = run("compare", "out", "T4:b2", "RTX6000Ada:b2", "--second-life", "T4=left:2y", "--json", home=home)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    saved = results.load(home / "out")
    by_key = {record.key: record.measurement for record in saved.records}
    a, b = (by_key[found[side]["record"]] for side in ("a", "b"))
    assert a is not None
    assert b is not None
    old = SecondLife(device="T4", policy="left", age_s=2 * S_PER_YEAR, first_lifetime_s=5 * S_PER_YEAR)
    scenario = dataclasses.replace(saved.question.scenario, second_life=(old,))
    prices = [footprint(each, scenario).total_g for each in (a, b)]
    assert [found["a"]["total_g"], found["b"]["total_g"]] == pytest.approx(prices)
    at = found["intensity_g_per_kwh"]["at"]
    there = [footprint(each, dataclasses.replace(scenario, intensity=given_intensity(at))).total_g for each in (a, b)]
    assert there[0] == pytest.approx(there[1], rel=1e-9)
    assert set(found["embodied_presets"]) == {"paper", "act", "sc23", "vendor"}
    assert found["scenario"]["second_life"][0]["device"] == "T4"


def test_the_tables_name_both_and_say_what_they_rest_on(home: Path) -> None:
    process = run("compare", "out", "--second-life", "T4=none", home=home)
    assert process.returncode == 0, process.stderr
    for text in (
        "A: TinyLlama-1.1B on RTX6000Ada, batch 8, fp16, paper, modelled, not measured",
        "Where they swap", "Under each embodied preset", "intensity", "lifetime", "embodied T4", "31 g/kWh",
        "Second life: T4 none (sunk)", "Error of the records",
    ):  # fmt: skip
        assert text in process.stdout
    assert "Embodied kilograms are those of a new device" in process.stdout
    assert "nan" not in process.stdout
    assert "inf" not in process.stdout.replace("information", "")


def test_what_cannot_be_compared_is_one_clear_line(home: Path) -> None:
    assert_one_line_error(run("compare", "out", "T4:b3", home=home), 2, "'b3'", "T4:b1, T4:b2, T4:b8")
    assert_one_line_error(run("compare", "nowhere", home=home), 2, "answer.json")
    assert_one_line_error(run("compare", "out", "--second-life", "H100=none", home=home), 2, "RTX6000Ada, T4")
    assert_one_line_error(run("price", "out", "--second-life", "T4=half", home=home), 2, "all, none, left:AGE")


def test_price_states_the_second_life_and_the_swap(home: Path) -> None:
    process = run("price", "out", "--second-life", "T4=left:3y", home=home)
    assert process.returncode == 0, process.stderr
    assert "Second life: T4 40 % left (3 years old, planned for 5)" in process.stdout
    assert "Break-even with T4 batch" in process.stdout


def test_a_report_may_be_of_another_scenario(home: Path) -> None:
    process = run("report", "out", "--second-life", "T4=none", "--region", "PACE", "--out", "page.html", home=home)
    assert process.returncode == 0, process.stderr
    page = (home / "page.html").read_text(encoding="utf-8")
    assert "T4 none (sunk)" in page
    assert "647 g CO2e/kWh" in page
    assert "Break-even with T4" in page
    assert "Regret" not in page  # it was of the sweep's own question
    run("report", "out", "--out", "plain.html", home=home)
    assert "Regret" in (home / "plain.html").read_text(encoding="utf-8")


def draw(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "analysis/break_even_map.py", str(home / "out"), *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_map_is_a_picture_a_page_and_a_table(home: Path) -> None:
    done = draw(home, "--batch-sizes", "2", "--out", str(home / "map.png"))
    assert done.returncode == 0, done.stderr
    assert (home / "map.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert (home / "map.pdf").read_bytes().startswith(b"%PDF-")
    with (home / "map.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    saved = results.load(home / "out")
    two = {r.configuration.gpu: r.measurement for r in saved.records if r.configuration.batch_size == 2}
    own = [row for row in rows if row["embodied"] == "embodied preset paper"]
    assert {row["embodied"] for row in rows} == {
        "embodied preset paper", "embodied: lowest of all presets", "embodied: highest of all presets"
    }  # fmt: skip
    assert len({row["region"] for row in own}) * len({row["lifetime_years"] for row in own}) == len(own)
    for row in own:  # every cell is the footprint's own answer
        scenario = dataclasses.replace(
            saved.question.scenario,
            intensity=given_intensity(float(row["g_per_kwh"])),
            lifetime_s=float(row["lifetime_years"]) * S_PER_YEAR,
        )
        prices = {gpu: footprint(each, scenario).total_g for gpu, each in two.items() if each is not None}
        assert row["gpu"] == min(prices, key=lambda gpu: prices[gpu])
        assert float(row["total_g"]) == pytest.approx(min(prices.values()), rel=1e-5)  # six digits are written
        assert float(row["next_best_total_g"]) == pytest.approx(max(prices.values()), rel=1e-5)
        product = float(row["g_per_kwh"]) * float(row["lifetime_years"])
        assert float(row["wins_from_g_years_per_kwh"]) <= product
        assert product <= float(row["wins_to_g_years_per_kwh"] or "inf")


def test_a_map_of_nothing_is_one_clear_line(home: Path) -> None:
    cases = {
        ("--batch-sizes", "3", "--out", "x.png"): "it has 1, 2, 8",
        ("--model", "LLaMA-7B", "--out", "x.png"): "it has TinyLlama-1.1B",
        ("--out", "x.gif"): "name a .png file",
    }
    for arguments, says in cases.items():
        done = draw(home, *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert says in done.stderr
