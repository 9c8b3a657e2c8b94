"""Where the public measurements lie: CARBONSWEEP_DATA names the folder that holds `calibration/`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from carbonsweep.calibration.observations import Rows
from carbonsweep.calibration.rows import read


@pytest.fixture(scope="session")
def data() -> Path:
    named = os.environ.get("CARBONSWEEP_DATA")
    if not named:
        pytest.skip("CARBONSWEEP_DATA is not set: it names the folder with calibration/ in it")
    if not (Path(named) / "calibration").is_dir():
        pytest.skip(f"CARBONSWEEP_DATA has no folder calibration: {named}")
    return Path(named)


@pytest.fixture(scope="session")
def rows(data: Path) -> Rows:
    """Every row, read once."""
    return read(data)
