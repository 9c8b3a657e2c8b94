"""Writing: an engine is replaced and its neighbours are left as they stand; draws are whole or refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from carbonsweep.calibration.comparison import differences
from carbonsweep.calibration.writing import DRAW_COUNT, draws_text, engines_text, rounded, write_draws, write_engines
from carbonsweep.errors import BadInput

BEFORE = """# Engines.

[paper]
host_s = 1.0  # a comment
[paper.gpu.T4]
host_s = 2.0

[vllm]
host_s = 3.0
[vllm.gpu.H100]
host_s = 4.0

[last]
host_s = 5.0
"""


def test_one_engine_is_replaced_and_every_other_line_stays() -> None:
    after = engines_text(BEFORE, {"vllm": {"host_s": 0.5, "source": 'a "word"', "gpu": {"A10G": {"host_s": 7.0}}}})
    assert tomllib.loads(after) == {
        "paper": {"host_s": 1.0, "gpu": {"T4": {"host_s": 2.0}}},
        "vllm": {"host_s": 0.5, "source": 'a "word"', "gpu": {"A10G": {"host_s": 7.0}}},
        "last": {"host_s": 5.0},
    }
    assert after.startswith("# Engines.\n\n[paper]\nhost_s = 1.0  # a comment\n[paper.gpu.T4]\n")
    assert engines_text(after, {}) == after


def test_a_new_engine_comes_last() -> None:
    assert list(tomllib.loads(engines_text(BEFORE, {"new": {"host_s": 1.0}}))) == ["paper", "vllm", "last", "new"]


def test_what_is_no_number_is_not_written() -> None:
    with pytest.raises(ValueError, match="nan"):
        rounded(float("nan"))
    assert rounded(0.123456) == 0.1235
    with pytest.raises(TypeError, match="list"):
        engines_text(BEFORE, {"new": {"host_s": [1.0]}})


def test_draws_of_one_engine_are_replaced_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "draws.json"
    write_draws({"paper": {"T4": {"host_s": [1.0] * DRAW_COUNT}}}, seed=7, path=path)
    write_draws({"vllm": {"": {"host_s": [2.0] * DRAW_COUNT}}}, seed=7, path=path)
    write_draws({"vllm": {"": {"other": [3.0] * DRAW_COUNT}}}, seed=7, path=path)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found == {
        "draws": DRAW_COUNT,
        "seed": 7,
        "rows": {
            "paper": {"T4": {"host_s": [1.0] * DRAW_COUNT}},
            "vllm": {"": {"other": [3.0] * DRAW_COUNT}},
        },
    }


def test_draws_that_are_not_whole_are_refused() -> None:
    with pytest.raises(BadInput, match="draws of vllm on any GPU: host_s must have 64 values"):
        draws_text(None, {"vllm": {"": {"host_s": [1.0, 2.0]}}}, 7)


def test_a_refit_is_compared_number_by_number(tmp_path: Path) -> None:
    rows = {"vllm": {"host_s": 1.0, "source": "x", "gpu": {"H100": {"host_s": 2.0}}}}
    draws = {"vllm": {"": {"host_s": [1.0] * DRAW_COUNT}}}
    with pytest.raises(BadInput, match=r"engines\.toml cannot be read"):
        differences(rows, draws, tmp_path)
    (tmp_path / "engines.toml").write_text(BEFORE, encoding="utf-8")
    write_engines(rows, tmp_path / "engines.toml")
    write_draws(draws, seed=7, path=tmp_path / "engine_draws.json")
    assert differences(rows, draws, tmp_path) == []
    whole = {"vllm": {"host_s": 1, "source": "x", "gpu": {"H100": {"host_s": 2}}}}  # whole numbers are written as 1.0
    assert differences(whole, draws, tmp_path) == []
    near = {"vllm": {"host_s": 1.001, "source": "y", "gpu": {"H100": {"host_s": 2.0}}}}
    assert differences(near, draws, tmp_path) == []
    other = {"vllm": {"host_s": 1.0, "source": "x", "gpu": {"H100": {"host_s": 2.5}, "T4": {"host_s": 1.0}}}}
    moved = {"vllm": {"": {"host_s": [1.0] * (DRAW_COUNT - 1) + [2.0]}}}
    assert differences(other, moved, tmp_path) == [
        "engines.toml, vllm, gpu, H100, host_s: 2 is committed, 2.5 is fitted",
        "engines.toml, vllm, gpu, T4: not committed",
        "engine_draws.json, vllm, any other GPU, host_s: 1 of 64 draws differ",
    ]
