"""Log to home: checkpoint and recovery move committed data by this same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from xxhash import xxh3_64_intdigest

from untorn.errors import CorruptLogError
from untorn.log.mapping import Mapping
from untorn.log.ondisk import Extent
from untorn.storage.api import Buffer, StorageFile

RUN_MAX: Final = 1 << 23
"""Most bytes held in memory for one write to home."""


def read_extent(log: StorageFile, salt: int, extent: Extent) -> bytes:
    """The extent's current bytes from the log, proved by its digest; CorruptLogError if that fails."""
    data = log.read(extent.length, extent.position)
    if len(data) != extent.length or xxh3_64_intdigest(data, salt) != extent.digest:
        reason = f"the {extent.length} bytes logged for offset {extent.offset} do not have their digest"
        message = f"{reason}; the file was not changed by them. Run 'untorn check' on it"
        raise CorruptLogError(message, log.path, extent.position, reason)
    if extent.stop - extent.start == extent.length:
        return data
    # A copy: a view would keep all of the extent in memory, once for each piece that is left of it.
    return data[extent.start - extent.offset : extent.stop - extent.offset]


def cut_home(home: StorageFile, mapping: Mapping) -> None:
    """Cuts home to ``home_limit``, or to where extents that go on from there without a gap end.

    What they rewrite anyway keeps its blocks: freeing and allocating them again costs more than the write.
    """
    if home.stat().size <= mapping.home_limit:
        return
    keep = mapping.home_limit
    for extent in mapping.extents():
        if extent.start > keep:
            break
        keep = max(keep, extent.stop)
    if home.stat().size > keep:
        home.truncate(keep)


def install(home: StorageFile, mapping: Mapping, size: int, fetch: Callable[[Extent], Buffer]) -> int:
    """Makes home's content that of the map and ``size``; returns bytes written. Not durable yet.

    Can be done again from any state that a crash in its middle leaves: what the map does not cover it
    never changes, but for what lies beyond ``home_limit``, which is cut.
    """
    cut_home(home, mapping)
    written = 0
    for start, buffers in _runs(mapping, fetch):
        home.write(buffers, start)
        written += sum(map(len, buffers))
        buffers.clear()  # or they would stay until the next run is complete
    if home.stat().size != size:
        home.truncate(size)
    return written


def _runs(mapping: Mapping, fetch: Callable[[Extent], Buffer]) -> Iterator[tuple[int, list[Buffer]]]:
    """Extents that touch, as one write each, in file order."""
    start = stop = 0
    buffers: list[Buffer] = []
    for extent in mapping.extents():
        if extent.start != stop or stop - start >= RUN_MAX:
            if buffers:
                yield start, buffers
            start, buffers = extent.start, []
        buffers.append(fetch(extent))
        stop = extent.stop
    if buffers:
        yield start, buffers
