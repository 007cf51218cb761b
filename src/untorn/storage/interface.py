"""The seam to the outside: everything above runs unchanged over each implementation.

POSIX in shape: offsets and lengths in bytes, times in nanoseconds since 1970, errors as
``OSError`` with the errno that Linux gives. The primitives transfer short where the kernel
may; the methods that are implemented here, ``read`` and ``write``, finish the job.
Paths are ``str`` in the file system's encoding with surrogate escapes (``os.fsdecode``).

No clock, thread, random number or environment variable is used above this seam but through it.
"""

from __future__ import annotations

import errno
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from xxhash import xxh3_64_intdigest

from untorn.sizes import SECTOR

IOV_MAX: Final = 1024
"""Most buffers in one pwritev, as limits.h of Linux has it."""

READ_CHUNK: Final = 1 << 20
"""Most bytes that a streaming reader holds at a time."""

RWF_DSYNC: Final = 0x02  # uapi/linux/fs.h, as os.RWF_DSYNC where Python was built with it
RWF_SYNC: Final = 0x04
RWF_APPEND: Final = 0x10
RWF_ATOMIC: Final = 0x40

NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that say that there is no room, and that nothing else is wrong."""

NO_SYNC: Final = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors that say that a file system cannot sync a directory, not that it failed to."""

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")


class FileStat(NamedTuple):
    """What identifies an inode and tells whether it changed."""

    device: int
    inode: int
    mode: int
    """As st_mode: type and permissions."""
    uid: int
    gid: int
    links: int
    size: int
    mtime_ns: int
    birth_ns: int | None
    """Birth time, or None where the file system has none."""

    def older_than(self, mtime_ns: int) -> bool:
        """Whether it was last changed before that time."""
        return self.mtime_ns < mtime_ns


class Piece(NamedTuple):
    """Bytes that follow one another in a file, with the digest they must have."""

    length: int
    digest: int


class AtomicLimits(NamedTuple):
    """Which writes RWF_ATOMIC takes, in bytes, as statx(2) names them; all 0 where it takes none."""

    unit_min: int = 0
    unit_max: int = 0
    unit_max_opt: int = 0
    """Up to here the hardware does it; 0 where ``unit_max`` says it already."""
    segments_max: int = 0
    """Buffers in one call."""


class FileSystem(NamedTuple):
    """What an open file's file system is like, as the system tells it. What is needed: docs/guides/filesystems.md."""

    kind: str
    """As mount(8) has it: ``ext4``, ``nfs4``, ``fuse.sshfs``; ``unknown`` if the system does not tell."""
    network: bool
    survives_power_failure: bool | None
    """Whether what was synced survives, if the device keeps what it confirms; None if that cannot be told."""
    sentence: str
    """The same in words."""


class StorageFile(ABC):
    """One open file. Not thread-safe beyond what the kernel gives; callers hold locks."""

    path: str
    given_name: str | None = None

    @property
    def shown(self) -> str:
        """The name that errors show: as the caller gave it, where he did."""
        return self.given_name or self.path

    @abstractmethod
    def pread(self, length: int, offset: int) -> bytes:
        """At most ``length`` bytes from ``offset``; may be short; ``b""`` only at the end."""

    @abstractmethod
    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        """Writes at most IOV_MAX buffers one behind the other; returns bytes written, may be short.

        With RWF_ATOMIC a power failure leaves all of it or nothing, if the kernel's rules accept it; else OSError:
        EOPNOTSUPP for a file without limits or without O_DIRECT, EINVAL for a length that is no power of two within
        the limits, for an offset that is no multiple of the length, and for more than one buffer.
        """

    @abstractmethod
    def truncate(self, size: int) -> None:
        """ftruncate: cuts, or extends with zeros."""

    @abstractmethod
    def allocate(self, offset: int, length: int, *, keep_size: bool) -> None:
        """fallocate: reserves blocks, which read as zeros where nothing was; ENOSPC comes here.

        A failure may leave a part reserved, and the size grown.
        """

    @abstractmethod
    def first_hole(self) -> int:
        """Offset of the first byte that was never written (SEEK_HOLE), at most the size; reserved is not written."""

    @abstractmethod
    def check_size(self, size: int) -> None:
        """Raises EFBIG if the file may not grow to ``size``, by RLIMIT_FSIZE or by its file system."""

    @abstractmethod
    def fdatasync(self) -> None:
        """Makes data durable, and the size needed to read it."""

    @abstractmethod
    def fsync(self) -> None:
        """Makes data, size, times and attributes durable; not the name."""

    @abstractmethod
    def lock(self, *, exclusive: bool) -> None:
        """flock without waiting; BlockingIOError if another open file holds it against us."""

    @abstractmethod
    def lock_holder(self) -> int | None:
        """The pid of a process that holds the flock, if the system tells."""

    @abstractmethod
    def getxattr(self, name: str) -> bytes | None:
        """The attribute, None if it is not set; ENOTSUP where there are none."""

    @abstractmethod
    def setxattr(self, name: str, value: bytes) -> None:
        """Sets the attribute; durable after fsync."""

    @abstractmethod
    def removexattr(self, name: str) -> None:
        """Removes the attribute; durable after fsync. ENODATA if it is not set."""

    @abstractmethod
    def stat(self) -> FileStat:
        """fstat."""

    @abstractmethod
    def atomic_limits(self) -> AtomicLimits:
        """What statx tells of RWF_ATOMIC here. On Linux that is for direct I/O only, whoever asks."""

    def hardware_unit_max(self) -> int:
        """The largest of these writes that the device itself does whole; 0 if there is none, or nobody tells."""
        limits = self.atomic_limits()
        return limits.unit_max_opt or limits.unit_max

    def on_network(self) -> bool:
        """Whether the file is on a network file system; cheap."""
        return False

    def filesystem(self) -> FileSystem | None:
        """What the file's file system is like, if the storage has one."""
        return None

    def within_limit(self, size: int) -> bool:
        """Whether this process may write the file up to ``size`` (RLIMIT_FSIZE), which can be lowered at any time."""
        return True

    def where(self) -> str | None:
        """The name that the open file has now, if the system tells: it may have been renamed. None if it has none."""
        return self.path

    def reader(self) -> int:
        """A descriptor of the file that can be read and not written, closed with it; io.UnsupportedOperation if not."""
        raise io.UnsupportedOperation("fileno: this storage has no descriptors")

    @abstractmethod
    def set_owner(self, mode: int, uid: int, gid: int) -> None:
        """fchown to ``uid`` and ``gid``, as far as that is allowed, then fchmod to the permission bits of ``mode``.

        Where the group could not be had, ours gets no rights that were meant for it. No set-id bits.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes; the flock goes with the last open file. Further calls do nothing."""

    def read(self, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset``, fewer only where the file ends."""
        data = self.pread(length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        done = len(data)
        while done < length:
            data = self.pread(length - done, offset + done)
            if not data:
                break
            parts.append(data)
            done += len(data)
        return b"".join(parts)

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> None:
        """Writes all the buffers one behind the other, in as few calls as IOV_MAX allows.

        OSError from the call that failed; what the calls before it wrote stays written.
        """
        rest = list(buffers)
        start = 0
        while start < len(rest):
            batch = rest[start : start + IOV_MAX]
            written = self.pwritev(batch, offset, flags)
            if written == 0 and any(len(buffer) for buffer in batch):
                raise OSError(errno.EIO, os.strerror(errno.EIO), self.path)
            offset += written
            if written == sum(map(len, batch)):
                start += len(batch)
                continue
            for buffer in batch:
                if written < len(buffer):
                    break
                written -= len(buffer)
                start += 1
            if written:
                rest[start] = memoryview(rest[start])[written:]

    def verify(self, offset: int, pieces: Sequence[Piece], seed: int) -> bool:
        """Whether the pieces that follow one another from ``offset`` all have their xxh3_64 digests.

        One question with two answers, so that an explorer need not branch on each sector.
        Holds at most READ_CHUNK bytes, or one piece, at a time.
        """
        start = 0
        while start < len(pieces):
            stop, length = start, 0
            while stop < len(pieces) and (stop == start or length + pieces[stop].length <= READ_CHUNK):
                length += pieces[stop].length
                stop += 1
            data = memoryview(self.read(length, offset))
            if len(data) != length:
                return False
            offset += length
            at = 0
            for piece in pieces[start:stop]:
                if xxh3_64_intdigest(data[at : at + piece.length], seed) != piece.digest:
                    return False
                at += piece.length
            start = stop
        return True

    def read_verified(self, length: int, offset: int, digest: int, seed: int) -> bytes | None:
        """The bytes if they have the digest, else None."""
        if not self.verify(offset, [Piece(length, digest)], seed):
            return None
        return self.read(length, offset)

    def observe(self, start: int, stop: int, stride: int, classify: Callable[[bytes], T]) -> Iterator[T]:
        """``classify`` of the sector at ``start``, ``start + stride``, ... below ``stop``, as far as the file goes.

        ``classify`` must be pure, so that an explorer branches once per answer and not per content.
        """
        while start < stop:
            chunk = self.read(min(READ_CHUNK, stop - start), start)
            for at in range(0, len(chunk), stride):
                yield classify(chunk[at : at + SECTOR])
            if len(chunk) < READ_CHUNK:
                return
            start += READ_CHUNK


class Storage(ABC):
    """A place where files are: names, and what only the outside knows."""

    @abstractmethod
    def open(self, path: str, flags: int, mode: int = 0o666) -> StorageFile:
        """open(2) with ``os.O_*`` flags; O_CLOEXEC is always set. Regular files and others alike."""

    @abstractmethod
    def stat(self, path: str) -> FileStat:
        """lstat: of the name itself, FileNotFoundError if there is none."""

    @abstractmethod
    def resolve(self, path: str) -> str:
        """The absolute path with every symbolic link followed; the last name need not exist."""

    @abstractmethod
    def unlink(self, path: str) -> None:
        """Removes a name; durable after sync_directory."""

    @abstractmethod
    def rename(self, source: str, target: str) -> None:
        """Renames; durable after sync_directory of both directories."""

    @abstractmethod
    def listdir(self, path: str) -> list[str]:
        """The names in directory ``path``, in any order."""

    @abstractmethod
    def sync_directory(self, path: str) -> None:
        """Makes the names in directory ``path`` durable."""

    def directory(self, path: str) -> Directory:
        """The directory at ``path``, to use names in it from now on until it is closed."""
        return Directory(self, path)

    @abstractmethod
    def random_bytes(self, length: int) -> bytes:
        """Bytes that nobody can guess: salts and file ids."""

    @abstractmethod
    def user(self) -> int:
        """Our effective user id."""


class Directory:
    """Names in one directory. This one finds it by its path each time; Linux and the simulated machine hold on to it,
    so that it stays the same."""

    def __init__(self, storage: Storage, path: str) -> None:
        self.path = path
        self._storage = storage

    def _place(self) -> str:
        """Where it is now."""
        return self.path

    def open(self, name: str, flags: int, mode: int = 0o666) -> StorageFile:
        """As Storage.open."""
        return self._storage.open(os.path.join(self._place(), name), flags, mode)

    def stat(self, name: str) -> FileStat:
        """As Storage.stat."""
        return self._storage.stat(os.path.join(self._place(), name))

    def unlink(self, name: str) -> None:
        """As Storage.unlink."""
        self._storage.unlink(os.path.join(self._place(), name))

    def sync(self) -> None:
        """As Storage.sync_directory; where the file system refuses it (NO_SYNC), the error says so in words."""
        try:
            self._sync()
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise
            message = (
                f"{error.strerror}: the file system does not sync directories, so a power failure could take names in "
                "this one; nothing was committed. Use a file elsewhere"
            )
            raise OSError(error.errno, message, self.path) from error

    def _sync(self) -> None:
        self._storage.sync_directory(self._place())

    def close(self) -> None:
        """Lets go of it. Further calls do nothing."""


def joined(buffers: Sequence[Buffer]) -> bytes:
    """The buffers as one immutable value, without a copy where it is one already."""
    if len(buffers) == 1 and type(buffers[0]) is bytes:
        return buffers[0]
    return b"".join(buffers)
