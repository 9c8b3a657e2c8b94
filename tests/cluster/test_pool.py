"""Workers are hired where there is room, kept from trial to trial, replaced when they die, and make way for others."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonsweep.cluster.demand import Demand
from carbonsweep.cluster.nodes import Node
from carbonsweep.cluster.pool import BROKEN_STARTS, MAKE_WAY_S, Hired, Pool
from carbonsweep.errors import NothingMeasured
from tests.cluster.staff import ADA, MODELLED, T4, T4_PAIR, Clock, Staff, by_id, node
from tests.conftest import configuration

SMALL, OTHER = configuration(), configuration(model="LLaMA-7B")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    passing = Clock()
    monkeypatch.setattr("carbonsweep.cluster.pool.time.monotonic", passing)
    return passing


def staffed(nodes: dict[str, Node], *demands: Demand, most: int = 100) -> tuple[Pool, Staff]:
    """A pool after two looks: workers were hired, and have answered."""
    staff = Staff(nodes)
    pool = Pool(staff, demands, most)
    pool.tend(nodes)
    pool.tend(nodes)
    return pool, staff


def busy(pool: Pool, demand: Demand) -> Hired:
    return pool.take(demand, SMALL, "attempt")


# ---- hiring ----


def test_the_first_demand_of_each_kind_is_staffed_at_once_as_far_as_there_is_room() -> None:
    # The pair is a second demand of T4: nobody has asked for it, and its GPUs are the first one's.
    pool, staff = staffed(by_id(node("one", gpus=2), node("two", "RTX6000Ada")), T4, T4_PAIR, ADA)
    assert Counter(staff.hired) == {T4: 2, ADA: 1}
    assert pool.is_free(T4)
    assert pool.is_free(ADA)
    assert not pool.is_free(T4_PAIR)


@pytest.mark.parametrize(("most", "hired"), [(1, 1), (2, 2), (9, 3)])
def test_no_more_workers_are_hired_than_trials_are_left_or_than_gpus_there_are(most: int, hired: int) -> None:
    _, staff = staffed(by_id(node("one", gpus=3)), T4, most=most)
    assert len(staff.hired) == hired


def test_gpus_without_cores_for_their_workers_stay_empty() -> None:
    _, staff = staffed(by_id(node("one", gpus=4, cpus=2)), T4)
    assert len(staff.hired) == 2


def test_a_worker_is_free_only_once_it_has_answered() -> None:
    nodes = by_id(node("one"))
    staff = Staff(nodes)
    staff.slow = True
    pool = Pool(staff, [T4], 9)
    for _ in range(3):
        pool.tend(nodes)
        assert not pool.is_free(T4)
    assert staff.hired == [T4]  # and nobody is hired beside one that starts
    staff.slow = False
    pool.tend(nodes)
    assert pool.is_free(T4)
    assert [worker.home.host for worker in pool.workers if worker.home] == ["one"]


def test_a_node_that_joins_is_staffed() -> None:
    nodes = by_id(node("one"))
    pool, staff = staffed(nodes, T4)
    nodes |= by_id(node("two", gpus=2))
    pool.tend(nodes)
    assert len(staff.hired) == 3


# ---- from trial to trial ----


def test_alternating_kinds_starts_no_process() -> None:
    pool, staff = staffed(nodes := by_id(node("one"), node("two", "RTX6000Ada")), T4, ADA)
    for demand in [T4, ADA] * 50:
        worker = busy(pool, demand)
        assert not pool.is_free(demand)
        pool.tend(nodes)
        pool.release(worker.name)
    assert (len(staff.hired), staff.dismissed) == (2, [])


def test_a_trial_goes_to_the_worker_that_has_loaded_its_weights() -> None:
    pool, _ = staffed(by_id(node("one", gpus=3)), T4)
    first, second = pool.take(T4, SMALL, "a"), pool.take(T4, OTHER, "b")
    pool.release(first.name)
    pool.release(second.name)
    assert pool.take(T4, replace(OTHER, batch_size=64), "c") is second
    assert pool.take(T4, replace(SMALL, batch_size=64), "d") is first


def test_what_a_worker_may_settle_is_what_it_has_reported_itself() -> None:
    pool, _ = staffed(by_id(node("one", gpus=2)), T4)
    first, second = busy(pool, T4), busy(pool, T4)
    pool.release(first.name, settled="a")
    pool.release(second.name)
    assert (first.settled, second.settled) == (["a"], [])
    pool.release("nobody", settled="b")  # it was discarded before its report came


# ---- those that end ----


def test_a_discarded_worker_is_ended_and_replaced() -> None:
    pool, staff = staffed(nodes := by_id(node("one")), T4)
    dead = busy(pool, T4)
    pool.discard(dead.name)
    assert staff.dismissed == [dead.name]
    pool.tend(nodes)
    assert len(staff.hired) == 2
    assert not pool.is_free(T4)  # the new one starts
    pool.tend(nodes)
    assert pool.is_free(T4)
    assert busy(pool, T4).name != dead.name


def test_an_idle_worker_goes_with_its_node_and_a_busy_one_is_left_to_its_trial() -> None:
    nodes = by_id(node("one"), node("two"))
    pool, staff = staffed(nodes, T4)
    at_work = busy(pool, T4)
    nodes.clear()
    pool.tend(nodes)
    assert pool.workers == [at_work]
    assert len(staff.dismissed) == 1
    assert not pool.is_free(T4)


def test_no_worker_is_hired_for_a_gpu_that_a_dead_trial_still_holds() -> None:
    # Its node is gone, and the supervisor has not told yet: the other node's GPU is all there is.
    nodes = by_id(node("one"), node("two"))
    pool, staff = staffed(nodes, T4)
    at_work = busy(pool, T4)
    assert at_work.home is not None
    del nodes[at_work.home.node_id]
    pool.tend(nodes)
    assert len(staff.hired) == 2


def test_closing_ends_every_worker_the_starting_ones_too() -> None:
    nodes = by_id(node("one", gpus=2))
    pool, staff = staffed(nodes, T4)
    staff.slow = True
    nodes |= by_id(node("two"))
    pool.tend(nodes)
    busy(pool, T4)
    pool.close()
    assert (pool.workers, staff.living) == ([], [])
    assert len(staff.dismissed) == 3


# ---- those that do not start ----

BROKEN = RuntimeError(
    "The actor died because of an error raised in its creation task\n  in __init__\nBadInput: prompts\n"
)
KILLED = RuntimeError("The actor died: its node went away")


def starting(*errors: Exception) -> tuple[Pool, Staff, dict[str, Node]]:
    nodes = by_id(node("one"))
    staff = Staff(nodes)
    staff.broken = list(errors)
    return Pool(staff, [T4], 9), staff, nodes


def test_workers_that_break_at_the_start_again_and_again_end_the_sweep_with_their_reason() -> None:
    pool, staff, nodes = starting(*[BROKEN] * BROKEN_STARTS)
    for _ in range(BROKEN_STARTS):  # hires, and at the next look another
        pool.tend(nodes)
    with pytest.raises(NothingMeasured, match=r"workers for 1 T4 and 1 CPU do not start: BadInput: prompts$"):
        pool.tend(nodes)
    assert len(staff.hired) == BROKEN_STARTS


def test_workers_killed_while_they_start_say_nothing_about_the_next() -> None:
    pool, staff, nodes = starting(*[KILLED] * 10)
    for _ in range(12):
        pool.tend(nodes)
    assert pool.is_free(T4)
    assert len(staff.hired) == 11


def test_a_worker_that_starts_forgives_those_before_it() -> None:
    two = [BROKEN] * (BROKEN_STARTS - 1)
    pool, staff, nodes = starting(*two)
    for _ in range(BROKEN_STARTS + 1):
        pool.tend(nodes)
    pool.discard(busy(pool, T4).name)
    staff.broken = list(two)
    for _ in range(BROKEN_STARTS + 2):
        pool.tend(nodes)
    assert pool.is_free(T4)


# ---- making way ----


def test_idle_workers_leave_their_gpus_to_a_demand_that_waits_for_them() -> None:
    pool, staff = staffed(nodes := by_id(node("one", gpus=2), node("two", "RTX6000Ada")), T4, T4_PAIR, ADA)
    pool.want(T4_PAIR)
    for _ in range(3):
        pool.tend(nodes)
    assert pool.is_free(T4_PAIR)
    assert Counter(staff.hired) == {T4: 2, ADA: 1, T4_PAIR: 1}
    assert pool.is_free(ADA)  # another kind's GPUs are of no use to it


def test_no_more_pairs_are_hired_than_the_gpus_beside_busy_ones_make() -> None:
    # Of four GPUs one is held: the other three make one pair, though an empty node would have room for two.
    pool, staff = staffed(nodes := by_id(node("one", gpus=4)), T4, T4_PAIR)
    busy(pool, T4)
    pool.want(T4_PAIR)
    for _ in range(3):
        pool.tend(nodes)
    assert staff.hired.count(T4_PAIR) == 1
    assert pool.is_free(T4_PAIR)


def test_a_busy_worker_is_never_driven_out() -> None:
    pool, staff = staffed(nodes := by_id(node("one", gpus=2)), T4, T4_PAIR)
    at_work = busy(pool, T4)
    for _ in range(3):
        pool.want(T4_PAIR)
        pool.tend(nodes)
    assert pool.workers == [at_work]
    assert T4_PAIR not in staff.hired
    pool.release(at_work.name)
    for _ in range(3):
        pool.want(T4_PAIR)
        pool.tend(nodes)
    assert pool.is_free(T4_PAIR)


def test_a_worker_with_a_trial_waiting_for_it_is_not_driven_out() -> None:
    # It has just reported; another trial for it waits, and `want` is only said when none does.
    pool, staff = staffed(nodes := by_id(node("one", gpus=2)), T4, T4_PAIR)
    first, _ = busy(pool, T4), busy(pool, T4)
    pool.want(T4_PAIR)
    pool.release(first.name)
    pool.tend(nodes)
    assert pool.is_free(T4)
    assert staff.dismissed == []


def test_two_demands_that_wait_for_the_same_gpus_do_not_drive_each_other_out_before_their_first_trial() -> None:
    pool, staff = staffed(nodes := by_id(node("one", gpus=2)), T4, T4_PAIR)
    for worker in pool.workers:
        pool.discard(worker.name)
    ran: Counter[Demand] = Counter()
    for _ in range(6):
        pool.tend(nodes)
        free = next((demand for demand in (T4, T4_PAIR) if pool.is_free(demand) and not ran[demand]), None)
        if free is None:
            for demand in (T4, T4_PAIR):
                if not ran[demand]:
                    pool.want(demand)
            continue
        pool.release(busy(pool, free).name)
        ran[free] += 1
    assert ran == {T4: 1, T4_PAIR: 1}
    assert len(staff.hired) <= 2 + 3


def test_a_worker_that_waits_long_for_cores_gets_those_of_idle_ones(clock: Clock) -> None:
    # One core: the worker of the models has it, and that of the T4 waits.
    nodes = by_id(node("one", cpus=1))
    pool, staff = staffed(nodes, MODELLED, T4)
    assert sorted(map(str, staff.hired)) == ["1 CPU", "1 T4 and 1 CPU"]
    free, waiting = (MODELLED, T4) if pool.is_free(MODELLED) else (T4, MODELLED)
    pool.want(waiting)
    clock.pass_by(MAKE_WAY_S)
    pool.tend(nodes)
    assert pool.is_free(free)  # a worker may take so long to start
    clock.pass_by(1.0)
    pool.tend(nodes)
    pool.tend(nodes)
    assert not pool.is_free(free)
    assert pool.is_free(waiting)


def test_a_worker_that_waits_for_a_node_drives_nobody_out(clock: Clock) -> None:
    nodes = by_id(node("one"), node("two", "RTX6000Ada"))
    pool, staff = staffed(nodes, MODELLED, T4, ADA)
    del nodes["id-two"]
    pool.tend(nodes)
    pool.want(ADA)
    clock.pass_by(10 * MAKE_WAY_S)
    for _ in range(3):
        pool.tend(nodes)
    assert pool.is_free(MODELLED)
    assert pool.is_free(T4)
    assert len(staff.dismissed) == 1  # the one that went with its node


MIXES = st.lists(st.sampled_from([T4, T4_PAIR, replace(T4, gpus=4), ADA, MODELLED]), min_size=1, max_size=12)


@given(MIXES, st.permutations([T4, T4_PAIR, replace(T4, gpus=4), ADA, MODELLED]), st.data())
@settings(max_examples=60)
def test_whatever_waits_gets_its_worker_in_the_end(
    trials: list[Demand], demands: list[Demand], data: st.DataObject
) -> None:
    # One node of four T4s, one of an Ada; as the sweep drives it: look, run what can run, else say what waits.
    nodes = by_id(node("one", gpus=4, cpus=16), node("two", "RTX6000Ada"))
    staff = Staff(nodes)
    pool = Pool(staff, demands, len(trials))
    waiting, running = list(trials), list[Hired]()
    for turn in itertools.count():
        assert turn < 20 * len(trials) + 20, f"{waiting} wait for ever"
        pool.tend(nodes)
        ready = next((demand for demand in waiting if pool.is_free(demand)), None)
        if ready is not None:
            waiting.remove(ready)
            running.append(busy(pool, ready))
        else:
            for demand in set(waiting):
                pool.want(demand)
        if running and (ready is None or data.draw(st.booleans())):
            pool.release(running.pop(data.draw(st.integers(0, len(running) - 1))).name)
        if not waiting and not running:
            break
    # At most one new process for each trial, beside those of the first hour: 4 T4, 1 Ada, 4 modelled at a time.
    assert len(staff.hired) <= len(trials) + 9 + 4
    pool.close()
    assert staff.living == []
