"""Faults on demand: errors, short transfers and deaths at the nth call through the seam.

Every call of the storage and of its files counts, in one sequence from 0. A run without faults
tells how many calls there are (``calls``, ``log``), and the next runs fail each of them in turn.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from untorn.storage.interface import (
    RWF_ATOMIC,
    RWF_DSYNC,
    RWF_SYNC,
    AtomicLimits,
    Buffer,
    FileStat,
    Storage,
    StorageFile,
    joined,
)

_T = TypeVar("_T")

TRANSFERS: Final = frozenset({"pread", "pwritev"})
"""The calls that may transfer short."""


class ProcessDeath(BaseException):
    """The process is gone: nothing above the seam may catch it and go on."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens at one call, or from it onwards."""

    nth: int
    """Which call, from 0, among those that ``names`` and ``paths`` select."""
    names: Collection[str] | None = None
    """Names of calls as in the seam; None for all."""
    paths: Collection[str] | None = None
    """Paths as they were given to open, rename (its source) and the like; None for all."""
    onwards: bool = False
    """Every selected call from the nth on."""
    error: int | None = None
    """The errno to fail with; the call is not made, but a sync is known to have failed."""
    transfer: int | float | None = None
    """pread and pwritev: at most so many bytes, or this share of what was asked for, at least one
    byte. Other calls ignore it, and so does a write with RWF_ATOMIC, which is never short."""
    death: bool = False
    """The process dies: ProcessDeath now and at every later call. A pwritev with ``transfer`` is
    cut there first; any other call is not made."""
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def limit(self, length: int) -> int | None:
        """Bytes that a transfer of ``length`` may move, None for all."""
        if self.transfer is None:
            return None
        allowed = self.transfer if isinstance(self.transfer, int) else int(length * self.transfer)
        return min(length, max(allowed, 1))


class FaultyStorage(Storage):
    """Passes every call on, but for the faults; with none it only counts."""

    def __init__(self, inner: Storage, *faults: Fault) -> None:
        self.calls = 0
        """How many calls were made, those that failed included; not closes after a death."""
        self.log: list[str] = []
        """Their names, in order."""
        self.dead = False
        self._inner = inner
        self._faults = list(faults)
        self._seen: list[int] = [0] * len(faults)

    @property
    def counts(self) -> Counter[str]:
        """Calls by name."""
        return Counter(self.log)

    def add(self, fault: Fault) -> None:
        """Plants a fault that counts from now."""
        self._faults.append(fault)
        self._seen.append(0)

    def clear(self) -> None:
        """Takes all faults out; the dead stay dead."""
        self._faults.clear()
        self._seen.clear()

    def _due(self, name: str, path: str) -> list[Fault]:
        """Counts the call and returns the faults that it meets."""
        if self.dead:
            raise ProcessDeath(name)
        self.calls += 1
        self.log.append(name)
        due = []
        for index, fault in enumerate(self._faults):
            if fault.names is not None and name not in fault.names:
                continue
            if fault.paths is not None and path not in fault.paths:
                continue
            position = self._seen[index]
            self._seen[index] += 1
            if position == fault.nth or (fault.onwards and position > fault.nth):
                due.append(fault)
        return due

    def call(
        self,
        name: str,
        path: str,
        make: Callable[[int | None], _T],
        *,
        length: int = 0,
        fail: Callable[[int], None] | None = None,
    ) -> _T:
        """One call: ``make`` gets the bytes it may move, ``fail`` plays a failure in the storage below."""
        due = self._due(name, path)
        for fault in due:
            if fault.before is not None:
                fault.before()
        limit = None
        for fault in due:
            if fault.death:
                self.dead = True
                if name == "pwritev" and fault.transfer is not None:
                    make(fault.limit(length))
                raise ProcessDeath(name)
            if fault.error is not None:
                if fail is not None:
                    fail(fault.error)
                raise OSError(fault.error, os.strerror(fault.error), path)
            if name in TRANSFERS:
                limit = fault.limit(length) if limit is None else limit
        result = make(limit)
        for fault in due:
            if fault.after is not None:
                fault.after()
        return result

    def open(self, path: str, flags: int, mode: int = 0o666) -> FaultyFile:
        return self.call("open", path, lambda _: FaultyFile(self, self._inner.open(path, flags, mode), flags))

    def stat(self, path: str) -> FileStat:
        return self.call("stat", path, lambda _: self._inner.stat(path))

    def resolve(self, path: str) -> str:
        return self.call("resolve", path, lambda _: self._inner.resolve(path))

    def unlink(self, path: str) -> None:
        self.call("unlink", path, lambda _: self._inner.unlink(path))

    def rename(self, source: str, target: str) -> None:
        self.call("rename", source, lambda _: self._inner.rename(source, target))

    def listdir(self, path: str) -> list[str]:
        return self.call("listdir", path, lambda _: self._inner.listdir(path))

    def sync_directory(self, path: str) -> None:
        play: Callable[[str, int], None] | None = getattr(self._inner, "fail_sync_directory", None)
        fail = None if play is None else lambda code: play(path, code)
        self.call("sync_directory", path, lambda _: self._inner.sync_directory(path), fail=fail)

    def random_bytes(self, length: int) -> bytes:
        return self.call("random_bytes", "", lambda _: self._inner.random_bytes(length))

    def user(self) -> int:
        return self.call("user", "", lambda _: self._inner.user())


class FaultyFile(StorageFile):
    """A file whose calls count with its storage's. Once the process is dead, close does nothing."""

    def __init__(self, storage: FaultyStorage, inner: StorageFile, flags: int) -> None:
        self.path = inner.path
        self._storage = storage
        self._inner = inner
        self._synchronous = bool(flags & os.O_DSYNC)  # O_SYNC contains it

    def _call(self, name: str, make: Callable[[], _T], fail: Callable[[int], None] | None = None) -> _T:
        return self._storage.call(name, self.path, lambda _: make(), fail=fail)

    def _failing_sync(self, *, data_only: bool) -> Callable[[int], None] | None:
        """How the storage below plays a failed sync, if it can."""
        play: Callable[..., None] | None = getattr(self._inner, "fail_sync", None)
        if play is None:
            return None
        return lambda code: play(code, data_only=data_only)

    def pread(self, length: int, offset: int) -> bytes:
        return self._storage.call(
            "pread",
            self.path,
            lambda limit: self._inner.pread(length if limit is None else limit, offset),
            length=length,
        )

    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        """A synchronous write that fails has reached the cache: it is the sync in it that failed."""
        length = sum(memoryview(buffer).nbytes for buffer in buffers)
        play = self._failing_sync(data_only=not flags & RWF_SYNC)

        def make(limit: int | None) -> int:
            if limit is None or limit == length or flags & RWF_ATOMIC:
                return self._inner.pwritev(buffers, offset, flags)
            return self._inner.pwritev([joined(buffers)[:limit]], offset, flags)

        def fail(code: int) -> None:
            assert play is not None
            self._inner.pwritev(buffers, offset, flags & ~(RWF_DSYNC | RWF_SYNC))
            play(code)

        synchronous = play is not None and flags & (RWF_DSYNC | RWF_SYNC) and not self._synchronous
        return self._storage.call("pwritev", self.path, make, length=length, fail=fail if synchronous else None)

    def truncate(self, size: int) -> None:
        self._call("truncate", lambda: self._inner.truncate(size))

    def allocate(self, offset: int, length: int, *, keep_size: bool) -> None:
        self._call("allocate", lambda: self._inner.allocate(offset, length, keep_size=keep_size))

    def first_hole(self) -> int:
        return self._call("first_hole", self._inner.first_hole)

    def within_limit(self, size: int) -> bool:
        return self._inner.within_limit(size)

    def check_size(self, size: int) -> None:
        self._call("check_size", lambda: self._inner.check_size(size))

    def fdatasync(self) -> None:
        self._call("fdatasync", self._inner.fdatasync, self._failing_sync(data_only=True))

    def fsync(self) -> None:
        self._call("fsync", self._inner.fsync, self._failing_sync(data_only=False))

    def lock(self, *, exclusive: bool) -> None:
        self._call("lock", lambda: self._inner.lock(exclusive=exclusive))

    def lock_holder(self) -> int | None:
        return self._call("lock_holder", self._inner.lock_holder)

    def getxattr(self, name: str) -> bytes | None:
        return self._call("getxattr", lambda: self._inner.getxattr(name))

    def setxattr(self, name: str, value: bytes) -> None:
        self._call("setxattr", lambda: self._inner.setxattr(name, value))

    def removexattr(self, name: str) -> None:
        self._call("removexattr", lambda: self._inner.removexattr(name))

    def stat(self) -> FileStat:
        return self._call("stat", self._inner.stat)

    def atomic_limits(self) -> AtomicLimits:
        return self._call("atomic_limits", self._inner.atomic_limits)

    def hardware_unit_max(self) -> int:
        return self._call("hardware_unit_max", self._inner.hardware_unit_max)

    def set_owner(self, mode: int, uid: int, gid: int) -> None:
        self._call("set_owner", lambda: self._inner.set_owner(mode, uid, gid))

    def close(self) -> None:
        if not self._storage.dead:
            self._call("close", self._inner.close)
