"""Names as the cache has them, for the certificate's own rules: where a path leads, and what moved where."""

from __future__ import annotations

from untorn.crashmodel.variables import Variable
from untorn.explore.certificate.initial_disk import Start, only
from untorn.explore.certificate.versions import Version


class Whereabouts:
    """Names as far as operations changed them; others are those of the start."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._names: dict[tuple[int, str], int | None] = {}
        self._moved: dict[int, tuple[Variable, Version]] = {}
        """By directory: the name that it was given when it last came into another directory."""
        self._lay_in: set[tuple[int, int]] = set()
        """Pairs of a directory and one that it lay in at some time, as far as paths told."""

    def at_start(self, name: Variable) -> int | None:
        found = self._start.name(name.inode, str(name.key))
        inode: int | None = only(found, f"the name {name.key} in the directory {name.inode}")
        return inode

    def inode(self, name: Variable) -> int | None:
        """What has a name now."""
        key = name.inode, str(name.key)
        return self._names[key] if key in self._names else self.at_start(name)

    def give(self, name: Variable, inode: int | None) -> None:
        self._names[name.inode, str(name.key)] = inode

    def name(self, path: str) -> Variable:
        """The name that a path is about."""
        return Variable("name", self._parents(path)[0], path[path.rindex("/") + 1 :])

    def _parents(self, path: str) -> list[int]:
        """The directories above a path, the nearest first."""
        found = [self._start.root]
        for part in path.split("/")[1:-1]:
            number = self.inode(Variable("name", found[0], part))
            assert number is not None
            self._lay_in.add((number, found[0]))
            found.insert(0, number)
        return found

    def move(self, directory: int, old: Variable, path: str, added: Version) -> list[tuple[Variable, Version]]:
        """Of a directory that came into another one: the moves without which it might lie in itself."""
        above = self._parents(path)
        self._lay_in.add((directory, old.inode))
        could_loop = directory in self._ever_above(above[0])
        owed = [self._moved[upper] for upper in above if upper in self._moved] if could_loop else []
        self._moved[directory] = self.name(path), added
        return owed

    def _ever_above(self, directory: int) -> set[int]:
        """A directory, those that it lay in at some time, those that these lay in at some time, and so on."""
        found = {directory}
        while more := {upper for lower, upper in self._lay_in if lower in found} - found:
            found |= more
        return found
