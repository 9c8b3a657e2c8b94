"""What a configuration is, is asked of every node that could measure it; nodes that differ are refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ray.exceptions import GetTimeoutError, NodeDiedError

from carbonsweep.cluster import agreement
from carbonsweep.cluster.agreement import Elsewhere, elsewhere
from carbonsweep.cluster.nodes import Node
from carbonsweep.domain import Basis, BenchIdentity, Configuration, Measurement, Workload
from carbonsweep.errors import BadInput, BenchFailed
from carbonsweep.search.space import Space
from tests.cluster.staff import node
from tests.conftest import SHORT, configuration, identity, measurement

SPACE = Space(
    models=("TinyLlama-1.1B",),
    gpus=("T4", "RTX6000Ada", "H100"),
    gpu_counts=(1,),
    batch_sizes=(1, 2),
    dtypes=("fp16",),
    engines=("paper",),
)
ONE, TWO, ADA, HEAD = node("one"), node("two"), node("three", "RTX6000Ada"), node("head", None)


@dataclass(frozen=True)
class Mixed:
    """Measures all but the H100; on this machine, which has no GPU, nobody knows the name of a device."""

    name: str = "mixed"

    def identity(self, asked: Configuration) -> BenchIdentity:
        basis: Basis = "modelled" if asked.gpu == "H100" else "measured"
        return identity(basis=basis, device="?" if basis == "measured" else asked.gpu)

    def measure(self, asked: Configuration, workload: Workload) -> Measurement:
        return measurement()


@dataclass
class Nodes:
    """What each host says it would measure: its device is named after its kind, unless `says` changes that."""

    says: dict[str, dict[str, Any]] = field(default_factory=dict)
    breaks: dict[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def identities(self, there: Node, bench: Mixed, wanted: list[Configuration]) -> list[BenchIdentity]:
        self.asked += [(there.host, each.gpu) for each in wanted]
        if there.host in self.breaks:
            raise self.breaks[there.host]
        changes: dict[str, Any] = {"device": f"NVIDIA {there.kind}", **self.says.get(there.host, {})}
        return [replace(bench.identity(each), **changes) for each in wanted]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    answering = Nodes()
    monkeypatch.setattr(agreement, "identities", answering.identities)
    return answering


def test_a_measured_configuration_is_what_its_nodes_say_and_a_modelled_one_what_is_said_here(nodes: Nodes) -> None:
    seen = elsewhere(Mixed(), SPACE, [ONE, TWO, ADA, HEAD])
    devices = {each.gpu: seen.identity(each).device for each in SPACE.configurations()}
    assert devices == {"T4": "NVIDIA T4", "RTX6000Ada": "NVIDIA RTX6000Ada", "H100": "H100"}
    assert seen.name == "mixed"


def test_every_node_of_a_kind_is_asked_about_that_kind_and_nothing_else(nodes: Nodes) -> None:
    elsewhere(Mixed(), SPACE, [ONE, TWO, ADA, HEAD, replace(node("bare"), gpus=0)])
    # Once for both batch sizes; a node without GPUs cannot say what they are.
    assert sorted(nodes.asked) == [("one", "T4"), ("three", "RTX6000Ada"), ("two", "T4")]


def test_one_configuration_stands_for_all_batch_sizes_of_its_weights(nodes: Nodes) -> None:
    # On a hub, each question may look for a model's weights.
    space = replace(
        SPACE, gpus=("T4",), models=("TinyLlama-1.1B", "LLaMA-7B"), dtypes=("fp16", "fp32"), batch_sizes=(1, 2, 4, 8)
    )
    seen = elsewhere(Mixed(), space, [ONE])
    assert len(nodes.asked) == 4  # two models in two dtypes
    assert {seen.identity(each).device for each in space.configurations()} == {"NVIDIA T4"}


def test_a_batch_size_outside_the_space_is_what_the_others_are(nodes: Nodes) -> None:
    # A record from an earlier, larger sweep is known by its key, and implies what does not fit.
    seen = elsewhere(Mixed(), SPACE, [ONE])
    assert 512 not in SPACE.batch_sizes
    assert seen.identity(configuration(batch_size=512)).device == "NVIDIA T4"


def test_a_server_says_itself_what_it_is_and_no_node_is_asked(nodes: Nodes) -> None:
    seen = elsewhere(Mixed(name="server"), SPACE, [ONE, TWO, ADA, HEAD])
    assert nodes.asked == []
    assert seen.identity(configuration(batch_size=1)) == Mixed().identity(configuration(batch_size=1))


def test_the_processor_is_asked_of_the_nodes_with_most_cores_where_it_is_measured(nodes: Nodes) -> None:
    large, as_large = node("large", None, cpus=32.0), node("as large", "T4", cpus=32.0)
    nodes.says = {each.host: {"device": "EPYC 7763"} for each in (large, as_large)}
    seen = elsewhere(Mixed(), replace(SPACE, gpus=("CPU",)), [ONE, large, HEAD, as_large])
    assert [host for host, _ in nodes.asked] == ["large", "as large"]
    assert seen.identity(configuration(gpu="CPU", batch_size=1)).device == "EPYC 7763"


def test_two_processors_that_differ_are_refused_where_both_may_measure(nodes: Nodes) -> None:
    alike = [node("first", None, cpus=32.0), node("second", None, cpus=32.0)]
    nodes.says = {"first": {"device": "EPYC 7763"}, "second": {"device": "EPYC 9654"}}
    with pytest.raises(BadInput, match=r"^CPU on first and on second differ \(device: 'EPYC 7763' and 'EPYC 9654'\)"):
        elsewhere(Mixed(), replace(SPACE, gpus=("CPU",)), alike)
    # A smaller one measures nothing.
    elsewhere(Mixed(), replace(SPACE, gpus=("CPU",)), [alike[0], replace(alike[1], cpus=16.0)])


def test_each_configuration_gets_the_answer_about_itself(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_model(there: Node, bench: Mixed, wanted: list[Configuration]) -> list[BenchIdentity]:
        return [replace(bench.identity(each), weights=f"{each.model} of {there.kind}") for each in wanted]

    monkeypatch.setattr(agreement, "identities", by_model)
    space = replace(SPACE, models=("TinyLlama-1.1B", "LLaMA-7B"))
    seen = elsewhere(Mixed(), space, [ONE, ADA])
    for each in space.configurations():
        if each.gpu != "H100":
            assert seen.identity(each).weights == f"{each.model} of {each.gpu}"


@pytest.mark.parametrize(
    ("field_name", "here", "there"),
    [("power_protocol", "cap 70 W", "cap 60 W"), ("weights", "sha 1", "sha 2"), ("engine_version", "5.0", "5.1")],
)
def test_two_nodes_of_a_kind_that_differ_are_refused_naming_both_and_what_differs(
    nodes: Nodes, field_name: str, here: str, there: str
) -> None:
    nodes.says = {"one": {field_name: here}, "two": {field_name: there}}
    with pytest.raises(BadInput) as refused:
        elsewhere(Mixed(), SPACE, [ONE, ADA, TWO])
    said = str(refused.value)
    assert said.startswith(f"T4 on one and on two differ ({field_name}: {here!r} and {there!r})")
    assert "\n" not in said


def test_two_kinds_may_differ_in_everything(nodes: Nodes) -> None:
    nodes.says = {"three": {"power_protocol": "cap 300 W", "engine_version": "9"}}
    seen = elsewhere(Mixed(), SPACE, [ONE, TWO, ADA])
    assert seen.identity(configuration(gpu="RTX6000Ada", batch_size=1)).engine_version == "9"


def test_a_kind_without_a_node_is_what_is_said_here(nodes: Nodes) -> None:
    # Whether that may be is for the sweep to say, which has no room for its trials.
    assert elsewhere(Mixed(), SPACE, [ONE]).identity(configuration(gpu="RTX6000Ada", batch_size=1)).device == "?"


def test_a_node_that_does_not_answer_or_cannot_is_bad_input_that_names_it(nodes: Nodes) -> None:
    nodes.breaks = {"two": GetTimeoutError("60 s")}
    with pytest.raises(BadInput, match=r"^node two \(1 T4\) does not answer"):
        elsewhere(Mixed(), SPACE, [ONE, TWO])
    nodes.breaks = {"two": NodeDiedError("the node\n  died: ModuleNotFoundError: No module named 'carbonsweep'\n")}
    with pytest.raises(BadInput, match=r"^node two .*\(died: ModuleNotFoundError.*'carbonsweep'\)") as refused:
        elsewhere(Mixed(), SPACE, [ONE, TWO])
    assert "\n" not in str(refused.value)


def test_a_bench_of_elsewhere_measures_nothing_here() -> None:
    with pytest.raises(BenchFailed, match="measured on a node of the cluster"):
        Elsewhere(Mixed(), {}).measure(configuration(), SHORT)
