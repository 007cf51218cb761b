"""How fast both are on real files: the same pages and the same bytes, by turns."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from untorn.api.functions import open as untorn_open
from untorn.demo.cuts import Tick
from untorn.demo.subject import Subject

PAGE: Final = 16384
_TURN: Final = 8
"""Commits of one before it is the other's turn."""


@dataclass(frozen=True)
class SpeedEffort:
    """How many commits are timed, after how many that are not: a log that was used before is faster.

    By default the log fills in 64 commits, so two checkpoints are in the timed ones.
    """

    warm: int = 64
    commits: int = 128
    pages: int = 64
    """In each commit, PAGE bytes each."""
    limit_s: float = 12.0
    """On a slow disk fewer commits are timed."""


@dataclass(frozen=True)
class Speed:
    """Bytes made durable per second."""

    pages: int
    """In each commit, of 16 KiB each."""
    commits: int
    """That were timed."""
    plain: float
    """By the median time of a commit."""
    untorn: float
    plain_total: float
    """By the time of all commits, with what belongs to them: untorn's checkpoints and close."""
    untorn_total: float

    @property
    def ratio(self) -> float:
        """How many times as fast as the plain writer untorn commits."""
        return self.untorn / self.plain

    @property
    def ratio_total(self) -> float:
        """The same, with checkpoints and close."""
        return self.untorn_total / self.plain_total


class _Write(NamedTuple):
    data: bytes
    offset: int


@dataclass
class _Runner:
    """One of the two, and its times in seconds."""

    write: Callable[[bytes, int], object]
    commit: Callable[[], object]
    close: Callable[[], object]
    times: list[float] = field(default_factory=list)
    close_time: float = 0.0

    def run(self, writes: Sequence[_Write]) -> None:
        start = time.perf_counter()
        for data, offset in writes:
            self.write(data, offset)
        self.commit()
        self.times.append(time.perf_counter() - start)

    def end(self) -> None:
        start = time.perf_counter()
        self.close()
        self.close_time = time.perf_counter() - start


def measure(subject: Subject, effort: SpeedEffort, seed: int, tick: Tick) -> Speed:
    """Overwrites pages in place, plainly and through untorn, each in a copy of its own."""
    count = len(subject.original) // PAGE
    pages = min(effort.pages, count)
    other = subject.path + "-plain"
    with open(other, "wb") as file:
        file.write(subject.original)
        os.fsync(file.fileno())
    runners = plain, untorn = _plain(other), _untorn(subject.path)
    total = effort.warm + effort.commits
    limit = time.monotonic() + effort.limit_s
    commits = _commits(random.Random(seed), count, pages, total)
    for start in range(0, total, _TURN):
        turn = [next(commits) for _ in range(min(_TURN, total - start))]
        for runner in runners:
            for writes in turn:
                runner.run(writes)
        tick(min(start + _TURN, total) / total)
        if time.monotonic() > limit and start + _TURN >= total // 4:
            break
    for runner in runners:
        runner.end()
    os.unlink(other)
    tick(1.0)
    size = pages * PAGE
    warm = min(effort.warm, len(plain.times) // 2)
    timed = len(plain.times) - warm

    def median(runner: _Runner) -> float:
        return size / statistics.median(runner.times[warm:])

    def mean(runner: _Runner) -> float:
        return size * timed / (sum(runner.times[warm:]) + runner.close_time)

    return Speed(pages, timed, median(plain), median(untorn), mean(plain), mean(untorn))


def _commits(chance: random.Random, count: int, pages: int, total: int) -> Iterator[list[_Write]]:
    """Each commit's writes: distinct random pages."""
    for _ in range(total):
        yield [_Write(chance.randbytes(PAGE), page * PAGE) for page in chance.sample(range(count), pages)]


def _plain(path: str) -> _Runner:
    """pwrite, and one fdatasync per commit: what most programs do, and what tears."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    return _Runner(
        lambda data, offset: os.pwrite(descriptor, data, offset),
        lambda: os.fdatasync(descriptor),
        lambda: os.close(descriptor),
    )


def _untorn(path: str) -> _Runner:
    file = untorn_open(path, "r+b", commit="explicit")
    return _Runner(file.pwrite, file.commit, file.close)
