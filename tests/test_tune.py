"""The main job through its command line: Ray, Optuna, records, answer, exit codes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from carbonsweep import inputs
from carbonsweep.answer import answer
from carbonsweep.cluster.demand import MODELLED_AT_ONCE
from carbonsweep.domain import Slo
from carbonsweep.records import read
from carbonsweep.search.objectives import Question, objectives
from tests.running import assert_one_line_error, interrupt_after, line_count, run, spooled

QUEBEC = ("tune", "--objective", "carbon", "--region", "QC")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default job once: 42 configurations through Ray. `out` in it is the sweep's folder."""
    home = tmp_path_factory.mktemp("swept")
    process = run(*QUEBEC, "--out", "out", home=home)
    assert process.returncode == 0, process.stderr
    (home / "stdout").write_text(process.stdout)
    (home / "stderr").write_text(process.stderr)
    return home


@pytest.fixture
def home(swept: Path, tmp_path: Path) -> Path:
    """A home with its own copy of the finished sweep: asking it something else needs no trial, hence no Ray."""
    shutil.copytree(swept / "out", tmp_path / "out")
    return tmp_path


def saved(home: Path) -> dict[str, object]:
    loaded = json.loads((home / "out" / "answer.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_the_default_job_tries_every_configuration_once_and_finds_the_exact_optimum(swept: Path) -> None:
    records, damaged = read(swept / "out")
    assert (len(records), len({r.key for r in records}), damaged) == (42, 42, [])
    document = saved(swept)
    assert document["regret"] == 0
    assert document["basis"] == "modelled"
    assert document["feasible"] is True
    assert document["complete"] is True
    for key in ("bench", "region", "objective", "functional_unit"):
        assert document[key]
    best = document["best"]
    assert isinstance(best, dict)
    assert best["total_g"] == pytest.approx(best["operational_g"] + best["embodied_g"])
    assert best["ttft_s"] > 0 < best["tpot_s"]
    # 150 output tokens a prompt: a prompt is 0.15 of a thousand tokens.
    assert best["per_prompt"]["total_g"] == pytest.approx(0.15 * best["total_g"])


def test_the_first_line_says_what_bench_ran_on_what(swept: Path) -> None:
    first = (swept / "stdout").read_text().splitlines()[0]
    assert first.startswith("Modelled, not measured")
    assert "T4, RTX6000Ada" in first
    assert "paper" in first


def test_the_answer_names_row_preset_limits_and_files(swept: Path) -> None:
    printed = (swept / "stdout").read_text()
    for text in ("31 g/kWh", "Embodied preset: paper", "Regret", "smaller model always wins", "vendor", "answer.json"):
        assert text in printed
    assert {p.name for p in (swept / "out").iterdir()} >= {"records.jsonl", "answer.json", "pareto.csv", "pareto.png"}


def test_progress_goes_to_stderr_in_plain_lines_when_nobody_watches(swept: Path) -> None:
    assert "42/42 trials" in (swept / "stderr").read_text()
    assert "\x1b" not in (swept / "stderr").read_text()


def test_every_suggestion_is_in_a_journal_that_optuna_opens(swept: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(swept / "out" / "study.journal")))
    (summary,) = optuna.get_all_study_summaries(storage)
    study = optuna.load_study(study_name=summary.study_name, storage=storage)
    assert len(study.trials) == 42
    # LLaMA-7B does not fit a T4 at batch 32 and 64: told as infeasible, not as failed.
    infeasible = [t for t in study.trials if any(v > 0 for v in t.constraints.values())]
    assert {t.params["model"] for t in infeasible} == {"LLaMA-7B"}
    assert all(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials)


def test_the_default_job_is_exhaustive_and_says_so(swept: Path) -> None:
    assert "Search: exhaustive, all 42 configurations tried." in (swept / "stdout").read_text()
    how = saved(swept)["search"]
    assert isinstance(how, dict)
    assert (how["sampler"], how["trials"], how["of"], how["stopped_by"]) == ("exhaustive", 42, 42, "exhausted")
    assert how["chance_left"] is None
    assert how["guided_by"] is None


def test_a_guided_job_finds_the_optimum_with_a_part_of_the_trials_and_says_what_it_left(tmp_path: Path) -> None:
    process = run(*QUEBEC, "--sampler", "guided", "--chance-left", "0.01", "--out", "out", home=tmp_path)
    assert process.returncode == 0, process.stderr
    document = saved(tmp_path)
    how = document["search"]
    assert isinstance(how, dict)
    assert (how["sampler"], how["stopped_by"], how["of"], how["stops_below"]) == ("guided", "chance", 42, 0.01)
    assert 3 <= how["trials"] == len(read(tmp_path / "out")[0]) <= 21
    assert how["chance_left"] < 0.01
    assert document["regret"] == 0
    assert "at most 42 to run, model-guided until a chance below 1 %" in process.stdout
    assert f"Search: model-guided, {how['trials']} of 42 configurations tried" in process.stdout
    assert "Not tried: " in process.stdout
    assert "trials of at most" in process.stderr
    assert "chance that something better remains" in process.stderr
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "out" / "study.journal")))
    (summary,) = optuna.get_all_study_summaries(storage)
    assert summary.n_trials == how["trials"]  # the dashboard sees each


def test_another_sampler_takes_the_same_records_for_its_trials(home: Path) -> None:
    process = run(*QUEBEC, "--sampler", "nsga2", "--out", "out", home=home)
    assert process.returncode == 0, process.stderr
    assert "42 known from before, 0 to run" in process.stdout
    assert "Search: NSGA-II (Optuna), all 42 configurations tried." in process.stdout


def test_another_region_prices_the_same_records_without_a_trial(home: Path) -> None:
    process = run("tune", "--objective", "carbon", "--region", "PACE", "--out", "out", home=home)
    assert process.returncode == 0, process.stderr
    assert "0 to run" in process.stdout
    assert line_count(home / "out" / "records.jsonl") == 42
    storage = JournalStorage(JournalFileBackend(str(home / "out" / "study.journal")))
    assert len(optuna.get_all_study_summaries(storage)) == 2


def test_a_limit_that_cuts_the_winner_changes_the_answer(home: Path) -> None:
    before = saved(home)["best"]
    process = run(*QUEBEC, "--slo-tpot", "0.045", "--out", "out", home=home)
    assert process.returncode == 0, process.stderr
    best = saved(home)["best"]
    assert isinstance(before, dict)
    assert isinstance(best, dict)
    assert before["tpot_s"] > 0.045 >= best["tpot_s"]
    assert best["total_g"] > before["total_g"]
    assert "below the limit of 45 ms" in process.stdout


def test_a_limit_nothing_meets_ends_with_3_and_the_closest_misses(home: Path) -> None:
    process = run(*QUEBEC, "--slo-ttft", "0.001", "--out", "out", home=home)
    assert process.returncode == 3
    document = saved(home)
    assert document["feasible"] is False
    assert document["best"] is None
    closest = document["closest"]
    assert isinstance(closest, list)
    assert closest[0]["slo"]["ttft_s"]["excess"] > 0
    assert "Best" not in process.stdout
    assert "Closest misses" in process.stdout
    assert not (home / "out" / "pareto.png").exists()


def test_several_objectives_give_a_front_with_its_hypervolume(home: Path) -> None:
    process = run("tune", "--objective", "carbon,latency", "--region", "CISO", "--out", "out", home=home)
    assert process.returncode == 0, process.stderr
    front = saved(home)["front"]
    assert isinstance(front, dict)
    assert front["hypervolume"] > 0
    assert len(front["records"]) > 2
    rows = (home / "out" / "pareto.csv").read_text().splitlines()
    assert len(rows) == 1 + len(front["records"])


@settings(max_examples=60)
@given(
    ttft_s=st.none() | st.floats(0.01, 5),
    tpot_s=st.none() | st.floats(0.01, 1),
    latency_s=st.none() | st.floats(1, 200),
)
def test_no_best_and_no_front_ever_violates_a_limit(
    swept: Path, ttft_s: float | None, tpot_s: float | None, latency_s: float | None
) -> None:
    slo = Slo(ttft_s=ttft_s, tpot_s=tpot_s, prompt_latency_s=latency_s)
    scenario = inputs.scenario({"region": "QC"}, ["T4", "RTX6000Ada"])
    records, _ = read(swept / "out")
    found = answer(records, Question(objectives=objectives(("carbon", "latency")), slo=slo, scenario=scenario))
    for candidate in (*found.feasible, *found.front, *found.best_per_model.values()):
        assert slo.is_met(candidate.measurement)
    assert (found.best is None) == (not any(r.measurement and slo.is_met(r.measurement) for r in records))


def test_ctrl_c_keeps_finished_trials_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = (*QUEBEC, "--out", "out")
    stopped = interrupt_after(5, *command, home=tmp_path, out=tmp_path / "out")
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    kept = read(tmp_path / "out")[0]
    assert 5 <= len(kept) < 42
    assert saved(tmp_path)["complete"] is False
    # What workers had finished and not reported yet is in their spools, and known as well.
    known = {each.key for each in (*kept, *spooled(tmp_path))}
    assert len(known) <= len(kept) + MODELLED_AT_ONCE
    continued = run(*command, home=tmp_path)
    assert continued.returncode == 0, continued.stderr
    assert f"{len(known)} known from before, {42 - len(known)} to run" in continued.stdout
    records, damaged = read(tmp_path / "out")
    assert (len(records), len({r.key for r in records}), damaged) == (42, 42, [])
    assert saved(tmp_path)["regret"] == 0


def test_a_damaged_last_line_is_set_aside_and_only_its_trial_runs_again(home: Path) -> None:
    path = home / "out" / "records.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    process = run(*QUEBEC, "--out", "out", home=home)
    assert process.returncode == 0, process.stderr
    assert "line 42 is damaged and was set aside" in process.stderr
    assert "41 known from before, 1 to run" in process.stdout
    assert (home / "out" / "records.jsonl.damaged").read_bytes() == whole[:-40].split(b"\n")[-1] + b"\n"
    assert len(read(home / "out")[0]) == 42


def test_a_journal_that_is_none_is_set_aside_and_the_records_answer(home: Path) -> None:
    (home / "out" / "study.journal").write_text("{}\n")
    process = run(*QUEBEC, "--out", "out", home=home)
    assert process.returncode == 0, process.stderr
    assert "42 known from before, 0 to run" in process.stdout
    assert (home / "out" / "study.journal.damaged").read_text() == "{}\n"


def test_a_journal_that_cannot_be_read_ends_with_4(home: Path) -> None:
    (home / "out" / "study.journal").unlink()
    (home / "out" / "study.journal").mkdir()
    process = run(*QUEBEC, "--out", "out", home=home)
    assert process.returncode == 4
    assert process.stderr.startswith("carbonsweep: cannot read out/study.journal")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--region", "QB"), ("unknown region 'QB'", "QC")),
        (("--region", "QC", "--gpus", "T5"), ("unknown GPU 'T5'", "T4")),
        (("--region", "QC", "--models", "llama-8b"), ("unknown model 'llama-8b'", "did you mean")),
        (("--objective", "carbn", "--region", "QC"), ("unknown objective 'carbn'", "did you mean carbon")),
        (("--region", "QC", "--engine", "helthy"), ("unknown engine 'helthy'", "did you mean healthy")),
        (("--region", "QC", "--dtypes", "int3"), ("unknown dtype 'int3'", "fp16")),
        ((), ("--objective carbon needs a grid", "--region")),
        (("--region", "QC", "--slo-ttft", "-1"), ("--slo-ttft", "'-1' is not a finite number above 0")),
        (("--region", "QC", "--pue", "nan"), ("--pue", "'nan' is not a finite number, 1 or more")),
        (("--region", "QC", "--utilisation", "1.5"), ("--utilisation", "at most 1")),
        (("--carbon-intensity-g-per-kwh", "inf"), ("finite number",)),
        (("--region", "QC", "--carbon-intensity-g-per-kwh", "3"), ("replaces --region",)),
        (("--region", "QC", "--intensity-basis", "direct"), ("CA-QC",)),
        (("--region", "QC", "--models", ""), ("--models", "empty entry")),
        (("--region", "QC", "--batch-sizes", "0"), ("--batch-sizes", "'0' is not a whole number")),
        (("--region", "QC", "--batch-sizes", "1,,2"), ("--batch-sizes",)),
        (("--region", "QC", "--embodied", "paper", "--gpus", "T4,H100"), ("H100", "act")),
        (("--region", "QC", "--gpus", "CPU"), ("knows GPUs only",)),
        (("--region", "QC", "--prompts", "nowhere.json"), ("nowhere.json",)),
        (("--region", "QC", "--experiment", "nowhere.toml"), ("nowhere.toml", "cannot be read")),
        (("--bench", "transformers", "--region", "QC"), ("no meter reads those of CPU", "--assume-power-w")),
        (("--bench", "transformers", "--objective", "latency", "--gpus", "T4"), ("cannot measure T4", "CPU")),
        (("--region", "QC", "--lifetime-years", "1e305"), ("--lifetime-years", "from 0.01 to 1000")),
        (("--region", "QC", "--host-power-w", "1e308"), ("--host-power-w", "up to 1e9")),
        (("--region", "QC", "--utilisation", "1e-320"), ("--utilisation", "above 0")),
        (("--region", "QC", "--weights", "random"), ("--weights random is for measuring",)),
        (("--region", "QC", "--address", "127.0.0.1:1"), ("no Ray cluster answers there",)),
        (("--region", "QC", "--wait-for-nodes", "5"), ("--wait-for-nodes needs --address",)),
        (("--region", "QC", "--bench", "roofline", "--address", "127.0.0.1:1"), ("no Ray cluster answers there",)),
        (("--region", "QC", "--bench", "roofline", "--address", "nowhere"), ("neither auto nor HOST:PORT",)),
        (
            ("--bench", "transformers", "--region", "QC", "--assume-power-w", "65", "--utilisation", "0.5"),
            ("leave --utilisation at 1",),
        ),
        (("--region", "QC", "--sampler", "bayes"), ("--sampler", "'bayes' is not one of", "guided")),
        (("--region", "QC", "--sampler", "exhaustive", "--trials", "5"), ("all 42 configurations", "allows 5")),
        (("--region", "QC", "--chance-left", "1.5"), ("--chance-left", "a chance from 0 to 1")),
        (("--region", "QC", "--sampler", "tpe", "--chance-left", "0.1"), ("--chance-left", "tpe knows no chance")),
        (("--region", "QC", "--trials", "0"), ("--trials",)),
        (("--region", "QC", "--out", "file"), ("file is a file",)),
        (("--region", "QC", "--out", "file/below"), ("cannot be written",)),
        (("--region", "QC", "--ot", "x"), ("No such option",)),
    ],
)
def test_bad_input_is_one_clear_line_exit_2_and_nothing_written(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("mine")
    process = run("tune", *arguments, home=tmp_path)
    said_what_runs = process.stdout.startswith("Modelled") and "--out" in arguments
    process.stdout = "" if said_what_runs else process.stdout
    assert_one_line_error(process, 2, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"region = ", ("not valid TOML",)),
        (b"\xff\xfe", ("not valid TOML",)),
        (b'regoin = "QC"', ("unknown key 'regoin'", "did you mean region")),
        (b'region = "QC"\nbatch-sizes = []', ("--batch-sizes", "empty")),
        (b'region = "QC"\nslo-tpot = nan', ("--slo-tpot",)),
        (b'region = "QC"\npue = true', ("--pue",)),
        (b'region = "QC"\nprompts = 3', ("prompts is 3", "a text in quotes")),
        (b'region = "QC"\noutput-tokens = 150.7', ("output_tokens is 150.7", "a whole number")),
        (b'region = "QC"\nseed = true', ("seed is True",)),
        (b'region = "QC"\nsampler = 3', ("sampler is 3", "a text in quotes")),
        (b'region = "QC"\nsampler = "best"', ("--sampler", "'best'")),
        (b'region = "QC"\nbatch-sizes = [1]\nbatch_sizes = [2]', ("'batch_sizes' is set twice",)),
    ],
)
def test_a_bad_experiment_file_is_one_clear_line(tmp_path: Path, text: bytes, words: tuple[str, ...]) -> None:
    (tmp_path / "e.toml").write_bytes(text)
    assert_one_line_error(run("tune", "--experiment", "e.toml", home=tmp_path), 2, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["e.toml"]


def test_an_experiment_file_sets_options_and_the_command_line_wins(home: Path) -> None:
    (home / "e.toml").write_text('region = "CISO"\nslo_tpot = 0.045\nout = "out"\n')
    process = run("tune", "--experiment", "e.toml", "--slo-tpot", "0.06", home=home)
    assert process.returncode == 0, process.stderr
    document = saved(home)
    assert document["slo"] == {"tpot_s": 0.06}
    assert document["region"] == "CISO"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert_one_line_error(run(*QUEBEC, "--out", "locked", home=tmp_path), 2, "cannot be written")
