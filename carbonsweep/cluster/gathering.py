"""Before a sweep: what an earlier one left on the nodes, and how the nodes are."""

from __future__ import annotations

import time
from dataclasses import dataclass

from carbonsweep.cluster.nodes import live_nodes
from carbonsweep.cluster.spools import Spools
from carbonsweep.cluster.visits import skewed
from carbonsweep.records import OutputFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """`new` records were merged; `hosts` have answered."""

    new: int
    hosts: set[str]
    notices: tuple[str, ...]


def gather(out: OutputFolder) -> Gathered:
    """Ask every node for the finished records it holds for `out`, and for the time."""
    spools = Spools(out, time.monotonic)
    asked_s = time.time()
    new, found, silent = spools.gather(live_nodes().values())
    apart = skewed(found.values(), asked_s, time.time())
    notices = [f"{node} does not answer ({why}): its finished records stay there" for node, why in silent.items()]
    notices += [
        f"the clock of {host} is {abs(apart_s):.0f} s {'ahead' if apart_s > 0 else 'behind'}: times in its records are "
        "by that clock; durations are not"
        for host, apart_s in sorted(apart.items())
    ]
    return Gathered(
        new=len(new),
        hosts={one.host for one in found.values()},
        notices=(*notices, *sorted(spools.flaws)),
    )
