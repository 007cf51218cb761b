"""An open file of the simulated machine."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Any, Final

from untorn.crashmodel.disk_image import Inode
from untorn.crashmodel.machine import Disk, failure
from untorn.crashmodel.trace import Operation
from untorn.sizes import SECTOR
from untorn.storage.interface import (
    IOV_MAX,
    RWF_APPEND,
    RWF_ATOMIC,
    RWF_DSYNC,
    RWF_SYNC,
    AtomicLimits,
    Buffer,
    FileStat,
    StorageFile,
    joined,
)

_FLAGS_KNOWN: Final = 0x01 | RWF_DSYNC | RWF_SYNC | 0x08 | RWF_APPEND | RWF_ATOMIC
"""RWF_HIPRI and RWF_NOWAIT change nothing."""


class SimulatedFile(StorageFile):
    """One open file; EBADF once it is closed or its process or machine is gone."""

    def __init__(self, disk: Disk, handle: int, inode: Inode, path: str, place: str, flags: int) -> None:
        self.path = path
        self._disk = disk
        self._handle = handle
        self._inode = inode
        self._place = place
        access = flags & os.O_ACCMODE
        self._readable = access != os.O_WRONLY
        self._writable = access != os.O_RDONLY
        self._append = bool(flags & os.O_APPEND)
        self._direct = bool(flags & os.O_DIRECT)
        self._sync = RWF_SYNC if flags & os.O_SYNC == os.O_SYNC else RWF_DSYNC if flags & os.O_DSYNC else 0

    @property
    def inode(self) -> Inode:
        """What is open."""
        return self._inode

    @property
    def place(self) -> str:
        """Where it was opened; of a directory where it is now, ENOENT once it is removed."""
        return self._disk.path_of(self._inode.number) if self._inode.is_directory else self._place

    def _begin(self, name: str, *arguments: Any) -> Operation:
        self._check()
        return self._disk.trace.begin(name, self._place, self._inode.number, *arguments)

    def _check(self) -> None:
        if self._disk.dead or self._handle not in self._disk.handles:
            raise failure(errno.EBADF, self.path)

    def _fail(self, operation: Operation, code: int) -> OSError:
        self._disk.trace.end(operation, error=code)
        return failure(code, self.path)

    def _changed(self, operation: Operation, result: object = None) -> None:
        """Completes an operation that moves the modification time."""
        self._inode.mtime_ns = self._disk.tick()
        self._disk.trace.end(operation, result, mtime_ns=self._inode.mtime_ns)

    def pread(self, length: int, offset: int) -> bytes:
        operation = self._begin("pread", length, offset)
        if self._inode.is_directory:
            raise self._fail(operation, errno.EISDIR)
        if not self._readable:
            raise self._fail(operation, errno.EBADF)
        if offset < 0 or length < 0:
            raise self._fail(operation, errno.EINVAL)
        # From the end on there is nothing that would have to be aligned.
        if self._direct and offset < self._inode.content.size and (offset | length) % SECTOR:
            raise self._fail(operation, errno.EINVAL)
        data = self._inode.content.read(offset, length)
        self._disk.trace.end(operation, len(data))
        return data

    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        data = joined(buffers)
        start = self._inode.content.size if self._append or flags & RWF_APPEND else offset
        operation = self._begin("pwritev", start, data, flags | self._sync)
        refusal = self._refusal(buffers, offset, start, len(data), flags)
        if refusal:
            raise self._fail(operation, refusal)
        if not data:
            self._disk.trace.end(operation, 0)
            return 0
        whole = flags & RWF_ATOMIC
        end = min(start + len(data), self._disk.options.size_max)
        if end <= start or (whole and end < start + len(data)):
            raise self._fail(operation, errno.EFBIG)
        fitting = self._disk.fit(self._inode.content, start, end)
        if fitting <= start or (whole and fitting < end):
            raise self._fail(operation, self._disk.options.full)
        written = fitting - start
        self._inode.content.write(start, data if written == len(data) else data[:written])
        self._changed(operation, written)
        return written

    def room(self, offset: int, length: int) -> int:
        """How many bytes of a write would be taken now."""
        end = min(offset + length, self._disk.options.size_max)
        return max(self._disk.fit(self._inode.content, offset, end) - offset, 0) if end > offset else 0

    def _refusal(self, buffers: Sequence[Buffer], offset: int, start: int, length: int, flags: int) -> int:
        """The errno of a write that is not allowed, in the order in which Linux asks; 0 for one that is.

        pwritev2(2): offset, access, buffers, then nothing for no bytes, then kiocb_set_rw_flags, the file system's
        sizes, generic_atomic_write_valid, direct I/O and the block layer. Where the memory lies is not asked.
        Linux 6.18 checks an atomic append by its argument and then misplaces it; here where it lands counts too.
        """
        if offset < 0:
            return errno.EINVAL
        if not self._writable:
            return errno.EBADF
        if len(buffers) > IOV_MAX:
            return errno.EINVAL
        if not length:
            return 0
        limits = self._disk.options.atomic
        if flags & ~_FLAGS_KNOWN or (flags & RWF_ATOMIC and not limits.unit_min):
            return errno.EOPNOTSUPP
        if flags & RWF_ATOMIC:
            if not limits.unit_min <= length <= limits.unit_max:
                return errno.EINVAL
            if len(buffers) > max(limits.segments_max, 1) or length & (length - 1) or offset % length:
                return errno.EINVAL
            if not self._direct:
                return errno.EOPNOTSUPP
            if start % length or self._crosses(start, start + length):
                return errno.EINVAL
        return errno.EINVAL if self._direct and (start | length) % SECTOR else 0

    def _crosses(self, start: int, end: int) -> bool:
        """Whether the device would tear it at its boundary, so that the block layer refuses to send it whole."""
        boundary = self._disk.options.atomic_boundary
        return bool(boundary) and start // boundary != (end - 1) // boundary

    def truncate(self, size: int) -> None:
        operation = self._begin("truncate", size)
        if not self._writable or size < 0:
            raise self._fail(operation, errno.EINVAL)
        if size > self._disk.options.size_max:
            raise self._fail(operation, errno.EFBIG)
        self._inode.content.truncate(size)
        self._changed(operation)

    def allocate(self, offset: int, length: int, *, keep_size: bool) -> None:
        """What fits before the disk is full stays allocated, and moves the size, as on ext4."""
        operation = self._begin("allocate", offset, length, keep_size)
        if not self._writable:
            raise self._fail(operation, errno.EBADF)
        if offset < 0 or length <= 0:
            raise self._fail(operation, errno.EINVAL)
        if offset + length > self._disk.options.size_max:
            raise self._fail(operation, errno.EFBIG)
        content = self._inode.content
        end = self._disk.fit(content, offset, offset + length)
        full = end < offset + length
        if full and end == offset:
            raise self._fail(operation, self._disk.options.full)
        content.reserve(content.missing(offset, end))
        if not keep_size and end > content.size:
            content.truncate(end)
        operation.arguments = (offset, end - offset, keep_size)
        self._changed(operation)
        if full:
            raise failure(self._disk.options.full, self.path)

    def first_hole(self) -> int:
        self._disk.trace.end(self._begin("first_hole"))
        return self._inode.content.first_hole()

    def within_limit(self, size: int) -> bool:
        return size <= self._disk.options.size_max

    def check_size(self, size: int) -> None:
        operation = self._begin("check_size")
        if size > self._disk.options.size_max:
            raise self._fail(operation, errno.EFBIG)
        self._disk.trace.end(operation)

    def fdatasync(self) -> None:
        self._disk.trace.end(self._begin("fdatasync"))

    def fsync(self) -> None:
        self._disk.trace.end(self._begin("sync_directory" if self._inode.is_directory else "fsync"))

    def fail_sync(self, code: int, *, data_only: bool) -> None:
        """A sync that fails with errno ``code``: what it should have made durable may be lost for ever."""
        raise self._fail(self._begin("fdatasync" if data_only else "fsync"), code)

    def lock(self, *, exclusive: bool) -> None:
        """A change of mode that fails loses the old lock, as flock(2) says."""
        operation = self._begin("lock")
        holders = self._disk.locks.setdefault(self._inode.number, {})
        if holders.get(self._handle) is not exclusive:
            holders.pop(self._handle, None)
            if holders and (exclusive or any(holders.values())):
                raise self._fail(operation, errno.EAGAIN)
            holders[self._handle] = exclusive
        self._disk.trace.end(operation)

    def lock_holder(self) -> int | None:
        self._check()
        own = self._disk.handles[self._handle][0]
        holders = [self._disk.handles[handle][0] for handle in self._disk.locks.get(self._inode.number, {})]
        others = [process for process in holders if process != own]
        return next(iter(others or holders), None)

    def _attribute(self, call: str, name: str, *value: bytes) -> Operation:
        operation = self._begin(call, name, *value)
        if not self._disk.options.xattrs or not name.startswith("user."):
            raise self._fail(operation, errno.ENOTSUP)
        return operation

    def getxattr(self, name: str) -> bytes | None:
        self._disk.trace.end(self._attribute("getxattr", name))
        return self._inode.attributes.get(name)

    def setxattr(self, name: str, value: bytes) -> None:
        operation = self._attribute("setxattr", name, bytes(value))
        self._inode.attributes[name] = bytes(value)
        self._disk.trace.end(operation)

    def removexattr(self, name: str) -> None:
        operation = self._attribute("removexattr", name)
        if name not in self._inode.attributes:
            raise self._fail(operation, errno.ENODATA)
        del self._inode.attributes[name]
        self._disk.trace.end(operation)

    def stat(self) -> FileStat:
        self._check()
        return self._disk.stat(self._inode)

    def atomic_limits(self) -> AtomicLimits:
        self._check()
        return self._disk.options.atomic

    def set_owner(self, mode: int, uid: int, gid: int) -> None:
        operation = self._begin("set_owner", mode, gid)
        self._inode.mode = stat.S_IFMT(self._inode.mode) | stat.S_IMODE(mode)
        self._inode.gid = gid
        self._disk.trace.end(operation)

    def set_times(self, mtime_ns: int) -> None:
        """futimens(2), with the time of modification; that of access is not kept."""
        operation = self._begin("set_times", mtime_ns)
        self._inode.mtime_ns = mtime_ns
        self._disk.trace.end(operation, mtime_ns=mtime_ns)

    def attributes(self) -> list[str]:
        """The names of its extended attributes, sorted."""
        self._check()
        return sorted(self._inode.attributes)

    def close(self) -> None:
        if not self._disk.dead and self._handle in self._disk.handles:
            self._disk.trace.end(self._begin("close"))
            self._disk.release(self._handle)
