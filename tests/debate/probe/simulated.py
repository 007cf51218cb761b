"""A simulated file with everything that an assertion may ask for."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from untorn.crashmodel.machine import failure
from untorn.crashmodel.storage import SimulatedStorage
from untorn.debate.probe.scratch_file import Scratch, StorageScratch, Subject
from untorn.storage.interface import AtomicLimits, Buffer

KIB = 1 << 10
LIMITS = AtomicLimits(4 * KIB, 64 * KIB, 16 * KIB, 1)
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


@contextmanager
def size_limit(storage: SimulatedStorage, size: int) -> Iterator[None]:
    """While no file of this machine may exceed ``size``."""
    disk = storage._disk
    options = disk.options
    disk.options = dataclasses.replace(options, size_max=size)
    try:
        yield
    finally:
        disk.options = options


class SimulatedScratch(StorageScratch):
    """Keeps every promise."""

    _storage: SimulatedStorage

    def __init__(self, storage: SimulatedStorage, path: str, *, direct: bool = True) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._clones = 0
        super().__init__(storage, storage.open(path, NEW | (os.O_DIRECT if direct else 0)), direct=direct, granule=512)

    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        with self._turn:
            return self.write(buffers, offset, flags)

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        """What mutants change; one thread at a time."""
        return super().pwritev(buffers, offset, flags)

    def anyhow(self, buffers: Sequence[Buffer], offset: int) -> int:
        """The bytes go to the file past all rules."""
        file = self._storage.open(self._path, os.O_RDWR)
        try:
            return file.pwritev(buffers, offset)
        finally:
            file.close()

    def limited(self, size: int) -> AbstractContextManager[None]:
        return size_limit(self._storage, size)

    def write_faulting(self, length: int, offset: int, flags: int) -> int:
        raise failure(errno.EFAULT, self._path)

    def read_only(self) -> Scratch:
        file = self._storage.open(self._path, os.O_RDONLY | os.O_DIRECT)
        return StorageScratch(self._storage, file, direct=True, granule=512)

    def clone(self) -> Scratch:
        self._clones += 1
        clone = SimulatedScratch(self._storage, f"{self._path}-{self._clones}", direct=False)
        clone.anyhow([self.content()], 0)
        return clone

    def read_flagged(self, length: int, flags: int) -> bytes:
        raise failure(errno.EOPNOTSUPP, self._path)

    def write_cached(self, data: bytes, offset: int) -> None:
        self.anyhow([data], offset)

    @contextmanager
    def stored(self, data: bytes, offset: int) -> Iterator[None]:
        self.anyhow([data], offset)
        yield


class SimulatedSubject(Subject):
    """Simulated files on a machine with these limits."""

    def __init__(
        self, kind: type[SimulatedScratch] = SimulatedScratch, limits: AtomicLimits = LIMITS, *, direct: bool = True
    ) -> None:
        self.name = "simulated"
        self.block_size = 4 * KIB
        self._kind = kind
        self._limits = limits
        self._direct = direct
        self._numbers = itertools.count()

    def create(self) -> Scratch:
        storage = SimulatedStorage(atomic=self._limits)
        return self._kind(storage, f"/scratch-{next(self._numbers)}", direct=self._direct)

    def exact(self, limits: AtomicLimits) -> bool:
        return True
