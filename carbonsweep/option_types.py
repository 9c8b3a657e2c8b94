"""Types of command-line options: every number is checked where it is typed; NaN and infinity are no numbers to us."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from carbonsweep.units import S_PER_HOUR, S_PER_MIN

Command = TypeVar("Command", bound=Callable[..., Any])

FUNCTIONAL_UNITS: Final = ("1k-output-tokens", "output-token", "prompt", "prompt-token")


@dataclass(frozen=True, slots=True)
class Bounds:
    """A closed interval, and what a message calls it."""

    low: float
    high: float
    text: str


# Wide enough for any machine, narrow enough that no product of them overflows or vanishes.
POSITIVE: Final = Bounds(1e-9, 1e9, "a finite number above 0 (from 1e-9 to 1e9)")
NOT_NEGATIVE: Final = Bounds(0, 1e9, "a finite number, 0 or more (up to 1e9)")
SHARE: Final = Bounds(1e-6, 1, "a share above 0 and at most 1 (from 1e-6)")
PUE: Final = Bounds(1, 100, "a finite number, 1 or more (up to 100)")
YEARS: Final = Bounds(0.01, 1000, "a finite number of years above 0 (from 0.01 to 1000)")


class Number(click.ParamType[float]):
    """A finite float inside `bounds`; refuses NaN, infinity and booleans."""

    name = "number"

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not self.bounds.low <= number <= self.bounds.high:
            self.fail(f"{value!r} is not {self.bounds.text}", param, ctx)
        return number


NO_RATE: Final = "none"
_SECONDS_OF: Final = {"": 1.0, "s": 1.0, "min": S_PER_MIN, "h": S_PER_HOUR, "day": 24 * S_PER_HOUR}


class RequestRate(click.ParamType[float | str]):
    """Prompts per second, from a number or N/s, N/min, N/h, N/day; NO_RATE where none is to be stated any more."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        text = str(value).strip().casefold()
        if text == NO_RATE:
            return NO_RATE
        number, _, per = (part.strip() for part in text.partition("/"))
        try:
            rate_per_s = math.nan if isinstance(value, bool) else float(number) / _SECONDS_OF[per]
        except (ValueError, KeyError):
            rate_per_s = math.nan
        if not POSITIVE.low <= rate_per_s <= POSITIVE.high:
            self.fail(
                f"{value!r} is no rate of prompts: write prompts per second as 2.5, or 150/min, 9000/h, 200000/day "
                f"(above 0), or {NO_RATE}",
                param,
                ctx,
            )
        return rate_per_s


class Words(click.ParamType[tuple[str, ...]]):
    """A comma-separated list, or a TOML array of strings."""

    name = "a,b,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        words = tuple(str(part).strip() for part in parts)
        if not words or not all(words):
            self.fail(f"{value!r} has an empty entry: list at least one value, separated by commas", param, ctx)
        return words


class Counts(click.ParamType[tuple[int, ...]]):
    """A comma-separated list of whole numbers, each at least 1, or a TOML array of them."""

    name = "n,m,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        counts = tuple(self._count(part, param, ctx) for part in parts)
        if not counts:
            self.fail("the list is empty: give at least one whole number, 1 or more", param, ctx)
        return counts

    def _count(self, part: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            count = int(part) if isinstance(part, int) and not isinstance(part, bool) else int(str(part).strip())
        except ValueError:
            count = 0
        if not 1 <= count <= 2**20:
            self.fail(f"{str(part)!r} is not a whole number from 1 to {2**20}", param, ctx)
        return count


def applied(command: Command, *options: Callable[[Command], Command]) -> Command:
    """The command with these options, in this order in its help."""
    for option in reversed(options):
        command = option(command)
    return command
