"""The book of versions behind the persistence rules: what is determined, and what still is open.

It knows no operation and no rule but two: a variable holds any version that no later durable one
has ended, and names that renames connect change together.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Protocol

from untorn.geometry import SECTOR
from untorn.storage.image import Image
from untorn.storage.variables import (
    GARBAGE,
    NEVER,
    Choose,
    Legal,
    Rename,
    Value,
    Variable,
    Version,
    combinations,
    get,
    inode_number,
    joined,
    number,
    order,
    put,
)  # fmt: skip


class Issued(Protocol):
    """What the book needs to know of an operation: the numbers of its two events."""

    issued: int
    completed: int | None


class Ledger:
    """Versions of every variable, in the order in which they were issued.

    What is determined is kept as a disk image; a variable with more than one legal version is open
    and overrides it. So a question costs what is open, not what ever was written.
    """

    def __init__(self, image: Image, *, trash: bool) -> None:
        self._trash = trash
        self._inodes = {number: inode.copy() for number, inode in image.inodes.items()}
        self._names: dict[str, int | None] = dict(image.names)
        self._chains: dict[Variable, list[Version]] = {}
        self._open: dict[int | str, dict[Variable, int]] = {}
        """By inode or directory: open variables, with the index of the oldest legal version."""
        self._renames: list[Rename] = []

    def _add(self, operation: Issued, variable: Variable, value: Value, twin: Version | None = None) -> Version:
        chain = self._chains.get(variable)
        if chain is None:
            chain = self._chains[variable] = [Version(self._determined(variable), 0, 0)]
        completed = NEVER if operation.completed is None else operation.completed
        owner: int | str = variable.inode
        if variable.kind == "name":
            owner = os.path.dirname(str(variable.key))
        self._open.setdefault(owner, {}).setdefault(variable, len(chain) - 1)
        if self._trash and variable.kind == "sector":
            chain.append(Version(GARBAGE, operation.issued, completed))
        version = Version(value, operation.issued, completed, twin)
        version.ordinal = len(chain)
        chain.append(version)
        return version

    def _determined(self, variable: Variable) -> Value:
        if variable.kind == "name":
            return self._names.get(str(variable.key))
        return get(self._inodes[variable.inode], variable)

    def _settle(
        self,
        owner: int | str,
        kinds: frozenset[str],
        operation: Issued,
        durable: Callable[[Version], bool],
    ) -> None:
        """Ends the legality of all versions before the last one that is durable now."""
        group = self._open.get(owner, {})
        for variable, low in list(group.items()):
            if variable.kind not in kinds:
                continue
            chain = self._chains[variable]
            for ordinal in range(len(chain) - 1, low, -1):
                if durable(chain[ordinal]) and not chain[ordinal].broken:
                    for version in chain[low:ordinal]:
                        version.until = operation.completed or NEVER
                        version.synced = True
                    group[variable] = ordinal
                    if ordinal == len(chain) - 1:
                        del group[variable]
                        self._determine(variable, chain[ordinal].value)
                    break

    def _determine(self, variable: Variable, value: Value) -> None:
        """Writes the only legal value into what is determined."""
        if variable.kind == "name":
            assert isinstance(variable.key, str)
            self._names[variable.key] = inode_number(value)
        else:
            put(self._inodes[variable.inode], variable, value)

    def _live(self, variable: Variable) -> list[Version]:
        chain = self._chains[variable]
        owner = os.path.dirname(str(variable.key)) if variable.kind == "name" else variable.inode
        return chain[self._open.get(owner, {}).get(variable, len(chain) - 1) :]

    def undetermined(self) -> dict[Variable, list[Value]]:
        """The variables with more than one legal value now, and these, oldest first, newest last.

        A value that two versions have is listed once only where the two are neighbours.
        """
        return {variable: values for variable, values in self._overriding().items() if len(values) > 1}

    def _overriding(self) -> dict[Variable, list[Value]]:
        """The legal values of every open variable, also where equal bytes or a rename leave only one."""
        result: dict[Variable, list[Value]] = {}
        names: set[Variable] = set()
        for members in joined(self._renames):
            names.update(members)
            legal = combinations(members, [self._live(variable) for variable in members], self._renames)
            result[_joint(members)] = [value for value, _, _ in legal]
        for group in self._open.values():
            for variable, low in group.items():
                if variable not in names:
                    result[variable] = [version.value for version in self._chains[variable][low:]]
        return {variable: [key for key, _ in itertools.groupby(values)] for variable, values in result.items()}

    def table(self) -> dict[Variable, list[Legal]]:
        """Every variable that the sweep met, with each version's crash points up to now.

        A variable has at each crash point at least one legal value; equal values are not merged.
        """
        result: dict[Variable, list[Legal]] = {}
        names: set[Variable] = set()
        for members in joined(self._renames):
            names.update(members)
            chains = [self._chains[variable] for variable in members]
            result[_joint(members)] = list(combinations(members, chains, self._renames))
        for variable, chain in self._chains.items():
            if variable not in names:
                result[variable] = [Legal(v.value, v.issued, v.until) for v in chain if v.issued < v.until]
        return result

    def image(self, choose: Choose) -> Image:
        """One legal disk; ``choose`` is asked only about what can be seen in it, in a fixed order.

        Names first, then by inode its size, the sectors below that size and the attributes.
        """
        values = self._overriding()

        def pick(variable: Variable) -> Value:
            legal = values[variable]
            return legal[choose(variable, legal)] if len(legal) > 1 else legal[0]

        names = dict(self._names)
        for variable in sorted((v for v in values if not v.inode), key=repr):
            value = pick(variable)
            if isinstance(variable.key, tuple):
                assert isinstance(value, tuple)
                names.update(zip(variable.key, value, strict=True))
            else:
                names[str(variable.key)] = inode_number(value)
        image = Image(names={path: found for path, found in names.items() if found is not None})
        for found in sorted(set(image.names.values())):
            inode = image.inodes[found] = self._inodes[found].copy()
            size = Variable("size", found)
            if size in values:
                put(inode, size, pick(size))
            for variable in sorted(self._open.get(found, ()), key=order):
                if variable == size or variable not in values:
                    continue
                if variable.kind != "sector" or number(variable.key) * SECTOR < inode.content.size:
                    put(inode, variable, pick(variable))
            inode.content.zero_tail()
        return image


def _joint(members: list[Variable]) -> Variable:
    return Variable("names", 0, tuple(str(variable.key) for variable in members))
