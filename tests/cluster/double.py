"""A sweep whose bench asks for GPUs as a measuring one does, takes the device model's numbers, and breaks on demand.

`python -m tests.cluster.double --address A --out O ...`: everything but the bench is what `tune` runs. Each call of the
bench is noted before and after, in one file for all processes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import click

from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Basis, BenchIdentity, Configuration, Measurement, Workload

MODEL = "TinyLlama-1.1B"


@dataclass(frozen=True, kw_only=True)
class Note:
    """One call of the bench, begun or done; `node` is the name of the node, `gpus` those Ray gave the process."""

    done: bool
    kind: str
    batch_size: int
    pid: int
    node: str
    label: str
    gpus: str
    time_s: float


@dataclass(frozen=True)
class Noting:
    """`trouble` maps a batch size to what happens there the first time, or every time where it ends in an s."""

    log: Path
    trial_s: float = 0.3
    trouble: tuple[tuple[int, str], ...] = ()
    basis: Basis = "measured"
    name: ClassVar[str] = "double"

    def identity(self, configuration: Configuration) -> BenchIdentity:
        return replace(RooflineBench().identity(configuration), basis=self.basis)

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        self._note(configuration, done=False)
        time.sleep(self.trial_s)
        trouble = dict(self.trouble).get(configuration.batch_size)
        if trouble is not None and (trouble.endswith("s") or self._begun(configuration) == 1):
            TROUBLES[trouble.removesuffix("s")]()
        measured = RooflineBench().measure(configuration, workload)
        self._note(configuration, done=True)
        return measured

    def _begun(self, configuration: Configuration) -> int:
        return sum(not note.done and note.batch_size == configuration.batch_size for note in notes(self.log))

    def _note(self, configuration: Configuration, *, done: bool) -> None:
        import ray

        context = ray.get_runtime_context()
        labels = context.get_node_labels()
        note = Note(
            done=done,
            kind=configuration.gpu,
            batch_size=configuration.batch_size,
            pid=os.getpid(),
            node=labels.get("name", "head"),
            label=labels.get("carbonsweep/gpu", ""),
            gpus=",".join(map(str, context.get_accelerator_ids()["GPU"])),
            time_s=time.time(),
        )
        with self.log.open("a") as file:
            file.write(json.dumps(vars(note)) + "\n")


def _hang() -> None:
    time.sleep(3600)


def _die() -> None:
    os._exit(1)


def _eat() -> None:
    held = [bytearray(os.urandom(1)) * 2**28 for _ in range(14)]  # 3.5 GiB in all, all of it touched
    time.sleep(60)
    del held


TROUBLES: dict[str, Callable[[], None]] = {"hang": _hang, "die": _die, "eat": _eat}


def notes(log: Path) -> list[Note]:
    """All calls so far, in the order they were noted."""
    return [Note(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def main() -> NoReturn:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--gpus", default="T4,RTX6000Ada")
    parser.add_argument("--sizes", type=int, default=8)
    parser.add_argument("--trials", type=int, default=10**6)
    parser.add_argument("--sampler", default="exhaustive")
    parser.add_argument("--trial-s", type=float, default=0.3)
    parser.add_argument("--timeout-s", type=float, default=60.0)
    parser.add_argument("--grace-s", type=float, default=60.0)
    parser.add_argument("--slo", type=float)
    parser.add_argument("--basis", default="measured")
    parser.add_argument("--counts", default="1")
    parser.add_argument("--trouble", action="append", default=[], help="BATCH:WHAT")
    run(parser.parse_args())


def run(given: argparse.Namespace) -> NoReturn:
    from carbonsweep import inputs, options, sweeping
    from carbonsweep.cluster.connection import connection
    from carbonsweep.search.objectives import study_name
    from carbonsweep.search.sampling import Sampling
    from carbonsweep.search.space import space

    trouble = tuple((int(size), what) for size, _, what in (each.partition(":") for each in given.trouble))
    bench = Noting(given.log, given.trial_s, trouble, given.basis)
    searched = space(
        models=(MODEL,),
        gpus=tuple(given.gpus.split(",")),
        gpu_counts=tuple(map(int, given.counts.split(","))),
        batch_sizes=tuple(range(1, given.sizes + 1)),
        dtypes=("fp16",),
        engines=("paper",),
    )
    scenario = inputs.scenario({"region": "QC"}, searched.gpus)
    question = inputs.question(
        objective=("carbon",), slo_ttft=None, slo_tpot=given.slo, slo_latency=None, scenario=scenario
    )
    workload = inputs.workload(prompts=None, output_tokens=8, seed=0)
    summary = workload.summary()
    asked = sweeping.Asked(
        bench=bench,
        here=bench,
        space=searched,
        question=question,
        workload=workload,
        elsewhere=partial(_itself, workload),
        summary=summary,
        name=study_name(searched, question, summary.digest, map(bench.identity, searched.configurations())),
    )
    how = Sampling(sampler=given.sampler, trials=given.trials, seed=0)
    place = sweeping.Place(connected=True, trial_timeout_s=given.timeout_s, node_grace_s=given.grace_s)

    def sweep() -> int:
        with connection(given.address):
            return sweeping.run(asked, place, how, out=given.out)

    options.run(click.Command("double", callback=sweep), arguments=[])


def _itself(value: Any) -> Any:
    return value


if __name__ == "__main__":
    # By its own name, so that workers import the bench rather than being sent this file.
    importlib.import_module("tests.cluster.double").main()
