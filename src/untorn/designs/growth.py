"""Which folios make home grow: those for which it lacks blocks, and how it gets them at a checkpoint.

Home has its blocks up to its first hole (``allocated_end``). A folio grows home if bytes of it beyond that are in the
log, or dirty, or asked for ahead by a writer that appends. Each stands for a folio's bytes that the log holds for home
(``untorn.log.space``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from untorn.log.extent_map import ExtentMap
from untorn.log.space import STEP_MAX
from untorn.log.writer import Log
from untorn.pagecache.folio import Folio
from untorn.sizes import BLOCK, round_up
from untorn.storage.interface import NO_SPACE, StorageFile


class Piece(NamedTuple):
    """Bytes ``[start, stop)`` that home has to get, and how many the log holds for them."""

    start: int
    stop: int
    held: int


class Growth:
    """Indices of folios. Not locked: its owner holds the inode's lock."""

    def __init__(self, folio_size: int) -> None:
        self._folio_size = folio_size
        self._indices: set[int] = set()
        self._cut: set[int] = set()
        """Those that were in the log before an uncommitted cut: a rollback, which cannot fail, may bring them back."""

    def __contains__(self, index: int) -> bool:
        return index in self._indices

    def __bool__(self) -> bool:
        return bool(self._indices or self._cut)

    @property
    def bytes(self) -> int:
        """What the log has to hold for it."""
        indices = self._indices | self._cut if self._cut else self._indices
        return len(indices) * self._folio_size

    def add(self, first: int, last: int, allocated_end: int) -> None:
        """Folios ``first`` to ``last`` will be dirty; home has its blocks below ``allocated_end``."""
        self._indices.update(range(max(first, allocated_end // self._folio_size), last + 1))

    def drop(self, indices: Iterable[int], extents: ExtentMap, allocated_end: int) -> None:
        """These are not dirty; if they are not in the log either, home will not grow for them."""
        self._indices.difference_update(index for index in indices if not _logged(extents, index, allocated_end))

    def truncate(self, size: int, extents: ExtentMap, allocated_end: int) -> None:
        """The bytes from ``size`` on are about to be cut from the file and its ``extents``, uncommitted."""
        self._cut.update(index for index in self._indices if _logged(extents, index, max(size, allocated_end)))
        if allocated_end >= size:
            self._indices.clear()
        elif self._indices:
            self._indices = {index for index in self._indices if index * self._folio_size < size}

    def commit(self) -> None:
        """What was cut is committed."""
        self._cut.clear()

    def restore(self, extents: ExtentMap, allocated_end: int) -> None:
        """Nothing is dirty: what is in the log is all there is."""
        self._indices = {index for index in extents.folios if _logged(extents, index, allocated_end)}
        if extents.committed:
            self._cut.clear()

    def restart(self, dirty: Mapping[int, Folio], allocated_end: int) -> None:
        """Nothing is in the log: what is dirty is all there is."""
        self._indices = self._growing(dirty, allocated_end)
        self._cut.clear()

    def _growing(self, dirty: Mapping[int, Folio], allocated_end: int) -> set[int]:
        """The dirty folios for which home lacks blocks."""
        ends = ((index, index * self._folio_size + one.ranges[-1][1]) for index, one in dirty.items() if one.ranges)
        return {index for index, end in ends if end > allocated_end}

    def pieces(self, extents: ExtentMap, allocated_end: int, size: int) -> Iterator[Piece]:
        """What a checkpoint of a file of ``size`` bytes has to hand over: runs of folios, none longer than a step."""
        limit = max(STEP_MAX // self._folio_size, 1)
        run: list[int] = []
        for index in sorted(index for index in extents.folios if _logged(extents, index, allocated_end)):
            if run and (index != run[-1] + 1 or len(run) == limit):
                yield self._piece(run[0], run[-1], size)
                run = []
            run.append(index)
        if run:
            yield self._piece(run[0], run[-1], size)

    def _piece(self, first: int, last: int, size: int) -> Piece:
        folio = self._folio_size
        stop = min((last + 1) * folio, round_up(size, BLOCK))
        return Piece(first * folio, stop, (last - first + 1) * folio)

    def assert_exact(self, extents: ExtentMap, dirty: Mapping[int, Folio], asked: range, allocated_end: int) -> None:
        """Asserts that every folio that grows home is here, and no other but for those asked for ahead."""
        logged = {index for index in extents.folios if _logged(extents, index, allocated_end)}
        assert logged | self._growing(dirty, allocated_end) <= self._indices, "home's growth is not reserved for"
        idle = {index for index in self._indices - logged - dirty.keys() if index not in asked}
        assert not (extents.committed and self._cut), "what no rollback brings back is reserved for"
        assert not idle, f"folios {sorted(idle)} are reserved for, and nothing of them is dirty or in the log"


def _logged(extents: ExtentMap, index: int, allocated_end: int) -> bool:
    """Whether the log has bytes of the folio for which home lacks blocks."""
    folio = extents.folios.get(index)
    return folio is not None and folio[-1].stop > allocated_end


def hand_over(home: StorageFile, log: Log, pieces: Iterable[Piece]) -> None:
    """Sees that home has the blocks for its growth before any is written. OSError if another process took them.

    Home takes a piece and then the log gives one up; only where there is no space left for both it is the other
    way round, for one step at a time.
    """
    pieces = list(pieces)
    total = sum(piece.held for piece in pieces)
    lent = got = 0
    for piece in pieces:
        while not _taken(home, piece):
            more = min(STEP_MAX, total - lent)
            lent += more
            if not log.release_unused(more):
                home.allocate(piece.start, piece.stop - piece.start, keep_size=True)
                break
        got += piece.held
        if got > lent:
            log.handed_over(got - lent)
            lent = got


def _taken(home: StorageFile, piece: Piece) -> bool:
    """Whether home has got the piece's blocks; False if there is no space."""
    try:
        home.allocate(piece.start, piece.stop - piece.start, keep_size=True)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        return False
    return True
