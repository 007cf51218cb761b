"""Threads that read while another one writes: they see whole writes only, in order."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.libraries.plainly import PlainFile
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.interface import Storage
from untorn.storage.linux import LinuxStorage

LENGTH = 40_000
"""Of each write: many pages, and no multiple of one."""

PATIENCE = 60.0
"""Seconds after which a thread that should have come counts as stuck."""


def version(number: int) -> bytes:
    """What write ``number`` writes: four bytes over and over."""
    return number.to_bytes(4, "little") * (LENGTH // 4)


class Readers:
    """Threads that read the whole range again and again and keep the versions seen, or None for a mix."""

    def __init__(self, file: Any, threads: int) -> None:
        self.seen: list[list[int | None]] = [[] for _ in range(threads)]
        self.errors: list[BaseException] = []
        self._file = file
        self._news = threading.Condition()
        self._stopped = False
        self._threads = [threading.Thread(target=self._read, args=(seen,)) for seen in self.seen]

    def _read(self, seen: list[int | None]) -> None:
        try:
            while not self._stopped:
                data = self._file.pread(LENGTH, 0)
                number = int.from_bytes(data[:4], "little")
                with self._news:
                    seen.append(number if data == version(number) else None)
                    self._news.notify_all()
        except BaseException as error:
            self.errors.append(error)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around what is written meanwhile."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped = True
            for thread in self._threads:
                thread.join(PATIENCE)
        assert not self.errors
        assert not any(thread.is_alive() for thread in self._threads)

    def wait(self) -> None:
        """Until each reader has made a whole read that began after this call."""
        with self._news:
            goals = [len(seen) + 2 for seen in self.seen]  # one may be under way already
            came = self._news.wait_for(
                lambda: all(len(seen) >= goal for seen, goal in zip(self.seen, goals, strict=True)), PATIENCE
            )
            assert came, "readers stood still while storage was written"

    def wait_if_running(self) -> None:
        """As ``wait``; nothing before the readers start and after they stopped."""
        if not self._stopped and any(thread.is_alive() for thread in self._threads):
            self.wait()


OpenPlainly = Callable[[Storage, str, str], Any]


def read_between_transfers(directory: Path, open_: OpenPlainly) -> list[int | None]:
    """What two readers see if the storage writes a few KiB at a time and lets them read after each."""
    path = directory / "data"
    path.write_bytes(version(0))
    hooks: list[Callable[[], None]] = []

    def after() -> None:
        for hook in hooks:
            hook()

    # Less than a page and no multiple of one, as the kernel may.
    short = Fault(nth=0, names={"pwritev"}, onwards=True, transfer=7_000, after=after)
    sync = Fault(nth=0, names={"fdatasync"}, onwards=True, before=after)
    with open_(FaultyStorage(LinuxStorage(), short, sync), str(path), "r+b") as file:
        readers = Readers(file, 2)
        hooks.append(readers.wait_if_running)
        with readers.running():
            for number in range(1, 6):
                file.pwrite(version(number), 0)
                file.flush()
            readers.wait()
    assert path.read_bytes() == version(5)
    return [number for seen in readers.seen for number in seen]


def open_untorn(storage: Storage, path: str, mode: str) -> Any:
    return untorn.open(path, mode, storage=storage)


def test_readers_see_whole_writes_between_all_transfers_to_storage(tmp_path: Path) -> None:
    seen = read_between_transfers(tmp_path, open_untorn)
    assert None not in seen
    assert set(seen) >= {1, 2, 3, 4, 5}


def test_control_readers_of_a_plain_file_see_mixed_writes_between_its_transfers(tmp_path: Path) -> None:
    assert None in read_between_transfers(tmp_path, PlainFile)


@pytest.mark.parametrize("commit", ["flush", "write"])
def test_readers_see_whole_writes_in_order_while_pages_are_spilled_and_checkpointed(
    tmp_path: Path, commit: Any
) -> None:
    path = tmp_path / "data"
    path.write_bytes(version(0))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with untorn.open(
            path, "r+b", commit=commit, cache_bytes=1 << 17, checkpoint_bytes=1 << 18, folio_size=4096
        ) as file:  # fmt: skip
            readers = Readers(file, 3)
            with readers.running():
                for number in range(1, 301):
                    file.pwrite(version(number), 0)
                    if number % 10 == 0:
                        file.flush()
                    if number % 50 == 0:
                        readers.wait()
    finally:
        sys.setswitchinterval(interval)
    for seen in readers.seen:
        assert None not in seen
        numbers = [number for number in seen if number is not None]
        assert numbers == sorted(numbers)
        assert len(set(seen)) > 5
    assert path.read_bytes() == version(300)


def test_readers_see_a_transaction_only_in_whole_writes_and_never_after_it_was_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(version(0))
    with untorn.open(path, "r+b") as file:
        readers = Readers(file, 2)
        with readers.running():
            with pytest.raises(KeyError), file.transaction():
                file.pwrite(version(1), 0)
                readers.wait()
                raise KeyError
            before = [len(seen) + 1 for seen in readers.seen]  # one may be under way already
            readers.wait()
        for seen, start in zip(readers.seen, before, strict=True):
            assert None not in seen
            assert 1 in seen
            assert set(seen[start:]) == {0}
    assert path.read_bytes() == version(0)
