"""The hosts of `make check-cluster` are machines of their own, and gone afterwards. Skipped where none can be made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.furnishing import WORKERS
from checks.hosts import Machine, Machines, NoHosts, made

BINARIES = Path(sys.executable).parent


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    try:
        with made() as found:
            yield found
    except NoHosts as reason:
        pytest.skip(str(reason))


def over_ssh(machines: Machines, machine: Machine, line: str, connect_s: int = 20) -> subprocess.CompletedProcess[str]:
    quiet = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        f"ConnectTimeout={connect_s}",
    ]
    options = [word for each in quiet for word in ("-o", each)]
    return machines.client.run(
        ["ssh", "-i", str(machines.key), *options, f"root@{machine.address}", line], timeout_s=60
    )


def test_each_host_has_its_name_and_tells_the_gpu_it_is_said_to_have(machines: Machines) -> None:
    line = f"hostname; {BINARIES}/python -m carbonsweep.node"
    told = {machine.name: over_ssh(machines, machine, line).stdout.split() for machine in machines.hosts}
    expected = {"head": "none", **WORKERS}
    assert told == {name: [name, f"carbonsweep/gpu={kind}"] for name, kind in expected.items()}


def test_a_host_that_is_cut_off_runs_on_and_is_reached_by_nobody_until_it_is_plugged_in(machines: Machines) -> None:
    lost, other = machines.workers[:2]
    machines.cut_off(lost)
    try:
        assert over_ssh(machines, lost, "true", connect_s=2).returncode != 0
        assert over_ssh(machines, other, "true").returncode == 0
        assert lost.run(["hostname"], timeout_s=10).stdout == f"{lost.name}\n"
    finally:
        machines.join(lost)
    assert over_ssh(machines, lost, "true").returncode == 0


def test_homes_and_processes_are_each_hosts_own(machines: Machines) -> None:
    one, other = machines.workers[:2]
    assert over_ssh(machines, one, "touch ~/mine; setsid --fork sleep 321 > /dev/null 2>&1").returncode == 0
    assert (one.home / "mine").exists()
    assert not (other.home / "mine").exists()
    until_s = time.monotonic() + 10  # what the ssh sessions of tests ran may still be on its way out
    while (found := (one.processes(), other.processes())) != (["sleep 321"], []) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert found == (["sleep 321"], [])


def test_nothing_stays_when_the_hosts_go() -> None:
    try:
        with made() as machines:
            folder = machines.key.parent
            started = machines.head.run(["sh", "-c", "sleep 322 > /dev/null 2>&1 &"], timeout_s=10)
            assert started.returncode == 0
            pids = [machine.pid for machine in (*machines.hosts, machines.client)]
            assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    except NoHosts as reason:
        pytest.skip(str(reason))
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s and (alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]):
        time.sleep(0.05)
    assert alive == []
    assert not folder.exists()


def test_without_root_or_without_a_program_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoHosts, match="only root can make"), made():
        pass
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program, path: None if program == "rsync" else f"/usr/bin/{program}")
    with pytest.raises(NoHosts, match="need rsync"), made():
        pass
