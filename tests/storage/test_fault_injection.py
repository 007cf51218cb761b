"""Faults come where they were planted, do what they say and leave what they should."""

from __future__ import annotations

import errno
import os

import pytest

from tests.support.recording_storage import RecordingStorage
from untorn.crashmodel.machine import failure
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import newest, oldest
from untorn.storage.fault_injection import Fault, FaultyStorage, ProcessDeath
from untorn.storage.interface import RWF_DSYNC, Storage
from untorn.storage.linux import LinuxStorage

CALLS = ["open", "pwritev", "fdatasync", "pwritev", "fsync", "sync_directory", "close"]


def machine() -> SimulatedStorage:
    simulated = SimulatedStorage()
    simulated.write_file("/f", b"A" * 1024)
    return simulated


def work(storage: Storage) -> None:
    """Two writes, each synced, and the directory."""
    file = storage.open("/f", os.O_RDWR)
    file.write([b"B" * 512], 0)
    file.fdatasync()
    file.write([b"C" * 512], 512)
    file.fsync()
    storage.sync_directory("/")
    file.close()


def test_without_faults_it_counts() -> None:
    storage = FaultyStorage(machine())
    work(storage)
    assert storage.log == CALLS
    assert storage.calls == len(CALLS)
    assert storage.counts["pwritev"] == 2


@pytest.mark.parametrize("nth", range(len(CALLS)))
def test_each_call_can_fail_and_is_then_not_made(nth: int) -> None:
    inner = machine()
    storage = FaultyStorage(inner, Fault(nth=nth, error=errno.ENOSPC))
    with pytest.raises(OSError, match="No space") as caught:
        work(storage)
    assert caught.value.errno == errno.ENOSPC
    assert storage.log == CALLS[: nth + 1]
    written = CALLS[:nth].count("pwritev")
    assert inner.read_file("/f") == [b"A" * 1024, b"B" * 512 + b"A" * 512, b"B" * 512 + b"C" * 512][written]


def test_faults_count_only_the_calls_they_name() -> None:
    storage = FaultyStorage(machine(), Fault(nth=1, names={"pwritev"}, paths={"/f"}, error=errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        work(storage)
    assert storage.log == CALLS[:4]
    work(storage)
    storage = FaultyStorage(machine(), Fault(nth=0, paths={"/g"}, error=errno.EIO))
    work(storage)


def test_a_fault_can_stay_until_it_is_cleared() -> None:
    storage = FaultyStorage(machine(), Fault(nth=1, names={"pwritev"}, onwards=True, error=errno.EIO))
    file = storage.open("/f", os.O_RDWR)
    file.write([b"x"], 0)
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output"):
            file.write([b"x"], 0)
    storage.clear()
    file.write([b"x"], 0)
    storage.add(Fault(nth=0, names={"pread"}, error=errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        file.pread(1, 0)


@pytest.mark.parametrize(("transfer", "first"), [(0.5, 500), (700, 700), (5000, 1000), (0.0001, 1)])
def test_a_short_transfer_is_finished_by_read_and_write(transfer: float, first: int) -> None:
    inner = machine()
    storage = FaultyStorage(inner, Fault(nth=0, names={"pwritev"}, transfer=transfer))
    file = storage.open("/f", os.O_RDWR)
    assert file.pwritev([b"x" * 300, b"y" * 700], 0) == first
    storage.add(Fault(nth=0, names={"pwritev", "pread"}, onwards=True, transfer=0.5))
    file.write([b"x" * 300, b"y" * 700], 0)
    assert file.read(1000, 0) == b"x" * 300 + b"y" * 700
    assert storage.counts["pread"] > 5


@pytest.mark.parametrize("nth", range(len(CALLS)))
def test_the_process_dies_before_a_call_and_does_nothing_more(nth: int) -> None:
    inner = machine()
    storage = FaultyStorage(inner, Fault(nth=nth, death=True, before=inner.kill_process))
    with pytest.raises(ProcessDeath):
        work(storage)
    with pytest.raises(ProcessDeath):
        storage.user()
    assert storage.calls == nth + 1
    written = CALLS[:nth].count("pwritev")
    assert inner.read_file("/f").count(b"A") == 1024 - 512 * written
    inner.open("/f", os.O_RDWR).lock(exclusive=True)


def test_the_process_dies_in_the_middle_of_a_write() -> None:
    inner = machine()
    storage = FaultyStorage(inner, Fault(nth=0, names={"pwritev"}, death=True, transfer=100))
    file = storage.open("/f", os.O_RDWR)
    with pytest.raises(ProcessDeath):
        file.write([b"x" * 512], 0)
    assert inner.read_file("/f") == b"x" * 100 + b"A" * 924
    file.close()
    assert inner.power_cut(oldest).read_file("/f") == b"A" * 1024


def test_hooks_run_before_and_after_the_call() -> None:
    inner = machine()
    seen: list[bytes] = []

    def look() -> None:
        seen.append(inner.read_file("/f")[:1])

    work(FaultyStorage(inner, Fault(nth=0, names={"pwritev"}, before=look, after=look)))
    assert seen == [b"A", b"B"]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "sync_directory"])
def test_a_failed_sync_leaves_doubt_that_no_later_sync_lifts(call: str, recorded: bool) -> None:
    inner = machine()
    storage = FaultyStorage(RecordingStorage(inner) if recorded else inner, Fault(nth=0, names={call}, error=errno.EIO))
    file = storage.open("/f", os.O_RDWR)
    storage.open("/g", os.O_RDWR | os.O_CREAT).close()
    file.write([b"B" * 512], 0)
    for _ in range(2):
        for sync in (file.fdatasync, file.fsync, lambda: storage.sync_directory("/")):
            try:
                sync()
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017
    doubt = inner.power_cut(oldest)
    assert doubt.read_file("/f")[:1] == (b"B" if call in ("fsync", "sync_directory") else b"A")
    assert doubt.listdir("/") == (["f"] if call == "sync_directory" else ["f", "g"])
    assert inner.power_cut(newest).read_file("/f")[:1] == b"B"


def test_a_failed_synchronous_write_is_in_the_cache_and_in_doubt() -> None:
    inner = machine()
    storage = FaultyStorage(inner, Fault(nth=0, names={"pwritev"}, error=errno.EIO))
    file = storage.open("/f", os.O_RDWR)
    with pytest.raises(OSError, match="Input/output"):
        file.write([b"B" * 512], 0, RWF_DSYNC)
    file.fsync()
    assert inner.read_file("/f")[:1] == b"B"
    assert inner.power_cut(oldest).read_file("/f")[:1] == b"A"


def test_over_linux_a_failed_sync_is_an_error_and_no_more(tmp_path: os.PathLike[str]) -> None:
    storage = FaultyStorage(RecordingStorage(LinuxStorage()), Fault(nth=0, names={"fsync"}, error=errno.EIO))
    file = storage.open(os.path.join(tmp_path, "f"), os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError, match="Input/output"):
        file.fsync()
    file.fsync()
    file.close()


# The machine itself


def test_space_runs_out_short_and_then_with_enospc_and_comes_back() -> None:
    storage = SimulatedStorage(capacity=3 * 4096)
    file = storage.open("/f", os.O_RDWR | os.O_CREAT)
    assert file.pwritev([b"x" * 20_000], 0) == 3 * 4096
    assert failing(lambda: file.pwritev([b"x"], 3 * 4096)) == errno.ENOSPC
    assert file.pwritev([b"y" * 4096], 4096) == 4096
    file.truncate(4097)
    assert storage.free_bytes() == 4096
    other = storage.open("/g", os.O_RDWR | os.O_CREAT)
    assert failing(lambda: other.allocate(0, 8192, keep_size=False)) == errno.ENOSPC
    assert other.stat().size == 4096
    storage.unlink("/f")
    assert storage.free_bytes() == 0
    file.close()
    assert storage.free_bytes() == 8192
    other.allocate(4096, 8192, keep_size=True)
    assert other.pwritev([b"z" * 12288], 0) == 12288


def test_reserved_space_survives_a_power_cut_if_it_was_synced() -> None:
    storage = SimulatedStorage(capacity=10 * 4096)
    file = storage.open("/f", os.O_RDWR | os.O_CREAT)
    storage.sync_directory("/")
    file.allocate(0, 4 * 4096, keep_size=True)
    assert storage.power_cut(newest, at=storage.trace.now).free_bytes() == 10 * 4096
    file.fsync()
    assert storage.power_cut(newest, at=storage.trace.now).free_bytes() == 6 * 4096
    file.truncate(0)
    file.fsync()
    assert storage.power_cut(newest).free_bytes() == 10 * 4096


def test_a_file_may_not_grow_beyond_the_largest_size() -> None:
    file = SimulatedStorage(size_max=1000).open("/f", os.O_RDWR | os.O_CREAT)
    assert file.pwritev([b"x" * 2000], 0) == 1000
    assert failing(lambda: file.pwritev([b"x"], 1000)) == errno.EFBIG
    assert failing(lambda: file.truncate(1001)) == errno.EFBIG
    assert failing(lambda: file.check_size(1001)) == errno.EFBIG
    assert failing(lambda: file.allocate(0, 1001, keep_size=True)) == errno.EFBIG


def test_a_machine_may_have_no_attributes_and_a_directory_no_permission() -> None:
    storage = SimulatedStorage(xattrs=False)
    storage.make_directory("/d")
    storage.write_file("/d/f", b"abc")
    storage.set_writable("/d", False)
    file = storage.open("/d/f", os.O_RDWR)
    assert failing(lambda: file.getxattr("user.a")) == errno.ENOTSUP
    assert failing(lambda: file.setxattr("user.a", b"")) == errno.ENOTSUP
    assert failing(lambda: storage.open("/d/g", os.O_RDWR | os.O_CREAT)) == errno.EACCES
    assert failing(lambda: storage.unlink("/d/f")) == errno.EACCES
    assert failing(lambda: storage.rename("/d/f", "/g")) == errno.EACCES


def test_a_killed_process_leaves_the_cache_and_no_lock() -> None:
    storage = machine()
    other = storage.another_process(2)
    file, rival = storage.open("/f", os.O_RDWR), other.open("/f", os.O_RDWR)
    file.lock(exclusive=True)
    assert failing(lambda: rival.lock(exclusive=False)) == errno.EAGAIN
    assert rival.lock_holder() == 1
    file.write([b"B"], 0)
    storage.kill_process()
    assert failing(file.stat) == errno.EBADF
    rival.lock(exclusive=True)
    assert rival.lock_holder() == 2
    assert other.read_file("/f")[:1] == b"B"
    assert other.power_cut(oldest).read_file("/f")[:1] == b"A"


def test_after_a_power_cut_the_old_machine_is_dead_and_the_new_one_goes_on() -> None:
    storage = machine()
    file = storage.open("/f", os.O_RDWR)
    before = file.stat()
    salt = storage.random_bytes(8)
    after = storage.power_cut(newest)
    assert failing(file.stat) == errno.EBADF
    assert failing(lambda: storage.open("/f", os.O_RDWR)) == errno.EIO
    found = after.open("/f", os.O_RDWR)
    assert found.stat() == before
    assert after.random_bytes(8) != salt
    found.write([b"x"], 0)
    assert found.stat().mtime_ns > before.mtime_ns


def test_times_rise_with_every_change_unless_the_clock_is_coarse() -> None:
    for tick_ns in (1000, 0):
        storage = SimulatedStorage(tick_ns=tick_ns)
        file = storage.open("/f", os.O_RDWR | os.O_CREAT)
        times = [file.stat().mtime_ns]
        file.pwritev([b"x"], 0)
        times.append(file.stat().mtime_ns)
        file.truncate(0)
        times.append(file.stat().mtime_ns)
        file.allocate(0, 1, keep_size=True)
        times.append(file.stat().mtime_ns)
        assert len(set(times)) == (4 if tick_ns else 1)


def failing(call: object) -> int | None:
    """The errno that the call fails with."""
    assert callable(call)
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        call()
    return caught.value.errno


def test_errors_are_of_the_class_that_python_raises() -> None:
    assert isinstance(failure(errno.ENOENT, "/f"), FileNotFoundError)
    assert isinstance(failure(errno.EAGAIN, "/f"), BlockingIOError)
