"""An answer in its folder: written whole, read back equal, refused when it is not one."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carbonsweep import results
from carbonsweep.answer import Answer, answer
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.document import document
from carbonsweep.domain import Scenario, Slo, TrialRecord
from carbonsweep.errors import BadInput
from carbonsweep.records import RECORDS, OutputFolder, encode
from carbonsweep.results import ANSWER, FRONT, PICTURE, front_csv, load, plain, write, written
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.units import S_PER_YEAR
from tests.conftest import FAILED, configuration, measurement, record

QUESTION = Question(
    objectives=objectives(("carbon", "latency")),
    slo=Slo(ttft_s=2.0, prompt_latency_s=30.0),
    scenario=Scenario(
        intensity=carbon_intensity("QC", "lifecycle"),
        lifetime_s=7 * S_PER_YEAR,
        embodied="act",
        pue=1.1,
        host_power_w=12.5,
        functional_unit="prompt",
    ),
)
# Larger batches: slower and less carbon, so all three are on the front.
RECORDED = [
    record(
        configuration(batch_size=size),
        measurement(ttft_s=0.1 * size, decode_s=1 + 0.1 * size, batch_size=size, prefill_j=5.0, decode_j=20.0),
    )
    for size in (1, 2, 4)
]


def swept(folder: Path, question: Question = QUESTION, recorded: list[TrialRecord] = RECORDED) -> Answer:
    """What a sweep leaves in its folder."""
    with OutputFolder(folder) as out:
        for each in recorded:
            if each.key not in out.records:
                out.append(each)
    found = answer(recorded, question)
    write(folder, found, plain(document(found, notes={"records": [each.key for each in recorded]})))
    return found


def test_a_written_sweep_is_read_back_equal(tmp_path: Path) -> None:
    found = swept(tmp_path)
    saved = load(tmp_path)
    assert saved.question == QUESTION
    assert list(saved.records) == RECORDED
    assert saved.damaged == ()
    assert answer(saved.records, saved.question) == found
    assert saved.document["best"]["record"] == found.feasible[0].record.key


@pytest.mark.parametrize("question", [replace(QUESTION, scenario=replace(QUESTION.scenario, intensity=None)), QUESTION])
@pytest.mark.parametrize("names", [("latency",), ("throughput", "tpot")])
def test_any_question_is_read_back_equal(tmp_path: Path, question: Question, names: tuple[str, ...]) -> None:
    asked = replace(question, objectives=objectives(names), slo=Slo())
    swept(tmp_path, asked)
    assert load(tmp_path).question == asked


def test_records_of_other_sweeps_in_the_folder_are_left_out(tmp_path: Path) -> None:
    swept(tmp_path, recorded=[*RECORDED, record(configuration(batch_size=64), measurement())])
    swept(tmp_path)
    assert list(load(tmp_path).records) == RECORDED


def test_of_a_failure_and_its_retry_only_the_result_is_read(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as out:
        out.append(replace(RECORDED[0], measurement=None, refusal=FAILED))
    swept(tmp_path, recorded=RECORDED[:1])
    with (tmp_path / RECORDS).open("ab") as file:
        file.write(encode(RECORDED[0]) + b"\n")
    assert load(tmp_path).records == (RECORDED[0],)


def test_the_files_are_those_that_are_announced(tmp_path: Path) -> None:
    found = swept(tmp_path)
    assert written(found) == [RECORDS, ANSWER, FRONT, PICTURE]
    assert all((tmp_path / name).is_file() for name in written(found))
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_the_front_as_csv_has_a_line_per_configuration_and_its_numbers(tmp_path: Path) -> None:
    found = swept(tmp_path)
    with (tmp_path / FRONT).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["record"] for row in rows] == [c.record.key for c in found.front]
    assert len(rows) == 3
    for row, candidate in zip(rows, found.front, strict=True):
        assert int(row["batch_size"]) == candidate.record.configuration.batch_size
        assert (float(row["carbon"]), float(row["latency"])) == candidate.values
        assert candidate.footprint is not None
        assert float(row["total_g"]) == candidate.footprint.total_g
        assert (row["functional_unit"], row["basis"], row["bench"]) == ("prompt", "modelled", "test")


def test_unknown_grams_are_empty_cells_and_not_zeros() -> None:
    unpowered = [record(configuration(), measurement(prefill_j=None))]
    found = answer(unpowered, replace(QUESTION, objectives=objectives(("latency",)), slo=Slo()))
    (row,) = csv.DictReader(front_csv(found).splitlines())
    assert (row["total_g"], row["operational_g"], row["embodied_g"]) == ("", "", "")


def test_no_front_of_before_is_left_when_nothing_is_feasible(tmp_path: Path) -> None:
    swept(tmp_path)
    found = swept(tmp_path, replace(QUESTION, slo=Slo(ttft_s=1e-6)))
    assert found.best is None
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".csv", ".png")) == []
    assert written(found) == [RECORDS, ANSWER]
    assert json.loads((tmp_path / ANSWER).read_text(encoding="utf-8"))["best"] is None
    assert load(tmp_path).question.slo == Slo(ttft_s=1e-6)


# ---- folders that hold no answer ----


def test_a_folder_without_an_answer_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no answer\.json: name the --out folder"):
        load(tmp_path)


GARBLED: dict[str, bytes] = {
    "empty": b"",
    "cut short": b'{"schema": 1, "records": [',
    "not UTF-8": b'{"schema": "\xff\xfe"}',
    "NUL bytes": b"\0" * 20,
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "nested without end": b"[" * 100_000,
}


@pytest.mark.parametrize("content", GARBLED.values(), ids=GARBLED)
def test_a_garbled_answer_is_bad_input(tmp_path: Path, content: bytes) -> None:
    swept(tmp_path)
    (tmp_path / ANSWER).write_bytes(content)
    with pytest.raises(BadInput, match=r"answer\.json"):
        load(tmp_path)


def test_an_answer_that_is_a_folder_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / ANSWER).mkdir()
    with pytest.raises(BadInput, match="cannot read"):
        load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"scenario": None},
        {"scenario": {"lifetime_s": 1.0}},
        {"scenario": {"lifetime_s": -1.0, "embodied": "act"}},
        {"slo": {"ttft_s": "soon"}},
        {"slo": {"ttft_s": 0}},
        {"carbon_intensity": {"g_per_kwh": 1.0}},
        {"objective": ["fame"]},
        {"objective": []},
        {"objective": 3},
        {"records": 5},
        {"records": [["x"]]},
        {"functional_unit": "mile"},
    ],
    ids=lambda changes: json.dumps(changes),
)
def test_an_answer_with_a_garbled_part_is_bad_input(tmp_path: Path, changes: dict[str, Any]) -> None:
    swept(tmp_path)
    whole = json.loads((tmp_path / ANSWER).read_text(encoding="utf-8"))
    (tmp_path / ANSWER).write_text(json.dumps({**whole, **changes}), encoding="utf-8")
    with pytest.raises(BadInput):
        load(tmp_path)


@pytest.mark.parametrize("schema", [2, 0, None, "1", [1], {}])
def test_an_answer_of_another_schema_is_not_read_as_if_it_were_this_one(tmp_path: Path, schema: object) -> None:
    swept(tmp_path)
    whole = json.loads((tmp_path / ANSWER).read_text(encoding="utf-8"))
    (tmp_path / ANSWER).write_text(json.dumps({**whole, "schema": schema}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"answer\.json is an answer of another schema; this version reads schema 1$"):
        load(tmp_path)


def test_an_answer_whose_records_are_gone_says_how_many(tmp_path: Path) -> None:
    swept(tmp_path)
    (tmp_path / RECORDS).write_bytes(encode(RECORDED[0]) + b"\n" + encode(RECORDED[1])[:-9])
    with pytest.raises(BadInput, match="2 of the 3 records"):
        load(tmp_path)


def test_a_name_that_a_terminal_would_obey_is_bad_input(tmp_path: Path) -> None:
    named = replace(RECORDED[0], configuration=configuration(model="Llama\x1b[2J"))
    swept(tmp_path, recorded=[named])
    with pytest.raises(BadInput, match=r"not printable: 'Llama\\x1b\[2J on T4"):
        load(tmp_path)


def test_damaged_lines_of_a_read_sweep_are_told(tmp_path: Path) -> None:
    swept(tmp_path)
    with (tmp_path / RECORDS).open("ab") as file:
        file.write(b"{half a rec")
    saved = results.load(tmp_path)
    assert list(saved.records) == RECORDED
    assert [damaged.line for damaged in saved.damaged] == [b"{half a rec"]
