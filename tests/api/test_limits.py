"""RLIMIT_FSIZE: a write beyond it is refused whole, at once, and the file stays usable."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

import untorn
from tests.support.real_files import OLD, PAGE, hot, in_child, read, sidecar, snapshot
from untorn.errors import CheckpointError

LIMIT = 256 * 1024


def limited(work: Callable[[], None]) -> None:
    """Runs ``work`` in a process that may not make files longer than LIMIT."""

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
        work()

    in_child(child)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


def test_a_write_beyond_the_limit_is_refused_whole(path: Path) -> None:
    def work() -> None:
        with untorn.open(path, "r+b", folio_size=PAGE) as file:
            file.write(b"A" * PAGE)
            for offset, length in ((LIMIT - 100, 101), (LIMIT, 1), (1 << 40, 1), (0, LIMIT + 1)):
                with pytest.raises(OSError, match="File too large") as caught:
                    file.pwrite(b"x" * length, offset)
                assert caught.value.errno == errno.EFBIG
            with pytest.raises(OSError, match="File too large"):
                file.truncate(LIMIT + 1)
            assert file.pread(LIMIT, 0) == b"A" * PAGE + OLD[PAGE:]

    limited(work)
    assert read(path) == b"A" * PAGE + OLD[PAGE:]
    assert not sidecar(path).exists()


def test_a_limit_that_is_lowered_in_mid_session_refuses_the_commit_and_costs_nothing(path: Path) -> None:
    def work() -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        with untorn.open(path, "r+b", folio_size=PAGE) as file:
            file.write(b"A" * PAGE)
            file.commit()
            resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, hard))
            with pytest.raises(OSError, match=r"limit of file sizes .* was lowered"):
                file.pwrite(b"B" * PAGE, 0, untorn.RWF_DSYNC)
            assert file.pread(PAGE, 0) == b"A" * PAGE
            file.pwrite(b"C" * PAGE, PAGE)
            for refused in (file.commit, file.flush):
                with pytest.raises(OSError, match=r"limit of file sizes .* was lowered"):
                    refused()
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            file.commit()

    in_child(work)
    assert read(path) == b"A" * PAGE + b"C" * PAGE + OLD[2 * PAGE :]


def test_a_file_can_grow_to_the_limit(path: Path) -> None:
    def work() -> None:
        with untorn.open(path, "r+b", folio_size=PAGE) as file:
            file.pwrite(b"x", LIMIT - 1)

    limited(work)
    assert len(read(path)) == LIMIT


def test_a_log_that_may_not_grow_refuses_the_write_or_makes_room(path: Path) -> None:
    def work() -> None:
        model = OLD
        with untorn.open(path, "r+b", folio_size=PAGE) as file:
            for index in range(200):
                data = bytes([index]) * 4 * PAGE
                try:
                    file.pwrite(data, 0)
                except OSError as error:
                    if error.errno != errno.EFBIG:
                        raise
                    assert file.pread(PAGE * 8, 0) == model
                    break
                model = data
                file.commit()
            assert index > 5

    limited(work)
    assert len(set(read(path))) == 1
    assert not sidecar(path).exists()


def test_overwriting_beyond_the_limit_loses_nothing(path: Path) -> None:
    """The kernel refuses it even where the file does not grow: then the commits wait in the log."""
    path.write_bytes(bytes(2 * LIMIT))

    def work() -> None:
        file = untorn.open(path, "r+b", folio_size=PAGE)
        file.pwrite(b"x" * PAGE, LIMIT + PAGE)
        with pytest.raises(CheckpointError, match="Nothing is lost"):
            file.close()

    limited(work)
    untorn.recover(path)
    assert read(path) == bytes(LIMIT + PAGE) + b"x" * PAGE + bytes(LIMIT - 2 * PAGE)


def test_recovery_to_a_size_beyond_the_limit_changes_nothing(path: Path) -> None:
    hot(path)

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(OLD), resource.RLIM_INFINITY))
        before = snapshot(path.parent)
        with pytest.raises(OSError, match="File too large"):
            untorn.recover(path)
        assert snapshot(path.parent) == before

    in_child(small)
    untorn.recover(path)
    assert len(read(path)) == 5 * PAGE
