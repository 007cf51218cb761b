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

from xxhash import xxh3_64_intdigest

from untorn.designs.cow import CopyOnWrite
from untorn.explore.lazy import LazyFile
from untorn.geometry import SECTOR
from untorn.inode import Inode
from untorn.log import log as log_module
from untorn.log import ondisk, recovery, scan
from untorn.log.log import Log
from untorn.log.mapping import Mapping
from untorn.log.ondisk import Record, RecordKind, Slot, SlotKind
from untorn.log.scan import Entry, Replay
from untorn.storage import api
from untorn.storage.api import RWF_ATOMIC, Buffer, FileStat, StorageFile
from untorn.storage.simulated import SimulatedStorage
from untorn.storage.simulated_file import SimulatedFile

Patch = Callable[[object, str, object], None]
Plant = Callable[[Patch], None]

_APART: Final = (os.path.dirname(os.path.abspath(api.__file__)), os.path.abspath(__file__))


def callers() -> list[str]:
    """Names of the functions that are running, innermost first, without those of the storage layer and from here."""
    names = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_APART):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


# Syncs


def no_sync(call: str, function: str, at: str = "") -> Plant:
    """``function`` of the library does without this sync, named as in the seam, of files whose path ends in ``at``."""
    owner = SimulatedStorage if call == "sync_directory" else SimulatedFile

    def plant(patch: Patch) -> None:
        sync = getattr(owner, call)

        def mutant(self: Any, *arguments: Any) -> None:
            if callers()[0] != function or (at and not self.path.endswith(at)):
                sync(self, *arguments)

        patch(owner, call, mutant)

    return plant


def no_fsync(at: str) -> Plant:
    """No fsync at all of files whose path ends in ``at``."""

    def plant(patch: Patch) -> None:
        fsync = SimulatedFile.fsync

        def mutant(self: SimulatedFile) -> None:
            if not self.path.endswith(at):
                fsync(self)

        patch(SimulatedFile, "fsync", mutant)

    return plant


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
        write_slot = Log._write_slot

        def mutant(self: Log, slot: Slot) -> None:
            if slot.kind is not kind:
                write_slot(self, slot)
                return
            assert self.file is not None
            self.file.write([ondisk.encode_slot(slot)], ondisk.SLOT_OFFSETS[(slot.generation - 1) % 2])
            self.slot = slot

        patch(Log, "_write_slot", mutant)

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


def one_slot(patch: Patch) -> None:
    patch(log_module, "SLOT_OFFSETS", (0, 0))


def stale_slot_stays(patch: Patch) -> None:
    restart = Log.restart

    def mutant(self: Log, home: FileStat) -> None:
        restart(self, home)
        self._stale_slot = None

    patch(Log, "restart", mutant)


def time_recorded_anew(patch: Patch) -> None:
    begin = Log.begin_checkpoint

    def mutant(self: Log, home: FileStat) -> None:
        assert self.slot is not None
        self.slot = self.slot._replace(kind=SlotKind.START)
        begin(self, home)

    patch(Log, "begin_checkpoint", mutant)


def time_of_first_commit(patch: Patch) -> None:
    start = Log.start
    patch(Log, "start", lambda self, home: start(self, self._home.stat()))


# Records


def digests_unchecked(patch: Patch) -> None:
    for owner in (StorageFile, LazyFile):
        patch(owner, "verify", lambda self, offset, pieces, seed: True)


def payload_unchecked(patch: Patch) -> None:
    verifying = LazyFile.verify, StorageFile.verify

    def read_verified(self: StorageFile, length: int, offset: int, digest: int, seed: int) -> bytes | None:
        verify = verifying[0] if isinstance(self, LazyFile) else verifying[1]
        pieces = [ondisk_piece(length, digest)]
        return self.read(length, offset) if verify(self, offset, pieces, seed) else None  # type: ignore[arg-type]

    digests_unchecked(patch)
    patch(StorageFile, "read_verified", read_verified)


def ondisk_piece(length: int, digest: int) -> Any:
    return scan.Piece(length, digest)


def table_unchecked(patch: Patch) -> None:
    patch(StorageFile, "read_verified", lambda self, length, offset, digest, seed: self.read(length, offset))


def header_unchecked(patch: Patch) -> None:
    decode = ondisk.decode_record

    def mutant(sector: bytes, salt: int) -> Record | None:
        return decode(_checked(sector, salt), salt)

    for module in (scan, log_module):
        patch(module, "decode_record", mutant)


def slot_unchecked(patch: Patch) -> None:
    decode = ondisk.decode_slot
    patch(scan, "decode_slot", lambda sector: decode(_checked(sector, 0)))


def _checked(sector: bytes, seed: int) -> bytes:
    """The sector with the checksum that it should have."""
    body = sector[: SECTOR - 8]
    return body + xxh3_64_intdigest(body, seed).to_bytes(8, "little")


def extent_unchecked(patch: Patch) -> None:
    def read_extent(log: StorageFile, salt: int, extent: Any) -> bytes:
        data = log.read(extent.length, extent.position)
        return data[extent.start - extent.offset : extent.stop - extent.offset]

    for module in (recovery, _cow()):
        patch(module, "read_extent", read_extent)


def _cow() -> Any:
    from untorn.designs import cow  # noqa: PLC0415

    return cow


def entry_with(**fields: Any) -> Plant:
    """Recovery takes these fields of every header for right: each is what it expects."""

    def plant(patch: Patch) -> None:
        entry = scan._entry

        def mutant(log: StorageFile, slot: Slot, replay: Replay, previous: int, position: int) -> Entry | str:
            record = scan.decode_record(log.read(SECTOR, position), slot.salt)
            if record is not None and "previous" in fields:
                previous = record.previous
            return entry(log, slot, replay, previous, position)

        patch(scan, "_entry", mutant)

    return plant


def parent_ignored(patch: Patch) -> None:
    patch(Replay, "accepts", lambda self, record: True)


def salt_unchecked(patch: Patch) -> None:
    """Recovery takes records of any generation: digests are seeded with 0 and the salt is not compared."""
    new_slot = Log._new_slot

    def mutant(self: Log, *arguments: Any, **options: Any) -> Slot:
        return new_slot(self, *arguments, **options)._replace(salt=0)

    patch(Log, "_new_slot", mutant)


def smallest_size_ignored(patch: Patch) -> None:
    add = Replay.add

    def mutant(self: Replay, entry: Entry) -> None:
        record = entry.record
        add(self, entry._replace(record=record._replace(size_min=max(record.size, self.size, record.size_min))))

    patch(Replay, "add", mutant)


def home_not_cut(patch: Patch) -> None:
    """What a commit cut off is left in home, where the file grew again."""
    cut = Mapping.cut

    def mutant(self: Mapping, size: int) -> None:
        limit = self.home_limit
        cut(self, size)
        self.home_limit = limit

    patch(Mapping, "cut", mutant)


def rolled_back_applied(patch: Patch) -> None:
    add = Replay.add

    def mutant(self: Replay, entry: Entry) -> None:
        pending = list(self._pending)
        add(self, entry._replace(record=entry.record._replace(parent=1 << 40)) if pending else entry)

    patch(Replay, "add", mutant)


def spill_commits(patch: Patch) -> None:
    append = Log.append

    def mutant(self: Log, kind: RecordKind, *arguments: Any) -> None:
        append(self, RecordKind.COMMIT, *arguments)

    patch(Log, "append", mutant)


def durable_too_soon(patch: Patch) -> None:
    """A record says of itself that it is durable."""
    append = Log.append

    def mutant(self: Log, *arguments: Any) -> None:
        synced, self.synced_through = self.synced_through, self.sequence + 1
        append(self, *arguments)
        self.synced_through = synced

    patch(Log, "append", mutant)


def durable_never(patch: Patch) -> None:
    """No record and no slot says what is durable."""
    append, write_slot = Log.append, Log._write_slot

    def mutant(self: Log, *arguments: Any) -> None:
        synced, self.synced_through = self.synced_through, 0
        append(self, *arguments)
        self.synced_through = synced

    patch(Log, "append", mutant)
    patch(Log, "_write_slot", lambda self, slot: write_slot(self, slot._replace(synced_through=0)))


def padded_to_sectors(patch: Patch) -> None:
    for module in (ondisk, scan):
        patch(module, "BLOCK", SECTOR)


# Recovery


def recovery_does_not_rewrite(patch: Patch) -> None:
    def adopt(self: Log, file: StorageFile, slot: Slot, tail: int, sequence: int) -> None:
        file.fsync()
        self.file, self.slot, self.tail = file, slot, tail
        self.sequence = self.synced_through = sequence

    patch(Log, "adopt", adopt)


def no_truncate(function: str) -> Plant:
    """``function`` of the library does not truncate."""

    def plant(patch: Patch) -> None:
        truncate = SimulatedFile.truncate

        def mutant(self: SimulatedFile, size: int) -> None:
            if callers()[0] != function:
                truncate(self, size)

        patch(SimulatedFile, "truncate", mutant)

    return plant


def recovery_does_not_sync(patch: Patch) -> None:
    no_sync("fsync", "adopt")(patch)


def no_second_cut(patch: Patch) -> None:
    """A checkpoint that was cut off is done again without its cut, if home is short already."""
    no_truncate("recover")(patch)


# The mark


def never_marked(patch: Patch) -> None:
    patch(Log, "_mark", lambda self, file_id: True)


def mark_left(patch: Patch) -> None:
    patch(SimulatedFile, "removexattr", lambda self, name: None)


def unmarked_once(patch: Patch) -> None:
    unmark = Log._unmark

    def mutant(self: Log, slot: Slot) -> None:
        with suppress(OSError):  # no attributes on this machine
            if self._home.getxattr(log_module.MARK) is not None:
                unmark(self, slot)

    patch(Log, "_unmark", mutant)


def unmarked_after_the_log_went(patch: Patch) -> None:
    remove = Log.remove

    def mutant(self: Log) -> None:
        if self.slot is not None and self._in_its_place():
            self._storage.unlink(self.path)
            self._storage.sync_directory(os.path.dirname(self.path))
        remove(self)

    patch(Log, "remove", mutant)


def marked_before_the_log_is_durable(patch: Patch) -> None:
    start = Log.start

    def mutant(self: Log, home: FileStat) -> None:
        if self.slot is None:
            with suppress(OSError):  # no attributes on this machine
                self._home.setxattr(log_module.MARK, bytes(16))
            self._home.fsync()
        start(self, home)

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
    patch(Inode, "_fail", lambda self, error: None)


HOME: Final = "/f"
LOG: Final = "-untorn"
