"""A storage that passes every call on and records it in a trace: real files in the simulation's own format."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from untorn.crashmodel.disk_image import Content, Inode
from untorn.crashmodel.trace import Operation, Trace, call_site
from untorn.storage.interface import (
    RWF_APPEND,
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


class _Trace(Trace):
    """A trace whose sites are those of the recorder's callers."""

    def __init__(self, *, sites: bool) -> None:
        super().__init__()
        self._with_sites = sites

    def begin(self, name: str, path: str, inode: int, *arguments: Any) -> Operation:
        operation = super().begin(name, path, inode, *arguments)
        operation.site = call_site(__file__) if self._with_sites else None
        return operation


class RecordingFile(StorageFile):
    """Passes every call on and records it."""

    def __init__(self, storage: RecordingStorage, inner: StorageFile, path: str, inode: Inode, flags: int):
        self.path = inner.path
        self._inner = inner
        self._trace = storage.trace
        self._mtimes = storage.mtimes
        self._attributes_met = storage.attributes_met
        self._place = path
        self._inode = inode
        if hasattr(inner, "fail_sync"):
            self.fail_sync = self._fail_sync
        self._append = bool(flags & os.O_APPEND)
        self._sync = RWF_SYNC if flags & os.O_SYNC == os.O_SYNC else RWF_DSYNC if flags & os.O_DSYNC else 0

    def _begin(self, name: str, *arguments: Any) -> Operation:
        return self._trace.begin(name, self._place, self._inode.number, *arguments)

    def _change(self, operation: Operation, call: Callable[[], _T]) -> _T:
        """Runs a call that moves the modification time."""
        result = self._trace.run(operation, call)
        if self._mtimes:
            operation.mtime_ns = self._inner.stat().mtime_ns
        return result

    def pread(self, length: int, offset: int) -> bytes:
        operation = self._begin("pread", length, offset)
        data = self._trace.run(operation, lambda: self._inner.pread(length, offset))
        operation.result = len(data)
        return data

    def pwritev(self, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        append = self._append or flags & RWF_APPEND
        start = self._inner.stat().size if append else offset
        operation = self._begin("pwritev", start, joined(buffers), flags | self._sync)
        return self._change(operation, lambda: self._inner.pwritev(buffers, offset, flags))

    def truncate(self, size: int) -> None:
        self._change(self._begin("truncate", size), lambda: self._inner.truncate(size))

    def allocate(self, offset: int, length: int, *, keep_size: bool) -> None:
        size = self._inner.stat().size
        operation = self._begin("allocate", offset, length, keep_size)
        try:
            self._change(operation, lambda: self._inner.allocate(offset, length, keep_size=keep_size))
        except OSError:  # what was reserved before the space ran out may have moved the size
            after = self._inner.stat().size
            if after > size:
                self._trace.end(self._begin("allocate", size, after - size, False))
            raise

    def first_hole(self) -> int:
        return self._trace.run(self._begin("first_hole"), self._inner.first_hole)

    def check_size(self, size: int) -> None:
        self._trace.run(self._begin("check_size"), lambda: self._inner.check_size(size))

    def fdatasync(self) -> None:
        self._trace.run(self._begin("fdatasync"), self._inner.fdatasync)

    def fsync(self) -> None:
        name = "sync_directory" if self._inode.is_directory else "fsync"
        self._trace.run(self._begin(name), self._inner.fsync)

    def _fail_sync(self, code: int, *, data_only: bool) -> None:
        """A sync that fails with errno ``code``, as the inner file plays it."""
        fail: Callable[..., None] = self._inner.fail_sync  # type: ignore[attr-defined]
        operation = self._begin("fdatasync" if data_only else "fsync")
        self._trace.run(operation, lambda: fail(code, data_only=data_only))

    def lock(self, *, exclusive: bool) -> None:
        self._trace.run(self._begin("lock"), lambda: self._inner.lock(exclusive=exclusive))

    def lock_holder(self) -> int | None:
        return self._trace.run(self._begin("lock_holder"), self._inner.lock_holder)

    def getxattr(self, name: str) -> bytes | None:
        return self._trace.run(self._begin("getxattr", name), lambda: self._inner.getxattr(name))

    def setxattr(self, name: str, value: bytes) -> None:
        self._first_attribute(name)
        operation = self._begin("setxattr", name, bytes(value))
        self._trace.run(operation, lambda: self._inner.setxattr(name, value))

    def removexattr(self, name: str) -> None:
        self._first_attribute(name)
        self._trace.run(self._begin("removexattr", name), lambda: self._inner.removexattr(name))

    def _first_attribute(self, name: str) -> None:
        """Keeps what the attribute was before the trace first changed it."""
        if (self._inode.number, name) not in self._attributes_met:
            value = self._inner.getxattr(name)
            if value is not None:
                self._inode.attributes[name] = value
            self._attributes_met.add((self._inode.number, name))

    def stat(self) -> FileStat:
        return self._trace.run(self._begin("stat"), self._inner.stat)

    def atomic_limits(self) -> AtomicLimits:
        return self._trace.run(self._begin("atomic_limits"), self._inner.atomic_limits)

    def hardware_unit_max(self) -> int:
        return self._trace.run(self._begin("hardware_unit_max"), self._inner.hardware_unit_max)

    def set_owner(self, mode: int, uid: int, gid: int) -> None:
        operation = self._begin("set_owner", mode, gid)
        self._trace.run(operation, lambda: self._inner.set_owner(mode, uid, gid))

    def close(self) -> None:
        self._trace.run(self._begin("close"), self._inner.close)


class RecordingStorage(Storage):
    """Passes every call on and records it in ``trace``.

    What a file holds when the trace first meets its name counts as durable from the start.
    The recorder adds calls of its own to the inner storage (stat, resolve, and reading what it
    first meets), so faults that are counted belong around it, not inside.
    """

    def __init__(self, inner: Storage, *, sites: bool = True, mtimes: bool = True) -> None:
        self.trace: Trace = _Trace(sites=sites)
        self.mtimes = mtimes
        self.attributes_met: set[tuple[int, str]] = set()
        self._inner = inner
        self._known: dict[tuple[int, int], Inode] = {}
        self._numbers = 0
        if hasattr(inner, "fail_sync_directory"):
            self.fail_sync_directory = self._fail_sync_directory

    def acknowledge(self, value: object) -> None:
        """Records that the program told the world ``value``."""
        self.trace.acknowledge(value)

    def _place(self, path: str, *, follow: bool) -> str:
        """The path as the trace names it; where there is none, the call itself will say why."""
        try:
            if follow:
                return self._inner.resolve(path)
            directory, name = os.path.split(path)
            return os.path.join(self._inner.resolve(directory or "."), name)
        except OSError:
            return path

    def _meet(self, place: str) -> Inode | None:
        """What the name stands for now, None if for nothing; and the directories above it."""
        above = os.path.dirname(place)
        parent = None if above == place else self._meet(above)
        try:
            found = self._inner.stat(place)
        except OSError:
            return None
        inode = self._known.get((found.device, found.inode))
        if inode is None:
            inode = self._enter(found)
            image = self.trace.image
            image.inodes[inode.number] = inode
            if place == "/":
                image.root = inode.number
            elif parent is not None:
                image.names[parent.number, os.path.basename(place)] = inode.number
            if stat.S_ISREG(found.mode):
                file = self._inner.open(place, os.O_RDONLY | os.O_NOFOLLOW)
                inode.content = Content(file.read(found.size, 0))
                file.close()
        return inode

    def _enter(self, found: FileStat) -> Inode:
        """A new inode of the trace, under a number that no other has had."""
        self._numbers = number = max(self._numbers + 1, found.inode)
        inode = Inode(number, found.mode, found.uid, found.gid, found.mtime_ns, found.birth_ns)
        self._known[found.device, found.inode] = inode
        return inode

    def open(self, path: str, flags: int, mode: int = 0o666) -> RecordingFile:
        place = self._place(path, follow=not flags & os.O_NOFOLLOW)
        before = self._meet(place)
        created = before is None and bool(flags & os.O_CREAT)
        operation = self.trace.begin("open", place, before.number if before else 0, flags, mode, created)
        file = self.trace.run(operation, lambda: self._inner.open(path, flags, mode))
        operation.result = found = file.stat()
        inode = before or self._enter(found)
        operation.inode = inode.number
        if before is not None and flags & os.O_TRUNC:
            self.trace.end(self.trace.begin("truncate", place, inode.number, 0), mtime_ns=found.mtime_ns)
        return RecordingFile(self, file, place, inode, flags)

    def stat(self, path: str) -> FileStat:
        operation = self.trace.begin("stat", path, 0)
        return self.trace.run(operation, lambda: self._inner.stat(path))

    def resolve(self, path: str) -> str:
        operation = self.trace.begin("resolve", path, 0)
        return self.trace.run(operation, lambda: self._inner.resolve(path))

    def unlink(self, path: str) -> None:
        place = self._place(path, follow=False)
        inode = self._meet(place)
        operation = self.trace.begin("unlink", place, inode.number if inode else 0)
        self.trace.run(operation, lambda: self._inner.unlink(path))

    def rename(self, source: str, target: str) -> None:
        places = self._place(source, follow=False), self._place(target, follow=False)
        inode, _ = self._meet(places[0]), self._meet(places[1])
        operation = self.trace.begin("rename", places[0], inode.number if inode else 0, places[1])
        self.trace.run(operation, lambda: self._inner.rename(source, target))

    def listdir(self, path: str) -> list[str]:
        return self.trace.run(self.trace.begin("listdir", path, 0), lambda: self._inner.listdir(path))

    def sync_directory(self, path: str) -> None:
        place = self._place(path, follow=True)
        inode = self._meet(place)
        operation = self.trace.begin("sync_directory", place, inode.number if inode else 0)
        self.trace.run(operation, lambda: self._inner.sync_directory(path))

    def _fail_sync_directory(self, path: str, code: int) -> None:
        """A directory sync that fails with errno ``code``, as the inner storage plays it."""
        fail: Callable[..., None] = self._inner.fail_sync_directory  # type: ignore[attr-defined]
        place = self._place(path, follow=True)
        inode = self._meet(place)
        operation = self.trace.begin("sync_directory", place, inode.number if inode else 0)
        self.trace.run(operation, lambda: fail(path, code))

    def random_bytes(self, length: int) -> bytes:
        operation = self.trace.begin("random_bytes", "", 0)
        return self.trace.run(operation, lambda: self._inner.random_bytes(length))

    def user(self) -> int:
        return self.trace.run(self.trace.begin("user", "", 0), self._inner.user)
