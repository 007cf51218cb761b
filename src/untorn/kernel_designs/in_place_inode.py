"""A file whose design writes home in place: writes with flags, no transactions, nothing to roll back to."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence

from untorn.designs.atomic_write_rules import refusal
from untorn.inode.cached import APPEND
from untorn.inode.committing import joined
from untorn.inode.inode import Inode
from untorn.kernel_designs.in_place import InPlace
from untorn.pagecache.address_space import WRITTEN, Data
from untorn.pagecache.folio import Folio
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_SYNC


class InPlaceInode(Inode):
    """As Inode, but that writeback may come at any time and what was written back stays."""

    design: InPlace

    def write(self, data: Data, offset: int | None = None) -> int:
        return self.write_flagged([data], offset, 0)

    def write_traced(self, data: Data, offset: int | None = None) -> int:
        return self.write(data, offset)

    def write_flagged(self, buffers: Sequence[Data], offset: int | None, flags: int) -> int:
        lengths = [len(buffer) for buffer in buffers]
        # Copied before the cache is touched: if that fails nothing is dirty.
        data = joined(buffers)
        written = self._write(data, APPEND if flags & RWF_APPEND else offset, lengths, atomic=bool(flags & RWF_ATOMIC))
        if written and flags & (RWF_DSYNC | RWF_SYNC):
            self.commit(durable=True)
        return written

    def _write(self, data: Data, offset: int | None, lengths: Sequence[int], *, atomic: bool) -> int:
        while True:
            with self._state_lock():
                self._check()
                if not data:
                    return 0
                start = self._start(offset) if offset is None or offset < 0 else offset
                stop = start + len(data)
                self._check_atomic(start, lengths, atomic=atomic)
                first, last = start >> self._shift, (stop - 1) >> self._shift
                must_write_back_first = self._must_write_back_first(atomic=atomic)
                if not must_write_back_first and self._reserve(first, last, stop):
                    written = self._apply(self._build(start, data, atomic=atomic), start, stop, offset)
                    self._report("write", range(first, last + 1), self.pages.dirty, locked=True)
                    return written
                if last - first >= self._dirty_max:
                    self.design.reserve_growth(first, last, stop)
                    break
            self._write_back_some()
        return self._write_huge(data, offset)

    def _check_atomic(self, start: int, lengths: Sequence[int], *, atomic: bool) -> None:
        if atomic and (code := refusal(self.design.limits(), start, lengths)):
            raise OSError(code, os.strerror(code), self.home.path)

    def _must_write_back_first(self, *, atomic: bool) -> bool:
        """Whether such a write has to wait until what is dirty or in writeback is on disk."""
        return bool(self.pages.dirty or self.pages.writeback) and self.design.must_write_back_first(atomic=atomic)

    def _build(self, start: int, data: Data, *, atomic: bool = False) -> dict[int, Folio]:
        pages = self.pages
        if pages.dirty and self.design.must_write_back_first(atomic=atomic):
            self._spill()  # only a huge write comes here with such: it has the commit mutex
        built = super()._build(start, data)
        self.design.track(pages, built, start, start + len(data), atomic=atomic)
        return built

    def store(self, data: Data, offset: int) -> None:
        """What a store through a shared mapping would do; simulated, for untorn offers no mappings.

        The fault makes the whole folio dirty, and atomic no longer (page_mkwrite). SIGBUS beyond the file's end is
        ValueError here.
        """
        while True:
            with self._state_lock():
                self._check()
                start, stop = offset, offset + len(data)
                if not 0 <= start < stop <= self.size:
                    raise ValueError("a store beyond the file's end is a SIGBUS")
                first, last = start >> self._shift, (stop - 1) >> self._shift
                if not self._must_write_back_first(atomic=False) and self._reserve(first, last, stop):
                    built = super()._build(start, data)
                    self.design.track(self.pages, built, start, stop, atomic=False)
                    for index, folio in built.items():
                        base = index << self._shift
                        built[index] = Folio(folio.data, WRITTEN, ((0, min(self._folio_size, self.size - base)),))
                    self._apply(built, start, stop, start)
                    self._report("mkwrite", built, self.pages.dirty, locked=True)
                    return
            self._write_back_some()

    def _write_huge(self, data: Data, offset: int | None) -> int:
        """Piece by piece, and readers wait, for home itself is changed; what was written back stays, come what may."""
        step = self._dirty_max // 2 << self._shift
        view = memoryview(data)
        with self._commit_mutex(), self._lock:
            self._check()
            start = self._start(offset)
            for at in range(0, len(view), step):
                piece = view[at : at + step]
                stop = start + at + len(piece)
                if not self._reserve((start + at) >> self._shift, (stop - 1) >> self._shift, stop):
                    self._spill()
                    self._reserve((start + at) >> self._shift, (stop - 1) >> self._shift, stop)
                self._apply(self._build(start + at, piece), start + at, stop, offset)
            return len(view)

    def truncate(self, size: int) -> int:
        while self._must_write_back_first(atomic=False):
            self._write_back_some()
        return super().truncate(size)

    def begin(self) -> int:
        raise self._unsupported("transactions")

    def rollback(self) -> None:
        raise self._unsupported("rollback")

    def _unsupported(self, what: str) -> io.UnsupportedOperation:
        return io.UnsupportedOperation(errno.EOPNOTSUPP, f"design {self.design.name!r} has no {what}; design 'cow' has")
