"""A run can be repeated exactly, reads no more than the program asks, and writes when CPython writes."""

from __future__ import annotations

import datetime
import json
import os
import random
import secrets
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import UntornError
from untorn.explore.interpose import ROOT, Interposer, ack, acknowledged, set_current
from untorn.storage.interface import FileStat


def chances(directory: Path) -> list[Any]:
    first = random.random()
    random.seed()
    number, name = tempfile.mkstemp(dir=directory)
    os.close(number)
    return [
        name, os.urandom(8), os.getrandom(8), secrets.token_hex(8), random.random(), random.Random().random(),
        random.SystemRandom().random(), uuid.uuid4(), uuid.uuid1(), os.getpid(), time.time(), time.time_ns(),
        time.localtime(), time.gmtime(), time.ctime(), time.strftime("%c"), time.asctime(),
        tempfile.mkdtemp(dir=directory), os.stat(name).st_mtime_ns, first,
    ]  # fmt: skip


def run(storage: SimulatedStorage) -> list[Any]:
    with Interposer(storage) as directory:
        return chances(directory)


def test_chance_and_clock_are_the_same_in_every_run() -> None:
    assert run(SimulatedStorage()) == run(SimulatedStorage())


def test_another_seed_and_another_session_have_other_chances() -> None:
    storage = SimulatedStorage()
    first, second, third = run(storage), run(storage), run(SimulatedStorage(seed=1))
    for index in (0, 1, 2, 3, 4, 5, 6, 7):
        assert len({str(found[index]) for found in (first, second, third)}) == 3


def test_the_clock_goes_forward_across_a_power_cut_and_the_process_is_another() -> None:
    storage = SimulatedStorage()
    first = run(storage)
    second = run(storage.power_cut())
    assert first[10] < first[11] / 1e9 < second[10]
    assert first[9] != second[9]


def test_chance_is_real_again_afterwards() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    names = tempfile._get_candidate_names()  # type: ignore[attr-defined]
    run(SimulatedStorage())
    assert random.random() == expected
    assert tempfile._get_candidate_names() is names  # type: ignore[attr-defined]
    assert os.getpid() == int(os.readlink("/proc/self"))
    assert os.urandom(16) != os.urandom(16)
    assert abs(time.time() - datetime.datetime.now().timestamp()) < 60
    assert uuid.uuid1() != uuid.uuid1()


def test_a_signal_to_oneself_arrives() -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
    try:
        with Interposer(SimulatedStorage()):
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert caught == [signal.SIGUSR1]


def test_a_thread_that_was_there_before_keeps_its_clock_and_may_start_a_process() -> None:
    ready, done = threading.Event(), threading.Event()
    seen: list[Any] = []

    def stranger() -> None:
        ready.wait()
        seen.extend([time.time(), os.getpid(), subprocess.run(["true"], check=True).returncode])
        done.set()

    thread = threading.Thread(target=stranger)
    thread.start()
    with Interposer(SimulatedStorage()):
        ready.set()
        assert done.wait(60)
        mine: list[Any] = []
        program = threading.Thread(target=lambda: mine.extend([time.time(), os.getpid()]))
        program.start()
        program.join()
        inside = [time.time(), os.getpid()]
    thread.join()
    assert seen[0] - inside[0] > 1_000_000
    assert seen[1:] == [os.getpid(), 0]
    assert mine[1] == inside[1] != os.getpid()
    assert 0 < inside[0] - mine[0] < 1


# Reads


class Watched(SimulatedStorage):
    """Notes what is asked of names, and which fields of a stat are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def stat(self, path: str) -> FileStat:
        self.asked.append(("stat", path))
        return _Noting(self.asked, super().stat(path))

    def listdir(self, path: str) -> list[str]:
        self.asked.append(("listdir", path))
        return super().listdir(path)


class _Noting(FileStat):
    """A stat that notes which of the fields that may be undetermined after a crash are looked at."""

    asked: list[Any]
    found: FileStat

    def __new__(cls, asked: list[Any], found: FileStat) -> _Noting:
        self = super().__new__(cls, *found)
        self.asked, self.found = asked, found
        return self

    @property
    def size(self) -> int:
        self.asked.append("size")
        return self.found.size

    @property
    def mtime_ns(self) -> int:
        self.asked.append("mtime")
        return self.found.mtime_ns

    @property
    def links(self) -> int:
        self.asked.append("links")
        return self.found.links


LOOKS: dict[str, tuple[Callable[[Path], Any], list[Any]]] = {
    "listdir": (lambda d: os.listdir(d), [("listdir", ROOT)]),  # noqa: PLW0108 - looked up when it is called
    "iterdir": (lambda d: list(d.iterdir()), [("listdir", ROOT)]),
    "scandir": (lambda d: list(os.scandir(d)), [("listdir", ROOT)]),
    "exists": (lambda d: os.path.exists(d / "a"), [("stat", f"{ROOT}/a")]),
    "is_file": (lambda d: (d / "a").is_file(), [("stat", f"{ROOT}/a")]),
    "getsize": (lambda d: os.path.getsize(d / "a"), [("stat", f"{ROOT}/a"), "size"]),
    "getmtime": (lambda d: os.path.getmtime(d / "a"), [("stat", f"{ROOT}/a"), "mtime"]),
    "open": (lambda d: os.close(os.open(d / "a", os.O_RDONLY)), []),
    "read": (lambda d: os.pread(os.open(d / "a", os.O_RDONLY), 1, 0), []),
    "entries' kinds": (
        lambda d: [e.is_dir() for e in os.scandir(d)],
        [("listdir", ROOT)] + [("stat", f"{ROOT}/{n}") for n in "ab"],
    ),
}


@pytest.mark.parametrize("what", LOOKS)
def test_no_more_is_looked_up_than_the_program_asks(what: str) -> None:
    program, expected = LOOKS[what]
    storage = Watched()
    with Interposer(storage) as directory:
        for name in "ab":
            (directory / name).write_text("content")
        storage.asked.clear()
        program(directory)
        assert storage.asked == expected


# Writes


def buffered(directory: Path) -> None:
    with open(directory / "a", "wb") as file:
        for length in (10, 5000, 4096, 8192, 1, 100_000, 4095, 4097):
            file.write(bytes(length))
    with open(directory / "a", "r+b") as file:
        for offset in range(0, 60_000, 1000):
            file.seek(offset)
            file.read(10)
            file.write(b"x")


def text(directory: Path) -> None:
    with open(directory / "t", "w") as file:
        for number in range(5000):
            file.write(f"line {number}\n")
    with open(directory / "t", "a", buffering=1) as file:
        for number in range(20):
            print("line", number, file=file)


def dumped(directory: Path) -> None:
    with open(directory / "j", "w") as file:
        json.dump(list(range(20_000)), file, indent=1)


def _written(directory: Path, program: Callable[[Path], None]) -> int:
    """How many write calls this process makes in a real directory, as the kernel counts them."""

    def count() -> int:
        with open("/proc/self/io") as file:
            return int(file.read().split("syscw: ")[1].split()[0])

    before = count()
    program(directory)
    return count() - before


@pytest.mark.parametrize("program", [buffered, text, dumped], ids=lambda p: p.__name__)
def test_as_many_writes_reach_the_storage_as_the_kernel(program: Callable[[Path], None], tmp_path: Path) -> None:
    storage = SimulatedStorage()
    with Interposer(storage) as directory:
        program(directory)
    written = sum(operation.name == "pwritev" for operation in storage.trace.operations)
    assert written == _written(tmp_path, program)
    assert written > 10


def test_the_trace_and_a_traceback_name_the_program_and_not_what_carries_it_out() -> None:
    storage = SimulatedStorage(sites=True)
    with pytest.raises(FileNotFoundError) as caught, Interposer(storage) as directory:
        text(directory)
        open(directory / "none" / "file", "w")  # noqa: SIM115
    sites = {operation.site for operation in storage.trace.operations}
    assert {(site.function, Path(site.file).name) for site in sites if site} == {("text", Path(__file__).name)}
    assert caught.traceback[-1].path == Path(__file__)


# Acknowledgements


class OneRun:
    def __init__(self) -> None:
        self.values: list[object] = []

    def ack(self, value: object) -> None:
        self.values.append(value)

    def acknowledged(self) -> list[object]:
        return self.values


def test_ack_and_acknowledged_are_those_of_the_current_run() -> None:
    ack("nobody listens")
    mine = OneRun()
    before = set_current(mine)
    try:
        ack(1)
        ack("two")
        assert acknowledged() == [1, "two"]
    finally:
        assert set_current(before) is mine
    with pytest.raises(UntornError, match=r"only in check\(\)"):
        acknowledged()
