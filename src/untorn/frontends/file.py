"""The file object: ``io.BufferedIOBase`` over an inode, plus transactions and positioned I/O.

No background thread: h5py calls us under a lock of its own and could deadlock with one.
"""

from __future__ import annotations

import atexit
import errno
import io
import operator
import os
import warnings
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from untorn.frontends.modes import CommitMode, Mode
from untorn.inode import SIZE_MAX, Inode, State
from untorn.pagecache.address_space import Data
from untorn.pagecache.observer import Observer
from untorn.storage.api import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, AtomicLimits

STATX_WRITE_ATOMIC_DIO: Final = 0x10000
STATX_WRITE_ATOMIC_BUF: Final = 0x40000
"""What to ask statx for: limits of direct or of buffered writes, as the RFC of November 2025 numbers them."""

_FLAGS: Final = RWF_DSYNC | RWF_SYNC | RWF_APPEND | RWF_ATOMIC

_live: dict[int, weakref.ref[File]] = {}
"""Every file that is not closed: what interpreter exit rolls back and a forked child lets go of."""


class Transaction:
    """A block of writes that is applied whole or not at all; inside another one, a savepoint."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._depth = 0

    def __enter__(self) -> None:
        self._depth = self._file.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.end(self._depth, keep=error is None)


class File(io.BufferedIOBase):
    """A file whose writes, and whose transactions, a crash cannot tear. Made by ``untorn.open``.

    Thread-safe; readers see whole writes only. After an I/O error it refuses further work (FailedError) and the
    file on disk is as of the last commit or of the one that failed.
    """

    def __init__(self, inode: Inode, name: Any, mode: Mode, commit: CommitMode) -> None:
        self._inode = inode
        self._mode = mode
        self._commit_mode = commit
        self.name = name
        # Bound once: a write is one call away from the inode.
        self._write = inode.write if mode.writable else _refuse_write
        _live[id(self)] = weakref.ref(self)

    # What it is

    @property
    def mode(self) -> str:
        """As binary files of io show it."""
        return self._mode.binary_name

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._inode.state is State.CLOSED

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        self._check_open()
        return self._mode.readable

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        self._check_open()
        return self._mode.writable

    def seekable(self) -> bool:
        """Always."""
        self._check_open()
        return True

    def fileno(self) -> int:
        """io.UnsupportedOperation: a descriptor would let numpy or mmap write beneath the cache."""
        raise io.UnsupportedOperation("fileno: a descriptor would bypass untorn")

    def __repr__(self) -> str:
        return f"<untorn.File name={self.name!r} mode={self.mode!r} {self._inode.state.value}>"

    def statx(self, mask: int = STATX_WRITE_ATOMIC_BUF) -> AtomicLimits:
        """Which writes RWF_ATOMIC takes: through untorn (any with ``cow``), or with STATX_WRITE_ATOMIC_DIO those
        that Linux takes as direct I/O. All 0 for none, and, as the RFC has it, if asked for both at once.
        """
        self._check_open()
        if mask == STATX_WRITE_ATOMIC_BUF:
            return self._inode.design.limits()
        return self._inode.home.atomic_limits() if mask == STATX_WRITE_ATOMIC_DIO else AtomicLimits()

    def observe(self, observer: Observer | None) -> None:
        """Has each step of each write on its way to disk told to ``observer``, as a Step; None for no more."""
        self._check_writable()
        self._inode.observe(observer)
        self._write = self._inode.write if observer is None else self._inode.write_observed

    def stats(self) -> dict[str, int]:
        """Counters: commits, syncs, bytes to log and home, folios..."""
        return self._inode.stats()

    # Reading

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes from the position, or all there are; fewer only at the end."""
        self._check_readable()
        return self._inode.read(SIZE_MAX if size is None or size < 0 else operator.index(size))

    def read1(self, size: int = -1, /) -> bytes:
        """As read, but no more than one folio where no size is given."""
        self._check_readable()
        return self._inode.read(self._inode.pages.folio_size if size < 0 else size)

    def readinto(self, buffer: Any, /) -> int:
        """Fills the buffer from the position; fewer bytes than it has only at the end."""
        self._check_readable()
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError(f"readinto() argument must be read-write bytes-like object, not {type(buffer).__name__}")
        data = self._inode.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: Any, /) -> int:
        """As readinto."""
        return self.readinto(buffer)

    def peek(self, size: int = 0, /) -> bytes:
        """Bytes at the position, which does not move; at least one but at the end."""
        self._check_readable()
        inode = self._inode
        position, folio_size = inode.position, inode.pages.folio_size
        return inode.read(max(size, folio_size - position % folio_size), position)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to and with the next newline, at most ``size`` bytes; the one of IOBase may give more, by peek."""
        self._check_readable()
        limit = SIZE_MAX if size is None or size < 0 else operator.index(size)
        parts = []
        while limit and (ahead := self.peek()):
            stop = ahead.find(b"\n", 0, limit) + 1 or min(len(ahead), limit)
            parts.append(self._inode.read(stop))
            limit -= stop
            if parts[-1].endswith(b"\n"):
                break
        return b"".join(parts)

    def pread(self, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset``, fewer only at the end; the position stays."""
        if length < 0 or offset < 0 or not self._mode.readable:
            self._check_readable()
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        return self._inode.read(length, offset)

    # Writing

    def write(self, buffer: Any, /) -> int:
        """Writes all of the buffer at the position, or raises and changes nothing."""
        return self._write(buffer if type(buffer) is bytes else _view(buffer))

    def pwrite(self, buffer: Any, offset: int, flags: int = 0) -> int:
        """Writes all of the buffer at ``offset``; the position stays.

        ``flags``: RWF_ATOMIC is what every write is with ``cow``, and what ``statx`` says in the other designs;
        RWF_DSYNC and RWF_SYNC commit durably before the return; RWF_APPEND writes at the end, wherever that is.
        OSError: EOPNOTSUPP for other flags; EOPNOTSUPP and EINVAL for an atomic write that the design cannot take.
        """
        if flags or offset < 0:
            return self._write_flagged([buffer], offset, flags)
        return self._write(buffer if type(buffer) is bytes else _view(buffer), offset)

    def pwritev(self, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        """As pwrite of all the buffers one behind the other, as one write."""
        if flags or offset < 0:
            return self._write_flagged(buffers, offset, flags)
        return self._write(b"".join([_view(buffer) for buffer in buffers]), offset)

    def _write_flagged(self, buffers: Sequence[Any], offset: int, flags: int) -> int:
        self._check_writable()
        if offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        views = [_view(buffer) for buffer in buffers]
        # As in the kernel, a write of nothing is not looked at further.
        if flags & ~_FLAGS and any(map(len, views)):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), self.name)
        return self._inode.write_flagged(views, offset, flags & _FLAGS)

    def truncate(self, size: int | None = None, /) -> int:
        """Cuts or zero-extends the file to ``size`` bytes, or to the position; returns the size."""
        self._check_writable()
        size = self._inode.position if size is None else operator.index(size)
        if size < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        return self._inode.truncate(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Moves the position from the start (0), from where it is (1) or from the end (2); returns it."""
        if operator.index(whence) not in (0, 1, 2):
            raise ValueError(f"whence value {whence} unsupported")
        if abs(offset := operator.index(offset)) > SIZE_MAX:
            raise ValueError("cannot fit 'int' into an offset-sized integer")
        return self._inode.seek(offset, whence)

    def tell(self) -> int:
        """The position, in bytes."""
        self._check_open()
        return self._inode.position

    # Commits and transactions

    def flush(self) -> None:
        """Commits durably if the mode is ``flush`` or ``write`` and no transaction is open; else does nothing."""
        self._check_open()
        if self._mode.writable and self._commit_mode in ("flush", "write"):
            self._inode.flush()

    def commit(self, durable: bool = True) -> None:
        """Makes what was written so far the state that a crash returns to.

        Durable, a crash from now on yields this commit or a later one; not durable, it may yield an earlier one,
        but never a mix, and never this one without those before it.
        """
        self._check_writable()
        self._inode.commit(durable=durable)

    def rollback(self) -> None:
        """Takes back everything since the last commit, position and size too."""
        self._check_writable()
        self._inode.rollback()

    def transaction(self) -> Transaction:
        """A block that is applied whole, or, if it raises, not at all; nested, a savepoint.

        Leaving the outermost block commits durably in the modes ``flush`` and ``write``; in the others the block
        waits for their commit. All threads write into it; only the thread that opened it ends it.
        """
        self._check_writable()
        return Transaction(self)

    def begin(self) -> int:
        """Opens a transaction; ``with transaction()`` calls it. Returns its depth."""
        return self._inode.begin()

    def end(self, depth: int, *, keep: bool) -> None:
        """Ends the transaction of this depth; ``with transaction()`` calls it."""
        outermost = self._inode.end(depth, keep=keep)
        if keep and outermost and self._commit_mode in ("flush", "write"):
            self._inode.commit(durable=True)

    # The end

    def close(self) -> None:
        """Commits, unless the mode is ``explicit``, and leaves one ordinary file and nothing beside it."""
        self._close(commit=True)

    def _close(self, *, commit: bool) -> None:
        inode = self._inode
        if inode.state is State.CLOSED:
            return
        try:
            inode.close(commit=commit and self._commit_mode != "explicit", speak=commit)
        finally:
            # Not before: a close that was refused as reentrant, or is still at work, leaves it to exit and fork.
            if inode.state in (State.CLOSED, State.FORKED):
                _live.pop(id(self), None)

    def abandon(self) -> None:
        """Rolls back what is not committed and closes; what fails is left to the next open's recovery."""
        inode = self._inode
        if inode.state is State.CLOSED or inode.busy:
            return
        try:
            self._close(commit=False)
        except Exception as error:
            warnings.warn(f"untorn: closing {self.name!r}: {error}", RuntimeWarning, stacklevel=2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self._close(commit=False)
        except Exception as second:
            error.add_note(f"untorn: while rolling back {self.name!r}: {second}")

    def __del__(self) -> None:
        inode = getattr(self, "_inode", None)
        if inode is None or inode.state is not State.OPEN:
            return
        message = f"unclosed file {self!r} was rolled back to its last commit"
        self.abandon()
        if self._mode.writable:
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def _check_open(self) -> None:
        if self._inode.state is State.CLOSED:
            raise ValueError("I/O operation on closed file.")

    def _check_readable(self) -> None:
        if not self._mode.readable:
            self._check_open()
            raise io.UnsupportedOperation("not readable")

    def _check_writable(self) -> None:
        if not self._mode.writable:
            self._check_open()
            raise io.UnsupportedOperation("not writable")


def _refuse_write(data: Data, offset: int | None = None) -> int:
    raise io.UnsupportedOperation("not writable")


def _view(buffer: Any) -> memoryview:
    """The buffer's bytes, without a copy; TypeError for text and other things that have none."""
    if isinstance(buffer, str):
        raise TypeError("a bytes-like object is required, not 'str'")
    view = memoryview(buffer)
    return view if view.format == "B" and view.ndim == 1 and view.contiguous else _cast(view)


def _cast(view: memoryview) -> memoryview:
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def live_files() -> list[File]:
    """Every file of this process that is not closed."""
    files = [reference() for reference in list(_live.values())]
    return [file for file in files if file is not None]


def _let_go_in_child() -> None:
    for file in live_files():
        file._inode.forked()


def _roll_back_at_exit() -> None:
    for file in live_files():
        file.abandon()


os.register_at_fork(after_in_child=_let_go_in_child)
atexit.register(_roll_back_at_exit)
