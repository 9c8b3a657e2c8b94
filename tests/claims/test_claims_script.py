"""`python -m analysis.claims`: prints the verdicts, writes the account, and says in one line why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from carbonsweep.calibration.paper_parameters import PARAMETERS
from carbonsweep.claims.statements import claims, contradictions

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "analysis.claims", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_the_account_says_modelled_and_holds_every_claim_finding_and_parameter(tmp_path: Path) -> None:
    out = tmp_path / "claims.md"
    done = run("--out", out)
    assert done.returncode == 0, done.stderr
    assert "The paper's claims, modelled" in done.stdout
    assert "13 of 13 within 10 %" in done.stdout
    text = out.read_text(encoding="utf-8")
    assert "**All values are modelled.**" in text
    assert [each.id for each in claims() if f"\n| {each.id} |" not in text] == []
    assert [each.id for each in contradictions() if f"\n| {each.id} |" not in text] == []
    assert [p.field for p in PARAMETERS if f"\n| {p.field} | {p.gpu or 'both'} |" not in text] == []
    assert "## Claims left out\n\nEach claim left out" in text
    assert "unknown:" not in text  # the tables of what was left out are committed


def test_the_committed_account_is_what_the_script_writes(tmp_path: Path) -> None:
    out = tmp_path / "claims.md"
    assert run("--out", out).returncode == 0
    assert (ROOT / "experiments" / "results" / "claims.md").read_text(encoding="utf-8") == out.read_text(
        encoding="utf-8"
    )


def test_what_cannot_be_written_or_read_ends_with_one_line_and_code_2(tmp_path: Path) -> None:
    for arguments in (("--out", tmp_path / "x.txt"), ("--out", tmp_path / "no" / "x.md"), (tmp_path,)):
        done = run(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_shows_examples() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "python -m analysis.claims results/STUDY" in " ".join(done.stdout.split())
