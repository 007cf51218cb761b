"""What readers and writers of an open file see: the cached half of an inode.

The file's size has several owners, each for a purpose of its own. Definitions, in bytes:

- ``size``: what readers see.
- ``_size_min``: the smallest size since the last record; the next record cuts the file to it first.
- ``_recorded_size``: the size that the last record left, a spill's too.
- ``design.committed_size``: the size that the last commit left.

Between any two calls:

Z1. ``_size_min <= _recorded_size`` and ``_size_min <= size``: writes grow the file, and only a cut lowers both.
Z2. ``_size_min < _recorded_size`` exactly while a cut is in no record yet.

When a commit is complete (a cut has to wait for it, a write has not):

Z3. ``_size_min == _recorded_size == committed_size <= size``.
Z4. Of home no more counts than the commit has and than home has, and what has its blocks is part of that (in the design
    with a log: ``allocated_end <= home_bytes_valid <= committed_size`` and ``<= log.left.size``).
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Sequence
from threading import get_ident
from typing import Final, NamedTuple

from untorn.designs.base import Design
from untorn.inode.handle_state import HandleState, State, reentrant
from untorn.pagecache.address_space import WRITTEN, AddressSpace, Data
from untorn.pagecache.folio import Folio
from untorn.storage.interface import StorageFile

_RESERVED_FIRST: Final = 8
"""Folios for which space is reserved at first; doubled each time that it does not do."""

_GROW_AHEAD: Final = 1 << 20
"""How much more than a write needs is reserved at most: for folios that may become dirty next, and for the growth of
those that an appending writer may reach, no more of these than it has dirty."""

RECORDS: Final = 3
"""For which space is reserved: what is on its way, what is dirty then, and the end of the transaction."""

NOTHING: Final = range(0)

_SURE_MEMORY: Final = 1 << 26
"""Bytes for which a read does not ask first whether there is so much memory."""

_DIRTY_MIN: Final = 4
"""Folios that may always be dirty, so that any small write fits."""

SIZE_MAX: Final = (1 << 63) - 1
APPEND: Final = -1
"""As an offset: wherever the file ends when the write is applied."""

_OPEN: Final = State.OPEN


class Write(NamedTuple):
    """What a write call asks for."""

    data: Data
    offset: int | None
    """In bytes; None for the position, APPEND for the end."""
    flags: int = 0
    """RWF flags."""
    lengths: Sequence[int] = ()
    """Of its buffers."""
    store: bool = False
    """Whether it is a store through a mapping, and no call."""


class CachedFile(HandleState, ABC):
    """Reads and writes through the page cache, whole and isolated; space is reserved before it changes."""

    def __init__(
        self, home: StorageFile, design: Design, *, folio_size: int, cache_bytes: int, dirty_bytes: int, append: bool,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(home.shown, design.after_error, timeout)
        self.home = home
        self.design = design
        self.size = design.committed_size
        self.position = 0
        self.pages = AddressSpace(folio_size, max(cache_bytes // folio_size, 1), design.read_folio)
        self._append = append
        self._shift = self.pages.shift
        self._folio_size = folio_size
        self._whole = ((0, folio_size),)
        self._dirty_max = max(min(dirty_bytes // folio_size, design.dirty_max), _DIRTY_MIN)
        self._reserved_folios = 0
        """Folios that may be dirty before space has to be reserved again."""
        self._reserved_usual = _RESERVED_FIRST
        """As many as the last commit had."""
        self._ahead = max(_GROW_AHEAD // folio_size, 1)
        """``_GROW_AHEAD`` in folios."""
        self._reserved_growth = NOTHING
        """Bytes beyond ``allocated_end`` that may be written: home's growth is reserved, and it may be so large."""
        self._to_come = 0, 0
        """Folios and records of a huge write that are still to come."""
        self._size_min = self._recorded_size = self.size
        """The smallest size since the last record, and the size that it left."""
        self._changed = False
        """Whether there is anything to commit."""

    @abstractmethod
    def _write_back_some(self) -> None:
        """Moves dirty data to storage because there is too much of it."""

    @abstractmethod
    def _write_huge(self, call: Write) -> int:
        """A write of more than may be dirty at once."""

    def seek(self, offset: int, whence: int) -> int:
        """Moves the position as ``io.SEEK_SET``, ``SEEK_CUR`` or ``SEEK_END`` says; returns it."""
        with self._state_lock():
            self._check()
            base = (0, self.position, self.size)[whence]
            if base + offset < 0:
                raise OSError(errno.EINVAL, "the position would be before the start", self.home.shown)
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
                raise self._state_error()
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
                if stop - start > _SURE_MEMORY:
                    # A sparse file may be larger than memory. Zeroed memory is not touched, so asking costs nothing.
                    bytes(stop - start)
                data = pages.read(start, stop)
            if offset is None:
                self.position = stop
            return data

    def read_line(self, limit: int) -> bytes:
        """From the position up to and with the next newline, at most ``limit`` bytes; the position moves."""
        with self._state_lock():
            self._check()
            parts = []
            start = self.position
            end = min(start + limit, self.size)
            while start < end:
                stop = min(end, ((start >> self._shift) + 1) << self._shift)
                part = self.pages.read(start, stop)
                newline = part.find(b"\n") + 1
                parts.append(part[:newline] if newline else part)
                start += len(parts[-1])
                if newline:
                    break
            self.position = max(start, self.position)
            return b"".join(parts)

    def peek(self, size: int) -> bytes:
        """At least ``size`` bytes at the position, which does not move, or what is left of the folio; fewer at the end.

        As io.BufferedReader has it, at least one but at the end.
        """
        with self._state_lock():
            self._check()
            start = self.position
            stop = min(max(start + size, ((start >> self._shift) + 1) << self._shift), self.size)
            return self.pages.read(start, stop)

    # Writing

    def write(self, data: Data, offset: int | None = None) -> int:
        """Writes all of ``data`` at ``offset``, or at the position, which moves; or raises and changes nothing.

        At its end if ``offset`` is APPEND, or if the file was opened to append and there is none. OSError:
        ENOSPC, EDQUOT, EFBIG for want of space, EIO if the rest of a partly written folio cannot be read.
        """
        # The fast path: one folio, space for it, nobody else's turn. It makes no call that it can do without.
        lock = self._lock
        if lock._is_owned():  # type: ignore[attr-defined]
            raise reentrant()
        with lock:
            if self.state is not _OPEN:
                raise self._state_error()
            dirty, size, position = self.pages.dirty, self.size, self.position
            start = self._start(offset) if offset is None or offset < 0 else offset
            stop = start + len(data)
            first = start >> self._shift
            if (
                (self._owner is None or self._owner == get_ident())
                and (stop <= self.design.allocated_end or self._growth_is_reserved(start, stop))
                and len(dirty) < self._reserved_folios
                and data
                and first == (stop - 1) >> self._shift
            ):
                if stop - start == self._folio_size and type(data) is bytes:
                    folio = Folio(data, WRITTEN, self._whole)
                else:
                    folio = self.pages.replacement(first, data, start, stop, size)
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
                    self._undo_write({first: before}, size, position)
                    raise
        return self._write_to_cache(Write(data, offset))

    def _write_to_cache(self, call: Write) -> int:
        """The write loop: waits for its turn, gets space, and puts the new folios in, all of them or none."""
        data, offset = call.data, call.offset
        reclaimed = False
        while True:
            try:
                with self._state_lock():
                    self._check()
                    if self._foreign_turn():
                        break
                    start = self._start(offset)
                    stop = start + len(data)
                    if start == stop:
                        return 0
                    self._refuse(call, start, stop)
                    first, last = start >> self._shift, (stop - 1) >> self._shift
                    if not self._must_write_back_first(call) and self._reserve(first, last, stop):
                        return self._apply(call, self._build(call, start, data), start, stop)
                if last - first >= self._dirty_max:
                    return self._write_huge(call)
                self._write_back_some()
            except OSError as error:
                if reclaimed or not self._reclaim(error):
                    raise
                reclaimed = True
        return self._write_in_turn(call)

    def _write_in_turn(self, call: Write) -> int:
        """A write that found another thread's transaction open: it comes after that."""
        try:
            self._await_turn()
            return self._write_to_cache(call)
        finally:
            self._end_turn()

    def _start(self, offset: int | None) -> int:
        if offset is None:
            return self.size if self._append else self.position
        return self.size if offset == APPEND else offset

    # What a kind of inode adds to the loop

    def _refuse(self, call: Write, start: int, stop: int) -> None:
        """Raises if a write of ``[start, stop)`` cannot be."""

    def _must_write_back_first(self, call: Write) -> bool:
        """Whether the write has to wait until what is dirty or in writeback is on disk."""
        return False

    def _build(self, call: Write, start: int, data: Data) -> dict[int, Folio]:
        """New dirty folios for ``data`` at ``start``, all that ``call`` writes or a piece of it, built aside."""
        return self.pages.build(start, data, self.size)

    def _apply(self, call: Write, built: dict[int, Folio], start: int, stop: int) -> int:
        """Puts in the folios of a write of ``[start, stop)``; undone if anything comes between."""
        dirty = self.pages.dirty
        before, size, position = {index: dirty.get(index) for index in built}, self.size, self.position
        self._changed = True
        try:
            dirty.update(built)
            if stop > size:
                self.size = stop
            if call.offset is None:
                self.position = stop
            return stop - start
        except BaseException:
            self._undo_write(before, size, position)
            raise

    def _undo_write(self, folios: dict[int, Folio | None], size: int, position: int) -> None:
        """Undoes a write of which its caller does not hear."""
        for index, folio in folios.items():
            if folio is None:
                self.pages.dirty.pop(index, None)
            else:
                self.pages.dirty[index] = folio
        self.size, self.position = size, position

    # Space

    def _reserve(self, first: int, last: int, stop: int) -> bool:
        """Reserves space for folios ``first`` to ``last`` to become dirty; False if others must go first."""
        if stop > SIZE_MAX:
            raise OSError(errno.EFBIG, "the file would be too large", self.home.shown)
        dirty = self.pages.dirty
        wanted = len(dirty) + sum(index not in dirty for index in range(first, last + 1))
        if wanted > self._dirty_max:
            return False
        room = min(max(wanted, 2 * self._reserved_folios, self._reserved_usual), wanted + self._ahead, self._dirty_max)
        begin = first << self._shift
        try:
            if stop <= self.design.allocated_end or self._growth_is_reserved(begin, stop):
                self._reserve_space(NOTHING, room, wanted)
            else:
                self._forget_ahead()
                ahead = (last + min(len(dirty), self._ahead) + 1) << self._shift
                try:
                    self._reserve_space(range(begin, ahead), room, room)
                except OSError:
                    self._reserve_space(range(begin, stop), room, wanted)
        except BaseException:
            self._release_unused()
            raise
        return True

    def _reserve_space(self, growth: range, room: int, wanted: int) -> None:
        """Space for ``room`` dirty folios, or at least for ``wanted``, and for home to grow by these bytes."""
        try:
            if growth:
                folios = self._folios(growth)
                self.design.reserve_growth(folios[0], folios[-1], growth.stop)
            self._reserved_folios = self._reserve_folios(room, wanted)
            if growth:
                self._reserved_growth = growth
        except BaseException:
            self._release_growth(self._folios(growth))
            raise

    def _reserve_folios(self, room: int, wanted: int) -> int:
        more, records = self._to_come
        more += len(self.pages.writeback)
        try:
            self.design.reserve(room + more, RECORDS + records)
            return room
        except OSError:
            if room == wanted:
                raise
        self.design.reserve(wanted + more, RECORDS + records)
        return wanted

    def _growth_is_reserved(self, start: int, stop: int) -> bool:
        """Whether home may grow by these bytes."""
        return start in self._reserved_growth and stop <= self._reserved_growth.stop

    def _folios(self, span: range) -> range:
        """The folios of these bytes."""
        return range(span.start >> self._shift, ((span.stop - 1) >> self._shift) + 1)

    def _forget_ahead(self) -> None:
        """What was asked for ahead and not written is not going to be."""
        span, self._reserved_growth = self._reserved_growth, NOTHING
        self._release_growth(self._folios(span))

    def _release_growth(self, folios: range) -> None:
        """Home need not grow for those of these folios of which nothing beyond ``allocated_end`` is to be written."""
        dirty, writeback, blocks = self.pages.dirty, self.pages.writeback, self.design.blocks

        def idle(index: int) -> bool:
            ranges = dirty[index].ranges if index in dirty else ()
            return index not in writeback and not (ranges and (index << self._shift) + ranges[-1][1] > blocks)

        self.design.release_growth([index for index in folios if idle(index)])

    def _release_unused(self) -> None:
        """Gives back what is reserved and not needed for what is dirty or on its way now."""
        self._reserved_folios = min(self._reserved_folios, len(self.pages.dirty) + self._ahead)
        self.design.retain_reservation(*self._owed(self._reserved_folios))

    def _owed(self, room: int) -> tuple[int, int]:
        """Folios, of which ``room`` may be dirty, and records that are to be written."""
        pages = self.pages
        dirty = max(room, len(pages.dirty))
        folios, records = self._to_come
        if dirty or self._size_min < self._recorded_size:
            records += 2
        elif self._changed:
            records += 1
        if pages.writeback:
            folios += len(pages.writeback)
            records += 1
        return dirty + folios, records

    def _assert_sizes(self) -> None:
        """Z3, and with it Z1."""
        sizes = self._size_min, self._recorded_size, self.design.committed_size
        assert len(set(sizes)) == 1, f"Z3: three owners of the committed size say {sizes}"
        assert sizes[0] <= self.size, f"Z1: the file has {self.size} bytes, and had never less than {sizes[0]}"

    def assert_space(self) -> None:
        """Asserts that just what is needed is reserved; between two calls. Looks at everything, so it is for tests."""
        most = max(self._reserved_folios, len(self.pages.dirty)) + len(self.pages.writeback)
        self.design.assert_space(
            {**self.pages.writeback, **self.pages.dirty},
            self._folios(self._reserved_growth),
            self._owed(0),
            (most, RECORDS),
        )

    @abstractmethod
    def _reclaim(self, error: OSError) -> bool:
        """If ``error`` is for want of space: whether it was worth while to make some, so that all is tried again."""
