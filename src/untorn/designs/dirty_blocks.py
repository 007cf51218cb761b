"""What of dirty folios copy-on-write logs, and what it may write home in one piece."""

from __future__ import annotations

from collections.abc import Mapping

from untorn.designs.bio import slice_of, whole_blocks
from untorn.pagecache.folio import Folio
from untorn.sizes import BLOCK
from untorn.storage.interface import Buffer


def dirty_bytes(folios: Mapping[int, Folio], folio_size: int) -> tuple[list[int], list[Buffer]]:
    """Offset and bytes of every dirty range, in file order."""
    offsets = []
    payload: list[Buffer] = []
    for index in sorted(folios):
        folio = folios[index]
        for start, stop in folio.ranges:
            offsets.append(index * folio_size + start)
            payload.append(slice_of(folio, start, stop))
    return offsets, payload


def dirty_blocks(folios: Mapping[int, Folio], folio_size: int, size: int) -> tuple[list[int], list[Buffer]]:
    """Offset and bytes of every run of blocks in which something is dirty, as far as the file goes, in file order.

    Linux writes whole blocks of its file system. What a checkpoint writes home is in flight until it is synced, and a
    device without powersafe overwrite may turn it into garbage: so all of it has to be in the log.
    """
    offsets = []
    payload: list[Buffer] = []
    whole = ((0, folio_size),)
    for index in sorted(folios):
        folio = folios[index]
        base = index * folio_size
        ranges = folio.ranges
        # Pages of blocks, one to a folio, are common.
        if ranges != whole and (len(ranges) != 1 or (ranges[0][0] | ranges[0][1]) % BLOCK):
            ranges = whole_blocks(ranges, min(folio_size, size - base))
        for start, stop in ranges:
            offsets.append(base + start)
            payload.append(slice_of(folio, start, stop))
    return offsets, payload
