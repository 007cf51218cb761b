"""The real thing: the seam over Linux system calls.

fallocate(2) with its mode goes through ctypes, for ``os.posix_fallocate`` always moves the size, and so does
statx(2), in a module of its own.
Nothing is cached but an open file's birth time, which its inode keeps for life: statx through ctypes
costs five times what ``os.fstat`` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import io
import mmap
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from untorn.storage import filesystem, statx
from untorn.storage.interface import (
    IOV_MAX,
    RWF_ATOMIC,
    AtomicLimits,
    Buffer,
    Directory,
    FileStat,
    FileSystem,
    Storage,
    StorageFile,
)
from untorn.storage.statx import Alignment

PREAD_MAX: Final = 64 << 20
"""Most bytes of one pread, for Python allocates the buffer before it knows what is there; and of one plain write
that is copied to aligned memory."""

SPARE_SIZE: Final = 1 << 20
"""Bytes of an aligned buffer that is kept for the next call; larger ones are made anew."""

CLOSED: Final = (1 << 31) - 1
"""In place of the descriptor once it is closed: the kernel says EBADF to it, Python to -1 ValueError."""

ZEROS_MAX: Final = 1 << 20
"""Bytes of zeros written at a time where the file system has no fallocate."""

OFFSET_MAX: Final = (1 << 63) - 1
"""Largest off_t."""

_FALLOC_FL_KEEP_SIZE: Final = 0x01  # linux/falloc.h

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_libc, "fallocate64", None) or _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_fallocate.restype = ctypes.c_int


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


def _stat_result(result: os.stat_result, birth_ns: int | None) -> FileStat:
    return FileStat(
        result.st_dev, result.st_ino, result.st_mode, result.st_uid, result.st_gid, result.st_nlink,
        result.st_size, result.st_mtime_ns, birth_ns,
    )  # fmt: skip


class LinuxFile(StorageFile):
    """One file descriptor; after ``close`` every call gives EBADF."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.path = path
        self._descriptor = descriptor
        self._birth_ns: int | None = None
        self._birth_known = False
        self._reader = CLOSED

    def pread(self, length: int, offset: int) -> bytes:
        return os.pread(self._descriptor, min(length, PREAD_MAX), offset)

    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        if offset < 0:  # to pwritev2(2), which Python calls, -1 is the file position
            raise _error(errno.EINVAL, self.shown)
        return os.pwritev(self._descriptor, buffers, offset, flags)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def allocate(self, offset: int, length: int, *, keep_size: bool) -> None:
        mode = _FALLOC_FL_KEEP_SIZE if keep_size else 0
        while _fallocate(self._descriptor, mode, offset, length):
            code = ctypes.get_errno()
            if code in (errno.EOPNOTSUPP, errno.ENOSYS):
                if not keep_size:
                    self._write_zeros(offset + length)
                return
            if code != errno.EINTR:
                raise _error(code, self.shown)

    def _write_zeros(self, end: int) -> None:
        """Extends to ``end`` with blocks of its own; on error the size is as before."""
        size = os.fstat(self._descriptor).st_size
        zeros = memoryview(bytes(min(ZEROS_MAX, max(0, end - size))))
        offset = size
        try:
            while offset < end:
                offset += self.pwritev([zeros[: end - offset]], offset)
        except BaseException:
            os.ftruncate(self._descriptor, size)
            raise

    def first_hole(self) -> int:
        try:
            return os.lseek(self._descriptor, 0, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # an empty file has no byte to ask about
                return 0
            raise

    def within_limit(self, size: int) -> bool:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return limit == resource.RLIM_INFINITY or size <= limit

    def check_size(self, size: int) -> None:
        if size > OFFSET_MAX or not self.within_limit(size):
            raise _error(errno.EFBIG, self.shown)
        try:
            os.lseek(self._descriptor, size, os.SEEK_SET)
        except OSError as error:
            if error.errno == errno.EINVAL:  # vfs_setpos: beyond the file system's s_maxbytes
                raise _error(errno.EFBIG, self.shown) from None
            raise

    def fdatasync(self) -> None:
        os.fdatasync(self._descriptor)

    def fsync(self) -> None:
        os.fsync(self._descriptor)

    def lock(self, *, exclusive: bool) -> None:
        """As flock(2): a change from shared to exclusive that fails loses the shared lock too."""
        fcntl.flock(self._descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)

    def lock_holder(self) -> int | None:
        result = os.fstat(self._descriptor)
        try:
            with open("/proc/locks", "rb") as locks:
                return _holder(locks.read().decode("ascii", "replace"), result.st_dev, result.st_ino)
        except OSError:  # no /proc: the system does not tell
            return None

    def getxattr(self, name: str) -> bytes | None:
        try:
            return os.getxattr(self._descriptor, name)
        except OSError as error:
            if error.errno == errno.ENODATA:
                return None
            raise

    def setxattr(self, name: str, value: bytes) -> None:
        os.setxattr(self._descriptor, name, value)

    def removexattr(self, name: str) -> None:
        os.removexattr(self._descriptor, name)

    def stat(self) -> FileStat:
        result = os.fstat(self._descriptor)
        if not self._birth_known and statx.AVAILABLE:
            self._birth_ns = statx.file_stat(self._descriptor, b"", statx.AT_EMPTY_PATH, self.shown).birth_ns
        self._birth_known = True
        return _stat_result(result, self._birth_ns)

    def atomic_limits(self) -> AtomicLimits:
        return statx.io_limits(self._descriptor, self.shown)[1]

    def hardware_unit_max(self) -> int:
        """As the device's queue has it, for statx does not tell where the file system does it all by copying."""
        limits = self.atomic_limits()
        if not limits.unit_min:
            return 0
        device = os.fstat(self._descriptor).st_dev
        node = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
        for queue in ("queue", "../queue"):  # a partition has none of its own
            try:
                with open(f"{node}/{queue}/atomic_write_unit_max_bytes", "rb") as file:
                    largest = min(int(file.read()), limits.unit_max_opt or limits.unit_max)
                    return largest if largest >= limits.unit_min else 0
            except OSError:  # not there, or a device that only its file system knows
                continue
        return 0

    def direct_alignment(self) -> Alignment:
        """What direct I/O on this file wants of memory, and of offset and length."""
        return statx.io_limits(self._descriptor, self.shown)[0]

    def set_owner(self, mode: int, uid: int, gid: int) -> None:
        mode &= 0o777
        if not (self._change_owner(uid, gid) or self._change_owner(-1, gid)):
            mode &= ~stat.S_IRWXG
        os.fchmod(self._descriptor, mode)

    def _change_owner(self, uid: int, gid: int) -> bool:
        try:
            os.fchown(self._descriptor, uid, gid)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):  # EINVAL: no such id in this namespace
                raise
            return False
        return True

    def on_network(self) -> bool:
        return filesystem.on_network(self._descriptor)

    def filesystem(self) -> FileSystem:
        return filesystem.describe(self._descriptor)

    def where(self) -> str | None:
        try:
            name = os.readlink(f"/proc/self/fd/{self._descriptor}")
        except OSError:  # no /proc: the system does not tell
            return self.path
        return None if name.endswith(" (deleted)") and not os.fstat(self._descriptor).st_nlink else name

    def reader(self) -> int:
        if self._reader == CLOSED:
            # Opened anew, for a duplicate could be written. Its name may be another by now; /proc finds the inode.
            try:
                self._reader = os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise io.UnsupportedOperation("fileno: needs /proc, which is not mounted") from None
        return self._reader

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, CLOSED
        reader, self._reader = self._reader, CLOSED
        if reader != CLOSED:
            os.close(reader)
        if descriptor != CLOSED:
            os.close(descriptor)


class DirectFile(LinuxFile):
    """A file opened with O_DIRECT: memory is aligned here, offset and length are for the kernel to judge."""

    def __init__(self, descriptor: int, path: str) -> None:
        super().__init__(descriptor, path)
        self._alignment = self.direct_alignment().memory or mmap.PAGESIZE
        self._spare: list[tuple[int, mmap.mmap]] = []
        """Buffers of SPARE_SIZE with the process they are of. Each call takes its own; lists are safe among threads."""

    @contextlib.contextmanager
    def _aligned(self, length: int) -> Iterator[memoryview]:
        """Page-aligned memory. Shared, for a fork during direct I/O does harm to private memory (open(2))."""
        if length > SPARE_SIZE:
            yield memoryview(mmap.mmap(-1, length))
            return
        buffer: mmap.mmap | None
        try:
            owner, buffer = self._spare.pop()
        except IndexError:
            owner, buffer = 0, None
        if buffer is None or owner != os.getpid():  # a child would share it with its parent
            owner, buffer = os.getpid(), mmap.mmap(-1, SPARE_SIZE)
        yield memoryview(buffer)[:length]
        self._spare.append((owner, buffer))

    def pread(self, length: int, offset: int) -> bytes:
        if length < 0 or offset < 0:
            raise _error(errno.EINVAL, self.shown)
        with self._aligned(min(length, PREAD_MAX)) as memory:
            return bytes(memory[: os.preadv(self._descriptor, [memory], offset)])

    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        """Of an atomic write the kernel judges the number of buffers too, so each is aligned on its own."""
        if len(buffers) > IOV_MAX or all(_is_aligned(buffer, self._alignment) for buffer in buffers):
            return super().pwritev(buffers, offset, flags)
        if not flags & RWF_ATOMIC:
            return self._write_joined(buffers, offset, flags)
        starts = list(accumulate((-(-len(buffer) // mmap.PAGESIZE) * mmap.PAGESIZE for buffer in buffers), initial=0))
        with self._aligned(starts[-1]) as memory:
            views = [memory[start : start + len(buffer)] for start, buffer in zip(starts, buffers, strict=False)]
            for view, buffer in zip(views, buffers, strict=True):
                view[:] = buffer
            return super().pwritev(views, offset, flags)

    def _write_joined(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        length = min(sum(map(len, buffers)), PREAD_MAX)
        with self._aligned(length) as memory:
            at = 0
            for buffer in buffers:
                part = memoryview(buffer)[: length - at]
                memory[at : at + len(part)] = part
                at += len(part)
            return super().pwritev([memory], offset, flags)


def _is_aligned(buffer: Buffer, alignment: int) -> bool:
    """Whether the device can take it as it lies; of read-only memory the address is not known."""
    view = memoryview(buffer)
    if not view.nbytes:
        return True
    if view.readonly or view.nbytes % alignment:
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) % alignment == 0


def _holder(locks: str, device: int, inode: int) -> int | None:
    """The pid in the text of /proc/locks whose flock is on the inode, another's rather than our own.

    The device there is the superblock's, which is not ``st_dev`` on btrfs: preferred, not required.
    Pids of other namespaces are shown as 0 or not at all.
    """
    exact: list[int] = []
    alike: list[int] = []
    for line in locks.splitlines():
        fields = line.split()
        if len(fields) < 6 or fields[1] != "FLOCK":  # "->" there is one that waits
            continue
        major, minor, number = fields[5].split(":")
        if int(number) != inode or int(fields[4]) <= 0:
            continue
        same = (int(major, 16), int(minor, 16)) == (os.major(device), os.minor(device))
        (exact if same else alike).append(int(fields[4]))
    holders = exact or alike
    others = [pid for pid in holders if pid != os.getpid()]
    return next(iter(others or holders), None)


class LinuxDirectory(Directory):
    """A directory that stays open: one that is renamed or swapped meanwhile redirects nothing, and what uses it later
    needs no further descriptor."""

    def __init__(self, storage: Storage, path: str) -> None:
        super().__init__(storage, path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, name: str, flags: int, mode: int = 0o666) -> LinuxFile:
        kind = DirectFile if flags & os.O_DIRECT else LinuxFile
        path = os.path.join(self.path, name)
        return kind(os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=self._descriptor), path)

    def stat(self, name: str) -> FileStat:
        if not statx.AVAILABLE:
            return _stat_result(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False), None)
        path = os.path.join(self.path, name)
        return statx.file_stat(self._descriptor, os.fsencode(name), statx.AT_SYMLINK_NOFOLLOW, path)

    def unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self._descriptor)

    def _sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, CLOSED
        if descriptor != CLOSED:
            os.close(descriptor)


class LinuxStorage(Storage):
    """The file systems that this process sees."""

    def open(self, path: str, flags: int, mode: int = 0o666) -> LinuxFile:
        kind = DirectFile if flags & os.O_DIRECT else LinuxFile
        return kind(os.open(path, flags | os.O_CLOEXEC, mode), path)

    def stat(self, path: str) -> FileStat:
        name = os.fsencode(path)
        if not statx.AVAILABLE or b"\0" in name:  # os.lstat refuses the NUL, C would stop there
            return _stat_result(os.lstat(path), None)
        return statx.file_stat(statx.AT_FDCWD, name, statx.AT_SYMLINK_NOFOLLOW, path)

    def resolve(self, path: str) -> str:
        try:
            return os.path.realpath(path, strict=True)
        except FileNotFoundError:
            target = os.path.realpath(path)
            os.path.realpath(os.path.dirname(target), strict=True)
            return target

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def listdir(self, path: str) -> list[str]:
        return os.listdir(path)

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def directory(self, path: str) -> Directory:
        return LinuxDirectory(self, path)

    def random_bytes(self, length: int) -> bytes:
        return os.urandom(length)

    def user(self) -> int:
        return os.geteuid()
