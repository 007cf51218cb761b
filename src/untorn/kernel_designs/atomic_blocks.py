"""Which blocks of a folio were written atomically: PG_atomic and the two bitmaps below it, as the RFC has them.

One bit per block says that an atomic range starts there, one that it ends there, for a range must go out as it
came. Written with A for a dirty atomic block, D for a dirty plain one and _ for a clean one:

- ``AADD``, a plain write over all four blocks: ``DDDD``
- ``AAAA``, four atomic writes, a plain write over the middle two: ``ADDA``
- ``AAAA``, one atomic write, the same plain write: ``DDDD``, for what is left of a broken range is not whole

(Mujoo, "iomap: Add bs<ps buffered atomic writes support", November 2025, patch 7. There the end bits are cleared
from the last block on and not from the first, which goes out of bounds at the folio's end.)
"""

from __future__ import annotations

from typing import NamedTuple

from untorn.pagecache.folio import PG_ATOMIC, PG_DIRTY, PG_WRITEBACK, Folio, Ranges
from untorn.sizes import BLOCK, FOLIO_SIZE_MAX


class AtomicBlocks(NamedTuple):
    """Two bitmaps, bit 0 for the folio's first block."""

    starts: int = 0
    ends: int = 0

    def ranges(self) -> list[tuple[int, int]]:
        """First and last block of each atomic range, in order."""
        result = []
        starts = self.starts
        while starts:
            first = (starts & -starts).bit_length() - 1
            ends = self.ends >> first
            result.append((first, first + (ends & -ends).bit_length() - 1))
            starts &= starts - 1
        return result

    def set(self, first: int, last: int) -> AtomicBlocks:
        """After an atomic write of these blocks; inside a larger atomic range it goes out with that one, as whole.

        Ranges are naturally aligned powers of two, so of two that overlap one contains the other.
        """
        if any(begin <= first and last <= end for begin, end in self.ranges()):
            return self
        starts, ends = self.clear(first, last)
        return AtomicBlocks(starts | 1 << first, ends | 1 << last)

    def clear(self, first: int, last: int) -> AtomicBlocks:
        """After a plain write of these blocks: no range that it touches is atomic any more."""
        starts, ends = self
        for begin, end in self.ranges():
            if begin <= last and end >= first:
                starts &= ~(1 << begin)
                ends &= ~(1 << end)
        return AtomicBlocks(starts, ends)


NONE = AtomicBlocks()


class AtomicFolio(Folio):
    """A folio with PG_atomic."""

    __slots__ = ("atomic",)

    def __init__(self, data: bytes, bits: int, ranges: Ranges, atomic: AtomicBlocks) -> None:
        super().__init__(data, bits | PG_ATOMIC, ranges)
        self.atomic = atomic

    def cut(self, length: int) -> Folio:
        folio = super().cut(length)
        return with_atomic(folio, self.atomic.clear(length // BLOCK, FOLIO_SIZE_MAX // BLOCK))

    def block_states(self, folio_size: int) -> str:
        """A letter for each block as in the module's docstring."""
        states = list(super().block_states(folio_size))
        if self.bits & (PG_DIRTY | PG_WRITEBACK):
            for first, last in self.atomic.ranges():
                states[first : last + 1] = "A" * (last + 1 - first)
        return "".join(states)


def atomic_blocks(folio: Folio | None) -> AtomicBlocks:
    """The folio's bitmaps; empty ones if it has none."""
    return folio.atomic if isinstance(folio, AtomicFolio) else NONE


def with_atomic(folio: Folio, atomic: AtomicBlocks) -> Folio:
    """The folio with these bitmaps, and without the flag if they are empty."""
    if atomic.starts:
        return AtomicFolio(folio.data, folio.bits, folio.ranges, atomic)
    return Folio(folio.data, folio.bits & ~PG_ATOMIC, folio.ranges)
