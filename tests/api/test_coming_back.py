"""Signal handlers and finalisers that come back into the file their own thread is working on: nothing hangs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import read
from untorn.api.file import live_files
from untorn.errors import HandleFailedError, ReentrantError
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage

PAGE = 4096
OLD = bytes(range(256)) * (8 * PAGE // 256)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


def commit_once(file: Any) -> None:
    file.pwrite(b"1" * 100, 0)
    file.commit()
    file.pwrite(b"2" * 100, 0)


def changes(file: Any) -> list[Callable[[], object]]:
    """Calls that need the commit mutex."""
    return [file.flush, file.commit, file.rollback, file._begin, file.close, lambda: file.truncate(0)]


def anything(file: Any) -> list[Callable[[], object]]:
    accesses = [lambda: file.pread(1, 0), file.read, lambda: file.write(b"x"), lambda: file.seek(0)]
    return [*changes(file), *accesses, lambda: file.pwrite(b"y" * 3 * PAGE, 0)]


def refusals(calls: list[Callable[[], object]]) -> int:
    """How many of the calls get ReentrantError; any other outcome of one of them is not counted."""
    count = 0
    for call in calls:
        try:
            call()
        except ReentrantError:
            count += 1
    return count


class Finalised:
    """Does something when it goes."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def __del__(self) -> None:
        self._work()


def by_signal(work: Callable[[], object]) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: work())
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def by_finaliser(work: Callable[[], object]) -> None:
    kept = [Finalised(work)]
    kept.clear()


WAYS = [by_signal, by_finaliser]


@pytest.mark.parametrize("come_back", WAYS)
@pytest.mark.parametrize("moment", ["while a folio is read in", "while a commit is synced", "while home is synced"])
def test_coming_back_in_is_refused_and_does_not_hang(
    path: Path, moment: str, come_back: Callable[[Callable[[], object]], None]
) -> None:
    storage = FaultyStorage(LinuxStorage())
    home = os.path.realpath(path)
    seen: list[int] = []
    with untorn.open(path, "r+b", folio_size=PAGE, storage=storage, checkpoint_bytes=PAGE) as file:
        commit_once(file)
        name, place, calls = {
            "while a folio is read in": ("pread", home, anything(file)),
            "while a commit is synced": ("fdatasync", home + "-untorn", changes(file)),
            "while home is synced": ("fsync", home, changes(file)),
        }[moment]
        hook = Fault(nth=0, names={name}, paths={place}, before=lambda: come_back(lambda: seen.append(refusals(calls))))
        storage.add(hook)
        assert file.pread(10, 5 * PAGE) == OLD[5 * PAGE : 5 * PAGE + 10]
        file.commit()
        assert seen == [len(calls)]
        assert file in live_files(), "the refused close made it be forgotten"
        file.pwrite(b"after", 7 * PAGE)
        file.commit()
    assert read(path) == b"2" * 100 + OLD[100 : 7 * PAGE] + b"after" + OLD[7 * PAGE + 5 :]


def test_a_handler_that_lets_the_refusal_through_leaves_old_or_new(path: Path) -> None:
    storage = FaultyStorage(LinuxStorage())
    home = os.path.realpath(path)
    with pytest.raises(HandleFailedError), untorn.open(path, "r+b", folio_size=PAGE, storage=storage) as file:
        commit_once(file)
        storage.add(Fault(nth=0, names={"pread"}, paths={home}, before=lambda: by_signal(file.read)))
        with pytest.raises(ReentrantError):
            file.pwrite(b"x", 4 * PAGE)
        assert file.pread(2, 4 * PAGE) == OLD[:2]
        storage.add(Fault(nth=0, names={"fdatasync"}, before=lambda: by_signal(file.flush)))
        with pytest.raises(ReentrantError):
            file.flush()
    untorn.recover(path)
    assert read(path) in (b"1" * 100 + OLD[100:], b"2" * 100 + OLD[100:])
