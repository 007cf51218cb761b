"""What a file's log holds, transaction by transaction, for ``untorn log``; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from untorn.api.open_inode import open_locked
from untorn.api.options import Mode
from untorn.errors import UntornError
from untorn.log.extent_map import ExtentMap
from untorn.log.format import Extent, Record, RecordKind, Slot
from untorn.log.recovery import FoundLog, examine
from untorn.log.scan import Replay, Stop, entries
from untorn.storage.interface import Storage
from untorn.storage.linux import LinuxStorage

_READ: Final = Mode("r", text=False, readable=True, writable=False)


class Fate(StrEnum):
    """What became of a record's data."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    UNFINISHED = "unfinished"
    """Its transaction did not commit before the log ends: recovery drops it."""


@dataclass(frozen=True)
class LoggedRecord:
    """One valid record. Sizes and positions in bytes."""

    position: int
    """In the log."""
    record: Record
    fate: Fate
    transaction: int | None
    """Sequence of the commit that it belongs to."""
    durable: bool
    """Whether the log itself says that it was durable; what it does not say may be so all the same."""
    extents: tuple[Extent, ...]
    """Empty unless they were asked for."""


@dataclass(frozen=True)
class LogView:
    """A file's log as it was found."""

    path: str
    state: str
    log_path: str | None
    """None if there is no log, or something that is none."""
    problem: UntornError | None
    slot: Slot | None
    records: tuple[LoggedRecord, ...]
    end: Stop | None
    """Where and why the log ends."""


def read_log(path: str | bytes | os.PathLike[Any], *, extents: bool = False, storage: Storage | None = None) -> LogView:
    """Every record of the file's log, with each one's extents if asked for: they may be many.

    LockedError if a handle has the file open for writing; OSError if it cannot be read.
    """
    storage = storage or LinuxStorage()
    home = open_locked(storage, os.fsdecode(path), _READ)
    try:
        found = examine(storage, home, writable=False)
        try:
            records, end = _records(found, extents=extents)
            return LogView(
                home.path, found.shown_state.value, found.log_path if found.log is not None else None,
                found.problem, found.slot, records, end,
            )  # fmt: skip
        finally:
            found.close()
    finally:
        home.close()


def _records(found: FoundLog, *, extents: bool) -> tuple[tuple[LoggedRecord, ...], Stop | None]:
    log, slot = found.log, found.slot
    if log is None or slot is None:
        return (), None
    replay = Replay(ExtentMap(slot.folio_size, slot.home_size), slot.home_size)
    found_entries = [entry if extents else entry._replace(extents=[]) for entry in entries(log, slot, replay)]
    # A log is damaged only if something behind the damage says that the records up to there were durable.
    known = replay.sequence if replay.stop.damaged else 0
    durable_through = max(slot.synced_through, replay.synced_through, known)
    fates = _fates([entry.record for entry in found_entries])
    logged = [
        LoggedRecord(
            entry.position, entry.record, *fates[entry.record.sequence],
            entry.record.sequence <= durable_through, tuple(entry.extents),
        )
        for entry in found_entries
    ]  # fmt: skip
    return tuple(logged), replay.stop


def _fates(records: Sequence[Record]) -> dict[int, tuple[Fate, int | None]]:
    """By sequence: what became of each record, and the commit that it belongs to, if any."""
    parents = {record.sequence: record.parent for record in records}
    fates: dict[int, tuple[Fate, int | None]] = {}

    def follow(sequence: int, fate: Fate, commit: int | None) -> None:
        """A record and those it builds on, back to the commit before."""
        while sequence in parents and sequence not in fates:
            fates[sequence] = fate, commit
            sequence = parents[sequence]

    for record in records:
        if record.kind is RecordKind.COMMIT:
            follow(record.sequence, Fate.COMMITTED, record.sequence)
    if records:
        follow(records[-1].sequence, Fate.UNFINISHED, None)
    return {record.sequence: fates.get(record.sequence, (Fate.ROLLED_BACK, None)) for record in records}
