"""The functions of ``os`` and ``fcntl`` that take a descriptor, for explored ones."""

from __future__ import annotations

import errno
import fcntl as real_fcntl
import io
import os
import posix
import select
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.interpose.descriptors import Description, Descriptors
from untorn.explore.interpose.directory_entries import StatResult
from untorn.explore.interpose.errors import UnseenAccessError
from untorn.storage.interface import Buffer

_COPY: Final = 1 << 16
"""Bytes of one sendfile or copy_file_range: the pipe between two files of the kernel holds sixteen pages."""

_SPLICE_FLAGS: Final = 0x0F
"""All that splice(2) knows; but for SPLICE_F_NONBLOCK they change nothing that can be seen."""

_real_fstat: Final = posix.fstat
_real_pread: Final = posix.pread
_real_read: Final = posix.read
_real_write: Final = posix.write
_real_pwrite: Final = posix.pwrite
_real_closerange: Final = posix.closerange


NUMPY: Final = (
    "numpy.fromfile and ndarray.tofile hand the descriptor to C, where nothing can be seen: "
    "numpy.frombuffer(file.read()) and file.write(array.tobytes()) can be"
)


def failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))


class FileCalls:
    """Each method is the function of its name, with the same arguments."""

    storage: SimulatedStorage
    descriptors: Descriptors

    def __init__(self) -> None:
        self._flocks: dict[int, dict[Description, bool]] = {}
        """By inode: who holds its flock, and whether exclusively."""
        self.owed: set[Description] = set()
        """Files that numpy was to read or write in C, and that nobody has read or written in Python since."""

    def close(self, fd: int) -> None:
        description = self.descriptors.remove(fd)
        if description is not None:
            self._flocks.get(description.inode, {}).pop(description, None)
            description.file.close()

    def closerange(self, fd_low: int, fd_high: int) -> None:
        for fd in self.descriptors:
            if fd_low <= fd < fd_high:
                self.close(fd)
        _real_closerange(fd_low, fd_high)

    def dup(self, fd: int) -> int:
        if _is_numpys():
            self.owed.add(self.descriptors[fd])
            raise io.UnsupportedOperation(NUMPY)
        return self.descriptors.add(self.descriptors[fd])

    def dup2(self, fd: int, fd2: int, inheritable: bool = True) -> int:
        raise UnseenAccessError(f"os.dup2({fd}, {fd2}): an explored file cannot take a real descriptor's place")

    # Data

    def read(self, fd: int, length: int) -> bytes:
        description = self.descriptors[fd]
        self.owed.discard(description)
        data = description.file.pread(length, description.position)
        description.position += len(data)
        return data

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        return self.descriptors[fd].file.pread(length, offset)

    def readinto(self, fd: int, buffer: Any) -> int:
        return self.readv(fd, [buffer])

    def readv(self, fd: int, buffers: Sequence[Any]) -> int:
        description = self.descriptors[fd]
        done = self.preadv(fd, buffers, description.position)
        description.position += done
        return done

    def preadv(self, fd: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        self.owed.discard(self.descriptors[fd])
        data = self.descriptors[fd].file.pread(sum(map(len, views)), offset)
        at = 0
        for view in views:
            part = data[at : at + len(view)]
            view[: len(part)] = part
            at += len(part)
        return len(data)

    def write(self, fd: int, data: Any) -> int:
        return self.writev(fd, [data])

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        return self.pwritev(fd, [data], offset)

    def writev(self, fd: int, buffers: Sequence[Any]) -> int:
        description = self.descriptors[fd]
        done = self.pwritev(fd, buffers, description.position)
        if description.flags & os.O_APPEND and done:
            description.position = description.file.stat().size
        else:
            description.position += done
        return done

    def pwritev(self, fd: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        data: list[Buffer] = [bytes(memoryview(buffer)) for buffer in buffers]  # the caller may change his later
        self.owed.discard(self.descriptors[fd])
        return self.descriptors[fd].file.pwritev(data, offset, flags)

    def lseek(self, fd: int, position: int, whence: int) -> int:
        description = self.descriptors[fd]
        if whence == os.SEEK_SET:
            found = position
        elif whence == os.SEEK_CUR:
            found = description.position + position
        elif whence == os.SEEK_END:
            found = description.file.stat().size + position
        elif whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise UnseenAccessError("os.lseek: the explorer does not know where an explored file has holes")
        else:
            raise failure(errno.EINVAL)
        if found < 0:
            raise failure(errno.EINVAL)
        description.position = found
        return found

    def sendfile(
        self, out_fd: int, in_fd: int, offset: int | None, count: int, *,
        headers: Sequence[Any] = (), trailers: Sequence[Any] = (), flags: int = 0,
    ) -> int:  # fmt: skip
        return self._copy(in_fd, out_fd, count, offset, None)

    def copy_file_range(
        self, src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
    ) -> int:
        return self._copy(src, dst, count, offset_src, offset_dst)

    def _copy(self, source: int, target: int, count: int, source_at: int | None, target_at: int | None) -> int:
        """One chunk; short, as the kernel may be."""
        count = min(count, _COPY)
        read, pread = (self.read, self.pread) if source in self.descriptors else (_real_read, _real_pread)
        write, pwrite = (self.write, self.pwrite) if target in self.descriptors else (_real_write, _real_pwrite)
        data = read(source, count) if source_at is None else pread(source, count, source_at)
        if not data:
            return 0
        done = write(target, data) if target_at is None else pwrite(target, data, target_at)
        if source_at is None and done < len(data) and source in self.descriptors:
            self.descriptors[source].position -= len(data) - done
        return done

    def splice(
        self, src: int, dst: int, count: int,
        offset_src: int | None = None, offset_dst: int | None = None, flags: int = 0,
    ) -> int:  # fmt: skip
        """Between an explored file and a pipe, which is real: the read or the write that it is; short as in _copy."""
        if count < 0:
            raise ValueError("count cannot be negative")
        if flags & ~_SPLICE_FLAGS:
            raise failure(errno.EINVAL)
        if not count:
            return 0
        pipe, explored = (dst, src) if src in self.descriptors else (src, dst)
        description, count = self.descriptors[explored], min(count, _COPY)
        is_pipe = pipe not in self.descriptors and stat.S_ISFIFO(_real_fstat(pipe).st_mode)
        if is_pipe and (offset_dst if pipe == dst else offset_src) is not None:
            raise failure(errno.ESPIPE)
        if description.flags & os.O_ACCMODE == (os.O_WRONLY if explored == src else os.O_RDONLY):
            raise failure(errno.EBADF)
        if not is_pipe or (explored == dst and description.flags & os.O_APPEND) or description.file.inode.is_directory:
            raise failure(errno.EINVAL)
        if flags & os.SPLICE_F_NONBLOCK and not _is_ready(pipe, select.POLLOUT if pipe == dst else select.POLLIN):
            raise failure(errno.EAGAIN)
        if pipe == dst:
            return self._into_pipe(src, dst, count, offset_src)
        at = description.position if offset_dst is None else offset_dst
        count = description.file.room(at, count)
        if not count:  # which says why; what is in the pipe stays there
            return description.file.pwritev([b"\0"], at)
        return self._copy(src, dst, count, None, offset_dst)

    def _into_pipe(self, source: int, pipe: int, count: int, source_at: int | None) -> int:
        """As much as the pipe has room for; it waits for room only where there is none at all."""
        done = 0
        while done < count and (not done or _is_ready(pipe, select.POLLOUT)):
            at = None if source_at is None else source_at + done
            moved = self._copy(source, pipe, min(count - done, select.PIPE_BUF), at, None)
            if not moved:
                break
            done += moved
        return done

    # Size and durability

    def fsync(self, fd: Any) -> None:
        self.descriptors[number_of(fd)].file.fsync()

    def fdatasync(self, fd: Any) -> None:
        self.descriptors[number_of(fd)].file.fdatasync()

    def ftruncate(self, fd: int, length: int) -> None:
        self.descriptors[fd].file.truncate(length)

    def posix_fallocate(self, fd: int, offset: int, length: int) -> None:
        self.descriptors[fd].file.allocate(offset, length, keep_size=False)

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None:
        self.descriptors[fd]

    # Looking

    def fstat(self, fd: int) -> StatResult:
        return StatResult(self.descriptors[fd].file.stat())

    def isatty(self, fd: int) -> bool:
        return False

    def device_encoding(self, fd: int) -> None:
        return None

    def get_blocking(self, fd: int) -> bool:
        return True

    def set_blocking(self, fd: int, blocking: bool) -> None:
        self.descriptors[fd]

    # Locks: one process is explored at a time, so record locks never meet another's

    def flock(self, fd: Any, operation: int) -> None:
        description = self.descriptors[number_of(fd)]
        holders = self._flocks.setdefault(description.inode, {})
        kind = operation & ~real_fcntl.LOCK_NB
        if kind == real_fcntl.LOCK_UN:
            holders.pop(description, None)
            return
        if kind not in (real_fcntl.LOCK_SH, real_fcntl.LOCK_EX):
            raise failure(errno.EINVAL)
        exclusive = kind == real_fcntl.LOCK_EX
        others = [held for holder, held in holders.items() if holder is not description]
        if others and (exclusive or any(others)):
            if operation & real_fcntl.LOCK_NB:
                raise failure(errno.EAGAIN)
            raise UnseenAccessError(
                f"flock of {description.path!r} would wait for another open file of this same process; "
                "the explorer runs one process and cannot wait: use LOCK_NB"
            )
        holders[description] = exclusive

    def lockf(self, fd: Any, command: int, *rest: int) -> None:
        self.descriptors[number_of(fd)]

    def fcntl(self, fd: Any, cmd: int, arg: Any = 0) -> Any:
        description = self.descriptors[number_of(fd)]
        answers: dict[int, Callable[[], Any]] = {
            real_fcntl.F_GETFL: lambda: description.flags,
            real_fcntl.F_GETFD: lambda: real_fcntl.FD_CLOEXEC,
            real_fcntl.F_SETFD: lambda: 0,
            real_fcntl.F_SETFL: lambda: _set_flags(description, arg),
            real_fcntl.F_SETLK: lambda: arg,
            real_fcntl.F_SETLKW: lambda: arg,
            real_fcntl.F_OFD_SETLK: lambda: arg,
            real_fcntl.F_OFD_SETLKW: lambda: arg,
            real_fcntl.F_DUPFD: lambda: self.descriptors.add(description),
            real_fcntl.F_DUPFD_CLOEXEC: lambda: self.descriptors.add(description),
        }
        if cmd not in answers:
            raise UnseenAccessError(f"fcntl of {description.path!r}: the explorer does not know command {cmd}")
        return answers[cmd]()

    def ioctl(self, fd: Any, request: int, arg: Any = 0, mutate_flag: bool = True) -> Any:
        self.descriptors[number_of(fd)]
        raise failure(errno.ENOTTY)


def _is_numpys() -> bool:
    """Whether this call comes from numpy's C code, which duplicates a descriptor before it takes it."""
    frame = sys._getframe(2)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("untorn.explore.interpose"):
        frame = frame.f_back
    return not {"fromfile", "tofile"}.isdisjoint(frame.f_code.co_names)


def _is_ready(pipe: int, event: int) -> bool:
    """Whether a pipe has something to read, or room to write, or an end that nobody holds any more."""
    poll = select.poll()
    poll.register(pipe, event)
    return bool(poll.poll(0))


def _set_flags(description: Description, flags: int) -> int:
    """Only what changes nothing of how the file is written."""
    if (flags ^ description.flags) & (os.O_APPEND | os.O_DIRECT):
        raise UnseenAccessError(
            f"fcntl(F_SETFL) of {description.path!r}: the explorer cannot change O_APPEND or O_DIRECT of an open file; "
            "open it with the flag"
        )
    description.flags = description.flags & ~os.O_NONBLOCK | flags & os.O_NONBLOCK
    return 0


def number_of(fd: Any) -> int:
    """The descriptor, of itself or of an object with ``fileno``."""
    return fd if isinstance(fd, int) else int(fd.fileno())
