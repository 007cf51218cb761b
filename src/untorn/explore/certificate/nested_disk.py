"""What the disk may hold when recovery is cut off, as the certificate's checker knows it: the layers below."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable
from typing import Any

from untorn.crashmodel.disk_image import Image
from untorn.crashmodel.variables import Variable
from untorn.explore.certificate.counting import CheckedState
from untorn.explore.certificate.initial_disk import ImageStart, newborn
from untorn.explore.search_record import INHERITED


class Held:
    """The disk of a state; where it is not decided, every value that it may have."""

    nested = True

    def __init__(self, state: CheckedState, image: Image, unit: int) -> None:
        self._state = state
        self._image = image
        self._unit = unit
        self._ground = ImageStart(image, unit)
        self.root = image.root
        self._top = len(state.layers) - 1

    def kind(self, inode: int) -> int:
        for layer in self._state.layers:
            if inode in layer.births:
                return stat.S_IFMT(layer.births[inode].mode)
        return self._ground.kind(inode)

    def sizes(self, inode: int) -> Collection[int]:
        return self._values(self._top, Variable("size", inode))

    def sector(self, inode: int, index: int) -> Collection[bytes]:
        return self._sector(self._top, Variable("sector", inode, index))

    def sectors(self, inode: int) -> Collection[int]:
        known = {index for layer in self._state.layers for index in layer.sectors.get(inode, ())}
        return known.union(self._ground.sectors(inode)) if inode in self._image.inodes else known

    def plain(self, variable: Variable) -> Collection[Any]:
        return self._values(self._top, variable)

    def name(self, directory: int, name: str) -> Collection[int | None]:
        for depth in range(self._top, -1, -1):
            legal = self._legal(depth, Variable("name", directory, name))
            if legal is not None:
                return legal
        return self._ground.name(directory, name)

    def _values(self, top: int, variable: Variable) -> set[Any]:
        if top < 0:
            return set(self._at_start(variable))
        found, births = self._legal(top, variable), self._state.layers[top].births
        if found is not None and INHERITED not in found:
            return found
        if variable.inode in births:
            below = {newborn(variable, births[variable.inode], self._unit)}
        else:
            below = self._values(top - 1, variable)
        return (found or set()) - {INHERITED} | below

    def _at_start(self, variable: Variable) -> Collection[Any]:
        if variable.kind == "size":
            return self._ground.sizes(variable.inode)
        if variable.kind == "sector":
            assert isinstance(variable.key, int)
            return self._ground.sector(variable.inode, variable.key)
        return self._ground.plain(variable)

    def _sector(self, top: int, variable: Variable) -> set[bytes]:
        """As ``_values``; what a layer left is cut at the size that it left."""
        if top < 0:
            return set(self._at_start(variable))
        births = self._state.layers[top].births
        found = self._legal(top, variable)
        if found is not None and INHERITED not in found:
            return found
        if variable.inode in births:
            below: Iterable[bytes] = [newborn(variable, births[variable.inode], self._unit)]
        elif not top:
            below = self._at_start(variable)
        else:
            below = self._cut(top - 1, variable)
        return (found or set()) - {INHERITED} | set(below)

    def _cut(self, top: int, variable: Variable) -> Iterable[bytes]:
        assert isinstance(variable.key, int)
        values = self._sector(top, variable)
        for size in self._values(top, Variable("size", variable.inode)):
            kept = min(max(size - variable.key * self._unit, 0), self._unit)
            for value in values:
                yield value[:kept] + bytes(self._unit - kept)

    def _legal(self, depth: int, variable: Variable) -> set[Any] | None:
        """The values that a variable may have in a layer, None if the layer does not have it."""
        deciders = self._state.layers[depth].deciders.get(variable)
        if deciders is None:
            return None
        found: set[Any] = set()
        for owner, place in deciders:  # what lies higher goes before, where it says something
            labels = self._state.layers[depth].values[owner].labels
            said = [labels[value] for value in self._state.legal((depth, owner))]
            here = {value if place is None else value[place] for value in said}
            if variable.kind != "sector" or None not in here:
                found = here
            else:
                found |= here - {None}
        return found
