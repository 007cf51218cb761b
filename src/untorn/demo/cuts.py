"""Power cuts at every operation, in simulation: which disks may be left, and what is in the file then.

The work is recorded once, on simulated storage. At each moment of it (before the first operation, while one is
under way, after each) the persistence rules say which values every sector, size, name and attribute may have.
Where these make few disks all are tried, elsewhere a seeded sample: nothing of what was open reached the disk,
all of it, all but one value, only one, and any mix. A disk that was tried at an earlier moment is not tried again.
"""

from __future__ import annotations

import itertools
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from xxhash import xxh3_128_digest

from untorn.api.functions import open as untorn_open
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import Choose, Legal, Value, Variable, newest, oldest, seeded
from untorn.sizes import SECTOR

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
    samples: int = 24
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
        file = untorn_open(
            PATH, "r+b", commit="explicit", folio_size=PAGE, checkpoint_bytes=_LOG_BYTES, storage=storage
        )
        return file.pwrite, file.commit, file.close
    plain = storage.open(PATH, os.O_RDWR)
    return lambda data, offset: plain.write([data], offset), plain.fdatasync, plain.close


def _fingerprint(storage: SimulatedStorage) -> bytes:
    """Tells disks apart: names, contents, attributes, sizes, times."""
    parts = []
    for name in storage.listdir("/"):
        info = storage.stat(f"/{name}")
        content = xxh3_128_digest(storage.read_file(f"/{name}"))
        attributes = sorted(storage.attributes(f"/{name}").items())
        parts.append((name, info.inode, info.mode, info.gid, info.size, info.mtime_ns, content, attributes))
    return xxh3_128_digest(repr(parts).encode())


def _choices(undetermined: Mapping[Variable, Sequence[Value]], samples: int, seed: int) -> tuple[list[Choose], bool]:
    """Ways to choose among what a power cut may leave, and whether these are all."""
    variables = list(undetermined)
    if math.prod(map(len, undetermined.values())) <= samples:
        ranges = [range(len(undetermined[variable])) for variable in variables]
        every = itertools.product(*ranges)
        return [_fixed(dict(zip(variables, indices, strict=True))) for indices in every], True
    chance = random.Random(seed)
    choices: list[Choose] = [oldest, newest]
    while len(choices) < samples:
        variable = chance.choice(variables)
        match len(choices) % 4:
            case 0:
                choices.append(_but_one(newest, variable, oldest))
            case 1:
                choices.append(_but_one(oldest, variable, newest))
            case _:
                choices.append(seeded(chance.getrandbits(64)))
    return choices[:samples], False


def _fixed(indices: Mapping[Variable, int]) -> Choose:
    return lambda variable, legal: indices[variable]


def _but_one(most: Choose, one: Variable, other: Choose) -> Choose:
    return lambda variable, legal: (other if variable == one else most)(variable, legal)


def _judge(kind: Kind, cut: SimulatedStorage, work: _Work, at: int) -> tuple[str, str]:
    """Whether the file is a commit at or after the last acknowledged one: a verdict, and words if it is not."""
    least = work.acknowledged(at)
    if kind is Kind.UNTORN:
        try:
            with untorn_open(PATH, "r+b", storage=cut) as file:
                content = file.read()
        # Whatever an open raises after a power cut, the user has no file: that is the finding.
        except Exception as error:
            return "refused", f"it could not be opened: {type(error).__name__}: {error}"
        if cut.listdir("/") != [os.path.basename(PATH)] or cut.read_file(PATH) != content:
            return "refused", "recovery did not leave one ordinary file"
    else:
        content = cut.read_file(PATH)
    if content in work.commits[least:]:
        return "whole", ""
    if content in work.commits[:least]:
        return "lost", f"commit {least} was acknowledged and is lost"
    return "torn", _tear(content, work.commits[least], work.commits[min(least + 1, len(work.commits) - 1)])


def _tear(content: bytes, old: bytes, new: bytes) -> str:
    """How much of the new commit there is."""
    starts = range(0, len(new), SECTOR)
    changed = [at for at in starts if old[at : at + SECTOR] != new[at : at + SECTOR]]
    there = sum(content[at : at + SECTOR] == new[at : at + SECTOR] for at in changed)
    return f"{there} of the {len(changed)} sectors of a commit are new, the others old"


def states_log2(table: Mapping[Variable, Sequence[Legal]], last: int) -> float:
    """How many disks may be left by a power cut at any of the moments 0 to ``last``, as a power of two.

    A choice of one value for each variable is a disk if there is a moment at which all are legal; it is counted
    at the first one, where all are legal and not all of them were a moment before.
    """
    chains = [merged for chain in table.values() if len(merged := _merged(chain)) > 1]
    total = 1
    for at in range(1, last + 1):
        now = before = 1
        for chain in chains:
            legal = [one.since for one in chain if one.since <= at < one.until]
            now *= len(legal)
            before *= sum(since < at for since in legal)
        total += now - before
    return math.log2(total)


def _merged(chain: Sequence[Legal]) -> list[Legal]:
    """Equal values that follow one another, as one."""
    result: list[Legal] = []
    for one in chain:
        if result and result[-1].value == one.value:
            result[-1] = Legal(one.value, result[-1].since, max(result[-1].until, one.until))
        else:
            result.append(one)
    return result
