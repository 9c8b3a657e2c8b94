"""The command: what it refuses, and how it says so; files in, files out; --check on what was just fitted."""

from __future__ import annotations

import json
import math
import re
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from carbonsweep import records
from carbonsweep.calibrate import command
from carbonsweep.calibration import error_tables, paper_rows, whole, writing
from carbonsweep.calibration.rows import ARGONNE, LLM_PERF, OPTIMUM
from carbonsweep.calibration.stacks import STACKS
from carbonsweep.calibration.whole import Calibration
from carbonsweep.errors import BadInput, StorageFailed
from carbonsweep.facts.engines import Engine


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the folder of measurements with --data DIR"),
        (["--check"], "nothing to fit"),
        (["--paper", "--records", "x"], "--records joins rows"),
        (["--data", "nowhere", "--check"], "nowhere is no folder"),
        (["--data", "nowhere", "--out", "neither"], "--out neither is no folder"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_what_would_be(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(command, arguments)
    assert isinstance(outcome.exception, BadInput)
    assert says in str(outcome.exception)
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert "python -m carbonsweep.calibrate --data DATA --check" in text
    assert "--records DIR" in text


PERF = """gpu,model,attention,prompt_tokens,output_tokens,prefill_s,tpot_s,gpu_power_w
T4,openai-community/gpt2,eager,256,64,0.011,0.0100,36
T4,microsoft/phi-1_5,sdpa,256,64,0.050,0.0200,60
T4,HuggingFaceH4/zephyr-7b-beta,sdpa,256,64,0.207,0.0645,70
A10G,openai-community/gpt2,,256,64,0.008,0.0074,73
A10G,microsoft/phi-1_5,,256,64,0.035,0.0190,110
A10G,HuggingFaceH4/zephyr-7b-beta,,256,64,0.100,0.0360,210
"""
SHAPE = "benchmark.input_shapes."
OPTIMUM_HEADER = (
    f"experiment_name,model,{SHAPE}batch_size,{SHAPE}sequence_length,benchmark.new_tokens,forward.latency(s),"
    "generate.latency(s),decode.latency(s)\n"
)


def data(folder: Path) -> Path:
    """The six files with a few rows of every engine; figures are near those of the sources."""
    folder.mkdir()
    (folder / LLM_PERF).write_text(PERF)
    for name, model, times in zip(OPTIMUM, ("7b", "13b", "7b", "13b"), (1.0, 1.9, 1.05, 1.85), strict=True):
        lines = []
        for kind in ("fp16", "gptq", "fp16+gptq+exllamav2"):
            for batch in (1, 16):
                prefill_s, decode_s = 0.027 * batch * times, (11 + 0.6 * batch) * times
                whole = f"{prefill_s:.4f},{prefill_s + decode_s:.3f},{decode_s:.3f}"
                lines.append(f"{kind},NousResearch/Llama-2-{model}-hf,{batch},256,512,{whole}\n")
        (folder / name).write_text(OPTIMUM_HEADER + "".join(lines))
    lines = ["Hardware,Num of Hardware,Framework,Model,Input Output Length,Batch Size,Latency,avg_power\n"]
    for gpu, engines, second_s, watts in (
        ("Nvidia A100 GPU", ("vLLM", "TensorRT-LLM", "Deepspeed-MII"), 14.0, 225e3),
        ("Nvidia H100 GPU", ("vLLM", "TensorRT-LLM"), 8.0, 370e3),
    ):
        for engine in engines:
            for model, share in (("Llama-2-7b-hf", 1.0), ("Meta-Llama-3-8B", 1.05)):
                for batch in (1, 32):
                    latency_s, power = second_s * share * (1 + 0.03 * batch), watts * (1 + 0.003 * batch)
                    lines.append(f"{gpu},1,{engine},meta-llama/{model},1024,{batch},{latency_s:.3f},{power:.1f}\n")
    (folder / ARGONNE).write_text("".join(lines))
    return folder


@dataclass(frozen=True)
class Written:
    """Where the command read and wrote, what it said, and what it had found."""

    inputs: Path
    facts: Path
    out: Path
    said: str
    found: Calibration


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The command from files to files, but for the draws."""
    where = tmp_path_factory.mktemp("calibrate")
    inputs, facts, out = data(where / "data"), where / "facts", where / "out"
    facts.mkdir()
    out.mkdir()
    shutil.copy(writing.ENGINES, facts)
    shutil.copy(writing.DRAWS, facts)
    found: list[Calibration] = []
    calibrated = whole.calibrated

    def keeping(*given: Any) -> Calibration:
        found.append(calibrated(*given))
        return found[-1]

    with few_draws(facts) as patched:
        patched.setattr(whole, "calibrated", keeping)
        outcome = CliRunner().invoke(command, ["--data", str(inputs), "--out", str(out)], catch_exceptions=False)
    return Written(inputs, facts, out, outcome.output, found[0])


@contextmanager
def few_draws(facts: Path) -> Iterator[pytest.MonkeyPatch]:
    """Facts go into `facts`; draws are no refits: those would take most of the time, and have their own test."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(writing, "FACTS", facts)
        patched.setattr(whole, "drawn", lambda what, *_: {"": {"bandwidth_efficiency": [0.8] * writing.DRAW_COUNT}})
        yield patched


def test_from_files_to_facts_and_tables(written: Written) -> None:
    facts, out = written.facts, written.out
    before, after = (
        tomllib.loads(path.read_text(encoding="utf-8")) for path in (writing.ENGINES, facts / "engines.toml")
    )
    assert set(after) == set(before)
    assert after["paper"] == before["paper"]  # not ours to write
    for what in STACKS:
        assert after[what.name]["version"] != before[what.name]["version"]  # other rows, another version
        for gpu in ("", *after[what.name]["gpu"]):
            own = after[what.name]["gpu"].get(gpu, {})
            row = {**{key: value for key, value in after[what.name].items() if key != "gpu"}, **own}
            loaded = msgspec.convert({**row, "key": what.name}, Engine)
            assert 0 <= loaded.decode_time_error < math.inf
    drawn = json.loads((facts / "engine_draws.json").read_text(encoding="utf-8"))["rows"]
    assert drawn["vllm"] == {"": {"bandwidth_efficiency": [0.8] * writing.DRAW_COUNT}}
    assert drawn["paper"] == json.loads(writing.DRAWS.read_text(encoding="utf-8"))["rows"]["paper"]
    page = (out / "model_errors.md").read_text(encoding="utf-8")
    assert "50 rows are used, 0 (0.0 %) left out" in page
    assert "## Another centre of a prior" in page
    assert len((out / "calibration_rows.csv").read_text(encoding="utf-8").splitlines()) == 1 + 50
    assert sorted(path.name for path in out.iterdir()) == ["calibration_rows.csv", "model_errors.md"]
    assert sorted(path.name for path in facts.iterdir()) == ["engine_draws.json", "engines.toml"]
    assert "## Targets" in written.said


def test_a_check_reproduces_what_was_written_and_writes_nothing(written: Written) -> None:
    facts = written.facts
    kept = {path.name: path.read_bytes() for path in facts.iterdir()}
    arguments = ["--data", str(written.inputs), "--check"]
    with few_draws(facts) as patched:
        patched.setattr(whole, "calibrated", lambda *_: written.found)  # that a fit repeats has its own test
        good = CliRunner().invoke(command, arguments, standalone_mode=False)
        assert (good.return_value, good.exception) == (0, None)
        assert "Reproduced" in good.output
        assert {path.name: path.read_bytes() for path in facts.iterdir()} == kept
        text = kept["engines.toml"].decode()
        first = re.search(r"(?m)^\[vllm\]$[^\[]*?^bandwidth_efficiency = (\S+)$", text)
        assert first is not None
        (facts / "engines.toml").write_text(text[: first.start(1)] + "0.5" + text[first.end(1) :], encoding="utf-8")
        other = CliRunner().invoke(command, arguments, standalone_mode=False)
    (facts / "engines.toml").write_bytes(kept["engines.toml"])
    assert other.return_value == 3
    assert "differs: engines.toml, vllm, bandwidth_efficiency: 0.5 is committed" in other.output
    assert "Not reproduced: 1 values" in other.output


def test_a_check_of_the_papers_stack_compares_it_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {path: path.read_bytes() for path in (writing.ENGINES, writing.DRAWS)}
    rows = {"paper": tomllib.loads(facts[writing.ENGINES].decode())["paper"]}
    draws = {"paper": json.loads(facts[writing.DRAWS])["rows"]["paper"]}
    fitted = SimpleNamespace(rows=rows, draws=draws)  # that the fit repeats takes half an hour to see
    monkeypatch.setattr(paper_rows, "refitted", lambda tell: fitted)
    good = CliRunner().invoke(command, ["--paper", "--check"], standalone_mode=False)
    assert (good.return_value, good.exception) == (0, None)
    rows["paper"]["gpu"]["T4"]["host_s_per_pass"] *= 1.5
    other = CliRunner().invoke(command, ["--paper", "--check"], standalone_mode=False)
    assert other.return_value == 3
    assert "differs: engines.toml, paper, gpu, T4, host_s_per_pass" in other.output
    assert {path: path.read_bytes() for path in facts} == facts


@pytest.mark.parametrize("stage", ["fit", "page", "draws"])
def test_an_interruption_or_a_failure_leaves_the_facts_as_they_were(
    stage: str, written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Path(shutil.copytree(written.facts, tmp_path / "facts"))
    kept = {path.name: path.read_bytes() for path in facts.iterdir()}

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    nothing = {what.name: {"bandwidth_efficiency": 0.1} for what in STACKS}
    done = SimpleNamespace(engine_rows=lambda: nothing, rows=None, draws={"vllm": {"": {"x": [1.0]}}})
    monkeypatch.setattr(writing, "FACTS", facts)
    monkeypatch.setattr(whole, "calibrated", stop if stage == "fit" else lambda *_: done)
    monkeypatch.setattr(error_tables, "error_page", stop if stage == "page" else lambda _: "page")
    monkeypatch.setattr(error_tables, "row_list", lambda _: "rows")
    outcome = CliRunner().invoke(
        command, ["--data", str(written.inputs), "--out", str(tmp_path)], standalone_mode=False
    )
    # Draws that are not whole are refused by `draws_text`, when the engines' text is made and not yet written.
    expected = BadInput if stage == "draws" else (KeyboardInterrupt, click.Abort)
    assert isinstance(outcome.exception, expected), outcome.exception
    assert {path.name: path.read_bytes() for path in facts.iterdir()} == kept


def test_a_folder_that_takes_no_file_is_said_before_anything_is_fitted(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "FACTS", written.facts)
    monkeypatch.setattr(whole, "calibrated", lambda *_: pytest.fail("it was fitted"))

    def refuse(path: Path, content: str) -> None:
        if path.parent == tmp_path:
            raise StorageFailed(f"cannot write {path}: Read-only file system")

    monkeypatch.setattr(records, "write_atomically", refuse)
    outcome = CliRunner().invoke(
        command, ["--data", str(written.inputs), "--out", str(tmp_path)], standalone_mode=False
    )
    assert isinstance(outcome.exception, StorageFailed)
    assert str(tmp_path) in str(outcome.exception)
