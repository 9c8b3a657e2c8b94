"""A sweep as it goes: whatever dies, every configuration gets its record once, or it is said why it has none."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from carbonsweep.cluster.conduct import TRIES
from carbonsweep.cluster.demand import demands
from carbonsweep.cluster.pool import BROKEN_STARTS
from carbonsweep.cluster.visits import PATIENCE_S
from carbonsweep.domain import Configuration, TrialRecord, record_key
from carbonsweep.errors import BadInput, NothingMeasured, StorageFailed
from carbonsweep.records import SCHEMA, OutputFolder, encode
from tests.cluster.scene import ADA, ONE, SPACE, TERMS, Saying, Scene, scene
from tests.cluster.staff import T4, node
from tests.conftest import FAILED, SHORT, TOO_BIG, configuration, identity, measurement, record
from tests.search.guide_double import ListedGuide

POINTS = sorted(SPACE.configurations())
TWO = node("two")


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """One T4, one Ada, three batch sizes on each."""
    with scene(tmp_path / "out", monkeypatch) as standing:
        yield standing


def running_in_study(on: Scene) -> int:
    return sum(frozen.state == TrialState.RUNNING for frozen in on.search.study.trials)


def assert_all_recorded_once(on: Scene) -> None:
    assert on.conduct.fatal is None
    assert sorted(each.configuration for each in on.written) == POINTS
    assert sorted(each.configuration for each in on.told.records) == POINTS
    assert on.conduct.finished == len(POINTS)
    assert on.conduct.outcome.complete
    assert running_in_study(on) == 0


# ---- as it should go ----


def test_every_configuration_is_run_recorded_and_told_once(on: Scene) -> None:
    assert not on.conduct.over
    on.run()
    assert_all_recorded_once(on)
    assert all(on.told.durable)  # on the disk before the watcher hears of it
    assert sorted(trial.configuration for trial in on.begun) == POINTS
    assert len(on.staff.hired) == 2  # a T4 and an Ada, three trials each
    assert on.told.notices == []
    assert on.ask() is None


def test_each_trial_runs_on_a_node_of_its_kind_and_never_two_on_one_gpu(on: Scene) -> None:
    trials = on.begin()
    assert sorted((trial.configuration.gpu, trial.host) for trial in trials) == [("RTX6000Ada", "ada"), ("T4", "one")]
    on.finish(trials[0])
    (after,) = on.begin()
    assert after.host == trials[0].host
    assert after.asked["worker"] == trials[0].asked["worker"]


def test_a_supervisor_is_told_all_it_needs_in_plain_values(on: Scene) -> None:
    trial = on.begin_one()
    assert set(trial.asked) == {"worker", "configuration", "attempt", "limit_s", "settled"}
    assert trial.asked["limit_s"] == TERMS.trial_timeout_s
    assert trial.asked["settled"] == ()
    assert isinstance(trial.asked["configuration"], dict)
    assert trial.configuration in POINTS
    assert len(trial.attempt) == 32


def test_every_attempt_has_a_name_of_its_own(on: Scene) -> None:
    on.run()
    assert len({trial.attempt for trial in on.begun}) == len(POINTS)


def test_a_worker_settles_each_of_its_records_with_its_next_trial_and_only_once(on: Scene) -> None:
    before: list[str] = []
    for _ in range(3):
        trial = on.begin_one("T4")
        assert list(trial.asked["settled"]) == before
        on.finish(trial)  # removes what is settled from the disk: it must be there
        before = [trial.attempt]
    assert list(on.disks.lines["one"]) == before


def test_no_node_sends_what_was_reported_once_more_at_the_end(on: Scene) -> None:
    on.run()
    assert sum(map(len, on.disks.lines.values())) == 2  # each worker's last: no trial came after it to settle it
    new, found, _ = on.spools.gather(on.nodes.values())
    assert new == []
    assert [dict(each.lines) for each in found.values()] == [{}, {}]


def test_with_nothing_to_do_a_sweep_is_over_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {each: record(each, measurement()) for each in POINTS}
    with scene(tmp_path, monkeypatch, known=known) as on:
        assert on.conduct.over
        assert on.ask() is None
        assert on.conduct.outcome.complete


def test_a_sweep_is_not_over_while_a_trial_runs(on: Scene) -> None:
    trials = [on.begin_one() for _ in range(1)]
    while len(trials) < len(POINTS):
        on.finish(trials[-1])
        trials.append(on.begin_one())
    assert on.search.remaining == 0
    assert not on.conduct.over
    on.finish(trials[-1])
    assert on.conduct.over


def test_a_trial_that_breaks_is_recorded_and_not_run_again(on: Scene) -> None:
    broken = on.begin_one()
    on.finish(broken, FAILED)
    on.run()
    assert Counter(trial.configuration for trial in on.begun)[broken.configuration] == 1
    assert [each.refusal for each in on.written if each.configuration == broken.configuration] == [FAILED]
    assert on.conduct.finished == len(POINTS)
    assert on.conduct.outcome.complete  # it got its trial


def test_the_budget_is_all_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path, monkeypatch, trials=4, sampler="tpe") as on:
        on.run()
        assert len(on.begun) == len(on.written) == 4


def test_where_weights_are_loaded_trials_go_in_order_to_whichever_kind_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, monkeypatch, loads_weights=True) as on:
        on.run()
        assert_all_recorded_once(on)
        for gpu in SPACE.gpus:
            sizes = [trial.configuration.batch_size for trial in on.begun if trial.configuration.gpu == gpu]
            assert sizes == [1, 2, 4]


def test_two_gpu_counts_share_the_gpus_of_a_kind_and_all_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = replace(SPACE, gpus=("T4",), gpu_counts=(1, 2))
    with scene(tmp_path, monkeypatch, space=space, nodes=[node("one", gpus=2)]) as on:
        on.run()
        assert sorted(trial.configuration for trial in on.begun) == sorted(space.configurations())
        assert len(on.staff.hired) <= 2 + 3  # far fewer processes than a change at every trial would start


def test_what_is_asked_follows_the_order_of_the_space(on: Scene) -> None:
    assert list(demands(on.search.space, Saying(), on.nodes.values())) == [("T4", 1), ("RTX6000Ada", 1)]


# ---- what need not be tried ----


def test_a_batch_that_does_not_fit_spares_the_larger_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = replace(SPACE, gpus=("T4",), batch_sizes=(1, 2))
    with scene(tmp_path, monkeypatch, space=space, nodes=[ONE], loads_weights=True) as on:
        on.finish(on.begin_one(), TOO_BIG)
        assert on.ask() is None
        assert on.conduct.over
        assert len(on.begun) == 1
        (implied,) = [each for each in on.written if each.configuration.batch_size == 2]
        assert implied.refusal is not None
        assert "not tried: batch 1 already does not fit" in implied.refusal.reason
        assert on.told.records[-1] == implied
        assert on.conduct.finished == 2


def test_every_configuration_that_need_not_be_tried_has_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None of them has an attempt, which must not make the second look like the first come again.
    space = replace(SPACE, gpus=("T4",), batch_sizes=(1, 2, 4, 8))
    with scene(tmp_path, monkeypatch, space=space, nodes=[ONE], loads_weights=True) as on:
        on.finish(on.begin_one(), TOO_BIG)
        assert on.ask() is None
        assert on.conduct.over
        assert sorted(each.configuration for each in on.written) == sorted(space.configurations())


# ---- when something dies ----


def test_a_configuration_whose_worker_dies_runs_again_in_another(on: Scene) -> None:
    dead = on.begin_one("T4")
    on.lose(dead)
    assert dead.asked["worker"] in on.staff.dismissed
    again = on.begin_one("T4")
    assert again.configuration == dead.configuration
    assert (again.attempt, again.asked["worker"]) != (dead.attempt, dead.asked["worker"])
    assert on.told.notices == [f"{dead.configuration} on one: its worker died; it will run again"]
    on.finish(again)
    on.run()
    assert_all_recorded_once(on)


def test_a_record_that_was_finished_before_its_worker_died_is_found_and_not_run_again(on: Scene) -> None:
    dead = on.begin_one("T4")
    made = on.measure(dead)
    on.lose(dead)
    others = on.begin()
    assert dead.configuration not in [trial.configuration for trial in others]
    assert on.written == on.told.records == [made]
    assert on.told.durable == [True]
    on.run()
    assert_all_recorded_once(on)
    assert on.told.notices == []


def test_a_record_in_the_spool_of_a_worker_that_died_later_is_not_taken_twice(on: Scene) -> None:
    # The spool still holds what was reported, until the next trial settles it: the look finds it again.
    reported = on.begin_one("T4")
    on.finish(reported)
    dead = on.begin_one("T4")
    on.lose(dead)
    assert on.begin_one("T4").configuration == dead.configuration
    assert [each.configuration for each in on.told.records] == [reported.configuration]
    assert len(on.written) == 1


def test_while_the_spool_is_looked_at_the_sweep_is_not_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path, monkeypatch, trials=1, nodes=[ONE], space=replace(SPACE, gpus=("T4",))) as on:
        dead = on.begin_one()
        on.disks.silent.add("one")
        on.lose(dead)
        for _ in range(5):
            assert on.ask() is None
            assert not on.conduct.over
        on.disks.silent.clear()
        assert on.begin_one().configuration == dead.configuration


def test_a_node_that_never_answers_does_not_hold_its_configuration_for_ever(on: Scene) -> None:
    dead = on.begin_one("T4")
    on.measure(dead)
    on.disks.silent.add("one")
    on.lose(dead)
    on.begin()
    on.clock.pass_by(PATIENCE_S + 1)
    again = on.begin_again(dead.configuration)
    # Both attempts finish, and the first is found after all: one of them is the record.
    on.disks.silent.clear()
    on.finish(again)
    on.run()
    assert on.spools.gather(on.nodes.values())[0] == []
    assert_all_recorded_once(on)
    assert [each.provenance.attempt for each in on.written if each.configuration == dead.configuration] == [
        again.attempt
    ]


def test_a_record_found_while_its_configuration_runs_again_is_the_one_that_counts(on: Scene) -> None:
    dead = on.begin_one("T4")
    on.disks.silent.add("one")
    on.lose(dead)
    on.begin()
    on.clock.pass_by(PATIENCE_S + 1)
    again = on.begin_again(dead.configuration)
    first = on.record(dead)
    assert on.out.merge(first)  # as a later look at the node finds it
    on.conduct.found(first)
    on.finish(again)
    assert first in on.written
    on.run()
    assert_all_recorded_once(on)


@pytest.mark.parametrize("result", [None, {}, {"done": True}], ids=["error", "empty", "no word"])
def test_a_supervisor_that_comes_back_without_a_word_has_lost_its_trial(
    on: Scene, result: dict[str, Any] | None
) -> None:
    dead = on.begin_one("T4")
    on.conduct.ended(dead.id, result)
    assert dead.asked["worker"] in on.staff.dismissed  # it may still be measuring: no second trial beside it
    assert on.begin_one("T4").configuration == dead.configuration
    (line,) = on.told.notices
    assert "its supervisor died" in line or "no result" in line


def test_a_trial_that_hangs_loses_its_worker_and_says_so(on: Scene) -> None:
    hanging = on.begin_one("T4")
    on.lose(hanging, "hung: no result within 100 s (--trial-timeout)")
    assert hanging.asked["worker"] in on.staff.dismissed
    assert on.begin_one("T4").asked["worker"] != hanging.asked["worker"]
    assert "hung: no result within 100 s (--trial-timeout); it will run again" in on.told.notices[0]


def test_a_configuration_that_kills_its_worker_every_time_is_left_for_the_next_sweep(on: Scene) -> None:
    poison = configuration(batch_size=2)
    deaths = 0
    for _ in range(100):
        if on.conduct.over:
            break
        trial = on.ask()
        if trial is not None and trial.configuration == poison:
            deaths += 1
            on.lose(trial, f"death {deaths}")
        elif trial is not None:
            on.finish(trial)
    assert on.conduct.over
    assert deaths == TRIES
    assert on.conduct.outcome.lost == (f"death {TRIES}",)
    assert not on.conduct.outcome.complete
    assert on.told.notices[-1] == f"{poison} on one: death {TRIES}; left for the next sweep"
    assert sorted(each.configuration for each in on.written) == [each for each in POINTS if each != poison]
    assert running_in_study(on) == 0
    assert on.told.status[-1].lost == 1


@pytest.mark.parametrize("noticed", ["by its supervisor", "when its spool is looked at"])
def test_a_configuration_whose_node_goes_again_and_again_does_not_use_up_its_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noticed: str
) -> None:
    # Spot instances come and go; that says nothing about the configuration.
    with scene(tmp_path, monkeypatch, nodes=[ONE], space=replace(SPACE, gpus=("T4",)), trials=1) as on:
        there, asked = ONE, on.begin_one()
        for _ in range(TRIES + 1):
            if noticed == "by its supervisor":
                on.cut_off(there)
                on.lose(asked, "its node died")
            else:
                on.disks.silent.add("one")
                on.lose(asked, "its worker died")
                on.ask()
                on.cut_off(there)
            on.ask()
            (there,) = on.bring_back(there)
            again = on.begin_one()
            assert (again.configuration, again.host) == (asked.configuration, "one")
            asked = again
        made = on.finish(asked)
        assert on.written == [made]
        assert on.conduct.outcome.complete


def test_deaths_on_a_node_that_stays_count_whatever_happened_to_other_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, monkeypatch, nodes=[ONE], space=replace(SPACE, gpus=("T4",)), trials=1) as on:
        gone = on.begin_one()
        on.cut_off(ONE)
        on.lose(gone, "its node died")
        on.ask()
        on.bring_back(ONE)
        for death in range(1, TRIES + 1):
            assert not on.conduct.over
            on.lose(on.begin_one(), f"death {death}")
            on.ask()
        assert on.conduct.over
        assert on.conduct.outcome.lost == (f"death {TRIES}",)


def test_two_ends_of_one_trial_are_one_and_a_stranger_is_none(on: Scene) -> None:
    trial = on.begin_one()
    made = on.finish(trial)
    on.report(trial, made)
    on.lose(trial)
    on.conduct.ended("nobody", None)
    assert on.written == on.told.records == [made]
    assert on.told.notices == []
    assert trial.asked["worker"] not in on.staff.dismissed


def test_when_the_loop_breaks_everything_on_its_way_is_run_again(on: Scene) -> None:
    trials = on.begin()
    assert len(trials) == 2
    done = on.measure(trials[0])
    on.conduct.recover("Ray Tune broke (RuntimeError)")
    on.flight.clear()
    assert {trial.asked["worker"] for trial in trials} <= set(on.staff.dismissed)
    on.run()
    assert_all_recorded_once(on)
    assert done in on.written
    assert Counter(trial.configuration for trial in on.begun)[trials[0].configuration] == 1
    assert Counter(trial.configuration for trial in on.begun)[trials[1].configuration] == 2


# ---- nodes that come and go ----


def test_a_trial_whose_node_goes_runs_again_on_another_of_the_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, monkeypatch, nodes=[ONE, TWO, ADA]) as on:
        trials = on.begin()
        (gone,) = [trial for trial in trials if trial.host == "one"]
        on.cut_off(ONE)
        on.lose(gone, "its node died")
        on.run()
        assert_all_recorded_once(on)
        assert {trial.host for trial in on.begun[len(trials) :]} <= {"two", "ada"}
        assert on.conduct.outcome.unreachable == (("one", 1),)
        assert any("node one (1 T4) is gone; 1 trial ran there" in line for line in on.told.notices)


def test_a_kind_whose_last_node_is_gone_is_given_up_after_its_grace_and_the_rest_goes_on(on: Scene) -> None:
    gone = on.begin_one("T4")
    on.cut_off(ONE)
    on.lose(gone, "its node died")
    while on.flight or on.ask():
        for trial in list(on.flight):
            on.finish(trial)
    assert not on.conduct.over  # a node may come back
    on.clock.pass_by(TERMS.node_grace_s)
    on.run()
    assert {each.configuration.gpu for each in on.written} == {"RTX6000Ada"}
    assert len(on.written) == 3
    assert on.conduct.outcome.closed == (("1 T4 and 1 CPU", 3),)
    assert not on.conduct.outcome.complete
    assert on.conduct.outcome.unreachable == (("one", 1),)
    assert "no node with 1 T4 and 1 CPU is left (ada (1 RTX6000Ada)): 3 configurations untried" in on.told.notices
    assert running_in_study(on) == 0


def test_a_trial_that_is_lost_after_its_kind_was_closed_is_not_run_again(on: Scene) -> None:
    # The supervisor finds out late: the grace is over first.
    late = on.begin_one("T4")
    on.cut_off(ONE)
    on.begin()
    on.clock.pass_by(TERMS.node_grace_s)
    on.begin()
    assert on.conduct.outcome.closed == (("1 T4 and 1 CPU", 2),)
    on.lose(late, "its node died")
    on.bring_back(ONE)
    on.run()
    assert on.conduct.outcome.lost == ("its node died",)
    assert {each.configuration.gpu for each in on.written} == {"RTX6000Ada"}


def test_a_node_that_is_back_within_the_grace_goes_on(on: Scene) -> None:
    gone = on.begin_one("T4")
    on.cut_off(ONE)
    on.lose(gone, "its node died")
    on.begin()
    on.clock.pass_by(TERMS.node_grace_s / 2)
    on.bring_back(ONE)
    assert on.begin_again(gone.configuration).host == "one"
    on.run()
    assert_all_recorded_once(on)
    assert on.conduct.outcome.unreachable == ()  # the node was read when it came back
    assert "node one (1 T4) has joined" in on.told.notices


def test_what_a_node_finished_before_it_went_is_found_when_it_is_back(on: Scene) -> None:
    gone = on.begin_one("T4")
    made = on.measure(gone)
    on.cut_off(ONE)
    on.lose(gone, "its node died")
    on.begin()
    on.bring_back(ONE)
    on.begin()
    assert made in on.written
    assert Counter(trial.configuration for trial in on.begun)[gone.configuration] == 1


def test_a_node_that_goes_while_its_spool_is_looked_at_holds_a_record_out_of_reach(on: Scene) -> None:
    dead = on.begin_one("T4")
    on.measure(dead)
    on.disks.silent.add("one")
    on.lose(dead)  # the worker died with its node, whose death nobody has noticed yet
    on.ask()
    before = on.conduct.outcome
    assert before.unreachable == ()
    on.cut_off(ONE)
    on.ask()
    assert on.conduct.outcome.unreachable == (("one", 1),)


def test_a_node_that_is_back_is_read_only_once_it_has_answered(on: Scene) -> None:
    dead = on.begin_one("T4")
    on.measure(dead)
    on.cut_off(ONE)
    on.lose(dead, "its node died")
    on.ask()
    (again,) = on.bring_back(ONE)
    on.disks.silent.add("one")
    on.ask()
    on.cut_off(again)  # gone before it answered
    on.ask()
    assert on.conduct.outcome.unreachable == (("one", 1),)


def test_a_configuration_given_up_whose_record_is_found_after_all_is_not_lost(on: Scene) -> None:
    dead = on.begin_one("T4")
    first = on.measure(dead)
    on.cut_off(ONE)
    on.lose(dead, "its node died")
    on.nodes[TWO.node_id] = TWO
    for _ in range(TRIES):
        on.lose(on.begin_again(dead.configuration))
        on.ask()
    before = on.conduct.outcome
    assert before.lost == ("its worker died",)
    on.bring_back(ONE)
    on.run()
    assert first in on.written
    assert on.conduct.outcome.lost == ()
    assert_all_recorded_once(on)


def test_a_kind_that_goes_when_all_its_trials_are_done_is_no_news(on: Scene) -> None:
    for _ in range(3):
        on.finish(on.begin_one("T4"))
    on.cut_off(ONE)
    on.ask()
    on.clock.pass_by(TERMS.node_grace_s)
    on.ask()
    assert on.told.notices == ["node one (1 T4) is gone; nothing ran there"]
    on.run()
    assert_all_recorded_once(on)


# ---- what the nodes still hold at the end ----


def given_up_with_its_node(on: Scene) -> TrialRecord:
    """A sweep that is over: one T4 record was finished on a node that went, and the kind was given up."""
    gone = on.begin_one("T4")
    made = on.measure(gone)
    on.cut_off(ONE)
    on.lose(gone, "its node died")
    on.begin()
    on.clock.pass_by(TERMS.node_grace_s)
    on.run()
    assert made not in on.written
    assert on.conduct.outcome.unreachable == (("one", 1),)
    return made


def test_a_node_whose_spool_cannot_be_read_at_the_end_stays_out_of_reach(on: Scene) -> None:
    made = given_up_with_its_node(on)
    on.bring_back(ONE)
    on.disks.flaws["one"] = "cannot read the spool: permission denied"
    on.conduct.gather()
    assert made not in on.written
    assert on.conduct.outcome.unreachable == (("one", 1),)


def test_a_record_gathered_at_the_end_counts_and_its_node_is_out_of_reach_no_more(on: Scene) -> None:
    made = given_up_with_its_node(on)
    finished = on.conduct.finished
    on.bring_back(ONE)
    on.conduct.gather()
    assert made in on.written
    assert on.conduct.finished == finished + 1
    assert on.told.records[-1] == made
    assert on.conduct.outcome.unreachable == ()
    assert on.disks.lines["one"] == {}  # durable here: the node need not keep it


def test_a_node_that_does_not_answer_at_the_end_stays_out_of_reach(on: Scene) -> None:
    made = given_up_with_its_node(on)
    on.bring_back(ONE)
    on.disks.silent.add("one")
    on.conduct.gather()
    assert made not in on.written
    assert on.conduct.outcome.unreachable == (("one", 1),)
    assert list(on.disks.lines["one"].values()) == [encode(made)]


def test_a_configuration_given_up_whose_record_is_gathered_at_the_end_is_not_lost(on: Scene) -> None:
    late = on.begin_one("T4")
    made = on.measure(late)
    on.cut_off(ONE)
    on.begin()
    on.clock.pass_by(TERMS.node_grace_s)
    on.begin()
    on.lose(late, "its node died")  # the kind is closed by now
    on.run()
    before = on.conduct.outcome
    assert before.lost == ("its node died",)
    on.bring_back(ONE)
    on.conduct.gather()
    assert made in on.written
    assert on.conduct.outcome.lost == ()
    assert on.told.records[-1] == made


def test_what_was_reported_is_not_counted_again_at_the_end(on: Scene) -> None:
    on.run()
    on.conduct.gather()
    assert_all_recorded_once(on)


# ---- what ends a sweep ----


def full_disk(*_: Any) -> None:
    raise StorageFailed("cannot write out/records.jsonl: No space left on device")


def test_a_full_disk_ends_the_sweep_and_the_workers_and_keeps_the_spools(
    on: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = on.begin()
    with monkeypatch.context() as patch:
        patch.setattr(OutputFolder, "append", full_disk)
        on.finish(trials[0])
    assert isinstance(on.conduct.fatal, StorageFailed)
    assert on.conduct.over
    assert on.staff.living == []
    assert on.ask() is None
    on.finish(trials[1])  # too late: its supervisor comes back all the same
    assert (on.written, on.told.records) == ([], [])
    assert {attempt for lines in on.disks.lines.values() for attempt in lines} == {each.attempt for each in trials}


def test_a_spool_that_cannot_be_merged_ends_the_sweep(on: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = on.begin_one("T4")
    on.measure(dead)
    on.lose(dead)
    monkeypatch.setattr(OutputFolder, "append", full_disk)
    assert on.ask() is None
    assert isinstance(on.conduct.fatal, StorageFailed)


def test_a_journal_that_cannot_be_written_ends_the_sweep(on: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Configuration, __: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(on.search, "placed", refuse)
    on.begin()
    assert isinstance(on.conduct.fatal, StorageFailed)
    assert "No space left on device" in str(on.conduct.fatal)
    assert on.staff.living == []


def test_workers_that_never_start_end_the_sweep(on: Scene) -> None:
    broken = RuntimeError("an error raised in its creation task\nBadInput: prompts")
    on.staff.broken += [broken] * 2 * BROKEN_STARTS
    for _ in range(2 * BROKEN_STARTS):
        on.ask()
    assert isinstance(on.conduct.fatal, NothingMeasured)
    assert on.conduct.over


def test_a_record_of_something_else_ends_the_sweep_naming_what_was_measured_and_what_was_asked(on: Scene) -> None:
    trial = on.begin_one("T4")
    other = identity(basis="measured", device="T4", power_protocol="cap 60 W")
    made = on.record(trial)
    made = replace(made, identity=other, key=record_key(made.configuration, made.workload, other))
    on.report(trial, made)
    assert isinstance(on.conduct.fatal, BadInput)
    said = str(on.conduct.fatal)
    assert "one measured" in said
    assert "cap 60 W" in said
    assert repr(on.bench.identity(trial.configuration)) in said
    assert on.written == []


def test_a_report_that_this_version_cannot_read_ends_the_sweep_naming_the_node(on: Scene) -> None:
    trial = on.begin_one("T4")
    newer = encode(on.record(trial)).replace(b'"schema":1', f'"schema":{SCHEMA + 1}'.encode())
    on.conduct.ended(trial.id, {"record": newer.decode(), "unspooled": None})
    assert isinstance(on.conduct.fatal, BadInput)
    assert str(on.conduct.fatal) == (
        "one sent what is no record (schema 2 is newer than 1, the newest this version reads): "
        "install one version everywhere"
    )
    assert on.written == []


def test_a_node_that_cannot_keep_records_is_named_and_the_record_counts(on: Scene) -> None:
    trial = on.begin_one()
    made = on.record(trial)
    on.report(trial, made, unspooled="cannot write x.json: No space left on device")
    assert on.written == [made]
    assert on.told.notices == [
        f"{trial.host} cannot keep finished records: cannot write x.json: No space left on device"
    ]


def test_the_first_error_is_the_one_that_is_told(on: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OutputFolder, "append", full_disk)
    trials = on.begin()
    on.finish(trials[0])
    first = on.conduct.fatal
    on.finish(trials[1])
    on.conduct.recover("Ray Tune broke")
    assert on.conduct.fatal is first


# ---- records that were found ----


def test_a_found_record_of_another_question_changes_nothing(on: Scene) -> None:
    elsewhere = record(configuration(batch_size=64), measurement())  # no point of this space
    otherwise = record(POINTS[0], measurement())  # a modelled one of the same name
    for each in (elsewhere, otherwise):
        on.conduct.found(each)
    assert (on.search.told, on.conduct.finished, on.told.records) == (0, 0, [])


def test_a_found_record_of_this_question_is_a_trial_that_need_not_run(on: Scene) -> None:
    trial = on.begin_one()
    point = next(
        each for each in reversed(POINTS) if each.gpu == trial.configuration.gpu and each != trial.configuration
    )
    on.begin()
    assert point not in {each.configuration for each in on.begun}
    found = replace(
        on.record(trial),
        configuration=point,
        key=record_key(point, SHORT.summary(), on.bench.identity(point)),
    )
    on.conduct.found(found)
    on.conduct.found(found)
    assert on.told.records == [found]
    on.run()
    assert len(on.begun) == len(POINTS) - 1
    assert point not in {each.configuration for each in on.begun}


def test_a_failure_of_an_earlier_sweep_on_a_node_that_joins_says_nothing_about_a_trial_of_this_one(on: Scene) -> None:
    trial = on.begin_one("T4")
    old = on.record(trial, FAILED)
    old = replace(old, provenance=replace(old.provenance, attempt="earlier"))
    on.disks.keep("two", "earlier", encode(old))
    on.nodes[TWO.node_id] = TWO
    on.begin()
    assert old in on.written
    assert on.told.records == []
    made = on.finish(trial)
    assert made in on.told.records
    assert not any(frozen.state == TrialState.FAIL for frozen in on.search.study.trials)


def test_a_failure_of_this_sweep_in_a_spool_is_the_end_of_its_trial(on: Scene) -> None:
    dead = on.begin_one("T4")
    made = on.measure(dead, FAILED)
    on.lose(dead)
    on.run()
    assert made in on.written
    assert Counter(trial.configuration for trial in on.begun)[dead.configuration] == 1
    assert_all_recorded_once(on)


# ---- what a person sees ----


def test_the_status_counts_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path, monkeypatch, nodes=[node("one", gpus=2), ADA, node("head", None)]) as on:
        on.ask()
        first = on.told.status[-1]
        assert (first.nodes, first.gpus, first.gpus_busy, first.running, first.starting) == (3, 3, 0, 0, 3)
        assert (first.lost, first.total, first.longest) == (0, 6, None)
        trials = on.begin()
        assert len(trials) == 3
        on.clock.pass_by(30.0)
        on.ask()
        now = on.told.status[-1]
        assert (now.gpus_busy, now.running, now.starting) == (3, 3, 0)
        assert now.longest is not None
        assert now.longest[:2] == (trials[0].configuration, trials[0].host)
        assert now.longest[2] >= 30.0


def test_the_total_of_a_sampled_sweep_is_never_less_than_what_is_done_and_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten trials of eighty points: the closed T4 has more untried points than the whole budget.
    space = replace(SPACE, batch_sizes=tuple(range(1, 41)))
    with scene(tmp_path, monkeypatch, space=space, trials=10, sampler="tpe") as on:
        on.begin()
        on.cut_off(ONE)
        on.begin()
        on.clock.pass_by(TERMS.node_grace_s)
        on.ask()
        assert on.conduct.outcome.closed[0][1] > 10
        assert on.told.status[-1].total == on.conduct.finished + on.search.remaining + on.search.unfinished
        assert 0 < on.told.status[-1].total <= 10


def test_a_guided_sweep_stops_at_the_chance_and_leaves_what_runs_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Certain until three records are there, then done: the trial that runs on the other kind meanwhile ends, and what
    # waits for a GPU is not begun.
    guide = ListedGuide(POINTS, lambda records: 0.01 if records >= 3 else 1.0)
    with scene(tmp_path, monkeypatch, sampler="guided", guide=guide) as on:
        on.begin()
        while len(on.written) < 3:
            on.finish(on.flight[0])
            on.begin()
        left_running = list(on.flight)
        assert left_running
        assert on.ask() is None
        assert on.told.status[-1].stops_below == 0.05
        assert on.told.status[-1].chance_left == 0.01
        was_over = on.conduct.over
        assert not was_over
        for trial in left_running:
            on.finish(trial)
        assert on.ask() is None
        assert on.conduct.over
        assert len(on.written) == 3 + len(left_running) < len(POINTS)
        assert on.conduct.outcome.complete  # stopped as it was asked to: nothing is missing


def test_a_guided_trial_that_dies_when_the_sweep_stops_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = ListedGuide(POINTS, lambda records: 0.01 if records >= 3 else 1.0)
    with scene(tmp_path, monkeypatch, sampler="guided", guide=guide) as on:
        on.begin()
        while len(on.written) < 3:
            on.finish(on.flight[0])
            on.begin()
        begun = len(on.begun)
        assert on.flight
        for trial in list(on.flight):
            on.lose(trial)
        on.run()
        assert len(on.begun) == begun
        assert on.conduct.over


def test_gpus_of_a_kind_the_sweep_does_not_use_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path, monkeypatch, space=replace(SPACE, gpus=("T4",))) as on:
        on.ask()
        assert (on.told.status[-1].nodes, on.told.status[-1].gpus) == (2, 1)


def test_the_cluster_is_looked_at_no_more_than_twice_a_second(on: Scene) -> None:
    on.ask()
    looks = len(on.told.status)
    for _ in range(10):
        on.conduct.next("soon")
    assert len(on.told.status) == looks


# ---- a storm ----


@given(st.data())
@settings(max_examples=25)
def test_whatever_dies_and_whenever_each_configuration_is_recorded_lost_or_closed_and_none_twice(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    with (
        pytest.MonkeyPatch.context() as patch,
        scene(tmp_path_factory.mktemp("storm"), patch, nodes=[ONE, TWO, ADA]) as on,
    ):
        up = {each.host: each for each in (ONE, TWO, ADA)}
        down: dict[str, Any] = {}
        for turn in range(400):
            if on.conduct.over:
                break
            on.ask()
            calm = turn > 60
            deed = (
                "finish" if calm else data.draw(st.sampled_from(["finish", "finish", "die", "die late", "cut", "back"]))
            )
            if deed == "cut" and up:
                host = data.draw(st.sampled_from(sorted(up)))
                down[host] = up.pop(host)
                on.cut_off(down[host])
            elif down and (calm or deed == "back"):
                host = sorted(down)[0]
                (up[host],) = on.bring_back(down.pop(host))
            elif on.flight:
                ending = on.flight[0 if calm else data.draw(st.integers(0, len(on.flight) - 1))]
                home = next((each for each in on.conduct._running.values() if each.attempt == ending.attempt), None)
                if deed != "finish" or home is None or home.node_id not in on.nodes:
                    if deed == "die late":
                        on.measure(ending)
                    on.lose(ending)
                else:
                    on.finish(ending)
        assert on.conduct.over, on.told.notices
        assert on.conduct.fatal is None
        for each in on.flight:  # a configuration was found while it ran again: nobody waits for that
            on.finish(each)
        recorded = Counter(each.configuration for each in on.written)
        assert set(recorded.values()) <= {1}
        told = Counter(each.configuration for each in on.told.records)
        assert set(told.values()) <= {1}
        assert set(told) <= set(recorded)
        given_up = len(on.conduct.outcome.lost) + sum(count for _, count in on.conduct.outcome.closed)
        assert len(told) + given_up == len(POINTS)
        assert running_in_study(on) == 0
        assert T4 in on.staff.hired
