"""A storm of kills over a sweep, seeded: what was finished is recorded once, and nothing finished runs again.

`make chaos`, or `python -m checks.chaos --seed 7 --kills 30`. In namespaces of its own: a head, three nodes that each
keep a spool of their own, and the sweep; the storm kills measuring workers, Tune's own actors, raylets (which come back
as machines do, with their spool) and the driver (which is started again by the same command).

(a) TPE under a limit on TPOT, over part of a large space. (b) Every point of a space of 240: the records and the
answer must be those of a sweep nobody disturbed. The bench is the device model, slowed down and asking for GPUs by
label, so that there is something to kill. Exit 1 on the first falsehood.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from carbonsweep.domain import TrialRecord
from carbonsweep.records import RECORDS, decode, read
from tests.cluster.double import notes
from tests.cluster.raylets import LOOPBACK_UP, NAMESPACES, ROOT, Raylets, why_not
from tests.running import line_count

NODES: Final = {"t4": "T4", "t4-too": "T4", "ada": "RTX6000Ada"}
TRIAL_S: Final = 0.5
SPACE: Final = ("--gpus", "T4,RTX6000Ada", "--trial-s", str(TRIAL_S), "--timeout-s", "60", "--grace-s", "600")
SLO_TPOT_S: Final = 0.1
TRIALS_BETWEEN: Final = (3, 6)
"""Trials that finish between two kills, at random: a storm by the clock would be over before the first trial."""
PATIENCE_S: Final = 1800.0


@dataclass(kw_only=True)
class Storm:
    """One sweep, killed `kills` times; the driver is started again until it ends by itself."""

    folder: Path
    raylets: Raylets
    arguments: tuple[str, ...]
    rng: random.Random
    kills: int
    starts: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    finished_before: set[str] = field(default_factory=set)
    driver: subprocess.Popen[str] | None = None

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def log(self) -> Path:
        return self.folder / "calls"

    def rage(self) -> float:
        """Kill and start until the sweep has ended; returns seconds."""
        begun_s, next_kill = time.monotonic(), self.rng.randint(*TRIALS_BETWEEN)
        while True:
            if time.monotonic() - begun_s > PATIENCE_S:
                raise SystemExit(f"the sweep has not ended in {PATIENCE_S:g} s: {self._last_words()}")
            if self.driver is None:
                self._start()
            assert self.driver is not None
            code = self.driver.poll()
            if code is not None:
                if code != 0:
                    raise SystemExit(f"the sweep ended with {code}: {self._last_words()}")
                if not json.loads((self.out / "answer.json").read_text())["complete"]:
                    self.driver = None  # trials that died three times are for the next sweep
                    continue
                return time.monotonic() - begun_s
            done = line_count(self.out / RECORDS)
            if sum(self.counts.values()) < self.kills and done >= next_kill and self._kill():
                next_kill = done + self.rng.randint(*TRIALS_BETWEEN)
            time.sleep(0.02)

    def _start(self) -> None:
        self.starts += 1
        command = [sys.executable, "-m", "tests.cluster.double", "--address", self.raylets.address]
        self.driver = subprocess.Popen(
            [*command, "--out", str(self.out), "--log", str(self.log), *self.arguments],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "errors").open("a"),
            text=True,
        )

    def _last_words(self) -> str:
        return (self.folder / "errors").read_text()[-3000:]

    def _kill(self) -> bool:
        """Kill something that is there, and write down what is finished and what is on its way at that moment."""
        what = self.rng.choices(("worker", "raylet", "driver", "supervisor"), weights=(10, 4, 4, 2))[0]
        victims = self._victims(what)
        durable = self._durable()
        in_flight = self._running() - set(durable.values())
        if not victims or not in_flight:
            return False
        victim = self.rng.choice(victims)
        self.finished_before |= durable.keys()
        self.in_flight += len(in_flight)
        if what == "driver":
            assert self.driver is not None
            self.driver.kill()
            self.driver.wait()
            self.driver = None
        elif what == "raylet":
            self.raylets.kill_node(victim)
            self.raylets.join(victim, NODES[victim], gpus=1)
        else:
            os.kill(int(victim), signal.SIGKILL)
        self.counts[what] += 1
        return True

    def _victims(self, what: str) -> list[str]:
        if what == "driver":
            return ["the driver"]
        if what == "raylet":
            return sorted(self.raylets.names)
        title = {"worker": "ray::Worker", "supervisor": "ray::Supervisor"}[what]
        return [str(pid) for pid in self.raylets.workers(title=title)]

    def _running(self) -> set[tuple[str, int]]:
        """What processes that are alive have begun, and perhaps measured to the end."""
        alive = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        return {(call.kind, call.batch_size) for call in notes(self.log) if call.pid in alive}

    def _durable(self) -> dict[str, tuple[str, int]]:
        """By key, the configurations whose record is durable somewhere: in the output folder, or on a node."""
        found = list(read(self.out)[0])
        for path in self.folder.glob("spool-*/*/*.json"):
            with contextlib.suppress(FileNotFoundError):  # settled meanwhile: it was in the folder before
                found.append(decode(path.read_bytes()))
        return {record.key: (record.configuration.gpu, record.configuration.batch_size) for record in found}


def judged(storm: Storm, took_s: float, least: int) -> list[TrialRecord]:
    """Print the figures and hold them against the promise. Raises SystemExit."""
    records, damaged = read(storm.out)
    keys = Counter(record.key for record in records)
    begun = Counter((call.kind, call.batch_size) for call in notes(storm.log) if not call.done)
    done = Counter((call.kind, call.batch_size) for call in notes(storm.log) if call.done)
    again = sum(count - 1 for count in begun.values())
    kills = ", ".join(f"{count} {what}" for what, count in sorted(storm.counts.items()))
    print(f"  {sum(storm.counts.values())} kills ({kills}), {storm.starts} starts of the driver, {took_s:.0f} s")
    print(
        f"  {len(records)} records of {len(keys)} configurations; {len(storm.finished_before)} were finished at some "
        f"kill; {again} run again, {sum(count - 1 for count in done.values())} of them to the end twice; "
        f"{storm.in_flight} trials were on their way at kills"
    )
    _require(not damaged, f"{len(damaged)} damaged lines")
    _require(max(keys.values()) == 1, f"recorded more than once: {[key for key, n in keys.items() if n > 1]}")
    _require(storm.finished_before <= keys.keys(), f"lost: {storm.finished_before - keys.keys()}")
    _require(again <= storm.in_flight, f"{again} configurations ran again, {storm.in_flight} were on their way")
    _require(len(records) >= least, f"{len(records)} records, at least {least} were asked for")
    left = list(storm.folder.glob("spool-*/*/*.json"))
    _require(not left, f"{len(left)} records are left in spools")
    return records


def plain(records: list[TrialRecord]) -> Counter[str]:
    """Records without what may differ from run to run: when, where and how long."""
    return Counter(repr((r.key, r.configuration, r.measurement, r.refusal)) for r in records)


def answered(out: Path) -> dict[str, Any]:
    """The answer without the sweep's own cost, and with its records in no order."""
    document: dict[str, Any] = json.loads((out / "answer.json").read_text())
    document.pop("sweep_cost", None)
    return {**document, "records": sorted(document["records"])}


def _require(true: bool, otherwise: str) -> None:
    if not true:
        raise SystemExit(f"  FALSE: {otherwise}")


def _cluster(folder: Path) -> Raylets:
    folder.mkdir()
    raylets = Raylets(folder)
    for name, kind in NODES.items():
        raylets.join(name, kind, gpus=1)
    return raylets


def storm(folder: Path, seed: int, kills: int) -> None:
    """Both storms and the quiet sweep, on three clusters one after the other."""
    rng = random.Random(seed)
    print(f"(a) TPE under TPOT {SLO_TPOT_S:g} s: 210 of 800 configurations")
    sampled = Storm(
        folder=folder / "a",
        raylets=_cluster(folder / "a"),
        arguments=(*SPACE, "--sizes", "400", "--trials", "210", "--sampler", "tpe", "--slo", str(SLO_TPOT_S)),
        rng=rng,
        kills=kills,
    )
    judged(sampled, sampled.rage(), 210)
    sampled.raylets.end()
    _require(sum(sampled.counts.values()) >= kills, "the sweep ended before the storm did")
    print("(b) every one of 220 configurations")
    whole = ("--sizes", "110", "--trials", "220")
    every = Storm(folder=folder / "b", raylets=_cluster(folder / "b"), arguments=(*SPACE, *whole), rng=rng, kills=kills)
    stormed = judged(every, every.rage(), 220)
    every.raylets.end()
    _require(sum(every.counts.values()) >= kills, "the sweep ended before the storm did")
    quiet = Storm(folder=folder / "c", raylets=_cluster(folder / "c"), arguments=(*SPACE, *whole), rng=rng, kills=0)
    took_s = quiet.rage()
    print(f"    undisturbed: {took_s:.0f} s")
    _require(plain(stormed) == plain(read(quiet.out)[0]), "the records differ from those of the undisturbed sweep")
    _require(answered(every.out) == answered(quiet.out), "the answer differs from that of the undisturbed sweep")
    print("    records and answer equal those of the undisturbed sweep")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kills", type=int, default=32, help="in each of the two storms")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is not None:
        storm(given.inside, given.seed, given.kills)
        return
    if (reason := why_not()) is not None:
        raise SystemExit(f"a storm needs namespaces of its own: {reason}")
    with TemporaryDirectory(prefix="carbonsweep-chaos-") as folder:
        (Path(folder) / "home").mkdir()
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
        env |= {"HOME": f"{folder}/home", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        inside = [sys.executable, "-m", "checks.chaos", "--seed", str(given.seed), "--kills", str(given.kills)]
        done = subprocess.run([*NAMESPACES, *LOOPBACK_UP, *inside, "--inside", folder], env=env, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
