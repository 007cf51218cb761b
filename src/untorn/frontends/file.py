"""The file object: ``io.BufferedIOBase`` over an inode, plus transactions and positioned I/O.

No background thread: h5py calls us under a lock of its own and could deadlock with one.
"""

from __future__ import annotations

import atexit
import errno
import io
import itertools
import operator
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from untorn.errors import package_of_caller, warn
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

_SEEN: Final = "_untorn_seen"
"""Attribute of an exception that was being handled when a file was opened. To keep the exception itself would keep
all that its frames hold, and to keep its ``id`` would take a later one for it."""
_seen = itertools.count(1)

_WRITE_BENEATH: Final = frozenset({
    "PIL.ImageFile", "PIL.Jpeg2KImagePlugin", "PIL.TiffImagePlugin", "numpy.lib._format_impl", "numpy.lib.format",
    "subprocess", "tifffile.tifffile", "torch.serialization",
})  # fmt: skip
"""Modules that ask for a descriptor in order to write to it, in C or by another program. Told that there is none they
write through the file; subprocess, whose program would write into nothing, says so."""


def ended_well(error: BaseException | None) -> bool:
    """Whether a block that was left so did what it was to do: no exception, or ``sys.exit()`` with a good status."""
    return error is None or (isinstance(error, SystemExit) and error.code in (None, 0))


def handled() -> set[Any]:
    """Marks of all the exceptions that are being handled in this thread."""
    marks = set()
    error = sys.exception()
    # With the process, for an exception may be sent to another one.
    while error is not None and (mark := error.__dict__.setdefault(_SEEN, (os.getpid(), next(_seen)))) not in marks:
        marks.add(mark)
        error = error.__context__
    return marks


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
        self._file.end(self._depth, keep=ended_well(error))


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
        self._handled_at_open = handled() if mode.writable else set()
        self._package = package_of_caller()
        """Whose lines warnings point at."""
        self._collected = False
        self._put_off = False
        """Whether a flush left its commit to the end of the block."""
        self._text: Callable[[], Any] = lambda: None
        """Gives the text file over this one, if there is one: it may hold text that was not handed down yet."""
        # Bound once: a write is one call away from the inode.
        self._write = inode.write if mode.writable else _refuse_write
        _live[id(self)] = weakref.ref(self)

    # What it is

    @property
    def timeout(self) -> float | None:
        """Seconds that a call waits for another thread's transaction to end; None for ever."""
        return self._inode.timeout

    @property
    def mode(self) -> str:
        """As binary files of io show it."""
        return self._mode.binary_name

    @property
    def closed(self) -> bool:
        """Whether it was closed; within a block also if the block has still to decide what becomes of it."""
        return self._inode.state in (State.CLOSED, State.ENDED)

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
        """A descriptor to read the file with as of the last commit: for os.fsync, os.fstat, mmap or numpy.fromfile.

        From now on each commit also moves what was written into the file itself, which costs some more syncs. If
        something is uncommitted when it is first asked for, it may show an earlier commit until the next one.
        Writing to it fails with EBADF. It stands at the file's position, and is closed with the file.
        io.UnsupportedOperation for a reader of a file to which commits wait in its log, and for libraries that are
        known to write to descriptors. flock(2) on it would wait for this very handle.
        """
        asker = sys._getframe(1).f_globals.get("__name__")
        if self._mode.writable and asker in _WRITE_BENEATH:
            raise io.UnsupportedOperation(
                f"fileno: {asker} might write to the descriptor, beneath untorn; write() is there. To another program "
                "that only reads, give the number that fileno() returns"
            )
        descriptor = self._inode.descriptor()
        os.lseek(descriptor, self._inode.position, os.SEEK_SET)
        return descriptor

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
        return self._inode.peek(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to and with the next newline, at most ``size`` bytes; whole also where several threads read lines."""
        self._check_readable()
        return self._inode.read_line(SIZE_MAX if size is None or size < 0 else operator.index(size))

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
        """Commits durably if the mode is ``flush`` or ``write``; in the others, and within a transaction, does nothing.

        Another thread's transaction is waited for. Within a ``with`` around the file, while an exception is being
        handled, the commit is left to the end of the block, for this may be a library that flushes because that
        exception ends it; if the block goes on, an UntornWarning says so. ``commit()`` always commits.
        """
        self._check_open()
        if not self._mode.writable or self._commit_mode not in ("flush", "write") or self._collected:
            return
        if self._inode.in_block and self._unwinding() is not None:
            self._put_off = True
            return
        self._inode.flush()
        self._tell_put_off()

    def _tell_put_off(self) -> None:
        if self._put_off:
            self._put_off = False
            warn(
                f"an earlier flush() of {self.name!r}, while an exception was being handled, took effect only now",
                package=self._package,
            )

    def _unwinding(self) -> BaseException | None:
        """The exception that is being handled, if it was not when the file was opened and is not a good end."""
        error = sys.exception()
        seen = error is None or error.__dict__.get(_SEEN) in self._handled_at_open
        return None if seen or ended_well(error) else error

    def commit(self, durable: bool = True) -> None:
        """Makes what was written so far the state that a crash returns to; also after a ``close`` within a block.

        Durable, a crash from now on yields this commit or a later one; not durable, it may yield an earlier one,
        but never a mix, and never this one without those before it.
        """
        self._check_writable()
        self._inode.commit(durable=durable)
        self._put_off = False

    def rollback(self) -> None:
        """Takes back everything since the last commit, position and size too."""
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

    def begin(self) -> int:
        """Opens a transaction; ``with transaction()`` calls it. Returns its depth."""
        return self._inode.begin()

    def end(self, depth: int, *, keep: bool) -> None:
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

    def close(self) -> None:
        """Commits, unless the mode is ``explicit``, and leaves one ordinary file and nothing beside it.

        Within a ``with`` around the file or a transaction it only ends reading and writing: the end of the block
        decides. Outside of one it rolls back, with an UntornWarning, if an exception is being handled that was not
        when the file was opened; ``commit()`` before it keeps the work.
        """
        inode = self._inode
        if self.closed or (self._mode.writable and inode.state is State.OPEN and inode.end_io()):
            return
        if self._collected:
            self.abandon("closed by the collection of what it was wrapped in")
            return
        error = self._unwinding() if self._mode.writable else None
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
            inode.close(commit=commit and self._commit_mode != "explicit", speak=commit)
        finally:
            # Not before: a close that was refused as reentrant, or is still at work, leaves it to exit and fork.
            if inode.state in (State.CLOSED, State.FORKED):
                _live.pop(id(self), None)

    def _tell(self, lost: int | None, why: str, since: str = "since its last commit") -> None:
        """Says what was rolled back where no exception says so; ``lost`` as Inode.uncommitted."""
        if lost is not None:
            what = f"{lost} bytes that were written" if lost else "what was cut"
            warn(
                f"{self.name!r} was {why}: {what} {since} was rolled back. Use 'with', or commit() first, to keep it",
                package=self._package,
            )

    def abandon(self, why: str = "abandoned") -> None:
        """Rolls back what is not committed and closes; what fails is left to the next open's recovery.

        What was rolled back is told by an UntornWarning, with ``why``.
        """
        inode = self._inode
        if inode.state in (State.CLOSED, State.FORKED) or inode.busy:
            return
        lost = inode.uncommitted if inode.state is not State.FAILED else None
        try:
            self._close(commit=False)
        except Exception as error:
            warn(f"closing {self.name!r}: {error}", package=self._package)
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
        self.abandon("never closed")
        if clean:
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __enter__(self) -> Self:
        self._check_open()
        if self._mode.writable:
            self._inode.enter_block()
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def _check_open(self) -> None:
        if self.closed:
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
        if (text := file._text()) is not None:
            text.forked()


def _roll_back_at_exit() -> None:
    for file in live_files():
        (file._text() or file).abandon("still open when the program ended")


os.register_at_fork(after_in_child=_let_go_in_child)
atexit.register(_roll_back_at_exit)
