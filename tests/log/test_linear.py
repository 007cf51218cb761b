"""Recovery takes time in proportion to the log, whatever is in it: counted in lines that run, never in seconds."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, Final, NamedTuple

import pytest
from xxhash import xxh3_64_intdigest

import untorn
from tests.log.pictures import FILE, FILE_ID, FOLDER, LOG
from untorn.crashmodel.storage import SimulatedStorage
from untorn.log import checkpoint, extent_map, scan
from untorn.log.extent_map import Mapping
from untorn.log.format import (
    RECORDS_OFFSET,
    Extent,
    Identity,
    Record,
    RecordKind,
    Slot,
    SlotKind,
    encode_record,
    encode_slot,
    encode_table,
    payload_start,
)
from untorn.log.scan import Replay
from untorn.log.writer import MARK
from untorn.sizes import FOLIO_SIZE_MAX, SECTOR

MIB: Final = 1 << 20
LINES_MAX: Final = 150_000
"""Lines of the log layer that may run for each MiB of log, in status and recovery together."""
READS_MAX: Final = 8
"""Bytes that may be read for each byte of log; and those once that are searched for evidence of damage."""
SALT: Final = 77
COUNT: Final = 1200


class Written(NamedTuple):
    """A record to be: ``parent`` counts back from it, ``extents`` are offsets and lengths."""

    extents: list[tuple[int, int]]
    size: int
    size_min: int
    kind: RecordKind = RecordKind.COMMIT
    parent: int = 1


Log = Callable[[], Iterable[Written]]
SIZE: Final = 1 << 40


def commits() -> Iterator[Written]:
    """Each in a folio of its own."""
    for number in range(COUNT):
        yield Written([(number * FOLIO_SIZE_MAX, SECTOR)], SIZE, SIZE)


def savepoints() -> Iterator[Written]:
    """One transaction of very many small parts."""
    for number in range(COUNT):
        yield Written([(number * FOLIO_SIZE_MAX, SECTOR)], SIZE, SIZE, RecordKind.DATA)
    yield Written([], SIZE, SIZE)


def parents_that_jump_back() -> Iterator[Written]:
    """Very many parts, and each of the later ones builds on one far before it."""
    for _ in range(COUNT // 2):
        yield Written([(0, SECTOR)], SIZE, SIZE, RecordKind.DATA)
    for number in range(COUNT // 2):
        yield Written([(0, SECTOR)], SIZE, SIZE, RecordKind.DATA, parent=min(2 * number + 2, COUNT // 2 + number))


def cuts() -> Iterator[Written]:
    """Very many folios, and above them one that is cut off and comes back again and again."""
    yield Written([(number * FOLIO_SIZE_MAX, SECTOR) for number in range(2000)], SIZE, SIZE)
    top = 5000 * FOLIO_SIZE_MAX
    for _ in range(COUNT):
        yield Written([(top, SECTOR)], SIZE, top - 1)


def small_pieces_of_one_folio() -> Iterator[Written]:
    """Every other sector of a folio, each in a record of its own, and then all of them again and again."""
    pieces = list(range(0, FOLIO_SIZE_MAX, 2 * SECTOR))
    for number in range(COUNT):
        yield Written([(pieces[number * 7 % len(pieces)], SECTOR)], SIZE, SIZE)


def a_folio_in_shreds() -> Iterator[Written]:
    """A whole folio, of which later records leave every other sector."""
    for folio in range(2):
        start = folio * FOLIO_SIZE_MAX
        yield Written([(start, FOLIO_SIZE_MAX)], SIZE, SIZE)
        yield Written([(start + at, SECTOR) for at in range(0, FOLIO_SIZE_MAX, 2 * SECTOR)], SIZE, SIZE)


LOGS: Final[list[Log]] = [
    commits, savepoints, parents_that_jump_back, cuts, small_pieces_of_one_folio, a_folio_in_shreds
]  # fmt: skip


def built(records: Iterable[Written]) -> bytes:
    """The records of a log."""
    parts = []
    position, previous, committed = RECORDS_OFFSET, SALT, 0
    for sequence, written in enumerate(records, 1):
        payload = [bytes([sequence % 251 + 1]) * length for _, length in written.extents]
        extents = [
            Extent(offset, offset + length, offset, length, xxh3_64_intdigest(data, SALT), 0)
            for (offset, length), data in zip(written.extents, payload, strict=True)
        ]
        table = encode_table(extents)
        parent = max(sequence - written.parent, committed)
        record = Record(
            written.kind, len(extents), SALT, sequence, parent, previous, 0, written.size, written.size_min,
            sum(map(len, payload)), xxh3_64_intdigest(table, SALT),
        )  # fmt: skip
        header, previous = encode_record(record)
        data = (header + table).ljust(payload_start(len(extents)), b"\0") + b"".join(payload)
        parts.append(data.ljust(record.total_length, b"\0"))
        position += record.total_length
        if written.kind is RecordKind.COMMIT:
            committed = sequence
    return b"".join(parts)


def machine(log: bytes) -> SimulatedStorage:
    """A file with this log."""
    storage = SimulatedStorage()
    storage.make_directory(FOLDER)
    storage.write_file(FILE, b"x", {MARK: FILE_ID})
    home = storage.stat(FILE)
    slot = Slot(
        SlotKind.START, Identity.MARK, FOLIO_SIZE_MAX, 1, SALT, FILE_ID, home.inode, home.birth_ns or 0, home.size,
        home.mtime_ns, 0,
    )  # fmt: skip
    storage.write_file(LOG, encode_slot(slot).ljust(RECORDS_OFFSET, b"\0") + log)
    return storage


def lines_run(call: Callable[[], Any]) -> int:
    """How many lines of the log layer run in the call."""
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return line if "/untorn/log/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def cost(records: Iterable[Written]) -> tuple[float, float]:
    """Of looking at a log and recovering it: lines for each MiB of it, and bytes read for each byte."""
    log = built(records)
    storage = machine(log)

    def all_of_it() -> None:
        assert untorn.status(FILE, storage=storage).problem is None
        untorn.recover(FILE, storage=storage)

    lines = lines_run(all_of_it)
    read = sum(operation.result or 0 for operation in storage.trace.operations if operation.name == "pread")
    return lines / (len(log) / MIB), read / len(log)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.__name__)
def test_recovery_is_linear_in_the_log_whatever_is_in_it(log: Log) -> None:
    lines, read = cost(log())

    assert lines < LINES_MAX
    assert read < READS_MAX


# The controls: the ways in which it was not


def searched(self: Replay, record: Record) -> bool:
    for entry in self._pending:
        if entry.record.sequence == record.parent:
            return True
    return record.parent == self.committed


def every_folio(self: Mapping, size: int) -> None:
    for index in [index for index in self.folios if index >= size // self.folio_size]:
        before = self.folios[index]
        after = before[: bisect_left(before, (size,))]
        self._undo.append((index, before))
        self._replace(index, after)
    for _ in self.folios:
        pass


def every_piece(before: tuple[Extent, ...], extent: Extent) -> tuple[Extent, ...]:
    after = [extent]
    for old in before:
        if old.start < extent.start:
            after.append(old if old.stop <= extent.start else old._replace(stop=extent.start))
        if old.stop > extent.stop:
            after.append(old if old.start >= extent.stop else old._replace(start=extent.stop))
    return tuple(sorted(after))


def each_by_itself(log: Any, salt: int, extents: Any) -> list[bytes]:
    return [checkpoint._proved(log, salt, one)[one.start - one.offset : one.stop - one.offset] for one in extents]


CONTROLS: Final[dict[str, tuple[Any, str, Any, Log]]] = {
    "parents are searched": (Replay, "accepts", searched, savepoints),
    "a cut goes over every folio": (Mapping, "cut", every_folio, cuts),
    "a folio's pieces are gone through": (extent_map, "_overlay", every_piece, small_pieces_of_one_folio),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_what_is_not_linear_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, slow, log = CONTROLS[name]
    monkeypatch.setattr(owner, attribute, slow)
    # The tracer looks only at the log layer.
    monkeypatch.setattr(slow, "__code__", slow.__code__.replace(co_filename="/untorn/log/control.py"))

    assert cost(log())[0] > LINES_MAX


def test_what_is_read_again_for_each_piece_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from untorn.log import recovery

    monkeypatch.setattr(recovery, "read_extents", each_by_itself)

    assert cost(a_folio_in_shreds())[1] > READS_MAX


def test_a_log_that_is_said_to_be_linear_was_replayed() -> None:
    """The control of the logs themselves: every record of each of them counts."""
    for log in LOGS:
        storage = machine(built(log()))
        file = storage.open(LOG, 0)
        slot = scan.read_slots(file)
        assert slot is not None
        replay = scan.replay_log(file, slot)
        assert replay.sequence == sum(1 for _ in log()), log.__name__
