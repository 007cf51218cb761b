"""A file whose design writes home in place: writes with flags, no transactions, nothing to roll back to."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence
from typing import Final

from untorn.designs.atomic_write_rules import refusal
from untorn.inode.cached import APPEND, Write
from untorn.inode.committing import joined
from untorn.inode.inode import Inode
from untorn.kernel_designs.in_place import InPlace
from untorn.pagecache.address_space import WRITTEN, Data
from untorn.pagecache.folio import Folio
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_SYNC

_SIGBUS: Final = "a store beyond the file's end is a SIGBUS"


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
        written = self._write(Write(data, APPEND if flags & RWF_APPEND else offset, flags, lengths))
        if written and flags & (RWF_DSYNC | RWF_SYNC):
            self._make_durable()
        return written

    def _write(self, call: Write) -> int:
        return self._write_to_cache(call)

    def _make_durable(self) -> None:
        self.commit(durable=True)

    def store(self, data: Data, offset: int) -> None:
        """What a store through a shared mapping would do; simulated, for untorn offers no mappings.

        The fault makes the whole folio dirty, and atomic no longer (page_mkwrite). SIGBUS beyond the file's end is
        ValueError here.
        """
        if not data or offset < 0:
            raise ValueError(_SIGBUS)
        self._write_to_cache(Write(data, offset, store=True))

    def _refuse(self, call: Write, start: int, stop: int) -> None:
        if call.store and stop > self.size:
            raise ValueError(_SIGBUS)
        if call.flags & RWF_ATOMIC and (code := refusal(self.design.limits(), start, call.lengths)):
            raise OSError(code, os.strerror(code), self.home.path)

    def _must_write_back_first(self, call: Write) -> bool:
        atomic = bool(call.flags & RWF_ATOMIC)
        return bool(self.pages.dirty or self.pages.writeback) and self.design.must_write_back_first(atomic=atomic)

    def _build(self, call: Write, start: int, data: Data) -> dict[int, Folio]:
        pages, atomic = self.pages, bool(call.flags & RWF_ATOMIC)
        if pages.dirty and self.design.must_write_back_first(atomic=atomic):
            self._spill()  # only a huge write comes here with such: it has the commit mutex
        built = super()._build(call, start, data)
        self.design.track(pages, built, start, start + len(data), atomic=atomic)
        if call.store:
            for index, folio in built.items():
                base = index << self._shift
                built[index] = Folio(folio.data, WRITTEN, ((0, min(self._folio_size, self.size - base)),))
        return built

    def _apply(self, call: Write, built: dict[int, Folio], start: int, stop: int) -> int:
        written = super()._apply(call, built, start, stop)
        self._report("mkwrite" if call.store else "write", built, self.pages.dirty, locked=True)
        return written

    def _write_huge(self, call: Write) -> int:
        """Piece by piece, and readers wait, for home itself is changed; what was written back stays, come what may."""
        step = self._dirty_max // 2 << self._shift
        view = memoryview(call.data)
        with self._commit_mutex(), self._lock:
            self._check()
            start = self._start(call.offset)
            self.design.reserve_growth(start >> self._shift, (start + len(view) - 1) >> self._shift, start + len(view))
            for at in range(0, len(view), step):
                piece = view[at : at + step]
                stop = start + at + len(piece)
                if not self._reserve((start + at) >> self._shift, (stop - 1) >> self._shift, stop):
                    self._spill()
                    self._reserve((start + at) >> self._shift, (stop - 1) >> self._shift, stop)
                super()._apply(call, self._build(call, start + at, piece), start + at, stop)
            return len(view)

    def truncate(self, size: int) -> int:
        while self._must_write_back_first(Write(b"", None)):
            self._write_back_some()
        return super().truncate(size)

    def begin(self) -> int:
        raise self._unsupported("transactions")

    def rollback(self) -> None:
        raise self._unsupported("rollback")

    def _unsupported(self, what: str) -> io.UnsupportedOperation:
        return io.UnsupportedOperation(errno.EOPNOTSUPP, f"design {self.design.name!r} has no {what}; design 'cow' has")
