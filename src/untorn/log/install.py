"""Log to home: checkpoint and recovery move committed data by this same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from xxhash import xxh3_64_intdigest

from untorn.errors import CorruptLogError
from untorn.log.mapping import Mapping, Segment
from untorn.storage.api import Buffer, StorageFile

RUN_MAX: Final = 1 << 23
"""Most bytes held in memory for one write to home."""


def read_segment(log: StorageFile, salt: int, segment: Segment) -> Buffer:
    """The segment's bytes from the log, proved by the digest of its extent; CorruptLogError if it fails."""
    extent = segment.extent
    data = log.read(extent.length, extent.position)
    if len(data) != extent.length or xxh3_64_intdigest(data, salt) != extent.digest:
        reason = f"the {extent.length} bytes logged for offset {extent.offset} do not have their digest"
        message = f"{reason}; the file was not changed by them. Run 'untorn check' on it"
        raise CorruptLogError(message, log.path, extent.position, reason)
    if segment.stop - segment.start == extent.length:
        return data
    return memoryview(data)[segment.start - extent.offset : segment.stop - extent.offset]


def install(home: StorageFile, mapping: Mapping, size: int, fetch: Callable[[Segment], Buffer]) -> int:
    """Makes home's content that of the map and ``size``; returns bytes written. Not durable yet.

    Can be done again from any state that a crash in its middle leaves: what the map does not cover it
    never changes, but for what lies beyond ``home_limit``, which is cut.
    """
    if home.stat().size > mapping.home_limit:
        home.truncate(mapping.home_limit)
    written = 0
    for start, buffers in _runs(mapping, fetch):
        home.write(buffers, start)
        written += sum(map(len, buffers))
    if home.stat().size != size:
        home.truncate(size)
    return written


def _runs(mapping: Mapping, fetch: Callable[[Segment], Buffer]) -> Iterator[tuple[int, list[Buffer]]]:
    """Segments that touch, as one write each, in file order."""
    start = stop = 0
    buffers: list[Buffer] = []
    for segment in mapping.segments():
        if segment.start != stop or stop - start >= RUN_MAX:
            if buffers:
                yield start, buffers
            start, buffers = segment.start, []
        buffers.append(fetch(segment))
        stop = segment.stop
    if buffers:
        yield start, buffers
