"""A file whose write calls do their I/O before they return."""

from __future__ import annotations

import errno
import os

from untorn.designs.bio import Bio, slice_of, whole_blocks
from untorn.inode.cached import SIZE_MAX, Write
from untorn.kernel_designs.in_place_inode import InPlaceInode
from untorn.pagecache.address_space import WRITTEN
from untorn.pagecache.folio import PG_UPTODATE, PG_WRITEBACK, Folio, without_range
from untorn.sizes import BLOCK
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, Buffer


class ThroughInode(InPlaceInode):
    """As InPlaceInode, with one bio per write call. Only stores through a mapping leave dirty folios behind."""

    def _write(self, call: Write) -> int:
        """OSError of the checks and ENOSPC: nothing changed. Of the I/O itself: the handle is out of work."""
        durable = call.flags & (RWF_DSYNC | RWF_SYNC)
        with self._commit_mutex():  # and so nothing else is in writeback
            with self._lock:
                self._check()
                start = self._start(call.offset)
                stop = start + len(call.data)
                if start == stop:
                    return 0
                self._refuse(call, start, stop)
                if stop > SIZE_MAX:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), self.home.path)
                if stop > self.design.allocated_end:
                    self.design.reserve_growth(start >> self._shift, (stop - 1) >> self._shift, stop)
                built = self._build(call, start, call.data)
            try:
                bio = self._start_io(built, start, stop, call)
                self.design.submit(bio, durable)
                self.design.set_size(self.size)
                if durable:
                    self.design.sync()  # a truncate before it is part of the commit, too
                self._complete_io(built)
            except BaseException as error:
                self._poison(error)
                raise
        return stop - start

    def _start_io(self, built: dict[int, Folio], start: int, stop: int, call: Write) -> Bio:
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
            if call.offset is None:
                self.position = stop
            self._report("write", built, {**pages.writeback, **pages.dirty}, locked=True)
        return Bio(start - start % BLOCK, sum(map(len, buffers)), buffers, bool(call.flags & RWF_ATOMIC))

    def _make_durable(self) -> None:
        """What asked for it is durable when its write returns."""

    def _complete_io(self, built: dict[int, Folio]) -> None:
        pages = self.pages
        with self._lock:
            for index in built:
                if index in pages.dirty:
                    pages.dirty[index].clear(PG_WRITEBACK)
            self.design.complete_write({}, self.size, commit=True)
            pages.end_writeback()
            self._report("end_writeback", built, {**pages.clean, **pages.dirty})
