"""What a trial asks of the cluster, and how many such trials there is room for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from carbonsweep.cluster.demand import MODELLED_AT_ONCE, Demand, demand
from carbonsweep.cluster.nodes import Node
from carbonsweep.domain import Basis, BenchIdentity, Configuration, Measurement, Workload
from tests.cluster.staff import ADA, MODELLED, T4, T4_PAIR, node
from tests.conftest import configuration, identity, measurement


@dataclass(frozen=True)
class Saying:
    """A bench that measures with `basis`."""

    basis: Basis = "measured"
    name: str = "transformers"

    def identity(self, asked: Configuration) -> BenchIdentity:
        return identity(basis=self.basis, device=asked.gpu)

    def measure(self, asked: Configuration, workload: Workload) -> Measurement:
        return measurement()


NODES = (node("one", "T4", gpus=2, cpus=4), node("two", "T4", gpus=1, cpus=4), node("head", None, cpus=6))


def test_a_measurement_asks_for_its_gpus_by_kind_and_one_core() -> None:
    assert demand(configuration(), Saying(), NODES) == T4
    assert demand(configuration(gpu_count=2), Saying(), NODES) == T4_PAIR
    assert demand(configuration(gpu="RTX6000Ada"), Saying("rehearsed"), NODES) == ADA


def test_a_model_asks_for_a_core_on_any_node_and_for_few_workers_in_all() -> None:
    assert demand(configuration(), Saying("modelled"), NODES) == MODELLED
    assert demand(configuration(gpu="CPU"), Saying("modelled"), NODES) == MODELLED
    assert MODELLED.room([node("large", None, cpus=64)]) == MODELLED_AT_ONCE


def test_a_measurement_on_the_cpu_asks_for_all_cores_of_the_largest_node() -> None:
    asked = demand(configuration(gpu="CPU"), Saying(), NODES)
    assert asked == Demand(kind=None, gpus=0, cpus=6)
    assert asked.room(NODES) == 1  # the others have 4 of 6 cores


def test_a_server_gets_one_trial_at_a_time_from_whichever_node() -> None:
    asked = demand(configuration(), Saying(name="server"), NODES)
    assert asked == Demand(kind=None, gpus=0, cpus=6, at_most=1)
    assert asked.room([*NODES, replace(NODES[2], node_id="another")]) == 1


@pytest.mark.parametrize("nodes", [[], [node("head", None, cpus=0)]], ids=["no node", "no core"])
def test_where_there_is_no_core_there_is_no_room_for_the_cpu(nodes: list[Node]) -> None:
    asked = demand(configuration(gpu="CPU"), Saying(), nodes)
    assert asked.room(nodes) == 0
    assert str(asked) == "1 CPU"


@pytest.mark.parametrize(
    ("asked", "room"),
    [
        (T4, 3),  # two on the first node, one on the second
        (T4_PAIR, 1),  # the second node has one GPU only, and GPUs of two nodes are no pair
        (ADA, 0),
        (replace(T4, cpus=3), 2),  # four cores hold one worker of three, whatever the GPUs
        (replace(T4, cpus=5), 0),
        (replace(MODELLED, at_most=None), 14),  # 4 + 4 + 6 cores
        (MODELLED, 4),
    ],
)
def test_room_is_counted_node_by_node_in_whole_gpus_and_cores(asked: Demand, room: int) -> None:
    assert asked.room(NODES) == room


def test_a_label_without_a_gpu_is_no_room() -> None:
    # A node may carry the label of its GPU while Ray was told --num-gpus=0.
    assert T4.room([Node(node_id="a", host="a", kind="T4", gpus=0, cpus=8)]) == 0
    assert T4.room([]) == 0


def test_a_demand_reads_as_what_a_node_needs() -> None:
    assert str(T4_PAIR) == "2 T4 and 1 CPU"
    assert str(MODELLED) == "1 CPU"
    assert str(Demand(kind=None, gpus=0, cpus=2.5)) == "2.5 CPU"
