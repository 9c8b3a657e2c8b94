"""Engine rows: overrides where a GPU is known better, a source for each, numbers that can be."""

from __future__ import annotations

import math
import tomllib
from dataclasses import fields
from importlib.resources import files
from typing import Any

import pytest

from carbonsweep import facts
from carbonsweep.errors import UnknownFact
from carbonsweep.facts import engines
from carbonsweep.facts.engines import EngineFactError, engine, engine_key, engine_names

TABLES = tomllib.loads(files("carbonsweep.facts").joinpath("engines.toml").read_text(encoding="utf-8"))
KINDS = [(name, kind) for name in TABLES for kind in facts.gpus()]

# Shares of a peak, of TDP, of a card or of a time.
SHARES = (
    "sequence_busy",
    "bandwidth_efficiency",
    "compute_efficiency",
    "memory_share",
    "prefill_power_floor",
    "decode_power_floor",
    "compute_power",
    "kv_power",
    "kv_group_exponent",
    "power_area_share",
    "weight_bytes_factor",
    "cuda_core_efficiency",
)


def test_there_are_the_papers_stack_a_healthy_one_and_those_that_were_measured() -> None:
    measured = {"transformers", "transformers-gptq", "transformers-gptq-v2", "vllm", "tensorrt-llm", "deepspeed-mii"}
    assert set(engine_names()) == {"paper", "healthy", *measured}


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_row_loads_for_every_gpu_with_numbers_that_can_be(name: str, kind: str) -> None:
    row = engine(name, kind)
    for share in SHARES:
        assert 0 <= getattr(row, share) <= 1, share
    numbers = {field.name: getattr(row, field.name) for field in fields(row) if field.type == "float"}
    assert all(0 <= number < math.inf for number in numbers.values())  # an error may be beyond 1: the width of a guess
    assert min(row.bandwidth_efficiency, row.compute_efficiency, row.sequence_reference_flop_per_s) > 0
    assert row.attention_flop_factor in (2, 4)  # the causal half, or the full square
    assert row.source
    assert row.error_source


@pytest.mark.parametrize("name", TABLES)
def test_a_gpu_of_its_own_overrides_what_it_lists_and_nothing_else(name: str) -> None:
    general = engine(name, "A40")  # has no table of its own
    for kind, overrides in TABLES[name].get("gpu", {}).items():
        own = engine(name, kind)
        changed = {field.name for field in fields(own) if getattr(own, field.name) != getattr(general, field.name)}
        assert changed <= set(overrides)
        assert {key: getattr(own, key) for key in overrides} == overrides


def test_every_gpu_with_overrides_exists() -> None:
    named = {kind for row in TABLES.values() for kind in row.get("gpu", {})}
    assert named
    assert named <= set(facts.gpus())


def test_names_are_found_in_any_case_also_that_of_the_gpu() -> None:
    assert engine_key("PAPER") == "paper"
    assert engine("Paper", "t4") == engine("paper", "T4") != engine("paper", "A40")


def test_an_unknown_engine_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownFact, match="did you mean healthy"):
        engine("helthy", "T4")


def broken(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    engines._engine.cache_clear()
    row = {key: value for key, value in {**TABLES["healthy"], **changes}.items() if value is not None}
    monkeypatch.setattr(engines, "_tables", lambda: {"healthy": row})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": "  "}, "without a source"),
        ({"error_source": ""}, "without a source"),
        ({"source": None}, "source"),
        ({"kv_power": None}, "kv_power"),
        ({"kv_power": "much"}, "kv_power"),
        ({"kv_pwoer": 0.2}, "unknown fields kv_pwoer"),
        ({"gpu": {"T4": {"kv_pwoer": 0.2}}}, "unknown fields kv_pwoer"),
    ],
)
def test_a_row_that_is_incomplete_or_misspelt_does_not_load(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], says: str
) -> None:
    broken(monkeypatch, **changes)
    with pytest.raises(EngineFactError, match=says):
        engine("healthy", "T4")
    engines._engine.cache_clear()
