"""The console script: the same commands, and a quick `--help`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from carbonsweep.__main__ import COMMANDS
from tests.running import assert_one_line_error, environment, run


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_no_heavy_import(command: str, tmp_path: Path) -> None:
    script = (
        f"import sys\nfrom carbonsweep.{command} import main\nsys.argv = ['x', '--help']\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'ray', 'optuna', 'torch', 'numpy', 'pandas', 'matplotlib', 'rich', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert f"python -m carbonsweep.{command}" in process.stdout
    assert "Example" in process.stdout


def test_the_group_lists_every_command_and_the_version(tmp_path: Path) -> None:
    printed = run("--help", home=tmp_path).stdout
    for name in COMMANDS:
        assert name in printed
        assert callable(importlib.import_module(f"carbonsweep.{name}").main)
    assert "0.1.0" in run("--version", home=tmp_path).stdout


def test_no_command_is_the_help_not_one_long_line(tmp_path: Path) -> None:
    process = run(home=tmp_path)
    assert process.returncode == 2
    assert (process.stdout + process.stderr).count("\n") > 5
    assert "Traceback" not in process.stderr


def test_an_unknown_command_is_one_line(tmp_path: Path) -> None:
    assert_one_line_error(run("tuen", home=tmp_path), 2, "No such command 'tuen'")
