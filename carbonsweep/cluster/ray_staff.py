"""Workers as Ray actors, placed by label."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from carbonsweep.cluster.connection import NAMESPACE
from carbonsweep.cluster.demand import Demand
from carbonsweep.cluster.labels import GPU_LABEL
from carbonsweep.cluster.worker import Assignment, Home, Worker


class RayStaff:
    """Hires for one sweep. The actors end with the process that hired them, and never start again by themselves."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = ray.put(assignment)
        self._handles: dict[str, Any] = {}
        self._answers: dict[str, Any] = {}

    def hire(self, demand: Demand) -> str:
        """Ask Ray for a worker; it waits until a node with the label has room."""
        name = f"worker-{uuid.uuid4().hex}"
        handle = ray.remote(Worker).options(name=name, namespace=NAMESPACE, **options(demand)).remote(self._assignment)
        self._handles[name], self._answers[name] = handle, handle.home.remote()
        return name

    def started(self, names: Sequence[str]) -> Mapping[str, Home | Exception]:
        """Those that answer by now, or failed."""
        pending = {self._answers[name]: name for name in names}
        if not pending:
            return {}
        ready, _ = ray.wait(list(pending), num_returns=len(pending), timeout=0)
        return {pending[answer]: _answer(answer) for answer in ready}

    def dismiss(self, name: str) -> None:
        """Kill the process; one that is dead already is no matter."""
        self._answers.pop(name, None)
        handle = self._handles.pop(name, None)
        if handle is not None:
            with contextlib.suppress(RayError, ValueError):
                ray.kill(handle, no_restart=True)


def options(demand: Demand) -> dict[str, Any]:
    """What Ray is asked for: whole GPUs on a node of the kind, or cores, spread over the nodes."""
    asked: dict[str, Any] = {"num_cpus": demand.cpus, "num_gpus": demand.gpus, "max_restarts": 0, "max_task_retries": 0}
    if demand.kind is None:
        return {**asked, "scheduling_strategy": "SPREAD"}
    return {**asked, "label_selector": {GPU_LABEL: demand.kind}}


def _answer(reference: Any) -> Home | Exception:
    try:
        home: Home = ray.get(reference)
    except RayError as error:
        failure: Exception = error
        return failure
    return home
