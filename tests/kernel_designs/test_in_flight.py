"""Writeback in flight: who waits for it, what readers see meanwhile, and that its folios are stable."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.atomic_machine import BLOCK, FOLIO, PATH, bios, machine, opened
from untorn import RWF_ATOMIC
from untorn.storage.fault_injection import Fault, FaultyStorage

NEW = b"n" * FOLIO


class Gate:
    """Storage that stops in the next write to the file until it is let go."""

    def __init__(self) -> None:
        self.simulated = machine()
        self.reached, self.go = threading.Event(), threading.Event()
        self.open = True
        fault = Fault(nth=0, onwards=True, names=["pwritev"], before=self._stop)
        self.storage = FaultyStorage(self.simulated, fault)

    def _stop(self) -> None:
        if not self.open:
            self.open = True
            self.reached.set()
            assert self.go.wait(10)

    def file(self, design: str) -> Any:
        return opened(self.storage, design)

    def run(self, call: Callable[[], object]) -> threading.Thread:
        """Starts the call, and returns once its write is in flight."""
        self.open = False
        thread = threading.Thread(target=call)
        thread.start()
        assert self.reached.wait(10)
        return thread


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.go.set()


def test_a_writethrough_call_waits_for_the_one_in_flight_and_readers_do_not(gate: Gate) -> None:
    with gate.file("writethrough") as file:
        order: list[str] = []

        def second() -> None:
            file.pwrite(b"2" * FOLIO, 0, RWF_ATOMIC)
            order.append("second")

        def write_first() -> None:
            file.pwrite(NEW, 0, RWF_ATOMIC)
            order.append("first")

        first = gate.run(write_first)
        assert str(file._inode.pages.writeback[0]) == "uptodate|writeback"
        assert file.pread(FOLIO, 0) == NEW
        other = threading.Thread(target=second)
        other.start()
        other.join(0.05)
        assert order == []
        assert gate.simulated.read_file(PATH)[:FOLIO] == b"o" * FOLIO
        gate.go.set()
        first.join()
        other.join()
        assert sorted(order) == ["first", "second"]
        assert gate.simulated.read_file(PATH)[:FOLIO] == b"2" * FOLIO


def test_folios_in_flight_are_stable(gate: Gate) -> None:
    """A store through a mapping (simulated) goes to a new folio; what is in flight arrives as it was sent."""
    with gate.file("writethrough") as file:
        data = bytearray(NEW)
        thread = gate.run(lambda: file.pwrite(data, 0, RWF_ATOMIC))
        data[:] = b"X" * FOLIO
        file._inode.store(b"stored", 10)
        assert file.pread(20, 0) == b"n" * 10 + b"stored" + b"nnnn"
        gate.go.set()
        thread.join()
        assert gate.simulated.read_file(PATH)[:FOLIO] == NEW
        assert str(file._inode.pages.dirty[0]) == "uptodate|dirty"
        file.flush()
        assert gate.simulated.read_file(PATH)[:20] == b"n" * 10 + b"stored" + b"nnnn"


def test_writethrough_clears_dirty_only_if_no_dirty_block_remains() -> None:
    storage = machine()
    with opened(storage, "writethrough") as file:
        pages = file._inode.pages
        file._inode.store(b"stored", 3 * BLOCK)
        assert pages.dirty[0].ranges == ((0, FOLIO),)
        file.pwrite(NEW[:BLOCK], BLOCK, RWF_ATOMIC)
        assert pages.dirty[0].ranges == ((0, BLOCK), (2 * BLOCK, FOLIO))
        assert str(pages.dirty[0]) == "uptodate|dirty"
        assert storage.read_file(PATH)[BLOCK : 2 * BLOCK] == NEW[:BLOCK]
        assert b"stored" not in storage.read_file(PATH)
        file.pwrite(NEW[:1], 10)
        assert pages.dirty[0].ranges == ((2 * BLOCK, FOLIO),), "a block is written whole, and is clean then"
        file.pwrite(NEW[: 2 * BLOCK], 2 * BLOCK, RWF_ATOMIC)
        assert 0 not in pages.dirty
        assert str(pages.folio(0)) in ("uptodate", "referenced|uptodate")
        file._inode.store(b"again", 3 * BLOCK)
        file.flush()
        assert not pages.dirty
    assert storage.read_file(PATH)[3 * BLOCK :][:5] == b"again"


def test_one_bio_for_each_call_however_long() -> None:
    with opened(machine(bytes(3 << 20)), "writethrough") as file:
        sent = bios(file)
        file.pwrite(bytes(2 << 20), BLOCK)
        file.pwrite(bytes(100), 5)
        file.pwrite(bytes(4 * FOLIO), 4 * FOLIO, RWF_ATOMIC)
        assert [(bio.offset, bio.length) for bio in sent] == [
            (BLOCK, 2 << 20),
            (0, BLOCK),
            (4 * FOLIO, 4 * FOLIO),
        ]


@pytest.mark.parametrize("design", ["folio-flag", "mapping-flag", "plain"])
def test_a_write_during_writeback_is_dirty_again_and_not_sent_with_it(gate: Gate, design: str) -> None:
    with gate.file(design) as file:
        flags = 0 if design == "plain" else RWF_ATOMIC
        file.pwrite(NEW, 0, flags)
        thread = gate.run(file.flush)
        file.pwrite(b"2" * FOLIO, 0, flags)
        pages = file._inode.pages
        assert (pages.writeback[0].data, pages.dirty[0].data) == (NEW, b"2" * FOLIO)
        gate.go.set()
        thread.join()
        assert gate.simulated.read_file(PATH)[:FOLIO] == NEW
        assert str(pages.dirty[0]) == ("uptodate|dirty|atomic" if design == "folio-flag" else "uptodate|dirty")


def test_a_write_of_the_other_kind_waits_for_writeback_in_flight(gate: Gate) -> None:
    """mapping-flag: "first writes back and waits"; also where nothing is dirty any more."""
    with gate.file("mapping-flag") as file:
        file.pwrite(NEW, 0, RWF_ATOMIC)
        thread = gate.run(file.flush)
        written: list[int] = []
        other = threading.Thread(target=lambda: written.append(file.pwrite(b"plain", FOLIO)))
        other.start()
        other.join(0.05)
        assert written == []
        gate.go.set()
        thread.join()
        other.join()
        assert written == [5]


def test_racing_writers_never_mix() -> None:
    """Beyond the kernel's contract, where overlapping atomic writers may tear each other."""
    for design in ("folio-flag", "mapping-flag", "writethrough", "plain"):
        storage = machine()
        with opened(storage, design, cache_bytes=8 * FOLIO) as file:
            values = [bytes([65 + number]) * FOLIO for number in range(4)]
            seen: list[bytes] = []

            def write(value: bytes, file: Any = file, design: str = design) -> None:
                for number in range(30):
                    atomic = RWF_ATOMIC if design != "plain" and number % 3 else 0
                    file.pwrite(value, FOLIO * (number % 2), atomic)

            threads = [threading.Thread(target=write, args=(value,)) for value in values]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                seen.append(file.pread(FOLIO, 0))
            for thread in threads:
                thread.join()
            seen.append(file.pread(FOLIO, FOLIO))
            assert set(seen) <= {*values, b"o" * FOLIO}
