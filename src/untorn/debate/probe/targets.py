"""The kinds of files that the command probes: Linux's own, with and without direct I/O, and untorn's."""

from __future__ import annotations

import errno
import fcntl
import itertools
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import untorn
from untorn.api.options import DesignName
from untorn.debate.probe.scratch_file import Scratch, StorageScratch, Subject, Unsupported
from untorn.errors import HandleFailedError
from untorn.sizes import BLOCK
from untorn.storage.interface import AtomicLimits, Buffer, Storage
from untorn.storage.linux import DirectFile, LinuxStorage

_FICLONE: Final = 0x40049409  # linux/fs.h
_NO_REFLINKS: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EXDEV, errno.ENOSYS)
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL


class LinuxSubject(Subject):
    """The kernel's own files in ``folder``."""

    def __init__(self, folder: str, *, direct: bool) -> None:
        self.name = "direct I/O" if direct else "buffered I/O"
        self.block_size = os.statvfs(folder).f_bsize
        self._folder = folder
        self._direct = direct
        self._numbers = itertools.count(1)

    def create(self) -> Scratch:
        path = os.path.join(self._folder, f"{'direct' if self._direct else 'buffered'}-{next(self._numbers)}")
        storage = LinuxStorage()
        file = storage.open(path, _NEW | (os.O_DIRECT if self._direct else 0))
        granule = (file.direct_alignment().offset or self.block_size) if isinstance(file, DirectFile) else 1
        return LinuxScratch(storage, file, direct=self._direct, granule=granule)

    def exact(self, limits: AtomicLimits) -> bool:
        return True


class LinuxScratch(StorageScratch):
    """A file of Linux, with what only the kernel has."""

    _clones = 0

    @property
    def _path(self) -> str:
        return self._file.path

    @contextmanager
    def _another(self, path: str, flags: int) -> Iterator[int]:
        """Another descriptor, without direct I/O."""
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def pwritev_raw(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        with self._another(self._path, os.O_WRONLY | (os.O_DIRECT if self._direct else 0)) as descriptor:
            return os.pwritev(descriptor, buffers, offset, flags)

    def write_faulting(self, length: int, offset: int, flags: int) -> int:
        """From a mapping of a file that was cut to half meanwhile."""
        with self._another(self._path + "-memory", os.O_RDWR | os.O_CREAT) as descriptor:
            os.ftruncate(descriptor, length)
            with mmap.mmap(descriptor, length) as memory:
                os.ftruncate(descriptor, length // 2)
                return self.pwritev_raw([memory], offset, flags)  # type: ignore[list-item]

    def clone(self) -> Scratch:
        self._clones += 1
        path = f"{self._path}-clone-{self._clones}"
        with self._another(self._path, os.O_RDONLY) as source, self._another(path, _NEW) as target:
            try:
                fcntl.ioctl(target, _FICLONE, source)
            except OSError as error:
                if error.errno not in _NO_REFLINKS:
                    raise
                raise Unsupported("the file system has no reflinks") from None
        file = self._storage.open(path, os.O_RDWR)
        return LinuxScratch(self._storage, file, direct=False, granule=1)

    def read_flagged(self, length: int, flags: int) -> bytes:
        memory = memoryview(mmap.mmap(-1, length))
        with self._another(self._path, os.O_RDONLY | (os.O_DIRECT if self._direct else 0)) as descriptor:
            return bytes(memory[: os.preadv(descriptor, [memory], 0, flags)])

    def write_cached(self, data: bytes, offset: int) -> None:
        with self._another(self._path, os.O_WRONLY) as descriptor:
            assert os.pwrite(descriptor, data, offset) == len(data)

    @contextmanager
    def stored(self, data: bytes, offset: int) -> Iterator[None]:
        with self._another(self._path, os.O_RDWR) as descriptor:
            mapping = mmap.mmap(descriptor, offset + len(data))
        try:
            mapping[offset:] = data
            yield
        finally:
            mapping.close()


class UntornSubject(Subject):
    """untorn's own files in ``folder``, in one design."""

    def __init__(
        self, folder: str, design: DesignName, *, storage: Storage | None = None, block_size: int = BLOCK
    ) -> None:
        self.name = f"untorn, design {design}"
        self.block_size = block_size
        self._folder = folder
        self._design = design
        self._storage = storage or LinuxStorage()
        self._numbers = itertools.count(1)

    def create(self) -> Scratch:
        path = os.path.join(self._folder, f"{self._design}-{next(self._numbers)}")
        return UntornScratch(path, self._design, self._storage)

    def exact(self, limits: AtomicLimits) -> bool:
        """A design that takes several buffers goes by rules of its own: any size at any offset."""
        return limits.segments_max <= 1


class UntornScratch(Scratch):
    """A file of untorn. Closed, it is an ordinary one."""

    def __init__(self, path: str, design: DesignName, storage: Storage, mode: str = "w+b") -> None:
        self._path = path
        self._design = design
        self._storage = storage
        self._file: Any = untorn.open(path, mode, design=design, storage=storage)

    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        written: int = self._file.pwritev(buffers, offset, flags)
        return written

    def pread(self, length: int, offset: int) -> bytes:
        data: bytes = self._file.pread(length, offset)
        return data

    def truncate(self, size: int) -> None:
        self._file.truncate(size)

    def limits(self) -> AtomicLimits:
        limits: AtomicLimits = self._file.statx()
        return limits

    def size(self) -> int:
        size: int = self._file.seek(0, os.SEEK_END)
        return size

    def close(self) -> None:
        self._file.close()

    def read_only(self) -> Scratch:
        self._file.close()
        return UntornScratch(self._path, self._design, self._storage, "rb")

    def reread(self) -> bytes:
        """As any program reads it, after untorn's recovery if the file failed."""
        try:
            self._file.close()
        except HandleFailedError:
            untorn.open(self._path, "r+b", design=self._design, storage=self._storage).close()
        file = self._storage.open(self._path, os.O_RDONLY)
        try:
            return file.read(file.stat().size, 0)
        finally:
            file.close()
