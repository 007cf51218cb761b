"""What a crash decides: variables, their versions, and how to read, set and choose a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from untorn.geometry import SECTOR
from untorn.storage.image import Inode

NEVER: Final = 1 << 62
"""An event that does not come."""

GARBAGE: Final = bytes(range(256)) * (SECTOR // 256)
"""What a torn sector may hold under ``trash``."""

Value = bytes | int | tuple[int | None, ...] | None
"""Of a sector or attribute, of a size, time, owner or inode of a name, of joined names, of nothing."""

Choose = Callable[["Variable", Sequence[Value]], int]
"""Picks the index of a legal value; index 0 is the durable one, -1 the one in the cache."""


class Variable(NamedTuple):
    """One thing that a crash decides; ``inode`` is 0 and ``key`` the path, or paths, for names."""

    kind: str
    inode: int
    key: int | str | tuple[str, ...] = 0


class Version:
    """A value that a variable was given; legal for crash points in [issued, until)."""

    __slots__ = ("broken", "completed", "issued", "ordinal", "synced", "twin", "until", "value")

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


class Legal(NamedTuple):
    """A value and the crash points [since, until) at which it is legal."""

    value: Value
    since: int
    until: int


class Rename(NamedTuple):
    """A rename: the version that took the old name and the one that gave the new."""

    source: Variable
    removed: Version
    target: Variable
    added: Version


def get(inode: Inode, variable: Variable) -> Value:
    """The value that a variable of an inode has."""
    match variable.kind:
        case "sector":
            return inode.content.sector(number(variable.key))
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


def newest(variable: Variable, legal: Sequence[Value]) -> int:
    """Chooses what the cache had: as if all had reached the disk."""
    return len(legal) - 1


def oldest(variable: Variable, legal: Sequence[Value]) -> int:
    """Chooses what was durable: as if nothing else had reached the disk."""
    return 0


def seeded(seed: int) -> Choose:
    """Chooses each variable by chance, the same way every time."""
    return lambda variable, legal: xxh3_64_intdigest(repr(variable).encode(), seed) % len(legal)


def joined(renames: Sequence[Rename]) -> Iterator[list[Variable]]:
    """The names that renames connect, each set sorted."""
    sets: dict[Variable, set[Variable]] = {}
    for rename in renames:
        merged = sets.get(rename.source, {rename.source}) | sets.get(rename.target, {rename.target})
        for variable in merged:
            sets[variable] = merged
    for variable, members in sets.items():
        if variable == min(members):
            yield sorted(members)


def combinations(
    members: Sequence[Variable], candidates: Sequence[Sequence[Version]], renames: Sequence[Rename]
) -> Iterator[Legal]:
    """The legal tuples: legal at one time, and no rename took the old name without giving the new."""
    at = {variable: index for index, variable in enumerate(members)}
    rules = [(at[r.source], r.removed.ordinal, at[r.target], r.added.ordinal) for r in renames if r.source in at]
    partial: list[tuple[tuple[Version, ...], int, int]] = [((), 0, NEVER)]
    for index, versions in enumerate(candidates):
        due = [rule for rule in rules if max(rule[0], rule[2]) == index]
        extended = []
        for chosen, since, until in partial:
            for version in versions:
                row = (*chosen, version)
                low, high = max(since, version.issued), min(until, version.until)
                if low < high and not any(
                    row[source].ordinal >= removed and row[target].ordinal < added
                    for source, removed, target, added in due
                ):
                    extended.append((row, low, high))
        partial = extended
    for row, since, until in partial:
        yield Legal(tuple(inode_number(version.value) for version in row), since, until)
