"""One suite for every storage: each test is a promise of the seam."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.recording_storage import RecordingStorage
from untorn.crashmodel.storage import SimulatedStorage
from untorn.storage.fault_injection import FaultyStorage
from untorn.storage.interface import IOV_MAX, Storage, StorageFile
from untorn.storage.linux import LinuxStorage

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


class World(NamedTuple):
    storage: Storage
    home: str
    """A directory that is empty and has no symbolic link in its path."""
    mkdir: Callable[[str], object]
    symlink: Callable[[str, str], object]

    def path(self, name: str) -> str:
        return os.path.join(self.home, name)

    def create(self, name: str = "f", data: bytes = b"") -> StorageFile:
        file = self.storage.open(self.path(name), NEW, 0o640)
        if data:
            file.write([data], 0)
        return file


KINDS = ["linux", "simulated", "recorded linux", "recorded simulated", "faulty linux", "faulty simulated"]


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    kind: str = request.param
    inner: Storage
    if kind.endswith("linux"):
        inner, home = LinuxStorage(), os.path.realpath(tmp_path)
        mkdir: Callable[[str], object] = os.mkdir
        symlink: Callable[[str, str], object] = os.symlink
    else:
        simulated = SimulatedStorage(uid=os.geteuid())
        simulated.make_directory("/home")
        inner, home, mkdir, symlink = simulated, "/home", simulated.make_directory, simulated.symlink
    if kind.startswith("recorded"):
        inner = RecordingStorage(inner)
    elif kind.startswith("faulty"):
        inner = FaultyStorage(inner)
    return World(inner, home, mkdir, symlink)


@pytest.fixture
def file(world: World) -> Iterator[StorageFile]:
    file = world.create()
    yield file
    file.close()


def code(call: Callable[[], object]) -> int | None:
    """The errno that the call fails with, 0 if it does not fail."""
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


# Transfers


def test_what_is_written_is_read(file: StorageFile) -> None:
    file.write([b"abc", bytearray(b"def"), memoryview(b"xghix")[1:4]], 5)
    assert file.read(100, 0) == bytes(5) + b"abcdefghi"
    assert file.pread(3, 6) == b"bcd"


def test_pread_is_empty_only_at_the_end(file: StorageFile) -> None:
    file.write([b"abc"], 0)
    assert file.pread(5, 3) == b""
    assert file.pread(5, 1 << 40) == b""
    assert 0 < len(file.pread(5, 2)) <= 1


def test_a_length_that_no_file_has_costs_no_memory(file: StorageFile) -> None:
    file.write([b"abc"], 0)
    assert file.read(1 << 50, 0) == b"abc"


def test_write_takes_more_buffers_than_one_call_does(file: StorageFile) -> None:
    file.write([b"ab"] * (IOV_MAX + 5) + [b""], 1)
    assert file.read(1 << 20, 0) == b"\0" + b"ab" * (IOV_MAX + 5)
    assert code(lambda: file.pwritev([b"a"] * (IOV_MAX + 1), 0)) == errno.EINVAL


def test_writing_nothing_changes_nothing(file: StorageFile) -> None:
    file.write([], 10)
    assert file.pwritev([b"", b""], 10) == 0
    assert file.stat().size == 0


def test_a_buffer_may_change_after_the_call(file: StorageFile) -> None:
    data = bytearray(b"abc")
    file.pwritev([data], 0)
    data[:] = b"xyz"
    assert file.read(3, 0) == b"abc"


def test_a_synchronous_write_is_a_write(file: StorageFile) -> None:
    assert file.pwritev([b"abc"], 0, os.RWF_DSYNC) == 3
    assert file.pwritev([b"def"], 3, os.RWF_SYNC) == 3
    assert file.read(9, 0) == b"abcdef"


def test_the_append_flag_of_a_write_ignores_the_offset(file: StorageFile) -> None:
    file.write([b"abc"], 0)
    assert file.pwritev([b"def"], 0, 0x10) == 3
    assert file.read(9, 0) == b"abcdef"


def test_offsets_below_zero_are_refused(file: StorageFile) -> None:
    assert code(lambda: file.pread(1, -1)) == errno.EINVAL
    assert code(lambda: file.pwritev([b"a"], -2)) == errno.EINVAL


def test_access_is_as_opened(world: World) -> None:
    world.create(data=b"abc").close()
    reader = world.storage.open(world.path("f"), os.O_RDONLY)
    writer = world.storage.open(world.path("f"), os.O_WRONLY)
    assert code(lambda: reader.pwritev([b"x"], 0)) == errno.EBADF
    assert code(lambda: reader.truncate(0)) == errno.EINVAL
    assert code(lambda: reader.allocate(0, 1, keep_size=False)) == errno.EBADF
    assert code(lambda: writer.pread(1, 0)) == errno.EBADF
    assert reader.read(9, 0) == b"abc"
    reader.fsync()
    for file in (reader, writer):
        file.close()


# Size and space


def test_truncate_cuts_and_extends_with_zeros(file: StorageFile) -> None:
    file.write([b"x" * 10_000], 0)
    file.truncate(700)
    file.truncate(9_000)
    assert file.read(20_000, 0) == b"x" * 700 + bytes(8_300)
    file.truncate(0)
    assert file.stat().size == 0
    assert file.read(10, 0) == b""


def test_allocate_moves_the_size_or_keeps_it_and_reads_as_zeros(file: StorageFile) -> None:
    file.write([b"abc"], 0)
    file.allocate(0, 8192, keep_size=True)
    assert file.stat().size == 3
    file.allocate(1, 8192, keep_size=False)
    assert file.stat().size == 8193
    assert file.read(9000, 0) == b"abc" + bytes(8190)
    assert code(lambda: file.allocate(0, 0, keep_size=False)) == errno.EINVAL


def test_the_first_hole_is_where_no_block_was_written(file: StorageFile) -> None:
    assert file.first_hole() == 0
    file.write([b"x" * 4096], 0)
    file.write([b"x" * 4096], 64 << 10)
    assert file.first_hole() == 4096
    file.write([b"x" * 5000], 0)
    file.truncate(5000)
    assert file.first_hole() == 5000


def test_a_size_that_a_file_may_have_passes(file: StorageFile) -> None:
    file.check_size(0)
    file.check_size(1 << 30)
    assert file.stat().size == 0
    assert code(lambda: file.check_size(1 << 63)) == errno.EFBIG


def test_a_size_beyond_the_limit_of_the_process_is_refused(tmp_path: Path) -> None:
    file = LinuxStorage().open(str(tmp_path / "f"), NEW)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        file.check_size(1 << 20)
        assert code(lambda: file.check_size((1 << 20) + 1)) == errno.EFBIG
        assert code(lambda: file.write([b"x"], 1 << 20)) == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        file.close()


# What a file is


@pytest.mark.usefixtures("umask_as_usual")
def test_stat_tells_the_inode_its_size_and_its_changes(world: World) -> None:
    file, other = world.create(data=b"abc"), world.create("g")
    found = file.stat()
    assert found == world.storage.stat(world.path("f"))
    assert stat.S_ISREG(found.mode)
    assert found.mode & 0o777 == 0o640
    assert (found.uid, found.links, found.size) == (world.storage.user(), 1, 3)
    assert (other.stat().device, other.stat().inode) != (found.device, found.inode)
    assert found.birth_ns is None or found.birth_ns <= found.mtime_ns
    file.write([b"x"], 0)
    assert file.stat().mtime_ns >= found.mtime_ns
    assert file.stat().birth_ns == found.birth_ns
    for opened in (file, other):
        opened.close()


def test_owner_and_permissions_can_be_set(file: StorageFile) -> None:
    gid = file.stat().gid
    file.set_owner(0o100604, os.geteuid(), gid)
    assert file.stat().mode == 0o100604
    assert file.stat().gid == gid


def test_attributes_are_set_read_and_removed(file: StorageFile) -> None:
    assert file.getxattr("user.a") is None
    file.setxattr("user.a", b"\0one")
    file.setxattr("user.b", b"")
    file.setxattr("user.a", b"two")
    assert file.getxattr("user.a") == b"two"
    assert file.getxattr("user.b") == b""
    file.removexattr("user.a")
    assert file.getxattr("user.a") is None
    assert code(lambda: file.removexattr("user.a")) == errno.ENODATA


def test_syncs_return(world: World, file: StorageFile) -> None:
    file.write([b"x"], 0)
    file.fdatasync()
    file.fsync()
    world.storage.sync_directory(world.home)
    directory = world.storage.open(world.home, os.O_RDONLY | os.O_DIRECTORY)
    directory.fsync()
    directory.close()


def test_a_closed_file_refuses_all_but_another_close(world: World) -> None:
    file = world.create()
    file.close()
    file.close()
    for call in (file.stat, file.fsync, lambda: file.pread(1, 0), lambda: file.pwritev([b"x"], 0)):
        assert code(call) == errno.EBADF


# Locks


def test_locks_are_shared_or_exclusive_between_open_files(world: World) -> None:
    first = world.create()
    second = world.storage.open(world.path("f"), os.O_RDONLY)
    assert first.lock_holder() is None
    first.lock(exclusive=True)
    first.lock(exclusive=True)
    with pytest.raises(BlockingIOError):
        second.lock(exclusive=False)
    assert isinstance(second.lock_holder(), int)
    first.close()
    second.lock(exclusive=False)
    third = world.storage.open(world.path("f"), os.O_RDWR)
    third.lock(exclusive=False)
    with pytest.raises(BlockingIOError):
        third.lock(exclusive=True)
    second.close()
    third.lock(exclusive=True)
    third.close()


def test_a_change_of_lock_that_fails_loses_the_old_one(world: World) -> None:
    first = world.create()
    second = world.storage.open(world.path("f"), os.O_RDWR)
    first.lock(exclusive=False)
    second.lock(exclusive=False)
    with pytest.raises(BlockingIOError):
        second.lock(exclusive=True)
    first.lock(exclusive=True)
    first.close()
    second.close()


# Names


def test_open_keeps_its_flags(world: World) -> None:
    path = world.path("f")
    assert code(lambda: world.storage.open(path, os.O_RDWR)) == errno.ENOENT
    world.create(data=b"abc").close()
    assert code(lambda: world.storage.open(path, NEW)) == errno.EEXIST
    file = world.storage.open(path, os.O_RDWR | os.O_CREAT)
    assert file.stat().size == 3
    world.storage.open(path, os.O_RDWR | os.O_TRUNC).close()
    assert file.stat().size == 0
    file.close()
    assert code(lambda: world.storage.open(path, os.O_RDONLY | os.O_DIRECTORY)) == errno.ENOTDIR
    assert code(lambda: world.storage.open(world.home, os.O_RDWR)) == errno.EISDIR
    assert code(lambda: world.storage.open(path + "/g", os.O_RDWR)) == errno.ENOTDIR
    assert code(lambda: world.storage.open(world.path("no/g"), NEW)) == errno.ENOENT


def test_names_that_are_too_long_are_refused(world: World) -> None:
    assert code(lambda: world.create("x" * 256)) == errno.ENAMETOOLONG
    assert code(lambda: world.create("\xe4" * 128)) == errno.ENAMETOOLONG
    world.create("x" * 255).close()
    assert code(lambda: world.storage.stat(world.path("x" * 256))) == errno.ENAMETOOLONG


def test_names_need_not_be_text(world: World) -> None:
    name = os.fsdecode(b"\xff\xfe odd")
    world.create(name, b"abc").close()
    assert world.storage.stat(world.path(name)).size == 3
    world.storage.rename(world.path(name), world.path("f"))
    assert world.storage.resolve(world.path(name)) == world.path(name)
    assert code(lambda: world.storage.stat(world.path(name))) == errno.ENOENT


def test_an_unlinked_file_lives_while_it_is_open(world: World) -> None:
    file = world.create(data=b"abc")
    world.storage.unlink(world.path("f"))
    assert file.read(9, 0) == b"abc"
    assert file.stat().links == 0
    other = world.create(data=b"new")
    assert other.stat().inode != file.stat().inode
    assert code(lambda: world.storage.unlink(world.path("g"))) == errno.ENOENT
    file.close()
    other.close()


def test_rename_replaces(world: World) -> None:
    world.create("f", b"old").close()
    world.create("g", b"new").close()
    world.storage.rename(world.path("g"), world.path("f"))
    file = world.storage.open(world.path("f"), os.O_RDONLY)
    assert file.read(9, 0) == b"new"
    file.close()
    assert code(lambda: world.storage.stat(world.path("g"))) == errno.ENOENT
    assert code(lambda: world.storage.rename(world.path("g"), world.path("h"))) == errno.ENOENT
    world.storage.rename(world.path("f"), world.path("f"))
    assert world.storage.stat(world.path("f")).size == 3


def test_links_are_followed_but_where_told_not_to(world: World) -> None:
    world.mkdir(world.path("sub"))
    world.symlink("sub/f", world.path("link"))
    world.symlink(world.home, world.path("self"))
    storage = world.storage
    assert storage.resolve(world.path("link")) == world.path("sub/f")
    assert code(lambda: storage.open(world.path("link"), NEW)) == errno.EEXIST
    storage.open(world.path("link"), os.O_RDWR | os.O_CREAT).close()
    assert storage.stat(world.path("sub/f")).size == 0
    assert stat.S_ISLNK(storage.stat(world.path("link")).mode)
    assert code(lambda: storage.open(world.path("link"), os.O_RDWR | os.O_NOFOLLOW)) == errno.ELOOP
    assert storage.resolve(world.path("self/sub/../link")) == world.path("sub/f")
    storage.unlink(world.path("self/link"))
    assert storage.stat(world.path("sub/f")).links == 1
    assert storage.resolve(world.path("self/new")) == world.path("new")


def test_links_in_a_circle_and_missing_directories_do_not_resolve(world: World) -> None:
    world.symlink("b", world.path("a"))
    world.symlink("a", world.path("b"))
    assert code(lambda: world.storage.resolve(world.path("a"))) == errno.ELOOP
    assert code(lambda: world.storage.open(world.path("a"), os.O_RDONLY)) == errno.ELOOP
    assert code(lambda: world.storage.resolve(world.path("no/f"))) == errno.ENOENT


def test_random_bytes_are_as_many_as_asked_for_and_never_the_same(world: World) -> None:
    drawn = {world.storage.random_bytes(17) for _ in range(10)}
    assert len(drawn) == 10
    assert {len(value) for value in drawn} == {17}


# What only some have


def test_linux_tells_what_the_standard_library_tells_and_the_birth_time(tmp_path: Path) -> None:
    path = tmp_path / "f"
    file = LinuxStorage().open(str(path), NEW)
    file.write([b"abc"], 0)
    real = path.stat()
    assert file.stat() == LinuxStorage().stat(str(path))
    assert file.stat()[:-1] == (
        real.st_dev, real.st_ino, real.st_mode, real.st_uid, real.st_gid, real.st_nlink, 3, real.st_mtime_ns
    )  # fmt: skip
    birth_ns = file.stat().birth_ns
    assert birth_ns is None or 0 <= real.st_mtime_ns - birth_ns < 60_000_000_000
    file.close()


def test_without_fallocate_zeros_are_written_behind_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    from untorn.storage import linux

    def none(*_: object) -> int:
        ctypes.set_errno(errno.EOPNOTSUPP)
        return -1

    monkeypatch.setattr(linux, "_fallocate", none)
    file = LinuxStorage().open(str(tmp_path / "f"), NEW)
    file.write([b"abc"], 0)
    file.allocate(0, 1 << 21, keep_size=True)
    assert file.stat().size == 3
    file.allocate(0, (1 << 21) + 5, keep_size=False)
    file.allocate(0, 100, keep_size=False)
    assert file.stat().size == (1 << 21) + 5
    assert file.read(1 << 22, 0) == b"abc".ljust((1 << 21) + 5, b"\0")
    assert file.first_hole() == (1 << 21) + 5
    file.close()


def test_the_lock_holder_is_another_process_on_the_same_device_if_there_is_one() -> None:
    from untorn.storage.linux import _holder

    device = os.makedev(0xFE, 1)
    own = f"1: FLOCK  ADVISORY  WRITE {os.getpid()} fe:01:77 0 EOF\n"
    far = "2: FLOCK  ADVISORY  WRITE 4002 fe:02:77 0 EOF\n"
    near = "3: FLOCK  ADVISORY  READ  4003 fe:01:77 0 EOF\n"
    noise = (
        "4: POSIX  ADVISORY  WRITE 4004 fe:01:77 0 EOF\n5: -> FLOCK  ADVISORY  WRITE 4005 fe:01:77 0 EOF\n"
        "6: FLOCK  ADVISORY  WRITE 4006 fe:01:78 0 EOF\n7: FLOCK  ADVISORY  WRITE 0 fe:01:77 0 EOF\n"
    )
    assert _holder(noise, device, 77) is None
    assert _holder(noise + far, device, 77) == 4002
    assert _holder(noise + own, device, 77) == os.getpid()
    assert _holder(far + own + near, device, 77) == 4003


def test_a_recording_has_the_site_the_result_and_the_order_of_each_call(tmp_path: Path) -> None:
    storage = RecordingStorage(LinuxStorage())
    file = storage.open(str(tmp_path / "f"), NEW)
    file.write([b"ab", b"c"], 0)
    storage.acknowledge("stored")
    assert code(lambda: file.removexattr("user.none")) == errno.ENODATA
    file.close()
    by_name = {operation.name: operation for operation in storage.trace.operations}
    write = by_name["pwritev"]
    assert (write.arguments, write.result, write.error) == ((0, b"abc", 0), 3, None)
    assert write.site is not None
    assert (os.path.basename(write.site.file), write.site.function) == (
        "test_conformance.py",
        "test_a_recording_has_the_site_the_result_and_the_order_of_each_call",
    )
    assert by_name["acknowledge"].arguments == ("stored",)
    assert by_name["removexattr"].error == errno.ENODATA
    events = [n for o in storage.trace.operations for n in (o.issued, o.completed)]
    assert events == list(range(1, len(events) + 1))
    assert by_name["open"].arguments[2] is True


def test_a_recording_over_linux_is_cut_like_a_simulation(tmp_path: Path) -> None:
    from untorn.crashmodel.rules import History
    from untorn.crashmodel.variables import newest, oldest

    path = tmp_path / "f"
    path.write_bytes(b"old")
    storage = RecordingStorage(LinuxStorage())
    file = storage.open(str(path), os.O_RDWR)
    file.write([b"new"], 0)
    file.setxattr("user.a", b"1")
    storage.open(str(tmp_path / "g"), NEW).close()
    storage.unlink(str(path))
    file.close()
    history = History(storage.trace)
    history.advance(storage.trace.now)
    before, after = history.image(oldest), history.image(newest)
    place = os.path.realpath(path)
    home = before.paths()[os.path.dirname(place)]
    assert before.inodes[before.paths()[place]].content.read(0, 9) == b"old"
    assert [name for directory, name in before.names if directory == home] == ["f"]
    assert [name for directory, name in after.names if directory == home] == ["g"]
