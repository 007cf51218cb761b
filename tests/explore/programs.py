"""Short programs for the twin test, each of one thing that programs do with files; they know nothing of us."""

from __future__ import annotations

import bz2
import codecs
import configparser
import contextlib
import csv
import dbm.dumb
import fcntl
import filecmp
import fileinput
import glob
import gzip
import io
import json
import logging
import lzma
import os
import pickle
import shelve
import shutil
import stat
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from os import fsync as kept_fsync
from os import rename as kept_rename
from os import stat as kept_stat
from pathlib import Path
from typing import Any

PROGRAMS: dict[str, Callable[[Path], Any]] = {}


def program(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    PROGRAMS[function.__name__] = function
    return function


def attempt(call: Callable[[], Any]) -> Any:
    """What a call returns, or the error it raises, as a program can tell it."""
    try:
        return call()
    except OSError as error:
        return type(error).__name__, error.errno, error.filename, error.filename2
    except (ValueError, TypeError, io.UnsupportedOperation) as error:
        return type(error).__name__, str(error)


def attempts(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    return [attempt(call) for call in calls]


# open


def _modes(directory: Path, kind: str, *, present: bool) -> Any:
    found = []
    for mode in ("r", "r+", "w", "w+", "a", "a+", "x", "x+"):
        path = directory / f"{mode}{kind}"
        if present:
            path.write_bytes(b"first\r\nsecond\nthird\n")

        def use(path: Path = path, mode: str = mode) -> Any:
            data: Any = b"new\n" if kind == "b" else "new\n"
            seen: list[Any] = []
            with open(path, mode + kind) as file:
                seen += [file.mode, file.readable(), file.writable(), file.seekable(), file.tell()]
                seen.append(attempt(lambda: file.read(3)))
                seen.append(attempt(lambda: file.write(data)))
                seen += [file.tell(), attempt(lambda: file.seek(0)), attempt(file.readlines)]
                seen += [attempt(lambda: file.seek(0, 2)), attempt(lambda: file.truncate(7)), file.tell(), file.name]
            return [*seen, file.closed, attempt(file.read)]

        found.append(attempt(use))
    return found


for kind in ("", "b"):
    for present in (False, True):
        label = f"open_{'binary' if kind else 'text'}_{'present' if present else 'missing'}"
        PROGRAMS[label] = lambda directory, kind=kind, present=present: _modes(directory, kind, present=present)  # type: ignore[misc]


@program
def open_refuses_what_open_refuses(directory: Path) -> Any:
    path = directory / "a"
    return attempts(
        [
            lambda: open(path, "rw"),
            lambda: open(path, "b"),
            lambda: open(path, "rbt"),
            lambda: open(path, "q"),
            lambda: open(path, "wb", encoding="utf-8"),
            lambda: open(path, "w", buffering=0),
            lambda: open(path, "rb", newline=""),
            lambda: open(path, "r", closefd=False),
            lambda: open(directory),
            lambda: open(directory, "w"),
            lambda: open(path / "below"),
            lambda: open(directory / ("n" * 300), "w"),
            lambda: open(os.fspath(path) + "\0", "w"),
            lambda: open(os.fspath(directory) + "/"),
        ]
    )


@program
def buffers_hold_back_as_much(directory: Path) -> Any:
    sizes = []
    for buffering in (-1, 0, 1, 2, 100, 5000, 65536):
        path = directory / f"f{buffering}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = open(path, "wb", buffering=buffering)  # noqa: SIM115
        with file:
            for length in (1, 10, 4000, 4096, 4097, 100, 9000, 3, 20000):
                file.write(bytes(length))
                sizes.append(os.path.getsize(path))
            file.flush()
            sizes.append(os.stat(path).st_size)
    return sizes


@program
def text_is_held_back_as_much(directory: Path) -> Any:
    sizes = []
    for buffering in (-1, 1, 100, 9000):
        for newline in (None, "", "\r\n"):
            with open(directory / f"t{buffering}{newline!r}", "w", buffering, "utf-16", newline=newline) as file:
                for length in (1, 5, 3000, 8191, 1, 8192, 20000):
                    file.write("\xe9" * length)
                    sizes.append(os.fstat(file.fileno()).st_size)
                    file.write("\n")
                    sizes.append(os.fstat(file.fileno()).st_size)
    return sizes


@program
def text_positions(directory: Path) -> Any:
    path = directory / "t"
    path.write_text("één\nzwei\nthree\n" * 400, encoding="utf-8")
    seen: list[Any] = []
    with open(path, "r+", encoding="utf-8") as file:
        seen += [file.readline(), file.tell(), file.read(5), file.tell()]
        mark = file.tell()
        seen += [len(file.read()), file.seek(mark), file.readline()]
        file.seek(0, io.SEEK_END)
        file.write("tail")
        seen += [file.tell(), attempt(lambda: file.seek(1, io.SEEK_CUR))]
        file.seek(0)
        seen += [list(file)[-1], file.encoding, file.errors, file.newlines, file.line_buffering, file.isatty()]
    return seen


@program
def reads_and_writes_mixed(directory: Path) -> Any:
    seen: list[Any] = []
    with open(directory / "m", "w+b") as file:
        file.write(bytes(range(256)) * 64)
        file.seek(100)
        seen += [file.read(10), file.peek(4)[:4], file.read1(7), file.tell()]
        file.write(b"----")
        seen.append(file.read(6))
        buffer = bytearray(5000)
        seen += [file.readinto(buffer), bytes(buffer[:8])]
        file.seek(-3, io.SEEK_END)
        seen += [file.read(), file.seek(20000), file.write(b"far"), file.truncate(), file.tell()]
        file.seek(16380)
        seen.append(file.read())
    return seen


@program
def unbuffered(directory: Path) -> Any:
    seen: list[Any] = []
    with open(directory / "r", "w+b", buffering=0) as raw:
        seen += [raw.write(b"0123456789"), raw.seek(2), raw.read(3), raw.readall(), raw.tell(), raw.mode, repr(raw)]
        seen += [raw.truncate(4), raw.seek(0, 2), isinstance(raw, io.RawIOBase), isinstance(raw, io.IOBase)]
        buffer = bytearray(10)
        raw.seek(0)
        seen += [raw.readinto(buffer), bytes(buffer), raw.closefd]
    return [*seen, raw.closed, attempt(lambda: raw.read(1)), attempt(raw.fileno)]


@program
def appends_go_to_the_end(directory: Path) -> Any:
    path = directory / "log"
    with open(path, "ab") as one, open(path, "ab") as other:
        one.write(b"one")
        one.flush()
        other.write(b"other")
        other.flush()
        one.write(b"again")
        one.flush()
        seen = [one.tell(), other.tell()]
    with open(path, "a+b") as file:
        seen += [file.tell(), file.seek(0), file.read(3), file.write(b"!"), file.tell()]  # type: ignore[list-item]
    return seen, path.read_bytes()


@program
def openers(directory: Path) -> Any:
    def opener(path: str, flags: int) -> int:
        return os.open(directory / "opened", flags, 0o600)

    with open("whatever", "w", opener=opener) as file:
        file.write("by an opener")
        name = file.name
    with open(os.devnull, "rb", opener=os.open) as file:
        nothing = file.read()
    return name, nothing, oct((directory / "opened").stat().st_mode), attempt(lambda: open("x", opener=lambda p, f: -1))


@program
def by_descriptor(directory: Path) -> Any:
    number = os.open(directory / "f", os.O_RDWR | os.O_CREAT, 0o640)
    with open(number, "w+", closefd=False) as file:
        file.write("text")
    seen: list[Any] = [os.lseek(number, 0, os.SEEK_CUR), os.pread(number, 10, 0)]
    with os.fdopen(number, "rb") as again:
        seen += [again.read(), again.seek(1), again.read(2)]
    seen += [attempt(lambda: os.read(number, 1)), attempt(lambda: os.close(number)), attempt(lambda: open(number))]
    return seen


@program
def left_to_the_reference_count(directory: Path) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open(directory / "left", "w").write("flushed when it goes")  # noqa: SIM115
    return [type(w.message).__name__ for w in caught], (directory / "left").read_text()


# os


@program
def flags_of_open(directory: Path) -> Any:
    path = directory / "f"

    def use(flags: int) -> Any:
        number = os.open(path, flags, 0o666)
        try:
            return [
                attempt(lambda: os.write(number, b"abc")),
                attempt(lambda: os.lseek(number, 0, os.SEEK_SET)),
                attempt(lambda: os.read(number, 10)),
                attempt(lambda: os.ftruncate(number, 5)),
                os.fstat(number).st_size,
            ]
        finally:
            os.close(number)

    flags = [
        os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_RDONLY,
        os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND,
        os.O_RDONLY | os.O_DIRECTORY, os.O_RDWR | os.O_SYNC, os.O_RDWR | os.O_DSYNC,
    ]  # fmt: skip
    return [attempt(lambda f=f: use(f)) for f in flags]  # type: ignore[misc]


@program
def bytes_at_offsets(directory: Path) -> Any:
    number = os.open(os.fsencode(directory / "f"), os.O_RDWR | os.O_CREAT)
    one, two = bytearray(3), bytearray(4)
    seen = [
        os.writev(number, [b"one", memoryview(b"two"), bytearray(b"three")]),
        os.pwrite(number, b"XX", 20),
        os.pwritev(number, [b"a", b"b"], 1),
        os.lseek(number, 0, os.SEEK_CUR),
        os.lseek(number, 2, os.SEEK_SET),
        os.readv(number, [one, two]),
        bytes(one),
        bytes(two),
        os.preadv(number, [one], 9),
        bytes(one),
        os.pread(number, 100, 15),
        attempt(lambda: os.lseek(number, -1, os.SEEK_SET)),
        attempt(lambda: os.lseek(number, 0, 99)),
        attempt(lambda: os.pread(number, 1, -1)),
        attempt(lambda: os.truncate(number, 4)),
        attempt(lambda: os.truncate(directory / "f", 6)),
        attempt(lambda: os.truncate(directory / "none", 6)),
        attempt(lambda: os.posix_fallocate(number, 0, 100)),
        os.fstat(number).st_size,
        attempt(lambda: os.fsync(number)),
        attempt(lambda: os.fdatasync(number)),
        attempt(lambda: os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)),
    ]
    os.close(number)
    return seen


@program
def duplicates_share_the_position(directory: Path) -> Any:
    number = os.open(directory / "f", os.O_RDWR | os.O_CREAT)
    twin = os.dup(number)
    os.write(number, b"abc")
    os.write(twin, b"def")
    third = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 0)
    os.close(number)
    seen = [os.lseek(twin, 0, os.SEEK_CUR), os.lseek(third, 1, os.SEEK_SET), os.read(twin, 9)]
    seen += [os.get_inheritable(twin), attempt(lambda: os.set_inheritable(twin, True)), os.get_inheritable(twin)]
    os.close(twin)
    os.close(third)
    return [*seen, attempt(lambda: os.close(twin))]


@program
def a_deleted_file_lives_on(directory: Path) -> Any:
    with open(directory / "f", "w+b") as file:
        file.write(b"still here")
        file.flush()
        os.unlink(directory / "f")
        file.seek(0)
        return file.read(), os.listdir(directory), os.fstat(file.fileno()).st_nlink


@program
def stat_of_everything(directory: Path) -> Any:
    (directory / "f").write_bytes(b"12345")
    (directory / "d").mkdir(mode=0o750)
    seen = []
    for path in ("f", "d", "none", "f/x", "f/"):
        full = os.path.join(directory, path)
        for call in (os.stat, os.lstat, os.path.exists, os.path.lexists, os.path.isdir, os.path.isfile, os.path.islink):
            found = attempt(lambda call=call, full=full: call(full))  # type: ignore[misc]
            seen.append((oct(found.st_mode), found.st_size) if isinstance(found, os.stat_result) else found)
    result = os.stat(directory / "f")
    seen += [len(result), result[stat.ST_SIZE], result.st_size, result[6:7], result == os.stat(directory / "f")]
    seen += [type(result.st_mtime), result.st_mtime_ns // 1_000_000_000 == int(result.st_mtime), result.st_blksize]
    seen += [os.path.samefile(directory / "f", directory / "f"), os.path.samefile(directory, directory / "f")]
    seen += [os.access(directory / "f", mode) for mode in (os.F_OK, os.R_OK, os.W_OK)]
    return [*seen, os.access(directory / "none", os.F_OK), os.path.getsize(directory / "f")]


@program
def directories(directory: Path) -> Any:
    deep = directory / "a" / "b" / "c"
    return attempts(
        [
            lambda: os.mkdir(deep),
            lambda: os.makedirs(deep),
            lambda: os.makedirs(deep),
            lambda: os.makedirs(deep, exist_ok=True),
            lambda: os.mkdir(directory / "a"),
            lambda: os.rmdir(directory / "a"),
            lambda: os.rmdir(directory / "none"),
            lambda: os.unlink(directory / "a"),
            lambda: os.removedirs(deep),
            lambda: os.listdir(directory),
            lambda: (directory / "f").write_text("x"),
            lambda: os.rmdir(directory / "f"),
            lambda: os.mkdir(directory / "f" / "x"),
            lambda: os.listdir(directory / "f"),
            lambda: os.listdir(directory / "none"),
            lambda: os.scandir(directory / "none"),
            lambda: os.mkdir(os.fspath(directory / "slash") + "/"),
            lambda: sorted(os.listdir(os.fsencode(directory))),
        ]
    )


@program
def renames(directory: Path) -> Any:
    for name in ("f", "g"):
        (directory / name).write_text(name)
    for name in ("d", "e", "full"):
        (directory / name).mkdir()
    (directory / "full" / "x").write_text("x")
    pairs = [
        ("f", "h"), ("none", "x"), ("h", "g"), ("g", "d"), ("d", "g"), ("d", "d2"), ("d2", "e"), ("e", "full"),
        ("full", "e"), ("e", "e/inside"), ("g", "g"), ("g", "e/g"), ("e/x", "x"), ("g", "none/x"), ("e/g", "x/y"),
    ]  # fmt: skip
    seen = [attempt(lambda a=a, b=b: os.rename(directory / a, directory / b)) for a, b in pairs]  # type: ignore[misc]
    seen += [attempt(lambda: os.replace(directory / "x", directory / "y"))]
    seen += [attempt(lambda: os.renames(directory / "y", directory / "new" / "deep" / "y"))]
    return seen, sorted(str(p.relative_to(directory)) for p in directory.rglob("*"))


@program
def links(directory: Path) -> Any:
    (directory / "f").write_text("content")
    (directory / "d").mkdir()
    seen = attempts(
        [
            lambda: os.link(directory / "f", directory / "hard"),
            lambda: os.stat(directory / "hard").st_nlink,
            lambda: os.link(directory / "f", directory / "hard"),
            lambda: os.link(directory / "none", directory / "x"),
            lambda: os.link(directory / "d", directory / "x"),
            lambda: os.symlink("f", directory / "soft"),
            lambda: os.symlink("f", directory / "soft"),
            lambda: os.readlink(directory / "soft"),
            lambda: os.readlink(os.fsencode(directory / "soft")),
            lambda: os.readlink(directory / "f"),
            lambda: os.symlink("gone", directory / "dangling"),
            lambda: os.stat(directory / "dangling"),
            lambda: os.path.exists(directory / "dangling"),
            lambda: os.path.islink(directory / "dangling"),
            lambda: os.symlink(directory / "d", directory / "to_d"),
            lambda: (directory / "to_d" / "inside").write_text("through a link"),
            lambda: os.listdir(directory / "to_d"),
            lambda: os.symlink("loop", directory / "loop"),
            lambda: open(directory / "loop"),
            lambda: open(directory / "soft").read(),
            lambda: os.unlink(directory / "soft"),
            lambda: os.path.realpath(directory / "to_d" / "inside"),
            lambda: (directory / "to_d" / "inside").resolve(),
            lambda: os.open(directory / "to_d", os.O_RDONLY | os.O_NOFOLLOW),
            lambda: (directory / "dangling").write_text("made through it"),
        ]
    )
    return seen, sorted(os.listdir(directory))


@program
def modes_and_times(directory: Path) -> Any:
    path = directory / "f"
    path.write_text("x")
    before = os.umask(0o077)
    (directory / "private").write_text("x")
    (directory / "private_directory").mkdir()
    os.umask(before)
    with open(path) as file:
        seen: list[Any] = attempts([lambda: os.fchmod(file.fileno(), 0o640), lambda: os.chmod(file.fileno(), 0o644)])
    seen += attempts(
        [
            lambda: os.chmod(path, 0o600),
            lambda: os.chmod(directory / "none", 0o600),
            lambda: os.chmod(directory / "private_directory", 0o755),
            lambda: os.utime(path, (1_000_000_000, 1_234_567_890)),
            lambda: os.stat(path).st_mtime,
            lambda: os.utime(path, ns=(5, 1_234_567_890_123_456_789)),
            lambda: os.stat(path).st_mtime_ns,
            lambda: os.utime(path, (1, 2), ns=(1, 2)),  # type: ignore[call-overload]
            lambda: os.utime(directory / "none"),
            lambda: path.touch(exist_ok=False),
            lambda: os.chown(path, -1, -1),
        ]
    )
    os.utime(path)
    return seen, oct(path.stat().st_mode), os.stat(path).st_mtime > 1_500_000_000


@program
def attributes(directory: Path) -> Any:
    path = directory / "f"
    path.write_text("x")
    return attempts(
        [
            lambda: os.listxattr(path),
            lambda: os.setxattr(path, "user.one", b"1"),
            lambda: os.setxattr(path, b"user.two", b"2", os.XATTR_CREATE),
            lambda: os.setxattr(path, "user.one", b"11", os.XATTR_CREATE),
            lambda: os.setxattr(path, "user.three", b"3", os.XATTR_REPLACE),
            lambda: sorted(os.listxattr(path)),
            lambda: os.getxattr(path, "user.one"),
            lambda: os.removexattr(path, "user.one"),
            lambda: os.getxattr(path, "user.one"),
            lambda: os.removexattr(path, "user.one"),
            lambda: os.listxattr(directory / "none"),
        ]
    )


@program
def scans(directory: Path) -> Any:
    for name in ("a", "b"):
        (directory / name).write_text(name * 10)
    (directory / "d").mkdir()
    os.symlink("a", directory / "la")
    os.symlink("d", directory / "ld")
    os.symlink("none", directory / "ln")
    seen = []
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            seen.append([entry.name, entry.path, os.fspath(entry), repr(entry), isinstance(entry, os.DirEntry)])
            seen.append([entry.is_dir(), entry.is_file(), entry.is_symlink(), entry.is_dir(follow_symlinks=False)])
            seen.append([attempt(lambda e=entry: e.stat().st_size), entry.inode() == os.lstat(entry.path).st_ino])  # type: ignore[misc]
    number = os.open(directory, os.O_RDONLY)
    seen.append([sorted(entry.path for entry in os.scandir(number)), sorted(os.listdir(number))])
    os.close(number)
    with os.scandir(os.fsencode(directory)) as entries_as_bytes:
        seen.append([sorted(entry.name for entry in entries_as_bytes)])
    return seen


@program
def walks(directory: Path) -> Any:
    for path in ("a/b/c", "a/d", "e"):
        os.makedirs(directory / path)
        (directory / path / "file").write_text(path)
    os.symlink("../a", directory / "e" / "up")
    found: list[Any] = [[p, sorted(d), sorted(f)] for p, d, f in os.walk(directory)]
    found += [[p, sorted(d), sorted(f)] for p, d, f in os.walk(directory, topdown=False, followlinks=True)]
    found += [[p, sorted(d), sorted(f)] for p, d, f, _ in os.fwalk(directory)]
    return sorted(found), sorted(glob.glob(f"{directory}/**/file", recursive=True)), sorted(directory.glob("*/*"))


@program
def relative_to_a_directory(directory: Path) -> Any:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    seen = attempts(
        [
            lambda: os.mkdir("d", dir_fd=number),
            lambda: os.close(os.open("d/f", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=number)),
            lambda: os.rename("d/f", "g", src_dir_fd=number, dst_dir_fd=number),
            lambda: os.stat("g", dir_fd=number).st_size,
            lambda: os.stat("none", dir_fd=number),
            lambda: os.symlink("g", "s", dir_fd=number),
            lambda: os.readlink("s", dir_fd=number),
            lambda: os.access("g", os.F_OK, dir_fd=number),
            lambda: os.unlink("s", dir_fd=number),
            lambda: os.rmdir("d", dir_fd=number),
            lambda: os.fsync(number),
            lambda: os.read(number, 1),
            lambda: os.write(number, b"x"),
        ]
    )
    os.close(number)
    return seen


@program
def locks(directory: Path) -> Any:
    with open(directory / "lock", "w") as one, open(directory / "lock", "w") as other:
        return attempts(
            [
                lambda: fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB),
                lambda: fcntl.flock(other.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB),
                lambda: fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB),
                lambda: fcntl.flock(one, fcntl.LOCK_UN),
                lambda: fcntl.flock(other, fcntl.LOCK_SH),
                lambda: fcntl.flock(one, fcntl.LOCK_SH),
                lambda: fcntl.lockf(one, fcntl.LOCK_EX | fcntl.LOCK_NB),
                lambda: fcntl.lockf(other, fcntl.LOCK_UN),
                lambda: os.lockf(one.fileno(), os.F_LOCK, 0),
                lambda: fcntl.fcntl(one, fcntl.F_GETFL) & os.O_ACCMODE,
                lambda: fcntl.ioctl(one, 0x5401, b"\0" * 60),
                one.isatty,
            ]
        )


@program
def references_kept_before(directory: Path) -> Any:
    (directory / "a").write_text("a")
    kept_rename(directory / "a", directory / "b")
    with open(directory / "b") as file:
        kept_fsync(file.fileno())
    return kept_stat(directory / "b").st_size


# pathlib, shutil, tempfile


@program
def pathlib_methods(directory: Path) -> Any:
    path = directory / "sub" / "p.txt"
    path.parent.mkdir(parents=True)
    return attempts(
        [
            lambda: path.write_text("hé\n", encoding="utf-8"),
            lambda: path.read_text(encoding="utf-8"),
            lambda: path.write_bytes(b"12345678"),
            path.read_bytes,
            path.exists,
            path.is_file,
            path.is_dir,
            path.is_symlink,
            lambda: path.rename(directory / "moved"),
            lambda: (directory / "moved").replace(path),
            lambda: path.with_name("other").symlink_to("p.txt"),
            lambda: path.with_name("other").readlink(),
            lambda: path.with_name("hard").hardlink_to(path),
            lambda: path.samefile(path.with_name("hard")),
            lambda: path.with_name("other").resolve(),
            lambda: path.resolve(strict=True),
            lambda: (directory / "none").resolve(strict=True),
            lambda: path.chmod(0o600),
            lambda: path.touch(),
            lambda: (directory / "touched").touch(),
            lambda: sorted(directory.iterdir()),
            lambda: sorted(directory.rglob("*.txt")),
            lambda: path.unlink(),
            lambda: path.unlink(missing_ok=True),
            lambda: path.unlink(),
            lambda: path.parent.rmdir(),
            lambda: path.open(),
            lambda: path.open("x").close(),
        ]
    )


@program
def shutil_functions(directory: Path) -> Any:
    tree = directory / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "f").write_bytes(os.fsencode("x" * 100_000))
    (tree / "deep" / "g").write_text("g")
    os.chmod(tree / "f", 0o640)
    os.symlink("f", tree / "link")
    os.utime(tree / "f", (1_111_111_111, 1_222_222_222))
    seen = attempts(
        [
            lambda: shutil.copy(tree / "f", directory / "copy"),
            lambda: shutil.copy2(tree / "f", directory / "copy2"),
            lambda: os.stat(directory / "copy2").st_mtime,
            lambda: shutil.copyfile(tree / "f", tree / "f"),
            lambda: shutil.copyfile(tree, directory / "no"),
            lambda: shutil.copytree(tree, directory / "tree2"),
            lambda: shutil.copytree(tree, directory / "tree3", symlinks=True),
            lambda: shutil.copytree(tree, directory / "tree3"),
            lambda: shutil.move(directory / "tree3", directory / "moved"),
            lambda: shutil.move(directory / "copy", directory / "moved"),
            lambda: shutil.move(directory / "moved", directory / "moved" / "inside"),
            lambda: shutil.rmtree(directory / "tree2"),
            lambda: shutil.rmtree(directory / "none"),
            lambda: shutil.rmtree(directory / "none", ignore_errors=True),
            lambda: shutil.rmtree(directory / "copy2"),
            lambda: shutil.disk_usage(directory).free > 0,
            lambda: filecmp.cmp(tree / "f", directory / "copy2"),
            lambda: shutil.make_archive(os.fspath(directory / "archive"), "zip", tree),
            lambda: shutil.unpack_archive(directory / "archive.zip", directory / "unpacked"),
            lambda: sorted(str(p.relative_to(directory)) for p in directory.rglob("*")),
        ]
    )
    os.unlink(directory / "archive.zip")  # it holds the present
    return seen


@program
def moves_across_file_systems(directory: Path) -> Any:
    (directory / "f").write_text("moved out and in")
    outside = tempfile.mkdtemp()
    try:
        with contextlib.suppress(OSError):
            shutil.move(directory / "f", os.path.join(outside, "f"))
        shutil.copy(os.path.join(outside, "f"), directory / "copy")
        shutil.move(os.path.join(outside, "f"), directory / "back")
        return sorted(os.listdir(directory)), os.listdir(outside)
    finally:
        shutil.rmtree(outside)


@program
def temporary_files(directory: Path) -> Any:
    seen: list[Any] = []
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".tmp") as named:
        named.write(b"named")
        named.flush()
        seen += [os.path.dirname(named.name), os.path.exists(named.name), oct(os.stat(named.name).st_mode)]
    seen.append(os.path.exists(named.name))
    with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as kept:
        kept.write("kept")
    os.replace(kept.name, directory / "kept")
    with tempfile.TemporaryFile(dir=directory) as nameless:
        nameless.write(b"nameless")
        nameless.seek(0)
        seen += [nameless.read(), os.listdir(directory)]
    with tempfile.TemporaryDirectory(dir=directory) as inside:
        (Path(inside) / "f").write_text("f")
        seen.append(len(os.listdir(directory)))
    number, name = tempfile.mkstemp(dir=directory, text=True)
    os.write(number, b"mkstemp")
    os.close(number)
    os.rename(name, directory / "made")
    os.rename(tempfile.mkdtemp(dir=os.fsencode(directory)), directory / "made_directory")
    with tempfile.SpooledTemporaryFile(max_size=10, dir=directory) as spooled:
        spooled.write(b"much more than ten bytes")
        spooled.seek(5)
        seen.append(spooled.read(4))
    return seen


# What builds on files


@program
def zip_files(directory: Path) -> Any:
    path = directory / "z.zip"
    when = (2020, 1, 2, 3, 4, 6)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("one", when), "1" * 10_000)
        with archive.open(zipfile.ZipInfo("two", when), "w") as member:
            member.write(bytes(20_000))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo("three", when), b"3")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(directory / "out")
        return archive.namelist(), archive.testzip(), zipfile.is_zipfile(path)


@program
def tar_files(directory: Path) -> Any:
    (directory / "in").mkdir()
    (directory / "in" / "f").write_text("content")
    os.utime(directory / "in" / "f", (1, 1_600_000_000))
    path = directory / "t.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(directory / "in", "in")
    with tarfile.open(path) as archive:
        archive.extractall(directory / "out", filter="data")
        names = archive.getnames()
    os.unlink(path)  # owners and the present are in it
    return names, (directory / "out" / "in" / "f").stat().st_mtime


@program
def compressed_files(directory: Path) -> Any:
    seen = []
    for module in (gzip, bz2, lzma):
        path = directory / module.__name__
        with module.open(path, "wt") as file:  # type: ignore[attr-defined]
            file.writelines(f"line {n}\n" for n in range(2000))
        with module.open(path, "rt") as file:  # type: ignore[attr-defined]
            seen += [file.readline(), len(file.read())]
        os.unlink(path)
    return seen


@program
def data_formats(directory: Path) -> Any:
    value = {"a": [1, 2.5, None], "b": "é"}
    with open(directory / "j", "w") as file:
        json.dump(value, file)
    with open(directory / "p", "wb") as binary:
        pickle.dump(value, binary)
        pickle.dump(list(range(10_000)), binary)
    with open(directory / "c", "w", newline="") as file:
        csv.writer(file).writerows([[1, "two"], ["three", 'f"our']])
    config = configparser.ConfigParser()
    config["section"] = {"key": "value"}
    with open(directory / "i", "w") as file:
        config.write(file)
    with open(directory / "p", "rb") as binary:
        seen: list[Any] = [pickle.load(binary), len(pickle.load(binary))]
    with open(directory / "j") as file:
        seen.append(json.load(file))
    with open(directory / "c", newline="") as file:
        seen.append(list(csv.reader(file)))
    again = configparser.ConfigParser()
    seen += [again.read([directory / "i", directory / "none"]), again["section"]["key"]]
    with codecs.open(os.fspath(directory / "u"), "w", "utf-16") as coded:
        coded.write("coded")
    with fileinput.input([directory / "c"], inplace=True) as lines:
        for line in lines:
            print(line.upper(), end="")
    return seen


@program
def dumb_databases(directory: Path) -> Any:
    with dbm.dumb.open(os.fspath(directory / "d"), "c") as database:
        database[b"key"] = b"value" * 200
        database[b"other"] = b"x"
        del database[b"other"]
    with dbm.dumb.open(os.fspath(directory / "d"), "w") as database:
        database[b"third"] = b"3"
        seen: list[Any] = [sorted(database.keys()), database[b"key"][:5]]
    with shelve.Shelf(dbm.dumb.open(os.fspath(directory / "s"), "n")) as shelf:
        shelf["a"] = [1, 2, 3]
        seen.append(shelf["a"])
    return seen


@program
def logging_handlers(directory: Path) -> Any:
    handler = logging.FileHandler(directory / "log.txt")
    logger = logging.Logger("twin")
    logger.addHandler(handler)
    logger.warning("one")
    logger.error("two %s", 2)
    handler.close()
    return (directory / "log.txt").read_text()


@program
def paths_said_otherwise(directory: Path) -> Any:
    (directory / "d").mkdir()
    (directory / "f").write_text("f")
    name = os.fspath(directory)
    return attempts(
        [
            lambda: open(f"{name}/./f").read(),
            lambda: open(f"{name}//f").read(),
            lambda: open(f"/.{name}/f").read(),
            lambda: open(f"/usr/..{name}/d/../f").read(),
            lambda: open(f"{name}/none/../f").read(),
            lambda: open(os.path.relpath(f"{name}/f")).read(),
            lambda: open(f"{name}/f/").read(),
            lambda: os.unlink(f"{name}/f/"),
            lambda: os.stat(""),
            lambda: os.listdir(f"{name}/d/."),
            lambda: open(os.fsencode(f"{name}/\udcff"), "w").close(),
            lambda: sorted(os.listdir(os.fsencode(name))),
        ]
    )
