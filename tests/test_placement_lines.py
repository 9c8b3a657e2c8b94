"""What the commands say of splits: which is better and why, in words and as JSON, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carbonsweep import facts, inputs, placement_lines, results
from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.document import document
from carbonsweep.domain import Workload
from carbonsweep.placement.answers import of_records
from carbonsweep.placement_page import placement_section
from carbonsweep.records import OutputFolder
from carbonsweep.trial import trial
from tests.conftest import configuration, measurement, phase, record
from tests.placement.test_answers import PROMPTS, planned, preferring, question, searched, sought, tried
from tests.running import assert_one_line_error, run

ONE_GPU = record(configuration(), measurement(ttft_s=0.01, decode_s=1.0))
"""A T4 whose prefill takes next to nothing: a second one only waits."""


def test_that_no_split_is_better_is_said_plainly_and_by_how_much() -> None:
    # Decode is as before, 90 J; the prefill GPU is taken 1 s, where it worked 0.01: its making and 0.99 s of 26 W come
    # on top, beside the hand-over.
    asked = question(searched(gpus=("T4",)), "energy")
    placed = of_records([ONE_GPU], answer([ONE_GPU], asked), sought(most=1))
    first, *rest = placement_lines.lines(placed)
    assert first.startswith("Placement: no split is better: the best one costs 23 % more than the best colocated")
    text = "\n".join(rest)
    assert "TinyLlama-1.1B, prefill on 1x T4, batch 4; decode on 1x T4, batch 4; fp16, paper, over 100GbE" in text
    assert "Of the colocated one's joules: waiting +23.4 %" in text
    assert "nothing was measured for it" in text


def test_a_better_split_says_what_moves() -> None:
    of = searched(gpus=("T4", "H100", "L4"))
    placed = planned(of, question(of), sought())
    text = "\n".join(placement_lines.lines(placed))
    assert placed.split is not None
    assert f"decode on {placed.split.measurement.decode.gpu_count}x {placed.split.decode.gpu}" in text
    for word in ("hand-over", "TTFT", "TPOT", "prompts/s", "bound", "why", "modelled, not measured"):
        assert word in text, word


def test_a_link_that_joins_nothing_is_named_with_what_has_it() -> None:
    of = searched(gpus=("T4",), models=("TinyLlama-1.1B",))
    *_, searched_over, unjoined = placement_lines.lines(planned(of, question(of), sought(links=("NVLink2", "10GbE"))))
    assert "every pair of the phases' points over 10GbE, pools of" in searched_over
    assert unjoined == "  NVLink2 joins no two of the GPUs compared, only equal ones of the kinds V100."
    verdict, *rest = placement_lines.lines(planned(of, question(of), sought(links=("NVLink2",))))
    assert verdict == "Placement: no split can be formed: none of these links joins two of the GPUs compared."
    assert "Searched 0 combinations: every pair of the phases' points over no link," in "\n".join(rest)


@pytest.mark.parametrize(
    ("t4_prefill_j", "said"),
    [
        # Energies are known to 10 %. 40 J instead of 90 or 41, and the link's; off by hypot(7, 2) or hypot(2.1, 2) J.
        (70.0, "saves 56 % against the best colocated configuration, beyond the error of this difference, 8 %"),
        (21.0, "saves 2 % against the best colocated configuration, less than the error of this difference, 7 %"),
    ],
)
def test_a_difference_is_set_beside_its_error(t4_prefill_j: float, said: str) -> None:
    made = preferring(t4_prefill_j)
    found = answer(made, question(searched(gpus=("T4", "RTX6000Ada")), "energy"))
    assert placement_lines.verdict(of_records(made, found, sought())) == f"a split is better: it {said}"


def test_json_holds_both_placements_and_why() -> None:
    of = searched()
    placed = planned(of, question(of), sought("split", links=("PCIe4", "10GbE"), most=2))
    written = json.loads(json.dumps(placement_lines.document(placed)))
    assert (written["asked"], written["links"], written["most_per_pool"]) == ("split", ["PCIe4", "10GbE"], 2)
    assert written["best"] == "split"
    split, colocated = written["best_split"], written["best_colocated"]
    assert written["saves"] == pytest.approx(1 - split["objectives"]["carbon"] / colocated["objectives"]["carbon"])
    assert sum(written["why"]["changes"].values()) == pytest.approx(-written["saves"])
    assert set(written["per_link"]) == {"PCIe4", "10GbE"}
    assert split["handover"]["exposed_s"] == pytest.approx(
        split["handover"]["transfer_s"] - split["handover"]["hidden_s"] + split["handover"]["wait_s"]
    )
    assert written["bound"]["pools"] is None
    assert placement_lines.document(None) is None
    assert list(placement_lines.lines(None)) == []


def test_with_nothing_feasible_the_closest_split_is_named() -> None:
    of = searched()
    placed = planned(of, question(of, tpot_s=1e-6), sought())
    first, second, *_ = placement_lines.lines(placed)
    assert first == "Placement: no split meets TPOT 0.001 ms."
    assert second.startswith("  closest split   LLaMA-7B, prefill on")
    assert placed.best is None


def test_with_no_pair_there_is_no_closest_either() -> None:
    of = searched(gpus=("T4",), batch_sizes=(32,))
    placed = planned(of, question(of), sought())
    assert next(iter(placement_lines.lines(placed))).startswith("Placement: no split can be formed")


def test_the_page_shows_both_in_one_table(tmp_path: Path) -> None:
    of = searched()
    found = answer(tried(of), question(of))
    section = placement_section(found, {"placement": {"asked": "any", "links": ["PCIe4"], "most_per_pool": 2}})
    assert section is not None
    assert [row[0].split(":")[0] for row in section["rows"]] == [
        "colocated",
        "split",
        "split, if GPUs that wait did other work",
    ]
    assert all(len(row) == len(section["headings"]) for row in section["rows"])
    assert placement_section(found, {"placement": None}) is None
    assert placement_section(found, {}) is None


def test_plan_puts_the_placement_first_and_keeps_best_the_colocated_one(tmp_path: Path) -> None:
    arguments = ("plan", "--region", "QC", "--models", "TinyLlama-1.1B", "--batch-sizes", "1,16")
    plain = json.loads(run(*arguments, "--json", home=tmp_path).stdout)
    process = run(*arguments, "--placement", "any", "--link", "PCIe4,10GbE", "--json", home=tmp_path)
    assert process.returncode == 0, process.stderr
    written = json.loads(process.stdout)
    assert plain["placement"] is None
    assert written["best"] == plain["best"]
    assert written["placement"]["best_colocated"] == plain["best"]
    lines = run(*arguments, "--placement", "split", home=tmp_path).stdout.splitlines()
    places = [next(i for i, line in enumerate(lines) if line.startswith(start)) for start in ("Placement:", "Best (")]
    assert places == sorted(places)


def test_plan_ends_with_3_where_no_placement_that_was_asked_for_is_feasible(tmp_path: Path) -> None:
    arguments = ("plan", "--region", "QC", "--models", "TinyLlama-1.1B", "--batch-sizes", "1", "--slo-tpot", "1e-6")
    process = run(*arguments, "--placement", "split", home=tmp_path)
    assert process.returncode == 3
    assert "closest split" in process.stdout


def test_plan_refuses_links_without_a_split_and_splits_for_many_workloads(tmp_path: Path) -> None:
    assert_one_line_error(run("plan", "--region", "QC", "--link", "PCIe4", home=tmp_path), 2, "--link", "--placement")
    (tmp_path / "w.csv").write_text("prompt_tokens,output_tokens\n10,20\n")
    process = run("plan", "--region", "QC", "--placement", "any", "--workloads", "w.csv", home=tmp_path)
    assert_one_line_error(process, 2, "--placement", "--workloads")


def test_price_composes_splits_from_the_records_of_a_sweep_and_writes_none(tmp_path: Path) -> None:
    of = searched(gpus=("L4", "H100"), batch_sizes=(1, 32))
    workload: Workload = PROMPTS
    made, asked = [trial(RooflineBench(), served, workload) for served in of.configurations()], question(of)
    with OutputFolder(tmp_path / "out") as folder:
        for each in made:
            folder.append(each)
        found = answer(made, asked)
        notes = {"records": [each.key for each in made]}
        results.write(folder.folder, found, results.plain(document(found, notes=notes)))
    before = (tmp_path / "out" / "records.jsonl").read_bytes()
    process = run("price", "out", "--placement", "any", "--link", "PCIe4", "--json", home=tmp_path)
    assert process.returncode == 0, process.stderr
    written = json.loads(process.stdout)["placement"]
    expected = of_records(made, found, sought(links=("PCIe4",)))
    assert written["saves"] == pytest.approx(expected.saves, rel=1e-12)
    assert written["best_split"]["decode"]["gpu"] == "H100"
    assert (tmp_path / "out" / "records.jsonl").read_bytes() == before
    assert json.loads(run("price", "out", "--json", home=tmp_path).stdout)["placement"] is None
    refused = run("price", "out", "--placement", "split", "--slo-tpot", "1e-6", home=tmp_path)
    assert refused.returncode == 3
    assert "closest split" in refused.stdout


def test_a_sweep_that_asks_for_splits_runs_no_trial_more(tmp_path: Path) -> None:
    arguments = (
        *("tune", "--region", "QC", "--models", "TinyLlama-1.1B", "--gpus", "T4,L4", "--engine", "healthy"),
        *("--batch-sizes", "1,16", "--out", "out"),
    )
    first = run(*arguments, home=tmp_path)
    assert first.returncode == 0, first.stderr
    before = (tmp_path / "out" / "records.jsonl").read_bytes()
    assert json.loads((tmp_path / "out" / "answer.json").read_text())["placement"] is None
    again = run(*arguments, "--placement", "any", "--link", "all", home=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "4 known from before, 0 to run" in again.stdout
    assert (tmp_path / "out" / "records.jsonl").read_bytes() == before
    written = json.loads((tmp_path / "out" / "answer.json").read_text())
    # 4 records a side, 16 pools, every link but the three NVLinks, which these GPUs do not have: all from 4 trials.
    assert written["placement"]["unjoined_links"] == ["NVLink2", "NVLink3", "NVLink4"]
    assert written["placement"]["combinations"] == 4 * 4 * (len(facts.links()) - 3) * 16
    assert written["best"] == written["placement"]["best_colocated"]
    report = run("report", "out", home=tmp_path)
    assert report.returncode == 0, report.stderr
    assert "Placement of the phases" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_measured_records_say_that_the_split_is_measured_but_for_its_hand_over() -> None:
    made = [
        record(configuration(gpu=gpu), measurement(gpu=gpu, basis="measured", prefill=phase(0.5, 20.0, gpu=gpu)))
        for gpu in ("T4", "RTX6000Ada")
    ]
    asked = inputs.question(
        objective=("carbon",),
        slo_ttft=None,
        slo_tpot=None,
        slo_latency=None,
        scenario=inputs.scenario({"region": "QC"}, ("T4", "RTX6000Ada")),
    )
    placed = of_records(made, answer(made, asked), sought("split"))
    text = "\n".join(placement_lines.lines(placed))
    assert "basis           measured: both phases: measured, none: made up; hand-over: computed from the facts" in text


def test_a_split_that_is_no_better_is_said_after_the_best_and_a_better_one_before() -> None:
    asked = question(searched(gpus=("T4",)), "energy")
    before, after = placement_lines.around(of_records([ONE_GPU], answer([ONE_GPU], asked), sought(most=1)))
    assert (before, after[0].startswith("Placement: no split is better")) == ((), True)
    made = preferring(70.0)
    asked = question(searched(gpus=("T4", "RTX6000Ada")), "energy")
    before, after = placement_lines.around(of_records(made, answer(made, asked), sought()))
    assert (before[0].startswith("Placement: a split is better"), after) == (True, ())
    assert placement_lines.around(None) == ((), ())


def test_each_model_is_set_against_its_own_best_colocated() -> None:
    of = searched(models=("LLaMA-7B", "TinyLlama-1.1B"))
    text = "\n".join(placement_lines.lines(planned(of, question(of), sought())))
    assert text.count("against its best colocated: prefill on") == 2


def test_the_page_has_names_before_its_lines_and_no_columns() -> None:
    asked = question(searched(gpus=("T4",)), "energy")
    found = answer([ONE_GPU], asked)
    section = placement_section(found, {"placement": {"asked": "any", "links": ["PCIe4"], "most_per_pool": 1}})
    assert section is not None
    assert any(line.startswith("best split: TinyLlama-1.1B, prefill on") for line in section["lines"])
    assert not any("  " in line for line in section["lines"])
