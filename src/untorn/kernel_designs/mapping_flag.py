"""The objection to the RFC: one flag on the address space, none on the folio.

All that is dirty is of one kind. A write of the other kind first writes that back and waits for it, and so does a
store through a mapping. Where atomic writes began and ended nobody remembers: writeback cuts what is dirty into the
largest naturally aligned powers of two, and none of these cuts a write that obeyed the kernel's rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from untorn.designs.bio import natural_pieces
from untorn.kernel_designs.written_back import Tracked
from untorn.pagecache.address_space import AddressSpace
from untorn.pagecache.folio import Folio, Ranges


class MappingFlag(Tracked):
    """AS_ATOMIC on the address space."""

    name: ClassVar[str] = "mapping-flag"
    _atomic = False
    """Whether what is dirty is atomic."""

    def state_bits(self) -> tuple[int, int]:
        return 0, 1

    def must_flush(self, *, atomic: bool) -> bool:
        return self._atomic is not atomic

    def mark(self, pages: AddressSpace, built: dict[int, Folio], start: int, stop: int, *, atomic: bool) -> None:
        assert not pages.dirty or self._atomic is atomic, "dirty data of both kinds"
        self._atomic = atomic

    def dirty_ranges(self, folio: Folio, ranges: Ranges) -> Iterator[tuple[int, int, bool]]:
        for start, stop in ranges:
            if self._atomic:
                for first, last in natural_pieces(start, stop, self.limits().unit_max):
                    yield first, last, True
            else:
                yield start, stop, False
