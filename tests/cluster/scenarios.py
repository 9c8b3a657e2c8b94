"""What may happen to a sweep, each played with real raylets and real kills: `python -m tests.cluster.scenarios NAME`.

Run by `raylets.play` in namespaces of their own. Each prints what was seen as one JSON object; tests judge it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from carbonsweep.records import RECORDS, read
from tests.cluster.double import Note, notes
from tests.cluster.raylets import Raylets, eventually
from tests.running import line_count

HERE = Path.cwd()
OUT, LOG = HERE / "out", HERE / "calls"
TIMEOUT_S = 180


class Driver:
    """One run of the sweep with the noting bench."""

    def __init__(self, address: str, *arguments: str, out: Path = OUT) -> None:
        command = [sys.executable, "-m", "tests.cluster.double", "--address", address, "--log", str(LOG)]
        self._errors = (HERE / "errors").open("w+")
        self._output = (HERE / "output").open("w+")
        self.process = subprocess.Popen(
            [*command, "--out", str(out), *arguments], stdout=self._output, stderr=self._errors, text=True
        )

    def end(self) -> dict[str, Any]:
        """Exit code and what was said, once it has ended by itself."""
        code = self.process.wait(timeout=TIMEOUT_S)
        return {"code": code, "errors": self.errors, "output": (HERE / "output").read_text()}

    @property
    def errors(self) -> str:
        return (HERE / "errors").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def seen(**more: Any) -> dict[str, Any]:
    """Records, calls of the bench, and whatever else a scenario adds."""
    records, damaged = read(OUT)
    return {
        "records": Counter(f"{r.configuration.gpu} {r.configuration.batch_size}" for r in records),
        "failed": [r.refusal.reason for r in records if r.refusal is not None],
        "damaged": len(damaged),
        "calls": [vars(note) for note in notes(LOG)],
        "spooled": sorted(str(path.parent.parent.name) for path in HERE.glob("spool-*/*/*.json")),
        **more,
    }


def two_kinds(folder: Path, t4: Mapping[str, str] | None = None) -> Raylets:
    raylets = Raylets(folder)
    raylets.join("t4", "T4", gpus=1, env=t4)
    raylets.join("ada", "RTX6000Ada", gpus=1)
    return raylets


def begun() -> list[Note]:
    return [note for note in notes(LOG) if not note.done]


def finished() -> list[Note]:
    return [note for note in notes(LOG) if note.done]


def _has_records(least: int) -> bool:
    return line_count(OUT / RECORDS) >= least


def placement() -> dict[str, Any]:
    """Two kinds, one node with two GPUs: every trial on its kind, never two on one GPU, workers kept."""
    raylets = Raylets(HERE)
    raylets.join("t4", "T4", gpus=2, cpus=2)
    raylets.join("ada", "RTX6000Ada", gpus=1)
    raylets.join("plain", cpus=4)
    return seen(**Driver(raylets.address, "--sizes", "8").end())


def missing_kind() -> dict[str, Any]:
    """The command itself, asked for a kind no node has."""
    raylets = two_kinds(HERE)
    command = [sys.executable, "-m", "carbonsweep.tune", "--address", raylets.address, "--bench", "transformers"]
    done = subprocess.run(
        [*command, "--objective", "latency", "--gpus", "T4,H100", "--out", str(OUT)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return {"code": done.returncode, "errors": done.stderr, "output": done.stdout, "out": OUT.exists()}


def worker_dies() -> dict[str, Any]:
    """A worker is killed in mid-trial."""
    raylets = two_kinds(HERE)
    driver = Driver(raylets.address, "--sizes", "6", "--trial-s", "0.5")
    eventually(lambda: len(finished()) >= 2)
    os.kill(eventually(lambda: [note.pid for note in begun()[-1:] if note not in finished()])[0], signal.SIGKILL)
    return seen(**driver.end())


def raylet_dies() -> dict[str, Any]:
    """The raylet of one of two T4 nodes is killed in mid-trial."""
    raylets = two_kinds(HERE)
    raylets.join("t4-too", "T4", gpus=1)
    driver = Driver(raylets.address, "--sizes", "10", "--trial-s", "0.5")
    eventually(lambda: any(note.node == "t4-too" for note in finished()))
    raylets.kill_raylet("t4-too")
    return seen(**driver.end())


def last_node_dies() -> dict[str, Any]:
    """The only node of a kind goes for good in mid-sweep; then the same command again with it back."""
    raylets = two_kinds(HERE)
    arguments = ("--sizes", "6", "--trial-s", "0.4", "--grace-s", "3")
    driver = Driver(raylets.address, *arguments)
    eventually(lambda: sum(note.kind == "RTX6000Ada" for note in finished()) >= 2)
    raylets.kill_node("ada")
    first = driver.end()
    records = line_count(OUT / RECORDS)
    raylets.join("ada", "RTX6000Ada", gpus=1)
    return seen(first=first, first_records=records, **Driver(raylets.address, *arguments).end())


def driver_dies() -> dict[str, Any]:
    """The driver is killed twice in a row, each time in mid-trial; then the same command again."""
    raylets = two_kinds(HERE)
    arguments = ("--sizes", "8", "--trial-s", "0.4")
    at_kill = []
    for records in (3, 8):
        driver = Driver(raylets.address, *arguments)
        eventually(partial(_has_records, records))
        driver.kill()
        at_kill.append({"begun": len(begun()), "finished": len(finished()), "records": line_count(OUT / RECORDS)})
    return seen(at_kill=at_kill, **Driver(raylets.address, *arguments).end())


def memory_runs_out() -> dict[str, Any]:
    """Ray's memory monitor kills a worker that eats memory; the second time it behaves."""
    with Path("/proc/meminfo").open() as file:
        kb = {line.split(":")[0]: int(line.split()[1]) for line in file}
    if kb["MemAvailable"] < 8e6:
        return {"skip": f"{kb['MemAvailable'] / 1e6:.1f} GB of memory are free, 8 are needed"}
    limit = 1 - (kb["MemAvailable"] - 1.75 * 2**20) / kb["MemTotal"]
    watched = {"RAY_memory_monitor_refresh_ms": "100", "RAY_memory_usage_threshold": f"{limit:.4f}"}
    raylets = two_kinds(HERE, watched)
    driver = Driver(raylets.address, "--sizes", "4", "--trouble", "3:eat", "--gpus", "T4")
    return seen(**driver.end())


def trial_hangs() -> dict[str, Any]:
    """One trial hangs once, one every time."""
    raylets = two_kinds(HERE)
    arguments = ("--sizes", "4", "--gpus", "T4", "--timeout-s", "3", "--trouble", "2:hang", "--trouble", "3:hangs")
    return seen(**Driver(raylets.address, *arguments).end())


def two_sweeps() -> dict[str, Any]:
    """A second sweep into the same folder while the first runs."""
    raylets = two_kinds(HERE)
    arguments = ("--sizes", "6", "--trial-s", "0.5")
    driver = Driver(raylets.address, *arguments)
    eventually(lambda: line_count(OUT / RECORDS) >= 1)
    command = [sys.executable, "-m", "carbonsweep.tune", "--address", raylets.address, "--region", "QC"]
    second = subprocess.run(
        [*command, "--bench", "roofline", "--out", str(OUT)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return seen(second={"code": second.returncode, "errors": second.stderr}, **driver.end())


def supervisor_dies() -> dict[str, Any]:
    """Tune's own actor is killed in mid-trial; its worker goes on and finishes."""
    raylets = two_kinds(HERE)
    driver = Driver(raylets.address, "--sizes", "5", "--trial-s", "0.8")
    eventually(lambda: len(finished()) >= 2)
    os.kill(eventually(lambda: raylets.workers(title="ray::Supervisor"))[0], signal.SIGKILL)
    return seen(**driver.end())


def disk_fills() -> dict[str, Any]:
    """The output folder's file system is full in mid-sweep; with room again, the same command goes on."""
    raylets = two_kinds(HERE)
    OUT.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(OUT)], check=True)
    arguments = ("--sizes", "10", "--trial-s", "0.2")
    first = Driver(raylets.address, *arguments).end()
    records, spooled = line_count(OUT / RECORDS), len(list(HERE.glob("spool-*/*/*.json")))
    subprocess.run(["mount", "-o", "remount,size=64m", str(OUT)], check=True)
    again = Driver(raylets.address, *arguments).end()
    return seen(first=first, first_records=records, first_spooled=spooled, **again)


def detached() -> dict[str, Any]:
    """The command as a job of a cluster that was started by hand; whoever submitted it does not stay."""
    head = ["ray", "start", "--head", "--node-ip-address=127.0.0.1", "--port=6379", "--num-cpus=2", "--block"]
    with (HERE / "head").open("w") as log:
        cluster = subprocess.Popen([*head, "--include-dashboard=true", "--dashboard-host=127.0.0.1"], stdout=log)
    try:
        asked = [sys.executable, "-m", "carbonsweep.tune", "--address", "auto", "--region", "QC", "--bench", "roofline"]
        jobs = ["ray", "job"]
        submitted = eventually(
            partial(_done, [*jobs, "submit", "--no-wait", "--submission-id", "mine", "--", *asked, "--out", str(OUT)])
        )
        ended = eventually(partial(_job_ended, [*jobs, "status", "mine"]))
        logs = _done([*jobs, "logs", "mine"])
        return seen(submitted=submitted, ended=ended, code=0, errors="", output=logs)
    finally:
        cluster.terminate()
        cluster.wait(timeout=60)


def _done(command: list[str]) -> str | None:
    """What it printed, once it succeeds."""
    environment = {**os.environ, "RAY_ADDRESS": "http://127.0.0.1:8265"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment)
    return done.stdout + done.stderr if done.returncode == 0 else None


def _job_ended(command: list[str]) -> str | None:
    said = _done(command) or ""
    return said if any(word in said.lower() for word in ("succeeded", "failed", "stopped")) else None


SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {
    scenario.__name__: scenario
    for scenario in (
        placement,
        missing_kind,
        worker_dies,
        raylet_dies,
        last_node_dies,
        driver_dies,
        memory_runs_out,
        trial_hangs,
        two_sweeps,
        supervisor_dies,
        disk_fills,
        detached,
    )
}

if __name__ == "__main__":
    print(json.dumps(SCENARIOS[sys.argv[1]]()))
