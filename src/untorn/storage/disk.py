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

from untorn.geometry import SECTOR
from untorn.storage.api import AtomicLimits, FileStat
from untorn.storage.image import PAGE, Content, Image, Inode
from untorn.storage.profiles import STRICT, Profile
from untorn.storage.recording import Trace

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
    trash: bool = False
    """Whether a power cut may leave garbage in a sector that was being written."""
    atomic: AtomicLimits = AtomicLimits()
    """What the device and its file system promise of RWF_ATOMIC; all 0: nothing."""
    atomic_boundary: int = 0
    """Bytes: an atomic write must not cross a multiple of it, as NVMe's NABSPF; 0 for no boundary. Linux takes only
    a power of two not below ``atomic.unit_max``, which no aligned write crosses; then it only bars merging."""

    def __post_init__(self) -> None:
        Profile(self.profile)
        if self.sector not in (SECTOR, PAGE):
            raise ValueError(f"a sector has {SECTOR} or {PAGE} bytes, not {self.sector}")


class Place(NamedTuple):
    """Where a path leads: the directory, free of symbolic links, and the name in it."""

    directory: str
    name: str
    inode: Inode | None

    @property
    def path(self) -> str:
        return os.path.join(self.directory, self.name)


class Disk:
    """Inodes and names as the cache has them, and the trace of how they came to be."""

    def __init__(self, image: Image, options: Options, generation: int = 0) -> None:
        self.options = options
        self.generation = generation
        self.live = image.copy()
        self.trace = Trace(image, sites=options.sites)
        self.unwritable: set[str] = set()
        self.dead = False
        self.handles: dict[int, tuple[int, Inode]] = {}
        """By handle: the process and the inode it has open."""
        self.locks: dict[int, dict[int, bool]] = {}
        """By inode: the handles that hold its flock, and whether exclusively."""
        self.drawn = 0
        """Blocks of random bytes given out."""
        self.inodes = max(image.inodes, default=0)
        self.serial = 0
        times = [inode.mtime_ns for inode in image.inodes.values()]
        self.time_ns = max([FIRST_TIME_NS, *times])
        if "/" not in self.live.names:
            self.settled_inode("/", stat.S_IFDIR | 0o755)

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

    def settled_inode(self, path: str, mode: int) -> None:
        """A directory, durable from the start of the trace."""
        inode = self.new_inode(mode)
        for image in (self.live, self.trace.image):
            image.inodes[inode.number] = inode.copy()
            image.names[path] = inode.number

    def found(self, path: str) -> Inode | None:
        number = self.number(path)
        return None if number is None else self.live.inodes[number]

    def number(self, path: str) -> int | None:
        """The inode that an absolute path without symbolic links names, None if none."""
        return self.live.names.get(path)

    def names(self, directory: str) -> list[str]:
        """The names in a directory, sorted."""
        paths = (path for path in self.live.names if path != "/" and os.path.dirname(path) == directory)
        return sorted(map(os.path.basename, paths))

    def links(self, inode: Inode) -> int:
        """How many names an inode has."""
        return sum(number == inode.number for number in self.live.names.values())

    def bind(self, path: str, inode: Inode) -> None:
        """Gives an inode a name, in place of what had it."""
        self.live.inodes[inode.number] = inode
        self.live.names[path] = inode.number

    def unbind(self, path: str) -> None:
        """Takes a name away."""
        del self.live.names[path]

    def walk(self, path: str, *, follow: bool) -> Place:
        """Resolves all but the last name, and that too if ``follow``; it need not exist."""
        if not path:
            raise failure(errno.ENOENT, path)
        if len(os.fsencode(path)) >= PATH_MAX:
            raise failure(errno.ENAMETOOLONG, path)
        at = "/"
        rest = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        links = 0
        while rest:
            part = rest.pop()
            if part == "..":
                at = os.path.dirname(at)
                continue
            if len(os.fsencode(part)) > NAME_MAX:
                raise failure(errno.ENAMETOOLONG, path)
            inode = self.found(os.path.join(at, part))
            if inode is not None and inode.is_link and (rest or follow):
                links += 1
                if links > LINKS_MAX:
                    raise failure(errno.ELOOP, path)
                if inode.target.startswith("/"):
                    at = "/"
                rest += [p for p in reversed(inode.target.split("/")) if p not in ("", ".")]
            elif not rest:
                return Place(at, part, inode)
            elif inode is None:
                raise failure(errno.ENOENT, path)
            elif not inode.is_directory:
                raise failure(errno.ENOTDIR, path)
            else:
                at = os.path.join(at, part)
        return Place(os.path.dirname(at), os.path.basename(at), self.found(at))

    def existing(self, path: str, *, follow: bool) -> tuple[Place, Inode]:
        place = self.walk(path, follow=follow)
        if place.inode is None:
            raise failure(errno.ENOENT, path)
        return place, place.inode

    def check_writable(self, directory: str, path: str) -> None:
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
