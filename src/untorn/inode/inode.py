"""One open file: transactions, the blocks around it, and the end."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Final

from untorn.designs.base import Design
from untorn.errors import TransactionError
from untorn.inode.committing import Committing
from untorn.inode.handle_state import State, in_turn, reentrant
from untorn.storage.interface import StorageFile


class Inode(Committing):
    """All of a handle but its manners; thread-safe."""

    def __init__(
        self, home: StorageFile, design: Design, *, folio_size: int, cache_bytes: int,
        dirty_bytes: int, append: bool = False, commit_writes: bool = False, readonly: bool = False,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            home, design, folio_size=folio_size, cache_bytes=cache_bytes, dirty_bytes=dirty_bytes, append=append,
            commit_writes=commit_writes, timeout=timeout,
        )  # fmt: skip
        self.readonly = readonly
        self._blocks: list[int] = []
        """For each ``with`` around the file, how many rollback points there were when it began."""
        self.closed_beside = False
        """Whether it was closed by another thread than the one whose transaction is open."""

    # Transactions

    @in_turn
    def begin(self) -> int:
        """Opens a transaction of this thread, or a savepoint within it; returns its depth."""
        self._check()
        self._claim_turn()
        outer = len(self.rollback_points)
        try:
            point = self._savepoint()
            with self._lock:
                self.rollback_points.append(point)
                return len(self.rollback_points)
        except BaseException:
            del self.rollback_points[outer:]
            self._end_turn()
            raise

    def end(self, depth: int, *, keep: bool, commit: bool) -> bool:
        """Ends the transaction of this depth; returns whether it was the outermost one, which ``commit`` commits."""
        if self.rollback_points and not self._turn_is_mine:
            raise TransactionError("only the thread that opened a transaction can end it")
        try:
            return self._end(depth, keep=keep, commit=commit)
        finally:
            self._end_turn()

    @in_turn
    def _end(self, depth: int, *, keep: bool, commit: bool) -> bool:
        alive = self.state in (State.OPEN, State.ENDED)
        if not alive or len(self.rollback_points) < depth:
            if not alive:
                self.rollback_points.clear()
            if keep:
                raise TransactionError(_OUTER_ENDED) if alive else self._state_error()
            return depth == 1
        inner = len(self.rollback_points) > depth
        with self._lock:
            if inner or not keep:
                self._roll_back(self.rollback_points[depth - 1])
            del self.rollback_points[depth - 1 :]
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
            if self.rollback_points:
                raise TransactionError("a transaction is open; it is rolled back when its block raises an exception")
            self._roll_back(self._last_commit)

    # The end

    def enter_block(self) -> None:
        """A ``with`` begins around the file: from now on its end decides what becomes of the file, and no close."""
        with self._state_lock():
            self._check()
            self._blocks.append(len(self.rollback_points))

    def leave_block(self) -> bool:
        """A ``with`` around the file ends; whether the decision is its own, and not that of a block around it."""
        with self._state_lock():
            open_before = self._blocks.pop() if self._blocks else 0
            return not self._stop_io(bool(self._blocks or (open_before and self.rollback_points)))

    def end_io(self) -> bool:
        """A close: within a block no more is read or written, and the block decides; False if there is none."""
        if self.busy:
            raise reentrant()
        with self._lock:
            return self._stop_io(bool(self._blocks or self.rollback_points))

    def _stop_io(self, within_block: bool) -> bool:
        if within_block and self.state is State.OPEN:
            self._end_io()
            self.closed_beside = bool(self.rollback_points) and not self._turn_is_mine
        return within_block

    @property
    def in_block(self) -> bool:
        """Whether there is a ``with`` around the file."""
        return bool(self._blocks)

    @property
    def in_own_transaction(self) -> bool:
        """Whether this thread has a transaction open."""
        return self.in_transaction and self._turn_is_mine

    @property
    def ended(self) -> bool:
        """Whether it was closed within a block that has ended since, so that only letting go is left to do."""
        return self.state is State.ENDED and not self._blocks and not self.rollback_points

    def uncommitted_since(self, depth: int) -> int | None:
        """As uncommitted, of the transaction of this depth alone."""
        if len(self.rollback_points) < depth:
            return None
        point = self.rollback_points[depth - 1]  # when it began nothing was dirty
        spilled = self.design.savepoint().changes != point.savepoint.changes
        changed = spilled or self.pages.dirty or self.size != point.size
        return (self.uncommitted or 0) - point.spilled_bytes if changed else None

    @in_turn
    def descriptor(self) -> int:
        """A descriptor to read home with, good until the file is closed; from now on each commit moves home too.

        io.UnsupportedOperation where home cannot show what readers of this handle see.
        """
        self._check()
        if self.readonly and not self.design.at_home:
            raise io.UnsupportedOperation(
                "fileno: commits to this file are waiting in its log. Open it for writing, or run 'untorn recover'"
            )
        descriptor = self.home.reader()
        self._home_follows = True
        if not (self.rollback_points or self._changed or self.design.at_home):
            self._checkpoint()
        return descriptor

    def close(self, *, commit: bool, raise_if_failed: bool = True) -> None:
        """Commits or rolls back what is open, moves everything home, and leaves one ordinary file.

        A handle out of work only lets go, and with ``raise_if_failed`` says so again. CheckpointError if home has no
        space: then the log stays. Whatever is raised, the handle is closed.
        """
        if self.readonly or self.state in (State.CLOSED, State.FORKED):
            self._release()
            return
        try:
            with suppress(TransactionError):  # of another thread, and too long: it is rolled back, and that is said
                self._await_turn()
            self._close(commit=commit, raise_if_failed=raise_if_failed)
        finally:
            self._end_turn()

    def _close(self, *, commit: bool, raise_if_failed: bool) -> None:
        with self._commit_mutex():
            if self.state in (State.CLOSED, State.FORKED):
                return  # another thread was faster
            if self.state is State.FAILED:
                refusal = self._state_error()
                self._release()
                if raise_if_failed:
                    raise refusal
                return
            try:
                unended = bool(self.rollback_points)
                with self._lock:
                    # What another thread would write from here on would be lost.
                    self._end_io()
                    self.rollback_points.clear()
                    if unended or not commit:
                        self._roll_back(self._last_commit)
                if self._changed:
                    self._write_back(commit=True, durable=commit)
                if commit:
                    self.design.sync()
                self._checkpoint()
                self.design.remove()
            finally:
                self._release()
            if unended and raise_if_failed:
                raise TransactionError("the file was closed within a transaction, which was rolled back")

    def forked(self) -> None:
        """In a forked child: lets go of everything. Its descriptors would keep the parent's flock."""
        super().forked()
        self._release()

    def _release(self) -> None:
        self._let_go()
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


_OUTER_ENDED: Final = "the transaction around this one has ended already; this one was rolled back with it"
