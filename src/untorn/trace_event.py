"""What a trace of a file consists of: each step of a write on its way to disk, in the kernel's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class TraceEvent(NamedTuple):
    """One step. ``folio`` is an index, -1 where no folio is meant; offset and length are in bytes, of the target."""

    event: str
    """write, mkwrite, writeback, bio, end_writeback, fdatasync, fsync; checkpoint, which is bios from log to file."""
    folio: int = -1
    flags: str = ""
    """Of a folio as ``locked|uptodate|dirty|atomic``, of a bio as ``REQ_OP_WRITE|REQ_ATOMIC``."""
    blocks: str = ""
    """A letter for each block of the folio: A dirty and atomic, D dirty, ``_`` clean."""
    offset: int = 0
    length: int = 0
    target: str = ""
    """Of a bio or a sync: ``home``, the file itself, or ``log``."""


TraceCallback = Callable[[TraceEvent], None]
