"""Commands run as a user runs them: a process of their own, a home of their own, no cluster but their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from carbonsweep.domain import TrialRecord
from carbonsweep.records import decode

TIMEOUT_S = 240


def environment(home: Path) -> dict[str, str]:
    """This environment, with `home` as HOME (there are Ray's token and our spools), without a cluster setting."""
    foreign = ("RAY_", "TUNE_", "CARBONSWEEP_", "XDG_STATE_HOME")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return {**kept, "HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default", "COLUMNS": "200"}


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """`python -m carbonsweep ARGUMENTS`, in `home` as working folder."""
    return subprocess.run(
        [sys.executable, "-m", "carbonsweep", *arguments],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def interrupt_after(records: int, *arguments: str, home: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The same, sent one SIGINT once `out` holds that many records."""
    process = subprocess.Popen(
        [sys.executable, "-m", "carbonsweep", *arguments],
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if line_count(out / "records.jsonl") >= records:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.02)
    output, errors = process.communicate(timeout=TIMEOUT_S)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def line_count(path: Path) -> int:
    """Finished lines of a file, 0 where there is none."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def spooled(home: Path) -> list[TrialRecord]:
    """Finished records that workers under this `home` keep."""
    files = sorted((home / ".local" / "state" / "carbonsweep" / "spool").glob("*/*.json"))
    return [decode(file.read_bytes()) for file in files]


def assert_one_line_error(process: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """It ended with `code`, said why in one line on stderr that holds `words`, and printed nothing else."""
    assert process.returncode == code, process.stderr
    assert process.stdout == ""
    assert process.stderr.startswith("carbonsweep: "), process.stderr
    assert process.stderr.count("\n") == 1, process.stderr
    for word in words:
        assert word in process.stderr
