"""What the designs are compared on: named workloads, each as a short one to explore and a long one to count.

A step says what the program needs, not how it asks for it: ``unit`` is the page that must not tear. How many calls
that takes depends on what the design offers; :mod:`untorn.debate.compare.runner` finds out as a program would, by
statx.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

K: Final = 1024
BLOCK: Final = 4 * K
PAGE: Final = 8 * K
COMBINED: Final = 128 * K
"""PostgreSQL's io_combine_limit."""
_SEED: Final = 1


class Step(NamedTuple):
    """One thing that a program does: a write, or a sync."""

    kind: str
    """write, append or sync."""
    offset: int = 0
    length: int = 0
    unit: int = 0
    """Bytes that must not tear, in each naturally aligned piece of that size; 0: the write is a plain one."""


SYNC: Final = Step("sync")
Steps = tuple[Step, ...]


def atomic(offset: int, length: int, unit: int = 0) -> Step:
    """A write whose pages of ``unit`` bytes, by default all of it, must not tear."""
    return Step("write", offset, length, unit or length)


def plain(offset: int, length: int) -> Step:
    """A write of which nothing is asked."""
    return Step("write", offset, length)


def append(offset: int, length: int) -> Step:
    """A record behind the end of the file, which is at ``offset``."""
    return Step("append", offset, length, length)


@dataclass(frozen=True)
class Workload:
    """Steps on one file, which is closed at the end."""

    name: str
    words: str
    short_size: int
    """Of the file at the start, in bytes; also the next one."""
    short: Steps
    long_size: int
    long: Steps
    generated: str = ""
    """If it stands for something that was not recorded: by which pattern it was made."""


def _random(unit: int, every: int, chance: Random) -> Steps:
    pages = (8 << 20) // unit
    return _synced([atomic(chance.randrange(pages) * unit, unit) for _ in range(192)], every)


def _synced(steps: Sequence[Step], every: int) -> Steps:
    found: list[Step] = []
    for at, step in enumerate(steps, 1):
        found.append(step)
        if at % every == 0:
            found.append(SYNC)
    return tuple(found)


def _combined(chance: Random) -> Steps:
    places = chance.sample(range((8 << 20) // COMBINED), 24)
    return _synced([atomic(place * COMBINED, COMBINED, PAGE) for place in places], every=4)


def _mixed(overlapping: bool) -> Callable[[Random], Steps]:
    def make(chance: Random) -> Steps:
        steps = []
        for _ in range(96):
            page = chance.randrange(256) * 2 * PAGE
            steps += [atomic(page, PAGE), plain(page if overlapping else page + PAGE, BLOCK)]
        return _synced(steps, every=16)

    return make


def _hot(chance: Random) -> Steps:
    return _synced([atomic(chance.randrange(8) * PAGE, PAGE) for _ in range(192)], every=32)


def _checkpoint(chance: Random) -> Steps:
    dirty = sorted(chance.sample(range(1024), 96)) + list(range(1024, 1072))
    runs: list[tuple[int, int]] = []
    for page in dirty:
        first, count = runs[-1] if runs else (-1, 0)
        if count and page == first + count and count < COMBINED // PAGE:
            runs[-1] = (first, count + 1)
        else:
            runs.append((page, 1))
    return (*(atomic(first * PAGE, count * PAGE, PAGE) for first, count in runs), SYNC)


def _workloads() -> list[Workload]:
    def long(make: Callable[[Random], Steps]) -> Steps:
        return make(Random(_SEED))

    def at_random(unit: int, every: int, often: str) -> Workload:
        short = _synced([atomic(page * unit, unit) for page in (1, 3, 1)], min(every, 2))
        return Workload(
            f"random-{unit // K}k", f"{unit // K} KiB pages at random, each an atomic write, {often}", 4 * unit,
            short if short[-1] is SYNC else (*short, SYNC), 8 << 20, long(lambda chance: _random(unit, every, chance)),
        )  # fmt: skip

    return [
        at_random(PAGE, 16, "with a sync now and then"),
        at_random(2 * PAGE, 1, "each with a sync of its own"),
        Workload(
            "combined", "8 KiB pages that must not tear, within writes of 128 KiB, as PostgreSQL combines them",
            COMBINED, (atomic(0, COMBINED, PAGE), SYNC), 8 << 20, long(_combined),
        ),
        Workload(
            "mixed-apart", "atomic pages of 8 KiB and plain writes of 4 KiB beside them, in one file",
            4 * PAGE, (atomic(0, PAGE), plain(PAGE, BLOCK), atomic(2 * PAGE, PAGE), SYNC), 8 << 20,
            long(_mixed(overlapping=False)),
        ),
        Workload(
            "mixed-overlapping", "atomic pages of 8 KiB, and plain writes of 4 KiB over parts of them before the sync",
            4 * PAGE, (atomic(0, PAGE), plain(0, BLOCK), atomic(2 * PAGE, PAGE), SYNC), 8 << 20,
            long(_mixed(overlapping=True)),
        ),
        Workload(
            "appends", "a log file: records of 8 KiB behind the end, each with a sync",
            PAGE, _synced([append(at * PAGE, PAGE) for at in (1, 2, 3)], every=1), 64 * K,
            _synced([append(64 * K + at * PAGE, PAGE) for at in range(96)], every=1),
        ),
        Workload(
            "hot", "a few pages of 8 KiB, each overwritten several times between two syncs",
            4 * PAGE, (atomic(PAGE, PAGE), atomic(PAGE, PAGE), atomic(PAGE, PAGE), SYNC, atomic(PAGE, PAGE), SYNC),
            8 << 20, long(_hot),
        ),
        Workload(
            "checkpoint", "a PostgreSQL checkpoint: dirty 8 KiB pages in block order, neighbours in one write, a sync",
            8 * PAGE, (atomic(0, PAGE), atomic(2 * PAGE, 3 * PAGE, PAGE), atomic(7 * PAGE, PAGE), SYNC), 9 << 20,
            long(_checkpoint),
            "generated, not recorded, by the pattern that PostgreSQL documents: BufferSync writes dirty buffers in the "
            "order of file and block, io_combine_limit (128 KiB) bounds what is combined, one fsync a file follows",
        ),
    ]  # fmt: skip


WORKLOADS: Final = {workload.name: workload for workload in _workloads()}
