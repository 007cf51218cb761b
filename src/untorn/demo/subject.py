"""What the demo works on: a copy, in a temporary directory, of a real file. The file itself is only read."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from untorn.storage.filesystem import mount_of

SIZE_MIN: Final = 2 << 20
SIZE_MAX: Final = 64 << 20
"""The copy of a smaller file repeats it, that of a larger one is its beginning; bytes."""

_SPACE: Final = 256 << 20
"""Free bytes that the logs and the file system's own needs take at most, with room to spare."""

_IN_MEMORY: Final = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class Subject:
    """The copy and what it was made of. Sizes in bytes."""

    source: str
    source_size: int
    path: str
    """Of the copy."""
    original: bytes
    """What the copy held at first."""
    file_system: str

    @property
    def in_memory(self) -> bool:
        """Whether the copy is on no disk at all, so that a sync costs nothing."""
        return self.file_system in _IN_MEMORY


def python_library() -> str:
    """The largest file of the running Python's own library; of an interpreter without one, its executable."""
    found = [(os.stat(path).st_size, path) for path in _library_files()]
    if found:
        return max(found)[1]
    if sys.executable:
        return os.path.realpath(sys.executable)
    raise FileNotFoundError(errno.ENOENT, "this Python has no library of its own on disk; name a file", "python")


def _library_files() -> Iterator[str]:
    """Readable regular files that came with Python, not with packages installed into it."""
    foreign = {"site-packages", "dist-packages", "__pycache__"}
    library = sysconfig.get_config_var("LIBDIR")
    places = [(sysconfig.get_path("stdlib"), ""), (library, "libpython")]
    for place, prefix in places:
        for directory, inner, names in os.walk(place or ""):
            inner[:] = [] if prefix else [name for name in inner if name not in foreign]
            for name in names:
                path = os.path.join(directory, name)
                if name.startswith(prefix) and _is_plain(path) and os.access(path, os.R_OK):
                    yield path


def _is_plain(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


@contextmanager
def copied(file: str | None) -> Iterator[Subject]:
    """A working copy of ``file``, or of the Python library, that is gone afterwards, whatever happens.

    OSError if the file cannot be read, is no regular file, is empty, or if there is no room for a copy.
    """
    source = python_library() if file is None else file
    size, original = _read(source)
    place = _workplace()
    needed = len(original) + _SPACE
    if shutil.disk_usage(place).free < needed:
        message = f"the demo needs {needed >> 20} MiB for a copy and its log; point TMPDIR at a place with more"
        raise OSError(errno.ENOSPC, message, place)
    with tempfile.TemporaryDirectory(prefix="untorn-demo-", dir=place) as directory:
        path = os.path.join(directory, "copy")
        with open(path, "wb") as copy:
            copy.write(original)
            copy.flush()
            os.fsync(copy.fileno())
        yield Subject(source, size, path, original, file_system(directory))


def _read(source: str) -> tuple[int, bytes]:
    """The source's size and what the copy shall hold."""
    # O_NONBLOCK: a pipe without a writer must be refused, not waited for.
    with open(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "the demo copies a regular file, and this is not one", source)
        data = file.read(SIZE_MAX)
    if not data:
        raise OSError(errno.EINVAL, "the file is empty, so nothing in it could tear", source)
    if len(data) < SIZE_MIN:
        data = (data * -(-SIZE_MIN // len(data)))[:SIZE_MIN]
    return info.st_size, data


def _workplace() -> str:
    """The temporary directory, or another one if that is in memory: nothing there could be lost or slow."""
    place = tempfile.gettempdir()
    other = "/var/tmp"
    if file_system(place) in _IN_MEMORY and os.access(other, os.W_OK) and file_system(other) not in _IN_MEMORY:
        return other
    return place


def file_system(path: str) -> str:
    """The type of the file system that holds ``path``, as /proc says; ``unknown`` if it does not."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return mount_of(descriptor).kind
    finally:
        os.close(descriptor)
