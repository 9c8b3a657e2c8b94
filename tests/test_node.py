"""The label of a node: told by a real NVML (the stand-in library) to a process of its own, as `ray start` gets it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from carbonsweep.cluster.labels import GPU_LABEL, NO_GPU, UNKNOWN_GPU
from tests.standin import Standin, StandinGpu, environment, rtx_6000_ada, t4

LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED, RM_VERSION_MISMATCH = 12, 9, 18  # NVML_ERROR_*


def uuid(number: int) -> str:
    return f"GPU-00000000-0000-0000-0000-{number:012d}"


def asked(
    folder: Path, *gpus: StandinGpu, init_error: int = 0, visible: str | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m carbonsweep.node` on a machine with these GPUs."""
    machine = Standin(gpus=gpus, init_error=init_error)
    variables = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    variables |= environment(folder, machine)
    if visible is not None:
        variables["CUDA_VISIBLE_DEVICES"] = visible
    return subprocess.run(
        [sys.executable, "-m", "carbonsweep.node"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("gpu", "kind"), [(t4(), "T4"), (rtx_6000_ada(), "RTX6000Ada")])
def test_a_known_gpu_is_told_by_its_key_in_the_fact_table(tmp_path: Path, gpu: StandinGpu, kind: str) -> None:
    found = asked(tmp_path, gpu)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{GPU_LABEL}={kind}\n", "")


def test_several_gpus_of_one_kind_have_one_label(tmp_path: Path) -> None:
    found = asked(tmp_path, t4(uuid=uuid(1)), t4(uuid=uuid(2)))
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{GPU_LABEL}=T4\n", "")


@pytest.mark.parametrize("error", [LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED])
def test_a_machine_without_a_driver_has_no_gpu(tmp_path: Path, error: int) -> None:
    found = asked(tmp_path, t4(), init_error=error)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{GPU_LABEL}={NO_GPU}\n", "")


def test_a_driver_that_shows_no_gpu_is_no_gpu(tmp_path: Path) -> None:
    found = asked(tmp_path, t4(), visible="-1")
    assert (found.returncode, found.stdout) == (0, f"{GPU_LABEL}={NO_GPU}\n")


# The Turing board that Ray calls RTX-6000 as well.
STRANGER = rtx_6000_ada(name="Quadro RTX 6000")
SLICED = replace(t4(uuid=uuid(3)), mig=True)


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ((STRANGER,), ("Quadro RTX 6000", "gpus.toml")),
        ((SLICED,), ("MIG", uuid(3), "nvidia-smi -mig 0")),
        # T4 sorts after RTX6000Ada, so that is the kind the advice shows.
        ((t4(uuid=uuid(1)), rtx_6000_ada(uuid=uuid(2))), ("RTX6000Ada, T4", f"CUDA_VISIBLE_DEVICES={uuid(2)}")),
    ],
    ids=["a stranger", "slices", "two kinds"],
)
def test_a_node_whose_kind_cannot_be_told_joins_as_unknown_and_says_why(
    tmp_path: Path, gpus: tuple[StandinGpu, ...], words: tuple[str, ...]
) -> None:
    found = asked(tmp_path, *gpus)
    assert (found.returncode, found.stdout) == (0, f"{GPU_LABEL}={UNKNOWN_GPU}\n")
    assert found.stderr.count("\n") == 1
    assert [word for word in words if word not in found.stderr] == []


def test_a_driver_that_is_there_and_broken_is_unknown_rather_than_no_gpu(tmp_path: Path) -> None:
    found = asked(tmp_path, t4(), init_error=RM_VERSION_MISMATCH)
    assert (found.returncode, found.stdout) == (0, f"{GPU_LABEL}={UNKNOWN_GPU}\n")
    assert "does not answer" in found.stderr


def test_the_advice_for_two_kinds_gives_a_node_of_one(tmp_path: Path) -> None:
    mixed = (t4(uuid=uuid(1)), rtx_6000_ada(uuid=uuid(2)), rtx_6000_ada(uuid=uuid(3)))
    advised = asked(tmp_path, *mixed).stderr.split("CUDA_VISIBLE_DEVICES=")[1].strip()
    assert advised == f"{uuid(2)},{uuid(3)}"
    found = asked(tmp_path, *mixed, visible=advised)
    assert (found.stdout, found.stderr) == (f"{GPU_LABEL}=RTX6000Ada\n", "")


def test_ray_counts_the_gpus_that_the_label_speaks_of(tmp_path: Path) -> None:
    # Two of three shown: Ray's own detection, through its own copy of the bindings, must come to 2, without --num-gpus.
    machine = Standin(gpus=tuple(t4(uuid=uuid(number)) for number in (1, 2, 3)))
    counted = (
        "from ray._private.resource_and_label_spec import ResourceAndLabelSpec as Spec\n"
        "print(Spec(1, None, 10**9, 10**8, {}, {}).resolve(is_head=False, node_ip_address='127.0.0.1').num_gpus)"
    )
    shown = {"CUDA_VISIBLE_DEVICES": f"{uuid(1)},{uuid(3)}"}
    found = subprocess.run(
        [sys.executable, "-c", counted],
        env=os.environ | environment(tmp_path, machine) | shown,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout == "2\n", found.stderr
    assert asked(tmp_path, *machine.gpus, visible=shown["CUDA_VISIBLE_DEVICES"]).stdout == f"{GPU_LABEL}=T4\n"


def test_help_is_quick_and_no_ray_is_imported() -> None:
    begun_s = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "carbonsweep.node", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    duration_s = time.perf_counter() - begun_s
    imported = {line.rsplit("|", 1)[-1].strip() for line in said.stderr.splitlines()}
    assert "carbonsweep.options" in imported  # the list is read
    assert not {"ray", "numpy", "pynvml", "torch"} & imported
    assert "ray start --address=" in said.stdout
    assert duration_s < 5  # 0.1 s on an idle machine; the point is that nothing heavy is loaded, which is checked above
