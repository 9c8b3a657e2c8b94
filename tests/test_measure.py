"""Measuring without Ray: the evidence of one number, a grid in pieces, and nothing done twice."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from carbonsweep import measure, options
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.benches import Chosen
from carbonsweep.domain import BenchIdentity, Configuration, Measurement, Workload
from carbonsweep.errors import BenchFailed, DoesNotFit
from carbonsweep.records import decode, read
from carbonsweep.search.order import weights_group
from tests.bench.openai_server import ScriptedServer, well_behaved
from tests.running import TIMEOUT_S, assert_one_line_error, environment, interrupt_after, line_count, run

TINY = ("--model", "TinyLlama-1.1B")
SERVER = ("--bench", "server", "--endpoint", "http://127.0.0.1:1/v1", "--gpu", "CPU", "--dtype", "fp16")


@dataclass
class Double:
    """Measures as the device model says, counts runs and loads, and stops where it is told to."""

    too_large: int = 1000
    broken: bool = False
    interrupt_at: int = 1000
    loads: int = 0
    ran: list[Configuration] = field(default_factory=list)
    name: str = "double"

    def identity(self, configuration: Configuration) -> BenchIdentity:
        return replace(RooflineBench().identity(configuration), bench=self.name, basis="measured", weights="made up")

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        if len(self.ran) == self.interrupt_at:
            raise KeyboardInterrupt
        before = self.ran[-1:]
        self.loads += not before or weights_group(before[0]) != weights_group(configuration)
        self.ran.append(configuration)
        if self.broken:
            raise BenchFailed("the driver went away")
        if configuration.batch_size >= self.too_large:
            raise DoesNotFit(20e9, 16e9)
        return replace(RooflineBench().measure(replace(configuration, batch_size=1), workload), basis="measured")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Double:
    """The bench every command of the test uses; the working folder is the test's own."""
    bench = Double()

    def chosen(asked: Effort, **_: Any) -> Chosen:
        return Chosen(
            bench=bench, gpus=("T4",), dtypes=("fp16",), engines=("paper",), statement="Measured by a double."
        )

    monkeypatch.setattr(measure, "measuring_bench", chosen)
    monkeypatch.chdir(tmp_path)
    return bench


def end(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        options.run(measure.command, list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_one_configuration_prints_its_evidence_and_writes_nothing(
    double: Double, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert end(*TINY, "--batch-size", "4") == 0
    printed, said = capsys.readouterr()
    lines = printed.splitlines()
    assert lines[:3] == [
        "Measured by a double.",
        "Weights of TinyLlama-1.1B: made up.",
        "TinyLlama-1.1B on T4, batch 4, fp16, paper",
    ]
    assert any(line.startswith("    TTFT ") for line in lines)
    assert any(line.startswith("    TPOT ") for line in lines)
    assert "gram" not in printed
    assert "CO2" not in printed
    assert said == "1/1: measuring TinyLlama-1.1B on T4, batch 4, fp16, paper\n"
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_record_a_line_and_nothing_else_on_stdout(
    double: Double, capsys: pytest.CaptureFixture[str]
) -> None:
    double.too_large = 4
    assert end(*TINY, "--batch-sizes", "1,2,4,8", "--json") == 0
    printed, said = capsys.readouterr()
    records = [decode(line) for line in printed.splitlines()]
    assert [record.configuration.batch_size for record in records] == [1, 2, 4, 8]
    assert [record.measurement is None for record in records] == [False, False, True, True]
    assert "Measured by a double." in said


def test_a_grid_loads_each_model_once_and_tries_nothing_that_cannot_fit(double: Double) -> None:
    double.too_large = 4
    models = "LLaMA-7B,TinyLlama-1.1B"
    assert end("--models", models, "--batch-sizes", "8,4,2,1,16", "--out", "out") == 0
    assert double.loads == 2
    assert [(c.model, c.batch_size) for c in double.ran] == [
        (model, size) for model in models.split(",") for size in (1, 2, 4)
    ]
    records, damaged = read(Path("out"))
    assert (len(records), damaged) == (10, [])
    assert sum(r.refusal is not None and r.refusal.reason.startswith("not tried: batch 4") for r in records) == 4


def test_what_a_folder_holds_is_not_measured_again_and_shown_in_a_line(
    double: Double, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(*TINY, "--batch-sizes", "1,2", "--out", "out") == 0
    capsys.readouterr()
    assert end(*TINY, "--batch-sizes", "1,2,4", "--out", "out") == 0
    assert [c.batch_size for c in double.ran] == [1, 2, 4]
    assert line_count(Path("out") / "records.jsonl") == 3
    printed = capsys.readouterr().out
    assert printed.count("Known from before: TinyLlama-1.1B on T4, batch ") == 2
    assert printed.count("    TTFT ") == 1  # the new one, whole


def test_one_known_configuration_shows_its_evidence_again(double: Double, capsys: pytest.CaptureFixture[str]) -> None:
    assert end(*TINY, "--out", "out") == 0
    first = capsys.readouterr().out
    assert end(*TINY, "--out", "out") == 0
    assert capsys.readouterr().out == first
    assert len(double.ran) == 1


def test_another_workload_is_measured_anew(double: Double) -> None:
    assert end(*TINY, "--out", "out") == 0
    assert end(*TINY, "--out", "out", "--output-tokens", "8") == 0
    assert len(double.ran) == 2


def test_a_failure_is_tried_again(double: Double) -> None:
    double.broken = True
    assert end(*TINY, "--out", "out") == 4
    double.broken = False
    assert end(*TINY, "--out", "out") == 0
    assert len(double.ran) == 2


def test_a_time_limit_leaves_the_rest_and_the_same_command_goes_on(
    double: Double, capsys: pytest.CaptureFixture[str]
) -> None:
    # Any run takes longer than a nanosecond, so each piece is one run.
    command = (*TINY, "--batch-sizes", "1,2,4", "--out", "out", "--time-limit", "1e-9")
    assert end(*command) == 0
    printed = capsys.readouterr().out
    assert "Time limit of 1e-09 s: 2 configurations are left (TinyLlama-1.1B on T4, batch 2, fp16, paper; " in printed
    assert "run it again to go on" in printed
    assert [end(*command), end(*command)] == [0, 0]
    assert [c.batch_size for c in double.ran] == [1, 2, 4]
    capsys.readouterr()
    assert end(*command) == 0
    assert "Time limit" not in capsys.readouterr().out


def test_ctrl_c_keeps_what_is_finished(double: Double, capsys: pytest.CaptureFixture[str]) -> None:
    double.interrupt_at = 2
    command = (*TINY, "--batch-sizes", "1,2,4", "--out", "out")
    assert end(*command) == 130
    assert (
        "interrupted: 2 of 3 configurations are done and kept in out: run it again to go on" in capsys.readouterr().err
    )
    double.interrupt_at = 1000
    assert end(*command) == 0
    assert [c.batch_size for c in double.ran] == [1, 2, 4]


@pytest.mark.parametrize("trouble", ["broken", "too large"])
def test_nothing_measured_ends_with_4_and_the_reason(
    double: Double, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    double.broken, double.too_large = trouble == "broken", 1
    assert end(*TINY, "--batch-sizes", "1,2") == 4
    printed, said = capsys.readouterr()
    reason = "the driver went away" if trouble == "broken" else "does not fit: lacks 4e+09 bytes"
    assert f"carbonsweep: nothing could be measured: {reason}" in said
    assert reason in printed


def test_a_disk_that_is_full_ends_with_4(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert end(*TINY, "--out", "out") == 4
    assert read(Path("out")) == ([], [])


def test_on_a_terminal_a_bar_stands_on_stderr_and_never_in_the_evidence(
    double: Double, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert end(*TINY, "--batch-sizes", "1,2") == 0
    plain = capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    assert end(*TINY, "--batch-sizes", "1,2") == 0
    printed, said = capsys.readouterr()
    assert without_time(printed) == without_time(plain)
    assert "measuring TinyLlama" not in said
    assert "0/2" in said


def without_time(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if not line.startswith("  measured ")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("Missing option '--models'",)),
        (("--model", "llama-8b"), ("unknown model 'llama-8b'", "did you mean")),
        ((*TINY, "--gpu", "T5"), ("unknown GPU 'T5'",)),
        ((*TINY, "--gpu", "H100"), ("cannot measure H100", "CPU")),
        ((*TINY, "--dtype", "int3"), ("unknown dtype 'int3'",)),
        ((*TINY, "--batch-size", "0"), ("'0' is not a whole number",)),
        ((*TINY, "--interval", "nan"), ("--interval", "share above 0")),
        ((*TINY, "--repeats", "1"), ("--repeats",)),
        ((*TINY, "--weights", "nowhere.gguf"), ("weights 'nowhere.gguf'", "no such file")),
        ((*TINY, "--prompts", "nowhere.json"), ("nowhere.json",)),
        ((*TINY, "--weights", "random", "--out", "file"), ("file is a file",)),
        ((*TINY, "--endpoint", "http://127.0.0.1:1/v1"), ("--endpoint http://127.0.0.1:1/v1 is for --bench server",)),
        ((*TINY, "--bench", "server"), ("--bench server needs --endpoint http://HOST:PORT/v1",)),
        ((*TINY, "--bench", "server", "--endpoint", "http://127.0.0.1:1/v1"), ("name one model, one GPU kind",)),
        ((*TINY, *SERVER), ("--endpoint http://127.0.0.1:1/v1",)),  # nobody listens there
        ((*TINY, *SERVER, "--weights", "random"), ("a server has loaded its own",)),
        (("--model", "llama-8b", *SERVER), ("unknown model 'llama-8b'",)),
        (("--models", "TinyLlama-1.1B,LLaMA-7B", *SERVER), ("name one model",)),
        ((*TINY, "--region", "QC"), ("No such option",)),  # grams are asked of a record, not of a measurement
    ],
)
def test_bad_input_is_one_clear_line_exit_2_and_nothing_written(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    pytest.importorskip("torch", reason="without it the command says so first")
    (tmp_path / "file").write_text("mine")
    process = run("measure", *arguments, home=tmp_path)
    if "--out" in arguments or "--weights" in arguments:
        process.stdout = ""  # it had said by then on what it measures
    assert_one_line_error(process, 2, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_server_is_measured_from_outside(tmp_path: Path) -> None:
    pytest.importorskip("httpx2", reason="measuring a server needs the extra 'server'")
    with ScriptedServer(well_behaved) as server:
        endpoint = ("--bench", "server", "--endpoint", server.url, "--gpu", "CPU", "--dtype", "fp32")
        effort = ("--budget", "0", "--repeats", "2", "--batches", "1", "--output-tokens", "6", "--out", "out")
        process = run("measure", "--model", "smollm2-135m", *endpoint, *effort, "--batch-size", "2", home=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("Measured from outside: scripted served by ")
    assert "  weights         served model scripted" in process.stdout
    (record,), _ = read(tmp_path / "out")
    assert record.measurement is not None
    assert (record.measurement.bench, record.configuration.engine) == ("server", "server")
    assert record.measurement.evidence is not None
    assert record.measurement.evidence.ttft.unit == "request"


REAL = (
    *("measure", "--model", "smollm2-135m", "--weights", "random", "--gpu", "CPU", "--output-tokens", "3"),
    *("--budget", "0", "--repeats", "2", "--batches", "1", "--out", "out"),
)

WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "optuna"):
            raise ImportError(f"no {name} on this machine")
sys.meta_path.insert(0, Absent())
for name in ("ray", "optuna"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(f"{name} was not kept out")
sys.argv = ["carbonsweep", *sys.argv[1:]]
from carbonsweep.__main__ import main
main()
"""


def test_a_real_measurement_needs_neither_ray_nor_optuna(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="measuring needs the extra 'measure'")
    process = subprocess.run(
        [sys.executable, "-c", WITHOUT, *REAL, "--batch-size", "2"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "SmolLM2-135M on CPU, batch 2, fp32, transformers" in process.stdout
    assert "2 repeats of 1 batch (digest " in process.stdout
    assert "Traceback" not in process.stderr
    (record,), damaged = read(tmp_path / "out")
    assert damaged == []
    assert record.measurement is not None
    assert record.measurement.basis == "measured"
    assert record.measurement.evidence is not None
    assert record.measurement.evidence.protocol.budget_s == 0


def test_a_real_grid_is_interrupted_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="measuring needs the extra 'measure'")
    command = (*REAL, "--batch-sizes", "1,2,4,8", "--json")
    stopped = interrupt_after(1, *command, home=tmp_path, out=tmp_path / "out")
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    kept = line_count(tmp_path / "out" / "records.jsonl")
    assert 1 <= kept < 4
    continued = run(*command, home=tmp_path)
    assert continued.returncode == 0, continued.stderr
    assert continued.stderr.count(": measuring ") == 4 - kept
    assert [json.loads(line)["configuration"]["batch_size"] for line in continued.stdout.splitlines()] == [1, 2, 4, 8]
    records, damaged = read(tmp_path / "out")
    assert (len(records), len({record.key for record in records}), damaged) == (4, 4, [])
