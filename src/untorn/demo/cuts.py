"""Power cuts at every operation, in simulation: is the file one commit, whatever a cut may leave?

Pages of a file are overwritten once on a simulated machine. The explorer then cuts the power after every operation,
and once more within each recovery, and has every state checked that may be left. Plain writes are explored by the same
check: they are the control, for a check that cannot see them tear could not see untorn tear either.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from untorn.api import functions as api
from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import UntornWarning
from untorn.sizes import SECTOR

if TYPE_CHECKING:  # what only runs writers and measures does not wait for the explorer
    from untorn.explore.result import Counterexample, Result
    from untorn.explore.targets.protocol import Acknowledged

PATH: Final = "/file"
PAGE: Final = 4096
EXCERPT: Final = 1 << 18
"""Bytes of the file that the simulated disk holds."""

_LOG_BYTES: Final = 1 << 16
"""Small, so that checkpoints fall into the work and not only at its end."""

_SECONDS: Final = 300.0
"""Many times as long as it takes; what takes longer, by a defect of ours, is not certified."""

Tick = Callable[[float], None]
"""Is told which part of the work is done, from 0 to 1."""


class Kind(StrEnum):
    """How the pages are overwritten."""

    PLAIN = "plain"
    UNTORN = "untorn"


class TornError(Exception):
    """The file is no commit."""


@dataclass(frozen=True)
class CutEffort:
    """How much is written."""

    commits: int = 8
    pages: int = 3
    """Overwritten in each commit, PAGE bytes each."""


@dataclass(frozen=True)
class Cuts:
    """What the explorer found."""

    kind: Kind
    operations: int
    states: int
    """That the power cuts may leave, those within recovery among them; 0 if they were not counted."""
    log2_states: float
    recoveries: int
    """Runs of recovery and check; each stands for all states that it cannot tell apart."""
    nested: int
    """Of the recoveries, those after a crash inside recovery."""
    certified: bool
    """Whether a second, separate count confirms that no state was left out, and none is bad."""
    verdict: str
    bad: int
    """Recoveries after which the file was neither the old nor the new commit."""
    torn: bool
    """Whether it was no commit at all after some of them."""
    example: str
    """The shortest way to a bad state, in words."""


def cut_power(kind: Kind, data: bytes, effort: CutEffort, seed: int, tick: Tick, jobs: int = 0) -> Cuts:
    """Overwrites pages of a file that holds ``data``, and explores every power cut; ``jobs`` as for ``explore``.

    Plain writes are explored to the end, untorn ones until something is bad.
    """
    from untorn.explore import Budget, explore

    result = explore(
        Overwriting(kind, data, effort, seed), recovery_crashes=1, budget=Budget(_SECONDS), jobs=jobs,
        keep_going=kind is Kind.PLAIN,
        report=lambda found: tick(found.recoveries / max(1, found.recoveries + found.waiting)),
    )  # fmt: skip
    if result.interrupted:
        raise KeyboardInterrupt
    return _cuts(kind, result, effort)


@dataclass
class Overwriting:
    """What is explored. ``record`` sets the commits, and the ranges of bytes that are new or old together."""

    kind: Kind
    data: bytes
    effort: CutEffort
    seed: int
    commits: list[bytes] = field(default_factory=list)
    """The file's content at first and after each commit."""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """A sector each where they differ, and what lies between; up to a byte behind the end."""

    @property
    def name(self) -> str:
        return f"{self.kind} writes"

    def record(self) -> SimulatedStorage:
        storage = SimulatedStorage(seed=self.seed)
        storage.write_file(PATH, self.data)
        chance = random.Random(self.seed)
        self.commits = [self.data]
        write, commit, close = _writer(self.kind, storage)
        for number in range(1, self.effort.commits + 1):
            storage.acknowledge(("begin", number))
            content = bytearray(self.commits[-1])
            for page in chance.sample(range(len(self.data) // PAGE), self.effort.pages):
                content[page * PAGE : (page + 1) * PAGE] = new = chance.randbytes(PAGE)
                write(new, page * PAGE)
            self.commits.append(bytes(content))
            commit()
            storage.acknowledge(("durable", number))
        close()
        self.ranges = _ranges(self.commits)
        return storage

    def recover(self, storage: SimulatedStorage) -> None:
        if self.kind is Kind.UNTORN:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UntornWarning)
                api.recover(PATH, storage=storage)

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        """One ordinary file, which is a commit, no older than acknowledged and no younger than begun.

        It is read sector by sector until no commit is left that it could be: what lies behind matters no more.
        """
        from untorn.explore.oracles import commit_is_in_time, stands_alone

        stands_alone(storage, PATH)
        file = storage.open(PATH, os.O_RDONLY)
        same = list(range(len(self.commits)))
        for start, stop in self.ranges:
            found = file.read(stop - start, start)
            left = [commit for commit in same if self.commits[commit][start:stop] == found]
            if not left:
                raise TornError(f"the first {start} bytes are as after commit {same[-1]}, the next ones are not")
            same = left
        commit_is_in_time(same, acknowledged)


def _writer(
    kind: Kind, storage: SimulatedStorage
) -> tuple[Callable[[bytes, int], object], Callable[[], object], Callable[[], object]]:
    """How to write a page, to commit and to close."""
    if kind is Kind.UNTORN:
        file = api.open(PATH, "r+b", commit="explicit", folio_size=PAGE, checkpoint_bytes=_LOG_BYTES, storage=storage)
        return file.pwrite, file.commit, file.close
    plain = storage.open(PATH, os.O_RDWR)
    return lambda data, offset: plain.write([data], offset), plain.fdatasync, plain.close


def _ranges(commits: Sequence[bytes]) -> list[tuple[int, int]]:
    size = len(commits[0])
    new = [at for at in range(0, size, SECTOR) if len({commit[at : at + SECTOR] for commit in commits}) > 1]
    return list(pairwise(sorted({0, size, size + 1, *new, *(min(at + SECTOR, size) for at in new)})))


def _cuts(kind: Kind, result: Result, effort: CutEffort) -> Cuts:
    told = [] if result.unmeasured else result.counterexamples
    torn = [story for story in told if story.problem.kind == TornError.__name__]
    return Cuts(
        kind, sum(one["name"] != "acknowledge" for one in result.operations), result.states, result.log2_states,
        result.recoveries, result.nested, result.certified, result.verdict(), result.bad, bool(torn),
        next((_example(kind, story, effort) for story in (*torn, *told)), ""),
    )  # fmt: skip


def _example(kind: Kind, story: Counterexample, effort: CutEffort) -> str:
    lines = [line.strip().rstrip(".") for line in story.text.splitlines()]
    if kind is Kind.UNTORN or story.problem.kind != TornError.__name__:
        return "; ".join(lines)
    # Nothing recovers a plain file, so it is as the power failure left it.
    new = sum(count for file in story.files for fate, count in file.sectors if fate == "new")
    sectors = effort.pages * PAGE // SECTOR
    return f"{lines[0]}; then the file is part old, part new: {new} of the {sectors} sectors of a commit are new"
