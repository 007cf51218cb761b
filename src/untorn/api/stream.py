"""A file object's reading, writing and positions; what becomes of it is decided in ``file``.

No background thread: h5py calls us under a lock of its own and could deadlock with one.
"""

from __future__ import annotations

import errno
import io
import operator
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from untorn.api.options import Mode
from untorn.inode import SIZE_MAX, Inode, State
from untorn.pagecache.address_space import Data
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, AtomicLimits
from untorn.trace_event import TraceCallback

STATX_WRITE_ATOMIC_DIO: Final = 0x10000
STATX_WRITE_ATOMIC_BUF: Final = 0x40000
"""What to ask statx for: limits of direct or of buffered writes, as the RFC of November 2025 numbers them."""

_FLAGS: Final = RWF_DSYNC | RWF_SYNC | RWF_APPEND | RWF_ATOMIC

_WRITE_BENEATH: Final = frozenset({
    "PIL.ImageFile", "PIL.Jpeg2KImagePlugin", "PIL.TiffImagePlugin", "numpy.lib._format_impl", "numpy.lib.format",
    "subprocess", "tifffile.tifffile", "torch.serialization",
})  # fmt: skip
"""Modules that ask for a descriptor in order to write to it, in C or by another program. Told that there is none they
write through the file; subprocess, whose program would write into nothing, says so."""


if TYPE_CHECKING:

    class _Buffered(io.BufferedIOBase, BinaryIO):
        """As type checkers know the buffered files of ``io``, so that ours go where an ``IO[bytes]`` is asked for."""

else:
    _Buffered = io.BufferedIOBase


class Stream(_Buffered):
    """Bytes in an inode, as ``io`` has them, and positioned I/O with flags."""

    def __init__(self, inode: Inode, name: Any, mode: Mode) -> None:
        self._inode = inode
        self._mode = mode
        self.name = name  # type: ignore[misc]  # which is set by all files of io, too
        # Bound once: a write is one call away from the inode.
        self._write = inode.write if mode.writable else _refuse_write

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
                f"fileno: {asker} might write to the descriptor, past untorn; it can use write(). To another program "
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

    def set_trace(self, callback: TraceCallback | None) -> None:
        """Calls ``callback`` with a TraceEvent at each step of each write on its way to disk; None ends that."""
        self._check_writable()
        self._inode.set_trace(callback)
        self._write = self._inode.write if callback is None else self._inode.write_traced

    def stats(self) -> dict[str, int]:
        """Counters by name, such as commits and syncs, and sizes in bytes."""
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
        """Writes all of the buffer at the position, or raises and changes nothing; returns how many bytes that are.

        OSError: ENOSPC, EDQUOT or EFBIG where there is no space for it, for space is reserved here and not at the
        commit. TransactionError if another thread has a transaction open for longer than ``timeout`` seconds.
        """
        return self._write(buffer if type(buffer) is bytes else _view(buffer))

    def pwrite(self, buffer: Any, offset: int, flags: int = 0) -> int:
        """Writes all of the buffer at ``offset``, in bytes; the position stays. Errors as of ``write``.

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
        """Cuts or zero-extends the file to ``size`` bytes, or to the position; returns the size. Errors as of write."""
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
