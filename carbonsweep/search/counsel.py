"""What a model-guided search asks its guide: which trial next, and whether another one still pays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.search.objectives import Question
from carbonsweep.search.standing import Standing

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
        self,
        records: Mapping[Configuration, TrialRecord],
        closed: Collection[Configuration] = (),
        lost: Collection[Configuration] = (),
    ) -> list[Configuration]:
        """A trial of each GPU kind that was never measured and may not be dismissed on the guide's word alone.

        `lost` are those of `closed` that were tried, and nothing came of it.
        """
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

    def next(self, at: Standing, ready: Callable[[Configuration], bool]) -> Configuration | None:
        """The guide's next trial, or a rival, one that is `ready` to run first.

        None: nothing is wanted but what is running or waits. Raises ValueError where the guide has nothing new.
        """
        if self._is_low(at):
            kinds = {c.gpu for c in at.running}
            wanted = [rival for rival in self._rivals_of(at) if rival.gpu not in kinds]
            return next(filter(ready, wanted), wanted[0] if wanted else None)
        usable = self._usable(at)
        chosen = self._guide.suggestion(usable, at.running.keys(), at.settled - usable.keys())
        if chosen is None or at.is_taken(chosen):
            raise ValueError(f"the guide suggested {chosen or 'nothing'}, and something else is left to try")
        return chosen

    def is_enough(self, at: Standing) -> bool:
        """Whether what is known, with what is being measured, will do."""
        return self._is_low(at) and not self.in_doubt(at)

    def in_doubt(self, at: Standing) -> tuple[str, ...]:
        """GPU kinds to be looked at although the chance is low, and not being measured yet."""
        if not self._is_low(at):
            return ()
        kinds = {c.gpu for c in at.on_way}
        return tuple(rival.gpu for rival in self._rivals_of(at) if rival.gpu not in kinds)

    def chance_left(self, at: Standing) -> float | None:
        """The chance, from 0 to 1, that something better remains; None before LEAST_MEASURED measurements."""
        if self._chance is None:
            usable = self._usable(at)
            if sum(record.measurement is not None for record in usable.values()) < LEAST_MEASURED:
                return None
            self._chance = self._guide.chance_left(usable, at.on_way, at.settled - usable.keys())
        return self._chance

    def _is_low(self, at: Standing) -> bool:
        chance = self.chance_left(at)
        return chance is not None and chance < self.level

    def _rivals_of(self, at: Standing) -> list[Configuration]:
        """Of what is known; a kind whose meter failed is in doubt still, and that trial was lost."""
        if self._rivals is None:
            usable = self._usable(at)
            self._rivals = self._guide.rivals(usable, at.settled - usable.keys(), at.told - usable.keys())
        return self._rivals

    def _usable(self, at: Standing) -> dict[Configuration, TrialRecord]:
        """Without those whose meter failed: they have no value of the objective."""
        return {c: record for c, record in at.outcomes.items() if self._question.lacks(record) is None}
