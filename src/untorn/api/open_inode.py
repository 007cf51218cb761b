"""From a path to a locked, recovered inode: step 10 of a write's way, and the first one."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from typing import Final

from untorn.api.options import Mode, Options
from untorn.designs.base import Design
from untorn.designs.cow import CopyOnWrite, WaitingCommits
from untorn.errors import LockedError, warn
from untorn.inode import Inode
from untorn.kernel_designs.table import KERNEL_DESIGNS
from untorn.log.recovery import FoundLog, LogState, examine, recover
from untorn.log.writer import SUFFIX
from untorn.storage.interface import Storage, StorageFile

_ATTEMPTS = 100
_NAME_MAX = 255
_PAUSE_FIRST: Final = 0.001
_PAUSE_MAX: Final = 0.1
"""Seconds between two tries to lock a file."""

_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_devices: set[int] = set()
"""The file systems on which a file was opened for writing: each is looked at once."""


def open_inode(storage: Storage, path: str, mode: Mode, options: Options) -> Inode:
    """Opens, locks and recovers the file; OSError as builtins.open, UntornError for what untorn adds."""
    home = open_locked(storage, path, mode, options.timeout)
    try:
        if mode.writable:
            _warn_of_network(home)
        found = examine(storage, home, writable=mode.writable)
        try:
            # Of a file that is not tagged, a reader needs nothing that stands beside it.
            if found.problem is not None and (mode.writable or found.state is not LogState.FOREIGN or found.marked):
                raise found.problem
            if not mode.writable:
                return _reader(storage, home, found, options)
            if found.state is not LogState.PLAIN:
                recover(storage, home, found)
        except BaseException:
            found.close()
            raise
        return _writer(storage, home, mode, options)
    except BaseException:
        home.close()
        raise


def _warn_of_network(home: StorageFile) -> None:
    """Says once in a process of each network file system that more rests on it than untorn can see."""
    device = home.stat().device
    if device in _devices:
        return
    _devices.add(device)
    if home.on_network() and (found := home.filesystem()) is not None:
        warn(
            f"{home.shown!r} is on a network file system ({found.kind}). Whether commits survive there, whether "
            "only one machine writes at a time and whether another program's change is noticed depends on the server "
            "and the mount options; docs/guides/filesystems.md of untorn says on which"
        )


def _writer(storage: Storage, home: StorageFile, mode: Mode, options: Options) -> Inode:
    size = options.folio_size
    kind: type[Inode] = Inode
    design: Design
    if options.design == "cow":
        design = CopyOnWrite(storage, home, folio_size=size, checkpoint_bytes=options.checkpoint_bytes)
    else:
        table = KERNEL_DESIGNS[options.design]
        design, kind = table.design(storage, home, folio_size=size), table.inode
    inode = kind(
        home, design, folio_size=size, cache_bytes=options.cache_bytes, dirty_bytes=options.cache_bytes // 2,
        append=mode.action == "a", commit_writes=options.commit == "write" or kind is not Inode,
        timeout=options.timeout,
    )  # fmt: skip
    try:
        if mode.action == "w":
            inode.truncate(0)
    except BaseException:
        inode.close(commit=False)
        raise
    if mode.action == "a":
        inode.position = inode.size
    return inode


def _reader(storage: Storage, home: StorageFile, found: FoundLog, options: Options) -> Inode:
    """The committed state, read through the log if commits wait there; nothing is written."""
    size = options.folio_size
    waiting = None
    log, slot, replay = found.log, found.slot, found.replay
    if log is not None and slot is not None and replay is not None and replay.commits and found.state is LogState.HOT:
        size = slot.folio_size
        waiting = WaitingCommits(log, replay.extent_map, slot.salt, replay.size)
    else:
        found.close()
    design: Design
    if waiting is None and options.design != "cow":
        design = KERNEL_DESIGNS[options.design].design(storage, home, folio_size=size, readonly=True)
    else:
        limit = options.checkpoint_bytes
        design = CopyOnWrite(storage, home, folio_size=size, checkpoint_bytes=limit, waiting=waiting)
    return Inode(home, design, folio_size=size, cache_bytes=options.cache_bytes, dirty_bytes=size, readonly=True)


def open_locked(storage: Storage, path: str, mode: Mode, timeout: float | None = 0) -> StorageFile:
    """The file at ``path`` under its flock, for which it waits at most ``timeout`` seconds, None for ever."""
    # As open(2) says; resolving the path would lose both.
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if path.endswith("/") and mode.action != "r":
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if mode.action == "x" and _exists(storage, path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    target = storage.resolve(path)
    patience = _Patience(timeout)
    for _ in range(_ATTEMPTS):
        home = _open(storage, target, path, mode)
        if home is None:
            continue
        home.given_name = path
        try:
            _lock(home, path, patience, exclusive=mode.writable)
            # Between open and lock the name may have come to mean another file.
            if _exists(storage, target) and storage.stat(target).inode == home.stat().inode:
                return home
        except BaseException:
            home.close()
            raise
        home.close()
    raise LockedError("the name keeps changing from one file to another; nothing was done", path)


class _Patience:
    """How long is still to be waited, in pieces that grow: flock(2) itself knows no timeout."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._until = time.monotonic() + (timeout or 0)
        self._pause = _PAUSE_FIRST

    def sleep(self) -> bool:
        """False if there is nothing left of it."""
        left = self._pause if self._timeout is None else min(self._pause, self._until - time.monotonic())
        if left <= 0:
            return False
        time.sleep(left)
        self._pause = min(2 * self._pause, _PAUSE_MAX)
        return True


def _open(storage: Storage, target: str, path: str, mode: Mode) -> StorageFile | None:
    """None if another program made or removed the file just now, so that it has to be tried again."""
    if mode.writable and len(os.fsencode(os.path.basename(target) + SUFFIX)) > _NAME_MAX:
        message = f"the name is too long: that of its log has {len(SUFFIX)} bytes more, and does not fit"
        raise OSError(errno.ENAMETOOLONG, message, path)
    access = os.O_RDWR if mode.writable else os.O_RDONLY
    try:
        kind = storage.stat(target).mode
    except FileNotFoundError:
        if mode.action == "r":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        try:
            return storage.open(target, access | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        except FileExistsError:
            if mode.action == "x":
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
            return None
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if path.endswith("/"):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if not stat.S_ISREG(kind):
        raise OSError(errno.EINVAL, "untorn opens regular files only", path)
    try:
        return storage.open(target, access | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        if mode.action == "r":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        return None


def _lock(home: StorageFile, path: str, patience: _Patience, *, exclusive: bool) -> None:
    while True:
        try:
            home.lock(exclusive=exclusive)
            return
        except BlockingIOError:
            pid = home.lock_holder()
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            message = (
                f"{error.strerror}: the file system does not lock files by flock(2), so that two programs could write "
                "at the same time. Nothing was done. Mount it with locks, or use a file elsewhere"
            )
            raise OSError(error.errno, message, path) from error
        if pid == os.getpid() and threading.active_count() == 1:
            who = "this program itself"  # there is nobody who could close it while we wait
        elif patience.sleep():
            continue
        else:
            who = f"process {pid}" if pid is not None else "another process"
        raise LockedError(f"{who} has this file open; nothing was done", path, pid)


def _exists(storage: Storage, path: str) -> bool:
    try:
        storage.stat(path)
    except FileNotFoundError:
        return False
    return True
