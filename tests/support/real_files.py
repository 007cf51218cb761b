"""Real files in states that crashes, users and enemies bring about."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import resource
import signal
import stat
import traceback
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

import untorn
from untorn.errors import UntornError, UntornWarning

WAYS_OUT: Final = re.compile(r"untorn (check|recover)|[Mm]ove it away")
"""What an error has to say."""

NOBODY: Final = 65534
PAGE: Final = 4096
_T = TypeVar("_T")

Name = str | bytes | Path


def let_in(folder: Path) -> None:
    """Lets other users reach the folder, and write in it."""
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 1:
            parent.chmod(0o711)


def sidecar(path: Name) -> Path:
    """Where the log of the file stands."""
    return Path(os.fsdecode(path) + "-untorn")


def in_child(work: Callable[[], _T], *, user: int | None = None) -> _T:
    """What ``work`` returns or raises in a child process, as ``user`` if given."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "wb") as pipe:
            try:
                if user is not None:
                    os.setgroups([])
                    os.setresgid(user, user, user)
                    os.setresuid(user, user, user)
                answer: Any = True, work()
            except BaseException as error:
                error.add_note(traceback.format_exc())
                answer = False, error
            try:
                pickle.dump(answer, pipe)
            except Exception as error:
                pipe.seek(0)
                pickle.dump((False, RuntimeError(f"{error}: {answer!r}")), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        try:
            done, result = pickle.load(pipe)
        finally:
            os.waitpid(child, 0)
    if not done:
        raise result
    value: _T = result
    return value


def killed(path: Name, work: Callable[[Any], object], mode: str = "r+b", **options: Any) -> None:
    """Opens the file in a child, does ``work`` with it, and dies by SIGKILL."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            file = untorn.open(path, mode, **options)
            work(file)
            os.write(writing, b"done")
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, code = os.waitpid(child, 0)
    assert said == b"done", said.decode()
    assert os.WTERMSIG(code) == signal.SIGKILL


OLD: Final = b"".join(letter * PAGE for letter in (b"a", b"b", b"c", b"d"))
FIRST: Final = b"A" * PAGE + OLD[PAGE:]
SECOND: Final = b"A" * PAGE + b"B" * PAGE + OLD[2 * PAGE :]
NEW: Final = SECOND + b"E" * PAGE
STATES: Final = (OLD, FIRST, SECOND, NEW)
"""What a hot file holds, and after each of its three durable commits."""


def three_commits(file: Any) -> None:
    """Takes a file from OLD to NEW."""
    for data, offset in ((b"A", 0), (b"B", PAGE), (b"E", 4 * PAGE)):
        file.pwrite(data * PAGE, offset)
        file.commit()


def hot(path: Name) -> bytes:
    """Makes a file that holds OLD and whose log holds three durable commits; returns the log."""
    with open(path, "wb") as file:
        file.write(OLD)
    killed(path, three_commits, folio_size=PAGE)
    assert read(path) == OLD, "the writer did not die in mid-work"
    return sidecar(path).read_bytes()


def read(path: Name) -> bytes:
    """The file as any program sees it."""
    with open(path, "rb") as file:
        return file.read()


def snapshot(folder: Name) -> dict[str, Any]:
    """All that stands in a folder and below: types, owners, times, attributes and contents."""
    found: dict[str, Any] = {}
    for name, info in _walk(os.fsdecode(folder)):
        entry: list[Any] = [info.st_ino, info.st_mode, info.st_uid, info.st_gid, info.st_nlink, info.st_mtime_ns]
        if stat.S_ISREG(info.st_mode):
            with contextlib.suppress(OSError):
                entry.append({key: os.getxattr(name, key) for key in os.listxattr(name)})
            entry += [info.st_size, info.st_ctime_ns, read(name) if info.st_size < 1 << 24 else None]
        elif stat.S_ISLNK(info.st_mode):
            entry.append(os.readlink(name))
        found[name] = entry
    return found


def _walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    yield folder, os.lstat(folder)
    for entry in os.scandir(folder):
        yield entry.path, entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)


def asides(folder: Path) -> list[Path]:
    """Logs that were set aside."""
    return sorted(path for path in folder.iterdir() if "-untorn.aside-" in path.name)


def quietly(call: Callable[[], _T]) -> _T:
    """The call's result; that a log was set aside is looked for on the disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntornWarning)
        return call()


def refused(path: Path, kind: type[UntornError]) -> UntornError:
    """Recovery and every way of opening refuse, say what to do, change nothing and take little memory."""
    before = snapshot(path.parent)
    with little_memory(), pytest.raises(kind) as caught:
        untorn.recover(path)
    for mode in ("r+b", "w+b", "ab", "rb"):
        with pytest.raises(kind):
            untorn.open(path, mode)
    with pytest.raises(kind):
        untorn.verify(path)
    assert isinstance(untorn.status(path).problem, kind)
    assert snapshot(path.parent) == before
    assert WAYS_OUT.search(str(caught.value)), caught.value
    return caught.value


@contextlib.contextmanager
def sizes_up_to(limit: int) -> Iterator[None]:
    """Makes the kernel refuse longer files with EFBIG; what file systems allow of themselves differs much."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def little_memory(limit: int = 8 << 20) -> Iterator[None]:
    """Fails if the block takes more than ``limit`` bytes."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limit, f"took {peak} bytes"
