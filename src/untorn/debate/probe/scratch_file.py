"""What an assertion works on: a scratch file behind a small protocol, so that any kind of file can be asked.

The five primitives every file has. The rest only some have, and others say Unsupported, with a reason.
"""

from __future__ import annotations

import os
import resource
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from untorn.storage.interface import AtomicLimits, Buffer, Storage, StorageFile

READ_UNIT = 4096
"""Lengths of reads are multiples of it, which direct I/O takes on any device."""


class Unsupported(Exception):
    """The assertion cannot be tried here; says why."""


@contextmanager
def _size_limit(size: int) -> Iterator[None]:
    """RLIMIT_FSIZE, of this process. (Python ignores SIGXFSZ.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard != resource.RLIM_INFINITY and hard < size:
        raise Unsupported(f"this process may write no file of more than {hard} bytes")
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Scratch(ABC):
    """One scratch file, empty at first. Offsets and lengths in bytes, errors as OSError."""

    granule: int = 1
    """What offset and length of a plain write must be multiples of."""

    threads: bool = True
    """Whether several threads may write at once."""

    @abstractmethod
    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        """pwritev2(2) with RWF_* flags; returns bytes written."""

    @abstractmethod
    def pread(self, length: int, offset: int) -> bytes:
        """At most ``length`` bytes from ``offset``, fewer only at the end."""

    @abstractmethod
    def truncate(self, size: int) -> None:
        """Cuts, or extends with zeros."""

    @abstractmethod
    def limits(self) -> AtomicLimits:
        """Which writes with RWF_ATOMIC it claims to take; all 0 if none."""

    @abstractmethod
    def size(self) -> int:
        """The file's size."""

    @abstractmethod
    def close(self) -> None:
        """Closes it; further calls do nothing."""

    @abstractmethod
    def reread(self) -> bytes:
        """All of it, after it was closed, as whoever opens it next reads it."""

    def content(self) -> bytes:
        """All of it."""
        return self.pread(-(-self.size() // READ_UNIT) * READ_UNIT + READ_UNIT, 0)

    # What only some have

    def allocate(self, offset: int, length: int) -> None:
        """Blocks that were never written, within the size."""
        raise Unsupported("the file cannot reserve blocks")

    def limited(self, size: int) -> AbstractContextManager[None]:
        """While no file may grow beyond ``size``."""
        return _size_limit(size)

    def pwritev_raw(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        """As pwritev, and nobody moves the bytes to memory that suits direct I/O better."""
        return self.pwritev(buffers, offset, flags)

    def write_faulting(self, length: int, offset: int, flags: int) -> int:
        """As pwritev, of memory whose second half is not there."""
        raise Unsupported("the file copies the bytes before it begins")

    def read_only(self) -> Scratch:
        """The same file, opened for reading; this one may be closed by it."""
        raise Unsupported("the file cannot be opened again")

    def clone(self) -> Scratch:
        """Another file that shares its blocks (a reflink)."""
        raise Unsupported("the file has no reflinks")

    def read_flagged(self, length: int, flags: int) -> bytes:
        """preadv2(2) with RWF_* flags."""
        raise Unsupported("the file reads without flags")

    def write_cached(self, data: bytes, offset: int) -> None:
        """A plain write to the kernel's page cache, by another descriptor; nothing is synced."""
        raise Unsupported("the kernel's page cache is not beneath this file")

    def stored(self, data: bytes, offset: int) -> AbstractContextManager[None]:
        """While a shared mapping of the file is there, through which ``data`` was stored."""
        raise Unsupported("the file cannot be mapped")


class Subject(ABC):
    """A kind of file that can be probed."""

    name: str
    """In words, such as "direct I/O"."""

    block_size: int
    """Of the file system; in bytes."""

    @abstractmethod
    def create(self) -> Scratch:
        """A new scratch file, readable and writable. OSError if this kind cannot be had here."""

    @abstractmethod
    def exact(self, limits: AtomicLimits) -> bool:
        """Whether a file with these limits has to refuse what is against the kernel's rules, with its errno.

        One that takes more may take such a write too, but then whole.
        """


class StorageScratch(Scratch):
    """A file of a storage: of Linux, or a simulated one."""

    def __init__(self, storage: Storage, file: StorageFile, *, direct: bool, granule: int) -> None:
        self.granule = granule
        self._storage = storage
        self._file = file
        self._direct = direct

    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        return self._file.pwritev(buffers, offset, flags)

    def pread(self, length: int, offset: int) -> bytes:
        """In one call, for the end of the file need not be where direct I/O can go on."""
        return self._file.pread(length, offset)

    def truncate(self, size: int) -> None:
        self._file.truncate(size)

    def limits(self) -> AtomicLimits:
        """What statx says is of direct I/O only."""
        return self._file.atomic_limits() if self._direct else AtomicLimits()

    def size(self) -> int:
        return self._file.stat().size

    def close(self) -> None:
        self._file.close()

    def reread(self) -> bytes:
        self._file.close()
        file = self._storage.open(self._file.path, os.O_RDONLY)
        try:
            return file.read(file.stat().size, 0)
        finally:
            file.close()

    def allocate(self, offset: int, length: int) -> None:
        self._file.allocate(offset, length, keep_size=False)

    def read_only(self) -> Scratch:
        flags = os.O_DIRECT if self._direct else 0
        file = self._storage.open(self._file.path, os.O_RDONLY | flags)
        return type(self)(self._storage, file, direct=self._direct, granule=self.granule)
