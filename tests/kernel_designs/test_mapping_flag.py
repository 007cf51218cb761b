"""One flag on the address space: what is dirty is of one kind, and nobody remembers where writes began."""

from __future__ import annotations

from typing import Any

import pytest

import untorn
from tests.support.atomic_machine import BLOCK, FOLIO, PATH, bios, contents, machine, opened
from untorn import RWF_ATOMIC, AtomicLimits
from untorn.kernel_designs.mapping_flag import MappingFlag

NEW = b"n" * FOLIO


def sent_by(file: Any, *writes: tuple[int, int, int]) -> list[tuple[int, int, bool]]:
    """First block, blocks, and whether atomic, of the bios that these writes and a flush send."""
    sent = bios(file)
    for first, blocks, flags in writes:
        file.pwrite(NEW[: blocks * BLOCK], first * BLOCK, flags)
    file.flush()
    return [(bio.offset // BLOCK, bio.length // BLOCK, "ATOMIC" in bio.flags) for bio in sent]


def test_what_is_dirty_goes_out_in_the_largest_natural_pieces() -> None:
    atomic = RWF_ATOMIC
    with opened(machine(), "mapping-flag") as file:
        assert sent_by(file, (0, 1, atomic), (1, 1, atomic)) == [(0, 2, True)]
        assert sent_by(file, (1, 1, atomic), (2, 2, atomic)) == [(1, 1, True), (2, 2, True)]
        assert sent_by(file, (1, 1, atomic), (2, 1, atomic)) == [(1, 1, True), (2, 1, True)]
        assert sent_by(file, (0, 4, atomic), (4, 2, atomic)) == [(0, 4, True), (4, 2, True)]
    with opened(machine(limits=AtomicLimits(BLOCK, 2 * BLOCK, 0, 1)), "mapping-flag") as file:
        assert sent_by(file, (0, 2, atomic), (2, 2, atomic)) == [(0, 2, True), (2, 2, True)]


def test_a_store_through_a_mapping_is_of_the_plain_kind() -> None:
    """Simulated: untorn has no mappings."""
    with opened(machine(), "mapping-flag") as file:
        sent = bios(file)
        file.pwrite(NEW, 0, RWF_ATOMIC)
        file._inode.store(b"stored", 5)
        assert [(bio.length, "ATOMIC" in bio.flags) for bio in sent] == [(FOLIO, True)]
        file.flush()
        assert [(bio.length, "ATOMIC" in bio.flags) for bio in sent[1:]] == [(FOLIO, False)]


@pytest.mark.parametrize("size", [5000, 2 * BLOCK, FOLIO + 5])
def test_a_cut_through_atomic_data_first_writes_it_back(size: int) -> None:
    storage = machine()
    with opened(storage, "mapping-flag") as file:
        sent = bios(file)
        file.pwrite(NEW, 0, RWF_ATOMIC)
        file.truncate(size)
        assert [(bio.length, "ATOMIC" in bio.flags) for bio in sent] == [(FOLIO, True)]
    assert storage.read_file(PATH) == (NEW + b"o" * FOLIO)[:size]


def test_a_huge_plain_write_after_an_atomic_one_flushes_too() -> None:
    storage = machine()
    with opened(storage, "mapping-flag", cache_bytes=8 * FOLIO) as file:
        sent = bios(file)
        file.pwrite(NEW, 0, RWF_ATOMIC)
        file.pwrite(b"h" * 7 * FOLIO, FOLIO)
        assert ("ATOMIC" in sent[0].flags, sent[0].length) == (True, FOLIO)
        assert not any("ATOMIC" in bio.flags for bio in sent[1:])
    assert storage.read_file(PATH) == NEW + b"h" * 7 * FOLIO


def test_without_the_flush_a_mix_would_tear(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the same story where the flag is simply turned."""

    def turned(design: MappingFlag, pages: Any, built: Any, start: int, stop: int, *, atomic: bool) -> None:
        design._atomic = atomic

    found = {}
    for name in ("flushed", "turned"):
        if name == "turned":
            monkeypatch.setattr(MappingFlag, "must_write_back_first", lambda design, *, atomic: False)
            monkeypatch.setattr(MappingFlag, "track", turned)
        storage = machine()
        file = opened(storage, "mapping-flag")
        file.pwrite(NEW, 0, RWF_ATOMIC)
        file.pwrite(b"p", FOLIO)
        file.close()
        found[name] = {content[:FOLIO] for content in contents(storage)}
    assert found["flushed"] == {b"o" * FOLIO, NEW}
    assert found["turned"] > found["flushed"]


def test_it_costs_one_bit_for_the_file_and_the_rfc_some_for_each_folio() -> None:
    bits = {}
    for design in ("cow", "plain", "writethrough", "mapping-flag", "folio-flag"):
        with opened(machine(), design) as file:
            bits[design] = file._inode.design.memory_cost()
    assert bits == {
        "cow": (0, 0),
        "plain": (0, 0),
        "writethrough": (0, 0),
        "mapping-flag": (0, 1),
        "folio-flag": (1 + 2 * 4, 0),
    }
    assert untorn.TraceEvent("x").folio == -1
