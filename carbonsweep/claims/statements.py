"""The paper's claims, takeaways and contradictions as `facts/claims.toml` states them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

import msgspec

from carbonsweep.errors import CarbonsweepError, UnknownFact

Kind = Literal["ratio", "share", "peak", "order", "fact"]


class ClaimFactError(CarbonsweepError):
    """A claims table that does not load; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim: `values` by label, in the unit the label names (ratios and shares have none).

    `judged` is "reported" for a value that is shown, and neither fitted nor counted as met or missed. `digit` is the
    last digit the paper prints of a value, in the value's unit; 0 where nothing was rounded.
    """

    id: str
    section: str
    kind: Kind
    text: str
    values: Mapping[str, float] = field(default_factory=dict)
    judged: Literal["verdict", "reported"] = "verdict"
    digit: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A takeaway, or a contradiction of the paper."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    claim: tuple[Claim, ...]
    takeaway: tuple[Statement, ...]
    finding: tuple[Statement, ...]


def claims() -> tuple[Claim, ...]:
    """Every claim, in the paper's order. Raises ClaimFactError."""
    return _tables().claim


def claim(name: str) -> Claim:
    """The claim with that id ("C07"). Raises UnknownFact."""
    found = {each.id: each for each in claims()}
    if name not in found:
        raise UnknownFact("claim", name, found)
    return found[name]


def takeaways() -> tuple[Statement, ...]:
    """The paper's five takeaways. Raises ClaimFactError."""
    return _tables().takeaway


def contradictions() -> tuple[Statement, ...]:
    """What in the paper does not agree with itself or with physics. Raises ClaimFactError."""
    return _tables().finding


@functools.cache
def _tables() -> _Tables:
    text = files("carbonsweep.facts").joinpath("claims.toml").read_text(encoding="utf-8")
    try:
        return msgspec.convert(tomllib.loads(text), _Tables)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ClaimFactError(f"claims.toml: {error}") from error
