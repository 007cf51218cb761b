"""A simulated machine after a crash that decides what its disk holds only when somebody looks.

It is the ordinary simulated storage over contents, names and attributes that ask a :class:`World`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from untorn.explore.contents import LazyContent, same
from untorn.explore.digests import Digests
from untorn.explore.inodes import LazyAttributes, LazyInode, LazyStat
from untorn.explore.space import BACKWARDS, ORDER, SORTED, Layer, births, rules
from untorn.explore.world import World
from untorn.geometry import SECTOR
from untorn.storage.api import FileStat, Piece
from untorn.storage.disk import NAME_MAX, Disk, Options, Place
from untorn.storage.image import Image, Inode
from untorn.storage.recording import Trace
from untorn.storage.simulated import SimulatedStorage
from untorn.storage.simulated_file import SimulatedFile
from untorn.storage.variables import Variable
from untorn.storage.variables import number as number_of

T = TypeVar("T")


class LazyDisk(Disk):
    """The machine after the crash; ``ground`` is what all runs over the same layers share."""

    def __init__(self, ground: Ground, world: World) -> None:
        self.rules = rules(ground.options)
        self.options = ground.options
        self.generation = len(world.layers)
        self.world = world
        self.unwritable: set[str] = set()
        self.dead = False
        self.handles: dict[int, tuple[int, Inode]] = {}
        self.locks: dict[int, dict[int, bool]] = {}
        self.backwards = False
        self.nameless: set[int] = set()
        self.drawn = 0
        self.serial = 0
        self.inodes = ground.last_inode
        self.time_ns = ground.time_ns
        self.live = Image()
        self.trace = Trace(Image(), sites=ground.options.sites)
        self.ground = ground
        self._bound: dict[str, int | None] = {}
        self.looked_up: dict[str, int | None] = {}
        """Names as they were before anything was bound, as far as they are decided."""
        self.decided: dict[int, LazyInode] = {}

    def inode(self, number: int) -> Inode:
        """The inode of a number; made when first asked for."""
        inode = self.live.inodes.get(number)
        if inode is None:
            ground, world = self.ground, self.world
            base = ground.inodes[number]
            content = LazyContent(
                world, number, base.content, ground.sectors.get(number, ()), ground.digests, ground.options.sector
            )
            attributes = LazyAttributes(world, number, base.attributes, ground.attributes.get(number, ()))
            inode = self.live.inodes[number] = self.decided[number] = LazyInode(world, base, content, attributes)
        return inode

    def walk(self, path: str, *, follow: bool) -> Place:
        """As of any disk; in a file of the root directory, which every run looks at often, there is little to walk."""
        name = path[1:]
        if path[:1] == "/" and name not in ("", ".", "..") and "/" not in name and len(name) < NAME_MAX // 4:
            inode = self.found(path)
            if inode is None or not inode.is_link:
                return Place("/", name, inode)
        return super().walk(path, follow=follow)

    def found(self, path: str) -> Inode | None:
        number = self.number(path)
        return None if number is None else self.inode(number)

    def number(self, path: str) -> int | None:
        if path in self._bound:
            return self._bound[path]
        number: int | None = self.world.ask(Variable("name", 0, path), same, lambda: self.ground.names.get(path))
        self._bound[path] = self.looked_up[path] = number
        return number

    def names(self, directory: str) -> list[str]:
        paths = {path for path in self._bound if os.path.dirname(path) == directory}
        paths.update(self.ground.children.get(directory, ()))
        there = [path for path in sorted(paths) if path != "/" and self.number(path) is not None]
        return sorted(map(os.path.basename, there))

    def listed(self, directory: str) -> list[str]:
        names = self.names(directory)
        if len(names) > 1 and self.world.ask(ORDER, same, lambda: SORTED) == BACKWARDS:
            names.reverse()
        return names

    def links(self, inode: Inode) -> int:
        """How many names it has; asked in one order in every process, as all questions."""
        paths = sorted({*self.ground.paths, *self._bound})
        return sum(self._names(path, inode) and self._reached(path) for path in paths)

    def _names(self, path: str, inode: Inode) -> bool:
        """Whether a path is a name of the inode, wherever its directory is."""
        if path in self._bound:
            return self._bound[path] == inode.number
        possible = self.world.possible(
            Variable("name", 0, path), lambda v: v == inode.number, lambda: self.ground.names.get(path)
        )
        return True in possible and (len(possible) == 1 or self.number(path) == inode.number)

    def _reached(self, path: str) -> bool:
        """Whether the directories above a path are there."""
        directory = os.path.dirname(path)
        return directory == "/" or (self.number(directory) is not None and self._reached(directory))

    def bind(self, path: str, inode: Inode) -> None:
        self.live.inodes[inode.number] = inode
        self._bound[path] = inode.number
        if inode.is_directory:  # new and so empty: only files are renamed
            for below in self.ground.paths:
                if below.startswith(f"{path}/"):
                    self._bound.setdefault(below, None)

    def unbind(self, path: str) -> None:
        self._bound[path] = None

    def forget(self, inode: Inode) -> None:
        """Nothing: whether an inode has other names need not be decided."""

    def stat(self, inode: Inode) -> FileStat:
        if isinstance(inode, LazyInode):
            return LazyStat.of(inode, lambda: self.links(inode))
        return super().stat(inode)


class Ground:
    """What all runs after one crash share: the layers and what lies beneath them."""

    def __init__(self, layer: Layer, options: Options, time_ns: int, below: Ground | None = None) -> None:
        image = layer.trace.image
        self.layers: list[Layer] = [*below.layers, layer] if below else [layer]
        self.last_inode: int
        self.paths: list[str]
        self.options = options
        self.digests: Digests = below.digests if below else Digests(options.sector)
        self.inodes: dict[int, Inode] = dict(below.inodes if below else image.inodes)
        self.names: dict[str, int] = below.names if below else image.names
        self.sectors: dict[int, list[int]] = dict(below.sectors) if below else {}
        self.attributes: dict[int, list[str]] = dict(below.attributes) if below else {}
        self.time_ns = time_ns
        paths = set(below.paths if below else self.names)
        for operation in births(layer.trace):
            found = operation.result
            if isinstance(found, FileStat) and operation.inode not in self.inodes:
                self.inodes[operation.inode] = Inode(
                    operation.inode, found.mode, found.uid, found.gid, found.mtime_ns, found.birth_ns,
                    target=operation.arguments[0] if operation.name == "symlink" else "",
                )  # fmt: skip
        sectors: dict[int, set[int]] = {}
        attributes: dict[int, set[str]] = {}
        for variable in layer.stacks:
            if variable.kind == "sector":
                sectors.setdefault(variable.inode, set()).add(number_of(variable.key))
            elif variable.kind == "xattr":
                attributes.setdefault(variable.inode, set()).add(str(variable.key))
            elif variable.kind == "name":
                paths.add(str(variable.key))
        for number, indices in sectors.items():
            self.sectors[number] = sorted(indices.union(self.sectors.get(number, ())))
        for number, names in attributes.items():
            self.attributes[number] = sorted(names.union(self.attributes.get(number, ())))
        self.paths = sorted(paths)
        self.children: dict[str, list[str]] = {}
        for path in self.paths:
            self.children.setdefault(os.path.dirname(path), []).append(path)
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

    def __init__(self, ground: Ground, world: World) -> None:
        disk = LazyDisk(ground, world)
        super().__init__(disk)
        self.lazy = disk
