"""Records on disk survive hostile text, damage, a full disk and a second writer."""

from __future__ import annotations

import errno
import json
import math
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonsweep import records
from carbonsweep.domain import (
    BenchIdentity,
    Configuration,
    Device,
    Energy,
    EnergyEstimate,
    Measurement,
    PhaseMeasurement,
    Provenance,
    Refusal,
    Transfer,
    TrialRecord,
    WorkloadSummary,
)
from carbonsweep.errors import BadInput, OutputLocked, StorageFailed
from carbonsweep.records import (
    DAMAGED,
    RECORDS,
    SCHEMA,
    SPOOL_NAME,
    OutputFolder,
    decode,
    encode,
    is_better,
    latest,
    read,
    write_atomically,
)
from tests.conftest import FAILED, TOO_BIG, configuration, measurement, record

# ---- any record ----

HOSTILE = st.sampled_from(
    ["{", "}", '"', '\\"', "\\", "a\nb", "\r\n", "\u2028", "\x00", "\x1b[2J", "NaN", "null", "é", "\ufeff", "💨🏭", "א"]
)
texts = st.one_of(HOSTILE, st.text(max_size=20))
amounts = st.floats(min_value=1e-300, max_value=1e300)
some = st.none() | amounts
counts = st.integers(1, 10**6)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[float, float, float]:
    low, value, high = sorted(draw(st.tuples(amounts, amounts, amounts)))
    return low, value, high


@st.composite
def energies(draw: st.DrawFn) -> Energy:
    low_j, joules, high_j = draw(intervals())
    estimate = st.builds(EnergyEstimate, joules=st.floats(0, 1e9), source=texts, semantics=texts)
    return Energy(
        joules=joules,
        low_j=low_j,
        high_j=high_j,
        source=draw(texts),
        semantics=draw(texts),
        estimates=tuple(draw(st.lists(estimate, max_size=2))),
        gates=tuple(draw(st.lists(texts, max_size=2))),
    )


@st.composite
def phases(draw: st.DrawFn) -> PhaseMeasurement:
    low_s, duration_s, high_s = draw(intervals())
    return PhaseMeasurement(
        tokens=draw(amounts),
        padded_tokens=draw(amounts),
        duration_s=duration_s,
        duration_low_s=low_s,
        duration_high_s=high_s,
        repeats=draw(st.integers(0, 100)),
        energy=draw(st.none() | energies()),
        gpu=draw(texts),
        gpu_count=draw(counts),
        occupied_s=draw(amounts),
    )


measurements = st.builds(
    Measurement,
    prefill=phases(),
    decode=phases(),
    batch_size=counts,
    output_tokens=st.integers(2, 10**6),
    peak_memory_bytes=some,
    idle_w=some,
    bench=texts,
    basis=st.sampled_from(["measured", "modelled"]),
    error_source=texts,
    device=st.none()
    | st.builds(Device, name=texts, uuid=st.none() | texts, driver=st.none() | texts, power_cap_w=some),
    transfer=st.none() | st.builds(Transfer, bytes=amounts, exposed_s=st.floats(0, 1e3), energy=st.none() | energies()),
    notes=st.lists(texts, max_size=2).map(tuple),
)
refusals = st.builds(
    Refusal,
    kind=st.sampled_from(["does-not-fit", "unsupported", "failed"]),
    reason=texts,
    needed_bytes=some,
    available_bytes=some,
)
whole_records = st.builds(
    lambda outcome, **fields: TrialRecord(
        **fields,
        measurement=outcome if isinstance(outcome, Measurement) else None,
        refusal=outcome if isinstance(outcome, Refusal) else None,
    ),
    outcome=measurements | refusals,
    key=texts,
    configuration=st.builds(
        Configuration,
        model=texts,
        gpu=texts,
        gpu_count=counts,
        batch_size=counts,
        dtype=st.sampled_from(["fp32", "bf16", "fp16"]),
        engine=texts,
    ),
    workload=st.builds(
        WorkloadSummary,
        name=texts,
        digest=texts,
        prompts=counts,
        mean_prompt_tokens=amounts,
        token_basis=texts,
        output_tokens=counts,
        seed=st.integers(-(2**63), 2**63),
    ),
    identity=st.builds(
        BenchIdentity,
        bench=texts,
        basis=st.sampled_from(["measured", "modelled"]),
        engine_version=texts,
        weights=texts,
        calibration=texts,
        power_protocol=texts,
        device=texts,
    ),
    provenance=st.builds(
        Provenance, utc=texts, host=texts, python=texts, versions=st.lists(texts, max_size=2).map(tuple)
    ),
)


@given(whole_records)
@settings(max_examples=60)
def test_any_record_comes_back_from_its_line_as_it_was(whole: TrialRecord) -> None:
    line = encode(whole)
    assert decode(line) == whole
    assert b"\n" not in line
    assert json.loads(line)["key"] == whole.key  # plain JSON, for any reader


@given(st.lists(whole_records, min_size=1, max_size=3, unique_by=lambda whole: whole.key))
@settings(max_examples=15)
def test_any_records_come_back_from_their_file_in_order(
    tmp_path_factory: pytest.TempPathFactory, wholes: list[TrialRecord]
) -> None:
    folder = tmp_path_factory.mktemp("records")
    with OutputFolder(folder) as out:
        for whole in wholes:
            out.append(whole)
    assert read(folder) == (wholes, [])


# ---- lines that are no record ----

A, B, C = (record(configuration(batch_size=size), measurement()) for size in (1, 2, 4))


def changed(whole: TrialRecord, **fields: Any) -> bytes:
    return json.dumps({**json.loads(encode(whole)), **fields}).encode()


def with_number(number: str) -> bytes:
    """A's line with its peak memory of 3e9 bytes written as `number`."""
    before = encode(A)
    after = before.replace(b'"peak_memory_bytes":3000000000.0', f'"peak_memory_bytes":{number}'.encode())
    assert after != before
    return after


NOT_RECORDS = {
    "cut short": encode(A)[:-7],
    "not JSON": b"{garbage",
    "not UTF-8": encode(A).replace(b"T4", b"\xff\xfe"),
    "NUL bytes": b"\x00" * 64,
    "two records on a line": encode(A) + encode(B),
    "another object": b'{"hello": "world"}',
    "no object": b"42",
    "nested without end": b'{"x":' + b"[" * 200_000,
    "with neither measurement nor refusal": changed(A, measurement=None),
    "NaN": with_number("NaN"),
    "Infinity": with_number("Infinity"),
    "-Infinity": with_number("-Infinity"),
    "a number beyond doubles": with_number("1e999"),
    "zero joules": encode(A).replace(b'"joules":20.0', b'"joules":0'),
}


def test_a_record_of_a_newer_version_is_refused_and_stays_where_it_is(tmp_path: Path) -> None:
    content = encode(A) + b"\n" + changed(B, schema=SCHEMA + 1) + b"\n"
    (tmp_path / RECORDS).write_bytes(content)
    with pytest.raises(BadInput, match="line 2: schema 2 is newer than 1"):
        read(tmp_path)
    with pytest.raises(BadInput, match="a newer carbonsweep wrote it"), OutputFolder(tmp_path):
        pass
    assert (tmp_path / RECORDS).read_bytes() == content
    assert not (tmp_path / DAMAGED).exists()


@pytest.mark.parametrize("field", ["idle_w", "peak_memory_bytes"])
def test_watts_and_bytes_below_zero_are_no_measurement(field: str) -> None:
    values: dict[str, Any] = {field: -1e6}
    with pytest.raises(ValueError, match=field):
        measurement(**values)


@pytest.mark.parametrize("line", NOT_RECORDS.values(), ids=NOT_RECORDS)
def test_a_line_that_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        decode(line)
    assert str(refused.value).strip()


@pytest.mark.parametrize("line", NOT_RECORDS.values(), ids=NOT_RECORDS)
@pytest.mark.parametrize("place", ["first", "middle", "last", "last without line end"])
def test_damage_is_set_aside_byte_for_byte_and_nothing_else_is_lost(tmp_path: Path, line: bytes, place: str) -> None:
    lines = [encode(A), encode(B)]
    position = {"first": 0, "middle": 1}.get(place, 2)
    lines.insert(position, line)
    content = b"\n".join(lines) + (b"" if place == "last without line end" else b"\n")
    (tmp_path / RECORDS).write_bytes(content)

    with OutputFolder(tmp_path) as out:
        assert [(damaged.number, damaged.line) for damaged in out.damaged] == [(position + 1, line)]
        assert out.damaged[0].reason
        assert dict(out.records) == {A.key: A, B.key: B}
        out.append(C)
    assert (tmp_path / DAMAGED).read_bytes() == line + b"\n"
    assert read(tmp_path) == ([A, B, C], [])


def test_reading_changes_nothing(tmp_path: Path) -> None:
    content = encode(A) + b"\n" + encode(B)[:-3]
    (tmp_path / RECORDS).write_bytes(content)
    records, damaged = read(tmp_path)
    assert records == [A]
    assert [each.number for each in damaged] == [2]
    assert [path.name for path in tmp_path.iterdir()] == [RECORDS]
    assert (tmp_path / RECORDS).read_bytes() == content


def test_a_last_record_without_line_end_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_bytes(encode(A))
    with OutputFolder(tmp_path) as out:
        assert out.damaged == []
        out.append(B)
    assert read(tmp_path) == ([A, B], [])
    assert not (tmp_path / DAMAGED).exists()


def test_setting_damage_aside_keeps_what_later_versions_wrote_into_good_lines(tmp_path: Path) -> None:
    # A field this version does not know is not this version's to drop.
    line = changed(A, colour="green")
    (tmp_path / RECORDS).write_bytes(line + b"\nbroken\n")
    with OutputFolder(tmp_path):
        pass
    assert (tmp_path / RECORDS).read_bytes() == line + b"\n"


def test_damage_found_twice_is_kept_twice(tmp_path: Path) -> None:
    for junk in (b"first", b"second"):
        with (tmp_path / RECORDS).open("ab") as file:
            file.write(junk)
        with OutputFolder(tmp_path):
            pass
    assert (tmp_path / DAMAGED).read_bytes() == b"first\nsecond\n"


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n  \n"])
def test_an_empty_file_holds_no_records_and_no_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECORDS).write_bytes(content)
    with OutputFolder(tmp_path) as out:
        assert (dict(out.records), out.damaged) == ({}, [])
        out.append(A)
    assert read(tmp_path) == ([A], [])


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_bytes(encode(A) + b"\r\n" + encode(B) + b"\r\n")
    assert read(tmp_path) == ([A, B], [])


def test_a_folder_without_a_file_has_no_records(tmp_path: Path) -> None:
    assert read(tmp_path) == ([], [])
    assert read(tmp_path / "absent") == ([], [])


def test_records_that_cannot_be_read_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / RECORDS).mkdir()
    with pytest.raises(BadInput, match="cannot read"):
        read(tmp_path)
    with pytest.raises(BadInput, match="cannot read"), OutputFolder(tmp_path):
        pass


# ---- which of several ----

FAILURE = replace(A, measurement=None, refusal=FAILED)
LATER_FAILURE = replace(A, measurement=None, refusal=replace(FAILED, reason="again"))
LATER_RESULT = replace(A, measurement=measurement(ttft_s=0.4))
REFUSED = replace(A, measurement=None, refusal=TOO_BIG)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ([A, LATER_RESULT], LATER_RESULT),
        ([A, FAILURE], A),
        ([FAILURE, A], A),
        ([FAILURE, LATER_FAILURE], LATER_FAILURE),
        ([A, FAILURE, LATER_RESULT, LATER_FAILURE], LATER_RESULT),
        ([REFUSED, FAILURE], REFUSED),  # that it does not fit is a result
        ([A, REFUSED], REFUSED),
    ],
)
def test_the_newest_counts_and_a_failure_never_hides_a_result(
    tmp_path: Path, written: list[TrialRecord], kept: TrialRecord
) -> None:
    assert latest(written) == {A.key: kept}
    with OutputFolder(tmp_path) as out:
        for each in written:
            out.append(each)
        assert dict(out.records) == {A.key: kept}
    with OutputFolder(tmp_path) as again:
        assert dict(again.records) == {A.key: kept}


# ---- records found elsewhere ----

BLIND = replace(A, measurement=measurement(prefill_j=None))
UNSUPPORTED = replace(A, measurement=None, refusal=replace(TOO_BIG, kind="unsupported"))


@pytest.mark.parametrize("found", [A, BLIND, FAILURE, REFUSED], ids=["result", "no joules", "failure", "refusal"])
def test_anything_is_better_than_nothing_and_than_a_failure(found: TrialRecord) -> None:
    assert is_better(found, None)
    assert is_better(found, FAILURE)


@pytest.mark.parametrize(
    ("found", "there", "better"),
    [
        (A, BLIND, True),  # joules where there were none
        (LATER_RESULT, A, False),  # another measurement says no more
        (BLIND, A, False),
        (BLIND, BLIND, False),
        (REFUSED, A, False),
        (FAILURE, A, False),
        (FAILURE, BLIND, False),
        (A, REFUSED, False),  # that it does not fit is an answer
        (FAILURE, REFUSED, False),
        (UNSUPPORTED, REFUSED, False),
    ],
)
def test_a_record_is_better_only_where_it_says_what_the_other_does_not(
    found: TrialRecord, there: TrialRecord, better: bool
) -> None:
    assert is_better(found, there) is better


def attempted(whole: TrialRecord, attempt: str) -> TrialRecord:
    return replace(whole, provenance=replace(whole.provenance, attempt=attempt))


def test_an_attempt_is_merged_once_whoever_brings_it_and_however_often(tmp_path: Path) -> None:
    one, other = attempted(FAILURE, "one"), attempted(LATER_FAILURE, "other")
    with OutputFolder(tmp_path) as out:
        assert [out.merge(one), out.merge(one)] == [True, False]
        assert [out.merge(other), out.merge(one)] == [True, False]  # a newer failure has taken its place
    with OutputFolder(tmp_path) as again:
        assert [again.merge(one), again.merge(other)] == [False, False]
    assert read(tmp_path) == ([one, other], [])


def test_what_was_appended_is_not_merged_again(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as out:
        out.append(attempted(FAILURE, "one"))
        assert not out.merge(attempted(FAILURE, "one"))


def test_of_two_attempts_at_one_configuration_the_first_result_stays(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as out:
        assert out.merge(attempted(FAILURE, "one"))
        assert out.merge(attempted(A, "two"))
        assert not out.merge(attempted(LATER_RESULT, "three"))
        assert not out.merge(attempted(LATER_FAILURE, "four"))
        assert out.merge(attempted(B, "five"))  # another configuration
        assert dict(out.records) == {A.key: attempted(A, "two"), B.key: attempted(B, "five")}


def test_records_without_an_attempt_are_not_taken_for_one_another(tmp_path: Path) -> None:
    # What need not be tried has none.
    assert A.provenance.attempt is B.provenance.attempt is None
    with OutputFolder(tmp_path) as out:
        assert [out.merge(A), out.merge(B)] == [True, True]
    with OutputFolder(tmp_path) as again:
        assert [again.merge(A), again.merge(B)] == [False, False]
    assert read(tmp_path) == ([A, B], [])


def test_a_record_that_could_not_be_merged_can_be_merged_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OutputFolder(tmp_path) as out:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse_fsync)
            with pytest.raises(StorageFailed):
                out.merge(attempted(A, "one"))
        assert out.merge(attempted(A, "one"))
    assert read(tmp_path) == ([attempted(A, "one")], [])


# ---- its name for the machines that measure ----


def spool_name(folder: Path) -> str:
    with OutputFolder(folder) as out:
        return out.spool_name


def test_a_folder_keeps_its_spool_name_and_shares_it_with_no_other(tmp_path: Path) -> None:
    name = spool_name(tmp_path / "one")
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")
    assert spool_name(tmp_path / "one") == name
    (tmp_path / "one").rename(tmp_path / "moved")  # the spools of a folder go with it
    assert spool_name(tmp_path / "moved") == name
    assert spool_name(tmp_path / "two") != name


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 33, b"../../etc", b"0123456789abcdef", b"\xff\xfe", b"g" * 32, b"0" * 32 + b"\n" + b"1" * 32],
)
def test_a_damaged_spool_name_is_replaced_for_good(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SPOOL_NAME).write_bytes(content)
    name = spool_name(tmp_path)
    assert len(name) == 32
    assert spool_name(tmp_path) == name


def test_a_spool_name_that_cannot_be_written_or_read_leaves_the_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse_fsync)
        with pytest.raises(StorageFailed, match=SPOOL_NAME):
            spool_name(tmp_path)
    assert not (tmp_path / SPOOL_NAME).exists()
    assert spool_name(tmp_path)
    (tmp_path / SPOOL_NAME).unlink()
    (tmp_path / SPOOL_NAME).mkdir()
    with pytest.raises(BadInput, match="cannot read"):
        spool_name(tmp_path)


# ---- one writer ----


def hold(folder: Path, held: Event, done: Event) -> None:
    with OutputFolder(folder):
        held.set()
        done.wait(60)


@pytest.fixture
def other_writer(tmp_path: Path) -> Iterator[Event]:
    spawning = multiprocessing.get_context("spawn")
    held, done = spawning.Event(), spawning.Event()
    process = spawning.Process(target=hold, args=(tmp_path, held, done))
    process.start()
    assert held.wait(60)
    yield done
    done.set()
    process.join(60)
    process.close()


def test_a_folder_another_process_writes_to_is_locked_and_free_after_it(tmp_path: Path, other_writer: Event) -> None:
    with pytest.raises(OutputLocked, match="in use by another sweep"), OutputFolder(tmp_path):
        pass
    other_writer.set()
    for _ in range(600):
        try:
            with OutputFolder(tmp_path) as out:
                out.append(A)
            break
        except OutputLocked:
            signal.sigtimedwait([], 0.05)  # the other is still leaving
    assert read(tmp_path) == ([A], [])


def test_a_folder_is_locked_within_a_process_too_and_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), OutputFolder(tmp_path):  # noqa: PT012  (the lock is the point)
        with pytest.raises(OutputLocked), OutputFolder(tmp_path):
            pass
        _ = 1 / 0
    with OutputFolder(tmp_path) as out:
        out.append(A)
    assert read(tmp_path) == ([A], [])


# ---- folders that cannot be ----


def test_an_out_that_is_a_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "below"):
        with pytest.raises(BadInput, match=r"is a file|cannot be written"), OutputFolder(out):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte"], ids=["too long", "NUL"])
def test_an_out_that_cannot_be_created_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    for out in (tmp_path / name, tmp_path / "a" / "b" / name):
        with pytest.raises(BadInput, match="cannot be written"), OutputFolder(out):
            pass
    assert list(tmp_path.iterdir()) == []


def test_an_out_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    # Permission bits do not stop the superuser tests may run as; the first write does.
    monkeypatch.setattr("carbonsweep.records.tempfile.mkstemp", refuse)
    with pytest.raises(BadInput, match="Read-only file system"), OutputFolder(tmp_path / "new" / "folder"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_taken_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(BadInput, match="cannot be locked"), OutputFolder(tmp_path):
        pass


def test_missing_parents_are_made(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "a" / "b") as out:
        out.append(A)
    assert read(tmp_path / "a" / "b") == ([A], [])


# ---- a full disk ----


@pytest.fixture
def limit_file_size() -> Iterator[Any]:
    """Sets the largest size of a file, as a full disk would; writes stop in the middle of a line."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 200, -1], ids=["none", "one byte", "half a line", "all but the line end"])
def test_a_full_disk_fails_the_record_and_keeps_the_file_readable(
    tmp_path: Path, limit_file_size: Any, room: int
) -> None:
    line = len(encode(B))
    with OutputFolder(tmp_path) as out:
        out.append(A)
        before = (tmp_path / RECORDS).read_bytes()
        limit_file_size(len(before) + (room if room >= 0 else line))
        with pytest.raises(StorageFailed, match=RECORDS):
            out.append(B)
        limit_file_size(resource.RLIM_INFINITY)
        assert (tmp_path / RECORDS).read_bytes() == before
        assert B.key not in out.records  # what is not durable does not count
        out.append(C)
    assert read(tmp_path) == ([A, C], [])


def refuse_fsync(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_does_not_take_the_bytes_for_good_fails_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OutputFolder(tmp_path) as out:
        out.append(A)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse_fsync)
            with pytest.raises(StorageFailed, match="No space left"):
                out.append(B)
        out.append(C)
    assert read(tmp_path) == ([A, C], [])


def test_damage_that_cannot_be_set_aside_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(A) + b"\nbroken\n" + encode(B) + b"\n"
    (tmp_path / RECORDS).write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse_fsync)
        with pytest.raises(StorageFailed), OutputFolder(tmp_path):
            pass
    assert (tmp_path / RECORDS).read_bytes() == content
    with OutputFolder(tmp_path) as out:  # and the folder is free again
        assert dict(out.records) == {A.key: A, B.key: B}


def test_every_record_is_on_the_disk_before_anybody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes | str] = []
    real = os.fsync

    def seen(descriptor: int) -> None:
        real(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append("folder" if path == tmp_path else path.read_bytes())

    with OutputFolder(tmp_path) as out:
        monkeypatch.setattr(os, "fsync", seen)
        out.append(A)
        # The bytes, and with the first record the name of its file too: without it a power cut takes both.
        first = encode(A) + b"\n"
        assert synced == [first, "folder"]
        out.append(B)
        assert synced[2:] == [first + encode(B) + b"\n"]


def test_a_first_record_whose_name_does_not_reach_the_disk_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with OutputFolder(tmp_path) as out:
        with monkeypatch.context() as patch:
            patch.setattr(records, "flush_folder", refuse)
            with pytest.raises(StorageFailed, match=r"cannot write .*records\.jsonl: Input/output error"):
                out.append(A)
        assert read(tmp_path) == ([], [])
        out.append(B)
    assert read(tmp_path) == ([B], [])


# ---- whole or not at all ----


def test_writing_atomically_replaces_all_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    write_atomically(path, "a longer old text")
    write_atomically(path, "new ✓")
    assert path.read_text(encoding="utf-8") == "new ✓"
    assert [each.name for each in tmp_path.iterdir()] == ["answer.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_new_name_is_on_the_disk_before_writing_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def seen(descriptor: int) -> None:
        real(descriptor)
        folder = Path(f"/proc/self/fd/{descriptor}").readlink() == tmp_path
        synced.append(f"folder with {sorted(each.name for each in tmp_path.iterdir())}" if folder else "bytes")

    monkeypatch.setattr(os, "fsync", seen)
    write_atomically(tmp_path / "answer.json", "x")
    assert synced == ["bytes", "folder with ['answer.json']"]


def test_a_failed_write_keeps_the_old_content_and_leaves_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_file_size: Any
) -> None:
    path = tmp_path / "answer.json"
    write_atomically(path, "old")
    limit_file_size(100)
    with pytest.raises(StorageFailed, match=r"answer\.json"):
        write_atomically(path, b"x" * 5000)
    limit_file_size(resource.RLIM_INFINITY)
    monkeypatch.setattr(os, "fsync", refuse_fsync)
    with pytest.raises(StorageFailed, match=r"answer\.json"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["answer.json"]


def test_an_unwritable_place_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="absent"):
        write_atomically(tmp_path / "absent" / "answer.json", "x")


def test_numbers_survive_to_the_last_bit(tmp_path: Path) -> None:
    odd = math.nextafter(0.1, 1)
    assert decode(encode(record(configuration(), measurement(ttft_s=odd)))).measurement == measurement(ttft_s=odd)
