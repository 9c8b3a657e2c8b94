"""The command: what it refuses and how it says so; --check on what was just fitted, and on what was changed since."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from carbonsweep.calibrate import command
from carbonsweep.errors import BadInput


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the folder of measurements with --data DIR"),
        (["--check"], "nothing to fit"),
        (["--paper", "--records", "x"], "--records and --check are about rows"),
        (["--data", "nowhere", "--check"], "nowhere is no folder"),
        (["--data", "nowhere", "--out", "neither"], "--out neither is no folder"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_what_would_be(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(command, arguments)
    assert isinstance(outcome.exception, BadInput)
    assert says in str(outcome.exception)
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert "python -m carbonsweep.calibrate --data DATA --check" in text
    assert "--records DIR" in text
