"""Descriptors, locks and memory: none are lost, and a close works where there are none left."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import OLD, read
from untorn.errors import LockedError
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


def run(program: str, path: Path) -> str:
    source = str(Path(untorn.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], env={**os.environ, "PYTHONPATH": source},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


AT_THE_LIMIT = """
import os, resource, sys, untorn
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
file = untorn.open(sys.argv[1], MODE)
WORK
spare = []
try:
    while True:
        spare.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
file.close()
for descriptor in spare:
    os.close(descriptor)
assert not os.path.exists(sys.argv[1] + "-untorn")
print(open(sys.argv[1], "rb").read(10))
"""


@pytest.mark.parametrize(
    ("mode", "work", "expected"),
    [
        ("r+b", "file.write(b'x' * 10)", b"x" * 10),
        ("r+b", "file.write(b'x' * 10); file.commit()", b"x" * 10),
        ("wb", "file.write(b'x' * 10)", b"x" * 10),
        ("r+b", "", OLD[:10]),
        ("r+b", "file.write(b'x' * 10); file.flush(); file.write(b'y')", b"x" * 10),
    ],
)
def test_a_close_at_the_limit_of_descriptors_commits(path: Path, mode: str, work: str, expected: bytes) -> None:
    said = run(AT_THE_LIMIT.replace("MODE", repr(mode)).replace("WORK", work), path)
    assert said.strip() == repr(expected)


def test_a_write_that_finds_no_descriptor_says_so_and_changes_nothing(path: Path) -> None:
    program = """
import os, resource, sys, untorn
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
file = untorn.open(sys.argv[1], "r+b")
spare = []
try:
    while True:
        spare.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    file.write(b"x")
except OSError as error:
    print(error.errno, file.read(1))
for descriptor in spare:
    os.close(descriptor)
file.write(b"y")
file.close()
"""
    assert run(program, path).split() == [str(errno.EMFILE), repr(OLD[:1])]
    assert read(path)[:2] == OLD[:1] + b"y"


def failed(path: Path) -> Any:
    """A handle whose commit failed."""
    storage = FaultyStorage(LinuxStorage())
    file = untorn.open(path, "r+b", storage=storage)
    file.write(b"y")
    storage.add(Fault(nth=0, names={"fdatasync", "fsync"}, error=errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        file.flush()
    return file


def test_a_failed_handle_that_is_dropped_lets_go_of_its_lock(path: Path) -> None:
    file = failed(path)
    with pytest.raises(LockedError):
        untorn.open(path, "r+b", timeout=0)
    del file
    gc.collect()
    untorn.open(path, "r+b", timeout=0).close()


def test_no_descriptor_is_left_by_any_way_that_a_file_ends(path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(3):
        with untorn.open(path, "r+b") as file:
            file.write(b"1")
            os.fstat(file.fileno())
        with pytest.raises(KeyError), untorn.open(path, "r+b") as file:
            file.write(b"2")
            raise KeyError
        file = failed(path)
        del file
        gc.collect()
        with pytest.raises(LockedError), untorn.open(path, "r+b"):
            untorn.open(path, "r+b", timeout=0)
        with pytest.raises(IsADirectoryError):
            untorn.open(path.parent, "wb")
        with untorn.open(path, "rb") as reader:
            reader.fileno()
    assert descriptors() == before


def test_a_file_that_cannot_fit_into_memory_is_not_read_into_it(path: Path) -> None:
    program = """
import os, resource, sys, untorn
os.truncate(sys.argv[1], 1 << 40)
resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))  # should it be tried, this process suffers alone
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with untorn.open(sys.argv[1], "rb") as file:
    for read in (file.read, file.readall if hasattr(file, "readall") else file.read, lambda: file.pread(1 << 39, 5)):
        try:
            read()
            print("read")
        except MemoryError:
            print("MemoryError", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 100_000)
    print(file.pread(3, 1 << 39))
"""
    assert run(program, path).splitlines() == ["MemoryError True"] * 3 + [repr(bytes(3))]


# Waiting for another handle


def test_a_writer_waits_for_another_handle_as_long_as_it_is_told(path: Path) -> None:
    first = untorn.open(path, "r+b")
    first.write(b"first")
    waited = threading.Event()

    class Telling(FaultyStorage):
        """Says when the lock was refused once."""

    storage = Telling(LinuxStorage(), Fault(nth=1, names={"lock"}, before=waited.set))
    result: list[Any] = []

    def second() -> None:
        with untorn.open(path, "r+b", timeout=60, storage=storage) as file:
            result.append(file.read(5))

    thread = threading.Thread(target=second)
    thread.start()
    assert waited.wait(60), "the second writer did not try again"
    first.close()
    thread.join(60)
    assert result == [b"first"]


def test_without_a_thread_that_could_close_it_a_file_of_this_program_is_not_waited_for(path: Path) -> None:
    program = """
import sys, time, untorn
first = untorn.open(sys.argv[1], "r+b")
start = time.monotonic()
try:
    untorn.open(sys.argv[1], "r+b", timeout=None)
except untorn.LockedError as error:
    print("this program itself" in str(error))
first.close()
"""
    assert run(program, path).strip() == "True"


@pytest.mark.parametrize("timeout", [-1, float("nan"), 1e12])
def test_a_timeout_that_is_no_time_is_refused(path: Path, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be None or a number of seconds"):
        untorn.open(path, "r+b", timeout=timeout)
