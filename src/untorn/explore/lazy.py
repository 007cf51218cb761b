"""A simulated machine after a crash that decides what its disk holds only when somebody looks.

It is the ordinary simulated storage over contents, names and attributes that ask a :class:`World`. A read decides
the bytes that it returns and no others; what is written over is never decided; a digest is one question with two
answers, and a classifier of sectors one with as many as it has classes.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from untorn.explore.digests import Digests
from untorn.explore.space import Layer, births, rules
from untorn.explore.world import UNDECIDED, Key, World
from untorn.geometry import SECTOR
from untorn.storage.api import FileStat, Piece
from untorn.storage.disk import DEVICE, Disk, Options
from untorn.storage.image import Content, Image, Inode
from untorn.storage.recording import Trace
from untorn.storage.simulated import SimulatedStorage
from untorn.storage.simulated_file import SimulatedFile
from untorn.storage.variables import Variable
from untorn.storage.variables import number as number_of

T = TypeVar("T")


def _same(value: Any) -> Any:
    return value


class LazyContent(Content):
    """Bytes of one file; what is decided or written moves into its pages."""

    __slots__ = ("_base", "_closed", "_digests", "_inode", "_sectors", "_size", "_unit", "_world", "seen")

    def __init__(
        self, world: World, inode: int, base: Content, sectors: Sequence[int], digests: Digests, unit: int
    ) -> None:
        self._unit = unit
        self._size: int | None = None
        self._base = base
        self._pages = base._pages
        self._shared = True
        self._world = world
        self._inode = inode
        self._sectors = sectors
        self._closed: set[int] = set()
        self.seen: dict[int, bytes] = {}
        """Sectors as they were before anything was written, as far as they are decided."""
        self._digests = digests

    # Size

    @property
    def size(self) -> int:
        return self.bounded(1 << 62)

    @size.setter
    def size(self, value: int) -> None:
        self._size = value

    def bounded(self, limit: int) -> int:
        """The size, or ``limit`` if it is no smaller: only that much is decided."""
        if self._size is not None:
            return min(self._size, limit)
        size: int = self._world.ask(
            Variable("size", self._inode), lambda value: min(value, limit), lambda: self._base.size
        )
        return size

    # Reading

    def undecided(self, start: int, end: int) -> list[int]:
        """Sectors of bytes [start, end) that a layer has and nobody closed."""
        sectors, closed = self._sectors, self._closed
        low = bisect_left(sectors, start // self._unit)
        high = bisect_left(sectors, -(-end // self._unit))
        return [index for index in sectors[low:high] if index not in closed]

    def ask_sector(self, index: int, classify: Callable[[bytes], T]) -> T:
        """The class of a sector's bytes."""
        answer: T = self._world.ask(
            Variable("sector", self._inode, index), classify, lambda: self._base.sector(index, self._unit)
        )
        return answer

    def observe(self, offset: int, classify: Callable[[bytes], T]) -> T:
        """The class of the SECTOR bytes at ``offset``, a multiple of SECTOR."""
        index, low = divmod(offset, self._unit)
        if low == 0 and self._unit == SECTOR:
            return self.ask_sector(index, classify)
        return self.ask_sector(index, lambda value: classify(value[low : low + SECTOR]))

    def read(self, offset: int, length: int) -> bytes:
        end = self.bounded(offset + length)
        if end <= offset:
            return b""
        parts = self._decide(offset, end)
        data = self.span(offset, end)
        if parts:
            patched = bytearray(data)
            for at, part in parts:
                patched[at : at + len(part)] = part
            data = bytes(patched)
        return data

    def _decide(self, offset: int, end: int) -> list[tuple[int, bytes]]:
        """Moves whole sectors into the pages; returns parts of sectors, by their place in the range."""
        parts = []
        for index in self.undecided(offset, end):
            start = index * self._unit
            low, high = max(offset - start, 0), min(end - start, self._unit)
            if high - low == self._unit:
                value = self.ask_sector(index, _same)
                self.seen[index] = value
                self._close(index, value)
            else:
                parts.append((start + low - offset, self.ask_sector(index, itemgetter(slice(low, high)))))
        return parts

    def _close(self, index: int, value: bytes) -> None:
        self._closed.add(index)
        self.put_sector(index, value)

    # Writing

    def write(self, offset: int, data: bytes) -> None:
        if not data:
            return
        end = offset + len(data)
        # What stays behind the data in their last sector depends on where the file ends.
        last = -(-end // self._unit) * self._unit
        size = self.bounded(last if end < last and self.undecided(end, last) else end)
        if size < end:
            self._size = size
            if size < offset:
                self._zero(size, offset)
        for index in self.undecided(offset, end):
            start = index * self._unit
            low, high = max(offset - start, 0), min(end - start, self._unit)
            stop = min(size - start, self._unit)
            if low or high < stop:
                self._around(index, low, high, stop)
            else:
                self.put_sector(index, bytes(self._unit))
            self._closed.add(index)
        self.put(offset, data)
        if size < end:
            self._size = end
            self.zero_tail()

    def _around(self, index: int, low: int, high: int, stop: int) -> None:
        """Decides what a sector holds outside of [low, high), which is about to be written, and before ``stop``."""
        around = self.ask_sector(index, lambda v: v[:low] + v[high:stop])
        value = around[:low] + bytes(high - low) + around[low:]
        self.seen[index] = value = value + bytes(self._unit - len(value))
        self.put_sector(index, value)

    def _keep(self, index: int, low: int, high: int) -> None:
        """Closes a sector with the bytes [low, high) that it has and zeros elsewhere."""
        if index in self.undecided(index * self._unit, (index + 1) * self._unit):
            kept = self.ask_sector(index, lambda v: v[low:high])
            self.seen[index] = value = bytes(low) + kept + bytes(self._unit - high)
            self._close(index, value)

    def _zero(self, size: int, end: int) -> None:
        """Bytes between the old size and ``end`` read as zeros from now on."""
        if size % self._unit:
            self._keep(size // self._unit, 0, size % self._unit)
        for index in self.undecided(-(-size // self._unit) * self._unit, end):
            self._close(index, bytes(self._unit))

    def truncate(self, size: int, *, keep_reserved: bool = False) -> None:
        old = self.size
        self._size = old
        if size > old:
            self._zero(old, size)
        else:
            if size % self._unit:
                self._keep(size // self._unit, 0, size % self._unit)
            self._closed.update(self.undecided(-(-size // self._unit) * self._unit, 1 << 62))
        super().truncate(size, keep_reserved=keep_reserved)

    def first_hole(self) -> int:
        """0, the answer that promises nothing: which blocks survived is not a question the explorer asks."""
        return 0

    # Declared reads

    def verify(self, offset: int, pieces: Sequence[Piece], seed: int) -> bool | None:
        """Whether the pieces have their digests, None if nothing of them is undecided."""
        end = offset + sum(piece.length for piece in pieces)
        if self.bounded(end) < end:
            return False
        while True:
            members: dict[Key, frozenset[int]] = {}
            places: dict[Key, list[tuple[int, int, int]]] = {}
            start = offset
            known = True
            for piece in pieces:
                answer = self._piece(start, piece, seed, members, places)
                if answer is False:
                    return False
                known = known and answer is True
                start += piece.length
            overlapping = [] if known else self._world.overlapping(members)
            if not overlapping:
                matches = known or self._world.match(members)
                if matches:
                    self._take(offset, b"".join([self._digests.content(piece, seed) for piece in pieces]))
                return matches
            for key in overlapping:
                for index, low, high in places[key]:
                    self.ask_sector(index, itemgetter(slice(low, high)))

    def _piece(
        self, start: int, piece: Piece, seed: int,
        members: dict[Key, frozenset[int]], places: dict[Key, list[tuple[int, int, int]]],
    ) -> bool | None:  # fmt: skip
        """Whether a piece has its digest; None, and its undecided sectors in ``members``, if that is to be decided."""
        end = start + piece.length
        open_sectors = []
        decided = []
        for index in self.undecided(start, end):
            low, high = max(start - index * self._unit, 0), min(end - index * self._unit, self._unit)
            answer = self._world.descend(
                Variable("sector", self._inode, index),
                itemgetter(slice(low, high)),
                partial(self._base.sector, index, self._unit),
            )
            if answer is UNDECIDED:
                open_sectors.append((index, low, high))
            else:
                decided.append((index * self._unit + low - start, answer))
        data = bytearray(self.span(start, end))
        for at, part in decided:
            data[at : at + len(part)] = part
        if not open_sectors:
            return self._digests.holds(bytes(data), piece.digest, seed)
        content = self._digests.find(self._world, self._inode, start, bytes(data), open_sectors, piece, seed)
        if content is None:
            return False
        for index, low, high in open_sectors:
            wanted = content[index * self._unit + low - start : index * self._unit + high - start]
            key, matching = self._matching(index, low, high, wanted)
            members[key] = members.get(key, matching) & matching
            places.setdefault(key, []).append((index, low, high))
        return None

    def _take(self, offset: int, content: bytes) -> None:
        """Bytes from ``offset`` on are known to be ``content``: nobody need be asked about them again."""
        end = offset + len(content)
        for index in self.undecided(offset, end):
            start = index * self._unit
            if offset <= start and start + self._unit <= end:
                value: bytes | None = content[start - offset : start - offset + self._unit]
            else:
                value = self._world.settled(Variable("sector", self._inode, index))
            if value is not None:
                self.seen[index] = value
                self._close(index, value)

    def _matching(self, index: int, low: int, high: int, wanted: bytes) -> tuple[Key, frozenset[int]]:
        key, place = self._world.stack(Variable("sector", self._inode, index))[-1]
        values = self._world.layers[0].cells[key[1]].values
        return key, frozenset(
            at for at, v in enumerate(values) if (v if place is None else v[place])[low:high] == wanted
        )


class LazyAttributes(dict[str, bytes]):
    """Extended attributes; a name that is in the dict, even as None, was decided or set."""

    def __init__(self, world: World, inode: int, base: dict[str, bytes], names: Sequence[str]) -> None:
        super().__init__()
        self._world, self._inode, self._base, self._names = world, inode, base, names
        self._decided: dict[str, bytes | None] = {}
        self.seen: dict[str, bytes | None] = {}
        """As they were before anything was set, as far as they are decided."""

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self._decided:
            variable = Variable("xattr", self._inode, name)
            self._decided[name] = self.seen[name] = self._world.ask(variable, _same, lambda: self._base.get(name))
        value = self._decided[name]
        return default if value is None else value

    def __getitem__(self, name: str) -> bytes:
        value: bytes | None = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return self.get(str(name)) is not None

    def __setitem__(self, name: str, value: bytes) -> None:
        self._decided[name] = value

    def __delitem__(self, name: str) -> None:
        self._decided[name] = None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(name for name in {*self._base, *self._names, *self._decided} if name in self))

    def copy(self) -> dict[str, bytes]:
        return {name: self[name] for name in self}


class LazyInode(Inode):
    """An inode whose times and owner are decided when they are asked for."""

    def __init__(self, world: World, base: Inode, content: LazyContent, attributes: LazyAttributes) -> None:
        self._world = world
        self.base = base
        self._set: dict[str, int] = {}
        self.number, self.uid, self.birth_ns, self.target = base.number, base.uid, base.birth_ns, base.target
        self.content: LazyContent = content
        self.attributes: LazyAttributes = attributes
        self._kind = stat.S_IFMT(base.mode)

    def field(self, name: str) -> int:
        """The value of mtime_ns, mode or gid."""
        if name in self._set:
            return self._set[name]
        variable = Variable(name.removesuffix("_ns"), self.number)
        value: int = self._world.ask(variable, _same, lambda: getattr(self.base, name))
        return value

    @property
    def mtime_ns(self) -> int:
        return self.field("mtime_ns")

    @mtime_ns.setter
    def mtime_ns(self, value: int) -> None:
        self._set["mtime_ns"] = value

    @property
    def mode(self) -> int:
        return self.field("mode")

    @mode.setter
    def mode(self, value: int) -> None:
        self._set["mode"] = value

    @property
    def gid(self) -> int:
        return self.field("gid")

    @gid.setter
    def gid(self, value: int) -> None:
        self._set["gid"] = value

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self._kind)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self._kind)


class LazyStat(FileStat):
    """What an inode was when stat was called; each field is decided when it is looked at."""

    _inode: LazyInode
    _fixed: dict[str, int]
    _links: Callable[[], int]

    @classmethod
    def of(cls, inode: LazyInode, links: Callable[[], int]) -> LazyStat:
        self = cls(DEVICE, inode.number, 0, inode.uid, 0, 0, 0, 0, inode.birth_ns)
        self._inode, self._links = inode, links
        self._fixed = dict(inode._set)
        size = inode.content._size
        if size is not None:
            self._fixed["size"] = size
        return self

    def _field(self, name: str) -> int:
        if name not in self._fixed:
            inode = self._inode
            if name == "size":
                variable, base = Variable("size", inode.number), lambda: inode.base.content.size
            else:
                variable, base = Variable(name.removesuffix("_ns"), inode.number), lambda: getattr(inode.base, name)
            self._fixed[name] = inode._world.ask(variable, _same, base)
        return self._fixed[name]

    def __reduce__(self) -> tuple[Any, ...]:
        """What travels to another process is what is decided."""
        mode, gid, size, mtime = (self._fixed.get(name, 0) for name in ("mode", "gid", "size", "mtime_ns"))
        return FileStat, (self.device, self.inode, mode, self.uid, gid, 0, size, mtime, self.birth_ns)

    @property
    def size(self) -> int:
        return self._field("size")

    @property
    def mtime_ns(self) -> int:
        return self._field("mtime_ns")

    @property
    def mode(self) -> int:
        return self._field("mode")

    @property
    def gid(self) -> int:
        return self._field("gid")

    @property
    def links(self) -> int:
        return self._links()


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

    def found(self, path: str) -> Inode | None:
        number = self.number(path)
        return None if number is None else self.inode(number)

    def number(self, path: str) -> int | None:
        if path in self._bound:
            return self._bound[path]
        number: int | None = self.world.ask(Variable("name", 0, path), _same, lambda: self.ground.names.get(path))
        self._bound[path] = self.looked_up[path] = number
        return number

    def names(self, directory: str) -> list[str]:
        paths = {path for path in self._bound if os.path.dirname(path) == directory}
        paths.update(self.ground.children.get(directory, ()))
        return sorted(os.path.basename(path) for path in paths if path != "/" and self.number(path) is not None)

    def links(self, inode: Inode) -> int:
        count = 0
        for path in {*self.ground.paths, *self._bound}:
            if path in self._bound:
                count += self._bound[path] == inode.number
                continue
            possible = self.world.possible(
                Variable("name", 0, path),
                lambda v: v == inode.number,
                partial(self.ground.names.get, path),
            )
            if True in possible:
                count += len(possible) == 1 or self.number(path) == inode.number
        return count

    def bind(self, path: str, inode: Inode) -> None:
        self.live.inodes[inode.number] = inode
        self._bound[path] = inode.number

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
        end = content.bounded(stop)
        for at in range(start, end, stride):
            if at + SECTOR <= end and content.undecided(at, at + SECTOR):
                yield content.observe(at, classify)
            else:
                yield classify(self.read(SECTOR, at))


class LazyStorage(SimulatedStorage):
    """The simulated storage after a crash that is decided as it is looked at."""

    opened = LazyFile

    def __init__(self, ground: Ground, world: World) -> None:
        disk = LazyDisk(ground, world)
        super().__init__(disk)
        self.lazy = disk
