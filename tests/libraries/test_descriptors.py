"""What ``fileno()`` gives: enough to sync, to measure, to map and to read; never to write."""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy
import pytest
from PIL import Image

import untorn
from tests.libraries.media import pages_of_pdf, picture
from tests.libraries.works import grid, noise
from tests.support.real_files import OLD as FOUR_PAGES
from tests.support.real_files import hot, killed, sidecar
from untorn.errors import ForeignEditError

OLD: Final = noise(20_000, 1)
MODES: Final = ["flush", "close", "write", "explicit"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """Each descriptor that was opened is closed at the end."""
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


# What it is good for


@pytest.mark.parametrize("commit", MODES)
@pytest.mark.parametrize("mode", ["wb", "r+b", "ab", "w+b"])
def test_the_line_that_careful_programs_have_works_in_every_mode(path: Path, mode: str, commit: Any) -> None:
    with untorn.open(path, mode, commit=commit) as file:
        file.seek(0)
        file.write(b"new")
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file)
        flushes = commit in ("flush", "write")
        assert (path.read_bytes() != OLD) == flushes, "flush moved it home, and nothing else did"
        assert os.fstat(file.fileno()).st_size == path.stat().st_size
    assert (path.read_bytes() != OLD) == (commit != "explicit")


def test_text_files_have_it_too(path: Path) -> None:
    with untorn.open(path, "w", encoding="utf-8") as file:
        file.write("zwölf")
        file.flush()
        os.fsync(file.fileno())
        assert os.fstat(file.fileno()).st_size == 6


def test_its_size_is_that_of_each_flush(path: Path) -> None:
    with untorn.open(path, "r+b") as file:
        descriptor = file.fileno()
        assert os.fstat(descriptor).st_size == len(OLD)
        for size in (5, 50_000, 0, 3):
            file.truncate(size)
            assert os.fstat(descriptor).st_size != size, "not before the flush"
            file.flush()
            assert os.fstat(descriptor).st_size == size


def test_each_commit_can_be_read_through_it_and_what_is_not_committed_cannot(path: Path) -> None:
    with untorn.open(path, "r+b", commit="explicit") as file:
        file.pwrite(b"first", 0)
        file.commit()  # before anybody asks for a descriptor: it waits in the log
        assert path.read_bytes() == OLD
        descriptor = file.fileno()
        assert os.pread(descriptor, 5, 0) == b"first"
        file.pwrite(b"second", 0)
        file.flush()
        assert os.pread(descriptor, 5, 0) == b"first"
        with file.transaction():
            file.pwrite(b"third", 0)
        assert os.pread(descriptor, 5, 0) == b"first"
        file.commit()
        assert os.pread(descriptor, 6, 0) == b"thirdd"
        file.pwrite(b"fourth", 0)
        file.rollback()
        assert os.pread(descriptor, 6, 0) == file.pread(6, 0) == b"thirdd"


def test_one_that_is_first_asked_for_over_uncommitted_writes_shows_the_last_commit_after_the_next_flush(
    path: Path,
) -> None:
    with untorn.open(path, "r+b") as file:
        file.pwrite(b"first", 0)
        file.flush()
        file.pwrite(b"again", 0)
        assert os.pread(file.fileno(), 5, 0) == OLD[:5], "a commit, if not the last one"
        file.flush()
        assert os.pread(file.fileno(), 5, 0) == b"again"


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_it_stands_where_the_file_does(path: Path, mode: str) -> None:
    with untorn.open(path, mode) as file:
        file.seek(500)
        assert os.read(file.fileno(), 10) == OLD[500:510]
        assert numpy.fromfile(file, numpy.uint8, 7).tobytes() == OLD[500:507]
        file.seek(-3, os.SEEK_END)
        assert numpy.fromfile(file, numpy.uint8).tobytes() == OLD[-3:]


def test_numpy_and_mmap_read_what_was_flushed(path: Path) -> None:
    with untorn.open(path, "r+b") as file:
        file.write(b"new!")
        file.seek(0)
        assert numpy.fromfile(file, numpy.uint8).tobytes() == b"new!" + OLD[4:]  # it flushes
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            assert view[:] == b"new!" + OLD[4:]
            file.pwrite(b"more", 8_000)
            assert view[8_000:8_004] == OLD[8_000:8_004]
            file.flush()
            assert view[8_000:8_004] == b"more"
        assert numpy.memmap(file, numpy.uint8, "r")[:4].tobytes() == b"new!"


def test_another_program_reads_from_it(path: Path) -> None:
    copy = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"

    def read_by_child(given: Any) -> bytes:
        return subprocess.run([sys.executable, "-c", copy], stdin=given, stdout=subprocess.PIPE, check=True).stdout

    with untorn.open(path, "rb") as reader:
        assert read_by_child(reader) == OLD
    with untorn.open(path, "r+b") as file:
        file.write(b"new")
        file.flush()
        assert read_by_child(file.fileno()) == OLD[3:]
        file.seek(0)
        assert read_by_child(file.fileno()) == b"new" + OLD[3:]


def test_a_page_is_appended_to_a_pdf_of_three(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    picture(1).save(path, "PDF", save_all=True, append_images=[picture(2), picture(3)])
    with untorn.open(path, "r+b") as file:
        picture(4).save(file, "PDF", append=True)
    assert pages_of_pdf(open, path) == pages_of_pdf(untorn.open, path) == 4


# What it is not good for


def _write(file: Any) -> None:
    os.write(file.fileno(), b"beneath")


def _truncate(file: Any) -> None:
    os.ftruncate(file.fileno(), 3)


def _allocate(file: Any) -> None:
    os.posix_fallocate(file.fileno(), 0, 100_000)


def _tofile(file: Any) -> None:
    before = set(os.listdir("/proc/self/fd"))
    try:
        grid(1).tofile(file)
    finally:
        for left in set(os.listdir("/proc/self/fd")) - before:  # numpy forgets its duplicate when it fails
            with contextlib.suppress(OSError):
                os.close(int(left))


def _memmap(file: Any) -> None:
    numpy.memmap(file, numpy.uint8, "r+")[:] = 0


def _mmap(file: Any) -> None:
    mmap.mmap(file.fileno(), 0)[:4] = b"here"


def _child(file: Any) -> None:
    subprocess.run(["echo", "beneath"], stdout=file, check=True)


BENEATH: Final = [_write, _truncate, _allocate, _tofile, _memmap, _mmap, _child]


@pytest.mark.parametrize("beneath", BENEATH)
def test_what_would_write_beneath_the_cache_fails_loudly_and_changes_nothing(
    path: Path, beneath: Callable[[Any], None]
) -> None:
    with untorn.open(path, "r+b") as file:
        file.write(b"through untorn")
        with pytest.raises(OSError) as raised:
            beneath(file)
        assert raised.value.errno in (None, errno.EBADF, errno.EINVAL, errno.EACCES)
        assert file.pread(100, 0) == b"through untorn" + OLD[14:100]
    assert path.read_bytes() == b"through untorn" + OLD[14:]
    assert os.listdir(path.parent) == ["data"]


@pytest.mark.parametrize("beneath", BENEATH)
def test_control_all_of_that_is_done_to_a_plain_file(path: Path, beneath: Callable[[Any], None]) -> None:
    with open(path, "r+b") as file:
        beneath(file)
    assert path.read_bytes() != OLD


def test_a_program_that_is_to_write_to_a_file_is_not_started_and_the_error_says_why(path: Path) -> None:
    with (
        untorn.open(path, "wb") as file,
        pytest.raises(io.UnsupportedOperation, match=r"subprocess might write.*that only reads.*fileno\(\) returns"),
    ):
        subprocess.run(["echo", "x"], stdout=file, check=True)


def test_libraries_that_would_write_to_it_are_told_to_use_write(tmp_path: Path) -> None:
    for name, opener in (("plain", open), ("ours", untorn.open)):
        with opener(tmp_path / name, "w+b") as file:
            Image.new("L", (300, 300), 7).save(file, "BMP")
            numpy.save(io.BufferedWriter(file) if opener is untorn.open else file, grid(1))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "plain").read_bytes()


# Readers, ends and names


def test_a_reader_of_a_file_with_commits_in_its_log_is_refused_with_words(path: Path) -> None:
    hot(path)
    with untorn.open(path, "rb") as file:
        assert file.read() != FOUR_PAGES
        with pytest.raises(
            io.UnsupportedOperation, match=r"are waiting in its log. Open it for writing, or run 'untorn recover'"
        ):
            file.fileno()
        with pytest.raises(io.UnsupportedOperation):
            numpy.fromfile(file, numpy.uint8)
    assert sidecar(path).exists()


def test_a_reader_of_any_other_file_has_it(path: Path) -> None:
    with untorn.open(path, "rb") as file:
        assert os.pread(file.fileno(), 9, 0) == OLD[:9]
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            assert view[:] == OLD


@pytest.mark.parametrize("way", ["close", "with", "exception", "rolled back", "collected"])
def test_it_is_closed_with_the_file(path: Path, way: str) -> None:
    file = untorn.open(path, "r+b")
    descriptor = file.fileno()
    assert file.fileno() == descriptor
    if way == "close":
        file.close()
    elif way == "rolled back":
        file.close(commit=False)
    elif way == "collected":
        with pytest.warns(ResourceWarning):
            del file
    else:
        with contextlib.suppress(KeyError), file:
            if way == "exception":
                raise KeyError
    with pytest.raises(OSError) as raised:
        os.fstat(descriptor)
    assert raised.value.errno == errno.EBADF


def test_a_closed_file_has_none(path: Path) -> None:
    with untorn.open(path, "r+b") as file:
        file.close()
        with pytest.raises(ValueError, match="closed file"):
            file.fileno()
    with pytest.raises(ValueError, match="closed file"):
        file.fileno()


@pytest.mark.parametrize("change", ["renamed", "replaced"])
def test_it_is_of_the_file_that_was_opened_whatever_becomes_of_the_name(path: Path, change: str) -> None:
    other = path.with_name("other")
    with untorn.open(path, "r+b") as file:
        file.pwrite(b"first", 0)
        file.flush()
        path.rename(other)
        if change == "replaced":
            path.write_bytes(b"another file")
        assert os.pread(file.fileno(), 5, 0) == b"first"
        file.pwrite(b"again", 0)
        file.flush()
        os.fsync(file.fileno())
        assert os.pread(file.fileno(), 5, 0) == b"again"
    assert other.read_bytes() == b"again" + OLD[5:]
    if change == "replaced":
        assert path.read_bytes() == b"another file"


def test_of_a_file_that_was_removed_it_shows_no_commit_that_waits_in_the_log(path: Path) -> None:
    with (
        pytest.raises(ForeignEditError, match=r"was removed while it was open here\. The commits to it are kept"),
        untorn.open(path, "r+b") as file,
    ):
        file.pwrite(b"first", 0)
        file.flush()
        path.unlink()
        file.fileno()
    assert os.listdir(path.parent) == ["data-untorn"]


def _after_fsync(file: Any) -> None:
    for number in range(3):
        file.pwrite(b"%d" % number, number * 5_000)
        file.flush()
        os.fsync(file.fileno())
    file.pwrite(b"not yet", 0)


def test_what_was_flushed_and_fsynced_is_there_when_the_program_dies(path: Path) -> None:
    killed(path, _after_fsync)
    expected = bytearray(OLD)
    for number in range(3):
        expected[number * 5_000] = ord("0") + number
    with untorn.open(path, "rb") as file:
        assert file.read() == expected
    assert path.read_bytes() == expected, "the last commit was moved home, too"
