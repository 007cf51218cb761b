"""Racing contenders against one another, and what is kept of it."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Page = tuple[int, bytes]
"""An offset and the bytes to write there."""

Run = Callable[[], float]
"""Does one piece of work and returns the seconds that the measured part of it took."""

KIB = 1 << 10
MIB = 1 << 20
_POOL = 8 * MIB


@dataclass(frozen=True)
class Series:
    """The times of one contender, in seconds."""

    median_s: float
    min_s: float
    runs: int


@dataclass(frozen=True)
class Cell:
    """One race: the same work by every contender."""

    label: str
    page: int
    """Bytes of one write."""
    count: int
    """Writes per commit, or per whatever is timed at once."""
    user_bytes: int
    """What the program wrote or read in the time that was taken."""
    times: dict[str, Series]

    def ratio(self, one: str, other: str, *, least: bool = False) -> float:
        """Time of ``one`` in times of ``other``, by medians or by the least times."""
        a, b = self.times[one], self.times[other]
        return a.min_s / b.min_s if least else a.median_s / b.median_s


def race(
    contenders: Mapping[str, Run], rounds: int, *, warm_up: int = 1, lead: int = 0, runs: int = 1
) -> dict[str, Series]:
    """Every contender has one turn a round; each round begins with another, and every second one goes backwards.

    The first ``warm_up`` rounds do not count, nor do the first ``lead`` runs of a turn: those find the processor's
    caches full of what the contender before had there. The next ``runs`` do.
    """
    names = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        first = number % len(names)
        order = names[first:] + names[:first]
        if number % 2:
            order.reverse()
        for name in order:
            turn = [contenders[name]() for _ in range(lead + runs)]
            if number >= 0:
                times[name] += turn[lead:]
    return {name: Series(statistics.median(all_), min(all_), len(all_)) for name, all_ in times.items()}


class Source:
    """Random pages, the same ones in every run of the benchmark."""

    def __init__(self, file_bytes: int, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._file_bytes = file_bytes
        self._pool = self._random.randbytes(_POOL)

    def data(self, length: int) -> bytes:
        """New bytes of random content."""
        start = self._random.randrange(_POOL - length)
        return self._pool[start : start + length]

    def pages(self, page: int, count: int) -> list[Page]:
        """Distinct pages of the file in random order."""
        indices = self._random.sample(range(self._file_bytes // page), count)
        return [(index * page, self.data(page)) for index in indices]


def size_text(size: int) -> str:
    """Bytes as a person writes them."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def progress(text: str) -> None:
    """Says on stderr what is being measured."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
