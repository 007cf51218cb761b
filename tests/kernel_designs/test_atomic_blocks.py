"""PG_atomic and its two bitmaps against a model that keeps, for each block, which write made it atomic."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import untorn
from tests.support.atomic_machine import BLOCK, FOLIO, bios, machine, opened
from untorn import RWF_ATOMIC
from untorn.designs.bio import natural_pieces
from untorn.kernel_designs.atomic_blocks import NONE, AtomicBlocks, AtomicFolio, with_atomic
from untorn.pagecache.address_space import WRITTEN
from untorn.pagecache.folio import PG_ATOMIC, Folio

BLOCKS: Final = 16


class Model:
    """For each block the number of the atomic write whose range it is in, or None."""

    def __init__(self) -> None:
        self.blocks: list[int | None] = [None] * BLOCKS
        self.number = 0

    def set(self, first: int, last: int) -> None:
        owners = set(self.blocks[first : last + 1])
        if len(owners) == 1 and None not in owners:
            return  # inside a larger one
        self.number += 1
        self.blocks[first : last + 1] = [self.number] * (last + 1 - first)

    def clear(self, first: int, last: int) -> None:
        broken = set(self.blocks[first : last + 1])
        self.blocks = [None if owner in broken else owner for owner in self.blocks]

    def ranges(self) -> list[tuple[int, int]]:
        owners = [owner for owner in dict.fromkeys(self.blocks) if owner is not None]
        return [(self.blocks.index(owner), BLOCKS - 1 - self.blocks[::-1].index(owner)) for owner in owners]


@st.composite
def natural(draw: st.DrawFn) -> tuple[int, int]:
    """First and last block of a write that obeys the kernel's rules."""
    length = 1 << draw(st.integers(0, 4))
    first = draw(st.integers(0, BLOCKS // length - 1)) * length
    return first, first + length - 1


any_blocks = st.tuples(st.integers(0, BLOCKS - 1), st.integers(0, BLOCKS - 1)).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(st.one_of(st.tuples(st.just("set"), natural()), st.tuples(st.just("clear"), any_blocks)), max_size=30))
def test_the_bitmaps_are_what_a_model_of_blocks_says(calls: list[tuple[str, tuple[int, int]]]) -> None:
    model, bitmaps = Model(), NONE
    for name, blocks in calls:
        getattr(model, name)(*blocks)
        bitmaps = getattr(bitmaps, name)(*blocks)
        assert bitmaps.ranges() == model.ranges()
        assert max(bitmaps) < 1 << BLOCKS, "a bit out of bounds"
        assert bitmaps.starts.bit_count() == bitmaps.ends.bit_count() == len(model.ranges())


ONES: Final = AtomicBlocks(0b1111, 0b1111)
"""Four atomic writes of a block each."""

RFC: Final = {
    "AADD, written 0-3": (AtomicBlocks(0b0011, 0b0011), (0, 3), "DDDD"),
    "AADD as one range, written 0-3": (AtomicBlocks(0b0001, 0b0010), (0, 3), "DDDD"),
    "AAAA, written 1-2": (ONES, (1, 2), "ADDA"),
    "AAAA as one range, written 1-2": (AtomicBlocks(0b0001, 0b1000), (1, 2), "DDDD"),
    "AAAA as two ranges, written 1": (AtomicBlocks(0b0101, 0b1010), (1, 1), "DDAA"),
    "AAAA, written 2-3 at the folio's end": (ONES, (2, 3), "AADD"),
    "AAAA as two ranges, written 2-3 at the folio's end": (AtomicBlocks(0b0101, 0b1010), (2, 3), "AADD"),
    "AAAA, all cleared": (ONES, (0, 3), "DDDD"),
}


@pytest.mark.parametrize("row", RFC.values(), ids=RFC)
def test_a_plain_write_clears_what_it_touches_and_the_rest_of_what_it_breaks(
    row: tuple[AtomicBlocks, tuple[int, int], str],
) -> None:
    before, blocks, expected = row
    after = before.clear(*blocks)
    assert with_atomic(Folio(bytes(FOLIO), WRITTEN, ((0, FOLIO),)), after).block_states(FOLIO) == expected
    assert after.ends >> FOLIO // BLOCK == 0, "cleared out of bounds"


def test_the_error_of_the_rfc_would_be_seen() -> None:
    """There the end bits are cleared from the last block on: bits beyond the folio, and of a block not written."""

    def as_in_the_rfc(before: AtomicBlocks, first: int, last: int) -> tuple[AtomicBlocks, int]:
        mask = (1 << last - first + 1) - 1
        return AtomicBlocks(before.starts & ~(mask << first), before.ends & ~(mask << last)), mask << last

    after, touched = as_in_the_rfc(ONES, 2, 3)
    assert touched >> FOLIO // BLOCK, "no bit beyond the folio was touched"
    assert after.ends != ONES.clear(2, 3).ends
    after, _ = as_in_the_rfc(ONES, 1, 2)
    assert after.starts == ONES.clear(1, 2).starts
    assert after.ends != ONES.clear(1, 2).ends, "block 3 lost its end and nobody saw it"


@pytest.mark.parametrize(
    ("before", "length", "expected"),
    [
        (ONES, FOLIO, "AAAA"),
        (ONES, FOLIO - 1, "AAAD"),
        (ONES, 2 * BLOCK, "AA__"),
        (ONES, 2 * BLOCK + 1, "AAD_"),
        (AtomicBlocks(0b0101, 0b1010), 3 * BLOCK, "AAD_"),
        (AtomicBlocks(0b0001, 0b1000), 3 * BLOCK, "DDD_"),
        (ONES, 0, "____"),
    ],
)
def test_a_cut_takes_the_flag_from_what_it_cuts_through(before: AtomicBlocks, length: int, expected: str) -> None:
    folio = AtomicFolio(bytes(FOLIO), WRITTEN, ((0, FOLIO),), before).truncated(length)
    assert folio.block_states(FOLIO) == expected
    assert folio.test(PG_ATOMIC) is ("A" in expected)


def states(design: str, *writes: tuple[int, int, int]) -> str:
    """Of the file's first folio after writes of (first block, blocks, flags)."""
    seen: list[untorn.TraceEvent] = []
    with opened(machine(), design) as file:
        file.set_trace(lambda step: seen.append(step) if step.folio == 0 and step.event == "write" else None)
        for first, blocks, flags in writes:
            file.pwrite(bytes(blocks * BLOCK), first * BLOCK, flags)
    assert ("atomic" in seen[-1].flags) is ("A" in seen[-1].blocks)
    return seen[-1].blocks


def test_writes_to_a_file_move_the_bitmaps_as_the_rfc_says() -> None:
    A = RWF_ATOMIC
    assert states("folio-flag", (0, 1, A), (1, 1, A)) == "AA__"
    assert states("folio-flag", (0, 2, A), (2, 2, 0), (0, 4, 0)) == "DDDD"
    assert states("folio-flag", (0, 1, A), (1, 1, A), (2, 1, A), (3, 1, A), (1, 2, 0)) == "ADDA"
    assert states("folio-flag", (0, 4, A), (1, 2, 0)) == "DDDD"
    assert states("folio-flag", (0, 4, 0), (2, 2, A)) == "DDAA"
    assert states("folio-flag", (0, 2, A), (2, 2, A), (3, 1, 0)) == "AADD"
    assert states("folio-flag", (0, 4, A), (2, 1, A)) == "AAAA"
    assert states("folio-flag", (0, 1, A), (2, 1, A), (0, 4, A)) == "AAAA"


def test_a_store_through_a_mapping_clears_all_of_the_folio() -> None:
    """Simulated: untorn has no mappings. RFC: ``AA__``, a store to any block, ``DDDD``."""
    seen: list[untorn.TraceEvent] = []
    with opened(machine(), "folio-flag") as file:
        file.set_trace(seen.append)
        file.pwrite(bytes(2 * BLOCK), 0, RWF_ATOMIC)
        file.pwrite(bytes(BLOCK), FOLIO, RWF_ATOMIC)
        file._inode.store(b"s", 3 * BLOCK)
        assert (seen[-1].event, seen[-1].flags, seen[-1].blocks) == ("mkwrite", "locked|uptodate|dirty", "DDDD")
        sent = bios(file)
    assert [(bio.offset, bio.length, "ATOMIC" in bio.flags) for bio in sent] == [
        (0, FOLIO, False),
        (FOLIO, BLOCK, True),
    ]


def test_a_write_inside_an_atomic_range_goes_out_with_it() -> None:
    with opened(machine(), "folio-flag") as file:
        sent = bios(file)
        file.pwrite(b"1" * FOLIO, 0, RWF_ATOMIC)
        file.pwrite(b"2" * BLOCK, BLOCK, RWF_ATOMIC)
        file.flush()
        assert [(bio.offset, bio.length) for bio in sent] == [(0, FOLIO)]
        assert file.pread(3 * BLOCK, 0) == b"1" * BLOCK + b"2" * BLOCK + b"1" * BLOCK


def test_when_writeback_ends_the_flag_and_its_bits_are_gone() -> None:
    with opened(machine(), "folio-flag") as file:
        file.pwrite(bytes(FOLIO), 0, RWF_ATOMIC)
        folio = file._inode.pages.dirty[0]
        assert str(folio) == "uptodate|dirty|atomic"
        file.flush()
        assert str(folio) == "uptodate"
        assert folio.atomic == NONE
        file.pwrite(bytes(BLOCK), BLOCK)
        assert str(file._inode.pages.dirty[0]) == "uptodate|dirty"


@given(st.lists(natural(), min_size=1, max_size=8), st.integers(0, 4))
def test_natural_pieces_cut_no_write_that_obeyed_the_rules(writes: list[tuple[int, int]], power: int) -> None:
    """Why the flag on the mapping needs no bitmaps: of two naturally aligned ranges that overlap one has the other."""
    unit_max = 1 << power
    writes = [(first, last) for first, last in writes if last - first < unit_max]
    dirty = sorted({block for first, last in writes for block in range(first, last + 1)})
    pieces: list[tuple[int, int]] = []
    while dirty:
        stop = next((block for block in range(dirty[0], BLOCKS + 1) if block not in dirty), BLOCKS)
        pieces += natural_pieces(dirty[0], stop, unit_max)
        dirty = [block for block in dirty if block >= stop]
    for start, stop in pieces:
        length = stop - start
        assert length <= unit_max
        assert length & (length - 1) == start % length == 0
    assert sum(stop - start for start, stop in pieces) == len({b for a, z in writes for b in range(a, z + 1)})
    for first, last in writes:
        assert any(start <= first and last < stop for start, stop in pieces)
