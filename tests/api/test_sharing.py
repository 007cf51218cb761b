"""Several handles, processes and users at one file: who may open it, what they see, and that readers write nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import NEW, NOBODY, OLD, PAGE, hot, in_child, killed, let_in, read, sidecar, snapshot
from untorn.errors import LockedError
from untorn.inode import Inode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


@contextlib.contextmanager
def another_process(path: Path, mode: str) -> Iterator[int]:
    """A process that has the file open; gives its pid."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            file = untorn.open(path, mode)
            os.write(writing, b"open" if not file.closed else b"")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 4) == b"open"
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)


PAIRS = [("r+b", "r+b"), ("r+b", "rb"), ("rb", "r+b"), ("ab", "w+b"), ("w+b", "ab")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_second_opener_hears_which_process_has_the_file(path: Path, first: str, second: str) -> None:
    with another_process(path, first) as pid:
        before = snapshot(path.parent)
        with pytest.raises(LockedError, match=str(pid)) as caught:
            untorn.open(path, second, timeout=0.1)
        assert caught.value.pid == pid
        assert isinstance(caught.value, BlockingIOError)
        assert caught.value.errno == errno.EAGAIN
        assert snapshot(path.parent) == before
    with untorn.open(path, second):
        pass


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_second_opener_in_the_same_process_hears_its_own_pid(path: Path, first: str, second: str) -> None:
    with untorn.open(path, first):
        with pytest.raises(LockedError) as caught:
            untorn.open(path, second)
        assert caught.value.pid == os.getpid()
    with untorn.open(path, second):
        pass


def test_an_open_file_can_be_neither_recovered_nor_examined(path: Path) -> None:
    with another_process(path, "r+b") as pid:
        for call in (untorn.recover, untorn.status, untorn.verify):
            with pytest.raises(LockedError) as caught:
                call(path)
            assert caught.value.pid == pid


def test_readers_share_a_file(path: Path) -> None:
    with another_process(path, "rb"), untorn.open(path, "rb") as one, untorn.open(path, "rb") as two:
        assert one.read() == two.read() == OLD
        assert untorn.status(path).size == len(OLD)


def test_a_process_that_dies_leaves_no_lock(path: Path) -> None:
    killed(path, lambda file: file.write(b"x"))
    with untorn.open(path, "r+b") as file:
        assert file.read() == OLD


def test_a_lock_is_on_the_file_whatever_its_name(path: Path) -> None:
    link = path.with_name("link")
    link.hardlink_to(path)
    soft = path.with_name("soft")
    soft.symlink_to(path)
    with untorn.open(path, "r+b"):
        for name in (link, soft):
            with pytest.raises(LockedError):
                untorn.open(name, "r+b")


def test_a_failed_open_keeps_no_lock(path: Path) -> None:
    sidecar(path).mkdir()
    for _ in range(2):
        with pytest.raises(untorn.UntrustedLogError):
            untorn.open(path, "r+b")


def test_a_forked_child_does_not_keep_the_file_locked(path: Path) -> None:
    file = untorn.open(path, "r+b")
    file.write(b"A" * PAGE)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"on my own")
        signal.pause()
        os._exit(0)
    try:
        assert os.read(reading, 100) == b"on my own"
        file.close()
        with untorn.open(path, "r+b") as again:
            assert again.read(PAGE) == b"A" * PAGE
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_a_forked_child_neither_commits_nor_rolls_back(path: Path) -> None:
    file = untorn.open(path, "r+b")
    file.write(b"A" * PAGE)

    def work() -> str:
        with pytest.raises(ValueError, match="parent"):
            file.write(b"B")
        with pytest.raises(ValueError, match="parent"):
            file.commit()
        file.close()
        return "done"

    assert in_child(work) == "done"
    assert read(path) == OLD
    file.close()
    assert read(path) == b"A" * PAGE + OLD[PAGE:]


def test_control_a_child_that_does_not_let_go_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inode, "forked", lambda _: None)
    file = untorn.open(path, "r+b")
    file.write(b"A" * PAGE)

    def work() -> str:
        file.write(b"B")
        file.commit()
        file.close()
        return "done"

    assert in_child(work) == "done"
    assert read(path) == b"A" * PAGE + b"B" + OLD[PAGE + 1 :]
    with pytest.raises(untorn.UntornError):
        file.close()


# Readers


def reread(path: Path) -> Callable[[], bytes]:
    def work() -> bytes:
        with untorn.open(path, "rb") as file:
            data: bytes = file.read()
            return data

    return work


def test_readers_of_a_hot_file_see_the_last_commit_and_write_nothing(path: Path) -> None:
    hot(path)
    before = snapshot(path.parent)
    with untorn.open(path, "rb") as one, untorn.open(path, "rb") as two:
        assert one.read() == two.read() == NEW
        assert in_child(reread(path)) == NEW
        one.seek(PAGE + 100)
        assert one.read(PAGE) == NEW[PAGE + 100 : 2 * PAGE + 100]
        one.seek(0, os.SEEK_END)
        assert one.tell() == len(NEW)
        assert snapshot(path.parent) == before
    status = untorn.status(path)
    assert (status.size, status.size_on_disk, status.commits) == (len(NEW), len(OLD), 3)
    assert untorn.verify(path) == status
    assert snapshot(path.parent) == before


@pytest.mark.needs_root
def test_a_reader_who_may_not_write_sees_the_last_commit(path: Path) -> None:
    hot(path)
    for name in (path, sidecar(path)):
        name.chmod(0o644)
    let_in(path.parent)
    path.parent.chmod(0o555)
    before = snapshot(path.parent)
    assert in_child(reread(path), user=NOBODY) == NEW
    assert snapshot(path.parent) == before


def test_uncommitted_spills_of_a_killed_writer_are_seen_by_nobody(path: Path) -> None:
    def work(file: Any) -> None:
        file.write(b"A" * PAGE)
        file.commit()
        for index in range(100):
            file.pwrite(b"S" * PAGE, index * PAGE)
        assert file.stats()["bytes_to_log"] > 20 * PAGE, "nothing was spilled"

    killed(path, work, folio_size=PAGE, cache_bytes=16 * PAGE)
    with untorn.open(path, "rb") as file:
        assert file.read() == b"A" * PAGE + OLD[PAGE:]
    untorn.recover(path)
    assert read(path) == b"A" * PAGE + OLD[PAGE:]
