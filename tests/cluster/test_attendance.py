"""Nodes come and go; what has no node left is closed after a grace, and what went with a node is counted."""

from __future__ import annotations

from carbonsweep.cluster.attendance import Attendance, Change
from carbonsweep.cluster.nodes import Node
from tests.cluster.staff import ADA, MODELLED, T4, T4_PAIR, Clock, by_id, node

GRACE_S = 60.0
ONE, TWO, HEAD = node("one", gpus=2), node("two", "RTX6000Ada"), node("head", None)
ALL = by_id(ONE, TWO, HEAD)
NOTHING = Change(joined=(), closed=(), notices=())


def attendance(clock: Clock | None = None, nodes: dict[str, Node] | None = None) -> Attendance:
    return Attendance(ALL if nodes is None else nodes, {T4, T4_PAIR, ADA, MODELLED}, GRACE_S, clock or Clock())


def test_where_nothing_changes_nothing_is_said() -> None:
    watched = attendance()
    assert watched.take(ALL, {}) == NOTHING
    assert watched.take(ALL, {ONE.node_id: 2}) == NOTHING
    assert watched.closed == {}


def test_a_node_that_joins_is_announced_once() -> None:
    watched = attendance(nodes=by_id(ONE, TWO))
    change = watched.take(ALL, {})
    assert change == Change(joined=(HEAD,), closed=(), notices=("node head (no GPU) has joined",))
    assert watched.take(ALL, {}) == NOTHING


def test_a_node_that_goes_says_how_many_trials_went_with_it() -> None:
    watched = attendance()
    change = watched.take(by_id(HEAD), {ONE.node_id: 2, HEAD.node_id: 1})
    assert change.notices == (
        "node one (2 T4) is gone; 2 trials ran there, so at most 2 finished measurement(s) are out of reach",
        "node two (1 RTX6000Ada) is gone; nothing ran there",
    )
    assert watched.take(by_id(HEAD), {}) == NOTHING


def test_a_trial_that_was_given_up_before_its_node_was_missed_is_among_those_that_went_with_it() -> None:
    # The supervisor comes back first, then the cluster is looked at: one of the node's two trials is no longer running.
    watched = attendance()
    watched.went_with(ONE.host)
    (line,) = watched.take(by_id(TWO, HEAD), {ONE.node_id: 1}).notices
    assert "2 trials ran there" in line
    assert watched.unreachable == {"one": 1}  # the other is counted when its supervisor comes back


def test_a_host_that_goes_a_second_time_is_not_said_to_take_the_first_trials_with_it_again() -> None:
    watched = attendance()
    watched.went_with(ONE.host)
    watched.take(by_id(TWO, HEAD), {})
    watched.take(ALL, {})
    assert watched.take(by_id(TWO, HEAD), {}).notices == ("node one (2 T4) is gone; nothing ran there",)
    assert watched.unreachable == {"one": 1}


def test_what_went_with_a_host_is_out_of_reach_until_it_is_read() -> None:
    watched = attendance()
    for host in ("one", "one", "two"):
        watched.went_with(host)
    watched.read("one")
    watched.read("never heard of")
    assert watched.unreachable == {"two": 1}


def test_a_demand_without_a_node_is_closed_when_its_grace_is_over_and_not_before() -> None:
    clock = Clock()
    watched = attendance(clock)
    left = by_id(TWO, HEAD)
    assert watched.take(left, {}).closed == ()
    clock.pass_by(GRACE_S - 0.1)
    assert watched.take(left, {}).closed == ()
    clock.pass_by(0.1)
    # Both demands of the kind are without a node, and the others are not.
    assert set(watched.take(left, {}).closed) == {T4, T4_PAIR}


def test_a_node_that_is_back_in_time_starts_the_grace_anew() -> None:
    clock = Clock()
    watched = attendance(clock)
    left = by_id(TWO, HEAD)
    watched.take(left, {})
    clock.pass_by(GRACE_S - 1)
    back = node("one again", gpus=1)
    watched.take({**left, **by_id(back)}, {})
    clock.pass_by(2)
    # The new node has one GPU: no room for a pair, whose grace goes on.
    assert watched.take({**left, **by_id(back)}, {}).closed == (T4_PAIR,)
    assert watched.take(left, {}).closed == (T4_PAIR,)
    clock.pass_by(GRACE_S)
    assert set(watched.take(left, {}).closed) == {T4, T4_PAIR}


def test_a_demand_that_never_had_a_node_is_closed_too() -> None:
    clock = Clock()
    watched = attendance(clock, by_id(TWO))
    watched.take(by_id(TWO), {})
    clock.pass_by(GRACE_S)
    assert set(watched.take(by_id(TWO), {}).closed) == {T4, T4_PAIR}


def test_a_closed_demand_is_closed_once_and_for_good() -> None:
    clock = Clock()
    watched = attendance(clock)
    left = by_id(TWO, HEAD)
    watched.take(left, {})
    clock.pass_by(GRACE_S)
    for demand in watched.take(left, {}).closed:
        watched.close(demand, untried=3)
    clock.pass_by(GRACE_S)
    assert watched.take(left, {}).closed == ()
    assert watched.take(ALL, {}).closed == ()
    assert watched.is_closed(T4)
    assert not watched.is_closed(ADA)
    assert watched.closed == {"1 T4 and 1 CPU": 3, "2 T4 and 1 CPU": 3}


def test_a_demand_whose_trials_are_all_done_leaves_nothing_untried_behind() -> None:
    watched = attendance()
    watched.close(T4, untried=0)
    assert watched.is_closed(T4)
    assert watched.closed == {}


def test_without_any_node_everything_is_closed() -> None:
    clock = Clock()
    watched = attendance(clock)
    watched.take({}, {})
    clock.pass_by(GRACE_S)
    assert set(watched.take({}, {}).closed) == {T4, T4_PAIR, ADA, MODELLED}
