"""The book of versions behind the persistence rules: what is determined, and what still is open.

It knows no operation and no rule but these: a variable holds any version that no later durable one has ended,
names that renames connect change together, and so do versions that lie in one level (``write_groups``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from untorn.crashmodel.disk_image import Image, Name
from untorn.crashmodel.variables import (
    GARBAGE,
    NEVER,
    Choose,
    Legal,
    Tie,
    Value,
    Variable,
    Version,
    apply,
    combinations,
    connected,
    get,
    inode_number,
    name_of,
    number,
    order,
    put,
)  # fmt: skip
from untorn.crashmodel.write_groups import (
    Joint,
    Level,
    LevelSlice,
    alone,
    level_slices,
    ordered_table,
    positions,
    together,
)
from untorn.sizes import SECTOR

_OF_NAMES: Final = frozenset({"name", "names", "metadata"})
"""Kinds of variables that decide names."""


class Issued(Protocol):
    """What the book needs to know of an operation: the numbers of its two events."""

    issued: int
    completed: int | None


class Names(NamedTuple):
    """The names in a directory, as what owns variables; the directory's own are its inode's."""

    directory: int


Owner = int | Names
"""An inode, or the names in a directory."""


class Ledger:
    """Versions of every variable, in the order in which they were issued.

    What is determined is kept as a disk image; a variable with more than one legal version is open
    and overrides it. So a question costs what is open, not what ever was written.
    """

    def __init__(self, image: Image, *, sector: int, powersafe: bool) -> None:
        self.now = 0
        self.sector = sector
        self._garbage = None if powersafe else GARBAGE * (sector // SECTOR)
        self._inodes = {number: inode.copy() for number, inode in image.inodes.items()}
        self._root = image.root
        self._names: dict[Name, int | None] = dict(image.names)
        self._chains: dict[Variable, list[Version]] = {}
        self._open: dict[Owner, dict[Variable, int]] = {}
        """Open variables, with the index of the oldest legal version."""
        self._ties: list[Tie] = []
        self._levels: dict[Variable, list[Level]] = {}
        """Of the variables whose versions do not all come each by itself."""
        self._joints: list[Joint] = []
        self._serial = 0
        """Levels above the lowest that were given out."""

    # What is added

    def _add(
        self,
        operation: Issued,
        variable: Variable,
        value: Value,
        twin: Version | None = None,
        *,
        ordered: bool = False,
        torn: bool = False,
    ) -> Version:
        """A version that comes by itself or, if ``ordered``, with the metadata; ``torn``: garbage too."""
        chain = self._chain(variable)
        levels = self._levels.get(variable)
        if levels is None and ordered:
            lowest = Level(variable, 0, ordered=len(chain) == 1)
            levels = self._levels[variable] = [lowest]
        if levels is not None and (levels[-1].joint or levels[-1].ordered is not ordered):
            levels.append(Level(self._raised(variable), len(chain), ordered=ordered))
        if torn and self._garbage:
            self._append(operation, variable, self._garbage)
        return self._append(operation, variable, value, twin)

    def _add_together(self, operation: Issued, inode: int, indices: Sequence[int], values: Iterable[bytes]) -> None:
        """Versions of sectors of which a crash leaves all or none."""
        variables = [Variable("sector", inode, index) for index in indices]
        tops = [self._levels[variable][-1].joint if variable in self._levels else None for variable in variables]
        joint = tops[0]
        if joint is None or joint.variable.key != tuple(indices) or any(top is not joint for top in tops):
            self._serial += 1
            firsts = [len(self._chain(variable)) for variable in variables]
            joint = Joint(Variable("sectors", inode, tuple(indices), self._serial), firsts)
            self._joints.append(joint)
            for variable, first in zip(variables, firsts, strict=True):
                levels = self._levels.setdefault(variable, [Level(variable, 0)])
                levels.append(Level(variable._replace(level=self._serial), first, joint))
        joint.count += 1
        for variable, value in zip(variables, values, strict=True):
            self._append(operation, variable, value)

    def _chain(self, variable: Variable) -> list[Version]:
        chain = self._chains.get(variable)
        if chain is None:
            chain = self._chains[variable] = [Version(self._determined(variable), 0, 0)]
        return chain

    def _raised(self, variable: Variable) -> Variable:
        self._serial += 1
        return variable._replace(level=self._serial)

    def _append(self, operation: Issued, variable: Variable, value: Value, twin: Version | None = None) -> Version:
        chain = self._chain(variable)
        completed = NEVER if operation.completed is None else operation.completed
        self._open.setdefault(_owner(variable), {}).setdefault(variable, len(chain) - 1)
        version = Version(value, operation.issued, completed, twin)
        version.ordinal = len(chain)
        chain.append(version)
        return version

    # What becomes certain

    def _determined(self, variable: Variable) -> Value:
        if variable.kind == "name":
            return self._names.get(name_of(variable))
        return get(self._inodes[variable.inode], variable, self.sector)

    def _settle(
        self,
        owner: Owner,
        kinds: frozenset[str],
        operation: Issued,
        durable: Callable[[Version], bool],
    ) -> bool:
        """Ends the legality of all versions before the last one that is durable now; whether there are such."""
        group, ended = self._open.get(owner, {}), False
        for variable, low in list(group.items()):
            if variable.kind not in kinds:
                continue
            chain = self._chains[variable]
            for ordinal in range(len(chain) - 1, low, -1):
                if durable(chain[ordinal]) and not chain[ordinal].broken:
                    for version in chain[low:ordinal]:
                        version.until = operation.completed or NEVER
                        version.synced = True
                    group[variable], ended = ordinal, True
                    if ordinal == len(chain) - 1:
                        del group[variable]
                        self._determine(variable, chain[ordinal].value)
                    break
        if not group:
            self._open.pop(owner, None)
        return ended

    def _determine(self, variable: Variable, value: Value) -> None:
        """Writes the only legal value into what is determined."""
        if variable.kind == "name":
            self._names[name_of(variable)] = inode_number(value)
        else:
            put(self._inodes[variable.inode], variable, value)

    def _low(self, variable: Variable) -> int:
        """The ordinal of the oldest legal version."""
        return self._open.get(_owner(variable), {}).get(variable, len(self._chains[variable]) - 1)

    # What is left

    def undetermined(self) -> dict[Variable, list[Value]]:
        """The variables with more than one legal value now, and these, oldest first, newest last.

        A value that two versions have is listed once only where the two are neighbours.
        """
        return {variable: values for variable, values in self._overriding().items() if len(values) > 1}

    def _overriding(self) -> dict[Variable, list[Value]]:
        """The legal values of every variable that decides an open one, also where only one is left."""
        result: dict[Variable, list[Value]] = {}
        names: set[Variable] = set()
        for connection in connected(self._ties):
            names.update(connection)
            live = [self._chains[variable][self._low(variable) :] for variable in connection]
            result[_joint(connection)] = [legal.value for legal in combinations(connection, live, self._ties)]
        ordered: list[LevelSlice] = []
        for group in self._open.values():
            for variable, low in group.items():
                if variable in names:
                    continue
                if variable not in self._levels:
                    result[variable] = [version.value for version in self._chains[variable][low:]]
                    continue
                for part in self._open_slices(variable, low):
                    joint = part.level.joint
                    if part.level.ordered:
                        ordered.append(part)
                    elif joint is None:
                        result[part.level.variable] = self._current(alone(part, low))
                    elif joint.variable not in result:
                        result[joint.variable] = self._current(together(*self._shared(joint)))
        if ordered:
            rows = positions(_sorted(ordered), self.now)
            result[_metadata(ordered)] = [row for row, _ in itertools.groupby(rows)]
        return {variable: [value for value, _ in itertools.groupby(values)] for variable, values in result.items()}

    def _open_slices(self, variable: Variable, low: int) -> Iterator[LevelSlice]:
        """The levels of an open variable that a crash may still show, the lowest first."""
        return (part for part in self._slices(variable) if part.last >= low)

    def _slices(self, variable: Variable) -> Iterator[LevelSlice]:
        return level_slices(self._levels.get(variable) or [Level(variable, 0)], self._chains[variable])

    def _shared(self, joint: Joint) -> tuple[Joint, list[list[Version]], int]:
        """The sectors' chains, and the first atomic write that may still be seen in one of them."""
        sectors = [Variable("sector", joint.variable.inode, index) for index in _indices(joint.variable)]
        oldest = min(self._low(sector) - first for sector, first in zip(sectors, joint.firsts, strict=True))
        return joint, [self._chains[sector] for sector in sectors], max(0, oldest)

    def _current(self, legal: Iterable[Legal]) -> list[Value]:
        return [value for value, since, until in legal if since <= self.now < until]

    def table(self) -> dict[Variable, list[Legal]]:
        """Every variable that the sweep met, with each value's crash points up to now.

        A variable has at each crash point at least one legal value; equal values are not merged.
        """
        result: dict[Variable, list[Legal]] = {}
        names: set[Variable] = set()
        for connection in connected(self._ties):
            names.update(connection)
            chains = [self._chains[variable] for variable in connection]
            result[_joint(connection)] = list(combinations(connection, chains, self._ties))
        ordered: list[LevelSlice] = []
        for variable in self._chains:
            if variable in names:
                continue
            for part in self._slices(variable):
                if part.level.ordered:
                    ordered.append(part)
                elif part.level.joint is None:
                    result[part.level.variable] = list(alone(part))
        for joint in self._joints:
            result[joint.variable] = list(together(joint, self._shared(joint)[1]))
        if ordered:
            result[_metadata(ordered)] = ordered_table(_sorted(ordered))
        return result

    def image(self, choose: Choose) -> Image:
        """One legal disk; ``choose`` is asked only about what can be seen in it, in a fixed order.

        Names first, then by inode its size, the sectors below that size and the attributes.
        """
        values = self._overriding()
        picked: dict[Variable, Value] = {}

        def pick(variable: Variable) -> Value:
            if variable not in picked:
                legal = values[variable]
                picked[variable] = legal[choose(variable, legal)] if len(legal) > 1 else legal[0]
            return picked[variable]

        names = Image(names={name: found for name, found in self._names.items() if found is not None}, root=self._root)
        for variable in sorted((v for v in values if v.kind in _OF_NAMES), key=repr):
            apply(names, variable, pick(variable))
        metadata = self._places(values)
        image = Image(names=self._reachable(names), root=self._root)
        for found in sorted({self._root, *image.names.values()}):
            inode = image.inodes[found] = self._inodes[found].copy()
            for variable in sorted(self._open.get(found, ()), key=_size_first):
                if variable.kind == "sector" and number(variable.key) * self.sector >= inode.content.size:
                    continue
                if variable not in self._levels:
                    put(inode, variable, pick(variable))
                    continue
                for part in reversed(list(self._open_slices(variable, self._low(variable)))):
                    value = self._said(part, pick, metadata)
                    if value is not None or not part.level.variable.level:
                        put(inode, variable, value)
                        break
            inode.content.zero_tail()
        return image

    def _reachable(self, image: Image) -> dict[Name, int]:
        """The names in directories that are there."""
        below: dict[int, list[int]] = {}
        for (directory, _), inode in image.names.items():
            below.setdefault(directory, []).append(inode)
        there, waiting = {image.root}, [image.root]
        while waiting:
            found = [inode for inode in below.get(waiting.pop(), ()) if inode in below and inode not in there]
            there.update(found)
            waiting += found
        return {name: inode for name, inode in image.names.items() if name[0] in there}

    def _places(self, values: Iterable[Variable]) -> dict[Variable, tuple[Variable, int]]:
        """By level that the metadata order decides: the variable that does, and the place in its values."""
        return {
            member: (variable, place)
            for variable in values
            if variable.kind == "metadata" and isinstance(variable.key, tuple)
            for place, member in enumerate(variable.key)
        }

    def _said(
        self, part: LevelSlice, pick: Callable[[Variable], Value], metadata: dict[Variable, tuple[Variable, int]]
    ) -> Value:
        """What a level says of its variable."""
        level = part.level
        if level.ordered:
            decider, place = metadata[level.variable]
        elif level.joint is None:
            return pick(level.variable)
        else:
            decider, place = level.joint.variable, _indices(level.joint.variable).index(number(level.variable.key))
        value = pick(decider)
        assert isinstance(value, tuple)
        said: Value = value[place]
        return said


def _owner(variable: Variable) -> Owner:
    return Names(variable.inode) if variable.kind == "name" else variable.inode


def _size_first(variable: Variable) -> tuple[bool, tuple[str, int, str]]:
    return variable.kind != "size", order(variable)


def _indices(variable: Variable) -> tuple[int, ...]:
    assert isinstance(variable.key, tuple)
    return variable.key


def _joint(names: Sequence[Variable]) -> Variable:
    return Variable("names", 0, tuple(names))


def _sorted(ordered: Iterable[LevelSlice]) -> list[LevelSlice]:
    return sorted(ordered, key=lambda part: (part.level.variable.inode, *order(part.level.variable), part.first))


def _metadata(ordered: Iterable[LevelSlice]) -> Variable:
    return Variable("metadata", 0, tuple(part.level.variable for part in _sorted(ordered)))
