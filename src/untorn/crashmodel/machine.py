"""The machine behind the simulated storage: live inodes, names, locks, space and clock.

Paths are resolved as path_resolution(7) says. Its limits are those of Linux: 255 bytes in a name,
4096 in a path with its NUL, 40 symbolic links.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final, NamedTuple

from xxhash import xxh3_128_digest

from untorn.crashmodel.disk_image import PAGE, ROOT, Content, Image, Inode, Name
from untorn.crashmodel.profiles import STRICT, Profile
from untorn.crashmodel.trace import Trace
from untorn.sizes import SECTOR
from untorn.storage.interface import AtomicLimits, FileStat

NAME_MAX: Final = 255
PATH_MAX: Final = 4096
LINKS_MAX: Final = 40
DEVICE: Final = 0x5E
FIRST_TIME_NS: Final = 1_700_000_000_000_000_000


def failure(code: int, path: str) -> OSError:
    """The OSError subclass that Python raises for ``code``."""
    return OSError(code, os.strerror(code), path)


@dataclass(frozen=True, slots=True)
class Options:
    """What kind of machine it is; a power cut keeps them."""

    seed: int = 0
    """Of random_bytes."""
    capacity: int | None = None
    """Bytes of file data that fit, in blocks of 4096; None for no limit."""
    full: int = errno.ENOSPC
    """The errno for want of blocks: ENOSPC, or EDQUOT if the capacity is a quota."""
    size_max: int = (1 << 63) - 1
    """Largest file in bytes; beyond is EFBIG."""
    xattrs: bool = True
    """Without them every call is ENOTSUP."""
    uid: int = 1000
    gid: int = 1000
    tick_ns: int = 1000
    """How far each change moves the clock; 0 for a clock too coarse to see changes."""
    sites: bool = False
    """Whether the trace records call sites."""
    profile: str = STRICT
    """The rules by which power cuts leave what they leave: strict or linux."""
    sector: int = SECTOR
    """Bytes that a power cut leaves whole: 512 or 4096."""
    block: int = 0
    """Bytes of the file system's blocks, a multiple of ``sector``: where a file may end while it is being extended. 0
    for what leaves most states: those of a sector under the strict rules, of 4096 under those of Linux."""
    powersafe: bool = True
    """Powersafe overwrite: whether a sector that is being written when the power is cut stays free of garbage."""
    atomic: AtomicLimits = AtomicLimits()
    """What the device and its file system promise of RWF_ATOMIC; all 0: nothing."""
    atomic_boundary: int = 0
    """Bytes: an atomic write must not cross a multiple of it, as NVMe's NABSPF; 0 for no boundary. Linux takes only
    a power of two not below ``atomic.unit_max``, which no aligned write crosses; then it only bars merging."""

    def __post_init__(self) -> None:
        Profile(self.profile)
        if self.sector not in (SECTOR, PAGE):
            raise ValueError(f"a sector has {SECTOR} or {PAGE} bytes, not {self.sector}")
        if self.block % self.sector:
            raise ValueError(f"a block has a multiple of {self.sector} bytes, not {self.block}")


class Place(NamedTuple):
    """Where a path leads: the directory, its path free of symbolic links, and the name in it."""

    parent: int
    """The directory's inode."""
    directory: str
    name: str
    inode: Inode | None

    @property
    def path(self) -> str:
        return os.path.join(self.directory, self.name)

    @property
    def key(self) -> Name:
        """The name as the disk holds it."""
        return self.parent, self.name


class Disk:
    """Inodes and names as the cache has them, and the trace of how they came to be."""

    def __init__(self, image: Image, options: Options, generation: int = 0) -> None:
        self._switch_on(options, generation)
        self.live = image.copy()
        self.trace = Trace(image, sites=options.sites)
        self.inodes = max(image.inodes, default=0)
        times = [inode.mtime_ns for inode in image.inodes.values()]
        self.time_ns = max([FIRST_TIME_NS, *times])
        if ROOT not in self.live.inodes:
            self.settled_inode(None, stat.S_IFDIR | 0o755)

    def _switch_on(self, options: Options, generation: int) -> None:
        """Nothing is open, locked or made yet."""
        self.options = options
        self.generation = generation
        self.unwritable: set[int] = set()
        """Directories in which names cannot change."""
        self.homes: dict[int, Name] = {}
        """By directory that a path went through: the name that it has now."""
        self.dead = False
        self.handles: dict[int, tuple[int, Inode]] = {}
        """By handle: the process and the inode it has open."""
        self.locks: dict[int, dict[int, bool]] = {}
        """By inode: the handles that hold its flock, and whether exclusively."""
        self.backwards = False
        """Whether directories are listed backwards: their order is nobody's promise."""
        self.nameless: set[int] = set()
        """Inodes that never had a name, and may be given one."""
        self.drawn = 0
        """Blocks of random bytes given out."""
        self.serial = 0

    def tick(self) -> int:
        """The time, which moves on with every change."""
        self.time_ns += self.options.tick_ns
        return self.time_ns

    def random_bytes(self, length: int) -> bytes:
        """The next bytes of a stream that the seed and the number of power cuts decide."""
        parts = []
        for _ in range(-(-length // 16)):
            self.drawn += 1
            parts.append(xxh3_128_digest(f"{self.generation} {self.drawn}".encode(), self.options.seed))
        return b"".join(parts)[:length]

    def new_inode(self, mode: int) -> Inode:
        self.inodes += 1
        now = self.tick()
        return Inode(self.inodes, mode, self.options.uid, self.options.gid, now, now)

    def settled_inode(self, key: Name | None, mode: int) -> None:
        """A directory, durable from the start of the trace; without a name that of "/"."""
        inode = self.new_inode(mode)
        for image in (self.live, self.trace.image):
            image.inodes[inode.number] = inode.copy()
            if key is not None:
                image.names[key] = inode.number

    def found(self, key: Name) -> Inode | None:
        """The inode that has a name, None if none."""
        number = self.number(key)
        return None if number is None else self.live.inodes[number]

    def number(self, key: Name) -> int | None:
        """The number of the inode that has a name."""
        return self.live.names.get(key)

    def root(self) -> Inode:
        """The directory "/"."""
        return self.live.inodes[ROOT]

    def path_of(self, directory: int) -> str:
        """The path that a directory, to which some path has led, has now; ENOENT if it was removed."""
        parts: list[str] = []
        while directory != ROOT:
            if directory not in self.homes:
                raise failure(errno.ENOENT, "/".join(reversed(parts)))
            directory, name = self.homes[directory]
            parts.append(name)
        return "/" + "/".join(reversed(parts))

    def above(self, directory: int) -> list[int]:
        """A directory to which a path has led, and those above it."""
        found = [directory]
        while directory in self.homes:
            directory = self.homes[directory][0]
            found.append(directory)
        return found

    def names(self, directory: int) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(name for parent, name in self.live.names if parent == directory)

    def listed(self, directory: int) -> list[str]:
        """The names in a directory in the order in which a program is told them."""
        names = self.names(directory)
        return names[::-1] if self.backwards else names

    def links(self, inode: Inode) -> int:
        """How many names an inode has."""
        return sum(number == inode.number for number in self.live.names.values())

    def bind(self, key: Name, inode: Inode) -> None:
        """Gives an inode a name, in place of what had it."""
        self._left(key, self.live.names.get(key))
        self.live.inodes[inode.number] = inode
        self.live.names[key] = inode.number
        self._moved(key, inode)

    def unbind(self, key: Name) -> None:
        """Takes a name away."""
        self._left(key, self.live.names.pop(key))

    def _moved(self, key: Name, inode: Inode) -> None:
        """What follows for ``homes`` from a name given."""
        if inode.is_directory:
            self.homes[inode.number] = key

    def _left(self, key: Name, number: int | None) -> None:
        """What follows for ``homes`` from a name taken away."""
        if number is not None and self.homes.get(number) == key:
            del self.homes[number]

    def walk(self, path: str, *, follow: bool) -> Place:
        """Resolves all but the last name, and that too if ``follow``; it need not exist."""
        if not path:
            raise failure(errno.ENOENT, path)
        if len(os.fsencode(path)) >= PATH_MAX:
            raise failure(errno.ENAMETOOLONG, path)
        above: list[Place] = []
        rest = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        links = 0
        while rest:
            part = rest.pop()
            if part == "..":
                del above[-1:]
                continue
            if len(os.fsencode(part)) > NAME_MAX:
                raise failure(errno.ENAMETOOLONG, path)
            place = self._step(above, part)
            inode = place.inode
            if inode is not None and inode.is_link and (rest or follow):
                links += 1
                if links > LINKS_MAX:
                    raise failure(errno.ELOOP, path)
                if inode.target.startswith("/"):
                    above.clear()
                rest += [p for p in reversed(inode.target.split("/")) if p not in ("", ".")]
            elif not rest:
                return place
            elif inode is None:
                raise failure(errno.ENOENT, path)
            elif not inode.is_directory:
                raise failure(errno.ENOTDIR, path)
            else:
                above.append(place)
        return above[-1] if above else Place(ROOT, "/", "", self.root())

    def _step(self, above: list[Place], name: str) -> Place:
        """The place of a name in the last of these directories, or in "/" if there is none."""
        parent, directory = (ROOT, "/") if not above else (_number(above[-1]), above[-1].path)
        inode = self.found((parent, name))
        if inode is not None and inode.is_directory:
            self.homes[inode.number] = parent, name
        return Place(parent, directory, name, inode)

    def existing(self, path: str, *, follow: bool) -> tuple[Place, Inode]:
        place = self.walk(path, follow=follow)
        if place.inode is None:
            raise failure(errno.ENOENT, path)
        return place, place.inode

    def check_writable(self, directory: int, path: str) -> None:
        if directory in self.unwritable:
            raise failure(errno.EACCES, path)

    def stat(self, inode: Inode) -> FileStat:
        return FileStat(
            DEVICE, inode.number, inode.mode, inode.uid, inode.gid, self.links(inode),
            inode.content.size, inode.mtime_ns, inode.birth_ns,
        )  # fmt: skip

    def free_blocks(self) -> int:
        """Blocks of PAGE bytes that can still be allocated."""
        if self.options.capacity is None:
            return 1 << 60
        return self.options.capacity // PAGE - sum(i.content.blocks for i in self.live.inodes.values())

    def fit(self, content: Content, start: int, end: int) -> int:
        """How far towards ``end`` the blocks last, from ``start`` on."""
        if self.options.capacity is None:
            return end
        missing = content.missing(start, end)
        # What a power cut left of several files may be from different times, and together more than there is room for.
        free = max(self.free_blocks(), 0)
        return end if len(missing) <= free else max(start, missing[free] * PAGE)

    def forget(self, inode: Inode) -> None:
        """Frees an inode that has neither a name nor an open file."""
        if self.links(inode):
            return
        if not any(held is inode for _, held in self.handles.values()):
            self.live.inodes.pop(inode.number, None)

    def release(self, handle: int) -> None:
        """Closes a handle: its lock goes, and its inode if nothing else holds that."""
        _, inode = self.handles.pop(handle)
        self.locks.get(inode.number, {}).pop(handle, None)
        self.forget(inode)


def _number(place: Place) -> int:
    assert place.inode is not None
    return place.inode.number
