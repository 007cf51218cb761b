"""Bios: how much of home goes out in one piece, and whether the device must take it whole.

A bio here is one pwritev to home. With REQ_ATOMIC it is one with RWF_ATOMIC through a descriptor opened with
O_DIRECT, for Linux takes atomic writes as direct I/O only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from untorn.pagecache.folio import Folio, Ranges, with_range
from untorn.sizes import BLOCK, round_up
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, Buffer

BIO_MAX: Final = 1 << 20
"""Most bytes of a plain bio: BIO_MAX_VECS of Linux, 256, times its pages."""


class Piece(NamedTuple):
    """Dirty bytes of one folio, at ``offset`` in home."""

    offset: int
    data: Buffer
    atomic: bool
    """Goes out alone, and whole."""


class Bio(NamedTuple):
    """Buffers that lie one behind the other from ``offset``."""

    offset: int
    length: int
    buffers: list[Buffer]
    atomic: bool


def merged(pieces: Iterable[Piece], most: int = BIO_MAX) -> Iterator[Bio]:
    """Plain pieces that touch as one bio each, of at most ``most`` bytes; an atomic one alone."""
    waiting: list[Piece] = []
    for piece in pieces:
        if waiting and not (_touch(waiting, piece) and _length(waiting) + len(piece.data) <= most):
            yield _bio(waiting)
            waiting = []
        waiting.append(piece)
    if waiting:
        yield _bio(waiting)


def _touch(waiting: list[Piece], piece: Piece) -> bool:
    last = waiting[-1]
    return not last.atomic and not piece.atomic and last.offset + len(last.data) == piece.offset


def _length(pieces: list[Piece]) -> int:
    return sum(len(piece.data) for piece in pieces)


def _bio(pieces: list[Piece]) -> Bio:
    return Bio(pieces[0].offset, _length(pieces), [piece.data for piece in pieces], pieces[0].atomic)


def slice_of(folio: Folio, start: int, stop: int) -> Buffer:
    """The folio's bytes ``[start, stop)``; what it is short of is zeros."""
    data = folio.data
    if stop <= len(data):
        return data if stop - start == len(data) else memoryview(data)[start:stop]
    return data[start:].ljust(stop - start, b"\0")


def whole_blocks(ranges: Ranges, limit: int) -> Ranges:
    """The blocks that the ranges touch, as far as ``limit``: direct I/O moves nothing smaller."""
    result: Ranges = ()
    for start, stop in ranges:
        result = with_range(result, start - start % BLOCK, min(round_up(stop, BLOCK), limit))
    return result


def natural_pieces(start: int, stop: int, unit_max: int) -> Iterator[tuple[int, int]]:
    """``[start, stop)`` in the largest naturally aligned powers of two, of at most ``unit_max`` bytes.

    None of them cuts a write that is itself naturally aligned and no longer than ``unit_max``: of two such
    ranges that overlap one contains the other. So nobody has to remember where those writes began and ended.
    """
    while start < stop:
        unit = min(unit_max, start & -start) if start else unit_max
        while start + unit > stop:
            unit //= 2
        yield start, start + unit
        start += unit


def request_flags(flags: int) -> str:
    """A bio's operation and flags, as the kernel prints them."""
    names = [
        name
        for name, wanted in (
            ("REQ_OP_WRITE", True),
            ("REQ_SYNC", flags & (RWF_DSYNC | RWF_SYNC)),
            ("REQ_FUA", flags & (RWF_DSYNC | RWF_SYNC)),
            ("REQ_ATOMIC", flags & RWF_ATOMIC),
        )
        if wanted
    ]
    return "|".join(names)
