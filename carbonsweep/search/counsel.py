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

    def rivals(
        self, records: Mapping[Configuration, TrialRecord], closed: Collection[Configuration] = ()
    ) -> list[Configuration]:
        """A trial of each GPU kind that was never measured and may not be dismissed on the guide's word alone."""
        ...


class Counsel:
    """A guide, and what it said last: the chance and the rivals are worked out once for what is known.

    The search stops below `level`, once every rival's kind was measured; 0: never before its budget is spent.
    """

    def __init__(self, guide: Guiding, question: Question, level: float) -> None:
        self._guide, self._question, self.level = guide, question, level
        self._chance: float | None = None
        self._rivals: list[Configuration] | None = None

    @property
    def statement(self) -> str:
        """What guides, in one line."""
        return self._guide.statement

    def forget(self) -> None:
        """Something new is known: the chance is to be worked out again."""
        self._chance = self._rivals = None

    def next(
        self,
        outcomes: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration],
        closed: Collection[Configuration],
    ) -> Configuration | None:
        """The guide's next trial; `closed` are those that cannot or need not be tried, whatever `outcomes` says.

        None: nothing is wanted but what is `running`. Raises ValueError where the guide has nothing new to suggest.
        """
        if self._is_low(outcomes, running, closed):
            return next(iter(self._unheard_rivals(outcomes, running, closed)), None)
        usable = self._usable(outcomes)
        chosen = self._guide.suggestion(usable, running, [c for c in closed if c not in usable])
        if chosen is None or chosen in running or chosen in closed:
            raise ValueError(f"the guide suggested {chosen or 'nothing'}, and something else is left to try")
        return chosen

    def is_enough(
        self,
        outcomes: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration],
        closed: Collection[Configuration],
    ) -> bool:
        """Whether what is known, with what is `running`, will do."""
        return self._is_low(outcomes, running, closed) and not self._unheard_rivals(outcomes, running, closed)

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

    def _is_low(
        self,
        outcomes: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration],
        closed: Collection[Configuration],
    ) -> bool:
        chance = self.chance_left(outcomes, running, closed)
        return chance is not None and chance < self.level

    def _unheard_rivals(
        self,
        outcomes: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration],
        closed: Collection[Configuration],
    ) -> list[Configuration]:
        """Without those whose kind is being tried."""
        if self._rivals is None:
            usable = self._usable(outcomes)
            self._rivals = self._guide.rivals(usable, [c for c in closed if c not in usable])
        tried = {c.gpu for c in running}
        return [rival for rival in self._rivals if rival.gpu not in tried]

    def _usable(self, outcomes: Mapping[Configuration, TrialRecord]) -> dict[Configuration, TrialRecord]:
        """Without those whose meter failed: they have no value of the objective."""
        return {c: record for c, record in outcomes.items() if self._question.lacks(record) is None}
