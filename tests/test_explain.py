"""`carbonsweep explain`: the sentences, the JSON, the picture, and what it does with folders that are no good."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from carbonsweep import answer, results
from carbonsweep.document import document
from carbonsweep.domain import Slo, TrialRecord
from carbonsweep.explanation.relaxations import relaxations
from carbonsweep.explanation_lines import rounded_up, step_words
from carbonsweep.records import OutputFolder
from carbonsweep.search.objectives import Question
from tests.conftest import FAILED, configuration, measurement, phase, record
from tests.explanation.made import LIMITS, STEPS, made, too_big
from tests.running import assert_one_line_error, run
from tests.test_answer import asking


def save(home: Path, records: Iterable[TrialRecord], question: Question, **notes: Any) -> None:
    """A folder `out` as a sweep leaves it."""
    listed = list(records)
    with OutputFolder(home / "out") as folder:
        for each in listed:
            folder.append(each)
        found = answer.answer(listed, question)
        keys = {"records": [each.key for each in listed], **notes}
        results.write(folder.folder, found, results.plain(document(found, notes=keys)))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    save(tmp_path, STEPS, asking("energy", slo=LIMITS))
    return tmp_path


def explained(home: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    process = run("explain", "out", "--json", *arguments, home=home)
    assert process.returncode == code, process.stderr
    loaded = json.loads(process.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert isinstance(loaded, dict)
    return loaded


def test_it_says_what_binds_what_saves_and_what_it_rests_on(home: Path) -> None:
    process = run("explain", "out", home=home)
    assert process.returncode == 0, process.stderr
    said = process.stdout
    assert said.startswith("Explained: 7 records of out, modelled.\nBest (energy): TinyLlama-1.1B on T4, batch 8,")
    assert "modelled, not measured" in said
    assert "What binds: TPOT, 48 ms, 4.0 % below its limit of 50 ms: without it T4 batch 4 would be best" in said
    assert "Cheapest relaxation: TTFT +100 ms (to 1.1 s, +10 %) saves 5.0 %: T4 batch 2." in said
    assert "or alone: TPOT +12.5 ms (to 62.5 ms, +25 %) saves 21 %: T4 batch 16." in said
    assert "Rests on 7 configurations, by basis: 7 modelled; 2 feasible, 5 over a limit" in said
    assert said.endswith("Written: out/explain.svg\nWritten: out/explain.png\n")
    assert (home / "out" / "explain.png").read_bytes().startswith(b"\x89PNG")
    drawn = (home / "out" / "explain.svg").read_text()
    assert drawn.startswith("<?xml")


def test_the_json_has_every_part_whole(home: Path) -> None:
    found = explained(home)
    assert found["best"]["configuration"]["batch_size"] == 8
    assert found["binding"]["limits"]["tpot_s"]["saving"] == pytest.approx(0.4)
    assert found["relaxations"]["cheapest"]["limits"]["ttft_s"]["to_s"] == pytest.approx(1.1)
    assert [s["best"]["configuration"]["batch_size"] for s in found["relaxations"]["alone"]["tpot_s"]] == [16, 4]
    assert [each["configuration"]["batch_size"] for each in found["over_a_limit"]] == [2, 32, 16, 64, 4]
    assert found["over_a_limit"][0]["excess"] == {"ttft_s": pytest.approx(0.1), "tpot_s": pytest.approx(-0.1)}
    factors = {each["factor"]: each for each in found["sensitivities"]}
    assert [each["note"] for each in factors["batch size"]["settings"]] == [
        "over a limit: TPOT +80.0 %",
        "over a limit: TPOT +25.0 %",
    ]
    assert found["grounds"]["by_basis"] == {"modelled": 7}
    assert found["tie"]["statement"].startswith("no tie is judged")


def test_json_writes_no_picture_unless_asked_where(home: Path) -> None:
    before = sorted((home / "out").iterdir())
    explained(home)
    assert sorted((home / "out").iterdir()) == before
    (home / "pictures").mkdir()
    explained(home, "--out", "pictures")
    assert sorted(each.name for each in (home / "pictures").iterdir()) == ["explain.png", "explain.svg"]
    assert sorted((home / "out").iterdir()) == before


def test_the_same_records_give_the_same_picture(home: Path) -> None:
    pictures = []
    for _ in range(2):
        assert run("explain", "out", home=home).returncode == 0
        pictures.append((home / "out" / "explain.svg").read_bytes())
    assert pictures[0] == pictures[1]


def test_options_price_again_first(home: Path) -> None:
    assert explained(home, "--slo-tpot", "0.0625")["best"]["configuration"]["batch_size"] == 16
    assert explained(home, "--no-slo")["binding"]["limits"] == {}
    coal = explained(home, "--objective", "carbon", "--region", "PL", "--lifetime-years", "7")
    assert coal["carbon_intensity"]["region"] == "PL"
    assert {"region", "lifetime", "PUE", "embodied preset"} <= {each["factor"] for each in coal["sensitivities"]}
    lifetime = next(each for each in coal["sensitivities"] if each["factor"] == "lifetime")
    assert lifetime["here"] == "7 years"


def test_several_objectives_are_explained_by_the_first(home: Path) -> None:
    process = run("explain", "out", "--objective", "energy,latency", home=home)
    assert "All that follows is by energy alone, the first objective; the front over energy" in process.stdout


def test_nothing_feasible_ends_with_3_and_names_the_smallest_relaxation(tmp_path: Path) -> None:
    save(tmp_path, [r for r in STEPS if r.configuration.batch_size not in (1, 8)], asking("energy", slo=LIMITS))
    process = run("explain", "out", home=tmp_path)
    assert process.returncode == 3
    assert "Nothing feasible: no configuration meets every limit." in process.stdout
    assert "Closest by TPOT: TinyLlama-1.1B on T4, batch 2" in process.stdout
    said = "Cheapest relaxation: TTFT +100 ms (to 1.1 s, +10 %): TinyLlama-1.1B on T4, batch 2, fp16, paper is feasible"
    assert said in process.stdout
    assert explained(tmp_path, code=3)["binding"] is None


def test_only_refusals_say_what_each_lacks(tmp_path: Path) -> None:
    save(tmp_path, [too_big(8, 3e9), too_big(4, 1e9)], asking("energy"))
    process = run("explain", "out", home=tmp_path)
    assert process.returncode == 3, process.stderr
    assert "Closest to fit: TinyLlama-1.1B on T4, batch 4, fp16, paper: it lacks 1 GB a device." in process.stdout
    found = explained(tmp_path, code=3)
    assert [each["lacking_bytes"] for each in found["refused"]] == [1e9, 3e9]
    assert found["sensitivities"] == []
    # There is nothing to draw, and nothing is said to be written.
    assert "Written" not in process.stdout
    assert not (tmp_path / "out" / "explain.png").exists()


def test_one_configuration_is_explained(tmp_path: Path) -> None:
    save(tmp_path, [made(8, 100)], asking("energy"))
    process = run("explain", "out", home=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "no other batch size is among the records" in process.stdout
    assert "What binds: no limit is set." in process.stdout


def test_a_measured_answer_says_its_noise_and_the_picture_that_it_was_measured(tmp_path: Path) -> None:
    def measured(batch_size: int, decode_s: float) -> TrialRecord:
        part = phase(decode_s, 90.0, duration_low_s=decode_s - 0.03, duration_high_s=decode_s + 0.03)
        return record(configuration(batch_size=batch_size), measurement(decode=part, basis="measured"))

    save(tmp_path, [measured(1, 1.0), measured(2, 1.04), measured(4, 1.05)], asking("latency"))
    process = run("explain", "out", home=tmp_path)
    assert "Best (prompt latency; tie of 2 within measurement noise): TinyLlama-1.1B on T4, batch 1" in process.stdout
    assert "Measured: 3 repeats; 95 % half-width of prompt latency" in process.stdout
    assert "Measured:" in (tmp_path / "out" / "explain.svg").read_text()


def test_a_search_or_quality_nobody_can_read_is_one_line(tmp_path: Path) -> None:
    save(tmp_path, STEPS, asking("energy", slo=LIMITS), search={"sampler": 7})
    assert_one_line_error(run("explain", "out", home=tmp_path), 2, "'search' of answer.json")


def test_the_page_of_an_answer_says_what_binds_and_the_cheapest_relaxation(home: Path) -> None:
    assert run("report", "out", home=home).returncode == 0
    page = (home / "out" / "report.html").read_text()
    assert "<h2>What binds</h2>" in page
    assert "Cheapest relaxation: TTFT +100 ms (to 1.1 s, +10 %) saves 5.0 %: T4 batch 2." in page
    assert "No tie is judged: the best is modelled" in page


# ---- folders that are no good ----


def test_a_folder_without_an_answer_is_one_line(home: Path) -> None:
    assert_one_line_error(run("explain", "nowhere", home=home), 2, "nowhere", "answer.json")
    (home / "empty").mkdir()
    assert_one_line_error(run("explain", "empty", home=home), 2, "empty", "answer.json")
    (home / "out" / "answer.json").write_text('{"records": 7}')
    assert_one_line_error(run("explain", "out", home=home), 2, "not an answer this version can read")


def test_records_that_are_gone_are_one_line(home: Path) -> None:
    (home / "out" / "records.jsonl").unlink()
    assert_one_line_error(run("explain", "out", home=home), 2, "7 of the 7 records")


def test_only_failures_are_nothing_measured(tmp_path: Path) -> None:
    save(tmp_path, [made(8, 100)], asking("energy"))
    failed = record(configuration(batch_size=16), FAILED)
    with OutputFolder(tmp_path / "out") as folder:
        folder.append(failed)
    written = json.loads((tmp_path / "out" / "answer.json").read_text())
    (tmp_path / "out" / "answer.json").write_text(json.dumps({**written, "records": [failed.key]}))
    assert_one_line_error(run("explain", "out", home=tmp_path), 4, "the driver went away")


def test_a_damaged_line_the_answer_does_not_need_is_a_warning(home: Path) -> None:
    with (home / "out" / "records.jsonl").open("a") as file:
        file.write('{"key": "cut')
    process = run("explain", "out", home=home)
    assert process.returncode == 0
    assert "line 8 is damaged" in process.stderr


def test_a_folder_a_sweep_is_writing_is_read_as_it_is(home: Path) -> None:
    with OutputFolder(home / "out"):
        assert run("explain", "out", home=home).returncode == 0


def test_a_picture_that_cannot_be_written_ends_with_4_after_the_explanation(home: Path) -> None:
    (home / "out" / "explain.svg").mkdir()
    process = run("explain", "out", home=home)
    assert process.returncode == 4
    assert "Cheapest relaxation" in process.stdout
    assert "cannot write" in process.stderr
    assert not list((home / "out").glob(".explain*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "nowhere"), ("--out", "nowhere", "a folder that exists")),
        (("--region", "XX"), ("unknown region 'XX'",)),
        (("--slo-tpot", "nan"), ("--slo-tpot",)),
        (("--objective", "beauty"), ("unknown objective 'beauty'",)),
    ],
)
def test_options_that_are_no_good_are_one_line(home: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_one_line_error(run("explain", "out", *arguments, home=home), 2, *words)


# ---- words ----


@pytest.mark.parametrize(
    ("value", "up"), [(0.058, 0.058), (0.0580001, 0.05801), (1.2344, 1.235), (9.9999, 10.0), (123456.0, 123500.0)]
)
def test_a_raised_limit_is_rounded_up_so_that_it_is_enough(value: float, up: float) -> None:
    assert rounded_up(value) == up
    assert rounded_up(value) >= value


def test_a_printed_limit_is_enough_as_it_stands() -> None:
    # 58.00004 ms would be 58 ms to the nearest; that would miss it.
    records = [made(8, 100), made(16, 79, tpot_s=0.05800004)]
    found = answer.answer(records, asking("energy", slo=LIMITS))
    step = relaxations(found).cheapest
    assert step is not None
    assert step_words(step, found) == "TPOT +8.01 ms (to 58.01 ms, +16 %) saves 21 %: T4 batch 16"
    at = answer.answer(records, asking("energy", slo=Slo(tpot_s=0.05801)))
    assert at.best is not None
    assert at.best.record.configuration.batch_size == 16
