"""What readers and writers of an open file see: the cached half of an inode."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from typing import Final

from untorn.designs.base import Design
from untorn.inode.guarded import Guarded, State, reentrant
from untorn.log.ondisk import EXTENTS_MAX, PAYLOAD_MAX
from untorn.pagecache.address_space import WRITTEN, AddressSpace, Data
from untorn.pagecache.folio import RANGES_MAX, Folio
from untorn.storage.api import StorageFile

_ROOM_FIRST: Final = 8
"""Folios for which space is reserved at first; doubled each time that it does not do."""

_AHEAD: Final = 63
"""Folios for whose growth an appending writer asks ahead, at most; and no more than it has dirty."""

NOTHING: Final = (0, -1)

_DIRTY_MIN: Final = 4
"""Folios that may always be dirty, so that any small write fits."""

SIZE_MAX: Final = (1 << 63) - 1
APPEND: Final = -1
"""As an offset: wherever the file ends when the write is applied."""

_OPEN: Final = State.OPEN


class CachedFile(Guarded, ABC):
    """Reads and writes through the page cache, whole and isolated; space is reserved before it changes."""

    def __init__(
        self, home: StorageFile, design: Design, *, folio_size: int, cache_bytes: int, dirty_bytes: int, append: bool
    ) -> None:
        super().__init__(home.path, design.after_error)
        self.home = home
        self.design = design
        self.size = design.committed_size
        self.position = 0
        self.pages = AddressSpace(folio_size, max(cache_bytes // folio_size, 1), design.read_folio)
        self._append = append
        self._shift = self.pages.shift
        self._folio_size = folio_size
        self._whole = ((0, folio_size),)
        # One less than a record has room for: the design may add a block.
        limits = dirty_bytes // folio_size, PAYLOAD_MAX // folio_size - 1, EXTENTS_MAX // RANGES_MAX - 1
        self._dirty_max = max(min(limits), _DIRTY_MIN)
        self._room = 0
        """Folios that may be dirty before space has to be reserved again."""
        self._room_usual = _ROOM_FIRST
        """As many as the last commit had."""
        self._admitted = NOTHING
        """First and last of folios beyond the dense part whose growth is reserved."""
        self._changed = False
        """Whether there is anything to commit."""

    @abstractmethod
    def _relieve(self) -> None:
        """Moves dirty data to storage because there is too much of it."""

    @abstractmethod
    def _write_huge(self, data: Data, offset: int | None) -> int:
        """A write of more than may be dirty at once."""

    def seek(self, offset: int, whence: int) -> int:
        """Moves the position as ``io.SEEK_SET``, ``SEEK_CUR`` or ``SEEK_END`` says; returns it."""
        with self._short():
            self._check()
            base = (0, self.position, self.size)[whence]
            if base + offset < 0:
                raise OSError(errno.EINVAL, "the position would be before the start", self.home.path)
            self.position = base + offset
            return self.position

    # Reading

    def read(self, length: int, offset: int | None = None) -> bytes:
        """At most ``length`` bytes from ``offset``, or from the position, which moves; fewer only at the end."""
        lock = self._lock
        if lock._is_owned():  # type: ignore[attr-defined]
            raise reentrant()
        with lock:
            if self.state is not _OPEN:
                raise self._refusal()
            start = self.position if offset is None else offset
            stop = min(start + length, self.size)
            if stop <= start:
                return b""
            pages = self.pages
            index = start >> self._shift
            if index == (stop - 1) >> self._shift:
                data = (pages.dirty.get(index) or pages.folio(index)).data
                base = index << self._shift
                if stop - start != len(data) or start != base:
                    data = data[start - base : stop - base]
                    if len(data) < stop - start:
                        data = data.ljust(stop - start, b"\0")
            else:
                data = pages.read(start, stop)
            if offset is None:
                self.position = stop
            return data

    # Writing

    def write(self, data: Data, offset: int | None = None) -> int:
        """Writes all of ``data`` at ``offset``, or at the position, which moves; or raises and changes nothing.

        At its end if ``offset`` is APPEND, or if the file was opened to append and there is none. OSError:
        ENOSPC, EDQUOT, EFBIG for want of space, EIO if the rest of a partly written folio cannot be read.
        """
        lock = self._lock
        if lock._is_owned():  # type: ignore[attr-defined]
            raise reentrant()
        while True:
            with lock:
                if self.state is not _OPEN:
                    raise self._refusal()
                start = self._start(offset) if offset is None or offset < 0 else offset
                stop = start + len(data)
                first, last = start >> self._shift, (stop - 1) >> self._shift
                known = stop <= self.design.dense or self._admitted[0] <= first <= self._admitted[1]
                room = known and len(self.pages.dirty) < self._room
                if first == last and data and (room or self._admit(first, last, stop)):
                    if stop - start == self._folio_size and type(data) is bytes:
                        folio = Folio(data, WRITTEN, self._whole)
                    else:
                        folio = self.pages.replacement(first, data, start, stop, self.size)
                    dirty, size, position = self.pages.dirty, self.size, self.position
                    before = dirty.get(first)
                    try:
                        self._changed = True
                        dirty[first] = folio
                        if stop > size:
                            self.size = stop
                        if offset is None:
                            self.position = stop
                        return stop - start
                    except BaseException:
                        self._put_back({first: before}, size, position)
                        raise
                if start == stop:
                    return 0
                if self._admit(first, last, stop):
                    return self._apply(self._build(start, data), start, stop, offset)
            if last - first >= self._dirty_max:
                return self._write_huge(data, offset)
            self._relieve()

    def _start(self, offset: int | None) -> int:
        if offset is None:
            return self.size if self._append else self.position
        return self.size if offset == APPEND else offset

    def _build(self, start: int, data: Data) -> dict[int, Folio]:
        """New dirty folios for ``data`` at ``start``, built aside."""
        return self.pages.build(start, data, self.size)

    def _apply(self, built: dict[int, Folio], start: int, stop: int, offset: int | None) -> int:
        """Puts in the folios of a write of ``[start, stop)``; undone if anything comes between."""
        dirty = self.pages.dirty
        before, size, position = {index: dirty.get(index) for index in built}, self.size, self.position
        self._changed = True
        try:
            dirty.update(built)
            if stop > size:
                self.size = stop
            if offset is None:
                self.position = stop
            return stop - start
        except BaseException:
            self._put_back(before, size, position)
            raise

    def _put_back(self, folios: dict[int, Folio | None], size: int, position: int) -> None:
        """Undoes a write of which its caller does not hear."""
        for index, folio in folios.items():
            if folio is None:
                self.pages.dirty.pop(index, None)
            else:
                self.pages.dirty[index] = folio
        self.size, self.position = size, position

    def _admit(self, first: int, last: int, stop: int) -> bool:
        """Reserves space for folios ``first`` to ``last`` to become dirty; False if others must go first."""
        if stop > SIZE_MAX:
            raise OSError(errno.EFBIG, "the file would be too large", self.home.path)
        wanted = len(self.pages.dirty) + last - first + 1
        if wanted > self._dirty_max:
            return False
        if stop > self.design.dense:
            self._grow(first, last, stop)
        room = min(max(wanted, 2 * self._room, self._room_usual), self._dirty_max)
        in_flight = len(self.pages.writeback)
        try:
            self.design.reserve(room + in_flight)
        except OSError:
            if room == wanted:
                raise
            room = wanted
            self.design.reserve(room + in_flight)
        self._room = room
        return True

    def _grow(self, first: int, last: int, stop: int) -> None:
        """Sees to home's new blocks, and if the file may grow so far for some more, so that appends seldom ask."""
        ahead = last + min(len(self.pages.dirty), _AHEAD)
        try:
            self.design.grow(first, ahead, (ahead + 1) << self._shift)
            self._admitted = first, ahead
        except OSError:
            self._admitted = NOTHING
            self.design.grow(first, last, stop)
