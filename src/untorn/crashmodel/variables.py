"""What a crash decides: variables, their versions, and how to read, set and choose a value."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from untorn.crashmodel.disk_image import Image, Inode, Name
from untorn.sizes import SECTOR

NEVER: Final = 1 << 62
"""An event that does not come."""

GARBAGE: Final = bytes(range(256)) * (SECTOR // 256)
"""What a torn sector may hold without ``powersafe``, as often as the sector is long."""

Value = bytes | int | tuple[Any, ...] | None
"""Of a sector or attribute, of a size, time, owner or inode of a name, of several together, of nothing.

None of a sector or a size says that the level below decides (see ``deciders``); at level 0 there is no such value.
"""

LAYERED: Final = frozenset({"sector", "size"})
"""Kinds that may lie in levels."""

Choose = Callable[["Variable", Sequence[Value]], int]
"""Picks the index of a legal value; index 0 is the durable one, -1 the one in the cache."""


class Variable(NamedTuple):
    """One thing that a crash decides; of a name ``inode`` is its directory's and ``key`` the name in that.

    What is decided together is one variable with the members in its key and tuples as values:
    ``sectors`` (indices, of atomic writes), ``names`` (variables that renames connect) and ``metadata`` (variables).
    """

    kind: str
    inode: int
    key: int | str | tuple[Any, ...] = 0
    level: int = 0
    """Above which others of the same kind, inode and key it lies; 0 for the lowest."""


class Version:
    """A value that a variable was given; legal for crash points in [issued, until)."""

    __slots__ = ("broken", "completed", "issued", "ordinal", "synced", "twin", "until", "value", "whole")

    def __init__(self, value: Value, issued: int, completed: int, twin: Version | None = None) -> None:
        self.value = value
        self.issued = issued
        self.completed = completed
        self.until = NEVER
        self.ordinal = 0
        self.broken = False
        """A sync of it failed: no sync will ever make it durable."""
        self.synced = False
        """Of a name: its own directory was synced."""
        self.twin = twin
        """Of a name that a rename removed: the version of the new name."""
        self.whole = False
        """Of a name that a directory's rename removed: it is durable as soon as the new name is."""


class Legal(NamedTuple):
    """A value and the crash points [since, until) at which it is legal."""

    value: Value
    since: int
    until: int


class Tie(NamedTuple):
    """Of two names: where one has ``version`` or a later one, the other has ``needed`` or a later one."""

    name: Variable
    version: Version
    other: Variable
    needed: Version


def get(inode: Inode, variable: Variable, unit: int = SECTOR) -> Value:
    """The value that a variable of an inode has; ``unit`` is the length of a sector."""
    match variable.kind:
        case "sector":
            return inode.content.sector(number(variable.key), unit)
        case "size":
            return inode.content.size
        case "xattr":
            return inode.attributes.get(str(variable.key))
        case "mtime":
            return inode.mtime_ns
        case "mode":
            return inode.mode
        case _:
            return inode.gid


def order(variable: Variable) -> tuple[str, int, str]:
    """A key that sorts the variables of one inode."""
    return variable.kind, variable.key if isinstance(variable.key, int) else 0, str(variable.key)


def number(value: Value | str | tuple[str, ...]) -> int:
    """A value that is known to be an int."""
    assert isinstance(value, int)
    return value


def inode_number(value: Value) -> int | None:
    """The value of a name."""
    return None if value is None else number(value)


def name_of(variable: Variable) -> Name:
    """The name that a variable is about, as a disk holds it."""
    return variable.inode, str(variable.key)


def put(inode: Inode, variable: Variable, value: Value) -> None:
    """Gives a variable of an inode its value."""
    match variable.kind:
        case "sector":
            assert isinstance(value, bytes)
            inode.content.put_sector(number(variable.key), value)
        case "size":
            inode.content.truncate(number(value), keep_reserved=True)
        case "xattr":
            if value is None:
                inode.attributes.pop(str(variable.key), None)
            else:
                assert isinstance(value, bytes)
                inode.attributes[str(variable.key)] = value
        case "mtime":
            inode.mtime_ns = number(value)
        case "mode":
            inode.mode = number(value)
        case _:
            inode.gid = number(value)


def members(variable: Variable) -> tuple[Variable, ...]:
    """The variables that it decides, in the order of the tuples that are its values; itself if it is no joint one."""
    key = variable.key
    if not isinstance(key, tuple):
        return (variable,)
    if variable.kind in ("metadata", "names"):
        return key
    return tuple(Variable(variable.kind[:-1], variable.inode, one, variable.level) for one in key)


def deciders(variables: Iterable[Variable]) -> dict[Variable, list[tuple[Variable, int | None]]]:
    """Who decides a variable: by the variable at level 0 the deciding ones, uppermost first, each with the place in
    its tuples (None where its value is no tuple).

    What a crash leaves is the value of the first that says something: has not None, there or in its place. The last
    one of a sector or size always does.
    """
    found: dict[Variable, list[tuple[int, Variable, int | None]]] = {}
    for variable in variables:
        joint = isinstance(variable.key, tuple)
        for place, member in enumerate(members(variable)):
            base = member._replace(level=0)
            found.setdefault(base, []).append((member.level, variable, place if joint else None))
    return {
        base: [(variable, place) for _, variable, place in sorted(entries, key=_height, reverse=True)]
        for base, entries in found.items()
    }


def decided(deciders: Iterable[tuple[Variable, int | None]], pick: Callable[[Variable], Value]) -> Value:
    """The value that deciders give; ``pick`` is asked for a variable's value only where those above say nothing."""
    for variable, place in deciders:
        value = pick(variable)
        if place is not None:
            assert isinstance(value, tuple)
            value = value[place]
        if value is not None:
            return value
    return None


def _height(entry: tuple[int, Variable, int | None]) -> int:
    return entry[0]


def apply(image: Image, variable: Variable, value: Value) -> None:
    """Gives a disk the value of a variable, or of all members of a joint one, as far as they have an inode there.

    What lies in levels is decided first (``decided``), and given by its variable at level 0.
    """
    joint = isinstance(variable.key, tuple)
    for place, member in enumerate(members(variable)):
        one = value[place] if joint and isinstance(value, tuple) else value
        if member.kind == "name":
            image.names.pop(name_of(member), None)
            if one is not None:
                image.names[name_of(member)] = number(one)
        elif member.inode in image.inodes and (one is not None or member.kind not in LAYERED):
            put(image.inodes[member.inode], member, one)


def newest(variable: Variable, legal: Sequence[Value]) -> int:
    """Chooses what the cache had: as if all had reached the disk."""
    return len(legal) - 1


def oldest(variable: Variable, legal: Sequence[Value]) -> int:
    """Chooses what was durable: as if nothing else had reached the disk."""
    return 0


def seeded(seed: int) -> Choose:
    """Chooses each variable by chance, the same way every time."""
    return lambda variable, legal: xxh3_64_intdigest(repr(variable).encode(), seed) % len(legal)


def connected(ties: Sequence[Tie]) -> Iterator[list[Variable]]:
    """The names that ties connect, each set sorted."""
    sets: dict[Variable, set[Variable]] = {}
    for tie in ties:
        merged = sets.get(tie.name, {tie.name}) | sets.get(tie.other, {tie.other})
        for variable in merged:
            sets[variable] = merged
    for variable, together in sets.items():
        if variable == min(together):
            yield sorted(together)


def combinations(
    names: Sequence[Variable], candidates: Sequence[Sequence[Version]], ties: Sequence[Tie]
) -> Iterator[Legal]:
    """The legal tuples: legal at one time, and what one name is tied to came if it came.

    Candidates are in the order of issue, so those that are legal together with others are neighbours.
    """
    at = {variable: index for index, variable in enumerate(names)}
    rules: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for tie in ties:
        if tie.name in at:
            pair = at[tie.name], at[tie.other]
            rules.setdefault(pair, []).append((tie.version.ordinal, tie.needed.ordinal))
    partial: list[tuple[tuple[Version, ...], int, int]] = [((), 0, NEVER)]
    for index, versions in enumerate(candidates):
        due = [(pair, found) for pair, found in rules.items() if max(pair) == index]
        extended = []
        for chosen, since, until in partial:
            first = bisect_right(versions, since, key=_until)
            for version in versions[first : bisect_left(versions, until, key=_issued)]:
                row = (*chosen, version)
                low, high = max(since, version.issued), min(until, version.until)
                if low < high and not any(_halved(row[s].ordinal, row[t].ordinal, found) for (s, t), found in due):
                    extended.append((row, low, high))
        partial = extended
    for row, since, until in partial:
        yield Legal(tuple(inode_number(version.value) for version in row), since, until)


def _halved(name: int, other: int, rules: Sequence[tuple[int, int]]) -> bool:
    """Whether one of a pair's ties is broken; the last one that counts decides, for all are in the order of issue."""
    last = bisect_right(rules, name, key=itemgetter(0)) - 1
    return last >= 0 and other < rules[last][1]


def _until(version: Version) -> int:
    return version.until


def _issued(version: Version) -> int:
    return version.issued
