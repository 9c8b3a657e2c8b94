"""Draws of the fits: read as they are written, or refused with the place and what would be valid."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from carbonsweep.errors import CarbonsweepError
from carbonsweep.facts.draws import FitDraws, fit_draws, fit_draws_of
from carbonsweep.facts.engines import EngineFactError


def written(**changes: Any) -> bytes:
    start: dict[str, Any] = {
        "draws": 2,
        "seed": 7,
        "rows": {
            "paper": {
                "T4": {"bandwidth_efficiency": [0.5, 0.6]},
                "": {"bandwidth_efficiency": [0.7, 0.8], "time_factor": [1.0, 1.5]},
            }
        },
    }
    return json.dumps({**start, **changes}).encode()


def test_a_gpu_has_its_own_row_whole_or_that_of_any_gpu() -> None:
    draws = fit_draws_of(written())
    assert (draws.draws, draws.seed) == (2, 7)
    assert draws.of("paper", "T4") == {"bandwidth_efficiency": (0.5, 0.6)}
    assert draws.of("paper", "L4") == {"bandwidth_efficiency": (0.7, 0.8), "time_factor": (1.0, 1.5)}


def test_an_engine_that_was_not_fitted_has_none() -> None:
    draws = fit_draws_of(written())
    assert draws.of("healthy", "T4") is None
    assert FitDraws(draws=2, seed=0, rows={"paper": {"T4": {}}}).of("paper", "L4") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "cannot be used"),
        (b"{", "cannot be used"),
        (b"\xff\xfe", "cannot be used"),
        (b"[" * 100_000, "cannot be used"),
        (b"[]", "object"),
        (b'{"draws": 2, "seed": 1}', "rows"),
        (written(more=1), "more"),
        (written(draws=1), "draws is 1, valid is 2 to"),
        (written(draws=10**9), "draws is 1000000000"),
        (written(draws="2"), "int"),
        (written(draws=3), "2 values"),
        (written(rows={"no-such": {}}), "engine 'no-such'"),
        (written(rows={"paper": {"T5": {}}}), "paper: GPU 'T5'"),
        (written(rows={"paper": {"": {"speed": [1, 2]}}}), "paper, any GPU, speed"),
        (written(rows={"paper": {"": {"source": [1, 2]}}}), "paper, any GPU, source"),
        (written(rows={"paper": {"": {"decode_time_error": [1, 2]}}}), "decode_time_error"),
        (written(rows={"paper": {"T4": {"time_factor": [1, 0]}}}), "paper, T4, time_factor: [0.0]"),
        (written(rows={"paper": {"T4": {"power_factor": [1, -1]}}}), "factors above 0"),
        (written(rows={"paper": {"T4": {"kv_power": [1, "x"]}}}), "Expected `float`"),
        (written(rows={"paper": {"T4": {"kv_power": 1}}}), "Expected `array`"),
        (written().replace(b"0.5", b"NaN"), "cannot be used"),
        (written().replace(b"0.5", b"1e999"), "cannot be used"),
    ],
)
def test_what_cannot_be_used_is_refused_and_the_place_named(text: bytes, said: str) -> None:
    with pytest.raises(EngineFactError, match=r"engine_draws\.json") as raised:
        fit_draws_of(text)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 500


def test_the_package_loads_its_own_draws_or_has_none() -> None:
    found = fit_draws()
    if found is not None:
        values = [v for by_gpu in found.rows.values() for f in by_gpu.values() for each in f.values() for v in each]
        assert all(map(math.isfinite, values))


def test_a_file_nobody_can_use_ends_a_command_and_not_in_a_traceback() -> None:
    assert issubclass(EngineFactError, CarbonsweepError)
