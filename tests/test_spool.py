"""Finished records stay on the machine that measured them until the sweep has them, whatever happens in between."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carbonsweep.domain import TrialRecord
from carbonsweep.errors import BadInput, StorageFailed
from carbonsweep.records import RECORDS, SCHEMA, OutputFolder, decode, encode, read
from carbonsweep.spool import ROOT_VARIABLE, Spool, merge_own, spool
from tests.conftest import FAILED, configuration, measurement, record

NAME = "0123456789abcdef" * 2


def attempted(attempt: str | None, batch_size: int = 4) -> TrialRecord:
    made = record(configuration(batch_size=batch_size), measurement())
    return replace(made, provenance=replace(made.provenance, attempt=attempt))


A, B = attempted("a", 1), attempted("b", 2)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    """A spool of a machine that has none yet."""
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "spools"))
    return spool(NAME)


@pytest.fixture
def limit_file_size() -> Iterator[Any]:
    """Sets the largest size of a file, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ---- keeping ----


def test_what_is_kept_comes_back_as_it_was_by_attempt(there: Spool) -> None:
    there.keep(A)
    there.keep(B)
    assert {attempt: decode(line) for attempt, line in there.lines().items()} == {"a": A, "b": B}


def test_an_attempt_kept_twice_is_there_once_and_two_attempts_at_one_configuration_both(there: Spool) -> None:
    there.keep(A)
    there.keep(A)
    there.keep(attempted("again", 1))
    assert sorted(there.lines()) == ["a", "again"]


def test_a_record_is_on_the_disk_with_its_name_before_keep_returns(
    there: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str | Path] = []
    real = os.fsync

    def seen(descriptor: int) -> None:
        real(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path if path.is_dir() else path.read_bytes().decode())

    monkeypatch.setattr(os, "fsync", seen)
    there.keep(A)
    # A new spool's own name and its parent's; then the bytes of the record, then its name.
    spools = there.folder.parent
    assert synced == [spools, spools.parent, encode(A).decode() + "\n", there.folder]
    synced.clear()
    there.keep(B)
    assert synced == [encode(B).decode() + "\n", there.folder]


def test_a_spool_whose_name_does_not_reach_the_disk_refuses_the_record(
    there: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageFailed, match=r"^cannot make .*: Input/output error$"):
        there.keep(A)


def test_a_full_disk_refuses_the_record_and_leaves_what_is_there_whole(there: Spool, limit_file_size: Any) -> None:
    there.keep(A)
    limit_file_size(100)
    with pytest.raises(StorageFailed, match=r"b\.json"):
        there.keep(B)
    limit_file_size(resource.RLIM_INFINITY)
    assert there.lines() == {"a": encode(A)}
    assert len(list(there.folder.iterdir())) == 1  # no scraps
    there.keep(B)
    assert sorted(there.lines()) == ["a", "b"]


def test_a_spool_whose_folder_cannot_be_made_is_a_storage_failure(there: Spool) -> None:
    there.folder.parent.write_text("a file where the folder belongs")
    with pytest.raises(StorageFailed, match="cannot make"):
        there.keep(A)


def test_a_write_that_was_cut_short_by_death_is_no_record(there: Spool) -> None:
    there.keep(A)
    (there.folder / ".b.json.x7q2").write_bytes(encode(B)[:50])  # as `write_atomically` names what it writes
    assert sorted(there.lines()) == ["a"]


# ---- reading ----


def test_a_machine_that_never_measured_holds_nothing(there: Spool) -> None:
    assert there.lines() == {}
    assert not there.folder.exists()


def test_a_folder_that_cannot_be_read_is_said_to_be_unreadable_and_not_empty(
    there: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.keep(A)

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    # Permission bits do not stop the superuser tests may run as.
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(StorageFailed, match=r"cannot read .*: Permission denied"):
            there.lines()
    assert sorted(there.lines()) == ["a"]


def test_a_file_in_place_of_the_folder_is_said_to_be_unreadable_and_not_empty(there: Spool) -> None:
    there.folder.parent.mkdir()
    there.folder.write_text("no folder")
    with pytest.raises(StorageFailed, match="cannot read"):
        there.lines()


def test_a_record_that_cannot_be_read_is_a_storage_failure(there: Spool) -> None:
    there.keep(A)
    (there.folder / "b.json").mkdir()
    with pytest.raises(StorageFailed, match="cannot read"):
        there.lines()


def test_a_record_that_is_settled_while_others_are_read_hides_none_of_them(
    there: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker settles what it reported, while a visit looks for the record of another that died on the same machine.
    there.keep(A)
    there.keep(B)
    real = Path.read_bytes

    def settling(path: Path) -> bytes:
        there.settle(["a"])
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", settling)
    assert there.lines() == {"b": encode(B)}


# ---- settling ----


def test_settled_attempts_are_removed_and_only_they(there: Spool) -> None:
    there.keep(A)
    there.keep(B)
    there.settle(["a", "never kept"])
    assert sorted(there.lines()) == ["b"]
    there.settle(["a"])
    there.settle([])
    assert sorted(there.lines()) == ["b"]


def test_settling_where_nothing_was_ever_kept_is_no_matter(there: Spool) -> None:
    there.settle(["a"])
    assert not there.folder.exists()


def test_what_cannot_be_removed_stays_and_the_others_go(there: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    there.keep(A)
    there.keep(B)
    real = Path.unlink

    def refusing(path: Path, missing_ok: bool = False) -> None:
        if path.stem == "a":
            raise OSError(errno.EROFS, "Read-only file system")
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    there.settle(["a", "b"])
    assert sorted(there.lines()) == ["a"]


# ---- where it is ----


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "a/b", "A1", "0x1", "é", "a\n", "a\0", " a"])
def test_only_hexadecimal_digits_name_a_spool(name: str) -> None:
    with pytest.raises(BadInput, match="is no name of a spool"):
        spool(name)


def test_the_folder_is_the_users_state_unless_named_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    below = Path("carbonsweep") / "spool" / NAME
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert spool(NAME).folder == tmp_path / ".local" / "state" / below
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert spool(NAME).folder == tmp_path / "state" / below
    for ignored in ("", "relative/state"):  # "All paths ... must be absolute": the specification
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert spool(NAME).folder == tmp_path / ".local" / "state" / below
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "mine"))
    assert spool(NAME).folder == tmp_path / "mine" / NAME


# ---- what a dead sweep leaves on this machine ----


@pytest.mark.usefixtures("there")
def test_what_this_machine_holds_is_merged_once_however_often_a_sweep_starts(tmp_path: Path) -> None:
    for expected in (2, 0, 0):
        with OutputFolder(tmp_path / "out") as out:
            own = spool(out.spool_name)
            if expected:
                own.keep(A)
                own.keep(B)
            assert merge_own(out) == expected
            assert dict(out.records) == {A.key: A, B.key: B}
            assert own.lines() == {}
    assert read(tmp_path / "out") == ([A, B], [])


@pytest.mark.usefixtures("there")
def test_a_sweep_killed_between_merging_and_settling_merges_nothing_twice(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as out:
        own = spool(out.spool_name)
        own.keep(A)
        out.append(A)  # and the process dies
    with OutputFolder(tmp_path / "out") as out:
        assert merge_own(out) == 0
    assert own.lines() == {}
    assert read(tmp_path / "out") == ([A], [])


@pytest.mark.usefixtures("there")
def test_a_second_measurement_of_what_is_known_is_settled_without_a_record(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as out:
        out.append(A)
        spool(out.spool_name).keep(attempted("again", 1))
        assert merge_own(out) == 0
        assert spool(out.spool_name).lines() == {}
    assert read(tmp_path / "out") == ([A], [])


@pytest.mark.usefixtures("there")
def test_a_result_in_a_spool_replaces_a_failure_in_the_records(tmp_path: Path) -> None:
    failed = replace(A, measurement=None, refusal=FAILED, provenance=replace(A.provenance, attempt="before"))
    with OutputFolder(tmp_path / "out") as out:
        out.append(failed)
        spool(out.spool_name).keep(A)
        assert merge_own(out) == 1
        assert out.records[A.key] == A


@pytest.mark.usefixtures("there")
def test_a_line_that_is_no_record_or_of_a_newer_version_stays_where_it_is(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as out:
        own = spool(out.spool_name)
        own.keep(A)
        newer = encode(B).replace(b'"schema":1', f'"schema":{SCHEMA + 1}'.encode())
        (own.folder / "newer.json").write_bytes(newer)
        (own.folder / "broken.json").write_bytes(encode(B)[:-9])
        (own.folder / "empty.json").write_bytes(b"")
        for expected in (1, 0):
            assert merge_own(out) == expected
            assert own.lines() == {"newer": newer, "broken": encode(B)[:-9], "empty": b""}


@pytest.mark.usefixtures("there")
def test_what_cannot_be_made_durable_stays_in_the_spool(tmp_path: Path, limit_file_size: Any) -> None:
    with OutputFolder(tmp_path / "out") as out:
        own = spool(out.spool_name)
        own.keep(A)
        own.keep(B)
        limit_file_size(len(encode(A)) + 10)  # room for the first alone
        with pytest.raises(StorageFailed, match=RECORDS):
            merge_own(out)
        limit_file_size(resource.RLIM_INFINITY)
        assert sorted(own.lines()) == ["a", "b"]
        assert merge_own(out) == 1  # the other one
        assert own.lines() == {}
    assert read(tmp_path / "out") == ([A, B], [])


@pytest.mark.usefixtures("there")
def test_two_output_folders_do_not_see_each_others_spools(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "one") as one, OutputFolder(tmp_path / "two") as two:
        spool(one.spool_name).keep(A)
        assert merge_own(two) == 0
        assert merge_own(one) == 1
