"""Sets of classes of crash points as bit masks: their members, their union, and which of many meet a given one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_WIDTH: Final = 16

Rows = tuple[tuple[int, ...], ...]
"""Many masks in the last row; in each row before it the unions of so many of the next as ``_WIDTH`` says."""


def bits(mask: int) -> Iterator[int]:
    """The members of a mask, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def union(masks: Iterable[int]) -> int:
    result = 0
    for mask in masks:
        result |= mask
    return result


class Tally:
    """How many of some masks have each member: kept as bit planes, so that one mask is added to all members at once."""

    __slots__ = ("_planes",)

    def __init__(self, masks: Iterable[int]) -> None:
        self._planes: list[int] = []
        for mask in masks:
            self._add(mask)

    def _add(self, carry: int) -> None:
        for place, plane in enumerate(self._planes):
            if not carry:
                return
            self._planes[place] = plane ^ carry
            carry &= plane
        if carry:
            self._planes.append(carry)

    def count(self, member: int) -> int:
        return sum((plane >> member & 1) << place for place, plane in enumerate(self._planes))


def rows_of(masks: Sequence[int]) -> Rows:
    """The rows over these masks."""
    rows = [tuple(masks)]
    while len(rows[0]) > _WIDTH:
        below = rows[0]
        rows.insert(0, tuple(union(below[at : at + _WIDTH]) for at in range(0, len(below), _WIDTH)))
    return tuple(rows)


def meeting(rows: Rows, mask: int) -> list[int]:
    """The places of the masks that share a member with ``mask``; costs what is found, not how many there are."""
    found = [at for at, one in enumerate(rows[0]) if one & mask]
    for row in rows[1:]:
        found = [
            at for above in found for at in range(above * _WIDTH, min((above + 1) * _WIDTH, len(row))) if row[at] & mask
        ]
    return found
