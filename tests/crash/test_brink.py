"""The state machine on a disk that is all but full, under a quota, or with a limit to the size of files.

ENOSPC comes at a write, an open or a truncate and changes nothing, never at a commit, a checkpoint or a close (I7).
After every call just what is needed is reserved. Nobody else takes blocks here, so no checkpoint may fail.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.crash.machine import BLOCK, EXAMPLES, HUNT, CrashMachine, run
from tests.defects.plants import Patch
from tests.support.crash_driver import Driver
from tests.support.file_history import stamp
from untorn.designs.growth import Growth
from untorn.inode import cached
from untorn.inode.cached import CachedFile
from untorn.log import space
from untorn.log.space import LogSpace

MOST: Final = 60
"""More blocks than any of the disks has."""

FULL: Final = st.fixed_dictionaries(
    {
        "capacity": st.integers(12, MOST).map(lambda blocks: blocks * BLOCK),
        "full": st.sampled_from([errno.ENOSPC, errno.EDQUOT]),
    }
)
LIMITED: Final = st.fixed_dictionaries({"size_max": st.integers(12, MOST).map(lambda blocks: blocks * BLOCK)})


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is idle is soon too much, on disks as small as these."""
    monkeypatch.setattr(space, "SLACK_MIN", 4 * BLOCK)
    monkeypatch.setattr(space, "STEP_MAX", 2 * BLOCK)
    monkeypatch.setattr(cached, "_GROW_AHEAD", 3 * BLOCK)


class BrinkMachine(CrashMachine):
    """Fills the disk again and again."""

    limits = st.one_of(FULL, FULL, LIMITED)

    @rule(length=st.sampled_from([700, BLOCK, 3 * BLOCK]), durable=st.booleans())
    def fill(self, length: int, durable: bool) -> None:
        """Appends until that is refused, and commits what was not."""
        driver = self.ready()
        refused = driver.seen["failed: no space"]
        for _ in range(MOST):
            if driver.file is None or driver.seen["failed: no space"] > refused:
                break
            driver.pwritev([self.data_of(length)], len(driver.content))
        if driver.file is not None and not driver.levels:
            driver.commit(durable=durable)


def test_on_a_full_disk_only_writes_are_refused_and_just_what_is_needed_is_reserved() -> None:
    seen = run(BrinkMachine, EXAMPLES // 3, (Phase.explicit, Phase.reuse, Phase.generate))

    for situation in (
        "failed: no space",
        "checkpoint in an open session",
        "spilled in a write",
        "recovered after death",
    ):
        assert seen[situation], f"never came up: {situation}"


def _nothing(patch: Patch, owner: object, name: str) -> None:
    patch(owner, name, lambda *arguments: None)


def _room_stays(patch: Patch) -> None:
    patch(LogSpace, "retain_reservation", lambda self, records, growth: None)


def _only_forgotten(patch: Patch) -> None:
    patch(LogSpace, "_cut", lambda self, size: setattr(self, "allocated", size))


def _all_goes_back(patch: Patch) -> None:
    def mutant(self: LogSpace, records: int, growth: int) -> None:
        if self.file is not None:
            self._records, self._growth = 0, 0
            self._cut(self.owed)

    patch(LogSpace, "retain_reservation", mutant)


def _all_goes_back_unseen(patch: Patch) -> None:
    _all_goes_back(patch)
    _nothing(patch, CachedFile, "assert_space")


def _no_growth_unseen(patch: Patch) -> None:
    _nothing(patch, Growth, "add")
    _nothing(patch, CachedFile, "assert_space")


LEAKS: Final[dict[str, Callable[[Patch], None]]] = {
    "a refused write stays reserved for": lambda patch: _nothing(patch, Growth, "drop"),
    "what was rolled back stays reserved for": lambda patch: _nothing(patch, Growth, "restore"),
    "what was cut stays reserved for": lambda patch: _nothing(patch, Growth, "truncate"),
    "what went home stays reserved for": lambda patch: _nothing(patch, Growth, "restart"),
    "what is idle is kept": lambda patch: _nothing(patch, LogSpace, "_trim"),
    "what is idle is forgotten and not freed": _only_forgotten,
    "what was committed stays promised": _room_stays,
    "what is dirty is given back": _all_goes_back,
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_of_space_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    LEAKS[name](monkeypatch.setattr)

    with pytest.raises(AssertionError, match=r"reserv|S1|S2|allocated|promised"):
        run(BrinkMachine, HUNT, (Phase.generate,))


@pytest.mark.parametrize("kept", [True, False])
def test_a_checkpoint_for_want_of_space_takes_no_cut_back_that_is_not_committed(kept: bool) -> None:
    driver = Driver(b"", capacity=64 * BLOCK)
    driver.open("r+b", folio_size=BLOCK, cache_bytes=64 * BLOCK, commit="explicit")
    driver.truncate(6 * BLOCK + 500)  # zeros, of which no extent knows
    driver.commit(durable=True)
    driver.truncate(2 * BLOCK + 100)
    assert driver.file._inode._reclaim(OSError(errno.ENOSPC, "no space"))
    if kept:
        driver.pwritev([stamp(1, 700)], 2 * BLOCK + 100)
        driver.commit(durable=True)
    else:
        driver.rollback()
        driver.truncate(7 * BLOCK)
        driver.commit(durable=True)
    driver.kill()
    driver.open("r+b")
    driver.close()


def test_a_checkpoint_for_want_of_space_keeps_what_was_reserved_behind_such_a_cut() -> None:
    driver = Driver(b"", capacity=64 * BLOCK)
    driver.open("r+b", folio_size=BLOCK, cache_bytes=64 * BLOCK, commit="explicit")
    driver.truncate(6 * BLOCK)
    driver.commit(durable=True)
    driver.truncate(5 * BLOCK)
    driver.pwritev([stamp(1, BLOCK)], 5 * BLOCK)
    assert driver.file._inode._reclaim(OSError(errno.ENOSPC, "no space"))
    driver.file._inode.assert_space()
    driver.commit(durable=True)
    driver.kill()
    driver.open("r+b")
    driver.close()


def filled() -> None:
    """One file appended to until the disk is full, committed, moved home and closed."""
    for blocks in range(24, 37):
        driver = Driver(b"", capacity=blocks * BLOCK)
        driver.open("r+b", folio_size=BLOCK, cache_bytes=256 * BLOCK, checkpoint_bytes=BLOCK)
        try:
            for index in range(12):
                driver.pwritev([stamp(index, BLOCK)], index * BLOCK)
            assert driver.content, "not one write was taken"
            driver.commit(durable=True)
            driver.close()
        except BaseException:
            driver.kill()
            raise


@pytest.mark.parametrize("plant", [None, _all_goes_back_unseen, _no_growth_unseen])
def test_space_that_is_not_there_when_it_is_needed_is_found_by_what_then_fails(
    plant: Callable[[Patch], None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plant is None:
        filled()
        return
    plant(monkeypatch.setattr)

    with pytest.raises((AssertionError, OSError), match=r"without reservation|found no space|a record would"):
        filled()
