"""What a disk holds: names, inodes and pages, shared between copies until one of them writes.

Thousands of crash images of a file of tens of megabytes differ in a few sectors, so a copy
shares its pages, and takes its own table of them at its first write.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import Final

from untorn.sizes import SECTOR

PAGE: Final = 4096
"""Bytes in a page, which is also the block that space is counted in."""

RESERVED: Final = bytes(PAGE)
"""The page of a block that is allocated but never written, known by identity; it reads as zeros."""

_ZEROS: Final = {SECTOR: bytes(SECTOR), PAGE: RESERVED}


class Content:
    """Bytes of one file, sparse: a page that is missing is a hole. Sizes and offsets in bytes."""

    __slots__ = ("_pages", "_shared", "size")

    def __init__(self, data: bytes = b"") -> None:
        self._pages: dict[int, bytes] = {}
        self._shared = False
        self.size = 0
        self.write(0, data)

    def copy(self) -> Content:
        other = Content()
        other._pages = self._pages
        other._shared = self._shared = True
        other.size = self.size
        return other

    def _own(self) -> dict[int, bytes]:
        if self._shared:
            self._pages = self._pages.copy()
            self._shared = False
        return self._pages

    @property
    def blocks(self) -> int:
        """Blocks of PAGE bytes allocated."""
        return len(self._pages)

    def missing(self, start: int, end: int) -> list[int]:
        """Pages touched by bytes [start, end) that have no block, ascending."""
        return [index for index in range(start // PAGE, -(-end // PAGE)) if index not in self._pages]

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from ``offset``, cut at the size."""
        end = min(offset + length, self.size)
        return self.span(offset, end) if offset < end else b""

    def span(self, offset: int, end: int) -> bytes:
        """Bytes [offset, end), whatever the size."""
        pages = self._pages
        first, last = offset // PAGE, (end - 1) // PAGE
        if first == last:
            return pages.get(first, RESERVED)[offset - first * PAGE : end - first * PAGE]
        parts = [pages.get(index, RESERVED) for index in range(first, last + 1)]
        parts[0] = parts[0][offset - first * PAGE :]
        parts[-1] = parts[-1][: end - last * PAGE]
        return b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """Puts ``data`` at ``offset`` and moves the size if it ends behind it."""
        if data:
            self.put(offset, data)
            self.size = max(self.size, offset + len(data))

    def put(self, offset: int, data: bytes) -> None:
        """Puts ``data`` at ``offset`` and leaves the size alone."""
        pages = self._own()
        end = offset + len(data)
        for index in range(offset // PAGE, (end - 1) // PAGE + 1):
            start = index * PAGE
            low, high = max(offset - start, 0), min(end - start, PAGE)
            piece = data[start + low - offset : start + high - offset]
            if high - low < PAGE:
                old = pages.get(index, RESERVED)
                piece = old[:low] + piece + old[high:]
            pages[index] = piece

    def truncate(self, size: int, *, keep_reserved: bool = False) -> None:
        """Cuts or extends to ``size``; what lay behind it reads as zeros ever after.

        As ext4, blocks reserved behind the size are freed unless the file grows, or ``keep_reserved``.
        """
        if size <= self.size:
            pages = self._own()
            limit = -(-size // PAGE)
            for index in [index for index in pages if index >= limit]:
                if not (keep_reserved and pages[index] is RESERVED):
                    del pages[index]
        self.size = size
        self.zero_tail()

    def zero_tail(self) -> None:
        """Zeros what the last page holds behind the size."""
        index, tail = divmod(self.size, PAGE)
        page = self._pages.get(index)
        if page is not None and page[tail:] != RESERVED[tail:]:
            self._own()[index] = page[:tail] + RESERVED[tail:]

    def release(self, size: int) -> None:
        """Frees the blocks behind ``size`` that were only reserved."""
        pages = self._own()
        for index in [index for index in pages if index * PAGE >= size and pages[index] is RESERVED]:
            del pages[index]

    def reserve(self, indices: list[int]) -> None:
        """Gives these pages a block where they have none."""
        pages = self._own()
        for index in indices:
            pages.setdefault(index, RESERVED)

    def first_hole(self) -> int:
        """As SEEK_HOLE of ext4 and XFS: a reserved block counts as a hole until it is written."""
        index = 0
        while self._pages.get(index, RESERVED) is not RESERVED:
            index += 1
        return min(index * PAGE, self.size)

    def sector(self, index: int, unit: int = SECTOR) -> bytes:
        """The sector of ``unit`` bytes at ``index``, zeros where nothing is, whatever the size."""
        at = index * unit
        page = self._pages.get(at // PAGE)
        if page is None:
            return _ZEROS[unit]
        return page[at % PAGE : at % PAGE + unit]

    def put_sector(self, index: int, value: bytes) -> None:
        """Replaces a sector of ``len(value)`` bytes and leaves the size alone; zeros do not fill a hole."""
        unit = len(value)
        at = index * unit
        old = self._pages.get(at // PAGE)
        if old is None and value == _ZEROS[unit]:
            return
        page, low = old or RESERVED, at % PAGE
        self._own()[at // PAGE] = page[:low] + value + page[low + unit :]

    def sectors(self, start: int, end: int, unit: int = SECTOR) -> list[int]:
        """Sectors of ``unit`` bytes of [start, end) that lie in a written page, ascending."""
        per_page = PAGE // unit
        first, last = start // unit, -(-end // unit)
        return [
            index
            for page, data in sorted(self._pages.items())
            if start // PAGE <= page <= end // PAGE and data is not RESERVED
            for index in range(max(first, page * per_page), min(last, (page + 1) * per_page))
        ]


@dataclass(slots=True)
class Inode:
    """A regular file, a directory or a symbolic link."""

    number: int
    mode: int
    """As st_mode: type and permissions."""
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    birth_ns: int | None = None
    content: Content = field(default_factory=Content)
    attributes: dict[str, bytes] = field(default_factory=dict)
    target: str = ""
    """Of a symbolic link."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    def copy(self) -> Inode:
        return Inode(
            self.number, self.mode, self.uid, self.gid, self.mtime_ns, self.birth_ns,
            self.content.copy(), self.attributes.copy(), self.target,
        )  # fmt: skip


ROOT: Final = 1
"""The inode of the directory "/" on a simulated machine."""

Name = tuple[int, str]
"""The inode of a directory and a name in it: it stays the same wherever the directory is."""


@dataclass(slots=True)
class Image:
    """The whole disk: inodes by number, and the number behind each name."""

    inodes: dict[int, Inode] = field(default_factory=dict)
    names: dict[Name, int] = field(default_factory=dict)
    root: int = ROOT
    """The inode of the directory "/"."""

    def copy(self) -> Image:
        return Image({number: inode.copy() for number, inode in self.inodes.items()}, self.names.copy(), self.root)

    def paths(self) -> dict[str, int]:
        """The number behind each path that can be reached from "/", and behind that itself."""
        below: dict[int, list[tuple[str, int]]] = {}
        for (directory, name), number in self.names.items():
            below.setdefault(directory, []).append((name, number))
        result, waiting = {"/": self.root}, [("/", self.root)]
        while waiting:
            path, directory = waiting.pop()
            found = [(f"{path.rstrip('/')}/{name}", number) for name, number in below.get(directory, ())]
            result.update(found)
            waiting += found
        return result
