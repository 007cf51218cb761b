"""Disk states as lines of text, and the simulated machine that has them.

A file is a string, one letter for UNIT equal bytes, ``.`` for UNIT zeros. A log is a list of words:

``-``                no log; ``0`` an empty file; ``00`` one whose slots are zero
``S1``               START slot of generation 1, which draws a salt; ``S3`` the next one, with another salt
``K2``               CHECKPOINT slot of generation 2, with the salt of S1
``cA0``              COMMIT record that writes an A over the file's first unit; ``cAB2C7`` two extents
``dB1``              DATA record; records are numbered 1, 2, 3... as they come
``1:cA0``            a record with the salt of generation 1
``+``                here begins the copy that a slot names by ``@``: what follows are the words of its records again
``|``                what follows is in the cache only, as a killed writer leaves it
``||``               likewise, and a sync of it failed: no later sync will make it durable

and to each word, in any order:

``~2``               synced_through is 2 (else 0)
``=5``               the size is 5 units: home's for a slot (else what it is), the file's for a record (else as it was)
``<3``               size_min is 3 units (else the smaller of the sizes before and after)
``^1``               parent is 1 (else the record before)
``@1``               the records behind the first one are read from the copy
``!h !t !p``         a bit of header (or slot), table or payload is flipped
``!H !T !P``         the header's, the table's or the payload's last sector never reached the disk; ``!z`` nothing did
``!c !n``            ``previous`` or the sequence is not that of the record before
``!f``               another file's slot
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
from dataclasses import dataclass, field
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from untorn.crashmodel.storage import SimulatedStorage
from untorn.log.format import (
    RECORDS_OFFSET,
    Identity,
    Record,
    RecordKind,
    Slot,
    SlotKind,
    encode_record,
    encode_slot,
    slot_offset,
)
from untorn.log.writer import MARK
from untorn.sizes import BLOCK, SECTOR, round_up
from untorn.storage.interface import FileStat

UNIT: Final = 1024
FOLDER: Final = "/d"
FILE: Final = "/d/file"
LOG: Final = "/d/file-untorn"
FILE_ID: Final = b"the file's own id"[:16]
OTHER_ID: Final = b"another file's id"[:16]

_WORD = re.compile(r"(?:(\d):)?([SKcd])(\d*)((?:[A-Z.]+\d+)*)((?:[~=<^@]\d+|![a-zA-Z])*)")
_EXTENT = re.compile(r"([A-Z.]+)(\d+)")
_SUFFIX = re.compile(r"([~=<^@!])(\d+|[a-zA-Z])")


def content(letters: str) -> bytes:
    """The bytes of a file's picture."""
    return b"".join((b"\0" if letter == "." else letter.encode()) * UNIT for letter in letters)


def picture(data: bytes) -> str:
    """A file's picture, as far as its bytes have one."""
    letters = []
    for at in range(0, len(data), UNIT):
        unit = data[at : at + UNIT]
        letters.append("?" if len(set(unit)) > 1 or len(unit) < UNIT else chr(unit[0]) if unit[0] else ".")
    return "".join(letters)


@dataclass(frozen=True)
class Picture:
    """One disk state, and what recovery makes of it."""

    log: str
    home: str
    outcome: str
    """The file afterwards; ``aside ...`` if the log was set aside; or an error's name, with ``@`` and offset."""
    applied: str = ""
    """Where the outcome is an error, or the log is set aside: the file after ``apply``, if that differs from home."""
    mark: str = "own"
    """own, other or none."""
    edited: str = ""
    """``later`` or ``earlier``: home's time against what the slot says."""
    cached: str = ""
    """What home holds in the cache if that is not what is on disk; and newer than what the slot says."""
    legal: tuple[str, ...] = ()
    """What a power failure during recovery may leave at last, besides the outcome."""
    xattrs: bool = True
    moved: bool = False
    """Whether home has another inode than the slot says."""

    @property
    def problem(self) -> bool:
        """Whether recovery has to refuse."""
        return "Error" in self.outcome

    @property
    def appliable(self) -> bool:
        """Whether ``apply`` may go on nevertheless: the log is this file's."""
        return self.outcome.startswith(("CorruptLogError", "ForeignEditError"))

    @property
    def aside(self) -> bool:
        """Whether the log is to be set aside."""
        return self.outcome.startswith("aside ")

    @property
    def result(self) -> str:
        """The file as a reader is to see it."""
        return self.outcome.removeprefix("aside ")


def machine(row: Picture) -> SimulatedStorage:
    """A machine in the state of ``row``: all on disk but what the row says is cached."""
    storage = SimulatedStorage(xattrs=row.xattrs)
    storage.make_directory(FOLDER)
    attributes = {"own": {MARK: FILE_ID}, "other": {MARK: OTHER_ID}, "none": {}}[row.mark]
    storage.write_file(FILE, content(row.home), attributes if row.xattrs else {})
    builder = _Builder(row, storage.stat(FILE))
    if row.log != "-":
        durable, bar, cached = re.fullmatch(r"([^|]*)(\|*)([^|]*)", row.log).groups()  # type: ignore[union-attr]
        for word in durable.split():
            builder.add(word)
        length = len(builder.data)
        for word in cached.split():
            builder.add(word)
        storage.write_file(LOG, bytes(builder.data[:length]).ljust(len(builder.data), b"\0"))
        if bar:
            _overwrite(storage, LOG, bytes(builder.data[length:]), length, sync_fails=bar == "||")
    if row.cached:
        _overwrite(storage, FILE, content(row.cached), 0)
    return storage


def _overwrite(storage: SimulatedStorage, path: str, data: bytes, offset: int, *, sync_fails: bool = False) -> None:
    """Writes without a sync, or with one that fails."""
    file = storage.open(path, os.O_RDWR)
    file.write([data], offset)
    if sync_fails:
        with contextlib.suppress(OSError):
            file.fail_sync(errno.EIO, data_only=True)
    file.close()


@dataclass
class _Builder:
    """Appends words to a log."""

    row: Picture
    home: FileStat
    data: bytearray = field(default_factory=bytearray)
    generation: int = 1
    sequence: int = 0
    previous: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    """By sequence, in bytes; 0 is home."""
    checksums: dict[int, int] = field(default_factory=dict)
    """By sequence, of the records' headers."""
    copied: Slot | None = None
    """The slot that names a copy."""

    def __post_init__(self) -> None:
        self.sizes[0] = self.home.size

    def add(self, word: str) -> None:
        """One word of the picture."""
        if word in ("0", "00"):
            self.data.extend(bytes(RECORDS_OFFSET if word == "00" else 0))
            return
        if word == "+":
            assert self.copied is not None
            self.copied = self.copied._replace(copy_start=len(self.data))
            self.sequence = self.copied.copy_after
            self.previous = self.checksums.get(self.sequence, 0)
            return
        match = _WORD.fullmatch(word)
        assert match, f"no such word: {word}"
        salt_of, kind, generation, extents, suffixes = match.groups()
        options: dict[str, Any] = {"!": ""}
        for key, value in _SUFFIX.findall(suffixes):
            options[key] = value if key == "!" else int(value)
        if kind in "SK":
            self._slot(kind, int(generation), options)
        else:
            self._record(kind, _EXTENT.findall(extents), salt(int(salt_of or self.generation)), options)
            if self.copied is not None and self.copied.copy_start:
                self._put(self.copied._replace(copy_end=len(self.data)))

    def _slot(self, kind: str, generation: int, options: dict[str, Any]) -> None:
        self.data.extend(bytes(max(0, RECORDS_OFFSET - len(self.data))))
        size = options["="] * UNIT if "=" in options else self.home.size
        slot = Slot(
            kind=SlotKind.START if kind == "S" else SlotKind.CHECKPOINT,
            identity=Identity.MARK if self.row.xattrs else Identity.INODE,
            folio_size=BLOCK,
            generation=generation,
            salt=salt(generation),
            file_id=OTHER_ID if options["!"] == "f" else FILE_ID,
            home_inode=self.home.inode + self.row.moved,
            home_birth_ns=self.home.birth_ns or 0,
            home_size=size,
            home_mtime_ns=self.home.mtime_ns + {"later": -1, "earlier": 1}.get(self.row.edited, 0),
            synced_through=options.get("~", 0),
            copy_after=options.get("@", 0),
        )
        if "@" in options:
            self.copied = slot
        self._put(slot, damaged=options["!"] == "h")
        if generation >= self.generation:
            self.generation = generation
            self.sizes[0] = size

    def _put(self, slot: Slot, *, damaged: bool = False) -> None:
        at = slot_offset(slot.generation)
        self.data[at : at + SECTOR] = encode_slot(slot)
        self.data[at + 200] ^= damaged

    def _record(self, kind: str, extents: list[tuple[str, str]], seed: int, options: dict[str, Any]) -> None:
        self.sequence += 1
        self.previous = seed if self.sequence == 1 else self.previous
        damage = options["!"]
        parent = options.get("^", self.sequence - 1)
        size, table, payload = self.sizes[parent], b"", b""
        for letters, unit in extents:
            data, offset = content(letters), int(unit) * UNIT
            assert offset // BLOCK == (offset + len(data) - 1) // BLOCK, "an extent lies inside one folio"
            table += struct.pack("<IIQQ", 0, len(data), offset, xxh3_64_intdigest(data, seed))
            payload += data
            size = max(size, offset + len(data))
        size = options["="] * UNIT if "=" in options else size
        size_min = options["<"] * UNIT if "<" in options else min(size, self.sizes[parent])
        self.sizes[self.sequence] = size
        record = Record(
            kind=RecordKind.COMMIT if kind == "c" else RecordKind.DATA,
            extent_count=len(extents),
            salt=seed,
            sequence=self.sequence + (damage == "n"),
            parent=parent,
            previous=self.previous ^ (damage == "c"),
            synced_through=options.get("~", 0),
            size=size,
            size_min=size_min,
            payload_length=len(payload),
            table_digest=xxh3_64_intdigest(table, seed),
        )
        header, self.previous = encode_record(record)
        self.checksums[self.sequence] = self.previous
        start = SECTOR + round_up(len(table), SECTOR)
        sectors = bytearray((header + table).ljust(start, b"\0") + payload)
        sectors.extend(bytes(round_up(len(sectors), BLOCK) - len(sectors)))
        end = start + len(payload)
        if damage in ("h", "t", "p"):
            sectors[{"h": 300, "t": SECTOR + 4, "p": start + 7}[damage]] ^= 0x10
        elif damage in ("H", "T", "P", "z"):
            low, high = {"H": (0, SECTOR), "T": (SECTOR, start), "P": (end - SECTOR, end), "z": (0, end)}[damage]
            sectors[low:high] = bytes(high - low)
        self.data.extend(sectors)


def salt(generation: int) -> int:
    """Of the START that this generation begins with, or began with."""
    return xxh3_64_intdigest(b"salt", (generation + 1) // 2)
