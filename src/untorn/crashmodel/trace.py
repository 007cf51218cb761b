"""What was done to a disk: one format for every target.

A trace is the disk at its start and the operations since, each with the numbers of two events:
when it was issued and when it had returned. One counter numbers all events, so a crash point is
a number too: the crash comes just after that event, and 0 is before all of them.

An operation is named as in the seam. Its arguments, by name:

======================  ======================================================================
open                    (flags, mode, created); result: the FileStat of what was opened
pwritev                 (offset, data, flags); result: bytes written, which may be fewer
truncate                (size,); also after an open that truncated
allocate                (offset, length, keep_size)
fdatasync, fsync        ()
sync_directory, unlink  ()
mkdir                   (mode,); result: the FileStat of what was made
symlink                 (target,); likewise
rmdir                   ()
rename                  (target,); ``path`` is the source; nothing if both name one file
link                    (target,); ``path`` is the source
set_times               (mtime_ns,)
setxattr                (name, value)
removexattr, getxattr   (name,)
set_owner               (mode, gid)
pread                   (length, offset); result: bytes read
acknowledge             (value,): what the program told the world
others                  ()
======================  ======================================================================

``path`` is absolute and free of symbolic links, but for the last name where that is meant itself.
``inode`` is a number that the trace never gives twice, though a file system may.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, NamedTuple, TypeVar

from untorn.crashmodel.disk_image import Image

_UNTORN: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_ROOMS: Final = ("storage", "crashmodel", os.path.join("explore", "interpose"))
_HERE: Final = tuple(os.path.join(_UNTORN, room, "") for room in _ROOMS)
STANDARD_LIBRARY: Final = (os.path.join(os.path.dirname(os.path.abspath(os.__file__)), ""), "<frozen ")
_T = TypeVar("_T")


class Site(NamedTuple):
    """Where in the program an operation was asked for."""

    file: str
    line: int
    function: str
    caller: Site | None = None
    """If that is in the standard library, who called it from outside."""


def call_site(*beneath: str) -> Site | None:
    """The nearest caller outside the storage layer, the explorer's interposer and these files."""
    inside = (*_HERE, *beneath)
    frame: FrameType | None = sys._getframe(1)
    nearest: tuple[str, int, str] | None = None
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(inside) and not code.co_filename.endswith("_pyio.py"):
            here = (code.co_filename, frame.f_lineno, code.co_name)
            if not code.co_filename.startswith(STANDARD_LIBRARY) or "-packages" in code.co_filename:
                return Site(*here) if nearest is None else Site(*nearest, Site(*here))
            nearest = nearest or here
        frame = frame.f_back
    return None if nearest is None else Site(*nearest)


@dataclass(slots=True)
class Operation:
    """One call through the seam; ``completed`` is None for one that never returned."""

    name: str
    path: str
    inode: int
    arguments: tuple[Any, ...]
    issued: int
    completed: int | None = None
    result: Any = None
    error: int | None = None
    """The errno of a call that failed."""
    mtime_ns: int | None = None
    """The modification time that it gave the file, where the recorder knows it."""
    site: Site | None = None


class Trace:
    """The disk at the start and every operation since. Safe to record into from several threads."""

    def __init__(self, image: Image | None = None, *, sites: bool = False) -> None:
        self.image = Image() if image is None else image
        self.operations: list[Operation] = []
        self.now = 0
        """The number of the last event."""
        self._sites = sites
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def begin(self, name: str, path: str, inode: int, *arguments: Any) -> Operation:
        site = call_site() if self._sites else None
        with self._lock:
            self.now += 1
            operation = Operation(name, path, inode, arguments, self.now, site=site)
            self.operations.append(operation)
        return operation

    def end(
        self, operation: Operation, result: Any = None, error: int | None = None, mtime_ns: int | None = None
    ) -> None:
        operation.result, operation.error, operation.mtime_ns = result, error, mtime_ns
        with self._lock:
            self.now += 1
            operation.completed = self.now

    def run(self, operation: Operation, call: Callable[[], _T]) -> _T:
        """Runs the call of an operation and completes it, unless the process dies in it."""
        try:
            result = call()
        except OSError as error:
            self.end(operation, error=error.errno or errno.EIO)
            raise
        self.end(operation, result)
        return result

    def acknowledge(self, value: object) -> None:
        """Records that the program told the world ``value``; from here on it must hold."""
        self.end(self.begin("acknowledge", "", 0, value))
