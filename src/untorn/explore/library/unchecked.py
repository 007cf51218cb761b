"""Defects of the log's records: what a found log proves, and what recovery makes of it. As in ``plants``."""

from __future__ import annotations

from typing import Any

from xxhash import xxh3_64_intdigest

from untorn.explore.lazy import LazyFile
from untorn.explore.library.plants import Patch, Plant, callers
from untorn.geometry import SECTOR
from untorn.log import log as log_module
from untorn.log import install, ondisk, scan
from untorn.log.log import Log
from untorn.log.mapping import Mapping
from untorn.log.ondisk import Record, RecordKind, Slot
from untorn.log.scan import Entry, Replay
from untorn.storage.api import Piece, StorageFile
from untorn.storage.simulated_file import SimulatedFile


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
    patch(install, "_proved", lambda log, salt, extent: log.read(extent.length, extent.position))


def chain_ignored(patch: Patch) -> None:
    entry = scan._entry

    def mutant(log: StorageFile, slot: Slot, replay: Replay, previous: int, position: int) -> Entry | str:
        record = ondisk.decode_record(log.read(SECTOR, position), slot.salt)
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
