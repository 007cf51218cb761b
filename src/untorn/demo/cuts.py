"""Power cuts at every operation, in simulation: which disks may be left, and what is in the file then.

The work is recorded once, on simulated storage. At each moment of it (before the first operation, while one is
under way, after each) the persistence rules say which values every sector, size, name and attribute may have.
Where these make few disks all are tried, elsewhere a seeded sample: nothing of what was open reached the disk,
all of it, all but one value, only one, and any mix. A disk that was tried at an earlier moment is not tried again.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from xxhash import xxh3_128_digest

from untorn.frontends.api import open as untorn_open
from untorn.storage.simulated import SimulatedStorage
from untorn.storage.variables import Choose, Legal, Value, Variable, newest, oldest, seeded

PATH: Final = "/file"
PAGE: Final = 4096
EXCERPT: Final = 1 << 18
"""Bytes of the file that the simulated disk holds."""

_LOG_BYTES: Final = 1 << 16
"""Small, so that checkpoints fall into the work and not only at its end."""

Tick = Callable[[float], None]
"""Is told which part of the work is done, from 0 to 1."""


class Kind(StrEnum):
    """How the pages are overwritten."""

    PLAIN = "plain"
    UNTORN = "untorn"


@dataclass(frozen=True)
class CutEffort:
    """How much is written and how much of what may be left of it is tried."""

    commits: int = 8
    pages: int = 3
    """Overwritten in each commit, PAGE bytes each."""
    samples: int = 12
    """Most disks tried at one moment."""


@dataclass(frozen=True)
class Cuts:
    """What the power cuts left. Counts of distinct disks."""

    kind: Kind
    operations: int
    moments: int
    """At which the power was cut."""
    moments_complete: int
    """At which every disk that may be left was tried."""
    states_log2: float
    """Disks that may be left, over all moments."""
    tried: int
    torn: int
    """The file matches no commit."""
    lost: int
    """It matches one older than the last that was acknowledged."""
    refused: int
    """It could not be opened, or was left with something beside it."""
    example: str
    """The first bad one, in words."""

    @property
    def bad(self) -> int:
        """Disks in which the file is neither the old nor the new commit."""
        return self.torn + self.lost + self.refused

    @property
    def complete(self) -> bool:
        """Whether every disk that may be left was tried."""
        return self.moments_complete == self.moments


@dataclass(frozen=True)
class _Work:
    """What was recorded, and the file's content after each commit."""

    storage: SimulatedStorage
    commits: list[bytes]

    def acknowledged(self, at: int) -> int:
        """The last commit that the program was told of by moment ``at``."""
        told = (one for one in self.storage.trace.operations if one.name == "acknowledge" and one.issued <= at)
        return max((one.arguments[0] for one in told), default=0)


def cut_power(kind: Kind, data: bytes, effort: CutEffort, seed: int, tick: Tick) -> Cuts:
    """Overwrites pages of a file that holds ``data``, then cuts the power at every moment of that."""
    work = _record(kind, data, effort, seed)
    storage = work.storage
    last = storage.trace.now
    verdicts: Counter[str] = Counter()
    seen: set[bytes] = set()
    complete, example = 0, ""
    for at in range(last + 1):
        choices, whole = _choices(storage.history(at).undetermined(), effort.samples, seed + at)
        complete += whole
        for choose in choices:
            cut = storage.power_cut(choose, at)
            print_of_disk = _fingerprint(cut)
            if print_of_disk in seen:
                continue
            seen.add(print_of_disk)
            verdict, words = _judge(kind, cut, work, at)
            verdicts[verdict] += 1
            if words and not example:
                example = f"{words} (power cut after event {at} of {last})"
        tick((at + 1) / (last + 1))
    operations = sum(one.name != "acknowledge" for one in storage.trace.operations)
    return Cuts(
        kind, operations, last + 1, complete, states_log2(storage.history(last).table(), last), len(seen),
        verdicts["torn"], verdicts["lost"], verdicts["refused"], example,
    )  # fmt: skip


def _record(kind: Kind, data: bytes, effort: CutEffort, seed: int) -> _Work:
    """Does the work once, on a disk that only holds the file."""
    storage = SimulatedStorage(seed=seed)
    storage.write_file(PATH, data)
    chance = random.Random(seed)
    commits = [data]
    write, commit, close = _writer(kind, storage)
    for number in range(1, effort.commits + 1):
        content = bytearray(commits[-1])
        for page in chance.sample(range(len(data) // PAGE), effort.pages):
            new = chance.randbytes(PAGE)
            write(new, page * PAGE)
            content[page * PAGE : (page + 1) * PAGE] = new
        commits.append(bytes(content))
        commit()
        storage.acknowledge(number)
    close()
    return _Work(storage, commits)


def _writer(
    kind: Kind, storage: SimulatedStorage
) -> tuple[Callable[[bytes, int], object], Callable[[], object], Callable[[], object]]:
    """How to write a page, to commit and to close."""
    if kind is Kind.UNTORN:
        file = untorn_open(PATH, "r+b", commit="explicit", folio_size=PAGE, log_bytes=_LOG_BYTES, storage=storage)
        return file.pwrite, file.commit, file.close
    import os

    plain = storage.open(PATH, os.O_RDWR)
    return lambda data, offset: plain.write([data], offset), plain.fdatasync, plain.close
