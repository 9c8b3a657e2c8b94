"""A guide that suggests in a given order and says the chances it was given, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from carbonsweep.domain import Configuration, TrialRecord

Asked = tuple[frozenset[Configuration], frozenset[Configuration], frozenset[Configuration]]
"""Configurations with a record, running, closed."""


@dataclass
class ListedGuide:
    """`chance` is of the number of records, measured or refused. Rivals: of `doubted` the first of each new kind."""

    order: Sequence[Configuration]
    chance: Callable[[int], float] = lambda _: 1.0
    doubted: Sequence[Configuration] = ()
    doubts: list[Asked] = field(default_factory=list)
    suggestions: list[Asked] = field(default_factory=list)
    chances: list[Asked] = field(default_factory=list)

    @property
    def statement(self) -> str:
        return "guided by a list"

    def suggestion(
        self,
        records: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration] = (),
        closed: Collection[Configuration] = (),
    ) -> Configuration | None:
        self.suggestions.append((frozenset(records), frozenset(running), frozenset(closed)))
        return next((c for c in self.order if c not in records and c not in running and c not in closed), None)

    def chance_left(
        self,
        records: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration] = (),
        closed: Collection[Configuration] = (),
    ) -> float:
        self.chances.append((frozenset(records), frozenset(running), frozenset(closed)))
        return self.chance(len(records))

    def rivals(
        self,
        records: Mapping[Configuration, TrialRecord],
        closed: Collection[Configuration] = (),
        lost: Collection[Configuration] = (),
    ) -> list[Configuration]:
        self.doubts.append((frozenset(records), frozenset(closed), frozenset(lost)))
        found: dict[str, Configuration] = {}
        for c in self.doubted:
            if c.gpu not in {known.gpu for known in records} and c not in closed:
                found.setdefault(c.gpu, c)
        return list(found.values())
