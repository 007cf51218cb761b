"""The explored directory as the real machine has it: nothing is there, and every look past us is noticed.

The path that a program is given leads, in reality, through a symbolic link that leads nowhere, in a private directory
with a name that nobody can guess. Code that goes past the interposer, in C or by a reference that was kept, finds
nothing there and can make nothing there. Following the link sets the link's access time, also for a look that fails,
so one ``lstat`` after each run tells whether anybody was there: also if the program swallowed the error.

A file system updates that time if it is older than the time of the last change (relatime); that is how the link is
armed. Where none does (noatime), there is no exploring.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import posix
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from untorn.explore.interpose.errors import UnseenAccessError

ROOT: Final = "/untorn-explored"
"""The explored directory in traces and stories, where it has the same name always."""

PREFIX: Final = "untorn-explored-"
_LINK: Final = "dir"
_NOWHERE: Final = "nothing-is-here"
_ARMED: Final = 0
"""The access time of a link that nobody has followed."""
_SHARED_MEMORY: Final = "/dev/shm"

_lstat: Final = posix.lstat
_utime: Final = posix.utime
_YOUNG_SECONDS: Final = 60
_root: str | None = None


def root() -> str:
    """The explored directory of this process and of those that it forks; made when first asked for."""
    global _root  # noqa: PLW0603
    if _root is None:
        _root = next(filter(None, map(_made, _places())), None)
        if _root is None:
            raise UnseenAccessError(
                "no temporary directory here keeps the access times of symbolic links, by which the explorer sees what "
                "goes past it: set TMPDIR to a directory on a file system that is not mounted with noatime"
            )
    return _root


def adopt(path: str) -> None:
    """Takes the directory of another process, so that what it recorded names files here, too."""
    global _root  # noqa: PLW0603
    if _root == path:
        return
    home = os.path.dirname(path)
    try:
        os.mkdir(home, 0o700)
        os.symlink(_NOWHERE, path)
        atexit.register(partial(_remove_own, home, os.getpid()))
    except FileExistsError:
        found = _lstat(path)
        if found.st_uid != os.geteuid() or not stat.S_ISLNK(found.st_mode):
            raise UnseenAccessError(f"{path} is not the explored directory of another process") from None
    _root = path


def was_touched() -> bool:
    """Whether anybody went through the explored directory in reality since it was armed."""
    assert _root is not None
    try:
        found = _lstat(_root)
    except FileNotFoundError:
        return True
    return found.st_atime_ns != _ARMED or not stat.S_ISLNK(found.st_mode)


def rearm() -> None:
    """Makes the next look be noticed again; what something put in the place of the link goes."""
    assert _root is not None
    home = os.path.dirname(_root)
    if not os.path.islink(_root):
        shutil.rmtree(home, ignore_errors=True)
        os.mkdir(home, 0o700)
        os.symlink(_NOWHERE, _root)
    _arm(_root)


def neutral(text: str) -> str:
    """A message without the name that is another in each process."""
    return text if _root is None else text.replace(_root, ROOT)


def _places() -> Iterator[str]:
    yield os.path.realpath(tempfile.gettempdir())
    yield _SHARED_MEMORY


def _arm(link: str) -> None:
    _utime(link, ns=(_ARMED, 1), follow_symlinks=False)


def _made(place: str) -> str | None:
    """The link in a new private directory below ``place``; None if this file system does not tell who follows it."""
    try:
        sweep(place)
        home = tempfile.mkdtemp(prefix=PREFIX, dir=place)
    except OSError:
        return None
    lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_SH)  # held until the last process that has it is gone
    link = os.path.join(home, _LINK)
    os.symlink(_NOWHERE, link)
    _arm(link)
    with contextlib.suppress(OSError):
        os.stat(link)
    if _lstat(link).st_atime_ns == _ARMED:
        shutil.rmtree(home)
        os.close(lock)
        return None
    _arm(link)
    atexit.register(partial(_remove_own, home, os.getpid()))
    return link


def sweep(place: str) -> None:
    """Removes what processes that were killed have left behind."""
    for entry in os.scandir(place):
        if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
            continue
        with contextlib.suppress(OSError):
            if entry.stat(follow_symlinks=False).st_mtime > time.time() - _YOUNG_SECONDS:
                continue  # perhaps not locked yet
            lock = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(lock)


def _remove_own(home: str, process: int) -> None:
    """All that is there was made by us, or by what went past us."""
    if os.getpid() == process:
        shutil.rmtree(home, ignore_errors=True)
