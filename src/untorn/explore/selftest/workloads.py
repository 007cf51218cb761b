"""What the library goes through under the explorer: each a script of sessions on one small file."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from untorn.crashmodel.variables import newest, seeded
from untorn.explore.selftest.scripted_session import BLOCK, Script, stamp
from untorn.log import recovery
from untorn.log.checkpoint import install
from untorn.storage.fault_injection import Fault

SYNCS: Final = ("fdatasync", "fsync")
CHANGES: Final = ("pwritev", "truncate", "setxattr", "removexattr", "unlink", "sync_directory", *SYNCS)


def commits(script: Script) -> None:
    """Durable commits of one range, of several, within a sector, across sectors, of whole folios; a clean close."""
    script.open()
    for serial in range(5):
        script.write(100 + 700 * serial, 60)
        script.commit()
        script.write(BLOCK * (serial % 3) + 500, 600)
        script.write(3 * BLOCK - 10, 20)
        script.commit()
        script.write(BLOCK * (serial % 3), BLOCK)
        script.commit()
        script.write(0, 1)
        script.write(2 * BLOCK, 512)
        script.commit()
    script.close()


def restarts(script: Script) -> None:
    """A log that is full after two or three commits, so that it is checkpointed and restarted again and again."""
    script.open(checkpoint_bytes=4 * BLOCK)
    for serial in range(16):
        script.write(300 * serial, 400)
        script.commit(durable=serial % 4 != 2)
    script.close()


def truncates(script: Script) -> None:
    """Down, up, and down and up within one transaction, over checkpoints: what was cut must not come back."""
    script.open(checkpoint_bytes=3 * BLOCK)
    for serial, (low, high) in enumerate([(BLOCK + 100, 3 * BLOCK), (600, 2 * BLOCK + 1), (0, BLOCK)]):
        with script.transaction():
            script.truncate(low)
            script.truncate(high)
        with script.transaction():
            script.truncate(low)
            script.write(high, 50)
        script.truncate(2 * BLOCK + 700 + serial)
        script.commit()
        with script.transaction():
            script.write(high - 40, 80)
            script.truncate(high - 20)
        script.truncate(3 * BLOCK)
        script.commit(durable=False)
    script.close()


def spills(script: Script) -> None:
    """More dirty data than memory, savepoints, and rollbacks of what has reached the log already."""
    script.open(cache_bytes=8 * BLOCK, checkpoint_bytes=24 * BLOCK)
    for serial in range(2):
        with script.transaction():
            for folio in range(5):
                script.write(folio * BLOCK + 10 * serial, 300)
            with script.transaction(keep=False):
                script.write(BLOCK, 2000)
                with script.transaction():
                    script.write(2 * BLOCK, 700)
            with script.transaction():
                script.write(100, 30)
                script.truncate(3 * BLOCK + serial)
        with script.transaction(keep=False):
            for folio in range(5):
                script.write(folio * BLOCK + 2000, 100)
        script.write(5 * BLOCK - 100, 100)
        script.commit()
    with script.transaction():
        script.write(0, 6 * BLOCK)
    script.close()


def gives_back(script: Script) -> None:
    """Much that is rolled back, cut and handed over: the log gets shorter, and takes commits after that."""
    script.open(cache_bytes=1 << 26, checkpoint_bytes=8 * BLOCK)
    script.write(100, 300)
    script.commit()
    script.write(BLOCK, 300 * BLOCK)  # never written out: what it reserves goes back
    script.rollback()
    script.write(500, 300)
    script.commit(durable=False)
    script.write(2 * BLOCK, 300 * BLOCK)
    script.truncate(3 * BLOCK)
    script.commit()
    script.write(3 * BLOCK, 600)
    script.commit(durable=False)
    script.write(0, 600)
    script.close()


def orders(script: Script) -> None:
    """Commits that only order, between those that are durable, and a rollback of what waits for one."""
    script.open(commit="explicit", checkpoint_bytes=12 * BLOCK)
    for serial in range(12):
        script.write(200 * serial, 512)
        script.commit(durable=serial % 3 == 2)
        if serial % 4 == 1:
            script.write(0, BLOCK)
            script.rollback()
    script.leave()


def grows(script: Script) -> None:
    """A new file: nothing, then more and more of it."""
    script.open("w+b", checkpoint_bytes=8 * BLOCK)
    for serial in range(6):
        script.write(len(script.content), 900 + serial)
        script.commit()
    script.write(4 * BLOCK, 100)
    script.close()
    script.open("a+b", commit="close")
    script.write(len(script.content), 100)
    script.close()


def rewrites(script: Script) -> None:
    """Opened to be written anew: the old content stays until the first commit."""
    script.open("w+b", commit="close")
    script.write(0, 700)
    script.write(BLOCK, 700)
    script.close()
    script.open("w+b", commit="explicit")
    script.write(0, 700)
    script.leave()


def reads(script: Script) -> None:
    """Little enough for a reader to look at every state: it reads what recovery only writes over."""
    script.open()
    script.write(100, 60)
    script.commit()
    script.truncate(BLOCK)
    script.write(2 * BLOCK, 512)
    script.commit(durable=False)
    script.close()


def blocks(script: Script) -> None:
    """Whole blocks only: what a sector that turns to garbage may not take with it is the commit before."""
    script.open(checkpoint_bytes=12 * BLOCK)
    for serial in range(5):
        script.write(serial % 4 * BLOCK, BLOCK)
        script.commit(durable=serial % 3 != 1)
    script.close()


def sessions(script: Script) -> None:
    """Handles one after the other, each closed cleanly, by a commit, by an exception, or with nothing done."""
    for serial in range(3):
        script.open(commit="close")
        script.write(serial * 100, 300)
        script.close()
        script.open()
        script.write(serial * BLOCK, 50)
        script.commit()
        script.write(0, 50)
        script.leave()
    script.open()
    script.close()


def kills(script: Script) -> None:
    """Processes that die with commits in the log, and others that recover these and go on, all in one cache."""
    for serial in range(4):
        script.open(checkpoint_bytes=4 * BLOCK if serial == 2 else 64 * BLOCK)
        for step in range(3):
            script.write(serial * 1000 + step * BLOCK, 600)
            script.commit(durable=step != 1)
        script.write(0, 100)
        script.kill()
    script.open()
    script.close()


def deaths(script: Script) -> None:
    """Processes that die in a checkpoint, in a recovery and in a close, and one that comes after."""
    for nth in (9, 6, 7, 3, 13, 16, 11):

        def session(nth: int = nth) -> None:
            script.open(fault=Fault(nth=nth, names=CHANGES, death=True))
            script.write(nth * 100, 2 * BLOCK)
            script.commit()
            script.write(nth * 50, 100)
            script.close()

        script.meets(session)
    script.open()
    script.write(0, 10)
    script.close()


def fails(script: Script) -> None:
    """Syncs that fail, each in turn, of the log and of home: the cache shows what the disk may never hold."""
    for nth in range(8):
        _failing(script, nth)
        script.open()
        script.close()


def fails_cut(script: Script) -> None:
    """The sync of a checkpoint fails that made the file shorter, between blocks: no write behind it sets its size."""
    for nth in (3, 4, 5):
        _failing(script, nth, cut=(6 - nth) * BLOCK)
        script.open()
        script.close()


def fails_again(script: Script) -> None:
    """Syncs that fail in the recovery of what an earlier failure has left, or soon after."""
    for nth in (3, 2, 0, 1, 4, 5, 6):
        _failing(script, nth)
    script.open()
    script.write(0, 10)
    script.close()


def _failing(script: Script, nth: int, *, cut: int | None = None) -> None:
    """A session whose sync number ``nth`` fails; it cuts the file to ``cut``, or cuts it and lets it grow again."""

    def session() -> None:
        script.open(fault=Fault(nth=nth, names=SYNCS, error=errno.EIO))
        script.write(nth * 100, 700)
        script.truncate(len(script.content) - 1000 + nth if cut is None else cut)
        script.commit(durable=False)
        if cut is None:
            script.write(3 * BLOCK, 10)
        script.close()

    script.meets(session)


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def full_disk() -> Iterator[None]:
    """Recovery finds no space for the file, and none when it has given up the log's spare blocks; a third try finds it.

    Refused by hand, for which blocks a crash leaves is not a question that the explorer asks.
    """
    refusals = iter([OSError(errno.ENOSPC, "no space")] * 2)

    def refused(*arguments: Any) -> int:
        for error in refusals:
            raise error
        return install(*arguments)

    with _replaced(recovery, "install", refused):
        yield


def crowded(script: Script) -> None:
    """A recovery whose copy has taken the last blocks of a full disk, where the file needs them."""
    script.open()
    script.write(3 * BLOCK, BLOCK)
    script.commit()
    script.write(100, 600)
    script.commit()
    script.cut_power(newest)
    with full_disk():
        script.open()
    script.write(BLOCK, 600)
    script.commit(durable=False)
    script.kill()
    with full_disk():
        script.open()
    script.close()


def outages(script: Script) -> None:
    """Power failures between sessions: what follows begins on a disk that one of them left."""
    for seed in (1, 5):
        script.open(checkpoint_bytes=8 * BLOCK)
        for step in range(5):
            script.write(step * 900, 1000)
            script.commit(durable=step != 3)
        script.cut_power(seeded(seed))
    script.open(checkpoint_bytes=8 * BLOCK)
    for step in range(5):
        script.write(step * 900, 1000)
        script.truncate(3 * BLOCK - step)
        script.commit(durable=step != 3)
    script.close()


def edits(script: Script) -> None:
    """Another program writes the file: between sessions, where nothing waits in a log."""
    script.open()
    script.write(0, 600)
    script.close()
    script.edit(stamp(2, 2 * BLOCK))
    script.open()
    script.write(BLOCK, 600)
    script.commit()
    script.write(BLOCK, 100)
    script.commit(durable=False)
    script.kill()
    script.open()
    script.close()


def edited_hot(script: Script) -> None:
    """Another program writes the file while commits to it wait in the log of a dead process."""
    script.open()
    script.write(0, 600)
    script.commit()
    script.write(BLOCK, 600)
    script.commit()
    script.kill()
    script.edit(stamp(2, 2 * BLOCK))


def edited_open(script: Script) -> None:
    """Another program writes the file while it is open here and has commits in the log."""
    script.open()
    script.write(0, 600)
    script.commit()
    script.edit(stamp(2, 2 * BLOCK))
    script.meets(script.close)


def edited_early(script: Script) -> None:
    """Another program writes the file after it was opened here and before anything was logged."""
    script.open()
    script.write(0, 600)
    script.edit(stamp(2, 2 * BLOCK))
    script.meets(script.commit)
    script.kill()


def closes(script: Script) -> None:
    """Every way back to an ordinary file: close, rollback at the end, recovery; and one that had little to do."""
    script.open()
    script.write(0, 600)
    script.close()
    script.open()
    script.write(0, 600)
    script.leave()
    script.open()
    script.write(BLOCK, 600)
    script.commit()
    script.kill()
    script.recover()
    script.open()
    script.write(BLOCK, 600)
    script.kill()
    script.recover()


def discards(script: Script) -> None:
    """Commits that wait in a log are given up, by the user's word, and must not come back."""
    script.open()
    script.write(0, 600)
    script.commit()
    script.write(BLOCK, 600)
    script.commit()
    script.kill()
    script.discard()


def takes_over(script: Script) -> None:
    """A durable commit that changes nothing: what it acknowledges is another program's work, and was not synced."""
    script.scribble(stamp(2, 2 * BLOCK))
    script.open()
    script.commit_scribble()
    script.kill()


def in_place(script: Script) -> None:
    """Commits of one range that the device writes whole, in home itself, between commits through the log."""
    script.open(checkpoint_bytes=3 * BLOCK)
    for serial in range(3):
        script.write(serial * BLOCK, BLOCK)
        script.commit()
        script.write((serial + 1) % 3 * BLOCK, BLOCK)
        script.commit()
        script.write(100, 50)
        script.write(BLOCK + 100, 50)
        script.commit(durable=serial != 1)
    script.write(0, BLOCK)
    script.close()
