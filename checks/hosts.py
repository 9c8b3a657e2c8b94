"""Five machines and a client on this one: namespaces of Linux, each machine with an ssh server of its own.

A head without a GPU, two machines whose NVML (the stand-in driver) shows a T4, two that show an RTX 6000 Ada. Each has
its own network, processes, mounts, host name, home, /tmp/ray and accounts; they share the disk, and so the Python
environment. Their network is a bridge that leads nowhere. Everything ends with the process that made it.

    with made() as machines:
        machines.client.shell("ray up --yes cluster.yaml", timeout_s=300)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from checks.furnishing import CLIENT, HEAD, NETWORK, REPOSITORY, SSH_PORT, WORKERS, Plan

_PROGRAMS: Final = ("ip", "sshd", "ssh", "ssh-keygen", "rsync", "unshare", "nsenter", "setpriv")
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_THE_MACHINE: Final = ("sshd:", "/usr/sbin/sshd", "sleep infinity")
_START_S: Final = 20.0

Found = TypeVar("Found")


class NoHosts(Exception):
    """This machine cannot make the hosts; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine; `pid` is its first process, as seen here, `kind` and `uuid` what its driver shows, if it has one.

    `folder` holds its home and what it has in /tmp/ray.
    """

    name: str
    address: str
    kind: str | None
    uuid: str | None
    folder: Path
    pid: int

    @property
    def home(self) -> Path:
        """The home of root on that machine, as seen here."""
        return self.folder / "home"

    def command(self, arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> list[str]:
        """`arguments` as run on that machine, in a clean environment; what runs there ends with the machine."""
        settings = {
            "HOME": str(self.folder.parent / "home"),
            "USER": "root",
            "PATH": _SYSTEM_PATH,
            "TERM": "dumb",
            **(variables or {}),
        }
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--net", "--pid", f"--wd={REPOSITORY}"]
        return [*enter, "env", "-i", *(f"{key}={value}" for key, value in settings.items()), *arguments]

    def run(
        self, arguments: Sequence[str], *, timeout_s: float, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; both outputs as one text. Raises subprocess.TimeoutExpired."""
        return subprocess.run(
            self.command(arguments, variables),
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )

    def shell(self, line: str, *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a line as a person does who has logged in there."""
        return self.run(login(line), timeout_s=timeout_s)

    def processes(self) -> list[str]:
        """What runs there, as command lines, without its ssh server."""
        mine = _space(self.pid, "pid")
        everybody = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        found = [_command_line(pid) for pid in everybody if _space(pid, "pid") == mine]
        return sorted(line for line in found if line and not line.startswith(_OF_THE_MACHINE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """All machines; `key` is the client's ssh key, `switch_pid` the process that holds the bridge."""

    client: Machine
    head: Machine
    workers: tuple[Machine, ...]
    key: Path
    switch_pid: int

    @property
    def hosts(self) -> tuple[Machine, ...]:
        """The head and the workers."""
        return (self.head, *self.workers)

    def cut_off(self, machine: Machine) -> None:
        """Pull its network plug: it goes on running and nobody reaches it."""
        _in_network(self.switch_pid, f"ip link set {_port(machine.name)} down")

    def join(self, machine: Machine) -> None:
        """Plug it in again."""
        _in_network(self.switch_pid, f"ip link set {_port(machine.name)} up")


def login(line: str) -> list[str]:
    """A shell line in the environment that `ray up` uses as well: login shell and ~/.bashrc."""
    return ["bash", "--login", "-c", f"source ~/.bashrc; {line}"]


@contextmanager
def made() -> Iterator[Machines]:
    """The machines; gone when the block ends. Raises NoHosts where this machine cannot make them."""
    _require_means()
    with ExitStack() as stack:
        # Not in /tmp: the machines have some of that for themselves.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carbonsweep-hosts-", dir="/var/tmp")))
        plan = Plan(folder=folder)
        plan.prepare()
        switch_pid = stack.enter_context(_spawned(["unshare", "--net", "sleep", "infinity"]))
        _wait("the bridge's network", lambda: _space(switch_pid, "net") != _space(os.getpid(), "net"))
        _in_network(switch_pid, "ip link add br0 type bridge", "ip link set br0 up")
        machines = {name: stack.enter_context(_machine(plan, name, switch_pid)) for name in plan.names}
        yield Machines(
            client=machines[CLIENT],
            head=machines[HEAD],
            workers=tuple(machines[name] for name in WORKERS),
            key=plan.key,
            switch_pid=switch_pid,
        )


def _require_means() -> None:
    if os.geteuid() != 0:
        raise NoHosts("the hosts are network namespaces, which only root can make: run this as root")
    missing = [program for program in _PROGRAMS if shutil.which(program, path=_SYSTEM_PATH) is None]
    if missing:
        raise NoHosts(f"the hosts need {', '.join(missing)}: install iproute2, openssh-server, rsync and util-linux")
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        raise NoHosts("this machine's root may not make namespaces (a container without CAP_SYS_ADMIN?)")


@contextmanager
def _machine(plan: Plan, name: str, switch_pid: int) -> Iterator[Machine]:
    """Start one machine and plug it in."""
    folder = plan.folder / name
    server = "sleep infinity" if name == CLIENT else f"/usr/sbin/sshd -D -e -f {folder}/sshd_config"
    start = [*plan.boot(name), f"exec {server} 2>{folder}/sshd.log"]
    apart = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--mount-proc"]
    with _spawned([*apart, "sh", "-e", "-c", "\n".join(start)]) as outer:
        pid = _wait(f"{name}'s first process", lambda: _child(outer))
        _plug_in(switch_pid, pid, name, plan.address(name))
        if name != CLIENT:
            _wait(f"{name}'s ssh server", lambda: _listens(pid, SSH_PORT))
        yield Machine(
            name=name,
            address=plan.address(name),
            kind=WORKERS.get(name),
            uuid=plan.uuid(name),
            folder=folder,
            pid=pid,
        )


def _plug_in(switch_pid: int, pid: int, name: str, address: str) -> None:
    port = _port(name)
    _in_network(
        switch_pid,
        f"ip link add {port} type veth peer name eth0 netns {pid}",
        f"ip link set {port} master br0 up",
    )
    # The default route leads to nobody: with it, a program that looks for its own address finds eth0.
    _in_network(
        pid,
        "ip link set lo up",
        f"ip address add {address}/24 dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {NETWORK}254",
    )


def _port(name: str) -> str:
    return f"to-{name}"


def _in_network(pid: int, *lines: str) -> None:
    subprocess.run(["nsenter", "--target", str(pid), "--net", "sh", "-e", "-c", "\n".join(lines)], check=True)


@contextmanager
def _spawned(arguments: Sequence[str]) -> Iterator[int]:
    """A process that ends with the block, and with this process however that ends."""
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *arguments], stdin=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _wait(what: str, found: Callable[[], Found | None]) -> Found:
    """Ask until there is an answer. Raises NoHosts when it does not come."""
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        answer = found()
        if answer:
            return answer
        time.sleep(0.02)
    raise NoHosts(f"{what} did not come up within {_START_S:.0f} s")


def _child(pid: int) -> int | None:
    """The only child of a process, if it has one yet."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(children[0]) if children else None


def _listens(pid: int, port: int) -> bool:
    """Whether anybody listens to a TCP port in the network of a process."""
    rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)  # 0A: LISTEN


def _space(pid: int, kind: str) -> str | None:
    """Which namespace a process is in; None for a process that is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return None


def _command_line(pid: int) -> str:
    """How a process was called; empty for one that is gone, and for a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
