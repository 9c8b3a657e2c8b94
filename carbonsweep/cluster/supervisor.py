"""Tune's trial: a light actor on the head node that hands one configuration to a worker and watches over it.

Whatever becomes of the worker (killed, its node gone, out of memory, hanging) comes back as a result. Tune itself would
leave a trial pending for ever when the last node of its kind goes, and stops the whole sweep when Ray's memory monitor
kills an actor (`ray/air/execution/_internal/actor_manager.py`, 2.60).
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

import ray
from ray import tune
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayError
from ray.experimental import internal_kv

from carbonsweep.cluster.connection import HEAD, NAMESPACE
from carbonsweep.cluster.worker import Report
from carbonsweep.domain import Configuration

MEETING_S: Final = 30.0
"""A supervisor waits no longer than this for the others of the first trials."""
RESOURCES = tune.PlacementGroupFactory([{HEAD: 0.001}])


class Supervisor(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Reused from trial to trial: all of them ask for the same, a place on the head node and nothing else."""

    def setup(self, config: dict[str, Any]) -> None:
        self._asked = config
        if "meeting" in config:
            _meet(*config["meeting"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._asked = new_config
        return True

    def step(self) -> dict[str, Any]:
        return {**supervised(self._asked), "done": True}


def _meet(name: str, count: int) -> None:
    """Wait until `count` supervisors have come to the meeting of this name; not for ever, as one may have died."""
    until_s = time.monotonic() + MEETING_S
    internal_kv._internal_kv_put(f"{name}-{os.getpid()}", b"", namespace=NAMESPACE.encode())
    while len(internal_kv._internal_kv_list(name, namespace=NAMESPACE.encode())) < count and time.monotonic() < until_s:
        time.sleep(0.02)


def supervised(asked: dict[str, Any]) -> dict[str, Any]:
    """`record` and `unspooled` of the worker's report, or why it is `lost`.

    `asked` names the worker, the configuration, the attempt, the time limit and the attempts that are settled.
    """
    limit_s = asked["limit_s"]
    try:
        worker = ray.get_actor(asked["worker"], namespace=NAMESPACE)
        pending = worker.measure.remote(Configuration(**asked["configuration"]), asked["attempt"], asked["settled"])
        if not ray.wait([pending], timeout=limit_s)[0]:
            return {"lost": f"hung: no result within {limit_s:g} s (--trial-timeout)"}
        report: Report = ray.get(pending)
    except (RayError, ValueError) as error:  # ValueError: no worker by that name any more
        return {"lost": reason(error)}
    return {"record": report.line.decode(), "unspooled": report.unspooled}


def reason(error: Exception) -> str:
    """What became of a worker, in a few words."""
    if isinstance(error, OutOfMemoryError):
        return "out of memory: Ray's memory monitor killed the worker"
    if isinstance(error, ActorDiedError) and "node" in str(error).lower() and "died" in str(error).lower():
        node_died = "its node has died" in str(error) or "node died" in str(error).lower()
        return "its node died" if node_died else "its worker died"
    if isinstance(error, ActorDiedError | ValueError):
        return "its worker died"
    if isinstance(error, ActorUnavailableError):
        return "its worker cannot be reached"
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"{type(error).__name__}: {first}"
