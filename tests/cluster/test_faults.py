"""Sweeps over real raylets when things die: what is finished stays, nothing runs twice, and the user is told.

Each scenario is a cluster of its own in namespaces of its own (`raylets`), so these are the slowest tests there are.
"""

from __future__ import annotations

import json
import socket
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.double import Note
from tests.cluster.raylets import play, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def played(scenario: str, folder: Path) -> dict[str, Any]:
    """What the scenario saw; its log where it broke."""
    process = play(scenario, folder)
    assert process.returncode == 0, process.stderr[-4000:]
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    assert "Traceback" not in found["errors"], found["errors"]
    found["calls"] = [Note(**call) for call in found.get("calls", ())]
    return found


def points(sizes: int, kinds: tuple[str, ...] = ("T4", "RTX6000Ada")) -> dict[str, int]:
    """Every configuration of a scenario, recorded once."""
    return {f"{kind} {size}": 1 for kind in kinds for size in range(1, sizes + 1)}


def begun(found: dict[str, Any]) -> Counter[tuple[str, int]]:
    return Counter((call.kind, call.batch_size) for call in found["calls"] if not call.done)


def test_every_trial_runs_on_its_kind_and_has_its_gpu_to_itself(tmp_path: Path) -> None:
    found = played("placement", tmp_path)
    assert found["code"] == 0, found["errors"]
    assert found["records"] == points(8)
    assert all(call.label == call.kind for call in found["calls"])
    by_gpu: dict[tuple[str, str], list[Note]] = defaultdict(list)
    for call in found["calls"]:
        by_gpu[call.node, call.gpus].append(call)
    assert found["there"] == ["RTX6000Ada", "T4"]
    assert found["waited"][0].startswith("Waiting up to 2 min for RTX6000Ada: ")
    # Two GPUs on the T4 node, one on the other, none on the third; each process sees one GPU.
    assert sorted(by_gpu) == [("ada", "0"), ("t4", "0"), ("t4", "1")]
    for calls in by_gpu.values():
        # On one GPU a trial ends before the next begins, in one process from the first to the last.
        assert [call.done for call in calls] == [False, True] * (len(calls) // 2)
        assert len({call.pid for call in calls}) == 1
    assert "GPUs 3/3 busy on 4 nodes" in found["errors"]


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return played("refusals_and_deaths", tmp_path_factory.mktemp("deaths"))


def test_a_kind_without_a_node_is_refused_before_the_first_trial(deaths: dict[str, Any]) -> None:
    missing = deaths["missing"]
    assert missing["code"] == 2
    assert missing["output"] == ""
    assert not missing["out"]
    *_, waited, said = missing["errors"].splitlines()
    assert waited.startswith("Waiting up to 0.03 min for H100")
    assert "cannot measure H100" in said
    assert "(3 nodes) has RTX6000Ada, T4" in said
    assert "--model-missing" in said


def test_two_sweeps_do_not_share_a_folder(deaths: dict[str, Any]) -> None:
    assert deaths["second"]["code"] == 2
    assert "is in use by another sweep" in deaths["second"]["errors"]


def test_a_worker_and_tunes_own_actor_that_are_killed_cost_one_trial_each_its_time(deaths: dict[str, Any]) -> None:
    assert deaths["code"] == 0, deaths["errors"]
    assert deaths["records"] == points(8)
    assert sum(begun(deaths).values()) <= 16 + 2
    assert "its worker died; it will run again" in deaths["errors"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return played("trials_break", tmp_path_factory.mktemp("broken"))


def test_a_trial_that_hangs_is_ended_and_left_after_three_times(broken: dict[str, Any]) -> None:
    assert broken["code"] == 0, broken["errors"]
    # Batch 2 hangs once, batch 3 every time.
    assert broken["records"] == {f"T4 {size}": 1 for size in (1, 2, 4, 5)}
    hung = {size: count for (_, size), count in begun(broken).items() if size < 5}
    assert hung == {1: 1, 2: 2, 3: 3, 4: 1}
    assert "hung: no result within 5 s (--trial-timeout); it will run again" in broken["errors"]
    assert "1 trials ended without a result (hung" in broken["errors"]


def test_a_worker_killed_for_its_memory_costs_one_trial_its_time(broken: dict[str, Any]) -> None:
    if not broken["roomy"]:
        pytest.skip("10 GB of free memory are needed to run out of some safely")
    assert broken["records"]["T4 5"] == 1
    # The monitor may strike a second time before the memory of the first worker is free.
    assert 2 <= begun(broken)["T4", 5] <= 3
    assert "out of memory: Ray's memory monitor killed the worker; it will run again" in broken["errors"]


def test_a_raylet_that_is_killed_costs_its_trials_their_time(tmp_path: Path) -> None:
    found = played("raylet_dies", tmp_path)
    assert found["code"] == 0, found["errors"]
    assert found["records"] == points(10)
    assert sum(begun(found).values()) <= 20 + 1
    assert f"node {socket.gethostname()} (1 T4) is gone" in found["errors"]


def test_the_rest_goes_on_when_the_last_node_of_a_kind_goes_and_the_kind_when_it_is_back(tmp_path: Path) -> None:
    found = played("last_node_dies", tmp_path)
    first = found["first"]
    assert first["code"] == 0, first["errors"]
    assert "no node with 1 RTX6000Ada and 1 CPU is left" in first["errors"]
    assert "at most 1 finished measurement" in first["errors"]
    # All T4 trials, and those of the other kind that were finished: two, or one where the node went between the end of
    # the second and its record. The second sweep runs the others, and only them.
    assert 6 + 1 <= found["first_records"] < 12
    assert found["records"] == points(6)
    assert begun(found)[("T4", 6)] == 1
    assert sum(begun(found).values()) <= 12 + 1


def test_a_driver_killed_twice_in_a_row_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    found = played("driver_dies", tmp_path)
    assert found["code"] == 0, found["errors"]
    assert found["records"] == points(8)
    # What ran at a kill runs again, nothing else does: two workers, two kills.
    in_flight = sum(kill["begun"] - kill["finished"] for kill in found["at_kill"])
    assert sum(begun(found).values()) <= 16 + in_flight <= 16 + 4
    assert found["spooled"] == []
    assert "trials that were running when the last sweep ended, and run again: " in found["errors"]


def test_a_sweep_runs_detached_as_a_job_of_the_cluster(tmp_path: Path) -> None:
    found = played("detached", tmp_path)
    assert "submitted successfully" in found["submitted"]
    assert "succeeded" in found["ended"].lower(), found["output"]
    assert found["records"] == {
        f"{kind} {size}": 3 for kind in ("T4", "RTX6000Ada") for size in (1, 2, 4, 8, 16, 32, 64)
    }  # three models
    # A log of plain lines, a tenth of the way each, and the answer.
    assert "42/42 trials" in found["output"]
    assert "Best (total carbon)" in found["output"]


def test_a_full_disk_stops_the_sweep_and_the_finished_trials_wait_in_their_spools(tmp_path: Path) -> None:
    found = played("disk_fills", tmp_path)
    assert found["first"]["code"] == 4, found["first"]["errors"]
    assert "No space left" in found["first"]["errors"]
    assert found["first_spooled"] >= 1
    assert 0 < found["first_records"] < 20
    assert found["code"] == 0, found["errors"]
    assert found["records"] == points(10)
    assert found["damaged"] == 0
    # Nothing that was finished runs again: not what was written, and not what was spooled.
    assert sum(begun(found).values()) <= 20 + 2
