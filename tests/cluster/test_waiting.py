"""The kinds a sweep measures are waited for, asked of an autoscaler meanwhile, and no longer than was said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from carbonsweep.cluster import waiting
from carbonsweep.cluster.labels import GPU_LABEL
from carbonsweep.cluster.nodes import Node
from carbonsweep.cluster.waiting import await_kinds
from tests.cluster.staff import Clock, by_id, node

ONE, ADA, HEAD = node("one"), node("ada", "RTX6000Ada"), node("head", None)


class Cloud:
    """A cluster whose nodes come when a test says so, and what an autoscaler is asked for meanwhile."""

    def __init__(self, *nodes: Node) -> None:
        self.clock = Clock()
        self.nodes = by_id(*nodes)
        self.coming: dict[float, Node] = {}
        self.broken: dict[float, BaseException] = {}
        self.asked: list[str] = []
        self.standing: list[str] = []
        self.said: list[str] = []

    def live_nodes(self) -> dict[str, Node]:
        return dict(self.nodes)

    def sleep(self, seconds_s: float) -> None:
        self.clock.pass_by(seconds_s)
        for at_s in [at_s for at_s in self.broken if at_s <= self.clock()]:
            raise self.broken[at_s]
        for at_s in [at_s for at_s in self.coming if at_s <= self.clock()]:
            self.nodes.update(by_id(self.coming.pop(at_s)))

    def placement_group(self, bundles: list[dict[str, float]], bundle_label_selector: list[dict[str, str]]) -> str:
        assert bundles == [{"GPU": 1}]
        (selector,) = bundle_label_selector
        self.asked.append(selector[GPU_LABEL])
        self.standing.append(selector[GPU_LABEL])
        return selector[GPU_LABEL]

    def waited(self, *kinds: str, wait_s: float = 600.0) -> tuple[set[str], float]:
        """Hosts there are in the end, and the seconds that took."""
        before_s = self.clock()
        found = await_kinds(kinds, wait_s, self.said.append)
        return {each.host for each in found.values()}, self.clock() - before_s


def cloud(monkeypatch: pytest.MonkeyPatch, *nodes: Node) -> Cloud:
    there = Cloud(*nodes)
    instead: dict[str, Any] = {
        "live_nodes": there.live_nodes,
        "placement_group": there.placement_group,
        "remove_placement_group": there.standing.remove,
        "time": SimpleNamespace(monotonic=there.clock, sleep=there.sleep),
    }
    for name, double in instead.items():
        monkeypatch.setattr(waiting, name, double)
    return there


def test_kinds_that_are_there_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    there = cloud(monkeypatch, ONE, ADA, HEAD)
    assert there.waited("T4", "RTX6000Ada") == ({"one", "ada", "head"}, 0.0)
    assert (there.said, there.asked) == ([], [])


def test_without_a_time_to_wait_nobody_is_asked_and_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    there = cloud(monkeypatch, HEAD)
    assert there.waited("T4", wait_s=0.0) == ({"head"}, 0.0)
    assert (there.said, there.asked) == ([], [])


def test_what_is_missing_is_asked_for_and_waited_for_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    there = cloud(monkeypatch, ONE, HEAD)
    there.coming = {there.clock() + 90.0: ADA, there.clock() + 200.0: node("l4", "L4")}
    assert there.waited("T4", "RTX6000Ada", "L4") == ({"one", "head", "ada", "l4"}, 200.0)
    assert there.asked == ["L4", "RTX6000Ada"]
    assert there.standing == []  # else they would hold the GPUs that the trials need
    assert there.said == ["Waiting up to 10 min for L4, RTX6000Ada: head (no GPU), one (1 T4)."]


def test_after_the_time_the_sweep_goes_on_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    there = cloud(monkeypatch, HEAD)
    there.coming = {there.clock() + 61.0: ADA}
    assert there.waited("RTX6000Ada", wait_s=60.0) == ({"head"}, 60.0)
    assert there.standing == []


def test_a_node_of_the_kind_without_a_gpu_is_not_the_one_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    there = cloud(monkeypatch, Node(node_id="id-bare", host="bare", kind="T4", gpus=0, cpus=8.0))
    assert there.waited("T4", wait_s=5.0) == ({"bare"}, 5.0)
    assert there.asked == ["T4"]


def test_ctrl_c_while_waiting_leaves_nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    there = cloud(monkeypatch, HEAD)
    there.broken = {there.clock() + 10.0: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        there.waited("T4")
    assert (there.asked, there.standing) == (["T4"], [])
