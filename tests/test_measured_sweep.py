"""A real model, really measured, through Ray; and a second run that measures nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carbonsweep.records import read
from tests.running import line_count, run

pytest.importorskip("torch", reason="measuring needs the extra 'measure'")
pytest.importorskip("accelerate", reason="measuring needs the extra 'measure'")

MEASURE = (
    *("tune", "--bench", "transformers", "--models", "smollm2-135m", "--objective", "latency"),
    *("--batch-sizes", "1,2,4", "--output-tokens", "4", "--budget", "0", "--sampler", "exhaustive", "--out", "out"),
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("measured")
    process = run(*MEASURE, home=home)
    assert process.returncode == 0, process.stdout + process.stderr
    (home / "stdout").write_text(process.stdout)
    return home


def test_the_real_llama_is_measured_and_its_energy_is_unknown(measured: Path) -> None:
    records, damaged = read(measured / "out")
    assert damaged == []
    assert [r.configuration.batch_size for r in sorted(records, key=lambda r: r.configuration.batch_size)] == [1, 2, 4]
    for record in records:
        assert record.identity.basis == "measured"
        assert record.identity.weights.startswith("real, ")
        assert record.configuration.gpu == "CPU"
        assert record.measurement is not None
        assert record.measurement.energy_j is None
        assert record.measurement.prefill.repeats >= 2
        assert any(version.startswith("torch==") for version in record.provenance.versions)


def test_the_answer_says_measured_and_that_carbon_is_unknown(measured: Path) -> None:
    printed = (measured / "stdout").read_text()
    assert printed.startswith("Measured on this machine: transformers bench on CPU")
    assert "carbon          unknown: no --region given" in printed
    document = json.loads((measured / "out" / "answer.json").read_text())
    assert document["basis"] == "measured"
    assert document["best"]["total_g"] is None
    assert document["regret"] is None


def test_a_second_run_measures_nothing(measured: Path) -> None:
    process = run(*MEASURE, home=measured)
    assert process.returncode == 0, process.stderr
    assert "3 known from before, 0 to run" in process.stdout
    assert line_count(measured / "out" / "records.jsonl") == 3


def test_an_assumed_power_prices_the_same_records_and_says_so(measured: Path) -> None:
    process = run("price", "out", "--objective", "carbon", "--region", "QC", "--assume-power-w", "65", home=measured)
    assert process.returncode == 0, process.stderr
    assert "energy ASSUMED, not measured" in process.stdout
    assert "Embodied preset: sc23" in process.stdout


def test_carbon_without_a_meter_or_an_assumption_is_refused(measured: Path) -> None:
    process = run("price", "out", "--objective", "carbon", "--region", "QC", home=measured)
    assert process.returncode == 2
    assert "--assume-power-w" in process.stderr
