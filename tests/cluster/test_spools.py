"""What nodes hold is merged once, removed once it is durable here, and named where it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from carbonsweep.cluster.spools import Spools
from carbonsweep.cluster.visits import PATIENCE_S
from carbonsweep.domain import TrialRecord
from carbonsweep.errors import StorageFailed
from carbonsweep.records import SCHEMA, OutputFolder, encode, read
from tests.cluster.staff import Clock, Disks, by_id, node
from tests.conftest import configuration, measurement, record

ONE, TWO = node("one"), node("two")
BOTH = by_id(ONE, TWO)


def attempted(attempt: str, batch_size: int) -> TrialRecord:
    made = record(configuration(batch_size=batch_size), measurement())
    return replace(made, provenance=replace(made.provenance, attempt=attempt))


A, B = attempted("a", 1), attempted("b", 2)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> Disks:
    there = Disks()
    there.instead_of_ray(monkeypatch)
    return there


@pytest.fixture
def out(tmp_path: Path) -> Iterator[OutputFolder]:
    with OutputFolder(tmp_path / "out") as folder:
        yield folder


def test_what_all_nodes_hold_is_merged_and_then_removed_there(disks: Disks, out: OutputFolder) -> None:
    disks.keep("one", "a", encode(A))
    disks.keep("two", "b", encode(B))
    new, found, silent = Spools(out, Clock()).gather(BOTH.values())
    assert (new, silent) == ([A, B], {})
    assert {each.host for each in found.values()} == {"one", "two"}
    assert read(out.folder) == ([A, B], [])
    assert disks.lines == {"one": {}, "two": {}}  # a dead sweep's leftovers are not read again at every start


def test_a_record_that_two_nodes_hold_is_merged_once(disks: Disks, out: OutputFolder) -> None:
    # Two raylets of one machine share its disk.
    disks.keep("one", "a", encode(A))
    disks.keep("two", "a", encode(A))
    assert Spools(out, Clock()).gather(BOTH.values())[0] == [A]
    assert Spools(out, Clock()).gather(BOTH.values())[0] == []
    assert read(out.folder) == ([A], [])


def test_what_is_durable_here_is_removed_and_what_is_not_stays(
    disks: Disks, out: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks.keep("one", "a", encode(A))
    disks.keep("one", "b", encode(B))
    spools = Spools(out, Clock())
    out.append(A)
    spools.durable("a")

    def full_disk(*_: object) -> None:
        raise StorageFailed("cannot write records.jsonl: No space left on device")

    monkeypatch.setattr(OutputFolder, "append", full_disk)
    with pytest.raises(StorageFailed):
        spools.gather(BOTH.values())
    assert disks.lines["one"] == {"b": encode(B)}


def test_a_line_that_is_no_record_or_a_newer_one_stays_and_is_named(disks: Disks, out: OutputFolder) -> None:
    newer = encode(B).replace(b'"schema":1', f'"schema":{SCHEMA + 1}'.encode())
    for attempt, line in (("a", encode(A)), ("broken", encode(B)[:-9]), ("newer", newer)):
        disks.keep("one", attempt, line)
    spools = Spools(out, Clock())
    assert spools.gather(BOTH.values())[0] == [A]
    assert disks.lines["one"] == {"broken": encode(B)[:-9], "newer": newer}
    broken, of_later = sorted(spools.flaws)
    assert broken.startswith("one: broken is no record: ")
    assert of_later.startswith("one: newer is no record: schema 2 is newer than 1")


def test_a_spool_that_cannot_be_read_is_named_and_the_others_are_merged(disks: Disks, out: OutputFolder) -> None:
    disks.keep("one", "a", encode(A))
    disks.keep("two", "b", encode(B))
    disks.flaws["one"] = "cannot read /spool: Permission denied"
    spools = Spools(out, Clock())
    assert spools.gather(BOTH.values())[0] == [B]
    assert spools.flaws == {"one: cannot read /spool: Permission denied"}
    assert "a" in disks.lines["one"]


def test_a_node_that_does_not_answer_is_told_with_the_reason(disks: Disks, out: OutputFolder) -> None:
    disks.keep("two", "b", encode(B))
    disks.silent.add("one")
    new, found, silent = Spools(out, Clock()).gather(BOTH.values())
    assert (new, list(found), silent) == ([B], [TWO], {ONE: "GetTimeoutError"})


def test_what_a_look_finds_is_told_before_its_end_is_and_both_once(disks: Disks, out: OutputFolder) -> None:
    disks.keep("one", "a", encode(A))
    told: list[object] = []
    spools = Spools(out, Clock())
    spools.look(ONE, lambda: told.append("after"))
    assert told == []  # nothing happens outside `poll`
    spools.poll(BOTH, told.append)
    spools.poll(BOTH, told.append)
    assert told == [A, "after"]


def test_a_look_waits_for_its_answer_until_the_node_is_gone_or_too_late(disks: Disks, out: OutputFolder) -> None:
    clock, told = Clock(), list[object]()
    disks.silent |= {"one", "two"}
    spools = Spools(out, clock)
    spools.look(ONE, lambda: told.append("one"))
    spools.look(TWO, lambda: told.append("two"))
    clock.pass_by(PATIENCE_S)
    spools.poll(BOTH, told.append)
    assert told == []
    spools.poll(by_id(TWO), told.append)
    assert told == ["one"]
    clock.pass_by(0.1)
    spools.poll(BOTH, told.append)
    assert told == ["one", "two"]


def test_a_look_that_brought_nothing_back_is_told_apart(disks: Disks, out: OutputFolder) -> None:
    told: list[object] = []
    spools = Spools(out, Clock())
    disks.flaws["two"] = "cannot read /spool: Permission denied"
    for each in (ONE, TWO):
        spools.look(each, lambda: told.append("read"), lambda: told.append("unread"))
    spools.poll(BOTH, told.append)
    assert told == ["read", "unread"]
    disks.silent.add("one")
    spools.look(ONE, lambda: told.append("read"), lambda: told.append("gone"))
    spools.poll(by_id(TWO), told.append)
    assert told == ["read", "unread", "gone"]


def test_several_looks_at_one_node_all_end(disks: Disks, out: OutputFolder) -> None:
    # Two workers of one node die together.
    disks.keep("one", "a", encode(A))
    told: list[object] = []
    spools = Spools(out, Clock())
    for name in ("first", "second"):
        spools.look(ONE, lambda name=name: told.append(name))  # type: ignore[misc]
    spools.poll(BOTH, told.append)
    assert told == [A, "first", "second"]
