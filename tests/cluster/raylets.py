"""A Ray cluster of several raylets on this machine, in namespaces of its own: nothing else is seen, met or ended.

Inside a network namespace with nothing but a loopback device no port can be reached from outside, and Ray does not
rewrite 127.0.0.1 to the host's address. Inside a process namespace everything ends with its first process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from carbonsweep.cluster.labels import GPU_LABEL, NO_GPU

ROOT = Path(__file__).parents[2]
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
LOOPBACK_UP = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def why_not() -> str | None:
    """Why no such cluster can be made here, or None where it can."""
    if sys.platform != "linux":
        return "namespaces are Linux's"
    try:
        done = subprocess.run([*NAMESPACES, *LOOPBACK_UP, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unshare (util-linux) is not installed"
    return None if done.returncode == 0 else f"no namespaces can be made here: {done.stderr.strip()}"


def play(scenario: str, folder: Path, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
    """Run a function of `scenarios` in namespaces of its own; what it prints last is JSON."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    env |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-m", "tests.cluster.scenarios", scenario]
    return subprocess.run(
        [*NAMESPACES, *LOOPBACK_UP, *command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class Raylets:
    """A head without cores, and nodes that join; each keeps its spool in a folder of its own, as machines do."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        self._nodes: dict[str, Any] = {}
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "node_ip_address": "127.0.0.1",
                "include_dashboard": False,
                "labels": {GPU_LABEL: NO_GPU},
                "env_vars": {"CARBONSWEEP_SPOOL": str(folder / "spool-head"), "RAY_memory_monitor_refresh_ms": "0"},
            },
        )
        self.address = str(self._cluster.address)

    def join(
        self, name: str, kind: str = NO_GPU, gpus: int = 0, cpus: int = 1, env: Mapping[str, str] | None = None
    ) -> None:
        """A node by this name; it may be one that was killed, with what its spool holds."""
        own = {"CARBONSWEEP_SPOOL": str(self.folder / f"spool-{name}"), "RAY_memory_monitor_refresh_ms": "0"}
        self._nodes[name] = self._cluster.add_node(
            num_cpus=cpus, num_gpus=gpus, labels={GPU_LABEL: kind, "name": name}, env_vars=own | dict(env or {})
        )

    def end(self) -> None:
        """All of it."""
        self._cluster.shutdown()

    @property
    def names(self) -> list[str]:
        """Of the nodes that are there."""
        return list(self._nodes)

    def workers(self, name: str | None = None, title: str = "ray::Worker") -> list[int]:
        """Process ids of the measuring workers on a node, or on all; `title` chooses other actors."""
        raylets = [self._raylet(one) for one in ([name] if name else self._nodes)]
        if title != "ray::Worker":
            raylets.append(self._cluster.head_node.all_processes["raylet"][0].process.pid)
        return [pid for pid, parent, command in processes() if parent in raylets and command.startswith(title)]

    def kill_raylet(self, name: str) -> None:
        """The raylet alone, as when a machine loses power to its Ray; its workers end when they notice."""
        pid = self._raylet(name)
        os.kill(pid, signal.SIGKILL)
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)

    def kill_node(self, name: str) -> None:
        """The raylet and its workers in one moment, as when the power fails."""
        for pid in self.workers(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill_raylet(name)

    def _raylet(self, name: str) -> int:
        return int(self._nodes[name].all_processes["raylet"][0].process.pid)


def processes() -> Iterator[tuple[int, int, str]]:
    """(pid, parent's pid, command line) of every process of this namespace."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            yield int(entry.name), int(stat.rpartition(")")[2].split()[1]), command


def eventually(question: Callable[[], Any], within_s: float = 90.0) -> Any:
    """The answer as soon as it is true. Raises TimeoutError."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise TimeoutError(f"not within {within_s:g} s")
