"""Records on disk: one JSON line per trial, durable before anybody is told, damaged lines set aside, one writer.

A folder holds `records.jsonl`; what cannot be read there moves to `records.jsonl.damaged`, byte for byte. Its name for
the machines that measure for it is in `.spool`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import filelock
import msgspec

from carbonsweep.domain import TrialRecord
from carbonsweep.errors import BadInput, OutputLocked, StorageFailed

RECORDS: Final = "records.jsonl"
DAMAGED: Final = "records.jsonl.damaged"
SPOOL_NAME: Final = ".spool"
SCHEMA: Final = 1

_decoder = msgspec.json.Decoder(TrialRecord)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line that is no record: its number in the file (from 1), its bytes and why."""

    number: int
    line: bytes
    reason: str


def encode(record: TrialRecord) -> bytes:
    """One JSON line, without its line end."""
    return _encoder.encode(record)


def decode(line: bytes | str) -> TrialRecord:
    """The record of one line. Raises ValueError where it is no record, NewerSchema where a later version wrote it."""
    try:
        record = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse_newer(line)  # a later version may have other fields
        raise ValueError(str(error)) from error
    _refuse_newer(line)
    return record


class NewerSchema(ValueError):
    """A record of a later version: whole, only not for this one to read."""


@dataclass(frozen=True, slots=True)
class _Version:
    schema: int = SCHEMA


def _refuse_newer(line: bytes | str) -> None:
    try:
        schema = _version_decoder.decode(line).schema
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    if schema > SCHEMA:
        raise NewerSchema(f"schema {schema} is newer than {SCHEMA}, the newest this version reads")


_version_decoder = msgspec.json.Decoder(_Version)


def read(folder: Path) -> tuple[list[TrialRecord], list[Damaged]]:
    """All records of a folder in file order, and the lines that are none. Reads only; no file, no records.

    Raises BadInput where the file exists and cannot be read.
    """
    good, damaged = _lines(_content(folder / RECORDS), folder / RECORDS)
    return [record for _, record in good], damaged


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error


def _lines(content: bytes, path: Path) -> tuple[list[tuple[bytes, TrialRecord]], list[Damaged]]:
    """Each readable line with its record, and the others. Raises BadInput for a record of a newer version."""
    good: list[tuple[bytes, TrialRecord]] = []
    damaged: list[Damaged] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            good.append((line, decode(line)))
        except NewerSchema as error:
            raise BadInput(f"{path}, line {number}: {error}; a newer carbonsweep wrote it and can read it") from error
        except ValueError as error:
            damaged.append(Damaged(number, line, str(error)))
    return good, damaged


def latest(records: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    """By key; of several the newest, except that a failure never hides a result."""
    by_key: dict[str, TrialRecord] = {}
    for record in records:
        before = by_key.get(record.key)
        if before is None or is_failure(before) or not is_failure(record):
            by_key[record.key] = record
    return by_key


def is_better(record: TrialRecord, than: TrialRecord | None) -> bool:
    """Whether `record` says more of its key than the one that is there: anything than a failure, joules than none."""
    if than is None or is_failure(than):
        return True
    if record.measurement is None or than.measurement is None:
        return False
    return than.measurement.energy_j is None and record.measurement.energy_j is not None


def is_failure(record: TrialRecord) -> bool:
    """A trial that broke: worth another attempt, unlike one that does not fit or is not supported."""
    return record.refusal is not None and record.refusal.kind == "failed"


class OutputFolder:
    """The one writer of a folder, as a context manager: locks it, mends it, appends to it.

    `records` are those already there, `damaged` the lines set aside on entry. Raises BadInput where the folder cannot
    be made or written, OutputLocked where another sweep holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[Damaged] = []
        self.spool_name = ""
        self._records: dict[str, TrialRecord] = {}
        self._attempts: set[str | None] = set()
        self._lock = filelock.FileLock(folder / ".lock", blocking=False)

    def __enter__(self) -> OutputFolder:
        _make(self.folder)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise OutputLocked(
                f"--out {self.folder} is in use by another sweep: wait for it, or choose another folder"
            ) from error
        except OSError as error:
            raise BadInput(f"--out {self.folder} cannot be locked: {error.strerror}") from error
        try:
            content = _content(self.folder / RECORDS)
            good, self.damaged = _lines(content, self.folder / RECORDS)
            self._records = latest(record for _, record in good)
            self._attempts = {record.provenance.attempt for _, record in good}
            # A record whose line end was lost would take the next one with it.
            if self.damaged or (content and not content.endswith(b"\n")):
                self._mend([line for line, _ in good])
            self.spool_name = self._spool_name()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    @property
    def records(self) -> Mapping[str, TrialRecord]:
        """By key, those appended since entry included."""
        return self._records

    def append(self, record: TrialRecord) -> None:
        """Make `record` durable (written and flushed to the disk). Raises StorageFailed; the file stays readable."""
        line = encode(record) + b"\n"
        # Unbuffered: a buffer would write the rest of a refused line when the file is closed.
        with _storage(self.folder / RECORDS), (self.folder / RECORDS).open("ab", buffering=0) as file:
            start = file.tell()
            try:
                written = 0
                while written < len(line):
                    written += file.write(line[written:])
                os.fsync(file.fileno())
                if not start:
                    flush_folder(self.folder)
            except OSError:
                # A half line would damage the next record as well.
                with contextlib.suppress(OSError):
                    file.truncate(start)
                raise
        self._records.update(latest([*filter(None, [self._records.get(record.key)]), record]))
        self._attempts.add(record.provenance.attempt)

    def merge(self, record: TrialRecord) -> bool:
        """Append a record found elsewhere; False where this attempt is here already, or another says as much.

        Raises StorageFailed.
        """
        attempt = record.provenance.attempt
        if attempt is not None and attempt in self._attempts:
            return False
        if not is_better(record, self._records.get(record.key)):
            return False
        self.append(record)
        return True

    def _spool_name(self) -> str:
        """The same for every sweep into this folder, and no other folder's."""
        path = self.folder / SPOOL_NAME
        known = _content(path).decode(errors="replace").strip()
        if re.fullmatch("[0-9a-f]{32}", known):
            return known
        name = uuid.uuid4().hex
        write_atomically(path, name + "\n")
        return name

    def _mend(self, good: list[bytes]) -> None:
        """Move the damaged lines to their own file, and end the last of the good ones."""
        if self.damaged:
            with _storage(self.folder / DAMAGED), (self.folder / DAMAGED).open("ab") as file:
                file.write(b"".join(damaged.line + b"\n" for damaged in self.damaged))
                file.flush()
                os.fsync(file.fileno())
        write_atomically(self.folder / RECORDS, b"".join(line + b"\n" for line in good))


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content`, whole or not at all. Raises StorageFailed."""
    data = content.encode() if isinstance(content, str) else content
    with _storage(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
            flush_folder(path.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def flush_folder(folder: Path) -> None:
    """Flush a folder to the disk: a new name is on the disk only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file that may not be there. Raises StorageFailed."""
    with _storage(path):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error.strerror or error}") from error


def _make(folder: Path) -> None:
    missing: list[Path] = []
    try:
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"--out {folder} is a file: name a folder")
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, probe = tempfile.mkstemp(dir=folder, prefix=".writable.")
        os.close(descriptor)
        Path(probe).unlink()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        for path in missing:
            with contextlib.suppress(OSError, ValueError):
                path.rmdir()
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"--out {str(folder)!r} cannot be written: {reason}") from error
