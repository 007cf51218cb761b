"""What a crash may leave of a workload: each page that must not tear is there whole, or not at all.

Every sector of every write has content of its own, so what is found says which write it is from. A page is torn if,
of its sectors that no later write replaced, some are of its write and some are older.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from xxhash import xxh3_128_digest

from untorn.debate.compare.workloads import Step
from untorn.sizes import SECTOR

_ZEROS: Final = bytes(SECTOR)


class Page(NamedTuple):
    """Bytes of one write that must not tear."""

    serial: int
    """Of the write; a higher one is later."""
    start: int
    stop: int


@lru_cache(maxsize=1 << 14)
def _sector(serial: int, number: int) -> bytes:
    return xxh3_128_digest(b"%d %d" % (serial, number)) * (SECTOR // 16)


def stamped(serial: int, offset: int, length: int) -> bytes:
    """The content of a write; whole sectors. Serial number 0 is what the file held at first."""
    return b"".join(_sector(serial, number) for number in range(offset // SECTOR, (offset + length) // SECTOR))


def pages_of(writes: Sequence[tuple[int, Step]]) -> Iterator[Page]:
    """Every page that must not tear."""
    for serial, step in writes:
        if step.unit:
            for start in range(step.offset, step.offset + step.length, step.unit):
                yield Page(serial, start, start + step.unit)


def overwritten(page: Page, steps: Sequence[Step]) -> bool:
    """Whether a plain write came over a part of the page before the next sync."""
    serial = 0
    for step in steps:
        if step.kind == "sync":
            if serial >= page.serial:
                return False
            continue
        serial += 1
        over = step.offset < page.stop and page.start < step.offset + step.length
        if serial > page.serial and not step.unit and over:
            return True
    return False


class Known:
    """Which write each sector is from."""

    def __init__(self, size: int, writes: Sequence[tuple[int, Step]]) -> None:
        ranges = [(0, 0, size)] + [(serial, step.offset, step.offset + step.length) for serial, step in writes]
        self._serials = {
            _sector(serial, number): (serial, number)
            for serial, start, stop in ranges
            for number in range(start // SECTOR, stop // SECTOR)
        }

    def serial(self, content: bytes, number: int) -> int:
        """Of the write that a sector shows; what is not there, or zeros, is older than all."""
        found = content[number * SECTOR : (number + 1) * SECTOR]
        if found in (_ZEROS[: len(found)], b""):
            return -1
        serial, place = self._serials.get(found, (-1, -1))
        if place != number:
            raise AssertionError(f"garbage: sector {number} holds what nobody wrote there")
        return serial

    def judge(self, content: bytes, page: Page) -> None:
        """AssertionError if the page is torn."""
        numbers = range(page.start // SECTOR, page.stop // SECTOR)
        shown = [serial for serial in (self.serial(content, number) for number in numbers) if serial <= page.serial]
        new = shown.count(page.serial)
        if 0 < new < len(shown):
            raise AssertionError(
                f"torn: of the {page.stop - page.start:,} bytes of write {page.serial} at {page.start:,}, "
                f"{new * SECTOR:,} are new and {(len(shown) - new) * SECTOR:,} are older"
            )
