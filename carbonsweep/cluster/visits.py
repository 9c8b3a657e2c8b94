"""Short tasks on a given node: its clock, what its benches would measure, and the finished records it holds."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from carbonsweep.bench import Bench
from carbonsweep.cluster.nodes import Node
from carbonsweep.domain import BenchIdentity, Configuration
from carbonsweep.errors import CarbonsweepError
from carbonsweep.spool import spool

PATIENCE_S: Final = 60.0
"""A task on a live node answers within seconds, mostly those of a Python process starting."""
SKEW_S: Final = 2.0
"""Clocks further apart than this are told to the user; durations are of monotonic clocks and do not suffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a visit to a node brought back; `lines` are the spooled records by attempt, `flaw` why there are none."""

    host: str
    clock_s: float
    lines: Mapping[str, bytes]
    flaw: str | None = None


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _look(spool_name: str, settled: Collection[str]) -> Found:
    flaw, lines = None, {}
    try:
        there = spool(spool_name)
        there.settle(settled)
        lines = there.lines()
    except CarbonsweepError as error:
        flaw = str(error)
    return Found(host=socket.gethostname(), clock_s=time.time(), lines=lines, flaw=flaw)


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _identify(bench: Bench, configurations: Sequence[Configuration]) -> list[BenchIdentity]:
    return [bench.identity(configuration) for configuration in configurations]


def look(node: Node, spool_name: str, settled: Collection[str] = ()) -> Any:
    """A reference to what the node holds; `settled` attempts are removed from its spool."""
    return _look.options(scheduling_strategy=_on(node)).remote(spool_name, tuple(settled))


def look_at_all(
    nodes: Iterable[Node], spool_name: str, settled: Collection[str] = ()
) -> tuple[dict[Node, Found], dict[Node, str]]:
    """What each node holds; and of those that did not answer, why."""
    pending = {look(node, spool_name, settled): node for node in nodes}
    ray.wait(list(pending), num_returns=len(pending), timeout=PATIENCE_S) if pending else None
    found: dict[Node, Found] = {}
    silent: dict[Node, str] = {}
    for reference, node in pending.items():
        try:
            found[node] = ray.get(reference, timeout=0)
        except (RayError, GetTimeoutError) as error:
            silent[node] = type(error).__name__
    return found, silent


def identities(node: Node, bench: Bench, configurations: Sequence[Configuration]) -> list[BenchIdentity]:
    """What each configuration would be if it were measured on `node`. Raises RayError where the node does not answer.

    The name and power cap of a GPU, and where weights were found, are those of the machine that measures.
    """
    reference = _identify.options(scheduling_strategy=_on(node)).remote(bench, list(configurations))
    found: list[BenchIdentity] = ray.get(reference, timeout=PATIENCE_S)
    return found


def skewed(found: Iterable[Found], asked_s: float, answered_s: float) -> dict[str, float]:
    """Hosts whose clock is more than SKEW_S outside the time in which they were asked, and by how many seconds."""
    apart = {one.host: max(0.0, one.clock_s - answered_s) - max(0.0, asked_s - one.clock_s) for one in found}
    return {host: apart_s for host, apart_s in apart.items() if abs(apart_s) > SKEW_S}


def _on(node: Node) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id=node.node_id, soft=False)
