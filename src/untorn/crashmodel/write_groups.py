"""Versions that come together: what one atomic write brings, and what the metadata order brings.

The versions of a variable lie in **levels**, one above the other in the order of issue. A level is decided by
itself or together with levels of other variables, and a crash leaves the newest level that has something to say.
One that has not has the value None; the lowest always has. So all levels are independent of each other, and a
plain write over half of an atomic one costs one value for each of its sectors, not one for each combination.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from untorn.crashmodel.variables import NEVER, Legal, Value, Variable, Version


@dataclass(slots=True, eq=False)
class Joint:
    """Levels of sectors that atomic writes of one and the same range gave, and nothing else."""

    variable: Variable
    firsts: list[int]
    """By sector: the ordinal of its first version in this level."""
    count: int = 0
    """How many atomic writes they are."""


@dataclass(slots=True, eq=False)
class Level:
    """A run of versions of one variable, up to the first version of the next level."""

    variable: Variable
    first: int
    joint: Joint | None = None
    ordered: bool = False
    """Whether the metadata order decides it."""


class LevelSlice:
    """One level's part of the chain of versions: from ordinal ``first`` to ``last``."""

    __slots__ = ("chain", "first", "last", "level")

    def __init__(self, level: Level, chain: Sequence[Version], last: int) -> None:
        self.level = level
        self.chain = chain
        self.first = level.first
        self.last = last


def level_slices(levels: Sequence[Level], chain: Sequence[Version]) -> Iterator[LevelSlice]:
    """The levels of a variable with the versions that lie in them, the lowest first."""
    for level, upper in zip(levels, [*levels[1:], None], strict=True):
        yield LevelSlice(level, chain, len(chain) - 1 if upper is None else upper.first - 1)


def alone(part: LevelSlice, start: int = 0) -> Iterator[Legal]:
    """The values of a level that is decided by itself, without versions below ordinal ``start``.

    It says nothing before its first version must be there, and nothing that counts when a later one must be.
    """
    chain = part.chain
    if part.first and part.first > start:
        yield Legal(None, 0, chain[part.first - 1].until)
    for version in chain[max(part.first, start) : part.last + 1]:
        if version.issued < version.until:
            yield Legal(version.value, version.issued, version.until)
    if part.last + 1 < len(chain) and chain[part.last].until < NEVER:
        yield Legal(_unseen(part), chain[part.last].until, NEVER)


def _unseen(part: LevelSlice) -> Value:
    """What a level says that lies hidden: nothing, but the lowest one always says something."""
    return None if part.first else part.chain[part.last].value


def together(joint: Joint, chains: Sequence[Sequence[Version]], start: int = 0) -> Iterator[Legal]:
    """The values of sectors that change together: a tuple of None, and one for each atomic write from ``start`` on.

    One that must be there in one of its sectors is there in all. What lies over a sector wholly hides it there; when
    that is so for every sector, it says nothing any more.
    """
    places = list(zip(joint.firsts, chains, strict=True))
    lasts = [chain[first + joint.count - 1].until for first, chain in places]
    hidden = max(lasts)
    bound = _shown([chain[first - 1].until for first, chain in places], lasts, hidden)
    nothing = (None,) * len(places)
    yield Legal(nothing, 0, bound)
    for number in range(start, joint.count):
        versions = [chain[first + number] for first, chain in places]
        until = _shown([version.until for version in versions], lasts, hidden)
        if versions[0].issued < until:
            yield Legal(tuple(version.value for version in versions), versions[0].issued, until)
    if hidden < NEVER:
        yield Legal(nothing, hidden, NEVER)


def _shown(untils: Sequence[int], lasts: Sequence[int], hidden: int) -> int:
    """Until when versions are legal together: the first is past, and not because its whole level is hidden there."""
    return min([hidden, *(until for until, last in zip(untils, lasts, strict=True) if until < last)])


def positions(members: Sequence[LevelSlice], time: int) -> list[tuple[Value, ...]]:
    """What the levels that the metadata order decides say at ``time``, for each place where that order may end.

    The first one is what must be there by itself, the last one is what the cache has.
    """
    row: list[Value] = []
    steps: dict[int, list[tuple[int, Value]]] = {}
    for place, part in enumerate(members):
        chain = part.chain
        floor = bisect_right(chain, time, key=_until)
        if floor > part.last:
            row.append(_unseen(part))
        else:
            row.append(chain[floor].value if part.first <= floor else None)
        if floor <= part.last:
            for version in chain[max(part.first, floor + 1) : part.last + 1]:
                if version.issued <= time:
                    steps.setdefault(version.issued, []).append((place, version.value))
    result = [tuple(row)]
    for _, changes in sorted(steps.items()):
        for place, value in changes:
            row[place] = value
        result.append(tuple(row))
    return result


def _until(version: Version) -> int:
    return version.until


def ordered_table(members: Sequence[LevelSlice]) -> list[Legal]:
    """What :func:`positions` says at every time, as intervals, by when the cache came to them; before these what it
    never had, as when the fsync of one file made some names durable and left others behind."""
    times = {0}
    for part in members:
        times.update(bound for version in part.chain for bound in (version.issued, version.until) if bound < NEVER)
    result: list[tuple[bool, Legal]] = []
    active: dict[tuple[Any, ...], tuple[int, bool]] = {}
    before: tuple[Any, ...] | None = None
    for time in sorted(times):
        rows = positions(members, time)
        cached, legal = rows[-1], set(rows)
        for row in list(active):
            if row not in legal or (row == cached != before):  # the cache comes to it, perhaps again
                since, known = active.pop(row)
                result.append((known, Legal(row, since, time)))
        for row in rows:
            active.setdefault(row, (time, row == cached))
        before = cached
    result += [(known, Legal(row, since, NEVER)) for row, (since, known) in active.items()]
    return [legal for _, legal in sorted(result, key=lambda one: (one[0], one[1].since))]
