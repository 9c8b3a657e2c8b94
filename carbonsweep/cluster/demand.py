"""What a trial asks of a cluster, and how many such trials it has room for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from carbonsweep import facts
from carbonsweep.bench import Bench
from carbonsweep.cluster.nodes import Node
from carbonsweep.domain import Configuration
from carbonsweep.search.space import Space

SERVER: Final = "server"
"""Name of the bench whose GPUs are not the trial's."""
MODELLED_AT_ONCE: Final = 4
"""A modelled trial takes milliseconds, and Tune hands out some tens a second: more workers would only wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """GPUs of one kind (None: any node will do) and cores, on one node; `at_most` such trials side by side, None = all.

    A GPU is asked for whole: two trials on one would share its joules.
    """

    kind: str | None
    gpus: int
    cpus: float
    at_most: int | None = None

    def room(self, nodes: Iterable[Node]) -> int:
        """Trials of this demand that `nodes` could run at once, were they empty."""
        fitting = sum(self._on(node) for node in nodes)
        return fitting if self.at_most is None else min(fitting, self.at_most)

    def __str__(self) -> str:
        gpus = f"{self.gpus} {self.kind} and " if self.gpus else ""
        return f"{gpus}{self.cpus:g} CPU"

    def _on(self, node: Node) -> int:
        if self.kind is not None and node.kind != self.kind:
            return 0
        by_gpus = node.gpus // self.gpus if self.gpus else None
        by_cpus = int(node.cpus / self.cpus)
        return by_cpus if by_gpus is None else min(by_gpus, by_cpus)


def devices(configuration: Configuration) -> tuple[str, int]:
    """What a trial asks of a cluster depends on these alone."""
    return configuration.gpu, configuration.gpu_count


def demands(space: Space, bench: Bench, nodes: Iterable[Node]) -> dict[tuple[str, int], Demand]:
    """What is asked for each choice of GPUs, in the order of the space."""
    one_each: dict[tuple[str, int], Configuration] = {}
    for configuration in space.configurations():
        one_each.setdefault(devices(configuration), configuration)
    there = list(nodes)
    return {choice: demand(one, bench, there) for choice, one in one_each.items()}


def demand(configuration: Configuration, bench: Bench, nodes: Iterable[Node]) -> Demand:
    """A model needs one core; a measurement on GPUs those and a core; on the CPU, or of a server, all cores of a node.

    Nothing runs beside a measurement on the CPU; a server has its GPUs already, wherever they are, and a second trial
    would disturb the first, from whichever node.
    """
    if bench.identity(configuration).basis == "modelled":
        return Demand(kind=None, gpus=0, cpus=1, at_most=MODELLED_AT_ONCE)
    if configuration.gpu == facts.CPU or bench.name == SERVER:
        # What Ray counts, not the host's cores: in a container Ray goes by its quota, and more would wait for ever.
        # A cluster of nodes without cores has no room for it, which is for the sweep to say.
        most = max((node.cpus for node in nodes), default=1.0) or 1.0
        return Demand(kind=None, gpus=0, cpus=most, at_most=1 if bench.name == SERVER else None)
    return Demand(kind=configuration.gpu, gpus=configuration.gpu_count, cpus=1)
