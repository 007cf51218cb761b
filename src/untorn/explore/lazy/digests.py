"""Which content has a digest: found once, among what the cache held at some time, and remembered.

A program knows the digests of contents that it had. So of all mixtures of undecided sectors only those that were
in the cache together at some moment are tried, and where they are few, all mixtures. That no other mixture has the
digest is the assumption "no digest collisions" of the certificate.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from operator import itemgetter
from typing import Final

from xxhash import xxh3_64_intdigest

from untorn.crashmodel.variables import GARBAGE, Variable
from untorn.explore.lazy.crash_state import CrashState
from untorn.explore.search_record import INHERITED
from untorn.storage.interface import Piece

_MIXTURES_MAX: Final = 1024


class Digests:
    """What is known of digests; shared by all executions of a search."""

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
        self, crash_state: CrashState, inode: int, start: int, data: bytes,
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
            content = self._search(crash_state, inode, start, data, open_sectors, piece, seed)
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
        self, crash_state: CrashState, inode: int, start: int, data: bytes,
        open_sectors: Sequence[tuple[int, int, int]], piece: Piece, seed: int,
    ) -> bytes | None:  # fmt: skip
        per_sector = []
        for index, low, high in open_sectors:
            held, values = _held(crash_state, Variable("sector", inode, index))
            at = index * self._unit + low - start
            per_sector.append(
                (at, [(moment, value[low:high]) for moment, value in held], {v[low:high] for v in values})
            )
        candidate = bytearray(data)
        for time in sorted({moment for _, held, _ in per_sector for moment, _ in held}, reverse=True):
            for at, held, _ in per_sector:
                value = max((one for one in held if one[0] <= time), key=itemgetter(0), default=held[0])[1]
                candidate[at : at + len(value)] = value
            if xxh3_64_intdigest(candidate, seed) == piece.digest:
                return bytes(candidate)
        distinct = [sorted(values) for _, _, values in per_sector]
        if prod(map(len, distinct)) <= _MIXTURES_MAX:
            for mixture in itertools.product(*distinct):
                for (at, _, _), value in zip(per_sector, mixture, strict=True):
                    candidate[at : at + len(value)] = value
                if xxh3_64_intdigest(candidate, seed) == piece.digest:
                    return bytes(candidate)
        return None


def _held(crash_state: CrashState, variable: Variable) -> tuple[list[tuple[tuple[int, int], bytes]], list[bytes]]:
    """What the cache held of a sector, at which (layer, event), oldest first; and all values that it may have.

    A recovery that was cut off may have written it too: so every layer is asked, not only the lowest.
    """
    held = []
    possible = []
    for (depth, owner), place in reversed(crash_state.deciders(variable)):
        alternatives = crash_state.layers[depth].alternatives[owner]
        values = [value if place is None or value is INHERITED else value[place] for value in alternatives.values]
        for since, index in alternatives.written:
            value = values[index]
            if isinstance(value, bytes) and value != GARBAGE * (len(value) // len(GARBAGE)):  # which no cache held
                held.append(((depth, since), value))
        possible += [value for value in values if isinstance(value, bytes)]
    return held, possible
