"""What a found log holds, read front to back without writing anything.

The branches on contents are few and declared: a header, then a table and a payload as one question each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from untorn.log.extent_map import Mapping
from untorn.log.format import (
    EXTENTS_MAX,
    PAYLOAD_MAX,
    RECORDS_OFFSET,
    SLOT_OFFSETS,
    Extent,
    Record,
    RecordKind,
    Slot,
    SlotKind,
    decode_record,
    decode_slot,
    decode_table,
    record_length_max,
)
from untorn.sizes import BLOCK, SECTOR
from untorn.storage.interface import Piece, StorageFile


class Entry(NamedTuple):
    """A valid record at ``position`` in the log."""

    position: int
    record: Record
    extents: list[Extent]


class Stop(NamedTuple):
    """Where and why the log ends; ``damaged`` if what should stand there was known to be durable."""

    position: int
    reason: str
    damaged: bool


@dataclass
class Replay:
    """The committed state that a log gives its file, and how far the log goes."""

    mapping: Mapping
    size: int
    """Of the file, bytes."""
    commits: int = 0
    sequence: int = 0
    """Of the last valid record."""
    synced_through: int = 0
    proved: int = 0
    """Highest sequence that the log itself proves to have been durable; known when all of it was read."""
    tail: int = RECORDS_OFFSET
    """Behind everything that counts."""
    stop: Stop = Stop(RECORDS_OFFSET, "", False)
    _pending: list[Entry] = field(default_factory=list)
    committed: int = 0
    """Sequence of the last commit."""
    commit_tail: int = RECORDS_OFFSET
    """Where in the log it ends."""
    _counting: set[int] = field(default_factory=set)
    """Sequences of the pending DATA records."""

    def accepts(self, record: Record) -> bool:
        """Whether the record builds on the last commit or on a DATA record that still counts."""
        return record.parent == self.committed or record.parent in self._counting

    def add(self, entry: Entry) -> None:
        """Takes one more valid record into account."""
        record = entry.record
        while self._pending and self._pending[-1].record.sequence > record.parent:
            self._counting.discard(self._pending.pop().record.sequence)
        self._pending.append(entry)
        self._counting.add(record.sequence)
        self.sequence = record.sequence
        self.synced_through = max(self.synced_through, record.synced_through)
        self.tail = entry.position + record.total_length
        if record.kind is RecordKind.COMMIT:
            self._commit()

    def _commit(self) -> None:
        for _, record, extents in self._pending:
            self.mapping.cut(record.size_min)
            self.mapping.insert(extents, committed=True)
            self.size = record.size
        self.mapping.settle()
        self.commits += 1
        self.committed, self.commit_tail = self.sequence, self.tail
        self._pending.clear()
        self._counting.clear()


def read_slots(log: StorageFile) -> Slot | None:
    """The valid slot with the highest generation."""
    slots = log.observe(0, RECORDS_OFFSET, BLOCK, decode_slot)
    return max((slot for slot in slots if slot), key=lambda slot: slot.generation, default=None)


def damaged_slot(log: StorageFile) -> int | None:
    """Where in the log a slot should be and neither a slot nor zeros are; None if there is no such place."""
    for offset in SLOT_OFFSETS:
        sector = log.read(SECTOR, offset)
        if len(sector) < SECTOR or (any(sector) and decode_slot(sector) is None):
            return offset
    return None


def is_blank(log: StorageFile) -> bool:
    """Whether all is zeros as far as a first record can reach: a log that was created and never started."""
    stop = RECORDS_OFFSET + record_length_max(EXTENTS_MAX, PAYLOAD_MAX)
    return not any(log.observe(0, stop, SECTOR, lambda sector: bool(sector.strip(b"\0"))))


def entries(log: StorageFile, slot: Slot, replay: Replay) -> Iterator[Entry]:
    """Every valid record in turn, each added to ``replay``; sets ``replay.stop`` at the end."""
    previous = slot.salt
    position = RECORDS_OFFSET
    ends = slot.synced_through if slot.kind is SlotKind.CHECKPOINT else None
    reason, damaged = "the slot of the checkpoint says that it ends there", False
    while replay.sequence != ends:
        if slot.copy_end and replay.sequence == slot.copy_after:
            position = slot.copy_start
        entry = _entry(log, slot, replay, previous, position)
        if isinstance(entry, str):
            missing = replay.sequence + 1
            reason = f"record {missing}: {entry}"
            damaged = slot.synced_through >= missing or _was_durable(log, slot, position, missing)
            break
        replay.add(entry)
        yield entry
        previous = entry.record.checksum
        position += entry.record.total_length
    replay.stop = Stop(position, reason, damaged)
    # What lies before damage was as durable as what is damaged.
    replay.proved = max(slot.synced_through, replay.synced_through, replay.sequence if damaged else 0)
    replay.tail = max(replay.tail, slot.copy_end)


def _entry(log: StorageFile, slot: Slot, replay: Replay, previous: int, position: int) -> Entry | str:
    """The record at ``position`` if it is valid by the four rules of ``format``, else why it is not."""
    record = decode_record(log.read(SECTOR, position), slot.salt)
    if record is None:
        return "no valid record header"
    if record.sequence != replay.sequence + 1 or record.previous != previous or not replay.accepts(record):
        return f"a header that does not follow record {replay.sequence}"
    table = log.read_verified(record.table_length, position + SECTOR, record.table_digest, slot.salt)
    extents = decode_table(table, record, position, slot.folio_size) if table is not None else None
    if extents is None:
        return "the extent table does not have its digest or breaks a rule"
    pieces = [Piece(extent.length, extent.digest) for extent in extents]
    if not log.verify(position + record.payload_start, pieces, slot.salt):
        return "the payload does not have its digests"
    return Entry(position, record, extents)


def _was_durable(log: StorageFile, slot: Slot, position: int, sequence: int) -> bool:
    """Whether a valid header further on says that record ``sequence`` was durable.

    The next record starts within one record's length, so no more than that is searched.
    """

    def says_so(sector: bytes) -> bool:
        record = decode_record(sector, slot.salt)
        return record is not None and record.synced_through >= sequence

    stop = position + record_length_max(EXTENTS_MAX, PAYLOAD_MAX) + BLOCK
    return any(log.observe(position, stop, BLOCK, says_so))


def replay_log(log: StorageFile, slot: Slot) -> Replay:
    """The state after every commit in the log."""
    replay = Replay(Mapping(slot.folio_size, slot.home_size), slot.home_size)
    for _ in entries(log, slot, replay):
        pass
    return replay
