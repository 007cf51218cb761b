"""One open file: reads, writes, truncates, transactions, commits, and what happens when something fails.

States, and the one function for each transition::

    OPEN --_fail--> FAILED --close--> CLOSED          FORKED: the same object in a forked child
    OPEN --close--> CLOSED

Locks, in the order in which they are taken: ``_committing`` (one spill, commit, cut, rollback or checkpoint at
a time) and ``_lock`` (what readers and writers see; short). Storage is written and synced under the first alone,
so that readers and writers go on meanwhile. Neither is re-entered from outside: a finaliser or signal handler
that comes back in gets ReentrantError instead of a deadlock.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple

from untorn.designs.base import Design, Savepoint
from untorn.errors import CheckpointError, FailedError, ReentrantError, TransactionError
from untorn.log.ondisk import EXTENTS_MAX, PAYLOAD_MAX
from untorn.pagecache.address_space import WRITTEN, AddressSpace, Data
from untorn.pagecache.folio import RANGES_MAX, Folio
from untorn.storage.api import StorageFile

_ROOM_FIRST: Final = 8
"""Folios for which space is reserved at first; doubled each time that it does not do."""

_DIRTY_MIN: Final = 4
"""Folios that may always be dirty, so that any small write fits."""

SIZE_MAX: Final = (1 << 63) - 1
APPEND: Final = -1
"""As an offset: wherever the file ends when the write is applied."""


class State(Enum):
    OPEN = "open"
    FAILED = "failed"
    FORKED = "forked"
    CLOSED = "closed"


_OPEN: Final = State.OPEN


class _Level(NamedTuple):
    """What a rollback goes back to."""

    savepoint: Savepoint
    size: int
    position: int
    opener: int


class Inode:
    """All of a handle but its manners; thread-safe."""

    def __init__(
        self, home: StorageFile, design: Design, *, folio_size: int, cache_bytes: int,
        dirty_bytes: int, append: bool = False, commit_writes: bool = False, readonly: bool = False,
    ) -> None:  # fmt: skip
        """``commit_writes``: any prefix of the writes is a legal commit, so a spill may commit."""
        self.home = home
        self.design = design
        self.state = State.OPEN
        self.size = design.committed_size
        self.position = 0
        self.levels: list[_Level] = []
        self.commits = 0
        self.readonly = readonly
        self._append = append
        self._commit_writes = commit_writes
        self._cause: BaseException | None = None
        self._committing = threading.RLock()
        self._lock = threading.RLock()
        self.pages = AddressSpace(folio_size, max(cache_bytes // folio_size, 1), design.read_folio)
        self._shift = self.pages.shift
        self._folio_size = folio_size
        self._whole = ((0, folio_size),)
        limits = dirty_bytes // folio_size, PAYLOAD_MAX // folio_size, EXTENTS_MAX // RANGES_MAX
        self._dirty_max = max(min(limits), _DIRTY_MIN)
        self._room = 0
        self._size_min = self.size
        self._recorded_size = self.size
        """The size that the last record left, from which the next one cuts."""
        self._changed = False
        self._admitted = -1
        """A folio beyond the dense part whose growth is reserved."""
        self._base = self._level()

    # Reading

    def read(self, length: int, offset: int | None = None) -> bytes:
        """At most ``length`` bytes from ``offset``, or from the position, which moves; fewer only at the end."""
        lock = self._lock
        if lock._is_owned():  # type: ignore[attr-defined]
            raise _reentrant()
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
            raise _reentrant()
        while True:
            with lock:
                if self.state is not _OPEN:
                    raise self._refusal()
                start = self._start(offset) if offset is None or offset < 0 else offset
                stop = start + len(data)
                first, last = start >> self._shift, (stop - 1) >> self._shift
                admitted = stop <= self.design.dense or first == self._admitted
                if first == last and admitted and len(self.pages.dirty) < self._room and data:
                    if stop - start == self._folio_size and type(data) is bytes:
                        folio = Folio(data, WRITTEN, self._whole)
                    else:
                        folio = self.pages.replacement(first, data, start, stop, self.size)
                    dirty, before, size, position = self.pages.dirty, None, self.size, self.position
                    try:
                        before = dirty.get(first)
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
                    return self._apply(data, start, stop, offset)
            if last - first >= self._dirty_max:
                return self._write_huge(data, offset)
            self._relieve()

    def _start(self, offset: int | None) -> int:
        if offset is None:
            return self.size if self._append else self.position
        return self.size if offset == APPEND else offset

    def _apply(self, data: Data, start: int, stop: int, offset: int | None) -> int:
        """A write to any folios: the new ones are built aside, then put in; undone if anything comes between."""
        dirty = self.pages.dirty
        built = self.pages.build(start, data, self.size)
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
        room = min(max(wanted, 2 * self._room, _ROOM_FIRST), self._dirty_max)
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
        """Sees to home's new blocks, for all of the last folio if it may grow so far, so that appends ask once."""
        try:
            self.design.grow(first, last, (last + 1) << self._shift)
            self._admitted = last
        except OSError:
            self._admitted = -1
            self.design.grow(first, last, stop)

    def _relieve(self) -> None:
        """Moves dirty data to storage because there is too much of it."""
        if self._commit_writes and not self.levels:
            self.commit(durable=False)
            return
        with self._exclusive():
            self._check()
            if self.pages.dirty:
                self._write_back(commit=False)

    def _write_huge(self, data: Data, offset: int | None) -> int:
        """A write of more than may be dirty: spilled piece by piece, rolled back as a whole if one fails."""
        step = self._dirty_max // 2 << self._shift
        view = memoryview(data)
        with self._exclusive(), self._lock:
            self._check()
            start = self._start(offset)
            level = self._mark()
            try:
                for at in range(0, len(view), step):
                    piece = view[at : at + step]
                    stop = start + at + len(piece)
                    if not self._admit((start + at) >> self._shift, (stop - 1) >> self._shift, stop):
                        self._write_back(commit=False)
                        self._admit((start + at) >> self._shift, (stop - 1) >> self._shift, stop)
                    self._apply(piece, start + at, stop, offset)
                return len(view)
            except BaseException:
                if self.state is State.OPEN:
                    self._roll_back(level)
                raise

    def truncate(self, size: int) -> None:
        """Cuts the file to ``size`` bytes, or extends it with zeros."""
        with self._exclusive(), self._lock:
            self._check()
            if size == self.size:
                return
            if size > self.size:
                self.home.check_size(size)
            self.design.reserve(max(len(self.pages.dirty), self._room))
            before = self.pages.dirty, self.size, self._size_min
            savepoint = self.design.savepoint()
            try:
                self._changed = True
                if size < self.size:
                    self.design.cut(size)
                    self.pages.truncate(size)
                    self._size_min = min(self._size_min, size)
                self.size = size
            except BaseException:
                self.pages.dirty, self.size, self._size_min = before
                self.design.rollback(savepoint)
                raise

    def seek(self, offset: int, whence: int) -> int:
        """Moves the position as ``io.SEEK_SET``, ``SEEK_CUR`` or ``SEEK_END`` says; returns it."""
        with self._state():
            self._check()
            base = (0, self.position, self.size)[whence]
            if base + offset < 0:
                raise OSError(errno.EINVAL, "the position would be before the start", self.home.path)
            self.position = base + offset
            return self.position

    # Commit

    def commit(self, *, durable: bool) -> None:
        """What was written so far is the state that a crash returns to; if ``durable``, from now on for sure."""
        with self._exclusive():
            self._check()
            if self.levels:
                raise TransactionError("a transaction is open; it commits when its block ends")
            if self._changed:
                self._write_back(commit=True)
            if durable:
                with self._failing():
                    self.design.sync()
            if self.design.checkpoint_due():
                try:
                    self._checkpoint()
                except CheckpointError:
                    # The commit stands and the log is kept; it grows until there is space or a write says ENOSPC.
                    pass

    def _write_back(self, *, commit: bool) -> None:
        """Dirty data to storage. On any failure, an interrupt too, the handle is out of work."""
        with self._failing():
            with self._lock:
                folios = self.pages.start_writeback()
                size, size_min = self.size, self._size_min
                self._size_min = self._recorded_size = size
                self._room = 0
                self._changed = False
            written = self.design.write(folios, size, size_min, commit=commit)
            with self._lock:
                self.design.land(written, size, commit=commit)
                self.pages.end_writeback()
                if commit:
                    self.commits += 1
                    self._base = self._level(size)
                else:
                    self._changed = True

    def _checkpoint(self) -> None:
        try:
            self.design.checkpoint(self.pages.peek_clean)
            with self._lock:
                self.design.finish_checkpoint()
                self._base = self._level(self.design.committed_size)
        except CheckpointError:
            raise
        except BaseException as error:
            self._fail(error)
            raise

    # Transactions

    def begin(self) -> int:
        """Opens a transaction, or a savepoint within one; returns its depth."""
        with self._exclusive(), self._lock:
            self._check()
            self.levels.append(self._mark())
            return len(self.levels)

    def end(self, depth: int, *, keep: bool) -> bool:
        """Ends the transaction of this depth; returns whether it was the outermost one."""
        with self._exclusive(), self._lock:
            if self.state is not _OPEN or len(self.levels) < depth:
                if keep:
                    raise self._refusal() if self.state is not _OPEN else TransactionError(_OUTER_ENDED)
                return depth == 1
            level = self.levels[depth - 1]
            if level.opener != threading.get_ident():
                raise TransactionError("only the thread that opened a transaction ends it")
            inner = len(self.levels) > depth
            if inner or not keep:
                self._roll_back(level)
            del self.levels[depth - 1 :]
            if inner and keep:
                raise TransactionError("a transaction inside this one had not ended; both were rolled back")
            return depth == 1

    def rollback(self) -> None:
        """Back to the last commit."""
        with self._exclusive(), self._lock:
            self._check()
            if self.levels:
                raise TransactionError("a transaction is open; it rolls back when its block raises")
            self._roll_back(self._base)

    def _mark(self) -> _Level:
        """A state to roll back to; what is dirty goes to the log first, so that it need not be remembered."""
        if self.pages.dirty or self._size_min < self._recorded_size:
            self._write_back(commit=False)
        return self._level()

    def _roll_back(self, level: _Level) -> None:
        """Puts back the state of ``level``; memory only, so it cannot fail."""
        if self.design.savepoint().records != level.savepoint.records:
            self.pages.clean.clear()
        self.pages.dirty = {}
        self.design.rollback(level.savepoint)
        self.size = self._size_min = self._recorded_size = level.size
        self.position = level.position
        self._room = 0
        self._admitted = -1
        self._changed = level is not self._base

    def _level(self, size: int | None = None) -> _Level:
        size = self.size if size is None else size
        return _Level(self.design.savepoint(), size, self.position, threading.get_ident())

    # The end

    def close(self, *, commit: bool, speak: bool = True) -> None:
        """Commits or rolls back what is open, moves everything home, and leaves one ordinary file.

        A handle out of work only lets go, and if it is to ``speak``, says so again. CheckpointError if home has no
        space: then the log stays. Whatever is raised, the handle is closed.
        """
        if self.readonly or self.state in (State.CLOSED, State.FORKED):
            self._release()
            return
        with self._exclusive():
            if self.state is State.FAILED:
                refusal = self._refusal()
                self._release()
                if speak:
                    raise refusal
                return
            try:
                unended = bool(self.levels)
                self.levels.clear()
                if unended or not commit:
                    with self._lock:
                        self._roll_back(self._base)
                if self._changed:
                    self._write_back(commit=True)
                if commit:
                    with self._failing():
                        self.design.sync()
                self._checkpoint()
                self.design.remove()
            finally:
                self._release()
            if unended and speak:
                raise TransactionError("closed within a transaction, which was rolled back")

    def _release(self) -> None:
        if self.state is not State.FORKED:
            self.state = State.CLOSED
        self.design.release()
        self.home.close()
        self.pages.clean.clear()
        self.pages.dirty = {}

    def forked(self) -> None:
        """In a forked child: the file is the parent's; here it only lets go."""
        self.state = State.FORKED
        self._lock = threading.RLock()
        self._committing = threading.RLock()

    @property
    def busy(self) -> bool:
        """Whether this very thread is inside a call on this file."""
        return self._lock._is_owned() or self._committing._is_owned()  # type: ignore[attr-defined, no-any-return]

    def stats(self) -> dict[str, int]:
        """Counters by name; sizes in bytes."""
        pages = self.pages
        return {
            "commits": self.commits,
            "folios_clean": len(pages.clean),
            "folios_dirty": len(pages.dirty),
            "folios_loaded": pages.loads,
            **self.design.stats(),
        }

    # Locks and failure

    def _state(self) -> Any:
        if self._lock._is_owned():  # type: ignore[attr-defined]
            raise _reentrant()
        return self._lock

    def _exclusive(self) -> Any:
        if self.busy:
            raise _reentrant()
        return self._committing

    def _check(self) -> None:
        if self.state is not _OPEN:
            raise self._refusal()

    def _failing(self) -> _Failing:
        return _Failing(self._fail)

    def _fail(self, error: BaseException) -> None:
        if self.state is State.OPEN:
            self.state = State.FAILED
            self._cause = error
            error.add_note(
                f"untorn: {self.home.path!r} is whole on disk, as of its last commit or of the one that failed; "
                "this handle refuses further work, reopen the file"
            )

    def _refusal(self) -> Exception:
        if self.state is State.CLOSED:
            return ValueError("I/O operation on closed file.")
        if self.state is State.FORKED:
            return ValueError("this file belongs to the parent process; open it anew")
        error = FailedError(
            f"an earlier error ({self._cause!r}) put this handle out of work. The file is whole on disk, as of its "
            "last commit or of the one that failed; reopen it",
            self.home.path,
        )
        error.__cause__ = self._cause
        return error


class _Failing:
    """A block whose every failure is final for the handle."""

    __slots__ = ("_fail",)

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._fail(error)


_OUTER_ENDED: Final = "the transaction around this one has ended already; this one was rolled back with it"


def _reentrant() -> ReentrantError:
    return ReentrantError(
        "a finaliser or signal handler used a file that its own thread is working on; nothing was done"
    )
