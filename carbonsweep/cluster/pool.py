"""Workers by what they hold: hired where the cluster has room, kept from trial to trial, replaced when they die.

Trials of one demand share its workers, so changing from one GPU kind to another and back starts no process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from carbonsweep.cluster.demand import Demand
from carbonsweep.cluster.nodes import Node
from carbonsweep.cluster.worker import Home
from carbonsweep.domain import Configuration
from carbonsweep.errors import NothingMeasured
from carbonsweep.search.order import weights_group

MAKE_WAY_S: Final = 15.0
"""A worker that has not answered for so long is taken to wait for cores: those of idle workers of other demands."""
BROKEN_STARTS: Final = 3
"""Workers of one demand that fail to start in a row, by an error of their own, before the sweep gives up."""


@dataclass(slots=True, kw_only=True, eq=False)
class Hired:
    """One worker. `home` is None until it answers; `attempt` is what it works on; `spare`: only others' trials wait."""

    name: str
    demand: Demand
    hired_s: float
    home: Home | None = None
    attempt: str | None = None
    last: Configuration | None = None
    spare: bool = False
    settled: list[str] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        return self.home is not None and self.attempt is None


class Staff(Protocol):
    """Starts and ends worker processes (`ray_staff.RayStaff`); a counter in tests."""

    def hire(self, demand: Demand) -> str:
        """Ask for a worker, whose name is returned; it starts when there is room."""
        ...

    def started(self, names: Sequence[str]) -> Mapping[str, Home | Exception]:
        """Of these, the ones that answer by now, or failed to start."""
        ...

    def dismiss(self, name: str) -> None:
        """End it, whatever it does."""
        ...


class Pool:
    """The workers of a sweep, at most `most` of each demand. The first demand of each kind is staffed at once."""

    def __init__(self, staff: Staff, demands: Sequence[Demand], most: int) -> None:
        self._staff, self._demands, self._most = staff, sorted(set(demands), key=lambda d: -d.gpus), most
        self._hired: dict[str, Hired] = {}
        self._wanted = set({demand.kind: demand for demand in reversed(demands)}.values())
        self._broken: dict[Demand, int] = {}

    @property
    def workers(self) -> list[Hired]:
        """All of them, the starting ones too."""
        return list(self._hired.values())

    def is_free(self, demand: Demand) -> bool:
        """Whether a worker waits for a trial of this demand."""
        return any(worker.demand == demand and worker.idle for worker in self._hired.values())

    def want(self, demand: Demand) -> None:
        """Trials of this demand wait and nothing else can run: hire for it, from now on; who is idle now is spare."""
        self._wanted.add(demand)
        for worker in self._hired.values():
            worker.spare = worker.idle

    def take(self, demand: Demand, configuration: Configuration, attempt: str) -> Hired:
        """An idle worker, one that has loaded the weights if there is one. `is_free` has said that there is any."""
        idle = [worker for worker in self._hired.values() if worker.demand == demand and worker.idle]
        group = weights_group(configuration)
        chosen = min(idle, key=lambda worker: worker.last is None or weights_group(worker.last) != group)
        chosen.attempt, chosen.last, chosen.spare = attempt, configuration, False
        return chosen

    def release(self, name: str, settled: str | None = None) -> None:
        """The worker has reported; its record of the `settled` attempt is durable here too."""
        worker = self._hired.get(name)
        if worker is not None:
            worker.attempt = None
            worker.settled += [] if settled is None else [settled]

    def discard(self, name: str) -> Hired | None:
        """End a worker; another is hired in its place at the next `tend`."""
        self._staff.dismiss(name)
        return self._hired.pop(name, None)

    def tend(self, nodes: Mapping[str, Node]) -> None:
        """Greet who has started, forget who went with a node, hire where there is room. Raises NothingMeasured."""
        self._greet()
        for worker in self.workers:
            if worker.home is not None and worker.home.node_id not in nodes and worker.attempt is None:
                self.discard(worker.name)
        there = list(nodes.values())
        for demand in self._demands:
            if demand in self._wanted:
                self._staff_up(demand, there)
        self._make_way(there)

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            self.discard(worker.name)

    def _greet(self) -> None:
        starting = [worker.name for worker in self._hired.values() if worker.home is None]
        for name, home in self._staff.started(starting).items():
            if isinstance(home, Home):
                self._hired[name].home = home
                self._broken[self._hired[name].demand] = 0
            else:
                self._count_broken(self._hired.pop(name).demand, home)

    def _count_broken(self, demand: Demand, error: Exception) -> None:
        # A process that was killed while it started says nothing about the next; one that failed will fail again.
        if "creation task" not in str(error):
            return
        self._broken[demand] = self._broken.get(demand, 0) + 1
        if self._broken[demand] >= BROKEN_STARTS:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise NothingMeasured(f"workers for {demand} do not start: {lines[-1]}")

    def _staff_up(self, demand: Demand, nodes: Sequence[Node]) -> None:
        present = sum(worker.demand == demand for worker in self._hired.values())
        held = sum(worker.demand.gpus for worker in self._hired.values() if worker.demand.kind == demand.kind)
        total = sum(node.gpus for node in nodes if node.kind == demand.kind)
        for _ in range(present, min(demand.room(nodes), self._most)):
            if demand.gpus and held + demand.gpus > total:
                break
            name = self._staff.hire(demand)
            self._hired[name] = Hired(name=name, demand=demand, hired_s=time.monotonic())
            held += demand.gpus

    def _make_way(self, nodes: Sequence[Node]) -> None:
        """Where a wanted worker finds no room, spare ones of other demands leave theirs; they are no longer wanted.

        One that has just started is not spare yet: two demands that wait for the same GPUs would drive each other out.
        """
        short = [demand for demand in self._wanted if self._finds_no_room(demand, nodes)]
        for worker in self.workers:
            if worker.idle and worker.spare and any(_compete(worker.demand, demand) for demand in short):
                self._wanted.discard(worker.demand)
                self.discard(worker.name)

    def _finds_no_room(self, demand: Demand, nodes: Sequence[Node]) -> bool:
        """Whether GPUs of its kind are all held by others, or its first worker has waited long for something."""
        own = [worker for worker in self._hired.values() if worker.demand == demand]
        if any(worker.home is not None for worker in own) or not demand.room(nodes):
            return False
        if not own:
            return bool(demand.gpus)
        return all(time.monotonic() - worker.hired_s > MAKE_WAY_S for worker in own)


def _compete(one: Demand, other: Demand) -> bool:
    """Whether workers of the two may want the same GPUs or cores."""
    return one != other and (one.kind == other.kind or None in (one.kind, other.kind))
