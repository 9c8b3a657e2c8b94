"""The nodes of the cluster, as the sweep sees them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carbonsweep.cluster.labels import GPU_LABEL, NO_GPU, UNKNOWN_GPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A live node: `kind` is the fact key of its GPUs by its label, None where it has none that anybody knows."""

    node_id: str
    host: str
    kind: str | None
    gpus: int
    cpus: float

    def __str__(self) -> str:
        return f"{self.host} ({f'{self.gpus} {self.kind}' if self.kind else 'no GPU'})"


def live_nodes() -> dict[str, Node]:
    """By id. Cheap: Ray's control store answers in about a millisecond."""
    import ray

    return {node["NodeID"]: _node(node) for node in ray.nodes() if node["Alive"]}


def kinds(nodes: Iterable[Node]) -> tuple[str, ...]:
    """GPU kinds that have a node with a GPU, sorted."""
    return tuple(sorted({node.kind for node in nodes if node.kind is not None and node.gpus}))


def listed(nodes: Iterable[Node]) -> str:
    """The nodes as a reader says them."""
    return ", ".join(sorted(map(str, nodes))) or "no node"


def _node(found: dict[str, object]) -> Node:
    labels, resources = found["Labels"], found["Resources"]
    assert isinstance(labels, dict)
    assert isinstance(resources, dict)
    kind = labels.get(GPU_LABEL)
    return Node(
        node_id=str(found["NodeID"]),
        host=str(found["NodeManagerHostname"]),
        kind=None if kind in (None, NO_GPU, UNKNOWN_GPU) else str(kind),
        gpus=int(resources.get("GPU", 0)),
        cpus=float(resources.get("CPU", 0.0)),
    )
