"""Defects of the log's records: what a found log proves, and what recovery makes of it. As in ``plants``."""

from __future__ import annotations

import errno
import os
from typing import Any

from xxhash import xxh3_64_intdigest

from tests.defects.plants import Patch, Plant, callers
from untorn.crashmodel.file import SimulatedFile
from untorn.designs import dirty_blocks
from untorn.designs.cow import CopyOnWrite
from untorn.explore.lazy.storage import LazyFile
from untorn.log import checkpoint, recovery, scan, unproved, writer
from untorn.log import format as log_format
from untorn.log.extent_map import ExtentMap
from untorn.log.format import Record, RecordKind, Slot
from untorn.log.scan import Entry, Replay
from untorn.log.unproved import Copy
from untorn.log.writer import Log
from untorn.pagecache.folio import Ranges, with_range
from untorn.sizes import SECTOR, round_up
from untorn.storage.interface import Piece, StorageFile


def digests_unchecked(patch: Patch) -> None:
    for owner in (StorageFile, LazyFile):
        patch(owner, "verify", lambda self, offset, pieces, seed: True)


def payload_unchecked(patch: Patch) -> None:
    verify, verify_lazily = StorageFile.verify, LazyFile.verify

    def read_verified(self: StorageFile, length: int, offset: int, digest: int, seed: int) -> bytes | None:
        pieces = [Piece(length, digest)]
        holds = (
            verify_lazily(self, offset, pieces, seed)
            if isinstance(self, LazyFile)
            else verify(self, offset, pieces, seed)
        )
        return self.read(length, offset) if holds else None

    digests_unchecked(patch)
    patch(StorageFile, "read_verified", read_verified)


def table_unchecked(patch: Patch) -> None:
    patch(StorageFile, "read_verified", lambda self, length, offset, digest, seed: self.read(length, offset))


def header_unchecked(patch: Patch) -> None:
    decode = log_format.decode_record

    def mutant(sector: bytes, salt: int) -> Record | None:
        return decode(_checked(sector, salt), salt)

    for module in (scan, writer):
        patch(module, "decode_record", mutant)


def slot_unchecked(patch: Patch) -> None:
    decode = log_format.decode_slot
    patch(scan, "decode_slot", lambda sector: decode(_checked(sector, 0)))


def _checked(sector: bytes, seed: int) -> bytes:
    """The sector with the checksum that it should have."""
    body = sector[: SECTOR - 8]
    return body + xxh3_64_intdigest(body, seed).to_bytes(8, "little")


def extent_unchecked(patch: Patch) -> None:
    patch(checkpoint, "_proved", lambda log, salt, extent: log.read(extent.length, extent.position))


def chain_ignored(patch: Patch) -> None:
    entry = scan._entry

    def mutant(log: StorageFile, slot: Slot, replay: Replay, previous: int, position: int) -> Entry | str:
        record = log_format.decode_record(log.read(SECTOR, position), slot.salt)
        return entry(log, slot, replay, record.previous if record else previous, position)

    patch(scan, "_entry", mutant)


def parent_ignored(patch: Patch) -> None:
    patch(Replay, "accepts", lambda self, record: True)


def smallest_size_ignored(patch: Patch) -> None:
    add = Replay.add

    def mutant(self: Replay, entry: Entry) -> None:
        record = entry.record
        add(self, entry._replace(record=record._replace(size_min=max(record.size, self.size, record.size_min))))

    patch(Replay, "add", mutant)


def home_not_cut(patch: Patch) -> None:
    """What a commit cut off is left in home, where the file grew again."""
    cut = ExtentMap.truncate

    def mutant(self: ExtentMap, size: int) -> None:
        limit = self.home_bytes_valid
        cut(self, size)
        self.home_bytes_valid = limit

    patch(ExtentMap, "truncate", mutant)
    edge_not_logged(patch)  # or its assert, and that of the sizes, would see it first
    patch(CopyOnWrite, "_assert_home_counts", lambda self, size: None)


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
    patch(Log, "_assert_order", lambda self: None)  # or it would see it first


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
    for module in (log_format, scan):
        patch(module, "BLOCK", SECTOR)


def doubtful_not_copied(patch: Patch) -> None:
    """Recovery trusts what the cache shows."""
    patch(recovery, "settle", lambda file, slot, replay: Copy(slot.copy_after, slot.copy_start, slot.copy_end))


def doubtful_written_over(patch: Patch) -> None:
    """As where there is no space for a copy."""

    def allocate(self: SimulatedFile, offset: int, length: int, *, keep_size: bool) -> None:
        if callers()[0] == "settle":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate_really(self, offset, length, keep_size=keep_size)

    allocate_really = SimulatedFile.allocate
    patch(SimulatedFile, "allocate", allocate)


def copy_not_named(patch: Patch) -> None:
    """The slot does not say where the copy is."""
    settle_really = unproved.settle

    def settle(file: StorageFile, slot: Slot, replay: Replay) -> Copy:
        settle_really(file, slot, replay)
        return Copy(0, 0, 0)

    patch(recovery, "settle", settle)


def copy_forgotten_first(patch: Patch) -> None:
    """The slot that names the copy no more is durable before the records are in their places again."""

    put_back, forget_copy = unproved.put_back, Log.forget_copy
    held: list[tuple[StorageFile, Slot]] = []

    def later(file: StorageFile, slot: Slot) -> int:
        held.append((file, slot))
        return unproved._place(file, slot, slot.copy_after) + slot.copy_end - slot.copy_start

    def first(log: Log, tail: int) -> None:
        forget_copy(log, tail)
        put_back(*held.pop())

    patch(recovery, "put_back", later)
    patch(Log, "forget_copy", first)


# What a device may turn to garbage


def sectors_logged(patch: Patch) -> None:
    """Sectors of 512 bytes, not whole blocks."""

    def whole_sectors(ranges: Ranges, limit: int) -> Ranges:
        result: Ranges = ()
        for start, stop in ranges:
            result = with_range(result, start - start % SECTOR, min(round_up(stop, SECTOR), limit))
        return result

    patch(dirty_blocks, "whole_blocks", whole_sectors)


def edge_not_logged(patch: Patch) -> None:
    patch(CopyOnWrite, "_add_edge", lambda self, offsets, payload, size: None)


def no_truncate(function: str) -> Plant:
    """``function`` of the library does not truncate."""

    def plant(patch: Patch) -> None:
        truncate = SimulatedFile.truncate

        def mutant(self: SimulatedFile, size: int) -> None:
            if callers()[0] != function:
                truncate(self, size)

        patch(SimulatedFile, "truncate", mutant)

    return plant
