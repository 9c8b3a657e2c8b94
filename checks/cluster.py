"""The cluster for real: `ray up cluster.yaml` over SSH on five hosts made here, a sweep, `ray down`; then again with a
host cut off in mid-sweep.

    make check-cluster

Needs root, iproute2, openssh-server, rsync and util-linux. Says what it sees, a line a step, and fails at the first
falsehood. The hosts use this environment, so the setup of cluster.yaml finds everything installed. The sweeps rehearse:
their trials hold the GPU they ask for and read its meter (the stand-in driver's), and work on the CPU.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from carbonsweep.records import read
from checks.furnishing import REPOSITORY, WORKERS
from checks.hosts import Machine, Machines, NoHosts, login, made
from checks.rehearsal import (
    SWEEP_S,
    Falsehood,
    rehearsed,
    require,
    require_right_places,
    spread,
    unpacked_weights,
)

BINARIES: Final = Path(sys.executable).parent
SHIPPED: Final = REPOSITORY / "cluster.yaml"
PLACEHOLDERS: Final = tuple(f"192.0.2.{number}" for number in (10, 11, 12, 21, 22))
"""The addresses in it: of the head, and of workers."""

UP_S: Final = 300.0
JOIN_S: Final = 180.0
END_S: Final = 150.0
"""Until a worker that has lost its head has ended: 30 s by cluster.yaml, and a minute of Ray's own."""

NODES: Final = """
import json, ray
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
alive = [node for node in ray.nodes() if node["Alive"]]
print(json.dumps({node["NodeManagerHostname"]: {**node["Labels"], **node["Resources"]} for node in alive}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One run: the machines, the cluster file written for them, and when it began."""

    machines: Machines
    config: Path
    weights: Path
    begun_s: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """One line, with the seconds since the beginning."""
        print(f"{time.monotonic() - self.begun_s:7.1f} s  {text}", flush=True)

    def client(self, line: str, timeout_s: float) -> str:
        """A line at the client's, as a user without any Ray variable types it. Raises Falsehood when it fails."""
        done = self.machines.client.shell(line, timeout_s=timeout_s)
        require(done.returncode == 0, f"`{line}` ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout

    def up(self) -> None:
        """`ray up`, and every host is there and tells the kind its driver shows."""
        mark_installed(self.machines)
        self.client(f"ray up --yes {self.config}", UP_S)
        self.say("`ray up` ended")
        expected = {machine.name: machine.kind or "none" for machine in self.machines.hosts}
        found = awaited(self.nodes, lambda nodes: set(nodes) == set(expected), JOIN_S, "five nodes")
        told = {name: node["carbonsweep/gpu"] for name, node in found.items()}
        require(told == expected, f"labels are {told}, drivers show {expected}")
        gpus = {name: node.get("GPU", 0) for name, node in found.items()}
        require(gpus == {name: float(name in WORKERS) for name in expected}, f"Ray counts the GPUs as {gpus}")
        self.say(f"{len(found)} nodes: " + ", ".join(f"{name} {told[name]}" for name in expected))

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Labels and resources of the nodes that are alive, by host name, as the head sees them."""
        seen = self.machines.head.run(login(f"python -c '{NODES}'"), timeout_s=60)
        told = [line for line in seen.stdout.splitlines() if line.startswith("{")]  # Ray may complain around it
        require(seen.returncode == 0 and len(told) == 1, f"the head does not tell its nodes:\n{seen.stdout[-2000:]}")
        found: dict[str, dict[str, Any]] = json.loads(told[0])
        return found

    def closed_to_strangers(self) -> None:
        """With the token one gets in and without it nobody, and the dashboard is to be had on the head alone."""
        head = self.machines.head.address
        ask = f"ray status --address {head}:6379"
        token = (self.machines.head.home / ".ray" / "auth_token").read_text(encoding="ascii").strip()
        keys = {"no token": "RAY_AUTH_MODE=disabled", "a wrong token": f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN={'0' * 64}"}
        keys["the token"] = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN={token}"
        for name, variables in keys.items():
            done = self.machines.client.shell(f"{variables} timeout 60 {ask}", timeout_s=90)
            entered = done.returncode == 0
            require(entered == (name == "the token"), f"with {name}, `{ask}` ended with {done.returncode}")
        reach = "import socket; socket.create_connection(({!r}, 8265), timeout=5)"
        inside = self.machines.head.shell(f'python -c "{reach.format("127.0.0.1")}"', timeout_s=20)
        require(inside.returncode == 0, "the dashboard does not listen on the head")
        outside = self.machines.client.shell(f'python -c "{reach.format(head)}"', timeout_s=20)
        require("ConnectionRefusedError" in outside.stdout, f"the dashboard is open to the network: {outside.stdout}")
        self.say("no entry without the token; the dashboard listens on the head's loopback")

    def down(self) -> None:
        """`ray down`, and in the end nothing runs on any host."""
        self.client(f"ray down --yes {self.config}", 120)
        self.say("`ray down` ended")
        left = awaited(self.left, lambda found: not found, END_S, "hosts without processes", or_last=True)
        require(not left, "left running: " + "; ".join(f"{name}: {lines}" for name, lines in left.items()))
        self.say("nothing is left running on any host")

    def left(self) -> dict[str, list[str]]:
        """What still runs, by host; hosts where nothing does are left out."""
        running = {machine.name: machine.processes() for machine in self.machines.hosts}
        return {name: lines for name, lines in running.items() if lines}


def awaited(
    look: Callable[[], Any], enough: Callable[[Any], bool], limit_s: float, what: str, or_last: bool = False
) -> Any:
    """What is seen once it is enough. Raises Falsehood when that does not come, unless the last sight will do."""
    until_s = time.monotonic() + limit_s
    seen = look()
    while not enough(seen):
        if time.monotonic() > until_s:
            require(or_last, f"no {what} within {limit_s:.0f} s, but {seen}")
            return seen
        time.sleep(1)
        seen = look()
    return seen


def written_for(machines: Machines) -> Path:
    """The shipped cluster.yaml with these machines' addresses, account and key: what it says to edit, and no more."""
    edits = dict(zip(PLACEHOLDERS, (machine.address for machine in machines.hosts), strict=True))
    edits |= {"ssh_user: carbonsweep": "ssh_user: root", "~/.ssh/id_ed25519": str(machines.key)}
    text = SHIPPED.read_text(encoding="utf-8")
    for shipped, ours in edits.items():
        require(text.count(shipped) == 1, f"{SHIPPED.name} has {shipped!r} {text.count(shipped)} times, not once")
        text = text.replace(shipped, ours)
    path = machines.client.folder / SHIPPED.name
    path.write_text(text, encoding="utf-8")
    return path


def install(machines: Machines) -> None:
    """This environment, where the setup of cluster.yaml makes one, and on the client's PATH."""
    for machine in machines.hosts:
        folder = machine.home / "carbonsweep"
        folder.mkdir()
        (folder / ".venv").symlink_to(BINARIES.parent)
    (machines.client.home / ".bashrc").write_text(f"export PATH={BINARIES}:$PATH\n", encoding="utf-8")


def mark_installed(machines: Machines) -> None:
    """What the setup of cluster.yaml leaves behind when the environment is up to date with the dependencies."""
    mark = b"".join((REPOSITORY / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    for machine in machines.hosts:
        (machine.home / "carbonsweep" / ".installed").write_bytes(mark)


def whole_round(check: Check) -> None:
    """Up, a sweep in which each kind is measured where it is, down."""
    check.up()
    check.closed_to_strangers()
    with rehearsed(check.machines.head, check.weights, "whole", "1,2,3") as sweep:
        sweep.ended()
        records = sweep.records()
    require(len(records) == 6, f"2 kinds x 3 batch sizes gave {len(records)} records")
    require_right_places(records, check.machines)
    check.say(f"a sweep: {spread(records)}")
    brought = check.machines.client.folder / "whole"
    check.client(f"ray rsync-down {check.config} '~/carbonsweep/whole/' {brought}/", 60)
    require(read(brought)[0] == records, "`ray rsync-down` brought other records than the head has")
    check.down()


def round_with_a_loss(check: Check, lost: Machine) -> None:
    """Up, a sweep in which a host is cut off: it ends with an answer all the same, and says which host is gone."""
    check.up()
    with rehearsed(check.machines.head, check.weights, "loss", "1,2,3,4") as sweep:
        awaited(sweep.records, lambda found: len(found) > 0, SWEEP_S, "first record")
        check.machines.cut_off(lost)
        check.say(f"{lost.name} is cut off after {len(sweep.records())} records")
        said = sweep.ended()
        records = sweep.records()
    require_right_places(records, check.machines)
    require(len(records) == 8, f"2 kinds x 4 batch sizes gave {len(records)} records without {lost.name}")
    require(lost.name in said, f"nothing says that {lost.name} is gone:\n{said[-3000:]}")
    check.say(f"the sweep went on: {spread(records)}")
    check.say("it said: " + "; ".join(line.strip() for line in said.splitlines() if lost.name in line)[:400])
    check.machines.join(lost)
    awaited(check.nodes, lambda nodes: len(nodes) == 5, JOIN_S, "fifth node again")
    check.say(f"{lost.name} is plugged in again, and back")
    check.down()


def main() -> None:
    """Both rounds; exits 1 at the first falsehood, 2 where there can be no hosts."""
    try:
        with made() as machines:
            install(machines)
            shared = unpacked_weights(machines.key.parent / "weights")
            check = Check(machines=machines, config=written_for(machines), weights=shared)
            check.say("five hosts and a client")
            whole_round(check)
            round_with_a_loss(check, machines.workers[0])
    except NoHosts as reason:
        print(f"check-cluster: {reason}", file=sys.stderr)
        sys.exit(2)
    except Falsehood as falsehood:
        sys.exit(f"check-cluster: {falsehood}")


if __name__ == "__main__":
    main()
