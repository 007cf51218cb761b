"""Folios, their flags and ranges, and the address space that keeps them."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

import untorn
from untorn.crashmodel.storage import SimulatedStorage
from untorn.pagecache.address_space import WRITTEN, AddressSpace
from untorn.pagecache.folio import (
    PG_ATOMIC,
    PG_DIRTY,
    PG_REFERENCED,
    PG_UPTODATE,
    PG_WRITEBACK,
    RANGES_MAX,
    Folio,
    PageFlags,
    Ranges,
    patched,
    with_range,
)

FOLIO = 4096
FLAGS = [PG_REFERENCED, PG_UPTODATE, PG_DIRTY, PG_ATOMIC, PG_WRITEBACK]
NAMES = ["referenced", "uptodate", "dirty", "atomic", "writeback"]

# Flags


@pytest.mark.parametrize("bits", range(32))
def test_flags_are_printed_as_the_kernel_does(bits: int) -> None:
    names = [name for flag, name in zip(FLAGS, NAMES, strict=True) if bits & flag]
    assert str(PageFlags(bits)) == "|".join(names)


def test_a_folio_on_its_way_prints_its_flags() -> None:
    folio = Folio(b"abc", PG_UPTODATE | PG_DIRTY | PG_WRITEBACK, ((0, 3),))
    assert str(folio) == "uptodate|dirty|writeback"
    assert repr(folio) == "Folio(3 bytes, uptodate|dirty|writeback, ((0, 3),))"


@pytest.mark.parametrize("bits", range(32))
@pytest.mark.parametrize("flag", FLAGS)
def test_operations_on_one_flag_leave_the_others(bits: int, flag: int) -> None:
    was = bool(bits & flag)
    assert PageFlags(bits).test(flag) is was
    for operation, answer, after in [
        ("set", None, bits | flag),
        ("clear", None, bits & ~flag),
        ("test_and_set", was, bits | flag),
        ("test_and_clear", was, bits & ~flag),
    ]:
        flags = PageFlags(bits)
        assert getattr(flags, operation)(flag) is answer
        assert flags.bits == after


# Ranges and patches

SMALL = 200
spans = st.tuples(st.integers(0, SMALL), st.integers(1, 40)).map(lambda span: (span[0], span[0] + span[1]))


def byte_set(ranges: Ranges) -> set[int]:
    return {at for start, stop in ranges for at in range(start, stop)}


def runs(numbers: set[int]) -> Ranges:
    """The fewest ranges that hold just these numbers, in order."""
    starts = sorted(at for at in numbers if at - 1 not in numbers)
    stops = sorted(at + 1 for at in numbers if at + 1 not in numbers)
    return tuple(zip(starts, stops, strict=True))


@given(st.lists(spans, max_size=15))
def test_ranges_are_just_the_bytes_that_were_written(written: list[tuple[int, int]]) -> None:
    ranges: Ranges = ()
    expected: set[int] = set()
    for start, stop in written:
        ranges = with_range(ranges, start, stop)
        expected |= set(range(start, stop))
        assert ranges == runs(expected)


@given(st.lists(st.integers(0, 400).map(lambda at: (2 * at, 2 * at + 1)), min_size=RANGES_MAX, max_size=60))
def test_more_ranges_than_allowed_become_one_that_holds_them_all(written: list[tuple[int, int]]) -> None:
    ranges: Ranges = ()
    for start, stop in written:
        before = byte_set(ranges) | set(range(start, stop))
        ranges = with_range(ranges, start, stop)
        exact = runs(before)
        assert ranges == (exact if len(exact) <= RANGES_MAX else ((exact[0][0], exact[-1][1]),))


def test_exactly_as_many_ranges_as_allowed_stay_apart() -> None:
    ranges: Ranges = ()
    for number in range(RANGES_MAX):
        ranges = with_range(ranges, 10 * number, 10 * number + 1)
    assert len(ranges) == RANGES_MAX
    assert with_range(ranges, 10 * RANGES_MAX, 10 * RANGES_MAX + 1) == ((0, 10 * RANGES_MAX + 1),)


@given(st.binary(max_size=60), st.integers(0, 80), st.binary(max_size=60))
def test_a_patch_is_what_a_bytearray_makes_of_it(data: bytes, start: int, piece: bytes) -> None:
    expected = bytearray(data.ljust(start, b"\0"))
    expected[start : start + len(piece)] = piece
    for kind in (bytes, bytearray, memoryview):
        result = patched(data, start, kind(piece))  # type: ignore[arg-type]
        assert result == expected
        assert type(result) is bytes


@given(st.binary(min_size=1, max_size=60), st.lists(spans, max_size=6), st.integers(0, 70))
def test_a_cut_folio_has_only_the_bytes_before_the_cut(
    data: bytes, written: list[tuple[int, int]], length: int
) -> None:
    ranges: Ranges = ()
    for start, stop in written:
        ranges = with_range(ranges, start, stop)
    cut = Folio(data, WRITTEN, ranges).cut(length)
    assert (cut.data, cut.bits) == (data[:length], WRITTEN)
    assert cut.ranges == runs({at for at in byte_set(ranges) if at < length})


# Address space


class Backing:
    """What folios are read from, and how often."""

    def __init__(self) -> None:
        self.loaded: list[int] = []
        self.broken = False

    def load(self, index: int) -> bytes:
        self.loaded.append(index)
        if self.broken:
            raise OSError(errno.EIO, "broken")
        return bytes([index % 256]) * FOLIO


@pytest.fixture
def backing() -> Backing:
    return Backing()


def space(backing: Backing, clean_max: int = 4) -> AddressSpace:
    return AddressSpace(FOLIO, clean_max, backing.load)


def write(pages: AddressSpace, start: int, data: bytes | memoryview, size: int = 1 << 20) -> None:
    pages.dirty.update(pages.build(start, data, size))


def test_the_folio_least_recently_used_goes_first(backing: Backing) -> None:
    pages = space(backing)
    for index in range(6):
        pages.folio(index)
    assert list(pages.clean) == [2, 3, 4, 5]
    assert backing.loaded == list(range(6))


def test_a_folio_used_since_it_was_read_in_gets_a_second_chance_and_no_third(backing: Backing) -> None:
    pages = space(backing)
    for index in range(4):
        pages.folio(index)
    pages.folio(0)
    pages.folio(4)
    assert set(pages.clean) == {0, 2, 3, 4}
    assert not pages.clean[0].test(PG_REFERENCED)
    for index in range(5, 9):
        pages.folio(index)
    assert 0 not in pages.clean
    assert len(pages.clean) == 4


def test_if_all_were_used_one_goes_all_the_same(backing: Backing) -> None:
    pages = space(backing)
    for index in [0, 1, 2, 3, 0, 1, 2, 3, 4]:
        pages.folio(index)
    assert len(pages.clean) == 4


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(1, 40))
def test_there_are_never_more_clean_folios_than_allowed(indices: list[int], clean_max: int) -> None:
    backing = Backing()
    pages = space(backing, clean_max)
    for number, index in enumerate(indices):
        if number % 3:
            assert pages.folio(index).data == bytes([index]) * FOLIO
        else:
            write(pages, index * FOLIO, bytes([index]) * FOLIO)
            pages.start_writeback()
            pages.end_writeback()
        assert len(pages.clean) <= clean_max
    assert pages.loads == len(backing.loaded)


def test_dirty_folios_and_those_on_their_way_are_not_dropped(backing: Backing) -> None:
    pages = space(backing)
    write(pages, 0, b"w" * 10)
    pages.start_writeback()
    write(pages, FOLIO, b"d" * 10)
    for index in range(2, 12):
        pages.folio(index)
    backing.loaded.clear()
    assert pages.folio(0).data[:11] == b"w" * 10 + b"\0"
    assert pages.folio(1).data[:11] == b"d" * 10 + b"\1"
    assert backing.loaded == []


def test_a_folio_goes_from_dirty_by_writeback_to_clean(backing: Backing) -> None:
    pages = space(backing)
    write(pages, 5, b"x")
    folio = pages.dirty[0]
    assert str(folio) == "uptodate|dirty"
    assert pages.start_writeback() == {0: folio}
    assert str(folio) == "uptodate|writeback"
    assert (pages.dirty, pages.writeback) == ({}, {0: folio})
    write(pages, 9, b"y")
    assert pages.dirty[0] is not folio
    assert pages.dirty[0].ranges == ((9, 10),), "what is on its way was counted as dirty again"
    assert folio.data[9:10] == b"\0", "a folio changed in writeback"
    pages.end_writeback()
    assert not folio.test(PG_DIRTY)
    assert not folio.test(PG_WRITEBACK)
    assert pages.clean[0] is folio
    assert pages.writeback == {}
    assert pages.folio(0).data[5:10] == b"x\0\0\0y"


def test_dropping_what_is_dirty_rolls_back(backing: Backing) -> None:
    pages = space(backing)
    write(pages, 0, b"first")
    pages.start_writeback()
    write(pages, 0, b"second")
    assert pages.read(0, 6) == b"second"
    pages.dirty = {}
    assert pages.read(0, 6) == b"first\0"
    pages.end_writeback()
    write(pages, 2, b"third")
    pages.dirty = {}
    assert pages.read(0, 6) == b"first\0"


def test_nothing_changes_if_a_folio_of_a_write_cannot_be_read_in(backing: Backing) -> None:
    pages = space(backing)
    backing.broken = True
    with pytest.raises(OSError) as caught:
        pages.build(10, b"x" * 2 * FOLIO, 1 << 20)
    assert caught.value.errno == errno.EIO
    assert (pages.dirty, pages.clean, pages.loads) == ({}, {}, 0)


def test_a_whole_folio_keeps_the_callers_bytes_and_nothing_else_is_kept(backing: Backing) -> None:
    pages = space(backing)
    data = bytes(range(256)) * (FOLIO // 256)
    assert pages.replacement(3, data, 3 * FOLIO, 4 * FOLIO, 0).data is data
    assert backing.loaded == [], "a folio that is overwritten was read in"

    class Special(bytes):
        pass

    for other in (memoryview(data), memoryview(bytearray(data)), Special(data), memoryview(data * 2)[FOLIO:]):
        kept = pages.replacement(3, other, 3 * FOLIO, 4 * FOLIO, 0).data
        assert kept == data
        assert type(kept) is bytes
        assert kept is not data


def test_a_file_keeps_the_callers_bytes_and_hands_them_back() -> None:
    storage = SimulatedStorage()
    storage.write_file("/data", bytes(3 * FOLIO))
    data, changing = b"k" * FOLIO, bytearray(b"c" * FOLIO)
    with untorn.open("/data", "r+b", folio_size=FOLIO, storage=storage) as file:
        file.pwrite(data, FOLIO)
        assert file.pread(FOLIO, FOLIO) is data
        file.commit()
        assert file.pread(FOLIO, FOLIO) is data
        file.pwrite(changing, 0)
        changing[:] = b"X" * FOLIO
        assert file.pread(FOLIO, 0) == b"c" * FOLIO
        snapshot = file.pread(FOLIO, FOLIO)
        file.pwrite(b"over", FOLIO)
        assert snapshot == data


def test_a_folio_shorter_than_its_size_reads_as_zeros_beyond(backing: Backing) -> None:
    pages = space(backing)
    write(pages, FOLIO, b"end", size=FOLIO + 3)
    assert pages.dirty[1].data == b"end"
    assert pages.read(FOLIO - 1, FOLIO + 6) == b"\0end\0\0\0"
    assert pages.read(FOLIO - 1, 2 * FOLIO + 1) == b"\0end" + bytes(FOLIO - 3) + b"\2"


@pytest.mark.parametrize("size", [0, 1, FOLIO - 1, FOLIO, FOLIO + 1, 2 * FOLIO])
def test_a_cut_forgets_every_byte_from_there_on(backing: Backing, size: int) -> None:
    pages = space(backing)
    pages.folio(0)
    pages.folio(1)
    write(pages, FOLIO // 2, b"d" * FOLIO)
    before = pages.dirty
    folios = dict(before)
    pages.truncate(size)
    kept = {at for index, folio in pages.dirty.items() for at in (index * FOLIO + r for r in byte_set(folio.ranges))}
    assert kept == {at for at in range(FOLIO // 2, FOLIO // 2 + FOLIO) if at < size}
    assert all(len(folio.data) + index * FOLIO <= max(size, 0) for index, folio in pages.dirty.items())
    assert all(index < size >> pages.shift for index in pages.clean)
    assert before == folios, "a rollback could not put the old map back"
