"""The cached folios of one file, as the kernel's struct address_space keeps them.

A folio is found in the first of three maps that has it: ``dirty`` (the open transaction), ``writeback`` (a
commit on its way), ``clean`` (as committed; may be evicted). A commit moves the whole first map to the second,
and at its end the second into the third. Dropping ``dirty`` is therefore a rollback: the older references are
still there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from untorn.pagecache.folio import (
    PG_ATOMIC,
    PG_DIRTY,
    PG_REFERENCED,
    PG_UPTODATE,
    PG_WRITEBACK,
    Folio,
    patched,
    with_range,
)

WRITTEN: Final = PG_UPTODATE | PG_DIRTY
"""Flags of a folio that a write made."""

Data = bytes | memoryview


class AddressSpace:
    """Folios by index. Not locked: the inode holds its lock around every call."""

    def __init__(self, folio_size: int, clean_max: int, load: Callable[[int], bytes]) -> None:
        """``load(index)`` gives a folio's bytes as last written back; ``clean_max`` counts folios."""
        self.folio_size = folio_size
        self.shift = folio_size.bit_length() - 1
        self.dirty: dict[int, Folio] = {}
        self.writeback: dict[int, Folio] = {}
        self.clean: dict[int, Folio] = {}
        self.clean_max = clean_max
        self.loads = 0
        self._load = load

    def folio(self, index: int) -> Folio:
        """The newest folio at ``index``, read in if it is not cached. OSError if that fails."""
        folio = self.dirty.get(index) or self.writeback.get(index) or self.clean.get(index)
        if folio is None:
            folio = Folio(self._load(index))
            self.loads += 1
            self.clean[index] = folio
            if len(self.clean) > self.clean_max:
                self._evict()
        else:
            folio.bits |= PG_REFERENCED
        return folio

    def peek_clean(self, index: int) -> Folio | None:
        """The folio as committed if it is cached so; what is loaded or lost meanwhile does not matter."""
        return self.clean.get(index)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes ``[start, stop)`` of the file."""
        size = self.folio_size
        parts = []
        while start < stop:
            index = start >> self.shift
            base = index << self.shift
            end = min(stop, base + size)
            part = self.folio(index).data[start - base : end - base]
            parts.append(part)
            if len(part) < end - start:
                parts.append(bytes(end - start - len(part)))
            start = end
        return b"".join(parts)

    def build(self, start: int, data: Data, size: int) -> dict[int, Folio]:
        """New dirty folios for ``data`` at ``start`` in a file of ``size`` bytes, built aside.

        Nothing changes until the caller puts them into ``dirty``. OSError if a folio cannot be read in.
        """
        view = memoryview(data)
        stop = start + len(view)
        built = {}
        at = start
        while at < stop:
            index = at >> self.shift
            end = min(stop, (index + 1) << self.shift)
            piece = data if end - at == len(view) else view[at - start : end - start]  # one whole folio is not copied
            built[index] = self.replacement(index, piece, at, end, size)
            at = end
        return built

    def replacement(self, index: int, data: Data, start: int, stop: int, size: int) -> Folio:
        """The folio at ``index`` with ``data`` at the file's bytes ``[start, stop)``, built aside.

        A folio that is wholly overwritten keeps the caller's ``bytes`` themselves.
        """
        base = index << self.shift
        begin, finish = start - base, stop - base
        if begin == 0 and (finish == self.folio_size or stop >= size):
            return Folio(data if type(data) is bytes else bytes(data), WRITTEN, ((0, finish),))
        old = self.dirty.get(index)
        if old is None:
            data_before = self.folio(index).data if base < size else b""
            return Folio(patched(data_before, begin, data), WRITTEN, ((begin, finish),))
        return Folio(patched(old.data, begin, data), WRITTEN, with_range(old.ranges, begin, finish))

    def truncate(self, size: int) -> None:
        """Forgets every byte from ``size`` on. Only the clean and dirty maps hold any: no commit is on its way."""
        assert not self.writeback
        first = size >> self.shift
        for index in [index for index in self.clean if index >= first]:
            del self.clean[index]
        keep = size - (first << self.shift)
        dirty = {index: folio for index, folio in self.dirty.items() if index < first}
        if keep and first in self.dirty:
            dirty[first] = self.dirty[first].truncated(keep)
        self.dirty = dirty

    def forget(self, first: int, last: int) -> None:
        """Drops the clean folios from ``first`` to ``last``: storage has newer ones."""
        for index in [index for index in self.clean if first <= index <= last]:
            del self.clean[index]

    def start_writeback(self) -> dict[int, Folio]:
        """Everything dirty is on its way to storage now; returns it."""
        assert not self.writeback
        for folio in self.dirty.values():
            folio.bits ^= PG_DIRTY | PG_WRITEBACK
        self.writeback, self.dirty = self.dirty, {}
        return self.writeback

    def end_writeback(self) -> None:
        """What was on its way has arrived and is clean."""
        for folio in self.writeback.values():
            folio.bits &= ~(PG_WRITEBACK | PG_ATOMIC)
        self.clean.update(self.writeback)
        self.writeback = {}
        if len(self.clean) > self.clean_max:
            self._evict()

    def _evict(self) -> None:
        """Drops the folios least recently used; a second chance for those used since they came to the front.

        A sixteenth at a time, for a dict is slow to find its first key again and again.
        """
        clean = self.clean
        excess = len(clean) - self.clean_max + self.clean_max // 16
        while excess > 0:
            for index in list(islice(clean, excess)):
                folio = clean.pop(index)
                if folio.test_and_clear(PG_REFERENCED):
                    clean[index] = folio
                else:
                    excess -= 1
