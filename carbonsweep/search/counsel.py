"""What a model-guided search asks its guide: which trial next, and whether another one still pays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.search.objectives import Question

LEAST_MEASURED: Final = 3
"""A guided search does not stop on fewer measurements: two say how far off the model is, and not by how much that
varies, so any chance computed from them is the model's word for itself. Refusals are no measurements."""


class Guiding(Protocol):
    """What is asked of a guide (`guided.guide.Guide`): both answers follow from what it is given alone."""

    @property
    def statement(self) -> str:
        """What guides it and what that was fitted to, in one line."""
        ...

    def suggestion(
        self,
        records: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration] = (),
        closed: Collection[Configuration] = (),
    ) -> Configuration | None:
        """The next trial; None: nothing is left."""
        ...

    def chance_left(
        self,
        records: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration] = (),
        closed: Collection[Configuration] = (),
    ) -> float:
        """Chance that an untried configuration is feasible and better than the best found by more than 1 %."""
        ...


class Counsel:
    """A guide, and what it said last: the chance is worked out once for what is known.

    The search stops below `level`; 0: never before its budget is spent.
    """

    def __init__(self, guide: Guiding, question: Question, level: float) -> None:
        self._guide, self._question, self.level = guide, question, level
        self._chance: float | None = None

    @property
    def statement(self) -> str:
        """What guides, in one line."""
        return self._guide.statement

    def forget(self) -> None:
        """Something new is known: the chance is to be worked out again."""
        self._chance = None

    def next(
        self,
        outcomes: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration],
        closed: Collection[Configuration],
    ) -> Configuration | None:
        """The guide's next trial; `closed` are those that cannot or need not be tried, whatever `outcomes` says."""
        usable = self._usable(outcomes)
        return self._guide.suggestion(usable, running, [c for c in closed if c not in usable])

    def chance_left(
        self,
        outcomes: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration],
        closed: Collection[Configuration],
    ) -> float | None:
        """The chance, from 0 to 1, that something better remains; None before LEAST_MEASURED measurements."""
        if self._chance is None:
            usable = self._usable(outcomes)
            if sum(record.measurement is not None for record in usable.values()) < LEAST_MEASURED:
                return None
            self._chance = self._guide.chance_left(usable, running, [c for c in closed if c not in usable])
        return self._chance

    def _usable(self, outcomes: Mapping[Configuration, TrialRecord]) -> dict[Configuration, TrialRecord]:
        """Without those whose meter failed: they have no value of the objective."""
        return {c: record for c, record in outcomes.items() if self._question.lacks(record) is None}
