"""Crashes that chance seldom finds, one story each; and the planted defects that only they show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest

from tests.defects.catalogue import DEFECTS
from tests.defects.finders import BY_STORY
from tests.support.crash_driver import Driver
from tests.support.crash_ground import PATH
from tests.support.file_history import stamp
from untorn.crashmodel.variables import newest, oldest, seeded

BLOCK: Final = 4096
SMALL: Final[dict[str, Any]] = {"folio_size": BLOCK, "cache_bytes": 64 * BLOCK}
SYNCS: Final = ("fdatasync", "fsync")

Story = Callable[[], Iterator[Driver]]
"""Yields drivers; the power of each is then cut, and the file looked at."""


def judge(story: Story) -> int:
    """Cuts the power of every machine of the story; AssertionError or OSError if a file is not as it must be."""
    cuts = 0
    for driver in story():
        assert driver.file is None or driver.levels == []
        for _ in range(2):  # what was recovered stays
            driver.cut_power(oldest)
            assert driver.open("r+b")
            driver.close()
        cuts += 1
    return cuts


def a_torn_record() -> Iterator[Driver]:
    """A commit that was not synced: its header survives and its payload does not, or the other way."""
    for seed in range(60):
        driver = Driver(stamp(1, 5 * BLOCK))
        driver.open("r+b", **SMALL)
        driver.pwritev([stamp(2, 100)], 10)
        driver.commit(durable=True)
        driver.pwritev([stamp(3, 700)], BLOCK)
        driver.commit(durable=False)
        driver.cut_power(seeded(seed))
        yield driver


def a_log_used_again() -> Iterator[Driver]:
    """New records that were not synced, over those of an older generation."""
    for seed in range(60):
        driver = Driver(stamp(1, 5 * BLOCK))
        driver.open("r+b", log_bytes=4 * BLOCK, **SMALL)
        for serial in range(3):  # the third one brings the checkpoint, and the log starts again
            driver.pwritev([stamp(10 + serial, 100)], serial * 50)
            driver.commit(durable=True)
        assert driver.file.stats()["checkpoints"] == 1
        driver.pwritev([stamp(20, BLOCK)], BLOCK)
        driver.commit(durable=False)
        driver.cut_power(seeded(seed))
        yield driver


def a_failed_sync_and_a_cut_recovery() -> Iterator[Driver]:
    """The record of a commit whose sync failed is in the cache only; recovery accepts it and is cut off itself."""
    for nth in range(45):
        for choose in (oldest, seeded(nth)):
            driver = Driver(stamp(1, 3 * BLOCK))
            driver.open("r+b", **SMALL)
            driver.pwritev([stamp(2, 100)], 10)
            driver.commit(durable=True)
            driver.pwritev([stamp(3, 600)], BLOCK)
            driver.plant("failed sync", nth=0, names=SYNCS, error=5)
            driver.commit(durable=True)
            assert driver.file is None
            driver.plant("death", nth=nth, death=True)
            driver.open("r+b")
            driver.cut_power(choose)
            yield driver


def a_cut_whose_sync_failed(*, grow: bool) -> Iterator[Driver]:
    """The sync of a checkpoint that cut the file failed: what it cut may still be on disk, behind a clean cache."""
    for choose in (oldest, newest):
        for nth in range(6):
            driver = Driver(stamp(1, 3 * BLOCK))
            driver.open("r+b", **SMALL)
            driver.begin()
            # Cut within a block, home has its size from the write of that block, which is in the log.
            driver.truncate(BLOCK + 100 if grow else BLOCK)
            if grow:
                driver.truncate(3 * BLOCK)
            driver.end(keep=True)
            driver.plant("failed sync", nth=nth, names=SYNCS, error=5)
            driver.close()
            driver.open("r+b", **SMALL)
            if grow:
                driver.truncate(3 * BLOCK)
            driver.close()
            driver.cut_power(choose)
            yield driver


def a_kill_in_a_checkpoint_and_a_cut_recovery() -> Iterator[Driver]:
    """Home's time as the killed checkpoint left it is not durable; recovery must not take it for home's."""
    for death in range(12):
        for nth in range(0, 40, 3):
            driver = Driver(stamp(1, 3 * BLOCK))
            driver.open("r+b", **SMALL)
            driver.pwritev([stamp(2, 2 * BLOCK)], 100)
            driver.commit(durable=True)
            driver.plant("death", nth=death, names=("pwritev", *SYNCS), death=True)
            driver.close()
            driver.plant("death", nth=nth, death=True)
            driver.open("r+b")
            driver.cut_power(oldest)
            yield driver


def a_rolled_back_spill() -> Iterator[Driver]:
    """What a savepoint brought to the log and an exception took back, before a commit that stays."""
    for durable in (True, False):
        driver = Driver(stamp(1, 3 * BLOCK))
        driver.open("r+b", commit="explicit", **SMALL)
        driver.begin()
        driver.pwritev([stamp(2, 100)], 0)
        driver.begin()
        driver.pwritev([stamp(3, 100)], BLOCK)
        driver.begin()
        driver.end(keep=True)
        driver.end(keep=False)
        driver.pwritev([stamp(4, 100)], 2 * BLOCK)
        driver.end(keep=True)
        driver.commit(durable=durable)
        driver.kill()
        assert driver.open("r+b")
        driver.close()
        yield driver


def an_edit_before_the_first_commit() -> Iterator[Driver]:
    """Another program writes the file after it was opened here and before anything was logged."""
    driver = Driver(stamp(1, 3 * BLOCK))
    driver.open("r+b", **SMALL)
    driver.pwritev([stamp(2, 100)], 10)
    driver.edit(stamp(3, 2 * BLOCK))
    yield driver


STORIES: Final[dict[str, Story]] = {
    "a torn record": a_torn_record,
    "a log used again": a_log_used_again,
    "a failed sync and a cut recovery": a_failed_sync_and_a_cut_recovery,
    "a cut whose sync failed": partial(a_cut_whose_sync_failed, grow=False),
    "a cut and growth whose sync failed": partial(a_cut_whose_sync_failed, grow=True),
    "a kill in a checkpoint and a cut recovery": a_kill_in_a_checkpoint_and_a_cut_recovery,
    "a rolled-back spill": a_rolled_back_spill,
    "an edit before the first commit": an_edit_before_the_first_commit,
}


@pytest.mark.parametrize("name", STORIES)
def test_the_file_is_one_commit_after(name: str) -> None:
    assert judge(STORIES[name])


@pytest.mark.parametrize(("defect", "name"), BY_STORY.items())
def test_the_story_shows_a_planted_defect(defect: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DEFECTS[defect].plant(monkeypatch.setattr)

    with pytest.raises((AssertionError, OSError)):
        judge(STORIES[name])


def test_a_mark_is_not_needed_to_notice_an_edit() -> None:
    driver = Driver(stamp(1, BLOCK), xattrs=False)
    driver.open("r+b", **SMALL)
    driver.pwritev([b"new"], 0)
    driver.commit(durable=True)
    driver.kill()
    driver.edit(b"another program's")
    assert driver.machine.read_file(PATH) == b"another program's"
    assert driver.seen["edit of a hot file refused at open"] == 1


def test_a_transaction_in_which_nothing_happened_commits_nothing() -> None:
    driver = Driver(stamp(1, BLOCK))
    driver.open("r+b", **SMALL)
    driver.begin()
    driver.begin()
    driver.end(keep=False)
    driver.end(keep=True)
    assert driver.file.stats()["commits"] == 0
    driver.close()
