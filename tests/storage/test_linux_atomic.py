"""Direct I/O, RWF_ATOMIC and statx limits on real file systems."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.mounts import mounted
from untorn.storage import linux, statx
from untorn.storage.interface import IOV_MAX, RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, AtomicLimits, Buffer, StorageFile
from untorn.storage.linux import DirectFile, LinuxFile, LinuxStorage

KIB = 1 << 10
PAGE = 4096
DIRECT = os.O_RDWR | os.O_CREAT | os.O_DIRECT
BUFFERED = os.O_RDWR | os.O_CREAT


@contextmanager
def opened_direct(folder: Path, alignment: int) -> Iterator[DirectFile]:
    """A direct file that minds the alignment if asked: where temporary files are or, if that cannot be, on ext4."""
    with ExitStack() as stack:
        try:
            file = LinuxStorage().open(str(folder / "direct"), DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            file = None
        if file is None or file.direct_alignment().memory < alignment:
            place = stack.enter_context(mounted("ext4", folder))
            file = LinuxStorage().open(str(place / "direct"), DIRECT)
        assert isinstance(file, DirectFile)
        yield file
        file.close()


@pytest.fixture
def direct(tmp_path: Path) -> Iterator[DirectFile]:
    with opened_direct(tmp_path, alignment=0) as file:
        yield file


@pytest.fixture
def minding(tmp_path: Path) -> Iterator[DirectFile]:
    with opened_direct(tmp_path, alignment=2) as file:
        yield file


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    with mounted("xfs", tmp_path) as folder:
        yield folder


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    with mounted("ext4", tmp_path) as folder:
        yield folder


@pytest.fixture
def atomic(xfs: Path) -> Iterator[StorageFile]:
    """A direct file that takes RWF_ATOMIC."""
    with_limits = LinuxStorage().open(str(xfs / "atomic"), DIRECT)
    if with_limits.atomic_limits() == AtomicLimits():
        pytest.skip("this kernel has no atomic writes on XFS without such a device")
    yield with_limits
    with_limits.close()


def code(file: StorageFile, buffers: list[bytes], offset: int, flags: int = RWF_ATOMIC) -> int:
    """The errno of the write, 0 if it was made."""
    try:
        file.pwritev(buffers, offset, flags)
    except OSError as error:
        return error.errno or -1
    return 0


def test_a_direct_open_gives_a_direct_file_and_any_other_does_not(direct: StorageFile, tmp_path: Path) -> None:
    plain = LinuxStorage().open(str(tmp_path / "plain"), BUFFERED)

    assert isinstance(direct, DirectFile)
    assert not isinstance(plain, DirectFile)
    plain.close()


@pytest.mark.parametrize("shift", [0, 1, 7, 16, 511, 512])
def test_memory_is_aligned_for_the_kernel_wherever_it_lies(direct: StorageFile, shift: int) -> None:
    memory = memoryview(bytearray(os.urandom(8 * PAGE + shift)))[shift:]

    assert direct.pwritev([memory], 0) == 8 * PAGE
    assert direct.pwritev([memory[:PAGE].toreadonly(), bytes(memory[:PAGE])], 8 * PAGE) == 2 * PAGE
    assert direct.pread(10 * PAGE, 0) == bytes(memory) + bytes(memory[:PAGE]) * 2


def test_unaligned_memory_is_what_the_kernel_would_refuse(minding: DirectFile) -> None:
    """The control: without the copy to aligned memory the write fails, where the file system minds at all."""
    memory = memoryview(mmap.mmap(-1, 2 * PAGE))[1 : PAGE + 1]
    descriptor = os.open(minding.path, os.O_RDWR | os.O_DIRECT)
    try:
        with pytest.raises(OSError) as caught:
            os.pwritev(descriptor, [memory], 0)
    finally:
        os.close(descriptor)

    assert caught.value.errno == errno.EINVAL
    assert minding.pwritev([memory], 0) == PAGE


def test_aligned_memory_goes_out_without_a_copy(direct: StorageFile, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = memoryview(mmap.mmap(-1, 2 * PAGE))
    memory[:] = b"a" * (2 * PAGE)
    monkeypatch.setattr(DirectFile, "_aligned", None)

    assert direct.pwritev([memory[:PAGE], memory[PAGE:]], 0) == 2 * PAGE
    with pytest.raises(TypeError):
        direct.pwritev([b"b" * PAGE], 0)


def test_pieces_of_any_length_are_one_write(direct: StorageFile) -> None:
    parts: list[Buffer] = [b"a", b"", b"b" * 4094, bytearray(b"c"), memoryview(b"d" * PAGE)]

    assert direct.pwritev(parts, PAGE) == 2 * PAGE
    assert direct.pread(2 * PAGE, PAGE) == b"".join(parts)


def test_more_buffers_than_a_call_takes_are_refused(direct: StorageFile) -> None:
    assert code(direct, [b""] * (IOV_MAX + 1), 0, 0) == errno.EINVAL
    assert code(direct, [b"x" * 512] * (IOV_MAX + 1), 0, 0) == errno.EINVAL
    assert code(direct, [], 0, 0) == 0


def test_a_write_larger_than_the_spare_memory(direct: StorageFile) -> None:
    data = os.urandom(linux.SPARE_SIZE) * 2 + b"end!" * KIB

    direct.write([data], 0)

    assert direct.read(len(data), 0) == data


def test_reads_end_where_the_file_does(direct: StorageFile) -> None:
    direct.write([b"x" * PAGE], 0)
    direct.truncate(1000)

    assert direct.pread(PAGE, 0) == b"x" * 1000
    assert direct.pread(PAGE, PAGE) == b""
    assert direct.pread(PAGE, 1000) == b""
    assert direct.read(PAGE, 0) == b"x" * 1000


@pytest.mark.parametrize("flags", [DIRECT, BUFFERED])
def test_no_negative_offset_means_the_position_of_the_descriptor(direct: StorageFile, flags: int) -> None:
    file = LinuxStorage().open(direct.path, flags)
    try:
        assert code(file, [b"x" * PAGE], -1, 0) == errno.EINVAL
        for length, offset in ((-1, 0), (PAGE, -1)):
            with pytest.raises(OSError, match="Invalid argument"):
                file.pread(length, offset)
        assert file.stat().size == 0
    finally:
        file.close()


def test_threads_do_not_share_memory(direct: StorageFile) -> None:
    def work(index: int) -> bool:
        mine = bytes([index]) * PAGE
        for _ in range(20):
            direct.write([mine], index * PAGE)
            if direct.read(PAGE, index * PAGE) != mine:
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_a_forked_child_takes_memory_of_its_own(direct: StorageFile) -> None:
    direct.write([b"p" * PAGE], 0)
    assert isinstance(direct, DirectFile)
    (before,) = direct._spare
    child = os.fork()
    if child == 0:
        direct.write([b"c" * PAGE], PAGE)
        os._exit(before[1] is direct._spare[0][1])
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert before[1][:PAGE] == b"p" * PAGE
    assert direct.read(PAGE, PAGE) == b"c" * PAGE


def test_a_closed_direct_file_says_so(direct: StorageFile) -> None:
    direct.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        direct.pread(PAGE, 0)
    assert code(direct, [b"x" * PAGE], 0, 0) == errno.EBADF


@pytest.mark.parametrize("flags", [RWF_DSYNC, RWF_SYNC, RWF_DSYNC | RWF_SYNC])
def test_flags_reach_the_kernel(direct: StorageFile, flags: int) -> None:
    assert direct.pwritev([b"d" * PAGE], 0, flags) == PAGE
    assert code(direct, [b"d" * PAGE], 0, 1 << 30) == errno.EOPNOTSUPP


@pytest.mark.needs_root
def test_xfs_takes_atomic_writes_without_such_a_device(atomic: StorageFile) -> None:
    limits = atomic.atomic_limits()
    data = os.urandom(limits.unit_max)

    assert (limits.unit_min, limits.segments_max) == (PAGE, 1)
    assert limits.unit_max >= 64 * KIB
    for length in (limits.unit_min, 64 * KIB, limits.unit_max):
        for flags in (RWF_ATOMIC, RWF_ATOMIC | RWF_DSYNC, RWF_ATOMIC | RWF_SYNC):
            assert atomic.pwritev([data[:length]], 0, flags) == length
        assert atomic.read(length, 0) == data[:length]


@pytest.mark.needs_root
def test_xfs_refuses_what_it_cannot_write_whole(atomic: StorageFile) -> None:
    limits = atomic.atomic_limits()

    assert code(atomic, [b"x" * 512], 0) == errno.EINVAL
    assert code(atomic, [b"x" * 3 * PAGE], 0) == errno.EINVAL
    assert code(atomic, [b"x" * 4 * PAGE], PAGE) == errno.EINVAL
    assert code(atomic, [bytes(2 * limits.unit_max)], 0) == errno.EINVAL
    assert code(atomic, [b"x" * PAGE, b""], 0) == errno.EINVAL
    assert code(atomic, [b"x" * PAGE, b"y" * PAGE], 0) == errno.EINVAL
    assert code(atomic, [b""], 0) == 0
    assert atomic.stat().size == 0


@pytest.mark.needs_root
def test_the_kernel_judges_the_number_of_buffers_and_we_do_not_join_them(atomic: StorageFile) -> None:
    """The control: joined to one, the same bytes are taken."""
    halves = [b"x" * PAGE, b"y" * PAGE]

    assert code(atomic, halves, 0) == errno.EINVAL
    assert code(atomic, [b"".join(halves)], 0) == 0
    assert code(atomic, halves, 0, 0) == 0


@pytest.mark.needs_root
def test_the_same_limits_are_told_without_direct_io_which_then_refuses(atomic: StorageFile) -> None:
    buffered = LinuxStorage().open(atomic.path, BUFFERED)
    try:
        assert buffered.atomic_limits() == atomic.atomic_limits()
        assert code(buffered, [b"x" * PAGE], 0) == errno.EOPNOTSUPP
        assert code(buffered, [b"x" * 512], 0) == errno.EINVAL
    finally:
        buffered.close()


@pytest.mark.needs_root
def test_ext4_without_such_a_device_promises_nothing(ext4: Path) -> None:
    file = LinuxStorage().open(str(ext4 / "file"), DIRECT)
    try:
        assert file.atomic_limits() == AtomicLimits()
        assert code(file, [b"x" * PAGE], 0) == errno.EOPNOTSUPP
        assert file.direct_alignment().offset > 0
    finally:
        file.close()


def test_without_statx_nothing_is_promised(direct: StorageFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statx, "_call", None)
    monkeypatch.setattr(statx, "AVAILABLE", False)
    again = LinuxStorage().open(direct.path, DIRECT)
    try:
        assert again.atomic_limits() == AtomicLimits()
        assert again.pwritev([bytearray(b"x" * PAGE)], 0) == PAGE
        assert again.stat().birth_ns is None
    finally:
        again.close()


STATX = struct.Struct("=IIQ 136x IIQIIIIIIQ 56x")
"""struct statx, named by nothing but its offsets in linux/stat.h; 256 bytes in all."""


@pytest.mark.parametrize(
    ("attributes", "mask", "units", "expected"),
    [
        (1 << 22, 0x10000, (4096, 65536, 1, 512, 16384), AtomicLimits(4096, 65536, 16384, 1)),
        (0, 0x10000, (4096, 65536, 1, 512, 0), AtomicLimits(4096, 65536, 0, 1)),
        (0, 0x10000, (0, 0, 0, 512, 0), AtomicLimits()),  # ext4: the mask bit, and zeros
        (0, 0, (0, 0, 0, 0, 0), AtomicLimits()),
    ],
)
def test_what_the_kernel_answers_is_read_from_its_places(
    monkeypatch: pytest.MonkeyPatch,
    attributes: int,
    mask: int,
    units: tuple[int, int, int, int, int],
    expected: AtomicLimits,
) -> None:
    asked = []

    def answer(directory: int, path: bytes, flags: int, wanted: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
        asked.append((directory, path, flags, wanted))
        low, high, segments, read_alignment, best = units
        STATX.pack_into(
            buffer, 0, mask | 0x2000, PAGE, attributes, 4, 512, 7, low, high, segments, read_alignment, best, 9, 11
        )
        return 0

    monkeypatch.setattr(statx, "_call", answer)
    monkeypatch.setattr(statx, "AVAILABLE", True)

    assert STATX.size == 256
    assert statx.io_limits(5, "name") == (statx.Alignment(4, 512), expected)
    assert asked == [(5, b"", 0x1000, 0x12000)]


def test_a_refused_statx_names_the_file(tmp_path: Path) -> None:
    if not statx.AVAILABLE:
        pytest.skip("no statx in this C library")
    file = LinuxFile(os.open(tmp_path, os.O_RDONLY), "the name")
    file.close()

    with pytest.raises(OSError, match="the name"):
        file.atomic_limits()
