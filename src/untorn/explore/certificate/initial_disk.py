"""The disk before the first operation of a trace, as far as the certificate's checker knows it."""

from __future__ import annotations

import stat
from collections.abc import Collection
from typing import Any, Protocol

from untorn.crashmodel.disk_image import Image
from untorn.crashmodel.variables import Variable
from untorn.sizes import SECTOR


class UndecidedError(Exception):
    """What an operation wrote depends on something that was not decided when it ran."""


class Start(Protocol):
    """The disk before the first operation, as far as it is known: each answer is a set of possibilities."""

    nested: bool
    root: int
    """The inode of "/"."""

    def kind(self, inode: int) -> int: ...
    def sizes(self, inode: int) -> Collection[int]: ...
    def sector(self, inode: int, index: int) -> Collection[bytes]: ...
    def sectors(self, inode: int) -> Collection[int]: ...
    def plain(self, variable: Variable) -> Collection[Any]: ...
    def name(self, directory: int, name: str) -> Collection[int | None]: ...


class ImageStart:
    """A disk that is all known."""

    nested = False

    def __init__(self, image: Image, unit: int = SECTOR) -> None:
        self._image = image
        self._unit = unit
        self.root = image.root

    def kind(self, inode: int) -> int:
        return stat.S_IFMT(self._image.inodes[inode].mode)

    def sizes(self, inode: int) -> Collection[int]:
        return (self._image.inodes[inode].content.size,)

    def sector(self, inode: int, index: int) -> Collection[bytes]:
        return (self._image.inodes[inode].content.sector(index, self._unit),)

    def sectors(self, inode: int) -> Collection[int]:
        content = self._image.inodes[inode].content
        return content.sectors(0, content.size, self._unit)

    def plain(self, variable: Variable) -> Collection[Any]:
        inode = self._image.inodes[variable.inode]
        match variable.kind:
            case "xattr":
                return (inode.attributes.get(str(variable.key)),)
            case "mtime":
                return (inode.mtime_ns,)
            case "mode":
                return (inode.mode,)
            case _:
                return (inode.gid,)

    def name(self, directory: int, name: str) -> Collection[int | None]:
        return (self._image.names.get((directory, name)),)


def newborn(variable: Variable, found: Any, sector: int) -> Any:
    """What a variable of a file is when the file has just been created; ``found`` is its FileStat."""
    match variable.kind:
        case "sector":
            return bytes(sector)
        case "size":
            return 0
        case "xattr":
            return None
        case "mtime":
            return found.mtime_ns
        case _:
            return getattr(found, variable.kind)


def only(found: Collection[Any], what: str) -> Any:
    if len(set(found)) != 1:
        raise UndecidedError(f"{what} was not decided")
    return next(iter(found))
