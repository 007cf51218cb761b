"""Work that goes to an executor: some runs of one search, with all that lies beneath them.

Workers may be other processes or machines. They get the target and the recorded machine once, as one pickled
value, and build the same layers from it.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from untorn.explore.certificate import Search
from untorn.explore.search import Field, Prefix, Recording, Run, deeper, every, field_of
from untorn.explore.target import Target


class Work(NamedTuple):
    """What every worker needs to know: the target, its recorded machine, and what to do with each run."""

    target: Target
    recording: Recording
    depth: int
    """How many times recovery is cut off itself, one in the other."""
    keep_going: bool
    """Whether to go on after a bad state."""
    seed: int


class Origin(NamedTuple):
    """Where a search begins: for each level the run, by its prefix, and which of its cuts."""

    steps: tuple[tuple[Prefix, int], ...] = ()


@dataclass
class Batch:
    """What one task brought back."""

    runs: list[Run] = field(default_factory=list)
    """Of the outermost search, without their cuts."""
    deeper: dict[Prefix, Search] = field(default_factory=dict)
    """By where these runs' recoveries were cut off, the searches for that."""
    waiting: list[Prefix] = field(default_factory=list)
    """Prefixes that are still to be run."""
    recoveries: int = 0
    nested: int = 0
    bad: list[tuple[Origin, Run]] = field(default_factory=list)


@lru_cache(maxsize=4)
def _search(work: bytes) -> tuple[Work, Field]:
    spec: Work = pickle.loads(work)
    return spec, field_of(spec.target, spec.recording)


def explore_there(work: bytes, prefixes: list[Prefix], seconds: float) -> Batch:
    """``explore_some`` in a worker, which gets its search as a pickled value and keeps it."""
    spec, search = _search(work)
    return explore_some(spec, search, prefixes, seconds)


def explore_some(spec: Work, search: Field, prefixes: list[Prefix], seconds: float) -> Batch:
    """Runs ``prefixes`` and what follows from them, depth first, for about so many seconds."""
    batch = Batch(waiting=list(prefixes))
    end = time.monotonic() + seconds
    while batch.waiting and (not batch.recoveries or time.monotonic() < end):
        run = search.run(batch.waiting.pop(), nested=spec.depth > 0)
        batch.waiting.extend(run.siblings())
        _account(batch, run, Origin())
        batch.deeper.update(_descend(batch, search, run, spec.depth, Origin()))
        batch.runs.append(run)
        if batch.bad and not spec.keep_going:
            break
    return batch


def _account(batch: Batch, run: Run, origin: Origin) -> None:
    batch.recoveries += 1
    batch.nested += bool(origin.steps)
    if run.leaf.problem is not None:
        batch.bad.append((origin, run))


def _descend(batch: Batch, search: Field, run: Run, depth: int, origin: Origin) -> dict[Prefix, Search]:
    """Explores every way in which this run's recovery can be cut off, and forgets the cuts."""
    result: dict[Prefix, Search] = {}
    if depth == 0:
        return result
    for index, (cut, inner) in enumerate(zip(run.cuts, deeper(search, run), strict=True)):
        there = Origin((*origin.steps, (run.prefix, index)))
        done = result[cut.path] = Search(cut.layer)
        for inner_run in every(inner, nested=depth > 1):
            _account(batch, inner_run, there)
            done.deeper.update(_descend(batch, inner, inner_run, depth - 1, there))
            done.runs.append(inner_run)
    run.cuts = []
    return result


def find(search: Field, origin: Origin) -> Field:
    """The search at ``origin``, done again."""
    for prefix, index in origin.steps:
        run = search.run(prefix, nested=True)
        search = list(deeper(search, run))[index]
    return search
