"""The persistence rules again, by brute force: every state that a crash at T may leave.

Written from the rules and not from the code, in the slowest and plainest way: a version is legal
if no later version has a witness of its durability. It shares with the package only the trace.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from untorn.crashmodel.trace import Operation, Trace

ATOMIC = 0x40
FOREVER = 10**9

File = tuple[bytes | str, int, int, int, frozenset[tuple[str, bytes]]]
"""Content, or where a link leads, mtime, mode, gid and attributes; of a directory only its mode."""
State = frozenset[tuple[str, File]]


@dataclass(eq=False)
class Given:
    """A value given to a variable; an ordered one comes with the metadata, under the rules of Linux."""

    value: Any
    operation: Operation | None = None
    ordered: bool = field(default=False, kw_only=True)
    twin: Given | None = None
    directory: int = 0
    """Of a name: what it lies in."""
    whole: bool = False
    """Of a name that a directory's rename took: it goes just when the new one comes."""
    chain: list[Given] = field(default_factory=list)

    @property
    def issued(self) -> int:
        return self.operation.issued if self.operation else 0

    @property
    def completed(self) -> int:
        if self.operation is None:
            return 0
        return FOREVER if self.operation.completed is None else self.operation.completed

    def later(self) -> list[Given]:
        return self.chain[self.chain.index(self) + 1 :]


def given_index(given: Given) -> int:
    return given.chain.index(given)


class Brute:
    """All variables of a trace, and what may be left of them at ``time``."""

    def __init__(
        self, trace: Trace, time: int, *, linux: bool = False, sector: int = 512, block: int = 0, powersafe: bool = True
    ) -> None:
        self.time = time
        self.linux = linux
        self.covered: dict[Given, list[int]] = {}
        """By version of a name: when an fsync of its new file returned."""
        self.births: dict[int, Given] = {}
        self.position = 0
        self.unit = sector
        self.block = block or (4096 if linux else sector)
        self.garbage = None if powersafe else bytes(range(256)) * (sector // 256)
        self.atomics: list[list[Given]] = []
        self.operations = [o for o in trace.operations if o.issued <= time]
        self.chains: dict[tuple[Any, ...], list[Given]] = {}
        self.cache: dict[int, bytearray] = {}
        self.root = trace.image.root
        self.moves: dict[int, Given] = {}
        """By directory: the name that it got when it last came into another directory."""
        self.needs: list[tuple[Given, Given]] = []
        """Names that come only if another came."""
        self.directories: dict[int, int] = {}
        """Their modes."""
        self.links: dict[int, str] = {}
        self.bound = trace.image.names.copy()
        for number, inode in trace.image.inodes.items():
            if inode.is_directory:
                self.directories[number] = inode.mode
            else:
                self.born(number, inode.content.read(0, inode.content.size), inode)
        for name, number in trace.image.names.items():
            self.give(("name", *name), number, None)
        for operation in self.operations:
            if operation.error is None:
                self.apply(operation)
        if linux:
            returned = [o for o in self.operations if o.completed is not None and o.completed <= time]
            for operation in sorted(returned, key=lambda o: o.completed or 0):
                if operation.name == "fsync" and operation.error is None:
                    self.cover(operation, operation.inode)

    def born(self, number: int, content: bytes, found: Any) -> None:
        self.cache[number] = bytearray(content)
        self.give(("size", number), len(content), None)
        for index in range(-(-len(content) // self.unit)):
            self.give(("sector", number, index), self.sector(number, index), None)
        for kind in ("mode", "gid"):
            self.give((kind, number), getattr(found, kind), None)
        self.give(("mtime", number), found.mtime_ns, None)
        for name, value in getattr(found, "attributes", {}).items():
            self.give(("xattr", number, name), value, None)

    def sector(self, number: int, index: int) -> bytes:
        data = bytes(self.cache[number][index * self.unit : (index + 1) * self.unit])
        return data + bytes(self.unit - len(data))

    def write_sector(self, number: int, index: int, operation: Operation, *, whole: bool = False) -> Given:
        variable = ("sector", number, index)
        if self.garbage and not whole:
            self.give(variable, self.garbage, operation)
        return self.give(variable, self.sector(number, index), operation)

    def give(
        self,
        variable: tuple[Any, ...],
        value: Any,
        operation: Operation | None,
        twin: Given | None = None,
        *,
        ordered: bool = False,
    ) -> Given:
        nothing = bytes(self.unit) if variable[0] == "sector" else None
        chain = self.chains.setdefault(variable, [])
        if operation is not None and not chain:
            chain.append(Given(nothing, chain=chain, directory=variable[1]))
        if variable[0] == "name":
            self.bound[variable[1:]] = value
        ordered = operation is not None and (ordered or variable[0] in ("name", "xattr", "mode", "gid"))
        given = Given(value, operation, twin, variable[1], chain=chain, ordered=ordered)
        if variable[0] == "name" and value is not None:
            self.births.setdefault(value, given)
        chain.append(given)
        return given

    def name(self, path: str) -> tuple[str, int, str]:
        """The name that a path stands for in the cache."""
        return "name", self.ancestors(path)[-1], os.path.basename(path)

    def ancestors(self, path: str) -> list[int]:
        found = [self.root]
        for part in path.split("/")[1:-1]:
            found.append(self.bound[found[-1], part])
        return found

    def ever_in(self, number: int) -> set[int]:
        """Every directory that a directory was in by now, directly or not, and itself."""
        result: set[int] = set()
        waiting = {number}
        while waiting:
            result |= waiting
            names = [(v[1], chain) for v, chain in self.chains.items() if v[0] == "name"]
            waiting = {above for above, chain in names if any(given.value in result for given in chain)} - result
        return result

    def move(self, number: int, path: str, source: Given, target: Given) -> None:
        """A directory's rename: it is never in two places, nor in itself."""
        self.needs.append((target, source))
        source.whole = True
        if source.directory != target.directory and not self.linux:  # which has its order
            above = self.ancestors(path)
            if any(number in self.ever_in(directory) for directory in above):
                self.needs += [(target, self.moves[directory]) for directory in above if directory in self.moves]
            self.moves[number] = target

    def apply(self, operation: Operation) -> None:  # noqa: C901, PLR0912
        number, arguments = operation.inode, operation.arguments
        match operation.name:
            case "open" if arguments[2]:
                self.born(number, b"", operation.result)
                self.give(self.name(operation.path), number, operation)
            case "tmpfile":
                self.born(number, b"", operation.result)
            case "pwritev":
                offset, data, flags = arguments
                cache = self.cache[number]
                old, at_end = len(cache), offset + len(data) >= len(cache)
                cache.extend(bytes(max(0, offset + len(data) - len(cache))))
                cache[offset : offset + len(data)] = data
                touched = range(offset // self.unit, (offset + len(data) + self.unit - 1) // self.unit)
                given = [self.write_sector(number, i, operation, whole=bool(flags & ATOMIC)) for i in touched]
                if flags & ATOMIC:
                    self.atomics.append(given)
                if at_end:
                    if not flags & ATOMIC:
                        self.pass_by(operation, old, offset)
                    self.resize(operation, old, ordered=False)
            case "truncate" | "allocate":
                cache = self.cache[number]
                old = len(cache)
                if operation.name == "truncate":
                    size = arguments[0]
                    del cache[size:]
                    for index in range(size // self.unit, -(-old // self.unit)):
                        through = index == size // self.unit and size % self.unit and size < old
                        zeros = self.write_sector(number, index, operation, whole=not through)
                        zeros.ordered = index * self.unit >= -(-size // 4096) * 4096
                else:
                    size = len(cache) if arguments[2] else max(len(cache), arguments[0] + arguments[1])
                cache.extend(bytes(size - len(cache)))
                if operation.name == "truncate" or size > old:
                    self.resize(operation, old, ordered=True)
            case "setxattr":
                self.give(("xattr", number, arguments[0]), arguments[1], operation)
            case "removexattr":
                self.give(("xattr", number, arguments[0]), None, operation)
            case "set_owner":
                self.give(("mode", number), 0o100000 | arguments[0], operation)
                self.give(("gid", number), arguments[1], operation)
            case "mkdir":
                self.directories[number] = operation.result.mode
                self.give(self.name(operation.path), number, operation)
            case "symlink":
                self.born(number, b"", operation.result)
                self.links[number] = arguments[0]
                self.give(self.name(operation.path), number, operation)
            case "link":
                self.give(self.name(arguments[0]), number, operation)
            case "unlink" | "rmdir":
                self.give(self.name(operation.path), None, operation)
            case "rename" if self.bound.get(self.name(arguments[0])[1:]) != number:
                target = self.give(self.name(arguments[0]), number, operation)
                source = self.give(self.name(operation.path), None, operation, target)
                self.needs.append((source, target))
                if number in self.directories:
                    self.move(number, arguments[0], source, target)
        if operation.mtime_ns is not None:
            self.give(("mtime", number), operation.mtime_ns, operation)

    def pass_by(self, operation: Operation, old: int, offset: int) -> None:
        """A write moves the end by blocks: to the end of the block that held it, and to that of each it writes in."""
        block = self.block
        for size in range(old + 1, len(self.cache[operation.inode])):
            if size % block == 0 and (size > offset or size - old < block):
                self.give(("size", operation.inode), size, operation)

    def resize(self, operation: Operation, old: int, *, ordered: bool) -> None:
        """A size that is as before changes nothing, but where a failed sync had put it in doubt."""
        number, size = operation.inode, len(self.cache[operation.inode])
        last = self.chains["size", number][-1]
        doubts = [o.completed or 0 for o in self.syncs("size", number, failed=True)]
        between = [moment for moment in doubts if last.issued < moment < operation.issued]
        if size != old or any(self.durable_at("size", number, last) > moment for moment in between):
            self.give(("size", number), size, operation, ordered=ordered)

    # When something is durable

    def syncs(self, kind: str, owner: Any, *, failed: bool) -> list[Operation]:
        """The syncs that had returned by the crash and are about this kind of variable."""
        names = {"sector": ("fdatasync", "fsync"), "size": ("fdatasync", "fsync"), "name": ("sync_directory",)}
        wanted = names.get(kind, ("fsync", "fdatasync") if failed else ("fsync",))
        return [
            o
            for o in self.operations
            if o.name in wanted
            and o.completed is not None
            and o.completed <= self.time
            and (o.error is not None) is failed
            and o.inode == owner
        ]

    def witnessed(self, kind: str, owner: Any, given: Given) -> list[int]:
        """When syncs that cover it returned."""
        if given.operation is None:
            return [0]
        covering = self.syncs(kind, owner, failed=False)
        return [o.completed or 0 for o in covering if given.completed < o.issued] + self.covered.get(given, [])

    def cover(self, sync: Operation, number: int) -> None:
        """An fsync of a file that is new to the disk covers its names, and its new directories."""
        moment = sync.completed or 0
        birth = self.births.get(number)
        if birth is None or birth.operation is None or birth.issued > moment:
            return
        owner = birth.directory
        if any(self.durable_at("name", owner, given) < moment for given in [birth, *birth.later()]):
            return
        names = [v for chain in list(self.chains) if chain[0] == "name" for v in self.chains[chain]]
        parents = set()
        for given in names:
            shown = given if given.twin is None else given.twin
            if given.operation is None or shown.value != number or given.completed >= sync.issued:
                continue
            place = given.directory
            gone = any(self.durable_at("name", place, later) < moment for later in [given, *given.later()])
            if gone or not self.unbroken("name", place, given, moment):
                continue
            self.covered.setdefault(given, []).append(moment)
            for earlier in given.chain[: given_index(given)]:
                if earlier.twin is not None:  # what was renamed away from this name is there, too
                    self.covered.setdefault(earlier, []).append(moment)
                    self.covered.setdefault(earlier.twin, []).append(moment)
            parents.add(place)
        for parent in parents - {number}:
            self.cover(sync, parent)

    def unbroken(self, kind: str, owner: Any, given: Given, moment: int) -> bool:
        """Whether no sync had failed between the change and its durability at ``moment``."""
        return not any(given.issued < (o.completed or 0) < moment for o in self.syncs(kind, owner, failed=True))

    def durable_at(self, kind: str, owner: Any, given: Given) -> int:
        """When it became durable; FOREVER if not by the crash."""
        moments = self.witnessed(kind, owner, given)
        if given.twin is not None and given.whole:
            return self.name_settled(given.twin)
        if given.twin is not None:
            gone = self.name_settled(given.twin)
            moments = [max(moment, gone) for moment in self.own_synced(owner, given)]
        return min((m for m in moments if self.unbroken(kind, owner, given, m)), default=FOREVER)

    def own_synced(self, owner: Any, given: Given) -> list[int]:
        moments = self.witnessed("name", owner, given)
        return [m for m in moments if self.unbroken("name", owner, given, m)]

    def name_settled(self, given: Given) -> int:
        """When a name's own directory was synced, or a later version of the name was durable."""
        owner = given.directory
        later = [self.durable_at("name", owner, other) for other in given.later()]
        return min(self.own_synced(owner, given) + later, default=FOREVER)

    def shown(self, variable: tuple[Any, ...]) -> list[Given]:
        """Under the rules of Linux what may be left if the metadata came up to the event ``self.position``."""
        legal = self.legal(variable)
        came = [given for given in legal if given.ordered and given.issued <= self.position]
        last = max([legal[0], *came], key=given_index)
        return [given for given in legal if given is last or (given in last.later() and not given.ordered)]

    def legal(self, variable: tuple[Any, ...]) -> list[Given]:
        kind = variable[0]
        return [
            given
            for given in self.chains[variable]
            if not any(self.durable_at(kind, variable[1], later) <= self.time for later in given.later())
        ]

    # All states

    def states(self) -> set[State]:
        if not self.linux:
            return self.states_of(self.legal)
        result: set[State] = set()
        for position in [0, *(operation.issued for operation in self.operations)]:
            self.position = position
            result |= self.states_of(self.shown)
        return result

    def states_of(self, legal: Callable[[tuple[Any, ...]], list[Given]]) -> set[State]:
        names = [variable for variable in self.chains if variable[0] == "name"]
        result: set[State] = set()
        for combination in itertools.product(*(legal(name) for name in names)):
            if self.forbidden(combination):
                assert not self.linux
                continue
            there = {name[1:]: given.value for name, given in zip(names, combination, strict=True) if given.value}
            shown = self.paths("/", self.root, there)
            numbers = sorted({number for _, number in shown})
            for files in itertools.product(*(self.files(number, legal) for number in numbers)):
                content = dict(zip(numbers, files, strict=True))
                result.add(frozenset((path, content[number]) for path, number in shown))
        return result

    def paths(self, path: str, number: int, there: dict[tuple[int, str], int]) -> list[tuple[str, int]]:
        """A path, what it stands for, and the same of all that lies below."""
        found = [(path, number)]
        for (directory, name), inside in there.items():
            if directory == number:
                found += self.paths(os.path.join(path, name), inside, there)
        return found

    def forbidden(self, combination: tuple[Given, ...]) -> bool:
        """Whether a rename took the old name and did not give the new one, or broke a rule for directories."""
        for one, other in self.needs:
            chosen = [given for given in combination if given.chain is one.chain]
            needed = [given for given in combination if given.chain is other.chain]
            if chosen[0] in [one, *one.later()] and needed[0] not in [other, *other.later()]:
                return True
        return False

    def torn(self, atomic: list[Given], row: tuple[Given, ...]) -> bool:
        """Whether one sector shows an atomic write while another has something older than it."""
        chosen = [(given, one) for given in atomic for one in row if one.chain is given.chain]
        return any(one is given for given, one in chosen) and any(given in one.later() for given, one in chosen)

    def files(self, number: int, legal: Callable[[tuple[Any, ...]], list[Given]]) -> set[File]:
        if number in self.directories:
            return {("", 0, self.directories[number], 0, frozenset())}
        sectors = [variable for variable in self.chains if variable[:2] == ("sector", number)]
        disks = [
            {variable[2]: given.value for variable, given in zip(sectors, row, strict=True)}
            for row in itertools.product(*(legal(variable) for variable in sectors))
            if not any(self.torn(atomic, row) for atomic in self.atomics)
        ]
        contents: set[bytes | str] = set()
        for size in {given.value for given in legal(("size", number))}:
            indices = range(-(-size // self.unit))
            if number in self.links:
                contents.add(self.links[number])
                continue
            contents |= {b"".join(disk.get(i, bytes(self.unit)) for i in indices)[:size] for disk in disks}
        plain = [{g.value for g in legal((kind, number))} for kind in ("mtime", "mode", "gid")]
        attributes = [v for v in self.chains if v[0] == "xattr" and v[1] == number]
        choices = [{g.value for g in legal(variable)} for variable in attributes]
        marks = {
            frozenset((v[2], value) for v, value in zip(attributes, row, strict=True) if value is not None)
            for row in itertools.product(*choices)
        }
        return {
            (content, *rest, mark)
            for content, rest, mark in itertools.product(contents, itertools.product(*plain), marks)
        }
