"""How what was written reaches storage: spills, huge writes, cuts, commits, checkpoints, and what a rollback needs."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from untorn.designs.base import Design, Savepoint
from untorn.errors import CheckpointError, TransactionError
from untorn.inode.cached import APPEND, NOTHING, RECORDS, SIZE_MAX, CachedFile, Write
from untorn.inode.handle_state import State, in_turn
from untorn.pagecache.address_space import Data
from untorn.pagecache.folio import Folio
from untorn.storage.interface import NO_SPACE, RWF_APPEND, RWF_DSYNC, RWF_SYNC, StorageFile
from untorn.trace_event import TraceCallback, TraceEvent

_logger: Final = logging.getLogger("untorn")


class RollbackPoint(NamedTuple):
    """What a rollback goes back to."""

    savepoint: Savepoint
    size: int
    position: int
    spilled_bytes: int
    changed: bool
    """Whether it differs from the last commit."""


class Committing(CachedFile):
    """A cached file that commits; transactions are a matter of what is above."""

    def __init__(
        self, home: StorageFile, design: Design, *, folio_size: int, cache_bytes: int,
        dirty_bytes: int, append: bool = False, commit_writes: bool = False, timeout: float | None = None,
    ) -> None:  # fmt: skip
        """``commit_writes``: any prefix of the writes is a legal commit, so a spill may commit."""
        super().__init__(
            home, design, folio_size=folio_size, cache_bytes=cache_bytes, dirty_bytes=dirty_bytes, append=append,
            timeout=timeout,
        )  # fmt: skip
        self.rollback_points: list[RollbackPoint] = []
        """Of the transaction that is open; it belongs to the thread whose turn it is."""
        self.commits = 0
        self.checkpoints_failed = 0
        self._home_follows = False
        """Whether each commit moves home at once, for somebody has a descriptor of it."""
        self._spilled_bytes = 0
        """Uncommitted bytes that went to storage already."""
        self._commit_writes = commit_writes
        self._trace: TraceCallback | None = None
        self._last_commit = self._rollback_point()

    @property
    def in_transaction(self) -> bool:
        return bool(self.rollback_points)

    @property
    def uncommitted(self) -> int | None:
        """Bytes written since the last commit, 0 after a truncate; None if nothing was changed."""
        return self._spilled_bytes + _dirty_bytes(self.pages.dirty) if self._changed else None

    def write_flagged(self, buffers: Sequence[Data], offset: int | None, flags: int) -> int:
        """A write with RWF flags, which are known ones. RWF_ATOMIC is what every write is."""
        durable = flags & (RWF_DSYNC | RWF_SYNC)
        if durable and self.rollback_points and self._turn_is_mine:
            raise TransactionError("a write cannot be durable before the transaction around it ends")
        if durable:
            self.design.check_limit(len(self.pages.dirty) + 1)
        write = self.write if self._trace is None else self.write_traced
        written = write(joined(buffers), APPEND if flags & RWF_APPEND else offset)
        if durable:
            self.commit(durable=True)
        return written

    # For a trace

    def set_trace(self, callback: TraceCallback | None) -> None:
        """Calls ``callback`` at each step from now on; the handle must then write by ``write_traced``."""
        self._trace = callback
        self.design.set_trace(callback)

    def write_traced(self, data: Data, offset: int | None = None) -> int:
        """As write, traced."""
        with self._state_lock():
            start = self._start(offset)
        written = self.write(data, offset)
        if written:
            touched = range(start >> self._shift, ((start + written - 1) >> self._shift) + 1)
            self._report("write", touched, self.pages.dirty, locked=True)
        return written

    def _report(self, event: str, indices: Iterable[int], folios: Mapping[int, Folio], *, locked: bool = False) -> None:
        if self._trace is None:
            return
        for index in indices:
            folio = folios.get(index)
            if folio is not None:
                flags = f"locked|{folio}" if locked else str(folio)
                blocks = folio.block_states(self._folio_size)
                self._trace(TraceEvent(event, index, flags, blocks, index << self._shift, self._folio_size))

    # Writing to storage

    def _write_back_some(self) -> None:
        """Moves dirty data to storage because there is too much of it."""
        if self._commit_writes and not self.rollback_points:
            self.commit(durable=False)
            return
        with self._commit_mutex():
            self._check()
            if self.pages.dirty:
                self._spill()

    @in_turn
    def _write_huge(self, call: Write) -> int:
        """A write of more than may be dirty: piece by piece to storage, and then into the cache as a whole.

        Readers go on meanwhile and see the file as it was; other writers wait for their turn.
        """
        self._check()
        self._claim_turn()
        data, offset = call.data, call.offset
        point = None
        try:
            start = self._start(offset)
            stop = start + len(data)
            step = self._dirty_max // 2 << self._shift
            with self._lock:
                self._reserve_huge(start, stop, step)
            point = self._savepoint()
            landings = self._spill_pieces(call, start, step)
            return self._land_pieces(landings, start, stop, offset)
        except BaseException:
            with self._lock:
                self._to_come = 0, 0
                if point is None:
                    self._release_unused()
                elif self.state is State.OPEN:
                    self._roll_back(point)
            self._end_turn()
            raise

    def _spill_pieces(self, call: Write, start: int, step: int) -> list[Any]:
        """Writes a huge write to storage in pieces of ``step`` bytes; it is not seen before it lands."""
        data = memoryview(call.data)
        stop = start + len(data)
        size = max(self.size, stop)
        landings = []
        at = start
        while at < stop:
            # Whole folios but at the ends: no two pieces share one.
            end = min((at + step) >> self._shift << self._shift, stop)
            self._to_come = _pieces((end - 1) >> self._shift, (stop - 1) >> self._shift, end, stop, step)
            landings.append(self._spill_piece(call, data[at - start : end - start], at, size, begins=at == start))
            at = end
        return landings

    def _reserve_huge(self, start: int, stop: int, step: int) -> None:
        """Reserves for all of it, so that ENOSPC comes before any of it takes space in the log."""
        first, last = start >> self._shift, (stop - 1) >> self._shift
        if stop > SIZE_MAX:
            raise OSError(errno.EFBIG, "the file would be too large", self.home.shown)
        self._to_come = _pieces(first - 1, last, start, stop, step)
        self._forget_ahead()
        growth = range(first << self._shift, stop) if stop > self.design.allocated_end else NOTHING
        self._reserve_space(growth, len(self.pages.dirty), len(self.pages.dirty))

    def _spill_piece(self, call: Write, piece: memoryview, start: int, size: int, *, begins: bool) -> Any:
        """Writes a piece of it as a record of its own."""
        stop = start + len(piece)
        with self._lock:
            admitted = self._reserve(start >> self._shift, (stop - 1) >> self._shift, stop)
            assert admitted, "nothing else is dirty"
            folios = self._build(call, start, piece)
            self._reserved_folios = 0
        try:
            self._report("writeback", folios, folios)
            # Of a further piece: what those before it wrote beyond the old size is not cut again.
            size_min = self._size_min if begins else size
            return self.design.write(folios, size, size_min, commit=False, durable=False, begins=begins)
        except BaseException as error:
            self._poison(error)
            raise

    def _land_pieces(self, landings: list[Any], start: int, stop: int, offset: int | None) -> int:
        """Makes a huge write of ``[start, stop)`` seen, all of it at once, and ends its turn."""
        with self._lock:
            try:
                size = max(self.size, stop)
                for landing in landings:
                    self.design.complete_write(landing, size, commit=False)
                self.pages.forget(start >> self._shift, (stop - 1) >> self._shift)
                self.size = self._size_min = self._recorded_size = size
                self._changed = True
                self._spilled_bytes += stop - start
                self._to_come = 0, 0
                self._release_unused()
                if offset is None:
                    self.position = stop
                self._end_turn()
                return stop - start
            except BaseException as error:
                self._poison(error)
                raise

    def truncate(self, size: int) -> int:
        """Cuts the file to ``size`` bytes, or extends it with zeros; returns the size."""
        try:
            return self._truncate(size)
        except OSError as error:
            if not self._reclaim(error):
                raise
        return self._truncate(size)

    @in_turn
    def _truncate(self, size: int) -> int:
        with self._lock:
            self._check()
            if size == self.size:
                return size
            if size > self.size:
                self.home.check_size(size)
            self.design.reserve(max(len(self.pages.dirty), self._reserved_folios), RECORDS)
            before = self.pages.dirty, self.size, self._size_min
            savepoint = self.design.savepoint()
            try:
                self._changed = True
                if size < self.size:
                    self._forget_ahead()
                    self.design.truncate(size)
                    self.pages.truncate(size)
                    last = size >> self._shift
                    self._release_growth(range(last, last + 1))
                    self._size_min = min(self._size_min, size)
                self.size = size
                self._release_unused()
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
                self.design.reserve_growth(index, index, 0)
            self.design.reserve(*self._owed(self._reserved_folios))
        except OSError:
            self._poison(error)

    # Commit

    @in_turn
    def commit(self, *, durable: bool) -> None:
        """What was written so far is the state that a crash returns to; if ``durable``, from now on for sure."""
        self._check_alive()
        if self.rollback_points:
            raise TransactionError("a transaction is open; it is committed when its block ends")
        self._commit(durable=durable)

    @in_turn
    def flush(self) -> None:
        """A durable commit; within this thread's own transaction nothing."""
        self._check()
        if not self.rollback_points:
            self._commit(durable=True)

    def _commit(self, *, durable: bool) -> None:
        if self._changed:
            self.design.check_limit(len(self.pages.dirty))
        try:
            if self._changed:
                self._write_back(commit=True, durable=durable)
            if durable:
                self.design.sync()
        except BaseException as error:
            self._poison(error)
            raise
        if self.design.checkpoint_due() or (self._home_follows and not self.design.at_home):
            try:
                self._checkpoint()
            except CheckpointError as error:
                # The commit stands and the log is kept; it grows until there is space or a write says ENOSPC.
                self.checkpoints_failed += 1
                size = self.design.stats().get("log_bytes", 0)
                _logger.warning("%s: the log of %d bytes stays: %s", self.home.shown, size, error.strerror)

    def _spill(self) -> None:
        """Dirty data to the log, uncommitted. On any failure, an interrupt too, the handle is out of work."""
        try:
            self._write_back(commit=False)
        except BaseException as error:
            self._poison(error)
            raise

    def _write_back(self, *, commit: bool, durable: bool = False) -> None:
        """Dirty data to storage; any failure is final for the handle."""
        with self._lock:
            folios = self.pages.start_writeback()
            size, size_min, room = self.size, self._size_min, self._reserved_folios
            self._size_min = self._recorded_size = size
            self._reserved_folios = 0
            self._reserved_usual = len(folios) + 1
            self._changed = False
        self._report("writeback", folios, folios)
        written = self.design.write(folios, size, size_min, commit=commit, durable=durable)
        with self._lock:
            self._spilled_bytes = 0 if commit else self._spilled_bytes + _dirty_bytes(folios)
            self.design.complete_write(written, size, commit=commit)
            self.pages.end_writeback()
            self._report("end_writeback", folios, folios)
            if not self.pages.dirty and self.design.covers(room, RECORDS):
                self._reserved_folios = room
            if commit:
                self._assert_sizes()
                self.commits += 1
                self._last_commit = self._rollback_point(size)
            else:
                self._changed = True
            self._release_unused()

    def _checkpoint(self) -> None:
        try:
            with self._lock:
                self._reserved_folios = len(self.pages.dirty)
                self._release_unused()
            self.design.checkpoint(self.pages.peek_clean)
            with self._lock:
                self.design.finish_checkpoint()
                self._reserved_growth = NOTHING
                self._last_commit = self._rollback_point(self.design.committed_size)._replace(
                    position=self._last_commit.position
                )
                if self._size_min < self._recorded_size:
                    # A cut that is not committed, when a write found no space: also of what home holds now.
                    self.design.truncate(self._size_min)
                self.design.grow_for(self.pages.dirty)
                self._release_unused()
        except CheckpointError:
            raise
        except BaseException as error:
            self._poison(error)
            raise

    def _reclaim(self, error: OSError) -> bool:
        if error.errno not in NO_SPACE:
            return False
        with self._commit_mutex():
            if self.state is not State.OPEN or self.rollback_points or not self.design.reclaimable():
                return False
            try:
                self._checkpoint()
            except CheckpointError:
                return False
            return True

    # What a rollback needs

    def _savepoint(self) -> RollbackPoint:
        """A state to roll back to; what is dirty goes to the log first, so that it need not be remembered."""
        if self.pages.dirty or self._size_min < self._recorded_size:
            self._spill()
        return self._rollback_point(changed=self._changed)

    def _roll_back(self, to: RollbackPoint) -> None:
        """Puts back the state of ``to``; memory only, so it cannot fail."""
        if self.design.savepoint().changes != to.savepoint.changes:
            self.pages.clean.clear()
        self.pages.dirty = {}
        self.design.rollback(to.savepoint)
        self.size = self._size_min = self._recorded_size = to.size
        self.position = to.position
        self._spilled_bytes = to.spilled_bytes
        self._reserved_folios = 0
        self._reserved_growth = NOTHING
        self._changed = to.changed
        self._release_unused()

    def _rollback_point(self, size: int | None = None, *, changed: bool = False) -> RollbackPoint:
        size = self.size if size is None else size
        return RollbackPoint(
            self.design.savepoint(), size, self.position, self._spilled_bytes if changed else 0, changed
        )


def _pieces(done: int, last: int, at: int, stop: int, step: int) -> tuple[int, int]:
    """Folios, after ``done`` up to ``last``, and records of a huge write's pieces that begin at ``at`` or later."""
    pieces = -(-(stop - at) // step)
    return last - done + pieces, pieces + 1  # the first piece may be shorter than a step


def _dirty_bytes(folios: Mapping[int, Folio]) -> int:
    return sum(stop - start for folio in folios.values() for start, stop in folio.ranges)


def joined(buffers: Sequence[Data]) -> Data:
    """The buffers as one; a single one is left as it is."""
    return buffers[0] if len(buffers) == 1 else b"".join(buffers)
