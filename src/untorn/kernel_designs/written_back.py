"""Limits of the designs that write atomic data back later: an atomic write lies in one folio."""

from __future__ import annotations

from untorn.kernel_designs.in_place import NOTHING, InPlace
from untorn.sizes import BLOCK
from untorn.storage.interface import AtomicLimits


def buffered_limits(device: AtomicLimits, unit_max: int) -> AtomicLimits:
    """What buffered writes are offered where direct ones have these limits: whole blocks, at most ``unit_max``."""
    largest = min(device.unit_max, unit_max)
    smallest = max(device.unit_min, BLOCK)
    if not device.unit_min or smallest > largest:
        return NOTHING
    return AtomicLimits(smallest, largest, min(device.unit_max_opt, largest), 1)


class Tracked(InPlace):
    """Base of folio-flag and mapping-flag."""

    def limits(self) -> AtomicLimits:
        return buffered_limits(self._device, self._folio_size)
