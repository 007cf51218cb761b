"""How each defect is planted: one rule of the design left out or altered, by a patch of one name.

``patch`` is called as ``monkeypatch.setattr`` is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Final

import untorn
from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.storage import SimulatedStorage
from untorn.designs.cow import CopyOnWrite
from untorn.inode import Inode
from untorn.log import format as log_format
from untorn.log import recovery, writer
from untorn.log.format import RECORDS_OFFSET, Slot, SlotKind
from untorn.log.space import LogSpace
from untorn.log.writer import SUFFIX, Log
from untorn.sizes import BLOCK
from untorn.storage.interface import RWF_ATOMIC, Buffer, FileStat, StorageFile

Patch = Callable[[object, str, object], object]
Plant = Callable[[Patch], None]

_UNTORN: Final = os.path.join(os.path.dirname(os.path.abspath(untorn.__file__)), "")
_BENEATH: Final = tuple(
    os.path.join(_UNTORN, room, "") for room in ("storage", "crashmodel", os.path.join("explore", "selftest"))
)
"""The storage layer, and the workloads."""


def callers() -> list[str]:
    """Names of the library's functions that are running above the storage layer, innermost first."""
    names = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_UNTORN) and not file.startswith(_BENEATH):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names or [""]


def log_cut_short(patch: Patch) -> None:
    """What is idle in the log is given back, and the last block of records with it."""
    cut = LogSpace._cut

    def mutant(self: LogSpace, size: int) -> None:
        cut(self, size)
        assert self.file is not None
        if self.tail > RECORDS_OFFSET and isinstance(self, Log) and self.slot is not None:
            self.file.truncate(self.tail - BLOCK)
            self.file.truncate(size)

    patch(LogSpace, "_cut", mutant)


# Syncs


def no_sync(call: str, function: str, of: str = "") -> Plant:
    """``function`` of the library does without this sync, named as in the seam; ``of`` only the "log" or "home"."""
    owner = SimulatedStorage if call == "sync_directory" else SimulatedFile

    def plant(patch: Patch) -> None:
        sync = getattr(owner, call)

        def mutant(self: Any, *arguments: Any) -> None:
            if callers()[0] != function or (of and of != _which(self)):
                sync(self, *arguments)

        patch(owner, call, mutant)

    return plant


def no_fsync(of: str) -> Plant:
    """No fsync at all of the "log" or of "home"."""

    def plant(patch: Patch) -> None:
        fsync = SimulatedFile.fsync

        def mutant(self: SimulatedFile) -> None:
            if of != _which(self):
                fsync(self)

        patch(SimulatedFile, "fsync", mutant)

    return plant


def _which(file: SimulatedFile) -> str:
    return "log" if file.path.endswith(SUFFIX) else "home"


def log_not_synced(patch: Patch) -> None:
    def sync(self: Log) -> None:
        self.synced_through = self.sequence

    patch(Log, "sync", sync)


def no_fdatasync(patch: Patch) -> None:
    patch(SimulatedFile, "fdatasync", lambda self: None)


def no_directory_sync(patch: Patch) -> None:
    patch(SimulatedStorage, "sync_directory", lambda self, path: None)


def slot_not_synced(kind: SlotKind) -> Plant:
    def plant(patch: Patch) -> None:
        write_slot, fdatasync = Log._write_slot, SimulatedFile.fdatasync
        written: list[Slot] = []

        def write(self: Log, slot: Slot) -> Slot:
            written.append(slot)
            return write_slot(self, slot)

        def sync(self: SimulatedFile) -> None:
            if callers()[0] != "_write_slot" or written[-1].kind is not kind:
                fdatasync(self)

        patch(Log, "_write_slot", write)
        patch(SimulatedFile, "fdatasync", sync)

    return plant


def log_not_synced_before_checkpoint(patch: Patch) -> None:
    begin = Log.begin_checkpoint

    def mutant(self: Log, home: FileStat) -> None:
        self.synced_through = self.sequence
        begin(self, home)

    patch(Log, "begin_checkpoint", mutant)


def home_time_not_synced(patch: Patch) -> None:
    fsync = SimulatedFile.fsync

    def mutant(self: SimulatedFile) -> None:
        if callers()[0] == "checkpoint":
            self.fdatasync()
        else:
            fsync(self)

    patch(SimulatedFile, "fsync", mutant)


# Commits in home


def torn_in_place(patch: Patch) -> None:
    """The device is not asked to write it whole."""
    pwritev = SimulatedFile.pwritev

    def mutant(self: SimulatedFile, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        return pwritev(self, buffers, offset, flags & ~RWF_ATOMIC)

    patch(SimulatedFile, "pwritev", mutant)


def not_announced_in_place(patch: Patch) -> None:
    begin = Log.begin_checkpoint

    def mutant(self: Log, home: FileStat) -> None:
        if callers()[0] != "_write_home":
            begin(self, home)

    patch(Log, "begin_checkpoint", mutant)


# Checkpoint and restart


def checkpoint_not_announced(patch: Patch) -> None:
    patch(Log, "begin_checkpoint", lambda self, home: self.sync())


def checkpoint_not_logged_first(patch: Patch) -> None:
    patch(Log, "begin_checkpoint", lambda self, home: None)


def salt_kept(patch: Patch) -> None:
    new_slot = Log._new_slot

    def mutant(self: Log, *arguments: Any, **options: Any) -> Slot:
        slot = new_slot(self, *arguments, **options)
        return slot if self.slot is None else slot._replace(salt=self.slot.salt)

    patch(Log, "_new_slot", mutant)


def restarted_before_home_is_durable(patch: Patch) -> None:
    begin, restart = Log.begin_checkpoint, Log.restart

    def mutant(self: Log, home: FileStat) -> None:
        begin(self, home)
        restart(self, home)

    patch(Log, "begin_checkpoint", mutant)


def no_restart(function: str) -> Plant:
    """The log does not restart before it goes, when that ends ``function``."""

    def plant(patch: Patch) -> None:
        restart = Log.restart

        def mutant(self: Log, home: FileStat) -> None:
            if function not in callers():
                restart(self, home)

        patch(Log, "restart", mutant)

    return plant


def empty_log_not_restarted(patch: Patch) -> None:
    """Recovery takes a slot without a record for durable, whenever it was written."""
    restart = Log.restart

    def mutant(self: Log, home: FileStat) -> None:
        empty = self.slot is not None and self.slot.kind is SlotKind.START and not self.sequence
        if not (empty and "recover" in callers()):
            restart(self, home)

    patch(Log, "restart", mutant)


def one_slot(patch: Patch) -> None:
    patch(writer, "slot_offset", lambda generation: 0)
    patch(writer, "next_generation", lambda durable, newest: newest + 1)


def two_slots(patch: Patch) -> None:
    """They alternate, also where recovery does not know which of them the disk has."""
    patch(writer, "slot_offset", lambda generation: log_format.SLOT_OFFSETS[(generation - 1) % 2])
    patch(writer, "next_generation", lambda durable, newest: newest + 1)


def stale_slot_stays(patch: Patch) -> None:
    patch(Log, "_zero_stale_slots", lambda self: None)


def time_recorded_anew(patch: Patch) -> None:
    begin = Log.begin_checkpoint

    def mutant(self: Log, home: FileStat) -> None:
        assert self.slot is not None
        self.slot = self.slot._replace(kind=SlotKind.START)
        begin(self, home)

    patch(Log, "begin_checkpoint", mutant)


def time_of_first_commit(patch: Patch) -> None:
    start = Log.start

    def mutant(self: Log) -> None:
        left, self.left = self.left, self._home.stat()
        start(self)
        self.left = left

    patch(Log, "start", mutant)


# The mark


def never_marked(patch: Patch) -> None:
    patch(Log, "_mark", lambda self, file_id: True)


def mark_left(patch: Patch) -> None:
    patch(SimulatedFile, "removexattr", lambda self, name: None)


def unmarked_once(patch: Patch) -> None:
    unmark = Log._unmark

    def mutant(self: Log, slot: Slot) -> None:
        with suppress(OSError):  # no attributes on this machine
            if self._home.getxattr(writer.MARK) is not None:
                unmark(self, slot)

    patch(Log, "_unmark", mutant)


def unmarked_after_the_log_went(patch: Patch) -> None:
    remove = Log.remove

    def mutant(self: Log) -> None:
        if self.slot is not None and self._name_is_ours():
            self._storage.unlink(self.path)
            self._storage.sync_directory(os.path.dirname(self.path))
        remove(self)

    patch(Log, "remove", mutant)


def marked_before_the_log_is_durable(patch: Patch) -> None:
    start = Log.start

    def mutant(self: Log) -> None:
        with suppress(OSError):  # no attributes on this machine
            self._home.setxattr(writer.MARK, bytes(16))
        self._home.fsync()
        start(self)

    patch(Log, "start", mutant)


def mark_ignored(patch: Patch) -> None:
    patch(recovery, "_read_mark", lambda home: None)


# Other programs


def edit_overlooked_at_open(patch: Patch) -> None:
    patch(recovery, "_edited", lambda slot, home: False)


def edit_overlooked_at_checkpoint(patch: Patch) -> None:
    def unchanged(self: CopyOnWrite) -> FileStat:
        return self._home.stat()

    patch(CopyOnWrite, "_check_unchanged", unchanged)


# Errors


def sync_tried_again(patch: Patch) -> None:
    sync = Log.sync

    def mutant(self: Log) -> None:
        try:
            sync(self)
        except OSError:
            sync(self)

    patch(Log, "sync", mutant)


def failed_commit_ignored(patch: Patch) -> None:
    sync = CopyOnWrite.sync

    def mutant(self: CopyOnWrite) -> None:
        with suppress(OSError):
            sync(self)

    patch(CopyOnWrite, "sync", mutant)


def short_write_taken_for_whole(patch: Patch) -> None:
    def write(self: StorageFile, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> None:
        self.pwritev(buffers, offset, flags)

    patch(StorageFile, "write", write)


def short_read_taken_for_whole(patch: Patch) -> None:
    patch(StorageFile, "read", lambda self, length, offset: self.pread(length, offset))


def failed_handle_goes_on(patch: Patch) -> None:
    patch(Inode, "_poison", lambda self, error: None)
