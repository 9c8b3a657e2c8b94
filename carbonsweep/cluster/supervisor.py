"""Tune's trial: a light actor on the head node that hands one configuration to a worker and watches over it.

Whatever becomes of the worker (killed, its node gone, out of memory, hanging) comes back as a result. Tune itself would
leave a trial pending for ever when the last node of its kind goes, and stops the whole sweep when Ray's memory monitor
kills an actor (`ray/air/execution/_internal/actor_manager.py`, 2.60).
"""

from __future__ import annotations

from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayError

from carbonsweep.cluster.connection import HEAD, NAMESPACE
from carbonsweep.cluster.worker import Report
from carbonsweep.domain import Configuration

RESOURCES = tune.PlacementGroupFactory([{HEAD: 0.001}])


class Supervisor(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Reused from trial to trial: all of them ask for the same, a place on the head node and nothing else."""

    def setup(self, config: dict[str, Any]) -> None:
        self._asked = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._asked = new_config
        return True

    def step(self) -> dict[str, Any]:
        return {**supervised(self._asked), "done": True}


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
