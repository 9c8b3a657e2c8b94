"""`--second-life GPU=POLICY,...`: what devices that are not new are charged for their making."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Final

import click

from carbonsweep.second_life import POLICIES, SecondLife
from carbonsweep.units import S_PER_YEAR

FIRST_LIFETIME_YEARS: Final = 5.0
"""Of a device whose first lifetime is not stated: HotCarbon'24, section 3.1."""
MOST_YEARS: Final = 1000.0
VALID: Final = "all, none, left:AGE (as left:3y), or left:AGE/FIRST (left:3y/4y: 3 years old, planned for 4)"

_LEFT = re.compile(r"left:\s*([0-9.]+)\s*y?\s*(?:/\s*([0-9.]+)\s*y?)?\s*")


class SecondLives(click.ParamType[tuple[SecondLife, ...]]):
    """A comma-separated list of GPU=POLICY, a TOML array of them, or a TOML table GPU = "POLICY".

    Devices that are charged all are left out: that is what happens to every device nobody names.
    """

    name = "gpu=policy,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[SecondLife, ...]:
        if isinstance(value, dict):
            parts = [f"{device}={policy}" for device, policy in value.items()]
        else:
            parts = [str(part) for part in value] if isinstance(value, list | tuple) else str(value).split(",")
        named: dict[str, SecondLife] = {}
        for part in parts:
            one = self._one(part, param, ctx)
            if one.device in named:
                self.fail(f"{one.device} is named twice: give it one policy", param, ctx)
            named[one.device] = one
        return tuple(one for _, one in sorted(named.items()) if one.policy != "all")

    def _one(self, part: str, param: click.Parameter | None, ctx: click.Context | None) -> SecondLife:
        from carbonsweep import facts

        device, equals, policy = (piece.strip() for piece in part.partition("="))
        if not device or not equals or not policy:
            self.fail(f"{part.strip()!r} is not GPU=POLICY: a policy is {VALID}", param, ctx)
        name, policy = facts.device_key(device), policy.casefold()
        for known in POLICIES:
            if policy == known != "left":
                return SecondLife(device=name, policy=known)
        found = _LEFT.fullmatch(policy)
        years = [] if found is None else [_years(text) for text in found.groups(default=str(FIRST_LIFETIME_YEARS))]
        if not years or not (0 <= years[0] <= MOST_YEARS and 0 < years[1] <= MOST_YEARS):
            self.fail(f"{part.strip()!r} names no policy for {name}: valid are {VALID}", param, ctx)
        age_s, first_lifetime_s = (each * S_PER_YEAR for each in years)
        return SecondLife(device=name, policy="left", age_s=age_s, first_lifetime_s=first_lifetime_s)


def _years(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # 1.2.3
        return math.nan


def unused(second_lives: Iterable[SecondLife], devices: Iterable[str]) -> tuple[str, ...]:
    """Devices with a second life that are not among `devices`: a policy without effect is a mistake."""
    known = set(devices)
    return tuple(one.device for one in second_lives if one.device not in known)


def second_life_option(command: Any) -> Any:
    """The option itself; None where it is not given."""
    return click.option(
        "--second-life",
        type=SecondLives(),
        metavar="GPU=POLICY,...",
        help="Embodied carbon a GPU that is not new is charged: all, none (sunk), or left:AGE, what a linear write-off "
        f"over its first life of {FIRST_LIFETIME_YEARS:g} years (left:AGE/FIRST: over FIRST) has left. [default: all]",
    )(command)
