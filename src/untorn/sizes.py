"""The sizes that every layer shares, in bytes, and the arithmetic on them."""

from __future__ import annotations

from typing import Final

SECTOR: Final = 512
"""Bytes that a device writes whole: the unit of tearing."""

BLOCK: Final = 4096
"""Alignment of log records, so that no commit rewrites a sector of the one before."""

FOLIO_SIZE: Final = 16384
"""Default bytes in one folio of the page cache."""

FOLIO_SIZE_MAX: Final = 1 << 20
"""Largest folio; an extent of the log lies inside one folio."""


def round_up(value: int, unit: int) -> int:
    """The smallest multiple of ``unit`` at or above ``value``; ``unit`` is a power of two."""
    return (value + unit - 1) & ~(unit - 1)


def is_folio_size(size: int) -> bool:
    """Whether ``size`` is a power of two from BLOCK to FOLIO_SIZE_MAX."""
    return BLOCK <= size <= FOLIO_SIZE_MAX and size & (size - 1) == 0
