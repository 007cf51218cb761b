"""What the live writer writes: contents that tell by themselves which transaction wrote which sector.

Transaction ``n`` overwrites some pages, all of them with its own stamp. Which pages and which bytes follows from
the seed, the number and the place, so that another process can say what the file must hold after any of them.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_128_digest

from untorn.sizes import SECTOR

PAGE: Final = 16384
"""Bytes in a page of the pattern."""

_MAGIC: Final = b"untornD\x01"
_STAMP: Final = struct.Struct("<8sQQQ")
"""Magic, transaction, page, sector."""
_FILL: Final = (SECTOR - _STAMP.size) // 16


@dataclass(frozen=True)
class Pattern:
    """Transactions over a file of ``pages`` pages, ``pages_each`` of them in each one."""

    seed: int
    pages: int
    pages_each: int

    def places(self, transaction: int) -> list[int]:
        """The pages that a transaction overwrites, in the order of its writes."""
        chance = random.Random(f"{self.seed} {transaction}")
        return chance.sample(range(self.pages), self.pages_each)

    def page(self, transaction: int, page: int) -> bytes:
        """What a transaction writes to a page."""
        return b"".join([self.sector(transaction, page, sector) for sector in range(PAGE // SECTOR)])

    def sector(self, transaction: int, page: int, sector: int) -> bytes:
        """What a transaction writes to a sector of a page."""
        stamp = _STAMP.pack(_MAGIC, transaction, page, sector)
        return stamp + xxh3_128_digest(stamp, self.seed) * _FILL

    def writes(self, transaction: int) -> Iterator[tuple[bytes, int]]:
        """The writes of a transaction: bytes and offset."""
        for page in self.places(transaction):
            yield self.page(transaction, page), page * PAGE

    def transaction_of(self, sector: bytes) -> int:
        """The transaction that wrote these SECTOR bytes, whole; 0 if it was none."""
        if not sector.startswith(_MAGIC) or len(sector) != SECTOR:
            return 0
        _, transaction, page, number = _STAMP.unpack_from(sector)
        return transaction if sector == self.sector(transaction, page, number) else 0
