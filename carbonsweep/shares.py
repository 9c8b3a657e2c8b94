"""Shares as a person reads them, in per cent: one style wherever one is printed or drawn."""

from __future__ import annotations

from typing import Final

WHOLE_FROM: Final = 0.0995
"""A change from here on is read in whole per cent, a smaller one with a digit more."""


def percent(share: float, digits: int = 0) -> str:
    """With so many digits after the point; a whole one is never 0 or 100 where it is only nearly so."""
    if digits == 0 and 0 < share <= 0.005:
        return "under 1 %"
    if digits == 0 and 0.995 <= share < 1:
        return "over 99 %"
    return f"{100 * share:,.{digits}f} %"


def level_percent(share: float) -> str:
    """A level somebody chose, with the digits it was given."""
    return f"{100 * share:g} %"


def signed_percent(share: float, digits: int = 1) -> str:
    """The same of a change: with a plus before a growth."""
    return f"{100 * share:+,.{digits}f} %"


def change_percent(share: float, *, signed: bool = True) -> str:
    """A change: whole from 10 % on, one digit below."""
    if share == 0:
        return "0 %"
    return (signed_percent if signed else percent)(share, 0 if abs(share) >= WHOLE_FROM else 1)
