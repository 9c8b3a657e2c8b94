"""Before the first trial: whether every GPU kind that is to be measured is there, or comes in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from ray.util.placement_group import placement_group, remove_placement_group

from carbonsweep.cluster.labels import GPU_LABEL
from carbonsweep.cluster.nodes import Node, kinds, listed, live_nodes

POLL_S = 1.0


def await_kinds(wanted: Collection[str], wait_s: float, say: Callable[[str], None]) -> Mapping[str, Node]:
    """The live nodes, as soon as each of `wanted` is among their kinds, or `wait_s` is over.

    A GPU of each missing kind is asked for meanwhile, so that an autoscaler starts a node.
    """
    until_s = time.monotonic() + wait_s
    missing = set(wanted) - set(kinds(live_nodes().values()))
    if missing and wait_s > 0:
        say(f"Waiting up to {wait_s / 60:g} min for {', '.join(sorted(missing))}: {listed(live_nodes().values())}.")
        with _asked_for(missing):
            while set(wanted) - set(kinds(live_nodes().values())) and time.monotonic() < until_s:
                time.sleep(POLL_S)
    return live_nodes()


@contextmanager
def _asked_for(missing: Collection[str]) -> Iterator[None]:
    asked = [placement_group([{"GPU": 1}], bundle_label_selector=[{GPU_LABEL: kind}]) for kind in sorted(missing)]
    try:
        yield
    finally:
        for group in asked:
            remove_placement_group(group)
