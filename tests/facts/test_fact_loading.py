"""What does not load as a fact."""

from __future__ import annotations

import pickle

import pytest

from carbonsweep.errors import CarbonsweepError
from carbonsweep.facts import FactError
from carbonsweep.facts.loading import rows_of
from carbonsweep.facts.rows import Gpu, Grid, Memory

SOUND = """
[ddr9]
g_per_gb = 12
estimated = ["g_per_gb"]
[ddr9.source]
default = "a table"
g_per_gb = "a guess"
"""


def memories(text: str) -> dict[str, Memory]:
    return dict(rows_of(text, Memory, table="memories.toml"))


def test_a_sound_row_loads_with_its_key_and_its_types() -> None:
    row = memories(SOUND)["ddr9"]
    assert (row.key, row.g_per_gb, row.estimated) == ("ddr9", 12.0, ("g_per_gb",))
    assert isinstance(row.g_per_gb, float)


@pytest.mark.parametrize(
    ("found", "instead", "reason"),
    [
        ("g_per_gb = 12", 'g_per_gb = "12"', "g_per_gb"),
        ("g_per_gb = 12", "g_per_gb = true", "g_per_gb"),
        ("g_per_gb = 12", "g_per_gb = nan", "g_per_gb is nan"),
        ("g_per_gb = 12", "g_per_gb = inf", "g_per_gb is inf"),
        ("g_per_gb = 12", "g_per_gb = -1", "g_per_gb is -1"),
        ("g_per_gb = 12", "g_per_gb = 0", "g_per_gb is 0"),
        ("g_per_gb = 12", "g_per_gb = 12\ng_per_gib = 12", "g_per_gib is no field"),
        ("g_per_gb = 12", 'g_per_gb = 12\nkey = "x"', "key is no field"),
        ("g_per_gb = 12\n", "", "g_per_gb"),
        ('estimated = ["g_per_gb"]', 'estimated = ["weight"]', "estimated names 'weight'"),
        ('estimated = ["g_per_gb"]', 'estimated = "g_per_gb"', "estimated is not a list"),
        ('default = "a table"', "", "source has no default"),
        ('default = "a table"', 'default = " "', "source.default is empty"),
        ('default = "a table"', "default = 3", "source.default is empty"),
        ('g_per_gb = "a guess"', 'weight = "a guess"', "source.weight is no field"),
        ('[ddr9.source]\ndefault = "a table"\ng_per_gb = "a guess"', "", "source has no default"),
    ],
)
def test_a_row_that_cannot_be_trusted_is_refused_by_table_row_and_field(found: str, instead: str, reason: str) -> None:
    assert found in SOUND
    with pytest.raises(FactError) as caught:
        memories(SOUND.replace(found, instead))
    assert str(caught.value).startswith("memories.toml [ddr9]: ")
    assert reason in str(caught.value)


def test_a_source_that_is_one_string_is_refused() -> None:
    with pytest.raises(FactError, match="source has no default"):
        memories('[ddr9]\ng_per_gb = 12\nsource = "a table"')


def test_nan_inside_a_mapping_is_refused() -> None:
    text = '[X]\npeak_flop_per_s = { fp16 = nan }\n[X.source]\ndefault = "a data sheet"'
    with pytest.raises(FactError, match=r"peak_flop_per_s\.fp16 is nan"):
        rows_of(text, Gpu, table="gpus.toml")


def test_a_table_that_is_no_toml_is_refused_with_the_line() -> None:
    with pytest.raises(FactError, match=r"memories\.toml: .*line 2"):
        memories("[ddr9]\ng_per_gb: 12\n")


def test_a_row_that_is_no_table_is_refused() -> None:
    with pytest.raises(FactError, match=r"\[ddr9\]: is int"):
        memories("ddr9 = 12")


def test_two_keys_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(FactError, match="but for case"):
        memories(SOUND + SOUND.replace("ddr9", "DDR9"))


def test_a_basis_nobody_published_is_none() -> None:
    text = '[X]\nname = "X"\nyear = 2023\nlifecycle_g_per_kwh = 5\n[X.source]\ndefault = "a table"'
    assert rows_of(text, Grid, table="grids.toml")["X"].direct_g_per_kwh is None


def test_a_fact_error_is_in_the_tree_and_survives_pickling() -> None:
    error = FactError("gpus.toml", "T4", "why")
    assert isinstance(error, CarbonsweepError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "gpus.toml [T4]: why"
