"""Doubles of what Ray does for a sweep: workers that find room or wait for it, nodes that hold spools, and a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from carbonsweep.cluster import spools
from carbonsweep.cluster.demand import Demand
from carbonsweep.cluster.nodes import Node
from carbonsweep.cluster.visits import Found
from carbonsweep.cluster.worker import Home

T4 = Demand(kind="T4", gpus=1, cpus=1)
T4_PAIR = Demand(kind="T4", gpus=2, cpus=1)
ADA = Demand(kind="RTX6000Ada", gpus=1, cpus=1)
MODELLED = Demand(kind=None, gpus=0, cpus=1, at_most=4)


def node(name: str, kind: str | None = "T4", gpus: int = 1, cpus: float = 8.0) -> Node:
    """A node by this name, which is its host too."""
    return Node(node_id=f"id-{name}", host=name, kind=kind, gpus=gpus if kind else 0, cpus=cpus)


def by_id(*nodes: Node) -> dict[str, Node]:
    """As `live_nodes` returns them."""
    return {each.node_id: each for each in nodes}


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_by(self, seconds_s: float) -> None:
        self.now_s += seconds_s


class Staff:
    """Places workers as Ray would: on the first node of the kind with free GPUs and cores, else they wait.

    `hired` and `dismissed` count; `broken` are errors the next workers start with, `slow` says that none starts now.
    """

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._living: dict[str, tuple[Demand, Node | None]] = {}
        self.hired: list[Demand] = []
        self.dismissed: list[str] = []
        self.broken: list[Exception] = []
        self.slow = False

    def hire(self, demand: Demand) -> str:
        self.hired.append(demand)
        name = f"worker-{len(self.hired)}"
        self._living[name] = (demand, None)
        return name

    def started(self, names: Sequence[str]) -> Mapping[str, Home | Exception]:
        found: dict[str, Home | Exception] = {}
        for name in names:
            place = None if self.slow else self._place(self._living[name][0])
            if place is None:
                continue
            if self.broken:
                found[name] = self.broken.pop(0)
                del self._living[name]
                continue
            self._living[name] = (self._living[name][0], place)
            found[name] = Home(node_id=place.node_id, host=place.host, pid=len(self.hired))
        return found

    def dismiss(self, name: str) -> None:
        self.dismissed.append(name)
        self._living.pop(name, None)

    @property
    def living(self) -> list[str]:
        """Workers that were not dismissed and did not break, the waiting ones too."""
        return list(self._living)

    def _place(self, demand: Demand) -> Node | None:
        return next((node for node in self._nodes.values() if self._fits(demand, node)), None)

    def _fits(self, demand: Demand, there: Node) -> bool:
        here = [held for held, place in self._living.values() if place == there]
        cores = demand.cpus + sum(held.cpus for held in here) <= there.cpus
        gpus = demand.gpus + sum(held.gpus for held in here) <= there.gpus
        return cores and gpus and demand.kind in (None, there.kind)


@dataclass
class Disks:
    """The spools of the hosts, and what Ray says of a look at them; a host that is `silent` never answers."""

    lines: dict[str, dict[str, bytes]] = field(default_factory=dict)
    flaws: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def keep(self, host: str, attempt: str, line: bytes) -> None:
        self.lines.setdefault(host, {})[attempt] = line

    def look(self, there: Node, spool_name: str, settled: Sequence[str] = ()) -> Node:
        """The node itself stands for the reference."""
        assert spool_name
        self.asked.append(there.host)
        return there

    def look_at_all(
        self, nodes: Sequence[Node], spool_name: str, settled: Sequence[str] = ()
    ) -> tuple[dict[Node, Found], dict[Node, str]]:
        asked = list(nodes)
        for each in asked:
            for attempt in settled:
                self.lines.get(each.host, {}).pop(attempt, None)
        found = {each: self.found(each) for each in asked if each.host not in self.silent}
        return found, {each: "GetTimeoutError" for each in asked if each.host in self.silent}

    def wait(self, references: Sequence[Node], **_: object) -> tuple[list[Node], list[Node]]:
        ready = [each for each in references if each.host not in self.silent]
        return ready, [each for each in references if each.host in self.silent]

    def found(self, there: Node, timeout: float = 0.0) -> Found:
        flaw = self.flaws.get(there.host)
        lines = {} if flaw else dict(self.lines.get(there.host, {}))
        return Found(host=there.host, clock_s=0.0, lines=lines, flaw=flaw)

    def instead_of_ray(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`Spools` sees these disks from now on."""
        monkeypatch.setattr(spools, "ray", SimpleNamespace(wait=self.wait, get=self.found))
        monkeypatch.setattr(spools, "look", self.look)
        monkeypatch.setattr(spools, "look_at_all", self.look_at_all)
