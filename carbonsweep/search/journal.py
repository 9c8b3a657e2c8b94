"""The study file of an output folder, readable again after a crash: optuna-dashboard opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from carbonsweep.errors import StorageFailed
from carbonsweep.records import remove, write_atomically

JOURNAL: Final = "study.journal"
LOCK: Final = "study.journal.lock"
"""Optuna's own lock beside it (`JournalFileBackend`, 5.0): a killed process leaves it behind, and Optuna then waits for
30 s and takes it away."""


def journal(folder: Path) -> BaseStorage:
    """The study file of an output folder; optuna-dashboard opens it. Raises StorageFailed.

    A line cut short by a crash would make the file unreadable with the next one written, so everything from the first
    damaged line on is set aside: what it said is in the records. Whoever calls this is the one writer of the folder.
    """
    remove(folder / LOCK)
    path = folder / JOURNAL
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise StorageFailed(f"cannot read {path}: {error.strerror}") from error
    whole = _whole_lines(content)
    if len(whole) < len(content):
        write_atomically(folder / f"{JOURNAL}.damaged", content[len(whole) :])
        write_atomically(path, whole)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (KeyError, TypeError, ValueError):
        # JSON, but nothing Optuna wrote.
        write_atomically(folder / f"{JOURNAL}.damaged", content)
        write_atomically(path, b"")
        return JournalStorage(JournalFileBackend(str(path)))


def _whole_lines(content: bytes) -> bytes:
    """The longest beginning that is lines of JSON objects."""
    end = 0
    for line in content.splitlines(keepends=True):
        try:
            whole = line.endswith(b"\n") and isinstance(json.loads(line), dict)
        except (ValueError, RecursionError):
            whole = False
        if not whole:
            break
        end += len(line)
    return content[:end]
