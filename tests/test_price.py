"""Re-pricing a finished sweep: no trial, no write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carbonsweep import answer, inputs, results
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.document import document
from carbonsweep.records import OutputFolder
from carbonsweep.search.space import space
from carbonsweep.trial import trial
from tests.running import assert_one_line_error, run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder `out` as a sweep leaves it, of two GPUs and three batch sizes, limited in TPOT."""
    searched = space(
        models=("TinyLlama-1.1B",),
        gpus=("T4", "RTX6000Ada"),
        gpu_counts=(1,),
        batch_sizes=(1, 8, 64),
        dtypes=("fp16",),
        engines=("paper",),
    )
    workload = inputs.workload(prompts=None, output_tokens=150, seed=0)
    scenario = inputs.scenario({"region": "QC", "pue": 1.2}, searched.gpus)
    asked = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=0.5, slo_latency=None, scenario=scenario)
    records = [trial(RooflineBench(), c, workload) for c in searched.configurations()]
    with OutputFolder(tmp_path / "out") as folder:
        for record in records:
            folder.append(record)
        found = answer.answer(records, asked)
        notes = {"records": [r.key for r in records]}
        results.write(folder.folder, found, results.plain(document(found, notes=notes)))
    return tmp_path


def priced(home: Path, *arguments: str) -> dict[str, object]:
    process = run("price", "out", "--json", *arguments, home=home)
    assert process.returncode == 0, process.stderr
    loaded = json.loads(process.stdout)
    assert isinstance(loaded, dict)
    return loaded


def test_without_options_it_is_the_sweeps_own_answer(home: Path) -> None:
    assert priced(home)["best"] == json.loads((home / "out" / "answer.json").read_text())["best"]


def test_a_region_and_a_lifetime_change_grams_and_nothing_else(home: Path) -> None:
    before, after = priced(home), priced(home, "--region", "PACE", "--lifetime-years", "10")
    old, new = before["best"], after["best"]
    assert isinstance(old, dict)
    assert isinstance(new, dict)
    assert new["configuration"] == old["configuration"]
    assert new["ttft_s"] == old["ttft_s"]
    # Operational grams are proportional to the intensity (647 against 31), embodied to 1 / lifetime (10 against 5 y).
    assert new["operational_g"] == pytest.approx(old["operational_g"] * 647 / 31)
    assert new["embodied_g"] == pytest.approx(old["embodied_g"] / 2)
    assert after["scenario"] == {**_scenario(before), "lifetime_s": 10 * 8760 * 3600}


def test_limits_stay_unless_given(home: Path) -> None:
    assert priced(home)["slo"] == {"tpot_s": 0.5}
    assert priced(home, "--slo-tpot", "0.4", "--slo-ttft", "2")["slo"] == {"tpot_s": 0.4, "ttft_s": 2.0}


def test_limits_can_be_lifted(home: Path) -> None:
    assert priced(home, "--no-slo")["slo"] == {}
    assert priced(home, "--no-slo", "--slo-ttft", "2")["slo"] == {"ttft_s": 2.0}


def test_the_other_basis_of_the_sweeps_own_region_needs_no_region(home: Path) -> None:
    before = priced(home, "--region", "DE")
    (home / "out" / "answer.json").write_text(
        json.dumps(
            {**json.loads((home / "out" / "answer.json").read_text()), "carbon_intensity": before["carbon_intensity"]}
        )
    )
    region = priced(home, "--intensity-basis", "direct")["carbon_intensity"]
    assert isinstance(region, dict)
    assert (region["region"], region["g_per_kwh"]) == ("DE", 307.6)  # Electricity Maps, direct mean of 2023


def test_an_unfinished_sweep_says_so(home: Path) -> None:
    document = json.loads((home / "out" / "answer.json").read_text())
    (home / "out" / "answer.json").write_text(json.dumps({**document, "complete": False}))
    process = run("price", "out", "--region", "DE", home=home)
    assert "the sweep was not finished" in process.stderr
    assert priced(home)["complete"] is False


def test_it_writes_nothing(home: Path) -> None:
    before = {p: p.read_bytes() for p in (home / "out").iterdir()}
    process = run("price", "out", "--region", "DE", home=home)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("Re-priced: 6 records of out, modelled.")
    assert {p: p.read_bytes() for p in (home / "out").iterdir()} == before


def test_a_limit_nothing_meets_ends_with_3(home: Path) -> None:
    assert run("price", "out", "--slo-ttft", "0.0001", home=home).returncode == 3


def test_a_folder_without_a_sweep_is_one_clear_line(home: Path) -> None:
    assert_one_line_error(run("price", "nowhere", "--region", "QC", home=home), 2, "nowhere", "answer.json")
    assert_one_line_error(run("price", "out", "--region", "XX", home=home), 2, "unknown region 'XX'")
    assert_one_line_error(run("price", "out", "--lifetime-years", "-7", home=home), 2, "--lifetime-years")


def test_a_damaged_line_the_answer_does_not_need_is_a_warning(home: Path) -> None:
    with (home / "out" / "records.jsonl").open("a") as file:
        file.write('{"key": "cut')
    process = run("price", "out", "--region", "DE", home=home)
    assert process.returncode == 0
    assert "line 7 is damaged" in process.stderr


def _scenario(document: dict[str, object]) -> dict[str, object]:
    scenario = document["scenario"]
    assert isinstance(scenario, dict)
    return scenario
