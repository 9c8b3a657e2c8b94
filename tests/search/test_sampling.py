"""Which sampler searches, with how many trials, and what is refused before anything runs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from optuna.samplers import GPSampler, NSGAIISampler, RandomSampler, TPESampler

from carbonsweep.errors import BadInput
from carbonsweep.search.sampling import (
    AUTO,
    CHANCE_LEFT,
    DEFAULT_TRIALS,
    SAMPLERS,
    Sampling,
    generation,
    optuna_sampler,
    require,
    sampling,
)
from tests.search.test_parameters import MIXED, PLAIN


def chosen(asked: str, **changes: Any) -> tuple[str, int]:
    """Sampler and trials for 84 measured configurations, with changes."""
    given: dict[str, Any] = {"size": 84, "trials": None, "free": False, "seed": 0, "chance_left": CHANCE_LEFT}
    made = sampling(asked, **{**given, **changes})
    return made.sampler, made.trials


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"free": True}, ("exhaustive", 84)),
        ({"free": True, "trials": 84}, ("exhaustive", 84)),
        ({"free": True, "trials": 83}, ("guided", 83)),
        ({"free": True, "size": DEFAULT_TRIALS + 1}, ("guided", DEFAULT_TRIALS)),
        ({"free": True, "size": 1400, "trials": 1400}, ("exhaustive", 1400)),
        ({}, ("guided", 84)),
        ({"trials": 1000}, ("guided", 84)),
        ({"trials": 10}, ("guided", 10)),
        ({"size": 1400}, ("guided", DEFAULT_TRIALS)),
        ({"rehearsed": True}, ("exhaustive", 84)),
        ({"rehearsed": True, "trials": 10}, ("random", 10)),  # what stands in for a GPU tells nothing about it
    ],
)
def test_auto_is_exhaustive_where_trials_are_free_and_all_are_allowed_else_guided(
    changes: dict[str, Any], expected: tuple[str, int]
) -> None:
    assert chosen(AUTO, **changes) == expected


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_name_is_what_it_says_whatever_the_bench(name: str) -> None:
    assert {chosen(name, free=free)[0] for free in (True, False)} == {name}


def test_without_trials_exhaustive_has_the_whole_space_and_the_others_the_default() -> None:
    assert chosen("exhaustive", size=1400) == ("exhaustive", 1400)
    assert {chosen(name, size=1400)[1] for name in SAMPLERS if name != "exhaustive"} == {DEFAULT_TRIALS}


def test_seed_and_chance_are_passed_on() -> None:
    made = sampling("guided", size=10, trials=None, free=False, seed=7, chance_left=0.2)
    assert made == Sampling(sampler="guided", trials=10, seed=7, chance_left=0.2)


def test_exhaustive_with_fewer_trials_than_configurations_is_refused() -> None:
    size = PLAIN.size
    require("exhaustive", PLAIN, size)
    require("exhaustive", PLAIN, None)
    with pytest.raises(BadInput, match=f"all {size} configurations, and --trials allows {size - 1}"):
        require("exhaustive", PLAIN, size - 1)


@pytest.mark.parametrize("missing", ["torch", "scipy"])
def test_gp_without_what_it_needs_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else there(name))
    with pytest.raises(BadInput, match=rf"--sampler gp needs {missing}, not installed.*pip install"):
        require("gp", PLAIN, None)
    for name in (AUTO, *SAMPLERS):
        if name != "gp":
            require(name, PLAIN, None)


@pytest.mark.parametrize("name", ["gp", "nsga2"])
def test_what_optuna_would_draw_at_random_in_silence_is_refused(name: str) -> None:
    # In MIXED only H100 and L4 have a choice of engine; every kind has one dtype.
    pytest.importorskip("torch", reason="gp needs the extra 'measure'")
    with pytest.raises(BadInput, match=f"--sampler {name} cannot search engine, of which"):
        require(name, MIXED, None)
    require(name, replace(MIXED, gpus=("CPU", "T4")), None)  # different, but nothing to choose
    require(name, replace(MIXED, gpus=("H100", "L4")), None)  # a choice, but the same
    require("tpe", MIXED, None)


def test_each_name_of_optuna_is_its_sampler_and_the_others_propose_nothing() -> None:
    classes: dict[str, type] = {"tpe": TPESampler, "nsga2": NSGAIISampler}
    for name in SAMPLERS:
        if name != "gp":
            made = optuna_sampler(name, trials=100, seed=0)
            assert type(made) is classes.get(name, RandomSampler)


def test_gp_is_optunas_gp() -> None:
    pytest.importorskip("torch", reason="gp needs the extra 'measure'")
    assert isinstance(optuna_sampler("gp", trials=100, seed=0), GPSampler)


def test_a_generation_of_nsga2_leaves_room_for_others() -> None:
    # A fifth of the budget, at least 4, at most Optuna's own 50.
    assert [generation(trials) for trials in (1, 20, 42, 100, 250, 10_000)] == [4, 4, 8, 20, 50, 50]
    made = optuna_sampler("nsga2", trials=42, seed=0)
    assert isinstance(made, NSGAIISampler)
    assert made.population_size == 8


def test_the_names_load_nothing_heavy() -> None:
    script = (
        "import sys, carbonsweep.search.sampling; print({'optuna', 'torch', 'numpy', 'sklearn'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
