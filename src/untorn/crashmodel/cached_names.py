"""Names as the cache has them while the rules are applied, and where directories were before."""

from __future__ import annotations

from untorn.crashmodel.disk_image import Image, Name
from untorn.crashmodel.variables import Variable, Version

Move = tuple[Variable, Version]
"""The name that a directory got when it came into another directory."""


class Tree:
    """Finds the name behind a path, and what a directory's new place depends on."""

    def __init__(self, image: Image) -> None:
        self.bound = image.names.copy()
        self._root = image.root
        self._above: dict[int, set[int]] = {}
        """By directory: those that it is known to have been in."""
        self._moves: dict[int, Move] = {}
        """By directory: its last move."""

    def place(self, path: str) -> Name:
        """The name that a path leads to."""
        return self._way(path)[-1], path.rpartition("/")[2]

    def bind(self, name: Name, inode: int | None) -> None:
        """Gives a name to an inode, or takes it away."""
        if inode is None:
            self.bound.pop(name, None)
        else:
            self.bound[name] = inode

    def move(self, inode: int, source: Name, path: str, move: Move) -> list[Move]:
        """Notes that a directory moved from ``source`` to a path; the moves that must have come if this one came.

        A directory that moves into what once lay in it, on a disk where that still lies there, would be in itself.
        """
        way = self._way(path)
        self._above.setdefault(inode, set()).add(source[0])
        needed = [self._moves[one] for one in way if one in self._moves] if self._was_in(way[-1], inode) else []
        self._moves[inode] = move
        return needed

    def _way(self, path: str) -> list[int]:
        """The directories that a path leads through, from "/" on."""
        way = [self._root]
        for part in path.split("/")[1:-1]:
            inode = self.bound[way[-1], part]
            self._above.setdefault(inode, set()).add(way[-1])
            way.append(inode)
        return way

    def _was_in(self, inode: int, directory: int) -> bool:
        """Whether a directory, or one that it ever was in, ever was in another."""
        found, waiting = {inode}, [inode]
        while waiting:
            new = self._above.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return directory in found
