"""The study file opens and is written at once, whatever a killed process left beside it."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileSymlinkLock

from carbonsweep.errors import StorageFailed
from carbonsweep.search.journal import JOURNAL, LOCK, journal

WAIT_S = 10.0
"""Optuna waits three times as long for a lock that nobody will release; opening and writing take milliseconds."""


def study_names(folder: Path) -> list[str]:
    return optuna.get_all_study_names(journal(folder))


@pytest.mark.parametrize("written_before", [True, False])
def test_a_lock_left_by_a_killed_process_is_not_waited_for(tmp_path: Path, written_before: bool) -> None:
    before = ["before"] if written_before else []
    for name in before:
        optuna.create_study(study_name=name, storage=journal(tmp_path))
    JournalFileSymlinkLock(str(tmp_path / JOURNAL)).acquire()  # as the default does; killed, it releases nothing
    assert (tmp_path / LOCK).is_symlink()
    begun_s = time.monotonic()
    optuna.create_study(study_name="after", storage=journal(tmp_path))
    assert time.monotonic() - begun_s < WAIT_S
    assert study_names(tmp_path) == [*before, "after"]
    assert not (tmp_path / LOCK).is_symlink()


def test_a_lock_that_cannot_be_removed_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(StorageFailed, match=r"cannot write .*study\.journal\.lock"):
        journal(tmp_path)
