"""The worker: one process on the GPUs it holds, for many trials; and the words it is sent.

A finished record is durable on the worker's machine before anybody is told of it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import ray

from carbonsweep.bench import Bench
from carbonsweep.domain import Configuration, Workload
from carbonsweep.errors import BadInput, StorageFailed
from carbonsweep.records import encode
from carbonsweep.spool import spool
from carbonsweep.trial import trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What every worker of a sweep works on: sent to each of them once, so it is small.

    `workload` makes the prompts on the worker's machine (from a file or the hub: nothing large travels), and their
    digest must come out as `digest`.
    """

    bench: Bench
    workload: Callable[[], Workload]
    digest: str
    spool_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a worker lives."""

    node_id: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A finished trial: its record as a line, and why that is not durable on the worker's machine, if it is not."""

    line: bytes
    unspooled: str | None


class Worker:
    """A Ray actor. It holds the bench, and with it the weights that are loaded, from trial to trial."""

    def __init__(self, assignment: Assignment) -> None:
        self._bench = assignment.bench
        self._workload = same_workload(assignment)
        self._spool = spool(assignment.spool_name)

    def home(self) -> Home:
        """Answers once the worker is ready for its first trial."""
        return Home(node_id=ray.get_runtime_context().get_node_id(), host=socket.gethostname(), pid=os.getpid())

    def measure(self, configuration: Configuration, attempt: str, settled: tuple[str, ...]) -> Report:
        """Run one trial. The sweep has the records of the `settled` attempts: they need not be kept here any longer."""
        self._spool.settle(settled)
        record = trial(self._bench, configuration, self._workload, attempt=attempt)
        try:
            self._spool.keep(record)
        except StorageFailed as error:
            return Report(line=encode(record), unspooled=str(error))
        return Report(line=encode(record), unspooled=None)


def same_workload(assignment: Assignment) -> Workload:
    """The workload of the sweep, on this machine. Raises BadInput where another prompt set lies here."""
    workload = assignment.workload()
    if (digest := workload.summary().digest) != assignment.digest:
        raise BadInput(
            f"the prompts on {socket.gethostname()} are not those of the sweep (digest {digest}, not "
            f"{assignment.digest}): copy the same file to every node"
        )
    return workload
