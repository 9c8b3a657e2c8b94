"""Trials through Ray when things die: a worker, the disk, the bench itself."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from carbonsweep.records import read
from tests.running import TIMEOUT_S, environment

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys
from pathlib import Path
from carbonsweep import inputs
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.errors import StorageFailed
from carbonsweep.records import OutputFolder
from carbonsweep.search.space import space
from carbonsweep.search.study import Search, journal
from carbonsweep.search.sweep import sweep

class Bench(RooflineBench):
    def measure(self, configuration, workload):
        {trouble}
        return super().measure(configuration, workload)

searched = space(models=("TinyLlama-1.1B",), gpus=("T4", "RTX6000Ada"), gpu_counts=(1,), batch_sizes=(1, 2, 4),
                 dtypes=("fp16",), engines=("paper",))
scenario = inputs.scenario({{"region": "QC"}}, searched.gpus)
question = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=scenario)
with OutputFolder(Path("out")) as folder:
    search = Search(space=searched, question=question, name="s", trials=6, seed=0, known={{}},
                    storage=journal(folder.folder))
    {before}
    shown = []
    try:
        lost = sweep(search=search, bench=Bench(), workload=inputs.workload(prompts=None, output_tokens=8, seed=0),
                     out=folder, observe=shown.append)
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
