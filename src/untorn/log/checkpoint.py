"""Log to home: checkpoint and recovery move committed data by this same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from xxhash import xxh3_64_intdigest

from untorn.errors import CorruptLogError
from untorn.log.extent_map import ExtentMap
from untorn.log.format import Extent
from untorn.storage.interface import Buffer, StorageFile

RUN_MAX: Final = 1 << 23
"""Most bytes held in memory for one write to home."""

Fetch = Callable[[Sequence[Extent]], Sequence[Buffer]]
"""Gives the current bytes of each of a folio's extents."""


def read_extents(log: StorageFile, salt: int, extents: Sequence[Extent]) -> list[Buffer]:
    """The current bytes of a folio's extents, from the log and proved; CorruptLogError if that fails.

    What one record wrote is read and proved once, however many pieces of it later ones have left.
    """
    places: dict[int, list[int]] = {}
    for place, extent in enumerate(extents):
        places.setdefault(extent.position, []).append(place)
    found: list[Buffer] = [b""] * len(extents)
    for same in places.values():
        data = _proved(log, salt, extents[same[0]])
        for place in same:
            extent = extents[place]
            # A copy: a view would keep all that was logged in memory, once for each piece that is left of it.
            whole = extent.stop - extent.start == extent.length
            found[place] = data if whole else data[extent.start - extent.offset : extent.stop - extent.offset]
    return found


def _proved(log: StorageFile, salt: int, extent: Extent) -> bytes:
    """All bytes of the extent as they were logged."""
    data = log.read(extent.length, extent.position)
    if len(data) != extent.length or xxh3_64_intdigest(data, salt) != extent.digest:
        reason = f"the {extent.length} bytes logged for offset {extent.offset} do not have their digest"
        message = f"{reason}. They were not written to the file. Run 'untorn check' on the file"
        raise CorruptLogError(message, log.path, extent.position, reason)
    return data


def cut_home(home: StorageFile, extent_map: ExtentMap) -> None:
    """Cuts home to ``home_bytes_valid``, or to where extents that go on from there without a gap end.

    What they rewrite anyway keeps its blocks: freeing and allocating them again costs more than the write.
    """
    if home.stat().size <= extent_map.home_bytes_valid:
        return
    keep = extent_map.home_bytes_valid
    for extent in extent_map.extents():
        if extent.start > keep:
            break
        keep = max(keep, extent.stop)
    if home.stat().size > keep:
        home.truncate(keep)


def install(home: StorageFile, extent_map: ExtentMap, size: int, fetch: Fetch) -> int:
    """Makes home's content that of the map and ``size``, after ``cut_home``; returns bytes written. Not durable yet.

    Can be done again from any state that a crash in its middle leaves: what the map does not cover it
    never changes, but for what lies beyond ``home_bytes_valid``, which is cut.
    """
    written = 0
    for start, buffers in _runs(extent_map, fetch):
        home.write(buffers, start)
        written += sum(map(len, buffers))
        buffers.clear()  # or they would stay until the next run is complete
    if home.stat().size != size:
        home.truncate(size)
    return written


def _runs(extent_map: ExtentMap, fetch: Fetch) -> Iterator[tuple[int, list[Buffer]]]:
    """Extents that touch, as one write each, in file order."""
    start = stop = 0
    buffers: list[Buffer] = []
    for index in sorted(extent_map.folios):
        extents = extent_map.folios[index]
        for extent, buffer in zip(extents, fetch(extents), strict=True):
            if extent.start != stop or stop - start >= RUN_MAX:
                if buffers:
                    yield start, buffers
                start, buffers = extent.start, []
            buffers.append(buffer)
            stop = extent.stop
    if buffers:
        yield start, buffers
