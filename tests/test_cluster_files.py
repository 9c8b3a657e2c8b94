"""The files `ray up` reads, by Ray's own schema and preparation, and by what we promise of them."""

from __future__ import annotations

import functools
import importlib
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from carbonsweep.cluster.labels import GPU_LABEL
from carbonsweep.facts import gpus

ROOT = Path(__file__).parents[1]
ON_PREMISES, CLOUDS = "cluster.yaml", ("cluster-aws.yaml", "cluster-gcp.yaml")
ALL = (ON_PREMISES, *CLOUDS)


@functools.cache
def text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def config(file: str) -> dict[str, Any]:
    yaml: Any = importlib.import_module("yaml")  # comes with Ray, and without types
    loaded: dict[str, Any] = yaml.safe_load(text(file))
    return loaded


def starts(file: str) -> dict[str, str]:
    """The command that starts Ray, on the head and on workers: the last of each list, after `ray stop`."""
    found = {}
    for role in ("head", "worker"):
        stop, start = config(file)[f"{role}_start_ray_commands"]
        assert stop == "ray stop"
        found[role] = start
    return found


def flags(command: str) -> dict[str, str]:
    """--name=value of the `ray start` in a command."""
    words = shlex.split(command[command.index("ray start") :])
    return dict(
        word.removeprefix("--").rstrip(";").split("=", 1) for word in words if word.startswith("--") and "=" in word
    )


def run_with(folder: Path, command: str, **programs: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
    """A command of the file by a shell, as Ray runs it, with scripts in place of programs; `folder` is its home."""
    for name, lines in programs.items():
        (folder / name).write_text("\n".join(["#!/bin/sh", *lines]) + "\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "RAY_HEAD_IP": "10.0.0.1"}
    return subprocess.run(["bash", "-c", f"({command})"], env=variables, timeout=20, check=False)


@pytest.mark.parametrize("file", ALL)
def test_ray_accepts_the_file(file: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config(file))
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


@pytest.mark.parametrize("file", ALL)
def test_rays_own_validation_would_notice_a_typo(file: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(Exception, match="'max_wrokers' was unexpected"):
        validate_config(prepare_config({**config(file), "max_wrokers": 2}))


def test_every_worker_on_premises_is_started_at_once() -> None:
    from ray.autoscaler._private.util import prepare_config

    prepared = prepare_config(config(ON_PREMISES))
    (nodes,) = prepared["available_node_types"].values()
    assert nodes["min_workers"] == nodes["max_workers"] == len(config(ON_PREMISES)["provider"]["worker_ips"]) == 4


def test_clouds_start_nothing_but_the_head_until_a_trial_asks() -> None:
    for file in CLOUDS:
        types = config(file)["available_node_types"]
        assert {types[name].get("min_workers", 0) for name in types} == {0}, file
        assert config(file)["idle_timeout_minutes"] > 0


@pytest.mark.parametrize(("file", "kinds"), [(CLOUDS[0], {"T4", "L40S"}), (CLOUDS[1], {"T4", "L4"})])
def test_a_clouds_machines_carry_kinds_of_the_fact_table(file: str, kinds: set[str]) -> None:
    found = config(file)
    labels = {
        name: machine["labels"][GPU_LABEL]
        for name, machine in found["available_node_types"].items()
        if machine["resources"].get("GPU")
    }
    assert set(labels.values()) == kinds <= set(gpus())
    assert all(name == kind.casefold() for name, kind in labels.items())
    assert "labels" not in found["available_node_types"][found["head_node_type"]]


@pytest.mark.parametrize("file", ALL)
def test_every_node_starts_with_the_label_of_the_probe_or_not_at_all(file: str) -> None:
    for start in starts(file).values():
        assert start.startswith("label=$(python -m carbonsweep.node) || exit 1; ")
        assert flags(start)["labels"] == "$label"
        assert "num-gpus" not in flags(start)  # Ray counts them, by the same NVML


@pytest.mark.parametrize("file", ALL)
def test_every_node_asks_for_the_token_and_no_secret_is_in_the_file(file: str) -> None:
    for start in starts(file).values():
        assert re.search(r" export RAY_AUTH_MODE=token [^;]*; ", start)
    found = config(file)
    assert any("ray get-auth-token --generate > /dev/null" in command for command in found["head_setup_commands"])
    assert found["cluster_synced_files"] == ["~/.ray/auth_token"]
    assert not any("auth_token" in path for path in found["file_mounts"])
    # Tokens and keys are long; the longest word without a slash that is none is a name of ours or Ray's.
    words = re.findall(r"[A-Za-z0-9+]{33,}", text(file))
    assert words == []
    assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY|aws_secret|AKIA|password", text(file))


@pytest.mark.parametrize("file", ALL)
def test_the_dashboard_listens_on_the_heads_loopback_and_ports_are_those_the_comment_opens(file: str) -> None:
    head = flags(starts(file)["head"])
    assert (head["include-dashboard"], head["dashboard-host"]) == ("true", "127.0.0.1")
    for start in starts(file).values():
        ports = {name: int(value) for name, value in flags(start).items() if name.endswith("port")}
        ports |= {name: int(value) for name, value in re.findall(r"(\w+_METRIC_PORT)=(\d+)", start)}
        # All that `ray start` takes for such a node, so that none is left to chance.
        missing = {"node-manager-port", "object-manager-port", "min-worker-port", "max-worker-port"} - set(ports)
        missing |= {"dashboard-agent-listen-port", "runtime-env-agent-port", "metrics-export-port"} - set(ports)
        assert missing == set()
        dashboard = ports.pop("dashboard-port", None)
        assert dashboard in (None, 8265)
        assert all(6379 <= port <= 6999 for port in ports.values())
        assert len(set(ports.values())) == len(ports)
    assert "6379-6999" in text(ON_PREMISES)


def test_on_premises_the_first_autoscaler_is_chosen_in_the_file_and_in_clouds_the_second() -> None:
    assert re.search(r" export [^;]* RAY_enable_autoscaler_v2=0 [^;]*; ", starts(ON_PREMISES)["head"])
    for file in CLOUDS:
        assert "RAY_enable_autoscaler_v2" not in starts(file)["head"]  # `ray up` sets 1 by itself


@pytest.mark.parametrize(("failures", "code", "calls"), [(0, 0, 1), (2, 0, 3), (3, 1, 3)])
@pytest.mark.parametrize("file", ALL)
@pytest.mark.parametrize("role", ["head", "worker"])
def test_a_start_that_fails_is_tried_three_times_and_a_failure_is_no_success(
    tmp_path: Path, file: str, role: str, failures: int, code: int, calls: int
) -> None:
    note = tmp_path / "calls"
    ray = (
        '[ "$1" = stop ] && exit',
        f'echo "$RAY_AUTH_MODE $*" >> {note}',
        f"[ $(wc -l < {note}) -gt {failures} ]",
    )
    (tmp_path / "ray_bootstrap_config.yaml").write_text('{"provider": {"head_ip": "10.0.0.1"}}', encoding="utf-8")
    done = run_with(tmp_path, starts(file)[role], ray=ray, python=("echo carbonsweep/gpu=T4",))
    lines = note.read_text(encoding="utf-8").splitlines()
    assert (done.returncode, len(lines)) == (code, calls)
    assert all(line.startswith("token start ") and "--labels=carbonsweep/gpu=T4 " in line for line in lines)
    expected = "--address=10.0.0.1:6379 " if role == "worker" else "--head "
    assert all(expected in line for line in lines)
    if (file, role) == (ON_PREMISES, "head"):
        assert all("--node-ip-address=10.0.0.1 " in line for line in lines)


@pytest.mark.parametrize("file", ALL)
def test_no_node_starts_without_a_label(tmp_path: Path, file: str) -> None:
    for start in starts(file).values():
        done = run_with(tmp_path, start, ray=("touch $HOME/started",), python=("exit 1",))
        assert done.returncode == 1
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("file", ALL)
def test_a_worker_without_its_head_ends_itself(file: str) -> None:
    start = starts(file)["worker"]
    assert re.search(r" export [^;]* RAY_gcs_rpc_server_reconnect_timeout_s=30; ", start)
    assert flags(start)["include-log-monitor"] == "false"


@pytest.mark.parametrize("file", ALL)
def test_what_is_sent_is_there_and_is_all_that_the_installation_needs(file: str) -> None:
    mounts = config(file)["file_mounts"]
    assert set(mounts) == {f"~/carbonsweep/{local}" for local in mounts.values()}
    assert [local for local in mounts.values() if not (ROOT / local).exists()] == []
    assert {"carbonsweep", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= set(mounts.values())


@pytest.mark.parametrize("file", CLOUDS)
def test_clouds_set_their_machines_up_as_on_premises(file: str) -> None:
    ours, theirs = config(ON_PREMISES), config(file)
    for key in ("file_mounts", "rsync_exclude", "setup_commands", "cluster_synced_files", "worker_start_ray_commands"):
        assert theirs[key] == ours[key], key
    here, there = flags(starts(ON_PREMISES)["head"]), flags(starts(file)["head"])
    # On premises a head may be in several networks, and only the one of the cluster will do.
    assert here.pop("node-ip-address") == "$head_ip"
    assert there == here


@pytest.mark.parametrize("file", ALL)
def test_lines_fit_a_screen(file: str) -> None:
    assert [line for line in text(file).splitlines() if len(line) > 120] == []
