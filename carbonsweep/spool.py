"""Finished records on the machine that measured them, durable before anybody is told: what a dead sweep leaves behind.

One folder for each output folder, by the name in its `.spool`; one file for each attempt at a trial. The sweep merges
them into its records and only then settles (removes) them, so a record is lost only with the machine that holds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from carbonsweep.domain import TrialRecord
from carbonsweep.errors import BadInput, StorageFailed
from carbonsweep.records import OutputFolder, decode, encode, flush_folder, write_atomically

ROOT_VARIABLE: Final = "CARBONSWEEP_SPOOL"
"""Environment variable that names another folder for the spools of a machine."""


@dataclass(frozen=True, slots=True)
class Spool:
    """The spool of one output folder on this machine."""

    folder: Path

    def keep(self, record: TrialRecord) -> None:
        """Write `record`, flushed to the disk. Raises StorageFailed."""
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                for parent in self.folder.parents[:2]:  # as new as the folder, the first time
                    flush_folder(parent)
        except OSError as error:
            raise StorageFailed(f"cannot make {self.folder}: {error.strerror}") from error
        write_atomically(self._path(record.provenance.attempt or "unnamed"), encode(record) + b"\n")

    def lines(self) -> dict[str, bytes]:
        """Of each attempt kept here, its record as a line. Raises StorageFailed."""
        try:
            kept = sorted(path for path in self.folder.iterdir() if path.suffix == ".json")
            read = {path.stem: _content(path) for path in kept}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageFailed(f"cannot read {self.folder}: {error.strerror}") from error
        return {attempt: content.rstrip(b"\n") for attempt, content in read.items() if content is not None}

    def settle(self, attempts: Iterable[str]) -> None:
        """Remove the records of these attempts: they are durable elsewhere. What cannot be removed stays: no harm."""
        for attempt in attempts:
            try:
                self._path(attempt).unlink(missing_ok=True)
            except OSError:
                continue

    def _path(self, attempt: str) -> Path:
        return self.folder / f"{attempt}.json"


def spool(name: str) -> Spool:
    """The spool by this name (hexadecimal digits) on this machine. Raises BadInput for a name that is none."""
    if not re.fullmatch("[0-9a-f]+", name):
        raise BadInput(f"{name!r} is no name of a spool: hexadecimal digits are")
    return Spool(_root() / name)


def merge_own(out: OutputFolder) -> int:
    """Merge this machine's spool into the records of `out` and settle it; returns how many records were new.

    A line that is no record stays where it is. Raises StorageFailed.
    """
    own = spool(out.spool_name)
    new, settled = 0, []
    for attempt, line in own.lines().items():
        try:
            new += out.merge(decode(line))
        except ValueError:
            continue
        settled.append(attempt)
    own.settle(settled)
    return new


def _content(path: Path) -> bytes | None:
    """None where it is gone: a worker of this machine settles while another process reads."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _root() -> Path:
    """Where state of a user belongs (XDG base directory specification), not where a restart wipes it."""
    if given := os.environ.get(ROOT_VARIABLE):
        return Path(given)
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # the specification: a relative one is to be ignored
        state = Path.home() / ".local" / "state"
    return state / "carbonsweep" / "spool"
