"""Programs of the functions of ``os``."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import stat
from functools import partial
from os import fsync as kept_fsync
from os import rename as kept_rename
from os import stat as kept_stat
from pathlib import Path
from typing import Any

from tests.explore.interpose.programs import attempt, attempts, program


def _length(found: os.stat_result) -> int:
    """Of a file; what a directory has for a length, each file system says as it likes."""
    return -1 if stat.S_ISDIR(found.st_mode) else found.st_size


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
    return [attempt(partial(use, f)) for f in flags]


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
            found = attempt(partial(call, full))
            seen.append((oct(found.st_mode), _length(found)) if isinstance(found, os.stat_result) else found)
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
        ("f", "h"), ("none", "x"), ("h", "g"), ("g", "d"), ("d", "g"), ("e", "full"), ("full", "full/inside"),
        ("g", "g"), ("g", "e/g"), ("full/x", "x"), ("g", "none/x"), ("e/g", "x/y"), ("d", "d"),
    ]  # fmt: skip
    seen = [attempt(partial(os.rename, directory / a, directory / b)) for a, b in pairs]
    # A directory that is not empty: ENOTEMPTY of ext4 is EEXIST of XFS, and POSIX allows both.
    seen = ["not empty" if found and found[1] in (errno.EEXIST, errno.ENOTEMPTY) else found for found in seen]
    assert seen[5] == "not empty"
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
            lambda: open(directory / "loop"),  # noqa: SIM115
            (directory / "soft").read_text,
            lambda: os.unlink(directory / "soft"),
            lambda: os.path.realpath(directory / "to_d" / "inside"),
            (directory / "to_d" / "inside").resolve,
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
            lambda: os.utime(path, (1, 2), ns=(1, 2)),
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


def _size(entry: os.DirEntry[str]) -> int:
    return _length(entry.stat())


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
            seen.append([attempt(partial(_size, entry)), entry.inode() == os.lstat(entry.path).st_ino])
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
