"""Which nodes come and go while a sweep runs, and what goes with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from carbonsweep.cluster.demand import Demand
from carbonsweep.cluster.nodes import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Since the last look: nodes that joined, demands no node is left for, and what to say."""

    joined: tuple[Node, ...]
    closed: tuple[Demand, ...]
    notices: tuple[str, ...]


class Attendance:
    """`demands` without a node for `grace_s` are closed, for good."""

    def __init__(
        self, nodes: Mapping[str, Node], demands: Collection[Demand], grace_s: float, clock: Callable[[], float]
    ) -> None:
        self._nodes, self._demands, self._grace_s, self._clock = dict(nodes), demands, grace_s, clock
        self._missing_since_s: dict[Demand, float] = {}
        self._closed: dict[Demand, int] = {}
        self._just_went: Counter[str] = Counter()
        self.unreachable: Counter[str] = Counter()

    @property
    def closed(self) -> dict[str, int]:
        """Untried configurations by what has no node left; what was tried whole before is not among it."""
        return {str(demand): untried for demand, untried in self._closed.items() if untried}

    def is_closed(self, demand: Demand) -> bool:
        """Whether nothing is left that could run it."""
        return demand in self._closed

    def close(self, demand: Demand, untried: int) -> None:
        """Nothing of this demand will run any more."""
        self._closed[demand] = untried

    def went_with(self, host: str) -> None:
        """A trial was running on a node when it went: its record may be there, finished, and out of reach."""
        self.unreachable[host] += 1
        self._just_went[host] += 1

    def read(self, host: str) -> None:
        """The node is back, and its finished records are merged."""
        self.unreachable.pop(host, None)

    def take(self, nodes: Mapping[str, Node], running: Mapping[str, int]) -> Change:
        """Compare with the last look; `running` counts trials by node."""
        gone = [node for node_id, node in self._nodes.items() if node_id not in nodes]
        joined = tuple(node for node_id, node in nodes.items() if node_id not in self._nodes)
        self._nodes = dict(nodes)
        # A supervisor may have told of the end of its trial before this look found the node gone.
        notices = [_farewell(node, running.get(node.node_id, 0) + self._just_went[node.host]) for node in gone]
        self._just_went.clear()
        notices += [f"node {node} has joined" for node in joined]
        return Change(joined=joined, closed=self._missing(nodes), notices=tuple(notices))

    def _missing(self, nodes: Mapping[str, Node]) -> tuple[Demand, ...]:
        now_s = self._clock()
        for demand in self._demands:
            if demand.room(nodes.values()):
                self._missing_since_s.pop(demand, None)
            else:
                self._missing_since_s.setdefault(demand, now_s)
        return tuple(
            demand
            for demand, since_s in self._missing_since_s.items()
            if demand not in self._closed and now_s - since_s >= self._grace_s
        )


def _farewell(node: Node, trials: int) -> str:
    if not trials:
        return f"node {node} is gone; nothing ran there"
    ran = "1 trial ran" if trials == 1 else f"{trials} trials ran"
    return f"node {node} is gone; {ran} there, so at most {trials} finished measurement(s) are out of reach"
