"""The file object: when what was written is committed, and how it ends."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from untorn.api.block_end import ended_well, handled, newly_handled
from untorn.api.options import CommitMode, Mode
from untorn.api.stream import Stream
from untorn.errors import package_of_caller, warn
from untorn.inode import Inode, State

_live: dict[int, weakref.ref[File]] = {}
"""Every file that is not closed: what interpreter exit rolls back and a forked child lets go of."""


class Transaction:
    """A block of writes that is applied whole or not at all; inside another one, a savepoint."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._depth = 0

    def __enter__(self) -> None:
        self._depth = self._file._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file._end(self._depth, keep=ended_well(error))


class File(Stream):
    """A file whose writes, and whose transactions, a crash cannot tear. Made by ``untorn.open``.

    Thread-safe; readers see whole writes only. After an I/O error it refuses further work (HandleFailedError) and the
    file on disk is as of the last commit or of the one that failed.
    """

    def __init__(self, inode: Inode, name: Any, mode: Mode, commit: CommitMode) -> None:
        super().__init__(inode, name, mode)
        self._commit_mode = commit
        self._handled_at_open = handled() if mode.writable else set()
        self._package = package_of_caller()
        """Whose lines warnings point at."""
        self._collected = False
        """Whether a wrapper around it is being collected."""
        self._put_off = False
        """Whether a flush left its commit to the end of the block."""
        self._text: Callable[[], Any] = lambda: None
        """Gives the text file over this one, if there is one: it may hold text that was not handed down yet."""
        _live[id(self)] = weakref.ref(self)

    # Commits and transactions

    def flush(self) -> None:
        """Commits durably if the mode is ``flush`` or ``write``; in the others, and within a transaction, does nothing.

        Another thread's transaction is waited for. Within a ``with`` around the file, while an exception is being
        handled, the commit is left to the end of the block, for this may be a library that flushes because that
        exception ends it; if the block goes on, an UntornWarning says so. ``commit()`` always commits.
        Raises what ``commit`` raises.
        """
        self._check_open()
        if not self._mode.writable or self._commit_mode not in ("flush", "write") or self._collected:
            return
        inside = self._inode.in_own_transaction  # whose end decides, so that nothing is put off
        if not inside and self._inode.in_block and newly_handled(self._handled_at_open) is not None:
            self._put_off = True
            return
        self._inode.flush()
        if not inside:
            self._tell_put_off()

    def _tell_put_off(self) -> None:
        if self._put_off:
            self._put_off = False
            warn(
                f"an earlier flush() of {self.name!r}, while an exception was being handled, took effect only now",
                package=self._package,
            )

    def commit(self, durable: bool = True) -> None:
        """Makes what was written so far the state that a crash returns to; also after a ``close`` within a block.

        Durable, a crash from now on yields this commit or a later one; not durable, it may yield an earlier one,
        but never a mix, and never this one without those before it.

        TransactionError within a transaction, or if another thread's does not end within ``timeout`` seconds; nothing
        was done then. OSError if writing or syncing fails: the file is as of this commit or of the one before, which of
        them the next open finds out, and this handle refuses further work with a HandleFailedError.
        """
        self._check_writable()
        self._inode.commit(durable=durable)
        self._put_off = False

    def rollback(self) -> None:
        """Takes back everything since the last commit, position and size too.

        TransactionError within a transaction, which rolls back when its block raises, or if another thread's does not
        end within ``timeout`` seconds.
        """
        self._check_writable()
        self._inode.rollback()

    def transaction(self) -> Transaction:
        """A block that is applied whole, or, if it raises, not at all; nested, a savepoint.

        Leaving the outermost block commits durably in the modes ``flush`` and ``write``; in the others the block
        waits for their commit. It belongs to the thread that opens it: what other threads want to write, cut, commit
        or roll back waits for its end, TransactionError if that takes longer than the file's ``timeout``. If the file
        is closed within it the block decides, and closes it.
        """
        self._check_writable()
        return Transaction(self)

    def _begin(self) -> int:
        """Opens a transaction; ``with transaction()`` calls it. Returns its depth."""
        return self._inode.begin()

    def _end(self, depth: int, *, keep: bool) -> None:
        """Ends the transaction of this depth; ``with transaction()`` calls it."""
        inode = self._inode
        # Closed within it, the file has no later moment for another commit but the end of a ``with`` around it.
        last = inode.state is State.ENDED and (self._commit_mode == "explicit" or not inode.in_block)
        commit = self._commit_mode in ("flush", "write") or last
        lost = inode.uncommitted_since(depth) if isinstance(sys.exception(), GeneratorExit) and not keep else None
        try:
            inode.end(depth, keep=keep, commit=commit)
        finally:
            if inode.ended:
                # What another thread wrote and closed is not this block's to take back.
                self._close(commit=keep or inode.closed_beside)
        self._tell(lost, "in a transaction of a generator that was not run to its end", since="in it")

    # The end

    def close(self, *, commit: bool = True) -> None:
        """Commits, unless the mode is ``explicit``, and leaves one ordinary file and nothing beside it.

        ``close(commit=False)`` takes back what is not committed, in every mode, and closes the file at once, also
        within a block. The rest holds of ``close()``.

        Within a ``with`` around the file or a transaction it only ends reading and writing: the end of the block
        decides. Outside of one it rolls back, with an UntornWarning, if an exception is being handled that was not
        when the file was opened; ``commit()`` before it keeps the work.

        Raises what ``commit`` raises. Committed data that cannot be moved into the file (CheckpointError) are not lost:
        the log stays beside it, and the next open takes it from there.
        """
        inode = self._inode
        if not commit:
            self._close(commit=False)
            return
        if self.closed or (self._mode.writable and inode.state is State.OPEN and inode.end_io()):
            return
        if self._collected:
            self._roll_back_and_close("closed by the collection of what it was wrapped in")
            return
        error = newly_handled(self._handled_at_open) if self._mode.writable else None
        if error is None or inode.state is State.FAILED:
            self._close(commit=True)
            return
        lost = inode.uncommitted if self._commit_mode != "explicit" else None
        self._close(commit=False)
        self._tell(lost, f"closed while {type(error).__name__} was being handled")

    def _close(self, *, commit: bool) -> None:
        inode = self._inode
        if inode.state is State.CLOSED:
            return
        try:
            inode.close(commit=commit and self._commit_mode != "explicit", raise_if_failed=commit)
        finally:
            # Not before: a close that was refused as reentrant, or is still at work, leaves it to exit and fork.
            if inode.state in (State.CLOSED, State.FORKED):
                _live.pop(id(self), None)

    def _tell(self, lost: int | None, why: str, since: str = "since its last commit") -> None:
        """Says what was rolled back where no exception says so; ``lost`` as Inode.uncommitted."""
        if lost is not None:
            what = f"written {since}, {lost} byte{'s' * (lost != 1)}," if lost else f"cut {since}"
            warn(
                f"{self.name!r} was {why}: what was {what} was rolled back. To keep it, use 'with' or commit() first",
                package=self._package,
            )

    def _roll_back_and_close(self, why: str) -> None:
        """As ``close(commit=False)`` where nobody asked for it and nobody would see an exception.

        What was rolled back is told by an UntornWarning, with ``why``; what fails is left to the next open's recovery.
        """
        inode = self._inode
        if inode.state in (State.CLOSED, State.FORKED) or inode.busy:
            return
        lost = inode.uncommitted if inode.state is not State.FAILED else None
        try:
            self._close(commit=False)
        except Exception as error:
            warn(f"{self.name!r} could not be closed in order: {error}", package=self._package)
        self._tell(lost, why)

    def _dealloc_warn(self, source: Any) -> None:
        """Called by a wrapper of io that is being collected, before it flushes and closes what it wraps."""
        self._collected = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        inode = self._inode
        if not self._mode.writable or inode.state is State.CLOSED:
            self.close()
            return
        if not inode.leave_block():
            return
        if ended_well(error):
            self._close(commit=True)
            self._tell_put_off()
            return
        assert error is not None
        lost = inode.uncommitted if isinstance(error, GeneratorExit) else None
        try:
            self._close(commit=False)
        except Exception as second:
            error.add_note(f"untorn: while rolling back {self.name!r}: {second}")
        self._tell(lost, "open in a generator that was not run to its end")

    def __del__(self) -> None:
        inode = getattr(self, "_inode", None)
        if inode is None or inode.state in (State.CLOSED, State.FORKED):
            return
        clean = self._mode.writable and inode.state is State.OPEN and inode.uncommitted is None
        message = f"unclosed file {self!r}"
        self._roll_back_and_close("never closed")
        if clean:
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __enter__(self) -> Self:
        self._check_open()
        if self._mode.writable:
            self._inode.enter_block()
        return self


def live_files() -> list[File]:
    """Every file of this process that is not closed."""
    files = [reference() for reference in list(_live.values())]
    return [file for file in files if file is not None]


def _let_go_in_child() -> None:
    for file in live_files():
        file._inode.forked()
        if (text := file._text()) is not None:
            text.forked()


def _roll_back_at_exit() -> None:
    for file in live_files():
        (file._text() or file)._roll_back_and_close("still open when the program ended")


os.register_at_fork(after_in_child=_let_go_in_child)
atexit.register(_roll_back_at_exit)
