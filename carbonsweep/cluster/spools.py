"""The spools of all nodes, merged into the records of the sweep: at the start, at the end, and when something died."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from carbonsweep.cluster.nodes import Node
from carbonsweep.cluster.visits import PATIENCE_S, Found, look, look_at_all
from carbonsweep.domain import TrialRecord
from carbonsweep.records import OutputFolder, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A look that has not been answered; `after` is called once it is, `unanswered` once it will never be."""

    reference: Any
    node: Node
    until_s: float
    after: Callable[[], None]
    unanswered: Callable[[], None]


class Spools:
    """Of one output folder, over all nodes. A record is merged once, whoever brings it and however often."""

    def __init__(self, out: OutputFolder, clock: Callable[[], float]) -> None:
        self._out, self._clock = out, clock
        self._pending: list[Pending] = []
        self._durable: set[str] = set()
        self.flaws: set[str] = set()

    def durable(self, attempt: str) -> None:
        """The record of this attempt is in the output folder: its node need not keep it."""
        self._durable.add(attempt)

    def look(self, node: Node, after: Callable[[], None], unanswered: Callable[[], None] | None = None) -> None:
        """Ask a node for what it holds; `poll` merges the answer and then calls `after`.

        Where none comes, or the spool cannot be read, `poll` calls `unanswered` instead (None: `after` as well).
        """
        reference = look(node, self._out.spool_name)
        self._pending.append(
            Pending(
                reference=reference,
                node=node,
                until_s=self._clock() + PATIENCE_S,
                after=after,
                unanswered=unanswered or after,
            )
        )

    def poll(self, nodes: Mapping[str, Node], found: Callable[[TrialRecord], None]) -> None:
        """Merge what was answered since; each new record goes to `found`, before the look is said to be over."""
        if not self._pending:
            return
        ready, _ = ray.wait([one.reference for one in self._pending], num_returns=len(self._pending), timeout=0)
        answered = [
            one
            for one in self._pending
            if one.reference in ready or one.node.node_id not in nodes or self._clock() > one.until_s
        ]
        self._pending = [one for one in self._pending if one not in answered]
        for one in answered:
            answer = _answer(one.reference) if one.reference in ready else None
            for record in self._merged(answer):
                found(record)
            one.unanswered() if answer is None or answer.flaw is not None else one.after()

    def gather(self, nodes: Iterable[Node]) -> tuple[list[TrialRecord], dict[Node, Found], dict[Node, str]]:
        """Merge what all nodes hold, and let them remove what is durable here.

        Returns the records that are new, what was found on each node, and why others did not answer.
        """
        found, silent = look_at_all(nodes, self._out.spool_name, self._durable)
        new = [record for one in found.values() for record in self._merged(one)]
        if holding := [node for node, one in found.items() if one.lines]:
            look_at_all(holding, self._out.spool_name, self._durable)
        return new, found, silent

    def _merged(self, found: Found | None) -> list[TrialRecord]:
        """Those of the found records that are new. A line that cannot be read stays where it is."""
        new = []
        if found is not None and found.flaw is not None:
            self.flaws.add(f"{found.host}: {found.flaw}")
        for attempt, line in () if found is None else found.lines.items():
            try:
                record = decode(line)
            except ValueError as error:
                self.flaws.add(f"{found.host}: {attempt} is no record: {error}" if found else str(error))
                continue
            if self._out.merge(record):
                new.append(record)
            self._durable.add(attempt)
        return new


def _answer(reference: Any) -> Found | None:
    try:
        found: Found = ray.get(reference, timeout=0)
    except (RayError, GetTimeoutError):
        return None
    return found
