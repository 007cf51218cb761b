"""Writethrough, as discussed at LSF/MM/BPF 2026: the write call itself does the I/O and returns its error.

Each call copies into the folios, waits for writeback in flight, submits one bio (with REQ_ATOMIC if RWF_ATOMIC was
asked for, with FUA if RWF_DSYNC was), and returns when that has ended. The folios are stable while it is in flight.
They are clean then, unless a store through a mapping made other blocks of them dirty.
"""

from __future__ import annotations

import sys
from typing import ClassVar

from untorn.kernel_designs.in_place import InPlace
from untorn.kernel_designs.written_back import buffered_limits
from untorn.sizes import BLOCK, round_up
from untorn.storage.interface import AtomicLimits


class WriteThrough(InPlace):
    """Nothing but writeback in flight is remembered. Needs O_DIRECT, also where there are no atomic limits."""

    name: ClassVar[str] = "writethrough"
    bio_max: ClassVar[int] = sys.maxsize
    through: ClassVar[bool] = True

    def state_bits(self) -> tuple[int, int]:
        return 0, 0

    def limits(self) -> AtomicLimits:
        return buffered_limits(self._device, self._device.unit_max)

    def grow(self, first: int, last: int, end: int) -> None:
        """Takes the blocks at once: a write that returns after its I/O says ENOSPC itself, before the cache changes."""
        super().grow(first, last, end)
        start = first * self._folio_size
        self._home.allocate(start, round_up(end, BLOCK) - start, keep_size=True)
        if start <= self.dense:
            self.dense = end
