"""The RFC of November 2025: PG_atomic on the folio, and two bitmaps below it.

Atomicity is a property of each write: a plain write over dirty atomic blocks takes it from them, and from the rest
of the range that it breaks. Writeback sends each atomic range alone, in one bio with REQ_ATOMIC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from untorn.kernel_designs.atomic_blocks import NONE, AtomicFolio, atomic_blocks, with_atomic
from untorn.kernel_designs.written_back import Tracked
from untorn.pagecache.address_space import AddressSpace
from untorn.pagecache.folio import Folio, Ranges, without_range
from untorn.sizes import BLOCK


class FolioFlag(Tracked):
    """PG_atomic, and start and end bitmaps per folio."""

    name: ClassVar[str] = "folio-flag"

    def state_bits(self) -> tuple[int, int]:
        return 1 + 2 * (self._folio_size // BLOCK), 0

    def mark(self, pages: AddressSpace, built: dict[int, Folio], start: int, stop: int, *, atomic: bool) -> None:
        size = self._folio_size
        for index, folio in built.items():
            before = atomic_blocks(pages.dirty.get(index))
            first = (max(start, index * size) - index * size) // BLOCK
            last = (min(stop, (index + 1) * size) - 1 - index * size) // BLOCK
            after = before.set(first, last) if atomic else before.clear(first, last)
            built[index] = with_atomic(folio, after)

    def dirty_ranges(self, folio: Folio, ranges: Ranges) -> Iterator[tuple[int, int, bool]]:
        atomic = [(first * BLOCK, (last + 1) * BLOCK) for first, last in atomic_blocks(folio).ranges()]
        for start, stop in atomic:
            ranges = without_range(ranges, start, stop)
        yield from sorted([(*one, False) for one in ranges] + [(*one, True) for one in atomic])

    def land(self, written: Mapping[int, Folio], size: int, *, commit: bool) -> None:
        super().land(written, size, commit=commit)
        for folio in written.values():
            if isinstance(folio, AtomicFolio):
                folio.atomic = NONE
