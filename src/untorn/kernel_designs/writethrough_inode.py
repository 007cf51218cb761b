"""A file whose write calls do their I/O before they return."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from untorn.designs.bio import Bio, slice_of, whole_blocks
from untorn.inode.cached import APPEND, SIZE_MAX
from untorn.inode.committing import joined
from untorn.kernel_designs.in_place_inode import InPlaceInode
from untorn.pagecache.address_space import WRITTEN, Data
from untorn.pagecache.folio import PG_UPTODATE, PG_WRITEBACK, Folio, without_range
from untorn.sizes import BLOCK
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, Buffer


class ThroughInode(InPlaceInode):
    """As InPlaceInode, with one bio per write call. Only stores through a mapping leave dirty folios behind."""

    def write_flagged(self, buffers: Sequence[Data], offset: int | None, flags: int) -> int:
        """OSError of the checks and ENOSPC: nothing changed. Of the I/O itself: the handle is out of work."""
        lengths = [len(buffer) for buffer in buffers]
        data = joined(buffers)
        durable = flags & (RWF_DSYNC | RWF_SYNC)
        with self._exclusive():  # and so nothing else is in writeback
            with self._lock:
                self._check()
                if not data:
                    return 0
                start = self._start(APPEND if flags & RWF_APPEND else offset)
                stop = start + len(data)
                self._check_atomic(start, lengths, atomic=bool(flags & RWF_ATOMIC))
                if stop > SIZE_MAX:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), self.home.path)
                first, last = start >> self._shift, (stop - 1) >> self._shift
                if stop > self.design.dense:
                    self.design.grow(first, last, stop)
                built = self._build(start, data)
            try:
                bio = self._start_io(built, start, stop, offset, atomic=bool(flags & RWF_ATOMIC))
                self.design.submit(bio, durable)
                if durable:
                    self.design.sync_name()
                self._end_io(built)
            except BaseException as error:
                self._fail(error)
                raise
        return stop - start

    def _start_io(self, built: dict[int, Folio], start: int, stop: int, offset: int | None, *, atomic: bool) -> Bio:
        """Puts the new folios in, in writeback; those of which other blocks are dirty stay dirty too."""
        pages = self.pages
        buffers: list[Buffer] = []
        with self._lock:
            size = max(self.size, stop)
            for index, folio in built.items():
                base = index << self._shift
                inside = (max(start, base) - base, min(stop - base, self._folio_size))
                ((begin, finish),) = whole_blocks((inside,), min(self._folio_size, size - base))
                buffers.append(slice_of(folio, begin, finish))
                old = pages.dirty.get(index)
                rest = without_range(old.ranges, begin, finish) if old is not None else ()
                if rest:
                    pages.dirty[index] = Folio(folio.data, WRITTEN | PG_WRITEBACK, rest)
                else:
                    pages.writeback[index] = Folio(folio.data, PG_UPTODATE | PG_WRITEBACK, ((begin, finish),))
                    pages.dirty.pop(index, None)
            self.size = size
            if offset is None:
                self.position = stop
            self._report("write", built, {**pages.writeback, **pages.dirty}, locked=True)
        return Bio(start - start % BLOCK, sum(map(len, buffers)), buffers, atomic)

    def _end_io(self, built: dict[int, Folio]) -> None:
        pages = self.pages
        with self._lock:
            for index in built:
                if index in pages.dirty:
                    pages.dirty[index].clear(PG_WRITEBACK)
            self.design.land({}, self.size, commit=True)
            pages.end_writeback()
            self._report("end_writeback", built, {**pages.clean, **pages.dirty})
