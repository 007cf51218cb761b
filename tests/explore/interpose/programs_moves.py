"""Programs that rename directories, and that move bytes between descriptors, to be run twice (see twins)."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tests.explore.interpose.programs import attempt, attempts, program


@program
def directories_are_renamed(directory: Path) -> Any:
    for name in ("a/b/c", "empty", "full/x"):
        os.makedirs(directory / name)
    for name in ("f", "a/f", "a/b/f"):
        (directory / name).write_text(name)
    os.symlink("a/b", directory / "link")
    pairs = [
        ("a/b", "empty"), ("empty", "full"), ("empty", "f"), ("f", "empty"), ("empty", "empty/c/in"),
        ("empty", "empty"), ("full/x", "full"), ("f", "full"), ("a/f", "a"), ("none", "x"), ("a", "none/x"),
        ("full", "full/x/y"), (".", "b"), ("empty", "."), ("empty/", "moved/"), ("moved/..", "x"),
        ("link", "full/link"), ("full/link", "a"), ("a", "link"), ("f", "new/"), ("moved/c", "a/c"),
        ("a", "moved/a"), ("moved", "moved/a/c"),
    ]  # fmt: skip
    seen = [attempt(partial(os.rename, directory / a, directory / b)) for a, b in pairs]
    # A directory that is not empty: ENOTEMPTY of ext4 is EEXIST of XFS, and POSIX allows both.
    return ["not empty" if found and found[1] in (errno.EEXIST, errno.ENOTEMPTY) else found for found in seen]


@program
def a_directory_takes_the_place_of_another(directory: Path) -> Any:
    (directory / "data").mkdir()
    (directory / "data" / "f").write_text("old")
    new = Path(tempfile.mkdtemp(dir=directory))
    (new / "f").write_text("new")
    (new / "sub").mkdir()
    with open(directory / "data" / "f") as old, open(new / "f", "r+") as file:
        seen: list[Any] = [attempt(lambda: new.rename(directory / "data"))[1] in (errno.EEXIST, errno.ENOTEMPTY)]
        (directory / "data").rename(directory / "data.old")
        seen += [new.rename(directory / "data").name, old.read(), file.read()]
        file.write(" and more")
        file.flush()
        seen += [(directory / "data" / "f").read_text(), new.exists(), os.listdir(directory / "data.old")]
    shutil.rmtree(directory / "data.old")
    seen += [shutil.move(directory / "data" / "sub", directory), os.path.isdir(directory / "sub")]
    seen += [shutil.move(directory / "data", directory / "sub")]
    return seen, sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@program
def descriptors_go_with_their_directory(directory: Path) -> Any:
    os.makedirs(directory / "a" / "b")
    (directory / "a" / "f").write_text("f")
    a, b = os.open(directory / "a", os.O_RDONLY), os.open(directory / "a" / "b", os.O_RDONLY)
    f = os.open(directory / "a" / "f", os.O_RDWR)
    os.rename(directory / "a", directory / "c")
    (directory / "a").mkdir()
    seen = attempts(
        [
            lambda: os.close(os.open("new", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=b)),
            lambda: os.mkdir("d", dir_fd=a),
            lambda: sorted(os.listdir(a)),
            lambda: sorted(entry.name for entry in os.scandir(b)),
            lambda: os.rename("f", "b/g", src_dir_fd=a, dst_dir_fd=a),
            lambda: os.stat("../b/g", dir_fd=b).st_size,
            lambda: os.rename("b", "b", src_dir_fd=a, dst_dir_fd=os.open(directory, os.O_RDONLY)),
            lambda: os.stat("g", dir_fd=b).st_size,
            lambda: os.stat("../c/d", dir_fd=b).st_nlink > 0,
            lambda: os.write(f, b"more"),
            lambda: os.setxattr(f, "user.x", b"1"),
            lambda: os.getxattr(f, "user.x"),
            lambda: os.listxattr(f),
            lambda: os.removexattr(f, "user.x"),
            lambda: os.utime(f, ns=(0, 5_000_000_000)),
            lambda: os.stat(f).st_mtime_ns,
            lambda: os.truncate(f, 2),
            lambda: os.chmod(f, 0o600),
            lambda: os.fsync(a),
            lambda: os.fsync(b),
            lambda: os.fsync(f),
            lambda: os.rmdir("d", dir_fd=a),
            lambda: os.rmdir(directory / "c"),
            lambda: os.stat("x", dir_fd=a),
            lambda: os.mkdir("x", dir_fd=a),
            lambda: os.fsync(a),
            lambda: os.fstat(a).st_mode,
        ]
    )
    for number in (a, b, f):
        os.close(number)
    return seen, sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@program
def bytes_are_spliced(directory: Path) -> Any:
    (directory / "f").write_bytes(bytes(range(256)) * 40)
    number, other = os.open(directory / "f", os.O_RDWR), os.open(directory / "g", os.O_RDWR | os.O_CREAT)
    written, opened = os.open(directory / "w", os.O_WRONLY | os.O_CREAT), os.open(directory, os.O_RDONLY)
    appended = os.open(directory / "a", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    source, sink = os.pipe()
    seen = attempts(
        [
            lambda: os.splice(number, sink, 1000),
            lambda: os.splice(number, sink, 500, offset_src=3),
            lambda: os.lseek(number, 0, os.SEEK_CUR),
            lambda: os.splice(source, other, 600),
            lambda: os.splice(source, other, 10_000, offset_dst=2000),
            lambda: os.lseek(other, 0, os.SEEK_CUR),
            lambda: os.splice(number, sink, 5_000, 10_000, flags=os.SPLICE_F_MOVE | os.SPLICE_F_MORE),
            lambda: os.splice(number, sink, 10, 100_000),
            lambda: os.splice(source, written, 100),
            lambda: os.read(source, 1000),
            lambda: os.splice(source, other, 10, flags=os.SPLICE_F_NONBLOCK),
            lambda: os.splice(number, other, 10),
            lambda: os.splice(number, opened, 10),
            lambda: os.splice(number, sink, 10, offset_dst=0),
            lambda: os.splice(source, other, 10, offset_src=0),
            lambda: os.splice(written, sink, 10),
            lambda: os.splice(opened, sink, 10),
            lambda: os.splice(number, sink, 10, flags=64),
            lambda: os.splice(number, sink, 0),
            lambda: os.splice(number, sink, -1),
            lambda: os.write(sink, b"for later"),
            lambda: os.splice(source, appended, 10),
            lambda: os.splice(source, opened, 10),
            lambda: os.splice(source, other, 3),
            lambda: os.read(source, 100),
            lambda: os.close(sink),
            lambda: os.splice(source, other, 10),
        ]
    )
    os.lseek(number, 0, os.SEEK_SET)
    source, sink = os.pipe()
    total = 0
    while moved := os.splice(number, sink, 4000):
        total += os.splice(source, other, moved, 5000 + total)
    return [*seen, total, os.pread(other, 20_000, 0)]


@program
def a_pipe_is_filled_no_more_than_it_holds(directory: Path) -> Any:
    (directory / "f").write_bytes(bytes(1 << 18))
    number = os.open(directory / "f", os.O_RDWR)
    source, sink = os.pipe()
    first = os.splice(number, sink, 1 << 18)
    seen = [attempt(lambda: os.splice(number, sink, 1, flags=os.SPLICE_F_NONBLOCK))]
    read = 0
    while read < first:
        read += len(os.read(source, first))
    os.close(source)
    return [*seen, 0 < first < 1 << 18, os.lseek(number, 0, os.SEEK_CUR) == first, read == first]


@program
def bytes_are_sent_and_copied(directory: Path) -> Any:
    (directory / "f").write_bytes(bytes(range(200)))
    number, other = os.open(directory / "f", os.O_RDWR), os.open(directory / "g", os.O_RDWR | os.O_CREAT)
    source, sink = os.pipe()
    return attempts(
        [
            lambda: os.sendfile(other, number, None, 50),
            lambda: os.sendfile(other, number, 150, 100),
            lambda: os.sendfile(sink, number, 10, 20),
            lambda: os.read(source, 100),
            lambda: os.copy_file_range(number, other, 30),
            lambda: os.copy_file_range(number, other, 30, 100, 300),
            lambda: os.copy_file_range(number, other, 30, 500, 0),
            lambda: os.lseek(number, 0, os.SEEK_CUR),
            lambda: os.lseek(other, 0, os.SEEK_CUR),
            lambda: os.pread(other, 1000, 0),
        ]
    )
