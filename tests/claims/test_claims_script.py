"""`python -m analysis.claims`: prints the verdicts, writes the account, and says in one line why not."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.calibration.paper_parameters import ASSUMPTIONS, PARAMETERS
from carbonsweep.calibration.paper_stack import IDLE, committed
from carbonsweep.claims.cells import paper_points, paper_workload
from carbonsweep.claims.statements import claims, contradictions
from carbonsweep.records import OutputFolder
from carbonsweep.trial import trial

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
    assert "fitted to these claims" in text
    assert f"Free: {len(PARAMETERS)}, fewer than the 19 ratios and shares" in text
    # Every parameter near an end of its prior is named, and everything that was fixed by hand, idle power included.
    pairs = list(zip(PARAMETERS, committed(), strict=True))
    (near,) = (line for line in text.splitlines() if line.startswith("In the outer 10 % of a prior"))
    for p, value in pairs:
        named = f"`{p.field}` ({p.gpu or 'both'}) at" in near
        assert named == (not 0.1 <= p.place(value) <= 0.9), p.name
    (beyond,) = (line for line in text.splitlines() if line.startswith("Inside its prior and outside"))
    assert "`prefill_power_floor` (RTX6000Ada) 0.2851, seen 0.41 to 0.65" in beyond
    assert "`compute_efficiency`" not in beyond
    assert [field for field in (*ASSUMPTIONS, *IDLE) if f"\n| {field} |" not in text] == []
    # Beside each claim left out, what the fit to all of them gives.
    assert "| claim | what | paper | fitted | error | left out | error left out |" in text
    assert "\n| C02 | 7B b4 | 11.4 | 10.65 | -6.6 % | 8.448 | -25.9 % |" in text


def test_the_committed_account_is_what_the_script_writes(tmp_path: Path) -> None:
    out = tmp_path / "claims.md"
    assert run("--out", out).returncode == 0
    assert (ROOT / "experiments" / "results" / "claims.md").read_text(encoding="utf-8") == out.read_text(
        encoding="utf-8"
    )


def test_records_of_a_folder_leave_the_committed_account_alone_and_say_if_they_were_fitted(tmp_path: Path) -> None:
    committed_account = ROOT / "experiments" / "results" / "claims.md"
    before = committed_account.read_bytes()
    workload, points = paper_workload(), paper_points()
    for engine, fitted in (("paper", True), ("healthy", False)):
        folder = tmp_path / engine
        folder.mkdir()
        with OutputFolder(folder) as output:
            for i in range(2):  # 1B on the T4 at batch 1 and 2
                where = dataclasses.replace(points.configuration(i), engine=engine)
                output.append(trial(RooflineBench(), where, workload))
        done = run(folder)
        assert done.returncode == 0, done.stderr
        text = (folder / "claims.md").read_text(encoding="utf-8")
        assert "**All values are modelled.**" in text
        assert ("fitted to these claims" in text) == fitted
        assert ("## Fixed by hand" in text) == fitted
        assert "| C01 | 1B | 1.1 | unknown |  | not judged | no record" in text
    assert committed_account.read_bytes() == before


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
