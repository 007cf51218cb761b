"""One folio of the page cache: immutable bytes, the kernel's flags, and which of the bytes are dirty.

A folio's data never change; a write puts a new folio in its place. So pages under writeback are stable,
readers hold snapshots, and rollback is putting the old reference back.
"""

from __future__ import annotations

from typing import Final

from untorn.sizes import BLOCK

PG_REFERENCED: Final = 1 << 0
PG_UPTODATE: Final = 1 << 1
PG_DIRTY: Final = 1 << 2
PG_ATOMIC: Final = 1 << 3
PG_WRITEBACK: Final = 1 << 4

_NAMES: Final = ("referenced", "uptodate", "dirty", "atomic", "writeback")

RANGES_MAX: Final = 16
"""Most dirty ranges of one folio; one more and all from the first to the last byte counts as dirty."""

Ranges = tuple[tuple[int, int], ...]
"""Bytes ``[start, stop)`` within the folio, in order, none touching the next: what made it dirty."""


class PageFlags:
    """Flags of a folio, named and printed as the kernel does (``uptodate|dirty|writeback``)."""

    __slots__ = ("bits",)

    def __init__(self, bits: int = 0) -> None:
        self.bits = bits

    def test(self, flag: int) -> bool:
        """Whether the flag is set."""
        return bool(self.bits & flag)

    def set(self, flag: int) -> None:
        """Sets the flag."""
        self.bits |= flag

    def clear(self, flag: int) -> None:
        """Clears the flag."""
        self.bits &= ~flag

    def test_and_set(self, flag: int) -> bool:
        """Sets the flag; whether it was set before."""
        before = self.bits & flag
        self.bits |= flag
        return bool(before)

    def test_and_clear(self, flag: int) -> bool:
        """Clears the flag; whether it was set before."""
        before = self.bits & flag
        self.bits &= ~flag
        return bool(before)

    def __str__(self) -> str:
        return "|".join(name for bit, name in enumerate(_NAMES) if self.bits >> bit & 1)


class Folio(PageFlags):
    """``data`` from the folio's start; what is missing to the folio's size reads as zeros."""

    __slots__ = ("data", "ranges")

    def __init__(self, data: bytes, bits: int = PG_UPTODATE, ranges: Ranges = ()) -> None:
        self.bits = bits
        self.data = data
        self.ranges = ranges

    def cut(self, length: int) -> Folio:
        """This folio without the bytes from ``length`` on."""
        ranges = tuple((start, min(stop, length)) for start, stop in self.ranges if start < length)
        return Folio(self.data[:length], self.bits, ranges)

    def block_states(self, folio_size: int) -> str:
        """A letter for each block: D if it is dirty, also on its way out, _ if it is clean."""
        states = ["_"] * (folio_size // BLOCK)
        if self.bits & (PG_DIRTY | PG_WRITEBACK):
            for start, stop in self.ranges:
                for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
                    states[block] = "D"
        return "".join(states)

    def __repr__(self) -> str:
        return f"Folio({len(self.data)} bytes, {self}, {self.ranges})"


def patched(data: bytes, start: int, piece: bytes | memoryview) -> bytes:
    """``data`` with ``piece`` over it from ``start``; a gap before it is zeros."""
    length = len(data)
    if start >= length:
        return b"".join((data, bytes(start - length), piece))
    view = memoryview(data)
    return b"".join((view[:start], piece, view[start + len(piece) :]))


def without_range(ranges: Ranges, start: int, stop: int) -> Ranges:
    """``ranges`` without the bytes ``[start, stop)``."""
    parts = [part for one in ranges for part in ((one[0], min(one[1], start)), (max(one[0], stop), one[1]))]
    return tuple((begin, finish) for begin, finish in parts if begin < finish)


def with_range(ranges: Ranges, start: int, stop: int) -> Ranges:
    """``ranges`` with ``[start, stop)`` joined to them."""
    if not ranges:
        return ((start, stop),)
    last_start, last_stop = ranges[-1]
    if last_start <= start <= last_stop:
        return (*ranges[:-1], (last_start, max(stop, last_stop)))
    merged = [one for one in ranges if one[1] < start or one[0] > stop]
    touching = [one for one in ranges if one[1] >= start and one[0] <= stop]
    if touching:
        start = min(start, touching[0][0])
        stop = max(stop, touching[-1][1])
    merged.append((start, stop))
    merged.sort()
    if len(merged) > RANGES_MAX:
        return ((merged[0][0], merged[-1][1]),)
    return tuple(merged)
