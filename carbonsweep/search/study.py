"""A search: which configuration next, told what came of the last. No Ray here, so it can run in any loop.

Who chooses (a guide, a sampler of Optuna, an order) is apart from who keeps the record: that is always Optuna's study.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Final, Literal

import optuna
from optuna.storages import BaseStorage

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.records import is_failure
from carbonsweep.search.choosing import Ready, chooser, in_order
from carbonsweep.search.counsel import Counsel, Guiding
from carbonsweep.search.ledger import HOST, Ledger
from carbonsweep.search.objectives import Question
from carbonsweep.search.sampling import CHANCE_LEFT, SamplerName, optuna_sampler
from carbonsweep.search.space import Space
from carbonsweep.search.standing import Standing

AHEAD: Final = 4
"""Suggestions that may wait for their GPU kind to be free before no more are asked for: each was chosen without the
outcomes that come in meanwhile."""

StoppedBy = Literal["chance", "exhausted", "trials", "closed"]


class Search:
    """One study: hands out configurations nobody has evaluated, at most `trials` in all, and learns from records.

    `known` holds the reusable record of each configuration that has one: inside the space it is told at once and counts
    as a trial. `storage` None keeps the study in memory. `sampler` guided asks `guide`, and hands out nothing more once
    the chance that something better remains is below `chance_left` and no GPU kind is in doubt (`Counsel`); random has
    a seeded order of its own, exhaustive too, or where `loads_weights` says that changing the model costs time, the
    order of `order`.
    """

    def __init__(
        self,
        *,
        space: Space,
        question: Question,
        name: str,
        trials: int,
        seed: int,
        known: Mapping[Configuration, TrialRecord],
        sampler: SamplerName,
        storage: BaseStorage | None = None,
        loads_weights: bool = False,
        guide: Guiding | None = None,
        chance_left: float = CHANCE_LEFT,
    ) -> None:
        if (guide is None) == (sampler == "guided"):
            raise ValueError(f"sampler {sampler} and guide {guide}: a guided search, and no other, has a guide")
        self.sampler: SamplerName = sampler
        self._space = space
        self._budget = min(trials, space.size)
        self._counsel = None if guide is None else Counsel(guide, question, chance_left)
        self._ledger = Ledger(
            space=space,
            question=question,
            name=name,
            storage=storage,
            sampler=sampler,
            optuna_sampler=optuna_sampler(sampler, trials=self._budget, seed=seed),
        )
        by_group = loads_weights and sampler == "exhaustive"
        self._order = in_order(space, seed=seed, by_group=by_group)
        self._chooser = chooser(sampler, self._ledger, self._order, by_group=by_group, counsel=self._counsel)
        # A finished trial counts only while its record does: the records are the truth, the journal follows them.
        self._at = Standing(known=dict(known), told=self._ledger.finished() & known.keys())
        stale = self._ledger.close_stale()
        self.reused = self._tell_known()
        self.interrupted = [each for each in stale if each[0] not in self._at.told]
        self._queued = [configuration for configuration, _ in self.interrupted]

    @property
    def study(self) -> optuna.Study:
        """What Optuna knows of this search; its dashboard shows it."""
        return self._ledger.study

    @property
    def space(self) -> Space:
        """What is searched."""
        return self._space

    @property
    def outcomes(self) -> Mapping[Configuration, TrialRecord]:
        """Every record known to this search that is no failure, those given to it included."""
        return self._at.known

    @property
    def told(self) -> int:
        """Distinct configurations the study knows the outcome of."""
        return len(self._at.told)

    @property
    def remaining(self) -> int:
        """Configurations still to be handed out; of a guided search, at most."""
        return 0 if self._is_enough else self._left

    @property
    def unfinished(self) -> int:
        """Configurations handed out, or waiting to be, whose outcome is not known yet."""
        return len(self._at.running)

    @property
    def guided_by(self) -> str | None:
        """What guides this search and what that was fitted to; None where nothing does."""
        return None if self._counsel is None else self._counsel.statement

    @property
    def stops_below(self) -> float | None:
        """The chance below which a guided search stops; None where no chance stops it."""
        return None if self._counsel is None else self._counsel.level

    @property
    def chance_left(self) -> float | None:
        """Of a guided search, the chance that an untried configuration is feasible and better than the best by 1 %.

        None where it is not known: few measurements yet, or no guide.
        """
        if self._counsel is None:
            return None
        if len(self._at.settled) >= self._space.size:
            return 0.0
        return self._counsel.chance_left(self._at)

    @property
    def in_doubt(self) -> tuple[str, ...]:
        """GPU kinds that a guided search still looks at though the chance is low; none before, or without a guide."""
        return () if self._counsel is None else self._counsel.in_doubt(self._at)

    @property
    def stopped_by(self) -> StoppedBy | None:
        """Why nothing more is handed out; None while something is."""
        if self.told >= self._space.size:
            return "exhausted"
        if self.told + len(self._at.running) >= self._budget:
            return "trials"
        if not self._left:
            return "closed"
        return "chance" if self._is_enough else None

    def suggest(self, ready: Ready = lambda _: True) -> Configuration | None:
        """The next configuration that is `ready` to run, or None: nothing more is handed out, or nothing is ready now.

        A guide or a sampler chooses freely, and what it chose waits until it is ready: a GPU that happens to be free
        does not bend the search. What a guide chose waits for no longer than until something new is known: it chooses
        again. Where every point gets its trial anyway, what is ready goes first.
        """
        if self._is_enough:
            self._drop_waiting(lambda _: True)
        for waiting in self._at.waiting:
            if ready(waiting):
                self._at.waiting.remove(waiting)
                return self._begun(waiting)
        while self.remaining and len(self._at.waiting) < max(AHEAD, len(self.in_doubt)):
            configuration = self._next(ready)
            if configuration is None:
                return None
            if ready(configuration):
                return self._begun(configuration)
            self._at.waiting.append(configuration)
        return None

    def is_known(self, configuration: Configuration) -> bool:
        """Whether the outcome of a configuration of the space is known, or given up."""
        return configuration in self._at.told

    def wished(self) -> list[Configuration]:
        """What would run next if anything could be had: what waits, else the first untried in order."""
        if self._at.waiting or self.sampler != "exhaustive":
            return list(self._at.waiting)
        return list(itertools.islice((c for c in self._order if not self._at.is_taken(c)), 1))

    def placed(self, configuration: Configuration, host: str) -> None:
        """Write down where a suggested configuration runs: should the sweep be killed, its record may be there."""
        trial = self._at.running[configuration]
        assert trial is not None, "what was handed out has a trial"
        trial.set_user_attr(HOST, host)

    def again(self, configuration: Configuration) -> None:
        """The trial died without a record: its configuration waits to be handed out once more."""
        self._at.waiting.insert(0, configuration)

    def learn(self, record: TrialRecord) -> None:
        """Take in a record that was found rather than reported: that of a trial given up, or of an earlier sweep."""
        if record.configuration in self._at.waiting:
            self._at.waiting.remove(record.configuration)
        if record.configuration in self._at.running:
            self.tell(record)
        elif not is_failure(record):
            self._at.known[record.configuration] = record
            self.reused += self._tell_known()
            self._at.closed -= self._at.told
            self._news()

    def close(self, closed: Callable[[Configuration], bool]) -> int:
        """Hand out none of these any more: nothing is left that could run them. Returns how many are untried.

        Those that run now are left to end.
        """
        kept = self._at.told | self._at.on_way
        gone = {c for c in self._order if closed(c) and c not in kept}
        self._drop_waiting(lambda configuration: configuration in gone)
        self._at.closed |= gone
        self._news()
        return len(gone)

    def tell(self, record: TrialRecord) -> None:
        """Learn what came of a suggested configuration. A failure stays a failure: nothing is known of the point."""
        if record.configuration not in self._at.running:
            return  # found in a spool before it was reported
        asked = self._at.running.pop(record.configuration) or self._ledger.begin(record.configuration)
        if is_failure(record):
            self._ledger.fail(asked)
        else:
            self._ledger.tell(asked, record)
            self._at.known[record.configuration] = record
        self._at.told.add(record.configuration)
        self._at.last = record.configuration
        self._news()

    def abandon(self, configuration: Configuration) -> None:
        """The trial died without a record: close it, so that it is not left running."""
        asked = self._at.running.pop(configuration, None)
        if asked is not None:
            self._ledger.fail(asked)
            self._at.told.add(configuration)
            self._news()

    @property
    def _left(self) -> int:
        """Configurations that the budget and what can be had still allow."""
        possible = min(self._budget, self._space.size - len(self._at.closed))
        return max(0, possible - len(self._at.told) - len(self._at.running))

    @property
    def _is_enough(self) -> bool:
        """Whether a guided search has found what it can hope for; what runs then is left to end, and may say more."""
        return self._counsel is not None and self._counsel.is_enough(self._at)

    def _news(self) -> None:
        """What a guide chose without it is to be chosen again."""
        if self._counsel is not None:
            self._counsel.forget()
            self._drop_waiting(lambda configuration: self._at.running[configuration] is None)

    def _tell_known(self) -> int:
        """Tell all records from earlier sweeps, in the order of configurations: more than the budget are known as well.

        The answer ranks them all, so a chance of something better that left any out would be that of another answer.
        """
        reused = 0
        for configuration, record in sorted(self._at.known.items(), key=lambda pair: pair[0]):
            if configuration in self._at.told or configuration not in self._space:
                continue
            self._ledger.add(record)
            self._at.told.add(configuration)
            reused += 1
        return reused

    def _drop_waiting(self, dropped: Callable[[Configuration], bool]) -> None:
        for configuration in [c for c in self._at.waiting if dropped(c)]:
            self._at.waiting.remove(configuration)
            trial = self._at.running.pop(configuration)
            if trial is not None:
                self._ledger.fail(trial)

    def _next(self, ready: Ready) -> Configuration | None:
        """The next to run: first what an interrupted sweep left, then what is chosen."""
        while self._queued:
            configuration = self._queued.pop(0)
            if not self._at.is_taken(configuration):
                self._at.running[configuration] = self._ledger.begin(configuration)
                return configuration
        chosen = self._chooser.next(self._at, ready)
        if chosen is None:
            return None
        self._at.running[chosen[0]] = chosen[1]
        return chosen[0]

    def _begun(self, configuration: Configuration) -> Configuration:
        """The same, with its trial running from now on."""
        self._at.running[configuration] = self._at.running[configuration] or self._ledger.begin(configuration)
        return configuration
