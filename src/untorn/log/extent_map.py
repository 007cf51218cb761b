"""Which bytes of the file lie in the log: the extent map of copy-on-write.

Bytes that no extent covers are home's below ``home_limit`` and zeros from there on. The map holds the
newest state, uncommitted truncates and spills included; what they changed can be put back (``rollback``)
until they are committed (``settle``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

from untorn.log.format import Extent

_STALE_MAX: Final = 64
"""Folios in the heap that are mapped no more, beside as many as are mapped."""


class Mark(NamedTuple):
    """A state of the map to come back to."""

    changes: int
    home_limit: int


class Mapping:
    """Extents by folio index. Not locked: its owner holds a lock."""

    def __init__(self, folio_size: int, home_size: int) -> None:
        self.folio_size = folio_size
        self.home_limit = home_size
        self.folios: dict[int, tuple[Extent, ...]] = {}
        self._count = 0
        self._undo: list[tuple[int, tuple[Extent, ...]]] = []
        self._settled_limit = home_size
        self._order: list[int] = []
        """A heap of negative folio indices, so that a cut looks at no folio below it; some are mapped no more."""
        self._ordered: set[int] = set()
        """Folios that are mapped and in the heap; in ``folios`` they stand before all others."""

    def __len__(self) -> int:
        """Number of extents, the measure of memory."""
        return self._count

    @property
    def settled(self) -> bool:
        """Whether nothing is left that a rollback would put back."""
        return not self._undo and self.home_limit == self._settled_limit

    def extents(self) -> Iterator[Extent]:
        """All extents in file order, each inside one folio."""
        for index in sorted(self.folios):
            yield from self.folios[index]

    def insert(self, extents: Sequence[Extent], *, committed: bool) -> None:
        """Maps each extent over what was there; uncommitted ones can be rolled back."""
        folios, size = self.folios, self.folio_size
        whole = [extent[3] for extent in extents].count(size) == len(extents)
        if whole and committed and self._count == len(folios):
            # Whole folios over single extents, the common case of fixed pages, in one call.
            folios.update(zip([extent[0] // size for extent in extents], zip(extents, strict=False), strict=False))
            self._count = len(folios)
            return
        for extent in extents:
            index = extent.start // size
            before = folios.get(index, ())
            if not committed:
                self._undo.append((index, before))
            if not before or (extent.start <= before[0].start and extent.stop >= before[-1].stop):
                folios[index] = (extent,)
                self._count += 1 - len(before)
            else:
                after = folios[index] = _overlay(before, extent)
                self._count += len(after) - len(before)

    def cut(self, size: int) -> None:
        """Drops everything from byte ``size`` on, home's bytes too; can be rolled back."""
        first = size // self.folio_size
        self._put_in_order()
        while self._order and -self._order[0] >= first:
            index = -self._order[0]
            before = self.folios.get(index, ())
            after = before[: bisect_left(before, (size,))]
            if after and after[-1].stop > size:
                after = (*after[:-1], after[-1]._replace(stop=size))
            if after != before:
                self._undo.append((index, before))
                self._replace(index, after)
            if after:
                break
            heappop(self._order)
        self.home_limit = min(self.home_limit, size)

    def _put_in_order(self) -> None:
        """Adds to the heap what was mapped since the last cut: it stands behind all others."""
        for index in reversed(self.folios):
            if index in self._ordered:
                break
            self._ordered.add(index)
            heappush(self._order, -index)
        if len(self._order) > 2 * len(self.folios) + _STALE_MAX:
            self._order = sorted(-index for index in self.folios)

    def mark(self) -> Mark:
        """The state now, to roll back to."""
        return Mark(len(self._undo), self.home_limit)

    def rollback(self, mark: Mark) -> None:
        """Puts the map back to the state of ``mark``."""
        while len(self._undo) > mark.changes:
            self._replace(*self._undo.pop())
        self.home_limit = mark.home_limit

    def settle(self) -> None:
        """What was uncommitted is committed now."""
        self._undo.clear()
        self._settled_limit = self.home_limit

    def _replace(self, index: int, extents: tuple[Extent, ...]) -> None:
        self._count += len(extents) - len(self.folios.get(index, ()))
        if extents:
            self.folios[index] = extents
        else:
            self.folios.pop(index, None)
            self._ordered.discard(index)


def _overlay(before: tuple[Extent, ...], extent: Extent) -> tuple[Extent, ...]:
    """``before`` with ``extent`` over it, in order of start."""
    start, stop = extent.start, extent.stop
    low, high = bisect_left(before, (start,)), bisect_left(before, (stop,))
    middle = [extent]
    if low and before[low - 1].stop > start:
        low -= 1
        middle.insert(0, before[low]._replace(stop=start))
    if high and before[high - 1].stop > stop:
        middle.append(before[high - 1]._replace(start=stop))
    return (*before[:low], *middle, *before[high:])
