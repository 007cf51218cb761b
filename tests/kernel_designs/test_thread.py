"""What was said about buffered atomic writes on the kernel's lists, as far as it can be tried out.

Sentences are those of "[RFC PATCH 0/8] xfs: single block atomic writes for buffered IO" (November 2025), of the
thread on PostgreSQL and buffered atomic writes that followed, and of LSF/MM/BPF 2026.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest

import untorn
from tests.support.atomic_machine import (
    ALL,
    ATOMIC,
    BLOCK,
    FOLIO,
    IN_PLACE,
    PATH,
    K,
    bios,
    contents,
    disks,
    done,
    is_whole,
    machine,
    opened,
)
from untorn import RWF_ATOMIC, RWF_DSYNC
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import newest, oldest
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.interface import AtomicLimits

OLD = b"o" * FOLIO
NEW = b"n" * FOLIO
PLAIN = b"p" * BLOCK
MIXED = NEW[:BLOCK] + PLAIN + NEW[2 * BLOCK :]


def atomic_write(file: Any) -> None:
    file.pwrite(NEW, 0, RWF_ATOMIC)
    file.flush()


def atomic_then_plain(file: Any) -> None:
    """Atomic and plain on the same page before writeback."""
    file.pwrite(NEW, 0, RWF_ATOMIC)
    file.pwrite(PLAIN, BLOCK)
    file.flush()


def whole_write(file: Any) -> None:
    file.pwrite(NEW, 0)
    file.flush()


@pytest.mark.parametrize("design", [*ATOMIC, "cow"])
def test_an_atomic_write_is_old_or_new_after_a_power_failure(design: str) -> None:
    found = contents(done(design, atomic_write))
    assert {content[:FOLIO] for content in found} == {OLD, NEW}


def test_todays_buffered_write_tears() -> None:
    found = contents(done("plain", whole_write))
    assert any(not is_whole(content, 0, FOLIO, [OLD, NEW]) for content in found)
    assert {OLD, NEW} < {content[:FOLIO] for content in found}


@pytest.mark.parametrize("design", ATOMIC)
def test_a_plain_write_tears_in_every_design_of_the_kernel(design: str) -> None:
    """The control of all that follows: it is the flag on the write that makes it whole."""
    found = contents(done(design, whole_write))
    assert any(not is_whole(content, 0, FOLIO, [OLD, NEW]) for content in found)


def test_atomicity_is_a_property_of_each_write() -> None:
    """Harjani: "per-write property, so two kinds of dirty folio". Each goes out as it came."""
    storage = machine()
    with opened(storage, "folio-flag") as file:
        sent = bios(file)
        file.pwrite(NEW, 0, RWF_ATOMIC)
        file.pwrite(NEW, FOLIO)
        file.pwrite(NEW[: 2 * BLOCK], 2 * FOLIO, RWF_ATOMIC)
        file.pwrite(NEW[: 2 * BLOCK], 2 * FOLIO + 2 * BLOCK)
    atomic = {(bio.offset, bio.length): "REQ_ATOMIC" in bio.flags for bio in sent}
    assert atomic == {
        (0, FOLIO): True,
        (FOLIO, FOLIO): False,
        (2 * FOLIO, 2 * BLOCK): True,
        (2 * FOLIO + 2 * BLOCK, 2 * BLOCK): False,
    }


def test_mixing_loses_the_guarantee_under_the_rfc() -> None:
    """Mujoo: a non-atomic write over an atomic one before writeback drops the guarantee, "sync first"."""
    found = contents(done("folio-flag", atomic_then_plain))
    assert any(not is_whole(content, 0, FOLIO, [OLD, NEW, MIXED]) for content in found)
    assert any(content[:BLOCK] != content[3 * BLOCK : FOLIO] for content in found), "the rest of the range stayed whole"


def test_without_a_mix_the_rfc_keeps_it() -> None:
    def beside(file: Any) -> None:
        file.pwrite(NEW, 0, RWF_ATOMIC)
        file.pwrite(PLAIN, FOLIO)
        file.flush()

    found = contents(done("folio-flag", beside))
    assert all(is_whole(content, 0, FOLIO, [OLD, NEW]) for content in found)


def test_syncing_first_keeps_it_under_the_rfc() -> None:
    def synced_between(file: Any) -> None:
        atomic_write(file)
        file.pwrite(PLAIN, BLOCK)
        file.flush()

    found = contents(done("folio-flag", synced_between))
    rest = [content[:BLOCK] + content[2 * BLOCK : FOLIO] for content in found]
    assert set(rest) == {OLD[BLOCK:], NEW[BLOCK:]}


def test_flushing_on_a_mix_keeps_it() -> None:
    """Harjani: "flushing earlier dirty data first might allow one mapping flag"."""
    storage = machine()
    file = opened(storage, "mapping-flag")
    sent = bios(file)
    file.pwrite(NEW, 0, RWF_ATOMIC)
    assert sent == []
    file.pwrite(PLAIN, BLOCK)
    assert [(bio.offset, bio.length, bio.flags) for bio in sent] == [(0, FOLIO, "REQ_OP_WRITE|REQ_ATOMIC")]
    file.pwrite(PLAIN, 2 * FOLIO)
    assert len(sent) == 1
    file.pwrite(NEW, 4 * FOLIO, RWF_ATOMIC)
    assert len(sent) == 3, "plain dirty data did not go before the atomic write"
    file.close()
    rest = {content[:BLOCK] + content[2 * BLOCK : FOLIO] for content in contents(storage)}
    assert rest == {OLD[BLOCK:], NEW[BLOCK:]}


@pytest.mark.parametrize("limits", [AtomicLimits(), AtomicLimits(4 * K, 64 * K, 0, 1)], ids=["none", "64K"])
def test_copy_on_write_keeps_it_with_no_state_in_the_page_cache(limits: AtomicLimits) -> None:
    """Chinner: copy-on-write needs no page-cache state, and mixing is harmless. Without a sync in between."""
    found = contents(done("cow", atomic_then_plain, limits=limits))
    assert {content[:FOLIO] for content in found} == {OLD, MIXED}
    with opened(machine(limits=limits), "cow") as file:
        steps: list[untorn.TraceEvent] = []
        file.set_trace(steps.append)
        atomic_then_plain(file)
        assert not any("atomic" in step.flags for step in steps)
        assert file._inode.design.memory_cost() == (0, 0)


def test_req_atomic_is_an_optimisation_of_copy_on_write() -> None:
    """Chinner: "REQ_ATOMIC as fast path". The same crash states, and fewer bytes and syncs."""

    def work(file: Any) -> None:
        for number in range(4):
            file.pwrite(bytes([65 + number]) * FOLIO, FOLIO * (number % 2))
            file.flush()

    found, written, syncs = {}, {}, {}
    for name, limits in (("log", AtomicLimits()), ("atomic", AtomicLimits(4 * K, 64 * K, 0, 1))):
        storage = machine(limits=limits)
        file = opened(storage, "cow")
        work(file)
        file.close()
        stats = file.stats()
        assert stats["atomic_bios"] == (4 if name == "atomic" else 0)
        found[name] = contents(storage)
        written[name] = stats["bytes_to_log"] + stats["bytes_to_home"]
        syncs[name] = stats["syncs"]
    assert found["log"] == found["atomic"]
    assert len(found["log"]) == 5
    assert written["atomic"] == 4 * FOLIO < written["log"]
    assert syncs["atomic"] < syncs["log"]


def test_adjacent_atomic_units_go_out_as_one_in_copy_on_write_and_never_under_the_rfc() -> None:
    """Chinner: four 16 KiB writes may go as one of 64 KiB; the RFC never merges across atomicity."""
    lengths = {}
    for design in ("cow", "folio-flag", "mapping-flag", "writethrough"):
        with opened(machine(), design) as file:
            sent = bios(file)
            for number in range(4):
                file.pwrite(NEW, number * FOLIO, RWF_ATOMIC)
            file.flush()
            lengths[design] = [bio.length for bio in sent if bio.target == "home"]
    assert lengths == {"cow": [4 * FOLIO], **dict.fromkeys(ATOMIC, [FOLIO] * 4)}


def test_plain_dirty_data_goes_out_in_large_bios() -> None:
    for design in ("plain", "folio-flag", "mapping-flag"):
        with opened(machine(), design) as file:
            sent = bios(file)
            for number in (3, 1, 0, 2):
                file.pwrite(NEW, number * FOLIO)
            file.flush()
            assert [(bio.offset, bio.length) for bio in sent] == [(0, 4 * FOLIO)], design


def test_dirty_cache_rewritten_before_writeback_is_one_of_its_versions() -> None:
    """Chinner: after a crash "some random older version or new" of a page that was rewritten."""

    def rewritten(file: Any) -> None:
        for value in (b"1", b"2", b"3"):
            file.pwrite(value * FOLIO, 0, RWF_ATOMIC)
        file.flush()

    for design in ("folio-flag", "mapping-flag"):
        assert {content[:1] for content in contents(done(design, rewritten))} == {b"o", b"3"}, design
    assert {content[:1] for content in contents(done("writethrough", rewritten))} == {b"o", b"1", b"2", b"3"}


@pytest.mark.parametrize("design", [*ATOMIC, "cow"])
def test_atomic_does_not_mean_durable_but_with_rwf_dsync(design: str) -> None:
    """pwritev2(2): durability needs RWF_DSYNC. Chinner: writethrough has "no durability by itself"."""
    for flags in (0, RWF_DSYNC):
        storage = machine()
        with opened(storage, design) as file:
            file.pwrite(NEW, 0, RWF_ATOMIC | flags)
            disk = storage.power_cut(oldest, storage.trace.now)
        with untorn.open(PATH, "r+b", storage=disk) as after:
            assert after.read(FOLIO) == (NEW if flags else OLD)


def test_writethrough_tells_the_error_at_the_write_and_the_others_at_the_flush() -> None:
    """Freund prefers synchronous writethrough, "to know when IO ended"."""
    for design in ATOMIC:
        storage = FaultyStorage(machine(), Fault(nth=0, names=["pwritev"], error=errno.EIO))
        file = opened(storage, design)
        if design != "writethrough":
            file.pwrite(NEW, 0, RWF_ATOMIC)
        with pytest.raises(OSError) as caught:
            file.pwrite(NEW, 0, RWF_ATOMIC) if design == "writethrough" else file.flush()
        assert caught.value.errno == errno.EIO
        with pytest.raises(untorn.HandleFailedError):
            file.pwrite(NEW, 0)
        with pytest.raises(untorn.HandleFailedError):
            file.close()


def test_writethrough_starts_io_at_the_write_and_the_others_at_writeback() -> None:
    for design in ALL:
        storage = machine()
        with opened(storage, design) as file:
            file.pwrite(NEW, 0)
            begun = storage.power_cut(newest, storage.trace.now).read_file(PATH)[:FOLIO] == NEW
            assert begun is (design == "writethrough"), design


def test_a_durable_writethrough_keeps_the_size_of_a_truncate_before_it() -> None:
    storage = SimulatedStorage()
    storage.write_file(PATH, b"")
    file = opened(storage, "writethrough")
    file.truncate(4097)
    file.pwrite(b"x", 0, RWF_DSYNC)
    assert storage.power_cut(oldest).read_file(PATH) == b"x" + bytes(4096)
    file.close()


def test_durable_writethrough_is_one_bio_with_fua_and_no_flush() -> None:
    """DSYNC as FUA; Freund: "no FUA/flush wanted" where none was asked for."""
    storage = machine()
    with opened(storage, "writethrough") as file:
        steps: list[untorn.TraceEvent] = []
        file.pwrite(NEW, 0, RWF_DSYNC)  # once, the name and what others left are synced too
        file.set_trace(steps.append)
        file.pwrite(NEW, FOLIO, RWF_ATOMIC | RWF_DSYNC)
        file.pwrite(NEW, 2 * FOLIO, RWF_ATOMIC)
        file.flush()
        io = [(step.event, step.flags) for step in steps if step.event in ("bio", "fdatasync", "fsync")]
    assert io[:2] == [("bio", "REQ_OP_WRITE|REQ_SYNC|REQ_FUA|REQ_ATOMIC"), ("bio", "REQ_OP_WRITE|REQ_ATOMIC")]
    assert [event for event, _ in io[2:]] == ["fdatasync"], "flush is what makes the last one durable"


@pytest.mark.parametrize("design", IN_PLACE)
def test_a_flush_makes_it_durable_in_every_design(design: str) -> None:
    storage = machine()
    with opened(storage, design) as file:
        for number in range(3):
            file.pwrite(NEW[: 5 * K], number * FOLIO + 1000)
            expected = file.pread(8 * FOLIO, 0)
            file.flush()
            assert storage.power_cut(oldest, storage.trace.now).read_file(PATH) == expected


def test_what_grows_the_file_is_whole_or_absent() -> None:
    """generic/778: after an atomic append the size is a multiple of the unit and all of it is new."""

    def append(file: Any) -> None:
        file.pwrite(NEW, 8 * FOLIO, RWF_ATOMIC)
        file.flush()

    for design in (*ATOMIC, "cow"):
        for disk in disks(done(design, append)):
            with untorn.open(PATH, "rb", storage=disk) as file:
                content = file.read()
            assert content[8 * FOLIO :] in (b"", bytes(FOLIO), NEW), design
