"""Which content has a digest: found once, among what the cache held at some time, and remembered.

A program knows the digests of contents that it had. So of all mixtures of undecided sectors only those that were
in the cache together at some moment are tried, and where they are few, all mixtures. That no other mixture has the
digest is the assumption "no digest collisions" of the certificate.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Final

from xxhash import xxh3_64_intdigest

from untorn.explore.world import World
from untorn.storage.api import Piece
from untorn.storage.variables import Variable

_MIXTURES_MAX: Final = 1024


class Digests:
    """What is known of digests; shared by all runs of a search."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._found: dict[tuple[int, int, int], bytes] = {}
        self._missing: set[tuple[int, int, int, int, bytes, tuple[tuple[int, int, int], ...]]] = set()

    def holds(self, data: bytes, digest: int, seed: int) -> bool:
        known = self._found.get((digest, seed, len(data)))
        if known is not None:
            return known == data
        if xxh3_64_intdigest(data, seed) != digest:
            return False
        self._found[digest, seed, len(data)] = data
        return True

    def content(self, piece: Piece, seed: int) -> bytes:
        """The content of a piece that was found to have its digest."""
        return self._found[piece.digest, seed, piece.length]

    def find(
        self, world: World, inode: int, start: int, data: bytes,
        open_sectors: Sequence[tuple[int, int, int]], piece: Piece, seed: int,
    ) -> bytes | None:  # fmt: skip
        """The content with the digest that agrees with ``data`` outside of the open sectors; None if none has it.

        Open sectors are (index, low, high): their bytes [low, high) lie in the piece, which begins at ``start``.
        """
        content = self._found.get((piece.digest, seed, piece.length))
        if content is None:
            question = (piece.digest, seed, inode, start, data, tuple(open_sectors))
            if question in self._missing:
                return None
            content = self._search(world, inode, start, data, open_sectors, piece, seed)
            if content is None:
                self._missing.add(question)
                return None
            self._found[piece.digest, seed, piece.length] = content
        masked = bytearray(content)
        for index, low, high in open_sectors:
            at = index * self._unit + low - start
            masked[at : at + high - low] = data[at : at + high - low]
        return content if masked == data else None

    def _search(
        self, world: World, inode: int, start: int, data: bytes,
        open_sectors: Sequence[tuple[int, int, int]], piece: Piece, seed: int,
    ) -> bytes | None:  # fmt: skip
        cells = []
        for index, low, high in open_sectors:
            key, place = world.stack(Variable("sector", inode, index))[-1]
            cell = world.layers[0].cells[key[1]]
            values = [(v if place is None else v[place])[low:high] for v in cell.values]
            cells.append((index * self._unit + low - start, values, cell.written))
        candidate = bytearray(data)
        for time in sorted({since for _, _, written in cells for since, _ in written}, reverse=True):
            for at, values, written in cells:
                value = values[max((entry for entry in written if entry[0] <= time), default=written[0])[1]]
                candidate[at : at + len(value)] = value
            if xxh3_64_intdigest(candidate, seed) == piece.digest:
                return bytes(candidate)
        distinct = [sorted(set(values)) for _, values, _ in cells]
        if prod(map(len, distinct)) <= _MIXTURES_MAX:
            for mixture in itertools.product(*distinct):
                for (at, _, _), value in zip(cells, mixture, strict=True):
                    candidate[at : at + len(value)] = value
                if xxh3_64_intdigest(candidate, seed) == piece.digest:
                    return bytes(candidate)
        return None
