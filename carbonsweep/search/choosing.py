"""Who chooses the next configuration: a guide, a sampler of Optuna, or an order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import optuna

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.search.counsel import Counsel
from carbonsweep.search.ledger import Ledger
from carbonsweep.search.order import grouped, next_in_order
from carbonsweep.search.sampling import PROPOSING, SamplerName
from carbonsweep.search.space import Space
from carbonsweep.search.standing import Standing

ATTEMPTS: Final = {"tpe": 20, "nsga2": 20, "gp": 3}
"""Proposals of known points taken from a sampler before a new one is drawn at random. One of gp takes a second."""

Ready = Callable[[Configuration], bool]
Chosen = tuple[Configuration, optuna.Trial | None]
"""A configuration, and its trial where choosing it was to ask Optuna for one."""


class Chooser(Protocol):
    """One way to choose."""

    def next(self, standing: Standing, ready: Ready) -> Chosen | None:
        """A configuration that is not taken; None: there is none, or none now."""
        ...


def chooser(
    sampler: SamplerName, ledger: Ledger, order: Sequence[Configuration], *, by_group: bool, counsel: Counsel | None
) -> Chooser:
    """Of the sampler with this name; `order` and `by_group` as in `in_order`."""
    if counsel is not None:
        return _Guided(counsel)
    if sampler in PROPOSING:
        return _Proposed(ledger, order, ATTEMPTS[sampler])
    return _InOrder(order, ready_first=sampler == "exhaustive", by_group=by_group)


def in_order(space: Space, *, seed: int, by_group: bool) -> list[Configuration]:
    """Every configuration once: by what they load, or in an order drawn from `seed`, the same in every process."""
    if by_group:
        return grouped(space.configurations())
    drawn = list(space.configurations())
    random.Random(seed).shuffle(drawn)
    return drawn


class _InOrder:
    """The first untried; `ready_first`: of those that are ready. `by_group`: what spares loads goes first."""

    def __init__(self, order: Sequence[Configuration], *, ready_first: bool, by_group: bool) -> None:
        self._order = order
        self._ready_first, self._by_group = ready_first, by_group

    def next(self, standing: Standing, ready: Ready) -> Chosen | None:
        untried = [c for c in self._order if not standing.is_taken(c) and (ready(c) or not self._ready_first)]
        if not untried:
            return None
        return next_in_order(untried, standing.running, standing.last) if self._by_group else untried[0], None


class _Proposed:
    """What Optuna's sampler proposes; after `attempts` known points, the first untried of an order."""

    def __init__(self, ledger: Ledger, order: Sequence[Configuration], attempts: int) -> None:
        self._ledger, self._attempts = ledger, attempts
        self._otherwise = _InOrder(order, ready_first=False, by_group=False)

    def next(self, standing: Standing, ready: Ready) -> Chosen | None:
        for _ in range(self._attempts):
            configuration, trial = self._ledger.proposed()
            if not standing.is_taken(configuration):
                return configuration, trial
            self._pass_over(trial, standing.known.get(configuration))
        return self._otherwise.next(standing, ready)

    def _pass_over(self, trial: optuna.Trial, record: TrialRecord | None) -> None:
        """Known already: the sampler is told again, so that it moves on; in flight or failed: nothing is known."""
        if record is None:
            self._ledger.fail(trial)
        else:
            self._ledger.tell(trial, record)


class _Guided:
    """What the guide suggests."""

    def __init__(self, counsel: Counsel) -> None:
        self._counsel = counsel

    def next(self, standing: Standing, ready: Ready) -> Chosen | None:
        chosen = self._counsel.next(standing, ready)
        return None if chosen is None else (chosen, None)
