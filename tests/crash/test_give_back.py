"""What is reserved, step by step: after one refusal nothing sticks, and what is idle goes back."""

from __future__ import annotations

import errno
import os
from typing import Any, Final

import pytest

import untorn
from tests.support.crash_driver import Driver
from tests.support.crash_ground import PATH
from tests.support.file_history import stamp
from untorn.crashmodel.storage import SimulatedStorage
from untorn.designs import growth
from untorn.log import space
from untorn.log.space import STEP_MAX
from untorn.storage.fault_injection import Fault, FaultyStorage

BLOCK: Final = 4096
MIB: Final = 1 << 20
LIMITS: Final[dict[str, dict[str, Any]]] = {
    "a full disk": {"capacity": 64 * BLOCK},
    "a quota": {"capacity": 64 * BLOCK, "full": errno.EDQUOT},
    "a limit to the size of files": {"size_max": 60 * BLOCK},
}


def opened(limits: dict[str, Any], **options: Any) -> Driver:
    driver = Driver(stamp(1, 4 * BLOCK), **limits)
    driver.open("r+b", **{"folio_size": BLOCK, "cache_bytes": 16 * BLOCK, **options})
    return driver


def log_of(file: untorn.File) -> Any:
    """The log of a file, which is its design's own affair."""
    design: Any = file._inode.design
    return design._log


def refused(driver: Driver, length: int) -> None:
    before = driver.seen["failed: no space"]
    driver.pwritev([stamp(2, length)], BLOCK)
    assert driver.seen["failed: no space"] == before + 1


def taken(driver: Driver) -> None:
    before = driver.seen["failed: no space"]
    driver.pwritev([b"small"], 0)
    assert driver.seen["failed: no space"] == before, "a small write was refused"


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("cache", [16, 1024], ids=["in pieces", "at once"])
@pytest.mark.parametrize("rollback", [False, True])
def test_after_a_refused_write_a_small_one_works_at_once(name: str, cache: int, *, rollback: bool) -> None:
    driver = opened(LIMITS[name], cache_bytes=cache * BLOCK)
    driver.pwritev([b"first"], 10)
    free = driver.machine.free_bytes()
    refused(driver, 50 * BLOCK)
    assert driver.machine.free_bytes() == free
    if rollback:
        driver.rollback()
    taken(driver)
    driver.close()


@pytest.mark.parametrize("name", LIMITS)
def test_a_transaction_that_found_no_space_leaves_none_taken(name: str) -> None:
    """Its spills lie in the log and go only with a checkpoint, which the next write makes if it needs their space."""
    driver = opened(LIMITS[name])
    driver.begin()
    for index in range(60):
        driver.pwritev([stamp(index, BLOCK)], index * BLOCK)
    assert driver.seen["failed: no space"]
    driver.end(keep=False)
    for index in range(8):
        driver.pwritev([stamp(index, BLOCK)], index * BLOCK)
    assert driver.seen["failed: no space"] < 60
    driver.commit(durable=True)
    taken(driver)
    driver.close()


@pytest.mark.parametrize("name", LIMITS)
def test_commits_that_fill_the_disk_go_home_when_a_write_needs_their_space(name: str) -> None:
    """The log would be moved home only at 64 MiB, which these disks do not have."""
    driver = opened(LIMITS[name])
    for index in range(200):
        driver.pwritev([stamp(index, BLOCK)], index % 4 * BLOCK)
        driver.commit(durable=index % 5 == 0)
    assert not driver.seen["failed: no space"]
    assert driver.file.stats()["checkpoints"] > 3
    driver.close()


def test_a_checkpoint_for_space_keeps_what_is_not_committed_out_of_the_file() -> None:
    driver = opened(LIMITS["a full disk"], commit="explicit")
    driver.pwritev([stamp(3, BLOCK)], 0)
    driver.commit(durable=True)
    driver.truncate(BLOCK)  # uncommitted: no checkpoint may cut the file
    refused(driver, 70 * BLOCK)
    driver.truncate(2 * BLOCK)
    driver.rollback()
    driver.pwritev([stamp(4, 100)], BLOCK + 50)  # dirty when the checkpoint is made
    position = driver.file.tell()
    refused(driver, 70 * BLOCK)
    assert driver.file.stats()["checkpoints"] == 1
    driver.rollback()
    assert driver.file.tell() == position
    assert driver.content == stamp(3, BLOCK) + stamp(1, 4 * BLOCK)[BLOCK:]
    driver.close()


def log_size(storage: SimulatedStorage) -> int:
    return len(storage.read_file(PATH + "-untorn"))


@pytest.mark.parametrize("how", ["rollback", "transaction", "savepoint", "truncate", "checkpoint"])
def test_what_is_idle_goes_back(how: str) -> None:
    storage = SimulatedStorage()
    storage.write_file(PATH, stamp(1, BLOCK))
    file = untorn.open(PATH, "r+b", commit="explicit", storage=storage)
    big = bytes(6 * MIB)
    if how == "rollback":
        file.pwrite(big, BLOCK)
        most = log_size(storage)
        file.rollback()
    elif how in ("transaction", "savepoint"):
        with file.transaction():
            if how == "transaction":
                file.pwrite(b"x", 0)
            with pytest.raises(KeyError), file.transaction():
                file.pwrite(big, BLOCK)
                most = log_size(storage)
                raise KeyError
            file._inode.assert_space()
            least = log_size(storage)
            assert least < 2 * MIB
    elif how == "truncate":
        file.pwrite(big, BLOCK)
        most = log_size(storage)
        file.truncate(BLOCK)
    else:
        file.pwrite(big, BLOCK)
        file.commit()
        most = log_size(storage)
        with pytest.raises(OSError, match="too large"):
            file.pwrite(b"x", (1 << 63) - 1)  # refused, and a checkpoint is tried first
    file._inode.assert_space()
    assert most > 12 * MIB
    assert log_size(storage) < (2 if how != "checkpoint" else 8) * MIB
    file.close()


def test_small_steps_back_and_forth_make_no_system_calls() -> None:
    """The control for the slack: it is there so that this costs nothing."""
    storage = FaultyStorage(SimulatedStorage())
    with untorn.open(PATH, "w+b", commit="explicit", storage=storage) as file:
        file.pwrite(bytes(10 * BLOCK), 0)
        file.rollback()
        before = storage.counts
        for _ in range(50):
            file.pwrite(bytes(10 * BLOCK), 0)
            file.rollback()
        calls = storage.counts - before
        assert not calls["allocate"] + calls["truncate"]


def test_the_log_grows_by_bounded_steps() -> None:
    storage = SimulatedStorage()
    with untorn.open(PATH, "w+b", commit="explicit", cache_bytes=1 << 30, storage=storage) as file:
        written = 0
        for _ in range(12):
            file.pwrite(bytes(8 * MIB), written)
            written += 8 * MIB
            needed = log_of(file).owed
            assert 2 * written < needed < 2 * written + written // 32 + 3 * MIB
            assert log_size(storage) <= needed + STEP_MAX
        file.rollback()


def test_a_checkpoint_hands_over_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Home takes a piece and the log gives one up: both together never hold much more than was reserved."""
    monkeypatch.setattr(space, "SLACK_MIN", 4 * BLOCK)
    monkeypatch.setattr(growth, "STEP_MAX", 8 * BLOCK)
    machine = SimulatedStorage(capacity=1 << 30)
    held: list[int] = []

    def look() -> None:
        held.append((1 << 30) - machine.free_bytes())

    storage = FaultyStorage(machine, Fault(nth=0, names={"allocate"}, paths={PATH}, onwards=True, after=look))
    with untorn.open(PATH, "w+b", commit="explicit", folio_size=BLOCK, storage=storage) as file:
        file.write(bytes(400 * BLOCK))
        file.commit()
        reserved = (1 << 30) - machine.free_bytes()
        file.close()
    assert len(held) == 50
    assert max(held) < reserved + 13 * BLOCK + reserved // 8
    assert max(held) < 3 * 400 * BLOCK


def test_a_checkpoint_that_found_no_space_reserves_again_and_the_next_commit_makes_it() -> None:
    machine = SimulatedStorage(capacity=100 * BLOCK)
    machine.write_file(PATH, stamp(1, BLOCK))
    junk = machine.another_process(7)
    storage = FaultyStorage(
        machine, Fault(nth=0, names={"allocate"}, paths={PATH}, onwards=True, before=lambda: fill(junk))
    )
    with untorn.open(PATH, "r+b", folio_size=BLOCK, checkpoint_bytes=BLOCK, storage=storage) as file:
        file.pwrite(stamp(2, 20 * BLOCK), BLOCK)
        file.commit()  # another process takes the blocks that the log gives up
        assert file.stats()["checkpoints"] == 0
        file._inode.assert_space()
        assert log_of(file)._short > 0
        with pytest.raises(OSError, match="No space"):
            file.pwrite(b"x", 0)
        storage.clear()
        junk.unlink("/junk")
        file.commit()
        assert file.stats()["checkpoints"] == 1
        file._inode.assert_space()
        assert not log_of(file)._short
        file.pwrite(b"x", 0)
    assert machine.read_file(PATH) == b"x" + stamp(1, BLOCK)[1:] + stamp(2, 20 * BLOCK)


def fill(storage: SimulatedStorage) -> None:
    """Takes all the blocks there are."""
    file = storage.open("/junk", os.O_RDWR | os.O_CREAT)
    free = storage.free_bytes()
    if free:
        size = file.stat().size
        file.allocate(size, free, keep_size=False)
    file.close()
