"""A simulated machine after a crash that decides what its disk holds only when somebody looks.

It is the ordinary simulated storage over contents, names and attributes that ask a :class:`CrashState`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from untorn.crashmodel.disk_image import ROOT, Image, Inode, Name
from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.machine import NAME_MAX, Disk, Options, Place
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Trace
from untorn.crashmodel.variables import Variable, name_of
from untorn.crashmodel.variables import number as number_of
from untorn.explore.lazy.content import LazyContent, same
from untorn.explore.lazy.crash_state import CrashState
from untorn.explore.lazy.digests import Digests
from untorn.explore.lazy.inode import LazyAttributes, LazyInode, LazyStat
from untorn.explore.lazy.layers import births, rules
from untorn.explore.search_record import BACKWARDS, ORDER, SORTED, Layer
from untorn.sizes import SECTOR
from untorn.storage.interface import FileStat, Piece

T = TypeVar("T")


class LazyDisk(Disk):
    """The machine after the crash; ``shared`` is what all executions over the same layers share."""

    def __init__(self, shared: SharedBase, crash_state: CrashState) -> None:
        self._switch_on(shared.options, len(crash_state.layers))
        self.rules = rules(shared.options)
        self.crash_state = crash_state
        self.inodes = shared.last_inode
        self.time_ns = shared.time_ns
        self.live = Image()
        self.trace = Trace(Image(), sites=shared.options.sites)
        self.shared = shared
        self._bound: dict[Name, int | None] = {}
        self.looked_up: dict[Name, int | None] = {}
        """Names as they were before anything was bound, as far as they are decided."""
        self.decided: dict[int, LazyInode] = {}

    def inode(self, number: int) -> Inode:
        """The inode of a number; made when first asked for."""
        inode = self.live.inodes.get(number)
        if inode is None:
            shared, crash_state = self.shared, self.crash_state
            base = shared.inodes[number]
            content = LazyContent(
                crash_state, number, base.content, shared.sectors.get(number, ()), shared.digests, shared.options.sector
            )
            attributes = LazyAttributes(crash_state, number, base.attributes, shared.attributes.get(number, ()))
            inode = self.live.inodes[number] = self.decided[number] = LazyInode(crash_state, base, content, attributes)
        return inode

    def walk(self, path: str, *, follow: bool) -> Place:
        """As of any disk; in a file of the root directory, at which all look often, there is little to walk."""
        name = path[1:]
        if path[:1] == "/" and name not in ("", ".", "..") and "/" not in name and len(name) < NAME_MAX // 4:
            place = self._step([], name)
            if place.inode is None or not place.inode.is_link:
                return place
        return super().walk(path, follow=follow)

    def root(self) -> Inode:
        return self.inode(ROOT)

    def found(self, key: Name) -> Inode | None:
        number = self.number(key)
        return None if number is None else self.inode(number)

    def number(self, key: Name) -> int | None:
        if key in self._bound:
            return self._bound[key]
        number: int | None = self.crash_state.ask_value(
            Variable("name", *key), same, lambda: self.shared.names.get(key)
        )
        self._bound[key] = self.looked_up[key] = number
        return number

    def names(self, directory: int) -> list[str]:
        names = {name for parent, name in self._bound if parent == directory}
        names.update(self.shared.children.get(directory, ()))
        return [name for name in sorted(names) if self.number((directory, name)) is not None]

    def listed(self, directory: int) -> list[str]:
        names = self.names(directory)
        if len(names) > 1 and self.crash_state.ask_value(ORDER, same, lambda: SORTED) == BACKWARDS:
            names.reverse()
        return names

    def links(self, inode: Inode) -> int:
        """How many names it has; asked in one order in every process, as all questions."""
        return sum(self._names(key, inode.number) and self._reached(key[0]) for key in self._known())

    def _known(self) -> list[Name]:
        """Every name that something may have, in one order."""
        return sorted({*self.shared.keys, *self._bound})

    def _names(self, key: Name, number: int) -> bool:
        """Whether a name is one of the inode, wherever its directory is."""
        if key in self._bound:
            return self._bound[key] == number
        possible = self.crash_state.possible_answers(
            Variable("name", *key), lambda v: v == number, lambda: self.shared.names.get(key)
        )
        return True in possible and (len(possible) == 1 or self.number(key) == number)

    def _reached(self, directory: int) -> bool:
        """Whether a directory is there, and those above it."""
        if directory == ROOT:
            return True
        home = self.homes.get(directory) or next((key for key in self._known() if self._names(key, directory)), None)
        return home is not None and self._reached(home[0])

    def bind(self, key: Name, inode: Inode) -> None:
        self._left(key, self._bound.get(key))
        self.live.inodes[inode.number] = inode
        self._bound[key] = inode.number
        self._moved(key, inode)

    def unbind(self, key: Name) -> None:
        self._left(key, self._bound.get(key))
        self._bound[key] = None

    def forget(self, inode: Inode) -> None:
        """Nothing: whether an inode has other names need not be decided."""

    def stat(self, inode: Inode) -> FileStat:
        if isinstance(inode, LazyInode):
            return LazyStat.of(inode, lambda: self.links(inode))
        return super().stat(inode)


class SharedBase:
    """What all executions after one crash share: the layers and what lies beneath them."""

    def __init__(self, layer: Layer, options: Options, time_ns: int, below: SharedBase | None = None) -> None:
        image = layer.trace.image
        self.layers: list[Layer] = [*below.layers, layer] if below else [layer]
        self.last_inode: int
        self.keys: list[Name]
        self.options = options
        self.digests: Digests = below.digests if below else Digests(options.sector)
        self.inodes: dict[int, Inode] = dict(below.inodes if below else image.inodes)
        self.names: dict[Name, int] = below.names if below else image.names
        self.sectors: dict[int, list[int]] = dict(below.sectors) if below else {}
        self.attributes: dict[int, list[str]] = dict(below.attributes) if below else {}
        self.time_ns = time_ns
        keys = set(below.keys if below else self.names)
        for operation in births(layer.trace):
            found = operation.result
            if isinstance(found, FileStat) and operation.inode not in self.inodes:
                self.inodes[operation.inode] = Inode(
                    operation.inode, found.mode, found.uid, found.gid, found.mtime_ns, found.birth_ns,
                    target=operation.arguments[0] if operation.name == "symlink" else "",
                )  # fmt: skip
        sectors: dict[int, set[int]] = {}
        attributes: dict[int, set[str]] = {}
        for variable in layer.deciders:
            if variable.kind == "sector":
                sectors.setdefault(variable.inode, set()).add(number_of(variable.key))
            elif variable.kind == "xattr":
                attributes.setdefault(variable.inode, set()).add(str(variable.key))
            elif variable.kind == "name":
                keys.add(name_of(variable))
        for number, indices in sectors.items():
            self.sectors[number] = sorted(indices.union(self.sectors.get(number, ())))
        for number, names in attributes.items():
            self.attributes[number] = sorted(names.union(self.attributes.get(number, ())))
        self.keys = sorted(keys)
        self.children: dict[int, list[str]] = {}
        for directory, name in self.keys:
            self.children.setdefault(directory, []).append(name)
        self.last_inode = max(self.inodes, default=0)


class LazyFile(SimulatedFile):
    """An open file whose declared reads are questions."""

    def verify(self, offset: int, pieces: Sequence[Piece], seed: int) -> bool:
        content = self._inode.content
        answer = content.verify(offset, pieces, seed) if isinstance(content, LazyContent) else None
        return super().verify(offset, pieces, seed) if answer is None else answer

    def observe(self, start: int, stop: int, stride: int, classify: Callable[[bytes], T]) -> Iterator[T]:
        content = self._inode.content
        if not isinstance(content, LazyContent) or start % SECTOR or stride % SECTOR:
            yield from super().observe(start, stop, stride, classify)
            return
        yield from content.observe(start, stop, stride, classify)


class LazyStorage(SimulatedStorage):
    """The simulated storage after a crash that is decided as it is looked at."""

    opened = LazyFile

    def __init__(self, shared: SharedBase, crash_state: CrashState) -> None:
        disk = LazyDisk(shared, crash_state)
        super().__init__(disk)
        self.lazy = disk
