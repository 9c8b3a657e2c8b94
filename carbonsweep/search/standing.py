"""Where a search stands: what is known, told, running, waiting and closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from carbonsweep.domain import Configuration, TrialRecord

if TYPE_CHECKING:
    import optuna


@dataclass(kw_only=True)
class Standing:
    """Where a search stands. `known` holds records that are no failures, also of other batch sizes than the space has.

    `told`: the outcome is known, or given up. `running` is handed out, or among `waiting` to be; what waits may have no
    trial yet. `last` came back last.
    """

    known: dict[Configuration, TrialRecord]
    told: set[Configuration] = field(default_factory=set)
    running: dict[Configuration, optuna.Trial | None] = field(default_factory=dict)
    waiting: list[Configuration] = field(default_factory=list)
    closed: set[Configuration] = field(default_factory=set)
    last: Configuration | None = None

    def is_taken(self, configuration: Configuration) -> bool:
        """Whether it is not to be handed out any more."""
        return configuration in self.told or configuration in self.running or configuration in self.closed

    @property
    def outcomes(self) -> Mapping[Configuration, TrialRecord]:
        """The records of the space itself."""
        return {configuration: self.known[configuration] for configuration in self.told & self.known.keys()}

    @property
    def settled(self) -> set[Configuration]:
        """What cannot or need not be tried any more."""
        return self.told | self.closed

    @property
    def on_way(self) -> set[Configuration]:
        """What is being measured now."""
        return self.running.keys() - set(self.waiting)
