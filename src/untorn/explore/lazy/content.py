"""The bytes of a file after a crash, decided when somebody looks.

A read decides the bytes that it returns and no others; what is written over is never decided; a digest is one
question with two answers, and a classifier of sectors one with as many as it has classes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from untorn.crashmodel.disk_image import Content
from untorn.crashmodel.variables import Variable
from untorn.explore.lazy.crash_state import UNDECIDED, CrashState
from untorn.explore.lazy.digests import Digests
from untorn.explore.search_record import Key
from untorn.sizes import SECTOR
from untorn.storage.interface import Piece

T = TypeVar("T")


def same(value: Any) -> Any:
    """The classifier that tells every two values apart."""
    return value


class LazyContent(Content):
    """Bytes of one file; what is decided or written moves into its pages."""

    __slots__ = ("_base", "_closed", "_crash_state", "_digests", "_inode", "_sectors", "_size", "_unit", "seen")

    def __init__(
        self, crash_state: CrashState, inode: int, base: Content, sectors: Sequence[int], digests: Digests, unit: int
    ) -> None:
        self._unit = unit
        self._size: int | None = None
        self._base = base
        self._pages = base._pages
        self._shared = True
        self._crash_state = crash_state
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
        variable, base = Variable("size", self._inode), lambda: self._base.size
        size: int = self._crash_state.ask_value(variable, lambda value: min(value, limit), base)
        decided = self._crash_state.decided_value(variable, base)
        if decided is not UNDECIDED:
            self._size = decided
        return size

    # Reading

    def undecided(self, start: int, end: int) -> list[int]:
        """Sectors of bytes [start, end) that a layer has and nobody closed."""
        sectors, closed, unit = self._sectors, self._closed, self._unit
        low = bisect_left(sectors, start // unit)
        high = bisect_left(sectors, -(-end // unit), low)
        return [index for index in sectors[low:high] if index not in closed] if low < high else []

    def ask_sector(self, index: int, classify: Callable[[bytes], T]) -> T:
        """The class of a sector's bytes."""
        base = partial(self._base.sector, index, self._unit)
        answer: T = self._crash_state.ask_value(Variable("sector", self._inode, index), classify, base)
        return answer

    def observe(self, start: int, stop: int, stride: int, classify: Callable[[bytes], T]) -> Iterator[T]:
        """The class of the SECTOR bytes at ``start``, ``start + stride``, ...; all multiples of SECTOR."""
        end = self.bounded(stop)
        undecided = set(self.undecided(start, end))
        for at in range(start, end, stride):
            index, low = divmod(at, self._unit)
            if index not in undecided:
                yield classify(self.span(at, min(at + SECTOR, end)))
            elif at + SECTOR > end:
                yield classify(self.read(at, SECTOR))
            elif self._unit == SECTOR:
                yield self.ask_sector(index, classify)
            else:
                yield self.ask_sector(index, lambda value, low=low: classify(value[low : low + SECTOR]))  # type: ignore[misc]

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
            low, high = -(-offset // self._unit) * self._unit, end // self._unit * self._unit
            if low < high:  # every sector in there is closed now
                self.put(low, data[low - offset : high - offset])
        return data

    def _decide(self, offset: int, end: int) -> list[tuple[int, bytes]]:
        """What is decided now, by its place in the range; whole sectors are closed, the caller puts them."""
        parts = []
        for index in self.undecided(offset, end):
            start = index * self._unit
            low, high = max(offset - start, 0), min(end - start, self._unit)
            if high - low == self._unit:
                value = self.ask_sector(index, same)
                self.seen[index] = value
                self._closed.add(index)
                parts.append((start - offset, value))
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
            overlapping = [] if known else self._crash_state.overlapping(members)
            if not overlapping:
                matches = known or self._crash_state.ask_digest(members)
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
            answer = self._crash_state.ask_upper(
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
        content = self._digests.find(self._crash_state, self._inode, start, bytes(data), open_sectors, piece, seed)
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
        end, unit = offset + len(content), self._unit
        low, high = -(-offset // unit) * unit, end // unit * unit
        for index in self.undecided(offset, end):
            start = index * unit
            if low <= start < high:
                self.seen[index] = content[start - offset : start - offset + unit]
                self._closed.add(index)
            else:
                base = partial(self._base.sector, index, unit)
                value = self._crash_state.decided_value(Variable("sector", self._inode, index), base)
                if value is not UNDECIDED:
                    self.seen[index] = value
                    self._close(index, value)
        if low < high:
            self.put(low, content[low - offset : high - offset])

    def _matching(self, index: int, low: int, high: int, wanted: bytes) -> tuple[Key, frozenset[int]]:
        key, place = self._crash_state.deciders(Variable("sector", self._inode, index))[-1]
        values = self._crash_state.layers[0].alternatives[key[1]].values
        return key, frozenset(
            at for at, v in enumerate(values) if (v if place is None else v[place])[low:high] == wanted
        )
