"""What a configuration is, where it is measured: asked of the nodes, which must agree.

A record's reuse key holds the GPU's product name and power cap, the weights and versions of the machine that measured.
The driver sees none of that, and two nodes of a kind that differ would measure two things under one name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from ray.exceptions import GetTimeoutError, RayError

from carbonsweep import facts
from carbonsweep.bench import Bench
from carbonsweep.cluster.demand import SERVER
from carbonsweep.cluster.nodes import Node
from carbonsweep.cluster.visits import identities
from carbonsweep.domain import BenchIdentity, Configuration, Measurement, Workload
from carbonsweep.errors import BadInput, BenchFailed
from carbonsweep.search.order import weights_group
from carbonsweep.search.space import Space


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A bench as it is on the nodes that run it. Measures nothing itself; a model is the same everywhere."""

    bench: Bench
    found: Mapping[tuple[str, int, str, str, str], BenchIdentity]

    @property
    def name(self) -> str:
        """That of the bench."""
        return self.bench.name

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """As the nodes of its kind say; it does not depend on the batch size, and not all of them were asked about."""
        return self.found.get(weights_group(configuration)) or self.bench.identity(configuration)

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """Raises BenchFailed: this stands for a bench of another machine."""
        raise BenchFailed(f"{configuration} is measured on a node of the cluster, not here")


def elsewhere(bench: Bench, space: Space, nodes: Iterable[Node]) -> Elsewhere:
    """Ask every node of each measured kind. Raises BadInput where two of a kind differ, or one does not answer.

    What a server does is told by the server, and is the same from everywhere.
    """
    there = list(nodes)
    by_kind: dict[str, dict[tuple[str, int, str, str, str], Configuration]] = defaultdict(dict)
    for configuration in space.configurations():
        if bench.name != SERVER and bench.identity(configuration).basis != "modelled":
            by_kind[configuration.gpu].setdefault(weights_group(configuration), configuration)
    found: dict[tuple[str, int, str, str, str], BenchIdentity] = {}
    for kind, one_of_each in by_kind.items():
        asked, configurations = _of_kind(kind, there), list(one_of_each.values())
        answers = {node: _asked(node, bench, configurations) for node in asked}
        for node in asked[1:]:
            _require_alike(kind, asked[0], node, answers[asked[0]], answers[node])
        if asked:
            found.update(zip(one_of_each, answers[asked[0]], strict=True))
    return Elsewhere(bench, found)


def _of_kind(kind: str, nodes: list[Node]) -> list[Node]:
    """Where a trial of this kind may run; the processor is measured where there are most cores."""
    if kind != facts.CPU:
        return [node for node in nodes if node.kind == kind and node.gpus]
    most = max((node.cpus for node in nodes), default=0.0)
    return [node for node in nodes if node.cpus == most]


def _asked(node: Node, bench: Bench, configurations: list[Configuration]) -> list[BenchIdentity]:
    try:
        return identities(node, bench, configurations)
    except GetTimeoutError as error:
        raise BadInput(f"node {node} does not answer: is it overloaded?") from error
    except RayError as error:
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise BadInput(f"node {node} cannot say what it would measure ({last}): is carbonsweep installed?") from error


def _require_alike(kind: str, one: Node, other: Node, here: list[BenchIdentity], there: list[BenchIdentity]) -> None:
    for mine, theirs in zip(here, there, strict=True):
        differing = [field.name for field in fields(mine) if getattr(mine, field.name) != getattr(theirs, field.name)]
        if differing:
            said = "; ".join(f"{name}: {getattr(mine, name)!r} and {getattr(theirs, name)!r}" for name in differing)
            raise BadInput(
                f"{kind} on {one.host} and on {other.host} differ ({said}): their results would be two quantities "
                "under one name; make them alike, or leave one out of the cluster"
            )
