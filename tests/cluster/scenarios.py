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
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from carbonsweep.cluster.connection import connection
from carbonsweep.cluster.nodes import kinds
from carbonsweep.cluster.waiting import await_kinds
from carbonsweep.records import RECORDS, read
from tests.cluster.double import Note, notes
from tests.cluster.raylets import Raylets, eventually
from tests.running import line_count

HERE = Path.cwd()
OUT, LOG = HERE / "out", HERE / "calls"
TIMEOUT_S = 180
RAY = str(Path(sys.executable).with_name("ray"))


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
    """Two kinds, one node with two GPUs: every trial on its kind, never two on one GPU, workers kept.

    The node of one kind joins only after it was asked for.
    """
    raylets, said = Raylets(HERE), list[str]()
    raylets.join("t4", "T4", gpus=2, cpus=2)
    raylets.join("plain", cpus=4)
    # The node is started here, not in the thread: its processes end with the thread that started them.
    with connection(raylets.address), ThreadPoolExecutor(1) as waiting:
        found = waiting.submit(await_kinds, {"T4", "RTX6000Ada"}, 120.0, said.append)
        eventually(lambda: said)
        raylets.join("ada", "RTX6000Ada", gpus=1)
        there = kinds(found.result().values())
    return seen(waited=said, there=there, **Driver(raylets.address, "--sizes", "8").end())


def refusals_and_deaths() -> dict[str, Any]:
    """A kind nobody has; then a sweep, a second one into its folder, its worker killed, and Tune's own actor killed."""
    raylets = two_kinds(HERE)
    asked = ("--bench", "transformers", "--objective", "latency", "--gpus", "T4,H100", "--wait-for-nodes", "0.03")
    missing = command(raylets, *asked)
    missing["out"] = OUT.exists()
    driver = Driver(raylets.address, "--sizes", "8", "--trial-s", "0.6")
    eventually(partial(_has_records, 1))
    second = command(raylets, "--bench", "roofline", "--region", "QC")
    os.kill(eventually(_working), signal.SIGKILL)
    eventually(partial(_has_records, line_count(OUT / RECORDS) + 2))
    os.kill(eventually(partial(raylets.workers, title="ray::Supervisor"))[0], signal.SIGKILL)
    return seen(missing=missing, second=second, **driver.end())


def command(raylets: Raylets, *arguments: str) -> dict[str, Any]:
    """What the command itself says to the same folder."""
    start = [sys.executable, "-m", "carbonsweep.tune", "--address", raylets.address, "--out", str(OUT)]
    done = subprocess.run([*start, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return {"code": done.returncode, "errors": done.stderr, "output": done.stdout}


def _working(kind: str = "") -> int | None:
    """A process that has begun a trial, of this kind if one is named, and not finished it."""
    ended = {(note.kind, note.batch_size) for note in finished()}
    open_calls = [note for note in begun() if (note.kind, note.batch_size) not in ended and kind in ("", note.kind)]
    return open_calls[-1].pid if open_calls else None


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
    eventually(partial(_working, "RTX6000Ada"))
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


def trials_break() -> dict[str, Any]:
    """One trial hangs once, one every time; and one eats memory once, until Ray's memory monitor kills its worker."""
    with Path("/proc/meminfo").open() as file:
        kb = {line.split(":")[0]: int(line.split()[1]) for line in file}
    arguments = ["--sizes", "5", "--gpus", "T4", "--timeout-s", "5", "--trouble", "2:hang", "--trouble", "3:hangs"]
    # The monitor looks at the whole machine: it strikes at 2 GiB more than is taken now, and the trial takes 3.5 GiB.
    limit = 1 - (kb["MemAvailable"] - 2 * 2**20) / kb["MemTotal"]
    watched = {"RAY_memory_monitor_refresh_ms": "100", "RAY_memory_usage_threshold": f"{limit:.4f}"}
    roomy = kb["MemAvailable"] > 10e6
    raylets = two_kinds(HERE, watched if roomy else None)
    return seen(roomy=roomy, **Driver(raylets.address, *arguments, *(("--trouble", "5:eat") * roomy)).end())


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
    head = [RAY, "start", "--head", "--node-ip-address=127.0.0.1", "--port=6379", "--num-cpus=2", "--block"]
    with (HERE / "head").open("w") as log:
        cluster = subprocess.Popen([*head, "--include-dashboard=true", "--dashboard-host=127.0.0.1"], stdout=log)
    try:
        asked = [sys.executable, "-m", "carbonsweep.tune", "--address", "auto", "--region", "QC", "--bench", "roofline"]
        jobs = [RAY, "job"]
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
        refusals_and_deaths,
        raylet_dies,
        last_node_dies,
        driver_dies,
        trials_break,
        disk_fills,
        detached,
    )
}

if __name__ == "__main__":
    print(json.dumps(SCENARIOS[sys.argv[1]]()))
