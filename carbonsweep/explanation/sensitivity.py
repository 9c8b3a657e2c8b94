"""How the best's objective changes with one thing at a time: the scenario it is priced by, or the choices that made it.

Scenario: everything else as asked, the same records priced again; limits do not move. Choices: the best's neighbours
among the records, each as it was found. Nothing is run, and nothing interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from carbonsweep.domain import Configuration

EQUAL: Final = 1e-9
"""Two values this close, relative to them, are one: arrays and single records round differently."""
Kind = Literal["scenario", "choice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value of a factor. `value` is the objective in its unit, `change` relative to the best's as asked.

    Of a scenario's setting `value` is that of the answer's best, and `winner` who is best there where another is. Of a
    choice it is that of `configuration`; `note` says what keeps it from being feasible. None is unknown.
    """

    label: str
    value: float | None
    change: float | None
    winner: Configuration | None = None
    configuration: Configuration | None = None
    is_feasible: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Settings in a row where the same other configuration is best: `first` to `last`, so many."""

    winner: Configuration
    first: str
    last: str
    settings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """A factor with its settings in order; `here` is the one asked or chosen, `unknown` why there are none."""

    factor: str
    kind: Kind
    here: str
    settings: tuple[Setting, ...]
    unknown: str | None = None

    @property
    def known(self) -> tuple[Setting, ...]:
        """Settings with a change, in order."""
        return tuple(setting for setting in self.settings if setting.change is not None)

    @property
    def low(self) -> Setting | None:
        """Where the objective is lowest."""
        return min(self.known, key=lambda s: s.change or 0.0, default=None)

    @property
    def high(self) -> Setting | None:
        """Where it is highest."""
        return max(self.known, key=lambda s: s.change or 0.0, default=None)

    @property
    def size(self) -> float:
        """The largest change in either direction, relative; 0 where none is known."""
        return max((abs(s.change) for s in self.known if s.change is not None), default=0.0)

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Where another configuration is best, in the order of the settings."""
        found: list[Stretch] = []
        before: Configuration | None = None
        for setting in self.settings:
            if setting.winner is not None and setting.winner == before:
                last = found.pop()
                found.append(
                    Stretch(winner=last.winner, first=last.first, last=setting.label, settings=last.settings + 1)
                )
            elif setting.winner is not None:
                found.append(Stretch(winner=setting.winner, first=setting.label, last=setting.label, settings=1))
            before = setting.winner
        return tuple(found)


def largest_first(sensitivities: Iterable[Sensitivity]) -> tuple[Sensitivity, ...]:
    """By size; those without a known change last, in the order given."""
    return tuple(sorted(sensitivities, key=lambda s: -s.size))


def relative(value: float | None, to: float) -> float | None:
    """Change of a value relative to another, 0 within EQUAL; None where it is unknown, or the other is 0."""
    if value is None or to == 0:
        return None
    change = (value - to) / abs(to)
    return 0.0 if abs(change) <= EQUAL else change
