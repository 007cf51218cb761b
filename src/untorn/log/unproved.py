"""What recovery cannot prove to be durable it copies, so that nothing is in flight that a second crash would need.

The cache may show what never reached the disk: the writer was killed before its sync, or the sync failed and left clean
pages that the disk does not hold. What a later header or a CHECKPOINT slot calls durable is. Of the commits behind that
recovery cannot know whether they were acknowledged, and it may be that only the disk's copy of them is left when the
power fails again: so it writes them anew elsewhere, behind the tail, and the next slot says where.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from untorn.log.format import RECORDS_OFFSET, Slot, decode_record
from untorn.log.scan import Replay
from untorn.sizes import SECTOR
from untorn.storage.interface import IOV_MAX, NO_SPACE, READ_CHUNK, StorageFile


class Copy(NamedTuple):
    """Where the records behind sequence ``after`` are; ``start`` and ``end`` are 0 if they are in their place."""

    after: int
    start: int
    end: int


def settle(file: StorageFile, slot: Slot, replay: Replay) -> Copy:
    """Makes every commit of a found log durable; returns where they are.

    Where there is no space for a copy the records are written over themselves: with the disk full, without powersafe
    overwrite, a second power failure within recovery may lose those that could not be proved.
    """
    copy = Copy(slot.copy_after, slot.copy_start, slot.copy_end)
    doubtful = replay.proved < replay.committed
    start, end = (_place(file, slot, replay.proved), replay.commit_tail) if doubtful else (0, 0)
    if doubtful:
        free = replay.tail + _length(file, slot, replay.tail)
        try:
            file.allocate(free, end - start, keep_size=False)
            copy = Copy(replay.proved, free, free + end - start)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
    # The size too may never have reached the disk.
    file.truncate(file.stat().size)
    if doubtful:
        _write(file, _records(file, slot, start, end), copy.start or start)
        file.fdatasync()
    return copy


def put_back(file: StorageFile, slot: Slot) -> int:
    """Writes the copy that the slot names to where its records were; returns where they end.

    Until another slot says so the copy counts, so that nothing that is needed is in flight.
    """
    start = _place(file, slot, slot.copy_after)
    _write(file, _records(file, slot, slot.copy_start, slot.copy_end), start)
    file.fdatasync()
    return start + slot.copy_end - slot.copy_start


def _write(file: StorageFile, pieces: Iterator[bytes], position: int) -> None:
    """Writes them one behind the other, many at a time."""
    buffers: list[bytes] = []
    length = 0
    for piece in pieces:
        buffers.append(piece)
        length += len(piece)
        if length >= READ_CHUNK or len(buffers) == IOV_MAX:
            file.write(buffers, position)
            position, length, buffers = position + length, 0, []
    file.write(buffers, position)


def _place(file: StorageFile, slot: Slot, sequence: int) -> int:
    """Where the record behind ``sequence`` starts."""
    position = RECORDS_OFFSET
    for _ in range(sequence):
        position += _length(file, slot, position)
    return position


def _length(file: StorageFile, slot: Slot, position: int) -> int:
    """Bytes of the record there, torn or not; 0 if no header says."""
    record = decode_record(file.read(SECTOR, position), slot.salt)
    return 0 if record is None else record.total_length


def _records(file: StorageFile, slot: Slot, position: int, end: int) -> Iterator[bytes]:
    """The records up to ``end``, piece by piece: what recovery has proved, and zeros for what is between."""
    while position < end:
        record = decode_record(file.read(SECTOR, position), slot.salt)
        assert record is not None
        stop = position + record.payload_start + record.payload_length
        for start in range(position, stop, READ_CHUNK):
            yield file.read(min(READ_CHUNK, stop - start), start)
        position += record.total_length
        yield bytes(position - stop)
