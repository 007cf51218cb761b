"""Random sessions of copy-on-write where the device writes atomically, so that many commits go to home.

The driver of tests/crash follows each step with a model: crashes at any call, faults, edits by others, recoveries
that are cut off. Here mostly pages are written, one to a durable commit, and now and then something else.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from tests.support.crash_driver import Driver
from tests.support.file_history import stamp
from untorn.crashmodel.variables import newest, oldest, seeded
from untorn.designs import atomic_home
from untorn.designs.atomic_home import AtomicHome
from untorn.designs.cow import CopyOnWrite
from untorn.storage.interface import AtomicLimits

BLOCK: Final = 4096
BLOCKS: Final = 16
SEEDS: Final = 130
SYNCS: Final = ("fdatasync", "fsync", "sync_directory")


class Sessions:
    """One machine, and sessions on it that chance makes up."""

    def __init__(self, seed: int, seen: Counter[str]) -> None:
        self.chance = random.Random(seed)
        self.serial = seed * 1000
        self.seen = seen
        self.driver = Driver(
            self.fresh(BLOCKS * BLOCK),
            seen,
            atomic=AtomicLimits(512, 8 * BLOCK, 0, 1),
            xattrs=self.chance.random() < 0.8,
        )

    def fresh(self, length: int) -> bytes:
        self.serial += 1
        return stamp(self.serial, length)

    def session(self) -> None:
        """Opens, works, and ends in some way; a fault may end it before."""
        driver, chance = self.driver, self.chance
        log_bytes = chance.choice([BLOCK, 3 * BLOCK, 1 << 20])
        if driver.open("r+b", folio_size=BLOCK, cache_bytes=16 * BLOCK, checkpoint_bytes=log_bytes):
            for _ in range(chance.randrange(1, 8)):
                if chance.random() < 0.15:
                    self.plant()
                self.step()
                if driver.file is None:
                    break
        self.end()

    def step(self) -> None:
        driver, chance = self.driver, self.chance
        kind = chance.random()
        if kind < 0.7:
            length = 512 << chance.randrange(7)
            before = driver.file.stats()["atomic_bios"]
            driver.write_durably(self.fresh(length), chance.randrange(BLOCKS * BLOCK // length) * length)
            self.seen["in home"] += driver.file is not None and driver.file.stats()["atomic_bios"] > before
        elif kind < 0.8:
            driver.pwritev([self.fresh(700)], chance.randrange(BLOCKS * BLOCK))
            if driver.file is not None:
                driver.commit(durable=chance.random() < 0.6)
        elif kind < 0.85:
            driver.truncate(chance.choice([BLOCKS * BLOCK, 9 * BLOCK + 100]))
            if driver.file is not None:
                driver.truncate(BLOCKS * BLOCK)
        elif kind < 0.95:
            driver.begin()
            if driver.file is not None:
                driver.pwritev([self.fresh(BLOCK)], chance.randrange(BLOCKS) * BLOCK)
            if driver.file is not None:
                driver.end(keep=chance.random() < 0.7)
        else:
            driver.rollback()

    def plant(self) -> None:
        nth = self.chance.randrange(8)
        match self.chance.randrange(4):
            case 0:
                self.driver.plant("death", nth=nth, death=True)
            case 1:
                self.driver.plant("error", nth=nth, error=self.chance.choice([errno.EIO, errno.ENOSPC]))
            case 2:
                self.driver.plant("failed sync", nth=nth // 2, names=SYNCS, error=errno.EIO)
            case _:
                self.driver.plant("refused", nth=nth // 3, names=["pwritev"], error=errno.EINVAL)

    def end(self) -> None:
        driver, chance = self.driver, self.chance
        kind = chance.randrange(6)
        if driver.file is not None and kind == 0:
            driver.close()
        elif kind == 1 and driver.may_be_edited():
            driver.edit(self.fresh(BLOCKS * BLOCK))
        elif kind <= 4:
            driver.cut_power(chance.choice([oldest, newest, seeded(self.serial), seeded(self.serial + 1)]))
        if driver.file is not None:
            driver.kill()
        if chance.random() < 0.2:
            driver.plant("death", nth=chance.randrange(20), death=True)
            if driver.open("r+b"):
                driver.kill()


def run(seeds: range, seen: Counter[str]) -> None:
    for seed in seeds:
        sessions = Sessions(seed, seen)
        for _ in range(8):
            sessions.session()


def test_after_any_crash_the_file_is_one_commit_at_or_after_the_last_durable_one() -> None:
    seen: Counter[str] = Counter()
    run(range(SEEDS), seen)
    assert seen["in home"] > 3 * SEEDS
    assert seen["died in a call"] > SEEDS // 4
    assert seen["survived: refused"] > 0
    assert seen["edit of a plain file taken"] > 0
    assert seen["recovered after power cut"] > SEEDS


def not_atomic(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(atomic_home, "RWF_ATOMIC", 0)


def not_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AtomicHome, "sync", lambda self: 0)


def time_not_learned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CopyOnWrite, "_leave_home", lambda self: None)


MUTANTS: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "the bio is not atomic": not_atomic,
    "the bio is not durable": not_durable,
    "the slot does not learn home's time": time_not_learned,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_sessions_find_a_planted_defect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    with pytest.raises((AssertionError, OSError)):
        run(range(SEEDS), Counter())
