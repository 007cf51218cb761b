"""Defects planted into the library: a checker that does not see them is worth nothing.

Each is one rule of the design left out, by name; ``plant`` puts it in through pytest's monkeypatch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from untorn.designs.cow import CopyOnWrite
from untorn.inode import Inode
from untorn.log import log as log_module
from untorn.log import recovery
from untorn.log.log import Log
from untorn.log.ondisk import RecordKind, Slot, SlotKind
from untorn.log.scan import Entry, Replay
from untorn.storage.api import Buffer, FileStat, StorageFile
from untorn.storage.simulated import SimulatedStorage
from untorn.storage.simulated_file import SimulatedFile

Patch = Callable[[object, str, object], None]
"""As monkeypatch.setattr."""

HOME_SYNC: Final = "home is not synced"


def _log_not_synced(patch: Patch) -> None:
    def sync(self: Log) -> None:
        self.synced_through = self.sequence

    patch(Log, "sync", sync)


def _no_fdatasync(patch: Patch) -> None:
    patch(SimulatedFile, "fdatasync", lambda self: None)


def _no_fsync(at: str) -> Callable[[Patch], None]:
    def plant(patch: Patch) -> None:
        fsync = SimulatedFile.fsync

        def mutant(self: SimulatedFile) -> None:
            if not self.path.endswith(at):
                fsync(self)

        patch(SimulatedFile, "fsync", mutant)

    return plant


def _no_directory_sync(patch: Patch) -> None:
    patch(SimulatedStorage, "sync_directory", lambda self, path: None)


def _checkpoint_not_announced(patch: Patch) -> None:
    patch(Log, "begin_checkpoint", lambda self, home: self.sync())


def _checkpoint_not_logged_first(patch: Patch) -> None:
    patch(Log, "begin_checkpoint", lambda self, home: None)


def _salt_kept(patch: Patch) -> None:
    new_slot = Log._new_slot

    def mutant(self: Log, *arguments: Any, **options: Any) -> Slot:
        slot = new_slot(self, *arguments, **options)
        return slot if self.slot is None else slot._replace(salt=self.slot.salt)

    patch(Log, "_new_slot", mutant)


def _digests_unchecked(patch: Patch) -> None:
    patch(StorageFile, "verify", lambda self, offset, pieces, seed: True)


def _smallest_size_ignored(patch: Patch) -> None:
    add = Replay.add

    def mutant(self: Replay, entry: Entry) -> None:
        record = entry.record
        add(self, entry._replace(record=record._replace(size_min=max(record.size, self.size, record.size_min))))

    patch(Replay, "add", mutant)


def _rolled_back_applied(patch: Patch) -> None:
    add = Replay.add

    def mutant(self: Replay, entry: Entry) -> None:
        pending = list(self._pending)
        add(self, entry._replace(record=entry.record._replace(parent=1 << 40)) if pending else entry)

    patch(Replay, "add", mutant)


def _spill_commits(patch: Patch) -> None:
    append = Log.append

    def mutant(self: Log, kind: RecordKind, *arguments: Any) -> None:
        append(self, RecordKind.COMMIT, *arguments)

    patch(Log, "append", mutant)


def _recovery_does_not_rewrite(patch: Patch) -> None:
    def adopt(self: Log, file: StorageFile, slot: Slot, tail: int, sequence: int) -> None:
        file.fsync()
        self.file, self.slot, self.tail = file, slot, tail
        self.sequence = self.synced_through = sequence

    patch(Log, "adopt", adopt)


def _no_second_cut(patch: Patch) -> None:
    patch(recovery, "SlotKind", _NoKind)


class _NoKind:
    START = SlotKind.START
    CHECKPOINT = None


def _unmarked_once(patch: Patch) -> None:
    unmark = Log._unmark

    def mutant(self: Log, slot: Slot) -> None:
        if self._home.getxattr(log_module.MARK) is not None:
            unmark(self, slot)

    patch(Log, "_unmark", mutant)


def _time_recorded_anew(patch: Patch) -> None:
    begin = Log.begin_checkpoint

    def mutant(self: Log, home: FileStat) -> None:
        assert self.slot is not None
        self.slot = self.slot._replace(kind=SlotKind.START)
        begin(self, home)

    patch(Log, "begin_checkpoint", mutant)


def _time_of_first_commit(patch: Patch) -> None:
    start = Log.start
    patch(Log, "start", lambda self, home: start(self, self._home.stat()))


def _edit_overlooked_at_open(patch: Patch) -> None:
    patch(recovery, "_edited", lambda slot, home: False)


def _edit_overlooked_at_checkpoint(patch: Patch) -> None:
    def unchanged(self: CopyOnWrite) -> FileStat:
        return self._home.stat()

    patch(CopyOnWrite, "_check_unchanged", unchanged)


def _mark_left(patch: Patch) -> None:
    patch(SimulatedFile, "removexattr", lambda self, name: None)


def _marked_before_the_log_is_durable(patch: Patch) -> None:
    start = Log.start

    def mutant(self: Log, home: FileStat) -> None:
        if self.slot is None:
            with suppress(OSError):  # no attributes on this machine
                self._home.setxattr(log_module.MARK, bytes(16))
            self._home.fsync()
        start(self, home)

    patch(Log, "start", mutant)


def _sync_tried_again(patch: Patch) -> None:
    sync = Log.sync

    def mutant(self: Log) -> None:
        try:
            sync(self)
        except OSError:
            sync(self)

    patch(Log, "sync", mutant)


def _failed_commit_ignored(patch: Patch) -> None:
    sync = CopyOnWrite.sync

    def mutant(self: CopyOnWrite) -> None:
        with suppress(OSError):
            sync(self)

    patch(CopyOnWrite, "sync", mutant)


def _short_write_taken_for_whole(patch: Patch) -> None:
    def write(self: StorageFile, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> None:
        self.pwritev(buffers, offset, flags)

    patch(StorageFile, "write", write)


def _short_read_taken_for_whole(patch: Patch) -> None:
    patch(StorageFile, "read", lambda self, length, offset: self.pread(length, offset))


def _failed_handle_goes_on(patch: Patch) -> None:
    patch(Inode, "_fail", lambda self, error: None)


MUTANTS: Final[dict[str, Callable[[Patch], None]]] = {
    "the log is not synced": _log_not_synced,
    "no fdatasync at all": _no_fdatasync,
    "home is not synced": _no_fsync("/file"),
    "the new log is not synced": _no_fsync("-untorn"),
    "the directory is not synced": _no_directory_sync,
    "no slot before a checkpoint": _checkpoint_not_announced,
    "no sync and no slot before a checkpoint": _checkpoint_not_logged_first,
    "the salt stays": _salt_kept,
    "digests are not checked": _digests_unchecked,
    "size_min is ignored": _smallest_size_ignored,
    "rolled-back spills are applied": _rolled_back_applied,
    "a spill commits": _spill_commits,
    "recovery does not rewrite what it found": _recovery_does_not_rewrite,
    "recovery does not cut anew": _no_second_cut,
    "a mark is removed from the cache once": _unmarked_once,
    "a second try records home's time anew": _time_recorded_anew,
    "home's time is taken at the first commit": _time_of_first_commit,
    "an edit is overlooked at open": _edit_overlooked_at_open,
    "an edit is overlooked at checkpoint": _edit_overlooked_at_checkpoint,
    "the mark stays": _mark_left,
    "the mark comes before the log": _marked_before_the_log_is_durable,
    "a failed handle goes on": _failed_handle_goes_on,
    "a failed sync is tried again": _sync_tried_again,
    "a failed commit passes for one": _failed_commit_ignored,
    "a short write passes for a whole one": _short_write_taken_for_whole,
    "a short read passes for a whole one": _short_read_taken_for_whole,
}


BY_STORY: Final = {
    "digests are not checked": "a torn record",
    "the salt stays": "a log used again",
    "rolled-back spills are applied": "a rolled-back spill",
    "recovery does not rewrite what it found": "a failed sync and a cut recovery",
    "recovery does not cut anew": "a cut whose sync failed",
    "a mark is removed from the cache once": "a cut and growth whose sync failed",
    "a second try records home's time anew": "a kill in a checkpoint and a cut recovery",
    "home's time is taken at the first commit": "an edit before the first commit",
}
"""What the state machine finds seldom, and the story of test_directed_crashes that shows it."""

BY_CALL: Final = {
    "a failed sync is tried again": ("update", "EIO"),
    "a failed commit passes for one": ("commits", "EIO"),
    "a short write passes for a whole one": ("many folios", "half a transfer"),
    "a short read passes for a whole one": ("transactions", "half a transfer"),
}
"""What a failing call shows, and the session of test_every_call_fails and its fault."""

BY_MACHINE: Final = [name for name in MUTANTS if name not in BY_STORY and name not in BY_CALL]
"""What the state machine finds."""
