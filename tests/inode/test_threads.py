"""Several threads at one file: whole writes, work that goes on during a sync, and transactions."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import read
from untorn.errors import TransactionError
from untorn.pagecache.address_space import AddressSpace
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage

PAGE = 4096
PATIENCE_S = 60.0
"""After which a thread that should have come counts as stuck."""

OLD = bytes(range(256)) * (8 * PAGE // 256)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


class Worker(threading.Thread):
    """A thread that keeps what its work returned or raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.result: Any = None
        self._work = work
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:
            self.result = error

    def outcome(self) -> Any:
        """What came of it; the test fails if it never ends, or if it failed."""
        self.join(PATIENCE_S)
        assert not self.is_alive(), "a thread is stuck"
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def together(*works: Callable[[], Any]) -> list[Any]:
    return [worker.outcome() for worker in [Worker(work) for work in works]]


@pytest.fixture
def nervous(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads change places as often as can be, above all between two folios of a write."""
    replacement = AddressSpace.replacement

    def yielding(pages: AddressSpace, *arguments: Any) -> Any:
        os.sched_yield()
        return replacement(pages, *arguments)

    monkeypatch.setattr(AddressSpace, "replacement", yielding)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


# Racing writers

SPAN = 5 * PAGE + 200
ROUNDS = 40


def race(file: Any, write: Callable[[bytes, int], object]) -> int:
    """Three threads write the same range at once, again and again; in how many rounds what is left is a mix."""
    mixed = 0
    start = threading.Barrier(3, timeout=PATIENCE_S)
    for _ in range(ROUNDS):

        def work(letter: bytes) -> Callable[[], None]:
            def run() -> None:
                start.wait()
                write(letter * SPAN, 100)

            return run

        together(work(b"A"), work(b"B"), work(b"C"))
        mixed += len(set(file.pread(SPAN, 100))) > 1
    return mixed


def piece_by_piece(file: Any, meet: threading.Barrier) -> Callable[[bytes, int], None]:
    """A writer that lets the others in after each page."""

    def write(data: bytes, offset: int) -> None:
        for at in range(0, len(data), PAGE):
            meet.wait()
            file.pwrite(data[at : at + PAGE], offset + at)

    return write


@pytest.mark.usefixtures("nervous")
@pytest.mark.parametrize(
    ("options", "way"),
    [
        ({}, "pwrite"),
        ({}, "pwritev"),
        ({"cache_bytes": 8 * PAGE}, "pwrite"),  # more than may be dirty at once: spilled piece by piece
        ({"commit": "write", "cache_bytes": 24 * PAGE, "checkpoint_bytes": 16 * PAGE}, "pwrite"),
    ],
    ids=["at once", "many buffers", "more than the cache", "committed and checkpointed meanwhile"],
)
def test_racing_writers_never_mix(path: Path, options: dict[str, Any], way: str) -> None:
    with untorn.open(path, "r+b", folio_size=PAGE, **options) as file:
        if way == "pwritev":
            assert race(file, lambda data, offset: file.pwritev([data[:3000], data[3000:]], offset)) == 0
        else:
            assert race(file, file.pwrite) == 0
        last = file.pread(SPAN, 100)
    assert read(path)[100 : 100 + SPAN] == last


@pytest.mark.usefixtures("nervous")
def test_control_racing_writers_of_pieces_mix(path: Path) -> None:
    with untorn.open(path, "r+b", folio_size=PAGE) as file:
        assert race(file, piece_by_piece(file, threading.Barrier(3, timeout=PATIENCE_S))) > 0


@pytest.mark.usefixtures("nervous")
def test_racing_appends_are_all_there_and_whole(path: Path) -> None:
    def append(file: Any, letter: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(60):
                record = bytes([letter, number]) * 1500
                file.pwrite(record, 0, untorn.RWF_APPEND)

        return run

    with untorn.open(path, "r+b", folio_size=PAGE) as file:
        together(*[append(file, letter) for letter in range(4)])
    data = read(path)[len(OLD) :]
    records = [data[at : at + 3000] for at in range(0, len(data), 3000)]
    for letter in range(4):
        assert [record for record in records if record[0] == letter] == [
            bytes([letter, number]) * 1500 for number in range(60)
        ]
    assert len(records) == 240


@pytest.mark.parametrize("spill", [0, 1, 3])
def test_nobody_sees_or_changes_half_of_a_write_that_is_spilled_piece_by_piece(path: Path, spill: int) -> None:
    storage = FaultyStorage(LinuxStorage())
    others: list[Worker] = []
    new = b"N" * len(OLD) * 4
    with untorn.open(path, "r+b", folio_size=PAGE, cache_bytes=8 * PAGE, storage=storage, commit="explicit") as file:
        file.pwrite(OLD * 4, 0)
        file.commit()

        def come_in() -> None:
            others.append(Worker(lambda: file.pread(len(new), 0)))
            others.append(Worker(lambda: file.pwrite(b"other", 3)))
            for other in others:
                other.join(0.1)

        storage.add(Fault(nth=spill, names={"pwritev"}, paths={os.path.realpath(path) + "-untorn"}, before=come_in))
        assert file.pwrite(new, 0) == len(new)
        assert others, "nothing was spilled"
        seen = others[0].outcome()
        assert seen in (OLD * 4, new, new[:3] + b"other" + new[8:])
        others[1].outcome()
        assert file.pread(len(new), 0) == new[:3] + b"other" + new[8:]


# During a sync


class Gate:
    """A storage whose next call of a name, on a path, stands still until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.storage = FaultyStorage(LinuxStorage())
        self.held: Any = None
        """A lock that the control holds meanwhile."""

    def plant(self, name: str, path: str) -> None:
        self.storage.add(Fault(nth=0, names={name}, paths={path}, before=self._stop))

    def _stop(self) -> None:
        if self.held is not None:
            self.held.acquire()
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)
        if self.held is not None:
            self.held.release()


@contextmanager
def standing_still(path: Path, file: Any, gate: Gate, name: str, where: str) -> Iterator[None]:
    """Another thread commits and is stopped in a call of storage for as long as the block runs."""
    gate.plant(name, where)
    committer = Worker(file.commit)
    try:
        assert gate.reached.wait(PATIENCE_S), "the commit never came to the call"
        yield
        assert committer.is_alive()
    finally:
        gate.opened.set()
    committer.outcome()


def commit_once(file: Any) -> None:
    file.pwrite(b"1" * 100, 0)
    file.commit()
    file.pwrite(b"2" * 100, 0)


def use(file: Any) -> bytes:
    """Reads what is cached and what is not, writes over what is on its way, and grows the file."""
    for _ in range(3):
        assert file.pread(100, 0) == b"2" * 100
        assert file.pread(PAGE, 5 * PAGE) == OLD[5 * PAGE : 6 * PAGE]
    file.pwrite(b"3" * 50, 50)
    file.pwrite(b"4" * 3 * PAGE, len(OLD))
    data: bytes = file.pread(100, 0)
    return data


CALLS = [("pwritev", "log"), ("fdatasync", "log"), ("pwritev", "home"), ("fsync", "home")]


@pytest.mark.parametrize(("name", "where"), CALLS)
def test_readers_and_writers_go_on_while_a_commit_or_checkpoint_stands_still(path: Path, name: str, where: str) -> None:
    gate = Gate()
    home = os.path.realpath(path)
    with untorn.open(
        path, "r+b", folio_size=PAGE, checkpoint_bytes=PAGE, storage=gate.storage, commit="explicit"
    ) as file:
        commit_once(file)
        with standing_still(path, file, gate, name, home if where == "home" else home + "-untorn"):
            assert Worker(lambda: use(file)).outcome() == b"2" * 50 + b"3" * 50
        # What was written meanwhile belongs to the next commit, not to the one that was on its way.
        file.rollback()
        assert file.pread(SPAN, 0) == b"2" * 100 + OLD[100:SPAN]
        assert file.seek(0, os.SEEK_END) == len(OLD)
        use(file)
        file.commit()
    assert read(path) == b"2" * 50 + b"3" * 50 + OLD[100:] + b"4" * 3 * PAGE


def test_control_a_lock_held_through_the_sync_stops_readers(path: Path) -> None:
    gate = Gate()
    home = os.path.realpath(path)
    with untorn.open(path, "r+b", folio_size=PAGE, storage=gate.storage) as file:
        commit_once(file)
        gate.held = file._inode._lock
        with standing_still(path, file, gate, "fdatasync", home + "-untorn"):
            reader = Worker(lambda: use(file))
            reader.join(0.2)
            assert reader.is_alive()
        assert reader.outcome() == b"2" * 50 + b"3" * 50


def test_a_second_commit_waits_for_the_first_and_takes_what_came_meanwhile(path: Path) -> None:
    gate = Gate()
    with untorn.open(path, "r+b", folio_size=PAGE, storage=gate.storage, commit="explicit") as file:
        commit_once(file)
        with standing_still(path, file, gate, "fdatasync", os.path.realpath(path) + "-untorn"):
            file.pwrite(b"5", 1)
            second = Worker(file.commit)
        second.outcome()
        assert file.stats()["commits"] == 3
    assert read(path)[:3] == b"252"


# Transactions


@pytest.mark.parametrize("keep", [True, False])
def test_what_another_thread_does_to_a_file_in_a_transaction_comes_after_it(path: Path, keep: bool) -> None:
    with untorn.open(path, "r+b", folio_size=PAGE) as file:
        others: list[Worker] = []
        works = (lambda: file.pwrite(b"yours", 2), file.flush, file.commit, lambda: file.truncate(PAGE))
        try:
            with file.transaction():
                file.pwrite(b"mine", 0)
                for work in works:
                    others.append(Worker(work))
                    others[-1].join(0.05)
                    assert others[-1].is_alive(), "another thread did not wait"
                assert together(lambda: file.pread(6, 0)) == [b"mine" + OLD[4:6]], "readers go on"
                if not keep:
                    raise KeyError
        except KeyError:
            assert not keep
        for other in others:
            other.outcome()
        expected = (b"mi" if keep else OLD[:2]) + b"yours" + OLD[7:PAGE]
        assert file.pread(PAGE * 2, 0) == expected
    assert read(path) == expected


def test_who_waits_for_a_transaction_longer_than_the_timeout_is_told_and_has_done_nothing(path: Path) -> None:
    with untorn.open(path, "r+b", timeout=0.05) as file:
        transaction = file.transaction()
        with transaction:
            file.pwrite(b"mine", 0)
            for call in (
                lambda: file.pwrite(b"yours", 0), file.flush, file.commit, file.rollback, file._begin,
                lambda: file.truncate(1), lambda: file.pwrite(b"x", 0, untorn.RWF_DSYNC),
                lambda: file.pwrite(bytes(1 << 27), 0),
            ):  # fmt: skip
                with pytest.raises(TransactionError, match=r"did not end within 0\.05 seconds; nothing was done"):
                    together(call)
            assert file.pread(4, 0) == b"mine"
            assert file.stats()["commits"] == 0
        assert file.stats()["commits"] == 1
        together(lambda: file.pwrite(b"yours", 0))
    assert read(path) == b"yours" + OLD[5:]


def test_only_its_opener_ends_a_transaction(path: Path) -> None:
    with untorn.open(path, "r+b") as file:
        transaction = file.transaction()
        with transaction:
            file.pwrite(b"mine", 0)
            for keep in (True, False):
                with pytest.raises(TransactionError, match="only the thread"):
                    together(partial(file._end, 1, keep=keep))
            with pytest.raises(TransactionError, match="only the thread"):
                together(lambda: transaction.__exit__(None, None, None))
            assert file.pread(4, 0) == b"mine"
    assert read(path)[:4] == b"mine"


def test_who_waits_for_a_transaction_comes_before_the_next_one_of_the_same_thread(path: Path) -> None:
    order: list[int] = []

    def second() -> None:
        with file.transaction():
            order.append(2)

    with untorn.open(path, "r+b", folio_size=PAGE, commit="explicit") as file:
        with file.transaction():
            order.append(1)
            other = Worker(second)
            end = time.monotonic() + PATIENCE_S
            while not file._inode._queue:
                assert time.monotonic() < end, "the other thread never waited"
                time.sleep(0.001)
        with file.transaction():
            order.append(1)
        other.outcome()
    assert order == [1, 2, 1]


def test_a_read_does_not_wait_for_a_write_of_more_than_memory(path: Path) -> None:
    gate = Gate()
    big = b"N" * (1 << 20)
    with untorn.open(path, "r+b", folio_size=PAGE, cache_bytes=8 * PAGE, storage=gate.storage) as file:
        assert file.pread(10, 0) == OLD[:10]
        gate.plant("pwritev", os.path.realpath(path) + "-untorn")
        writer = Worker(lambda: file.pwrite(big, 0))
        try:
            assert gate.reached.wait(PATIENCE_S)
            assert Worker(lambda: file.pread(10, 0)).outcome() == OLD[:10]
            assert Worker(lambda: file.pread(10, PAGE)).outcome() == OLD[PAGE : PAGE + 10]
        finally:
            gate.opened.set()
        assert writer.outcome() == len(big)
        assert file.pread(10, PAGE) == big[:10]
    assert read(path) == big + OLD[len(big) :]


@pytest.mark.usefixtures("nervous")
@pytest.mark.parametrize("mode", ["r", "rb"])
def test_lines_read_by_several_threads_are_whole(path: Path, mode: str) -> None:
    lines = [b"%06d" % number * 7 + b"\n" for number in range(3000)]
    path.write_bytes(b"".join(lines))
    with untorn.open(path, mode, encoding="ascii" if mode == "r" else None, folio_size=PAGE) as file:
        found = together(*[lambda: list(iter(file.readline, "" if mode == "r" else b"")) for _ in range(3)])
    read_lines = [line.encode() if mode == "r" else line for part in found for line in part]
    assert sorted(read_lines) == lines
