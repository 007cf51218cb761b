"""One open file: commits, spills, truncates, transactions and the end."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from untorn.designs.base import Design, Savepoint
from untorn.errors import CheckpointError, TransactionError
from untorn.inode.cached import APPEND, NOTHING, CachedFile
from untorn.inode.guarded import State, in_turn, reentrant
from untorn.pagecache.address_space import Data
from untorn.pagecache.atomic import block_states
from untorn.pagecache.folio import Folio
from untorn.pagecache.observer import Observer, Step
from untorn.storage.api import RWF_APPEND, RWF_DSYNC, RWF_SYNC, StorageFile

_logger: Final = logging.getLogger("untorn")


class _Level(NamedTuple):
    """What a rollback goes back to."""

    savepoint: Savepoint
    size: int
    position: int
    spilled_bytes: int
    changed: bool
    """Whether it differs from the last commit."""


class Inode(CachedFile):
    """All of a handle but its manners; thread-safe."""

    def __init__(
        self, home: StorageFile, design: Design, *, folio_size: int, cache_bytes: int,
        dirty_bytes: int, append: bool = False, commit_writes: bool = False, readonly: bool = False,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        """``commit_writes``: any prefix of the writes is a legal commit, so a spill may commit."""
        super().__init__(
            home, design, folio_size=folio_size, cache_bytes=cache_bytes, dirty_bytes=dirty_bytes, append=append,
            timeout=timeout,
        )  # fmt: skip
        self.levels: list[_Level] = []
        """Of the transaction that is open; it belongs to the thread whose turn it is."""
        self.commits = 0
        self.checkpoints_failed = 0
        self.readonly = readonly
        self._blocks: list[int] = []
        """For each ``with`` around the file, how many levels were open when it began."""
        self.closed_beside = False
        """Whether it was closed by another thread than the one whose transaction is open."""
        self._home_follows = False
        """Whether each commit moves home at once, for somebody has a descriptor of it."""
        self._spilled_bytes = 0
        """Uncommitted bytes that went to storage already."""
        self._commit_writes = commit_writes
        self._size_min = self.size
        self._recorded_size = self.size
        """The size that the last record left, from which the next one cuts."""
        self._observer: Observer | None = None
        self._base = self._level()

    def write_flagged(self, buffers: Sequence[Data], offset: int | None, flags: int) -> int:
        """A write with RWF flags, which are known ones. RWF_ATOMIC is what every write is."""
        durable = flags & (RWF_DSYNC | RWF_SYNC)
        if durable and self.levels and self._turn_is_mine:
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

    @in_turn
    def _write_huge(self, data: Data, offset: int | None) -> int:
        """A write of more than may be dirty: piece by piece to storage, and then into the cache as a whole.

        Readers go on meanwhile and see the file as it was; other writers wait for their turn.
        """
        self._check()
        self._claim_turn()
        try:
            start = self._start(offset)
            level = self._mark()
            landings = self._spill_pieces(memoryview(data), start, level)
            return self._land_pieces(landings, start, start + len(data), offset)
        except BaseException:
            self._end_turn()
            raise

    def _spill_pieces(self, data: memoryview, start: int, level: _Level) -> list[Any]:
        """Writes a huge write to storage; it is not seen before it lands."""
        step = self._dirty_max // 2 << self._shift
        size_min = self._size_min
        landings = []
        at = 0
        try:
            while at < len(data):
                # Whole folios but at the ends: no two pieces share one.
                end = ((start + at + step) >> self._shift << self._shift) - start
                piece = data[at:end]
                landings.append(self._spill_piece(piece, start + at, size_min))
                # Of the next record: what this one wrote beyond the old size is not cut again.
                size_min = max(self.size, start + at + len(piece))
                at = end
            return landings
        except BaseException:
            if self.state is State.OPEN:
                with self._lock:
                    self._roll_back(level)
            raise

    def _spill_piece(self, piece: memoryview, start: int, size_min: int) -> Any:
        """Writes a piece of it as a record of its own."""
        stop = start + len(piece)
        first, last = start >> self._shift, (stop - 1) >> self._shift
        with self._lock:
            admitted = self._admit(first, last, stop)
            assert admitted, "nothing else is dirty"
            folios = self._build(start, piece)
            size = max(self.size, stop)
            self._room = 0
        try:
            self._report("writeback", folios, folios)
            return self.design.write(folios, size, size_min, commit=False, durable=False)
        except BaseException as error:
            self._fail(error)
            raise

    def _land_pieces(self, landings: list[Any], start: int, stop: int, offset: int | None) -> int:
        """Makes a huge write of ``[start, stop)`` seen, all of it at once, and ends its turn."""
        with self._lock:
            try:
                size = max(self.size, stop)
                for landing in landings:
                    self.design.land(landing, size, commit=False)
                self.pages.forget(start >> self._shift, (stop - 1) >> self._shift)
                self.size = self._size_min = self._recorded_size = size
                self._changed = True
                self._spilled_bytes += stop - start
                if offset is None:
                    self.position = stop
                self._end_turn()
                return stop - start
            except BaseException as error:
                self._fail(error)
                raise

    @in_turn
    def truncate(self, size: int) -> int:
        """Cuts the file to ``size`` bytes, or extends it with zeros; returns the size."""
        with self._lock:
            self._check()
            if size == self.size:
                return size
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
                return size
            except BaseException:
                self.pages.dirty, self.size, self._size_min = before
                self.design.rollback(savepoint)
                raise

    # Commit

    @in_turn
    def commit(self, *, durable: bool) -> None:
        """What was written so far is the state that a crash returns to; if ``durable``, from now on for sure."""
        self._check_alive()
        if self.levels:
            raise TransactionError("a transaction is open; it commits when its block ends")
        self._commit(durable=durable)

    @in_turn
    def flush(self) -> None:
        """A durable commit; within this thread's own transaction nothing."""
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
            self._spilled_bytes = 0 if commit else self._spilled_bytes + _dirty_bytes(folios)
            self.design.land(written, size, commit=commit)
            self.pages.end_writeback()
            self._report("end_writeback", folios, folios)
            if not self.pages.dirty and self.design.still_reserved(room):
                self._room = room
            if commit:
                self.commits += 1
                self._base = self._level(size)
            else:
                self._changed = True

    def _checkpoint(self) -> None:
        try:
            with self._lock:
                if not self.pages.dirty:
                    self._room = 0
                    self.design.unreserve()
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

    @property
    def in_transaction(self) -> bool:
        return bool(self.levels)

    @in_turn
    def begin(self) -> int:
        """Opens a transaction of this thread, or a savepoint within it; returns its depth."""
        self._check()
        self._claim_turn()
        outer = len(self.levels)
        try:
            level = self._mark()
            with self._lock:
                self.levels.append(level)
                return len(self.levels)
        except BaseException:
            del self.levels[outer:]
            self._end_turn()
            raise

    def end(self, depth: int, *, keep: bool, commit: bool) -> bool:
        """Ends the transaction of this depth; returns whether it was the outermost one, which ``commit`` commits."""
        if self.levels and not self._turn_is_mine:
            raise TransactionError("only the thread that opened a transaction ends it")
        try:
            return self._end(depth, keep=keep, commit=commit)
        finally:
            self._end_turn()

    @in_turn
    def _end(self, depth: int, *, keep: bool, commit: bool) -> bool:
        alive = self.state in (State.OPEN, State.ENDED)
        if not alive or len(self.levels) < depth:
            if not alive:
                self.levels.clear()
            if keep:
                raise TransactionError(_OUTER_ENDED) if alive else self._refusal()
            return depth == 1
        inner = len(self.levels) > depth
        with self._lock:
            if inner or not keep:
                self._roll_back(self.levels[depth - 1])
            del self.levels[depth - 1 :]
        if inner and keep:
            raise TransactionError("a transaction inside this one had not ended; both were rolled back")
        if depth == 1 and keep and commit:
            self._commit(durable=True)
        return depth == 1

    @in_turn
    def rollback(self) -> None:
        """Back to the last commit."""
        with self._lock:
            self._check_alive()
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
        self._spilled_bytes = level.spilled_bytes
        self._room = 0
        self._admitted = NOTHING
        self._changed = level.changed

    def _level(self, size: int | None = None, *, changed: bool = False) -> _Level:
        size = self.size if size is None else size
        return _Level(self.design.savepoint(), size, self.position, self._spilled_bytes if changed else 0, changed)

    # The end

    def enter_block(self) -> None:
        """A ``with`` begins around the file: from now on its end decides what becomes of the file, and no close."""
        with self._short():
            self._check()
            self._blocks.append(len(self.levels))

    def leave_block(self) -> bool:
        """A ``with`` around the file ends; whether the decision is its own, and not that of a block around it."""
        with self._short():
            levels_before = self._blocks.pop() if self._blocks else 0
            return not self._stop_io(bool(self._blocks or (levels_before and self.levels)))

    def end_io(self) -> bool:
        """A close: within a block no more is read or written, and the block decides; False if there is none."""
        if self.busy:
            raise reentrant()
        with self._lock:
            return self._stop_io(bool(self._blocks or self.levels))

    def _stop_io(self, within_block: bool) -> bool:
        if within_block and self.state is State.OPEN:
            self.state = State.ENDED
            self.closed_beside = bool(self.levels) and not self._turn_is_mine
        return within_block

    @property
    def in_block(self) -> bool:
        """Whether there is a ``with`` around the file."""
        return bool(self._blocks)

    @property
    def ended(self) -> bool:
        """Whether it was closed within a block that has ended since, so that only letting go is left to do."""
        return self.state is State.ENDED and not self._blocks and not self.levels

    @property
    def uncommitted(self) -> int | None:
        """Bytes written since the last commit, 0 after a truncate; None if nothing was changed."""
        return self._spilled_bytes + _dirty_bytes(self.pages.dirty) if self._changed else None

    def uncommitted_since(self, depth: int) -> int | None:
        """As uncommitted, of the transaction of this depth alone."""
        if len(self.levels) < depth:
            return None
        level = self.levels[depth - 1]  # when it began nothing was dirty
        spilled = self.design.savepoint().changes != level.savepoint.changes
        changed = spilled or self.pages.dirty or self.size != level.size
        return (self.uncommitted or 0) - level.spilled_bytes if changed else None

    @in_turn
    def descriptor(self) -> int:
        """A descriptor to read home with, good until the file is closed; from now on each commit moves home too.

        io.UnsupportedOperation where home cannot show what readers of this handle see.
        """
        self._check()
        if self.readonly and not self.design.at_home:
            raise io.UnsupportedOperation(
                "fileno: commits to this file wait in its log; open it to write, or run 'untorn recover'"
            )
        descriptor = self.home.reader()
        self._home_follows = True
        if not (self.levels or self._changed or self.design.at_home):
            self._checkpoint()
        return descriptor

    def close(self, *, commit: bool, speak: bool = True) -> None:
        """Commits or rolls back what is open, moves everything home, and leaves one ordinary file.

        A handle out of work only lets go, and if it is to ``speak``, says so again. CheckpointError if home has no
        space: then the log stays. Whatever is raised, the handle is closed.
        """
        if self.readonly or self.state in (State.CLOSED, State.FORKED):
            self._release()
            return
        try:
            with suppress(TransactionError):  # of another thread, and too long: it is rolled back, and that is said
                self._await_turn()
            self._close(commit=commit, speak=speak)
        finally:
            self._end_turn()

    def _close(self, *, commit: bool, speak: bool) -> None:
        with self._exclusive():
            if self.state in (State.CLOSED, State.FORKED):
                return  # another thread was faster
            if self.state is State.FAILED:
                refusal = self._refusal()
                self._release()
                if speak:
                    raise refusal
                return
            try:
                unended = bool(self.levels)
                with self._lock:
                    # What another thread would write from here on would be lost.
                    self.state = State.ENDED
                    self.levels.clear()
                    if unended or not commit:
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
            "checkpoints_failed": self.checkpoints_failed,
            **self.design.stats(),
        }


def _dirty_bytes(folios: Mapping[int, Folio]) -> int:
    return sum(stop - start for folio in folios.values() for start, stop in folio.ranges)


def joined(buffers: Sequence[Data]) -> Data:
    """The buffers as one; a single one is left as it is."""
    return buffers[0] if len(buffers) == 1 else b"".join(buffers)


_OUTER_ENDED: Final = "the transaction around this one has ended already; this one was rolled back with it"
