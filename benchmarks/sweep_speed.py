"""Trials a second through the whole path, beside a stock Tuner with fresh actors; start, memory, and 2,000 trials.

`python -m benchmarks.sweep_speed [--out FILE]`: both take turns on the same raylets in namespaces of their own, the
same number of trials side by side, the same short trial. Ours: suggestion, journal, worker, spool, record and watcher,
each flushed to the disk. Stock: `tune.Tuner` with `OptunaSearch`, a trainable class, no reuse.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from carbonsweep import inputs
from carbonsweep.cluster.status import SweepStatus
from carbonsweep.domain import TrialRecord
from carbonsweep.records import OutputFolder
from carbonsweep.search.journal import journal
from carbonsweep.search.space import Space, space
from carbonsweep.search.study import Search
from tests.cluster.double import MODEL, Noting
from tests.cluster.raylets import LOOPBACK_UP, NAMESPACES, ROOT, Raylets, why_not

STOCK_TRIALS: Final = 12
OUR_TRIALS: Final = 300
MANY_TRIALS: Final = 2000
AT_ONCE: Final = 2
GROWTH_BOUND_BYTES: Final = 100_000
"""What a trial may add to the driver's memory: its record, as a line and as a value, and what Optuna and Tune keep."""
MARKS: Final = {"one kind": 20.0, "two kinds in turn": 8.0}


@dataclass(kw_only=True)
class Timing:
    """When records came in; the driver's memory at some of them."""

    begun_s: float = field(default_factory=time.monotonic)
    came_s: list[float] = field(default_factory=list)
    memory_bytes: dict[int, int] = field(default_factory=dict)

    def advance(self, record: TrialRecord) -> None:
        self.came_s.append(time.monotonic())
        if len(self.came_s) in (200, MANY_TRIALS):
            self.memory_bytes[len(self.came_s)] = resident_bytes(os.getpid())

    def show_status(self, status: SweepStatus) -> None: ...

    def notice(self, line: str) -> None:
        print(line, file=sys.stderr)

    @property
    def per_s(self) -> float:
        """Trials a second from the first record to the last."""
        return (len(self.came_s) - 1) / (self.came_s[-1] - self.came_s[0])


def points(kinds: tuple[str, ...], sizes: int) -> Space:
    return space(
        models=(MODEL,),
        gpus=kinds,
        gpu_counts=(1,),
        batch_sizes=tuple(range(1, sizes + 1)),
        dtypes=("fp16",),
        engines=("paper",),
    )


def ours(folder: Path, kinds: tuple[str, ...], trials: int) -> Timing:
    """A whole sweep by the package, exhaustive, with the double that asks for GPUs."""
    from carbonsweep.cluster.conduct import Terms
    from carbonsweep.cluster.sweep import sweep

    bench = Noting(Path(os.devnull), trial_s=0.0)
    searched = points(kinds, trials // len(kinds))
    question = inputs.question(
        objective=("carbon",),
        slo_ttft=None,
        slo_tpot=None,
        slo_latency=None,
        scenario=inputs.scenario({"region": "QC"}, searched.gpus),
    )
    workload = inputs.workload(prompts=None, output_tokens=8, seed=0)
    with OutputFolder(folder) as out:
        search = Search(
            space=searched,
            question=question,
            name="s",
            trials=trials,
            seed=0,
            known={},
            sampler="exhaustive",
            storage=journal(folder),
        )
        timing = Timing()
        sweep(
            search=search,
            bench=bench,
            here=bench,
            workload=partial(_itself, workload),
            summary=workload.summary(),
            out=out,
            watcher=timing,
            terms=Terms(trial_timeout_s=60, node_grace_s=60),
        )
    return timing


def stock(folder: Path, kinds: tuple[str, ...]) -> Timing:
    """The same trials as anybody would write them for Tune, a fresh actor each."""
    import optuna
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    from carbonsweep.cluster.labels import GPU_LABEL

    sizes = optuna.distributions.IntDistribution(1, 400)
    timing = Timing()

    class Came(tune.Callback):  # type: ignore[misc]  # ray ships no types
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            timing.came_s.append(time.monotonic())

    def requests(config: dict[str, Any]) -> Any:
        return tune.PlacementGroupFactory(
            [{"CPU": 1, "GPU": 1}], bundle_label_selector=[{GPU_LABEL: kinds[config["batch_size"] % len(kinds)]}]
        )

    search = OptunaSearch(space={"batch_size": sizes}, metric="carbon", mode="min", seed=0)
    done = tune.Tuner(
        tune.with_resources(_Stock, requests),
        tune_config=tune.TuneConfig(search_alg=ConcurrencyLimiter(search, AT_ONCE), num_samples=STOCK_TRIALS),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            name="stock",
            verbose=0,
            callbacks=[Came()],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    if done.errors:
        raise SystemExit(f"the stock Tuner failed: {done.errors[0]}")
    return timing


def _stock_class() -> Any:
    from ray import tune

    class Stock(tune.Trainable):  # type: ignore[misc]  # ray ships no types
        def setup(self, config: dict[str, Any]) -> None:
            from carbonsweep.bench.roofline import RooflineBench

            self._bench, self._size = RooflineBench(), config["batch_size"]
            self._workload = inputs.workload(prompts=None, output_tokens=8, seed=0)

        def step(self) -> dict[str, Any]:
            configuration = next(iter(points(("T4",), 1).configurations()))
            measured = self._bench.measure(configuration, self._workload)
            return {"carbon": measured.energy_j, "done": True}

    return Stock


_Stock = _stock_class()


def resident_bytes(pid: int) -> int:
    """Memory of a process that is its own or shared, in RAM now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def proportional_bytes(pid: int) -> int:
    """Memory of a process, what it shares divided among those who share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{pid} has no Pss")


def _itself(value: Any) -> Any:
    return value


def measured(folder: Path) -> list[str]:
    """Every figure as a line of Markdown."""
    from carbonsweep.cluster.connection import connection

    raylets = Raylets(folder)
    raylets.join("t4", "T4", gpus=AT_ONCE, cpus=AT_ONCE)
    raylets.join("ada", "RTX6000Ada", gpus=1, cpus=1)
    lines = ["| trials | stock, /s | ours, /s | ratio | mark |", "|---|---|---|---|---|"]
    with connection(raylets.address):
        for name, kinds in (("one kind", ("T4",)), ("two kinds in turn", ("T4", "RTX6000Ada"))):
            plain, own = stock(folder / f"stock {name}", kinds), ours(folder / f"ours {name}", kinds, OUR_TRIALS)
            ratio = own.per_s / plain.per_s
            print(f"{name}: stock {plain.per_s:.2f}/s, ours {own.per_s:.1f}/s", file=sys.stderr, flush=True)
            lines.append(f"| {name} | {plain.per_s:.2f} | {own.per_s:.1f} | {ratio:.0f} | {MARKS[name]:g} |")
            lines_after = _start_lines(plain, own)
        many = ours(folder / "many", ("T4", "RTX6000Ada"), MANY_TRIALS)
        workers = [proportional_bytes(pid) for pid in raylets.workers()]
    growth = (many.memory_bytes[MANY_TRIALS] - many.memory_bytes[200]) / (MANY_TRIALS - 200)
    return [
        *lines,
        "",
        *lines_after,
        (
            f"- {MANY_TRIALS} trials: {many.per_s:.1f}/s; the driver grew by {growth / 1e3:.0f} kB a trial from the "
            f"200th to the last (bound {GROWTH_BOUND_BYTES / 1e3:g} kB), to "
            f"{many.memory_bytes[MANY_TRIALS] / 1e6:.0f} MB"
        ),
        f"- memory of a worker: {max(workers) / 1e6:.0f} MB (proportional set)",
    ]


def _start_lines(plain: Timing, own: Timing) -> list[str]:
    stock_s, own_s = plain.came_s[0] - plain.begun_s, own.came_s[0] - own.begun_s
    return [f"- from the start of the sweep to its first record: stock {stock_s:.1f} s, ours {own_s:.1f} s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sweep_speed.md")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is not None:
        text = "\n".join(["# Trials a second, beside a stock Tuner", "", *measured(given.inside), ""])
        print(text)
        given.out.write_text(text)
        return
    if (reason := why_not()) is not None:
        raise SystemExit(f"this needs namespaces of its own: {reason}")
    with TemporaryDirectory(prefix="carbonsweep-speed-") as folder:
        (Path(folder) / "home").mkdir()
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
        env |= {"HOME": f"{folder}/home", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [
            sys.executable,
            "-m",
            "benchmarks.sweep_speed",
            "--inside",
            folder,
            "--out",
            str(given.out.absolute()),
        ]
        done = subprocess.run([*NAMESPACES, *LOOPBACK_UP, *command], env=env, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
