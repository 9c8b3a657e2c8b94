"""What `--placement`, `--link` and `--most-per-pool` ask for."""

from __future__ import annotations

import pytest

from carbonsweep import facts
from carbonsweep.errors import BadInput, UnknownFact
from carbonsweep.placement_option import sought

BEFORE = {"placement": {"asked": "any", "links": ["PCIe4", "10GbE"], "most_per_pool": 2}}


def test_without_options_nothing_is_split() -> None:
    assert sought({}) is None
    assert sought({"placement": "colocated"}) is None


def test_a_split_is_sought_over_100_gigabit_unless_links_are_named() -> None:
    asked = sought({"placement": "any"})
    assert asked is not None
    assert ([link.key for link in asked.links], asked.most_per_pool) == (["100GbE"], 4)
    named = sought({"placement": "split", "link": ("pcie4", "PCIE4", "10gbe"), "most_per_pool": 1})
    assert named is not None
    assert ([link.key for link in named.links], len(named.pools)) == (["PCIe4", "10GbE"], 1)


def test_all_links_are_those_of_the_table() -> None:
    asked = sought({"placement": "any", "link": ("all",)})
    assert asked is not None
    assert [link.key for link in asked.links] == list(facts.links())


def test_re_pricing_asks_as_before_unless_told_otherwise() -> None:
    before = sought({}, BEFORE)
    assert before is not None
    assert (before.choice, [link.key for link in before.links], before.most_per_pool) == ("any", ["PCIe4", "10GbE"], 2)
    assert sought({"placement": "colocated"}, BEFORE) is None
    changed = sought({"link": ("100GbE",)}, BEFORE)
    assert changed is not None
    assert (changed.choice, [link.key for link in changed.links]) == ("any", ["100GbE"])


def test_a_link_without_a_split_is_refused() -> None:
    with pytest.raises(BadInput, match="--link and --most-per-pool is about splits"):
        sought({"link": ("PCIe4",), "most_per_pool": 2})
    with pytest.raises(BadInput, match="--link"):
        sought({"placement": "colocated", "link": ("PCIe4",)})


def test_an_unknown_link_is_refused() -> None:
    with pytest.raises(UnknownFact, match="PCIe4"):
        sought({"placement": "any", "link": ("PCIe9",)})
    with pytest.raises(UnknownFact, match="PCIe9"):  # all of them says nothing of this one
        sought({"placement": "any", "link": ("all", "PCIe9")})


@pytest.mark.parametrize(
    "section",
    [
        {"asked": "any"},
        "any",
        {"asked": 3, "links": ["PCIe4"], "most_per_pool": 1},
        {"asked": "any", "links": [], "most_per_pool": 1},
        {"asked": "any", "links": ["PCIe4"], "most_per_pool": 0},
        {"asked": "any", "links": ["PCIe4"], "most_per_pool": 10**9},
    ],
)
def test_an_answer_that_cannot_be_read_is_refused(section: object) -> None:
    with pytest.raises(BadInput, match="placement"):
        sought({}, {"placement": section})


def test_small_placements_come_first() -> None:
    asked = sought({"placement": "any", "most_per_pool": 3})
    assert asked is not None
    assert [(p.prefill, p.decode) for p in asked.pools] == [
        *((1, 1), (1, 2), (2, 1), (1, 3), (2, 2), (3, 1), (2, 3), (3, 2), (3, 3))
    ]
