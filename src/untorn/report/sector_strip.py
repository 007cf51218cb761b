"""Lays out a strip: a row of equal cells, each of some kind, as many to a row as fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

CELLS_MAX: Final = 512
"""Beyond that a cell stands for several."""
_PER_ROW: Final = 64
_CELL: Final = 13.0
_GAP: Final = 2.0
_ROW: Final = 20.0


@dataclass(frozen=True)
class Cells:
    """Neighbours of one kind in one row."""

    kind: str
    x: float
    y: float
    width: float
    title: str
    edges: tuple[float, ...]
    """Between them."""


@dataclass
class Strip:
    """Coordinates in pixels, ready to be drawn."""

    cells: list[Cells] = field(default_factory=list)
    rows: list[tuple[float, int]] = field(default_factory=list)
    """(y, number of the first thing in the row)."""
    width: float = 0.0
    height: float = 0.0
    each: int = 1
    """How many things a cell stands for."""
    count: int = 0
    """How many things there are."""


def lay_out(
    runs: Sequence[tuple[str, int]], words: Callable[[str, int, int], str], rank: Callable[[str], int]
) -> Strip:
    """The strip of runs (kind, count); ``words(kind, first, last)`` describes some of them.

    Where a cell stands for several things it has the kind that ranks highest.
    """
    kinds = [kind for kind, count in runs for _ in range(count)]
    each = -(-len(kinds) // CELLS_MAX) or 1
    merged = [max(kinds[at : at + each], key=rank) for at in range(0, len(kinds), each)]
    strip = Strip(each=each, count=len(kinds))
    for start in range(0, len(merged), _PER_ROW):
        row = merged[start : start + _PER_ROW]
        y = start // _PER_ROW * (_ROW + _GAP)
        strip.rows.append((y, start * each))
        at = 0
        while at < len(row):
            end = at
            while end < len(row) and row[end] == row[at]:
                end += 1
            first, last = (start + at) * each, min((start + end) * each, len(kinds)) - 1
            edges = tuple(_CELL * edge for edge in range(at + 1, end))
            strip.cells.append(Cells(row[at], _CELL * at, y, _CELL * (end - at), words(row[at], first, last), edges))
            at = end
        strip.width = max(strip.width, _CELL * len(row))
        strip.height = y + _ROW
    return strip
