"""Trials through Ray: when things die (a worker, the disk, the bench itself), and where loading weights costs time."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from carbonsweep.cluster.demand import Demand
from carbonsweep.cluster.nodes import Node
from carbonsweep.cluster.sweep import require_room
from carbonsweep.errors import BadInput
from carbonsweep.records import encode, read
from tests.running import TIMEOUT_S, environment
from tests.search.guide_double import ListedGuide
from tests.search.test_guided_search import falling_to, fits, guided
from tests.search.test_study import POINTS, SPACE
from tests.search.test_study import run as run_all

ROOT = Path(__file__).parents[2]

SCRIPT = """
import functools, os, sys
from pathlib import Path
from carbonsweep import inputs
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.cluster.conduct import Terms
from carbonsweep.cluster.connection import connection
from carbonsweep.cluster.sweep import sweep
from carbonsweep.errors import StorageFailed
from carbonsweep.records import OutputFolder
from carbonsweep.search.journal import journal
from carbonsweep.search.space import space
from carbonsweep.search.study import Search

class Watcher:
    def __init__(self, shown): self.advance = shown.append
    def show_status(self, status): pass
    def notice(self, line): pass

class Bench(RooflineBench):
    def measure(self, configuration, workload):
        {trouble}
        return super().measure(configuration, workload)

searched = space(models=("TinyLlama-1.1B",), gpus=("T4", "RTX6000Ada"), gpu_counts=(1,), batch_sizes=(1, 2, 4),
                 dtypes=("fp16",), engines=("paper",))
scenario = inputs.scenario({{"region": "QC"}}, searched.gpus)
question = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=scenario)
with OutputFolder(Path("out")) as folder:
    search = Search(space=searched, question=question, name="s", trials=6, seed=0, known={{}}, sampler="exhaustive",
                    storage=journal(folder.folder))
    {before}
    shown = []
    made = functools.partial(inputs.workload, prompts=None, output_tokens=8, seed=0)
    try:
        with connection(None):
            terms = Terms(trial_timeout_s=60, node_grace_s=60)
            lost = list(sweep(search=search, bench=Bench(), here=Bench(), workload=made, summary=made().summary(),
                              out=folder, watcher=Watcher(shown), terms=terms).lost)
    except StorageFailed as error:
        print("storage failed:", error)
        sys.exit(4)
    print("shown", len(shown), "lost", lost, "running", sum(t.state.name == "RUNNING" for t in search.study.trials))
"""


def run(home: Path, *, trouble: str = "pass", before: str = "pass") -> subprocess.CompletedProcess[str]:
    script = home / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(trouble=trouble, before=before))
    env = {**environment(home), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(script)], cwd=home, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def test_a_worker_that_dies_costs_its_trial_and_nothing_else(tmp_path: Path) -> None:
    trouble = "configuration.gpu == 'T4' and configuration.batch_size == 2 and os._exit(1)"
    process = run(tmp_path, trouble=trouble)
    assert process.returncode == 0, process.stderr
    assert "shown 5 lost ['" in process.stdout
    assert "running 0" in process.stdout
    assert "Traceback" not in process.stderr
    records, _ = read(tmp_path / "out")
    assert len(records) == 5


def test_a_bench_that_breaks_leaves_a_failed_record_with_its_reason(tmp_path: Path) -> None:
    process = run(tmp_path, trouble="configuration.batch_size == 4 and 1 / 0")
    assert "shown 6 lost []" in process.stdout, process.stderr
    failed = [r for r in read(tmp_path / "out")[0] if r.refusal is not None]
    assert {r.configuration.batch_size for r in failed} == {4}
    assert all(r.refusal is not None and r.refusal.reason.startswith("ZeroDivisionError") for r in failed)


def test_a_full_disk_stops_the_sweep_and_keeps_what_was_written(tmp_path: Path) -> None:
    # The file may grow to two records and a half; the third write is cut and taken back.
    before = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); limited = folder.append"
    patch = (
        before
        + "\n    def append(record):"
        + "\n        resource.setrlimit(resource.RLIMIT_FSIZE, (4500, resource.RLIM_INFINITY))"
        + "\n        try: limited(record)"
        + "\n        finally: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)"
        + "\n    folder.append = append"
    )
    process = run(tmp_path, before=patch)
    assert process.returncode == 4, process.stdout + process.stderr
    assert "cannot write" in process.stdout
    records, damaged = read(tmp_path / "out")
    assert damaged == []
    assert 0 < len(records) < 6


MEASURING = """
import functools, json, os, signal, time
from dataclasses import replace
from pathlib import Path
from carbonsweep import inputs
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.cluster.conduct import Terms
from carbonsweep.cluster.connection import NAMESPACE
from carbonsweep.cluster.labels import GPU_LABEL
from carbonsweep.cluster.sweep import sweep
from carbonsweep.errors import DoesNotFit
from carbonsweep.records import OutputFolder
from carbonsweep.search.journal import journal
from carbonsweep.search.order import weights_group
from carbonsweep.search.space import space
from carbonsweep.search.study import Search
import ray

class Bench:
    # Takes the device model's numbers, and loads weights as a measuring bench does: each load and run is a line.
    name, held = "double", None
    def identity(self, configuration):
        return replace(RooflineBench().identity(configuration), basis="measured")
    def measure(self, configuration, workload):
        loads = self.held != weights_group(configuration)
        self.held = weights_group(configuration)
        line = [os.getpid(), loads, configuration.model, configuration.batch_size]
        with open({log!r}, "a") as file:
            file.write(json.dumps(line) + chr(10))
        time.sleep(0.3)
        if configuration.batch_size >= {too_large}.get(configuration.model, 1000):
            raise DoesNotFit(20e9, 16e9)
        return RooflineBench().measure(replace(configuration, batch_size=1), workload)

ray.init(address="local", namespace=NAMESPACE, labels={{GPU_LABEL: "T4"}}, num_cpus=2, num_gpus={gpus},
         include_dashboard=False, log_to_driver=False, logging_level="ERROR")

class Watcher:
    def show_status(self, status): pass
    def notice(self, line): pass
    def advance(self, record):
        shown.append(record)
        if len(shown) == {interrupt_after}:
            signal.raise_signal(signal.SIGINT)

shown = []
searched = space(models={models}, gpus=("T4",), gpu_counts=(1,), batch_sizes={sizes}, dtypes=("fp16",),
                 engines=("paper",))
scenario = inputs.scenario(dict(region="QC"), searched.gpus)
question = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=scenario)
made = functools.partial(inputs.workload, prompts=None, output_tokens=8, seed=0)
with OutputFolder(Path("out")) as folder:
    known = {{record.configuration: record for record in folder.records.values()}}
    search = Search(space=searched, question=question, name="s", trials=1000, seed=0, known=known, sampler="exhaustive",
                    storage=journal(folder.folder), loads_weights=True)
    try:
        lost = sweep(search=search, bench=Bench(), here=Bench(), workload=made, summary=made().summary(), out=folder,
                     watcher=Watcher(), terms=Terms(trial_timeout_s=60, node_grace_s=60)).lost
    except KeyboardInterrupt:
        print("interrupted")
    else:
        states = [t.state.name for t in search.study.trials]
        print(json.dumps(dict(shown=len(shown), lost=lost, told=search.told, running=states.count("RUNNING"))))
"""


@dataclass(frozen=True)
class Run:
    """One call of the bench double."""

    worker: int
    loads: bool
    model: str
    batch_size: int


def measure(
    home: Path,
    *,
    models: tuple[str, ...] = ("LLaMA-7B", "TinyLlama-1.1B"),
    sizes: tuple[int, ...] = (16, 8, 4, 2, 1),
    gpus: int = 1,
    too_large: dict[str, int] | None = None,
    interrupt_after: int = 0,
) -> tuple[str, list[Run]]:
    """What the script printed last, and every call of the bench so far."""
    log = home / "runs"
    script = home / "measuring.py"
    script.write_text(
        MEASURING.format(
            log=str(log),
            models=models,
            sizes=sizes,
            gpus=gpus,
            too_large={"LLaMA-7B": 4} if too_large is None else too_large,
            interrupt_after=interrupt_after,
        )
    )
    process = subprocess.run(
        [sys.executable, str(script)],
        cwd=home,
        env={**environment(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr, process.stderr
    runs = [Run(*json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    return process.stdout.splitlines()[-1], runs


def test_one_worker_loads_each_model_once_and_tries_nothing_that_cannot_fit(tmp_path: Path) -> None:
    said, runs = measure(tmp_path)
    assert json.loads(said) == {"shown": 10, "lost": [], "told": 10, "running": 0}
    assert [(run.model, run.batch_size, run.loads) for run in runs] == [
        ("LLaMA-7B", 1, True),
        ("LLaMA-7B", 2, False),
        ("LLaMA-7B", 4, False),  # does not fit: 8 and 16 are not tried
        ("TinyLlama-1.1B", 1, True),
        *[("TinyLlama-1.1B", size, False) for size in (2, 4, 8, 16)],
    ]
    records, _ = read(tmp_path / "out")
    assert len(records) == len({record.key for record in records}) == 10
    reasons = {record.configuration.batch_size: record.refusal.reason for record in records if record.refusal}
    assert reasons[4] == "does not fit: lacks 4e+09 bytes"
    assert reasons[8] == reasons[16] == "not tried: batch 4 already does not fit (20 GB asked, 16 GB there)"


def test_two_workers_take_different_models(tmp_path: Path) -> None:
    models = ("LLaMA-7B", "TinyLlama-1.1B", "OpenLLaMA-3B", "SmolLM2-135M")
    said, runs = measure(tmp_path, models=models, sizes=(1, 2, 4), gpus=2, too_large={})
    assert json.loads(said)["told"] == 12
    assert len(runs) == 12
    assert len({run.worker for run in runs}) == 2
    # At least one load for each model; the bound is that of the pure test of the order, and at random 12 runs of two
    # workers would load 9 times and more.
    assert 4 <= sum(run.loads for run in runs) <= 4 + 2 * 2


def test_a_larger_batch_already_in_flight_finishes_and_the_rest_is_not_tried(tmp_path: Path) -> None:
    said, runs = measure(tmp_path, models=("LLaMA-7B",), gpus=2, too_large={"LLaMA-7B": 1})
    assert json.loads(said)["told"] == 5
    assert sorted(run.batch_size for run in runs) == [1, 2]
    reasons = {r.configuration.batch_size: r.refusal.reason for r in read(tmp_path / "out")[0] if r.refusal}
    assert reasons[1] == reasons[2] == "does not fit: lacks 4e+09 bytes"
    # Whichever of the two that ran side by side was told first.
    assert {reasons[size][:20] for size in (4, 8, 16)} <= {"not tried: batch 1 a", "not tried: batch 2 a"}


def test_interrupted_twice_it_still_tries_nothing_that_cannot_fit_and_keeps_one_record_each(tmp_path: Path) -> None:
    # The third record is the one that does not fit, so the first stop falls before it and the second on an implied one.
    assert measure(tmp_path, interrupt_after=2)[0] == "interrupted"
    assert measure(tmp_path, interrupt_after=2)[0] == "interrupted"
    said, runs = measure(tmp_path)
    assert json.loads(said)["told"] == 10
    records, damaged = read(tmp_path / "out")
    assert damaged == []
    assert len(records) == len({record.key for record in records}) == 10
    assert max(run.batch_size for run in runs if run.model == "LLaMA-7B") == 4
    # What was in flight at a stop is run again, nothing else: at most one more a stop, with one worker.
    assert sum(Counter((run.model, run.batch_size) for run in runs).values()) <= 8 + 2


def test_where_everything_left_is_implied_nothing_is_tried(tmp_path: Path) -> None:
    measure(tmp_path, models=("LLaMA-7B",))
    path = tmp_path / "out" / "records.jsonl"
    kept = [record for record in read(tmp_path / "out")[0] if record.configuration.batch_size <= 4]
    path.write_bytes(b"".join(encode(record) + b"\n" for record in kept))
    said, runs = measure(tmp_path, models=("LLaMA-7B",))
    assert json.loads(said) == {"shown": 2, "lost": [], "told": 5, "running": 0}
    assert len(runs) == 3  # those of the first sweep


def test_a_kind_nobody_has_is_bad_input_unless_it_is_only_looked_at_for_doubt() -> None:
    here = [Node(node_id="a", host="a", kind="RTX6000Ada", gpus=1, cpus=8)]
    asked = [Demand(kind=kind, gpus=1, cpus=1) for kind in SPACE.gpus]
    t4s, adas = ([each for each in POINTS if each.gpu == gpu] for gpu in SPACE.gpus)
    searching = guided(ListedGuide(adas, falling_to(0.01, after=3), doubted=t4s))
    with pytest.raises(BadInput, match=r"a trial needs .*T4.* on one node; there is a \(1 RTX6000Ada\)"):
        require_room(searching, asked, here)
    run_all(searching, by=fits, most=3)
    assert searching.in_doubt == ("T4",)
    require_room(searching, asked, here)  # the sweep waits for it as for a node that left, and then answers
    searching.close(lambda configuration: configuration.gpu == "T4")
    assert searching.stopped_by == "chance"
