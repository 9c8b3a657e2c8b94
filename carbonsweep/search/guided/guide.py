"""The guided search: which configuration to measure next, and the chance that measuring more would still pay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.domain import Configuration, TrialRecord, Workload
from carbonsweep.search.guided.belief import Belief, Candidates, Known
from carbonsweep.search.guided.doubt import rivals
from carbonsweep.search.guided.gain import View, chance, gains
from carbonsweep.search.guided.guidance import Guidance
from carbonsweep.search.guided.guidance import guidance as modelled_guidance
from carbonsweep.search.guided.screening import screened
from carbonsweep.search.objectives import Question

DRAWS: Final = 384
"""Joint draws of all outcomes: a chance of 5 % is then known to 1 %."""

Indices = NDArray[np.intp]


class Guide:
    """Suggests trials of `configurations`. Both answers are pure: the same records and seed give the same ones.

    `records` are outcomes that are no failures (those of other configurations are passed over), `running` is being
    measured now, `closed` cannot be had.
    """

    def __init__(
        self,
        *,
        configurations: Sequence[Configuration],
        workload: Workload,
        question: Question,
        seed: int,
        guidance: Guidance | None = None,
    ) -> None:
        """`guidance` is that of `guided.guidance` where none is given. Raises ValueError for one of another length."""
        guided = modelled_guidance(configurations, workload) if guidance is None else guidance
        self._of = Candidates(configurations, workload, question, guided)
        self._seed = seed
        self._believed: tuple[Known, Belief] | None = None
        self._seen: tuple[tuple[Known, list[int], list[int]], View, Indices] | None = None

    @property
    def statement(self) -> str:
        """What guides the search and what that was fitted to, in one line."""
        source = self._of.guidance.source
        return f"guided by the device model ({source}), corrected per GPU and model by what is measured"

    def suggestion(
        self,
        records: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration] = (),
        closed: Collection[Configuration] = (),
    ) -> Configuration | None:
        """The trial with the largest expected gain, or None where nothing is left to try.

        What the device model knows to be unsupported comes last.
        """
        known, busy, barred = self._indices(records, running, closed)
        left = self._left(known, busy, barred)
        if not len(left):
            return None
        if not self._of.guidance.supported[left].any():
            return self._of.configurations[int(left[0])]
        view, candidates = self._view(known, busy, barred)
        expected = gains(view, np.random.default_rng(self._seed))
        chosen = int(np.argmax(expected)) if expected.max() > 0 else _least_bad(view)
        return self._of.configurations[int(candidates[chosen])]

    def chance_left(
        self,
        records: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration] = (),
        closed: Collection[Configuration] = (),
    ) -> float:
        """Chance that an untried configuration meets every limit and beats the best found by more than 1 %.

        Of its first objective; with several: that the front's hypervolume can grow by more than 1 %; with nothing
        feasible found: that any untried configuration is feasible. What is running counts as found, as it is drawn.
        """
        known, busy, barred = self._indices(records, running, closed)
        if not self._of.guidance.supported[self._left(known, busy, barred)].any():
            return 0.0
        return chance(self._view(known, busy, barred)[0])

    def rivals(
        self,
        records: Mapping[Configuration, TrialRecord],
        closed: Collection[Configuration] = (),
        lost: Collection[Configuration] = (),
    ) -> list[Configuration]:
        """A trial of each GPU kind that nobody measured and that would win if the model were far off (`doubt`).

        `lost` are those of `closed` that were tried, and nothing came of it.
        """
        known, _, barred = self._indices(records, (), closed)
        left = self._left(known, [], barred)
        question = self._of.question
        held = [question.losses(r.measurement) for r in known.values() if self._is_found(r) and r.measurement]
        losses = np.array(held).reshape(len(held), len(question.objectives))
        gave_nothing = np.array([self._of.index[c] for c in lost if c in self._of.index], dtype=np.intp)
        supported = left[self._of.guidance.supported[left]]
        chosen = rivals(self._of, self._belief(known), supported, gave_nothing, losses, self._seed)
        return [self._of.configurations[int(i)] for i in chosen]

    def _indices(
        self,
        records: Mapping[Configuration, TrialRecord],
        running: Collection[Configuration],
        closed: Collection[Configuration],
    ) -> tuple[Known, list[int], list[int]]:
        """In the order of the configurations: an answer must not depend on the order of the records."""
        index = self._of.index
        known = dict(sorted((index[c], record) for c, record in records.items() if c in index))
        busy = sorted({index[c] for c in running if c in index} - set(known))
        return known, busy, sorted({index[c] for c in closed if c in index})

    def _left(self, known: Known, busy: list[int], barred: list[int]) -> Indices:
        untaken = np.ones(len(self._of), dtype=bool)
        untaken[[*known, *busy, *barred]] = False
        return np.flatnonzero(untaken)

    def _view(self, known: Known, busy: list[int], barred: list[int]) -> tuple[View, Indices]:
        """Joint draws of the open candidates and of what is held; the last ones are kept, both questions need them."""
        asked = (known, busy, barred)
        if self._seen is None or self._seen[0] != asked:
            left = self._left(known, busy, barred)
            belief = self._belief(known)
            found = np.array([i for i, record in known.items() if self._is_found(record)], dtype=np.intp)
            candidates, best = screened(belief, left[self._of.guidance.supported[left]], found, self._seed)
            where = np.concatenate([candidates, np.array(busy, dtype=np.intp), best])
            self._seen = asked, View(belief.joint(where, DRAWS, self._seed), len(candidates), len(best)), candidates
        return self._seen[1], self._seen[2]

    def _belief(self, known: Known) -> Belief:
        """What is believed after `known`; the last one is kept: the chance, the rivals and the next trial need it."""
        if self._believed is None or self._believed[0] != known:
            self._believed = known, Belief(self._of, known)
        return self._believed[1]

    def _is_found(self, record: TrialRecord) -> bool:
        """Whether it was measured to meet every limit, and has a value."""
        question = self._of.question
        return record.measurement is not None and not question.lacks(record) and question.slo.is_met(record.measurement)


def _least_bad(view: View) -> int:
    """Where no draw gains anything: what most probably runs, then exceeds the limits least, then loses least."""
    n = view.open_count
    runs = np.round(view.outcomes.runs[:, :n].mean(axis=0), 2)
    excess = np.maximum(view.outcomes.excess[:, :n], 0.0).mean(axis=0)
    return int(np.lexsort((view.losses[:, :n, 0].mean(axis=0), excess, -runs))[0])
