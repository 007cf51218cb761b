"""The controls of the recovery pictures: take one safeguard out of recovery, and a row must see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.log import test_recovery_pictures as pictures
from tests.log.pictures import Picture
from tests.log.rows import PICTURES
from untorn.errors import UntornError
from untorn.log import recovery, scan
from untorn.log.format import Slot
from untorn.log.unproved import Copy
from untorn.log.writer import Log
from untorn.storage.interface import FileStat, StorageFile

Test = Callable[[Picture], None]

RECOVERS: Test = pictures.test_recovery_ends_in_the_pictured_commit
REFUSES: Test = pictures.test_recovery_refuses_and_changes_nothing
READS: Test = pictures.test_opening_to_read_shows_the_pictured_commit_and_writes_nothing
SURVIVES_DEATH: Test = pictures.test_a_process_that_dies_in_recovery_leaves_the_outcome_to_the_next
SURVIVES_POWER: Test = pictures.test_a_power_failure_in_recovery_leaves_the_outcome_to_the_next


def not_copied(file: StorageFile, slot: Slot, replay: scan.Replay) -> Copy:
    return Copy(0, 0, 0)


def no_checkpoint_slot(log: Log, home: FileStat) -> None:
    log.sync()


def restart_before_home_is_durable(log: Log, home: FileStat) -> None:
    real_begin(log, home)
    real_restart(log, home)


real_begin, real_restart = Log.begin_checkpoint, Log.restart

MUTANTS: dict[str, tuple[Any, str, Any, str, Test]] = {
    "what cannot be proved is not copied": (
        recovery, "settle", not_copied, "killed after its sync failed", SURVIVES_POWER,
    ),
    "home is written before the checkpoint slot": (
        Log, "begin_checkpoint", no_checkpoint_slot, "commits in order", SURVIVES_DEATH,
    ),
    "the log is emptied before home is durable": (
        Log, "begin_checkpoint", restart_before_home_is_durable, "commits in order", SURVIVES_POWER,
    ),
    "damage is taken for a torn tail": (
        scan, "_was_durable", lambda *_: False, "a durable record damaged (!p)", REFUSES,
    ),
    "a torn tail is taken for damage": (
        scan, "_was_durable", lambda *_: True, "last record torn (!p)", RECOVERS,
    ),
    "foreign edits are not looked for": (
        recovery, "_edited", lambda *_: False, "edited", REFUSES,
    ),
    "a record's parent does not matter": (
        scan.Replay, "accepts", lambda *_: True, "a commit on data that was rolled back", RECOVERS,
    ),
    "the mark does not matter": (
        recovery, "_read_mark", lambda _: None, "one commit", RECOVERS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_picture_sees_that_a_safeguard_is_missing(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, replacement, row, test = MUTANTS[mutant]
    test(PICTURES[row])
    monkeypatch.setattr(owner, name, replacement)
    with pytest.raises((AssertionError, UntornError, pytest.fail.Exception)):
        test(PICTURES[row])


def test_reading_a_hot_file_by_recovering_it_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from untorn.api import open_inode

    row = PICTURES["one commit"]

    def examine(storage: Any, home: StorageFile, *, writable: bool) -> recovery.Found:
        recovery.recover(storage, home, recovery.examine(storage, home, writable=True))
        return recovery.examine(storage, home, writable=writable)

    monkeypatch.setattr(open_inode, "examine", examine)
    with pytest.raises((AssertionError, OSError)):
        READS(row)
