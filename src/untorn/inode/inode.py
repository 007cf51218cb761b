"""One open file: commits, spills, truncates, transactions and the end."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from untorn.designs.base import Design, Savepoint
from untorn.errors import CheckpointError, TransactionError
from untorn.inode.cached import APPEND, NOTHING, RECORDS, SIZE_MAX, CachedFile
from untorn.inode.guarded import State
from untorn.log.space import NO_SPACE
from untorn.pagecache.address_space import Data
from untorn.pagecache.atomic import block_states
from untorn.pagecache.folio import Folio
from untorn.pagecache.observer import Observer, Step
from untorn.storage.api import RWF_APPEND, RWF_DSYNC, RWF_SYNC, StorageFile


class _Level(NamedTuple):
    """What a rollback goes back to."""

    savepoint: Savepoint
    size: int
    position: int
    opener: int
    changed: bool
    """Whether it differs from the last commit."""


class Inode(CachedFile):
    """All of a handle but its manners; thread-safe."""

    def __init__(
        self, home: StorageFile, design: Design, *, folio_size: int, cache_bytes: int,
        dirty_bytes: int, append: bool = False, commit_writes: bool = False, readonly: bool = False,
    ) -> None:  # fmt: skip
        """``commit_writes``: any prefix of the writes is a legal commit, so a spill may commit."""
        super().__init__(
            home, design, folio_size=folio_size, cache_bytes=cache_bytes, dirty_bytes=dirty_bytes, append=append
        )
        self.levels: list[_Level] = []
        self.commits = 0
        self.readonly = readonly
        self._commit_writes = commit_writes
        self._observer: Observer | None = None
        self._base = self._level()

    def write_flagged(self, buffers: Sequence[Data], offset: int | None, flags: int) -> int:
        """A write with RWF flags, which are known ones. RWF_ATOMIC is what every write is."""
        durable = flags & (RWF_DSYNC | RWF_SYNC)
        if durable and self.levels:
            raise TransactionError("a write cannot be durable before the transaction around it ends")
        write = self.write if self._observer is None else self.write_observed
        written = write(joined(buffers), APPEND if flags & RWF_APPEND else offset)
        if durable:
            self.commit(durable=True)
        return written

    # For an observer

    def observe(self, observer: Observer | None) -> None:
        """Tells ``observer`` of each step from now on; the handle must then write by ``write_observed``."""
        self._observer = observer
        self.design.observe(observer)

    def write_observed(self, data: Data, offset: int | None = None) -> int:
        """As write, told to the observer."""
        with self._short():
            start = self._start(offset)
        written = self.write(data, offset)
        if written:
            touched = range(start >> self._shift, ((start + written - 1) >> self._shift) + 1)
            self._report("write", touched, self.pages.dirty, locked=True)
        return written

    def _report(self, event: str, indices: Iterable[int], folios: Mapping[int, Folio], *, locked: bool = False) -> None:
        if self._observer is None:
            return
        for index in indices:
            folio = folios.get(index)
            if folio is not None:
                flags = f"locked|{folio}" if locked else str(folio)
                blocks = block_states(folio, self._folio_size)
                self._observer(Step(event, index, flags, blocks, index << self._shift, self._folio_size))

    # Writing to storage

    def _relieve(self) -> None:
        """Moves dirty data to storage because there is too much of it."""
        if self._commit_writes and not self.levels:
            self.commit(durable=False)
            return
        with self._exclusive():
            self._check()
            if self.pages.dirty:
                self._spill()

    def _write_huge(self, data: Data, offset: int | None) -> int:
        """A write of more than may be dirty: spilled piece by piece, rolled back as a whole if one fails."""
        step = self._dirty_max // 2 << self._shift
        view = memoryview(data)
        with self._exclusive(), self._lock:
            self._check()
            start = self._start(offset)
            stop = start + len(view)
            level = None
            try:
                self._admit_huge(start, stop, step)
                level = self._mark()
                for at in range(start, stop, step):
                    end = min(at + step, stop)
                    last = (end - 1) >> self._shift
                    if len(self.pages.dirty) + last - (at >> self._shift) >= self._dirty_max:
                        self._spill()
                    self._to_come = _pieces(last, (stop - 1) >> self._shift, end, stop, step)
                    self._admit(at >> self._shift, last, end)
                    self._apply(self._build(at, view[at - start : end - start]), at, end, offset)
                return len(view)
            except BaseException:
                self._to_come = 0, 0
                if level is None:
                    self._retain()
                elif self.state is State.OPEN:
                    self._roll_back(level)
                raise

    def _admit_huge(self, start: int, stop: int, step: int) -> None:
        """Reserves for all of it, so that ENOSPC comes before any of it takes space in the log."""
        first, last = start >> self._shift, (stop - 1) >> self._shift
        if stop > SIZE_MAX:
            raise OSError(errno.EFBIG, "the file would be too large", self.home.path)
        self._to_come = _pieces(first - 1, last, start, stop, step)
        self._forget_ahead()
        growth = range(first << self._shift, stop) if stop > self.design.dense else NOTHING
        self._reserve(growth, len(self.pages.dirty), len(self.pages.dirty))

    def truncate(self, size: int) -> int:
        """Cuts the file to ``size`` bytes, or extends it with zeros; returns the size."""
        try:
            return self._truncate(size)
        except OSError as error:
            if not self._reclaim(error):
                raise
        return self._truncate(size)

    def _truncate(self, size: int) -> int:
        with self._exclusive(), self._lock:
            self._check()
            if size == self.size:
                return size
            if size > self.size:
                self.home.check_size(size)
            self.design.reserve(max(len(self.pages.dirty), self._room), RECORDS)
            before = self.pages.dirty, self.size, self._size_min
            savepoint = self.design.savepoint()
            try:
                self._changed = True
                if size < self.size:
                    self._forget_ahead()
                    self.design.cut(size)
                    self.pages.truncate(size)
                    last = size >> self._shift
                    self._ungrow(range(last, last + 1))
                    self._size_min = min(self._size_min, size)
                self.size = size
                self._retain()
                return size
            except BaseException as error:
                self.pages.dirty, self.size, self._size_min = before
                self.design.rollback(savepoint)
                self._reserve_again(error)
                raise

    def _reserve_again(self, error: BaseException) -> None:
        """For what is dirty again; if what was given back is gone, the handle is out of work."""
        try:
            for index in self.pages.dirty:
                self.design.grow(index, index, 0)
            self.design.reserve(*self._owed(self._room))
        except OSError:
            self._fail(error)

    # Commit

    def commit(self, *, durable: bool) -> None:
        """What was written so far is the state that a crash returns to; if ``durable``, from now on for sure."""
        with self._exclusive():
            self._check()
            if self.levels:
                raise TransactionError("a transaction is open; it commits when its block ends")
            self._commit(durable=durable)

    def flush(self) -> None:
        """A durable commit, unless a transaction is open: then nothing."""
        with self._exclusive():
            self._check()
            if not self.levels:
                self._commit(durable=True)

    def _commit(self, *, durable: bool) -> None:
        try:
            if self._changed:
                self._write_back(commit=True, durable=durable)
            if durable:
                self.design.sync()
        except BaseException as error:
            self._fail(error)
            raise
        if self.design.checkpoint_due():
            try:
                self._checkpoint()
            except CheckpointError:
                # The commit stands and the log is kept; it grows until there is space or a write says ENOSPC.
                pass

    def _spill(self) -> None:
        """Dirty data to the log, uncommitted. On any failure, an interrupt too, the handle is out of work."""
        try:
            self._write_back(commit=False)
        except BaseException as error:
            self._fail(error)
            raise

    def _write_back(self, *, commit: bool, durable: bool = False) -> None:
        """Dirty data to storage; any failure is final for the handle."""
        with self._lock:
            folios = self.pages.start_writeback()
            size, size_min, room = self.size, self._size_min, self._room
            self._size_min = self._recorded_size = size
            self._room = 0
            self._room_usual = len(folios) + 1
            self._changed = False
        self._report("writeback", folios, folios)
        written = self.design.write(folios, size, size_min, commit=commit, durable=durable)
        with self._lock:
            self.design.land(written, size, commit=commit)
            self.pages.end_writeback()
            self._report("end_writeback", folios, folios)
            if not self.pages.dirty and self.design.covers(room, RECORDS):
                self._room = room
            if commit:
                self.commits += 1
                self._base = self._level(size)
            else:
                self._changed = True
            self._retain()

    def _checkpoint(self) -> None:
        try:
            with self._lock:
                self._room = len(self.pages.dirty)
                self._retain()
            self.design.checkpoint(self.pages.peek_clean)
            with self._lock:
                self.design.finish_checkpoint(self.pages.dirty)
                self._admitted = NOTHING
                self._base = self._level(self.design.committed_size)._replace(position=self._base.position)
                self._retain()
        except CheckpointError:
            raise
        except BaseException as error:
            self._fail(error)
            raise

    def _reclaim(self, error: OSError) -> bool:
        if error.errno not in NO_SPACE:
            return False
        with self._exclusive():
            if self.state is not State.OPEN or self.levels or not self.design.reclaimable():
                return False
            try:
                self._checkpoint()
            except CheckpointError:
                return False
            return True

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
            if self.state is not State.OPEN or len(self.levels) < depth:
                if keep:
                    raise self._refusal() if self.state is not State.OPEN else TransactionError(_OUTER_ENDED)
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
            self._spill()
        return self._level(changed=self._changed)

    def _roll_back(self, level: _Level) -> None:
        """Puts back the state of ``level``; memory only, so it cannot fail."""
        if self.design.savepoint().changes != level.savepoint.changes:
            self.pages.clean.clear()
        self.pages.dirty = {}
        self.design.rollback(level.savepoint)
        self.size = self._size_min = self._recorded_size = level.size
        self.position = level.position
        self._room = 0
        self._admitted = NOTHING
        self._changed = level.changed
        self._retain()

    def _level(self, size: int | None = None, *, changed: bool = False) -> _Level:
        size = self.size if size is None else size
        return _Level(self.design.savepoint(), size, self.position, threading.get_ident(), changed)

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
                    self._write_back(commit=True, durable=commit)
                if commit:
                    self.design.sync()
                self._checkpoint()
                self.design.remove()
            finally:
                self._release()
            if unended and speak:
                raise TransactionError("closed within a transaction, which was rolled back")

    def forked(self) -> None:
        """In a forked child: lets go of everything. Its descriptors would keep the parent's flock."""
        super().forked()
        self._release()

    def _release(self) -> None:
        if self.state is not State.FORKED:
            self.state = State.CLOSED
        self.design.release()
        self.home.close()
        self.pages.clean.clear()
        self.pages.dirty = {}

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


def joined(buffers: Sequence[Data]) -> Data:
    """The buffers as one; a single one is left as it is."""
    return buffers[0] if len(buffers) == 1 else b"".join(buffers)


def _pieces(done: int, last: int, at: int, stop: int, step: int) -> tuple[int, int]:
    """Folios, after ``done`` up to ``last``, and records of a huge write's pieces that begin at ``at`` or later."""
    pieces = -(-(stop - at) // step)
    return last - done + pieces, pieces  # two pieces may share a folio


_OUTER_ENDED: Final = "the transaction around this one has ended already; this one was rolled back with it"
