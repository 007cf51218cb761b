"""The persistence rules a second time, for the certificate: what each variable may hold at each crash point.

Written from the table in :mod:`untorn.crashmodel.rules` and not from the code there, so that a mistake in one of
the two shows. Every version of a variable has at most one **witness**: the first event at which something proves that
it is durable. A version is legal at T if it was issued by T and no later version of the variable has its witness by
T. So one sweep over the operations finds the witnesses, and one pass over each chain of versions the crash points.

A nested trace starts from a disk that is not all known. What was there and is still there is called INHERITED; what an
operation adds must not depend on anything undecided, or :class:`UndecidedError` is raised.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from untorn.crashmodel.disk_image import PAGE
from untorn.crashmodel.profiles import STRICT
from untorn.crashmodel.trace import Operation
from untorn.crashmodel.variables import GARBAGE, NEVER, Variable
from untorn.explore.certificate.cached_names import Whereabouts
from untorn.explore.certificate.initial_disk import Start, UndecidedError, newborn, only
from untorn.explore.certificate.versions import Chains, Span, Version
from untorn.explore.search_record import BACKWARDS, INHERITED, ORDER, SORTED
from untorn.sizes import SECTOR
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC

_DATA: Final = ("sector", "size")
_META: Final = ("xattr", "mtime", "mode", "gid")


class _File:
    """What the cache has of one inode."""

    def __init__(self) -> None:
        self.born = False
        self.size: int | None = None
        """None: as at the start."""
        self.kept: int = NEVER
        """What the start had from this byte on was cut off."""
        self.sectors: dict[int, bytes] = {}
        self.pages: set[int] = set()
        """Those that were written since the start, and not cut off."""


class Sweep:
    """The witnesses of every version that operations issued by ``last`` give."""

    def __init__(
        self, operations: Iterable[Operation], start: Start, last: int, *,
        profile: str = STRICT, sector: int = SECTOR, block: int = 0, powersafe: bool = True,
    ) -> None:  # fmt: skip
        if profile != STRICT:
            raise UndecidedError(
                f"the profile {profile} is explored, but never certified: there is no second account of its rules"
            )
        self._start = start
        self._unit, self._block = sector, block or sector
        self._garbage = None if powersafe else GARBAGE * (sector // SECTOR)
        self._files: dict[int, _File] = {}
        self._where = Whereabouts(start)
        self.chains = Chains()
        self._pending: dict[tuple[str, int], dict[Variable, list[Version]]] = {}
        """Of ("inode", its number) or ("names in", a directory): the versions that nothing made durable or ended."""
        self.births: dict[int, Any] = {}
        """By inode that an operation created: its FileStat."""
        events: list[tuple[int, bool, Operation]] = []
        for operation in operations:
            if operation.issued <= last:
                events.append((operation.issued, False, operation))
                if operation.completed is not None:
                    events.append((operation.completed, True, operation))
        events.sort(key=lambda event: event[0])
        for _, returned, operation in events:
            if returned:
                self._returned(operation)
            elif operation.error is None:
                self._issued(operation)

    def spans(self) -> dict[Variable, list[Span]]:
        """By variable: its values with their crash points, oldest first; the first is what it had at the start."""
        spans = self.chains.spans()
        if not self._start.nested:  # the order in which directories list: either, and always the same
            spans[ORDER] = [Span(BACKWARDS, 0, NEVER), Span(SORTED, 0, NEVER)]
        return spans

    # Versions

    def _add(
        self, operation: Operation, variable: Variable, value: Any, *,
        twin: Version | None = None, torn: bool = False, whole: bool = False,
    ) -> Version:  # fmt: skip
        """A version; ``torn`` if garbage may come too, ``whole`` if it comes with others."""
        self._meet(variable)
        if not whole:
            self.chains.plain(variable)
        owner = ("names in" if variable.kind == "name" else "inode", variable.inode)
        pending = self._pending.setdefault(owner, {}).setdefault(variable, [])
        completed = NEVER if operation.completed is None else operation.completed
        versions = [Version(value, operation.issued, completed, twin=twin)]
        if torn and self._garbage:
            versions.insert(0, Version(self._garbage, operation.issued, completed, broken=True))
        for version in versions:
            self.chains.append(variable, version)
            pending.append(version)
        return versions[-1]

    def _meet(self, variable: Variable) -> None:
        if not self.chains.get(variable):
            self.chains.begin(variable, self._base(variable))

    def _base(self, variable: Variable) -> Any:
        if variable.kind == "name":
            return self._where.at_start(variable)
        if self._start.nested:
            return INHERITED
        if variable.inode in self.births:
            return newborn(variable, self.births[variable.inode], self._unit)
        start, key = self._start, variable.key
        match variable.kind:
            case "sector":
                assert isinstance(key, int)
                found: Collection[Any] = start.sector(variable.inode, key)
            case "size":
                found = start.sizes(variable.inode)
            case _:
                found = start.plain(variable)
        return only(found, str(variable))

    # What is in the cache

    def _sizes(self, number: int) -> Collection[int]:
        size = self._file(number).size
        return self._start.sizes(number) if size is None else (size,)

    def _file(self, number: int) -> _File:
        return self._files.setdefault(number, _File())

    def _cached(self, number: int, index: int, low: int, high: int) -> bytes:
        """Bytes [low, high) of a sector as the cache has them: zeros behind the size."""
        file = self._file(number)
        if index in file.sectors:
            return file.sectors[index][low:high]
        if file.born or low >= high:
            return bytes(high - low)
        parts: set[bytes] = set()
        for size in self._start.sizes(number):
            end = min(max(min(size, file.kept) - index * self._unit, low), high)
            parts.update(value[low:end] + bytes(high - end) for value in self._start.sector(number, index))
        part: bytes = only(parts, f"sector {index} of inode {number}")
        return part

    def _written(self, number: int) -> Iterable[int]:
        """The sectors of all pages in which something was ever written and not cut off."""
        file, per_page = self._file(number), PAGE // self._unit
        pages = file.pages
        if not file.born:
            start = {index // per_page for index in self._start.sectors(number)}
            end = min(file.kept, *self._start.sizes(number))
            pages = pages.union(page for page in start if page * PAGE < end)
        return (page * per_page + at for page in pages for at in range(per_page))

    def _put(self, operation: Operation, index: int, value: bytes, *, torn: bool, whole: bool = False) -> None:
        file = self._file(operation.inode)
        file.sectors[index] = value
        file.pages.add(index * self._unit // PAGE)
        self._add(operation, Variable("sector", operation.inode, index), value, torn=torn, whole=whole)

    def _resize(self, operation: Operation, size: int) -> None:
        """A version of the size, if it is another one or no sync can help the last."""
        variable = Variable("size", operation.inode)
        chain = self.chains.get(variable)
        before = self._sizes(operation.inode)
        self._file(operation.inode).size = size
        if only(before, f"the size of inode {operation.inode}") != size or (chain and chain[-1].broken):
            self._add(operation, variable, size)

    # What operations do when they are issued

    def _issued(self, operation: Operation) -> None:
        arguments, number = operation.arguments, operation.inode
        match operation.name:
            case "pwritev":
                self._write(operation)
            case "truncate":
                self._truncate(operation, arguments[0])
            case "allocate":
                end = arguments[0] + arguments[1]
                if not arguments[2] and self._beyond(number, end - 1):
                    self._resize(operation, end)
            case "setxattr" | "removexattr":
                value = arguments[1] if operation.name == "setxattr" else None
                self._add(operation, Variable("xattr", number, arguments[0]), value)
            case "set_owner":
                mode = self._kind(number) | stat.S_IMODE(arguments[0])
                self._add(operation, Variable("mode", number), mode)
                self._add(operation, Variable("gid", number), arguments[1])
            case "set_times":
                pass
            case _:
                self._name_changed(operation)
                return
        if operation.mtime_ns is not None:
            self._add(operation, Variable("mtime", number), operation.mtime_ns)

    def _name_changed(self, operation: Operation) -> None:
        match operation.name:
            case "tmpfile":
                self._create(operation)
            case "open" | "mkdir" | "symlink":
                if operation.name != "open" or operation.arguments[2]:
                    self._create(operation)
            case "unlink" | "rmdir":
                self._name(operation, operation.path, None)
            case "link":
                self._name(operation, operation.arguments[0], operation.inode)
            case "rename":
                self._rename(operation, operation.arguments[0])

    def _create(self, operation: Operation) -> None:
        number, file = operation.inode, self._file(operation.inode)
        file.born, file.size = True, 0
        self.births[number] = operation.result
        if operation.name != "tmpfile":
            self._name(operation, operation.path, number)

    def _name(self, operation: Operation, path: str, inode: int | None, twin: Version | None = None) -> Version:
        name = self._where.name(path)
        version = self._add(operation, name, inode, twin=twin)
        self._where.give(name, inode)
        return version

    def _kind(self, number: int) -> int:
        return stat.S_IFMT(self.births[number].mode) if number in self.births else self._start.kind(number)

    def _beyond(self, number: int, end: int) -> bool:
        """Whether the file ends at or before ``end``."""
        sizes = self._sizes(number)
        result: bool = only({size <= end for size in sizes}, f"whether inode {number} ends before {end}")
        return result

    def _write(self, operation: Operation) -> None:
        offset, data, flags = operation.arguments
        length = len(data)
        data = data[: length if operation.completed is None else operation.result]
        if not data:
            return
        whole = bool(flags & RWF_ATOMIC) and len(data) == length
        number, end = operation.inode, offset + len(data)
        sizes = self._sizes(number)
        grows = min(sizes) < end or (len(set(sizes)) == 1 and self._beyond(number, end))
        indices = range(offset // self._unit, (end - 1) // self._unit + 1)
        if whole:
            variables = [Variable("sector", number, index) for index in indices]
            for variable in variables:
                self._meet(variable)
            self.chains.together(variables)
        for index in indices:
            start = index * self._unit
            low, high = max(offset - start, 0), min(end - start, self._unit)
            before, after = self._cached(number, index, 0, low), self._cached(number, index, high, self._unit)
            value = before + data[start + low - offset : start + high - offset] + after
            self._put(operation, index, value, torn=not whole, whole=whole)
        if grows:
            if not whole:
                self._pass(operation, only(sizes, f"the size of inode {number}"), offset, end)
            self._resize(operation, end)

    def _pass(self, operation: Operation, old: int, offset: int, end: int) -> None:
        """The sizes that a write passes on its way from the old end to its own: each full block that it fills."""
        passed = {-(-old // self._block) * self._block}
        passed.update(block * self._block for block in range(offset // self._block + 1, -(-end // self._block)))
        for size in sorted(passed):
            if old < size < end:
                self._add(operation, Variable("size", operation.inode), size)

    def _truncate(self, operation: Operation, size: int) -> None:
        number = operation.inode
        file, old = self._file(number), only(self._sizes(number), f"the size of inode {number}")
        known = {
            v.key for v in self._pending.get(("inode", number), ()) if v.kind == "sector" and isinstance(v.key, int)
        }
        if size < old:
            known.update(self._written(number))
        for index in sorted(known):
            if size // self._unit <= index < -(-old // self._unit):
                kept = min(max(size - index * self._unit, 0), self._unit)
                self._put(
                    operation,
                    index,
                    self._cached(number, index, 0, kept) + bytes(self._unit - kept),
                    torn=0 < kept < self._unit and size < old,
                )
        file.kept = min(file.kept, size)
        if size <= old:
            file.pages = {page for page in file.pages if page * PAGE < size}
        self._resize(operation, size)

    def _rename(self, operation: Operation, target: str) -> None:
        number, old, new = operation.inode, self._where.name(operation.path), self._where.name(target)
        if old == new or self._where.inode(new) == number:  # two names of one file: nothing happens
            return
        added = self._name(operation, target, number)
        removed = self._name(operation, operation.path, None, added)
        self.chains.bind(old, removed, new, added)
        if stat.S_ISDIR(self._kind(number)):
            self.chains.bind(new, added, old, removed)  # a directory is never in two places
            if old.inode != new.inode:
                for name, moved in self._where.move(number, old, target, added):  # nor in itself
                    self.chains.bind(new, added, name, moved)

    # What operations prove when they return

    def _returned(self, operation: Operation) -> None:
        before: Callable[[Version], bool] = lambda v: v.completed < operation.issued  # noqa: E731
        match operation.name:
            case "fdatasync" | "fsync" | "sync_directory" if operation.error is not None:
                owner = ("names in" if operation.name == "sync_directory" else "inode", operation.inode)
                for versions in self._pending.get(owner, {}).values():
                    for version in versions:
                        version.broken = True
            case "fdatasync":
                self._durable(operation, _DATA, before)
            case "fsync":
                self._durable(operation, _DATA + _META, before)
            case "sync_directory":
                self._directory_synced(operation, before)
            case "pwritev" if operation.error is None and operation.arguments[2] & (RWF_DSYNC | RWF_SYNC):
                self._written_through(operation, before)

    def _durable(self, operation: Operation, kinds: Sequence[str], proved: Callable[[Version], bool]) -> None:
        pending = self._pending.get(("inode", operation.inode), {})
        for variable in [variable for variable in pending if variable.kind in kinds]:
            self._witness(pending, variable, operation, proved)
        if not pending:
            self._pending.pop(("inode", operation.inode), None)

    def _witness(
        self, pending: dict[Variable, list[Version]], variable: Variable, operation: Operation,
        proved: Callable[[Version], bool],
    ) -> bool:  # fmt: skip
        """Gives the newest version that is proved durable its witness; all before it are settled too."""
        versions = pending[variable]
        for index in range(len(versions) - 1, -1, -1):
            if proved(versions[index]) and not versions[index].broken:
                assert operation.completed is not None
                versions[index].witness = operation.completed
                for version in versions[: index + 1]:
                    version.gone = True
                pending[variable] = versions[index + 1 :]
                if not pending[variable]:
                    del pending[variable]
                return True
        return False

    def _directory_synced(self, operation: Operation, before: Callable[[Version], bool]) -> None:
        for versions in self._pending.get(("names in", operation.inode), {}).values():
            for version in versions:
                if before(version) and not version.broken:
                    version.gone = True
        moved = True
        while moved:  # that a name is settled may settle the one that was renamed to it
            moved = False
            for owner in [owner for owner in self._pending if owner[0] == "names in"]:
                pending = self._pending[owner]
                for variable in list(pending):
                    moved |= self._witness(pending, variable, operation, _settled)
                if not pending:
                    del self._pending[owner]

    def _written_through(self, operation: Operation, before: Callable[[Version], bool]) -> None:
        offset, _, flags = operation.arguments
        end = offset + operation.result
        own: Callable[[Version], bool] = lambda v: v.issued == operation.issued  # noqa: E731
        returned: Callable[[Version], bool] = lambda v: before(v) or own(v)  # noqa: E731
        self._durable(operation, ("sector",), own)
        if self._size_needed(operation.inode, end):
            self._durable(operation, ("size",), returned)
        if flags & RWF_SYNC:
            self._durable(operation, ("size", *_META), returned)

    def _size_needed(self, number: int, end: int) -> bool:
        """Whether a crash now might leave a size that hides the last of these bytes."""
        chain = self.chains.get(Variable("size", number))
        if not chain:
            return False
        oldest = max(index for index, version in enumerate(chain) if version.witness != NEVER)
        sizes = {version.value for version in chain[oldest:]}
        if INHERITED in sizes:
            sizes = (sizes - {INHERITED}).union((0,) if self._file(number).born else self._start.sizes(number))
        return bool(min(sizes) < end)


def _settled(version: Version) -> bool:
    return version.gone and (version.twin is None or version.twin.gone)
