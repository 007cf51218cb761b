"""Mutated logs: none changes the file except to a commit of that very log, none raises what is no UntornError.

Bits flipped, sectors swapped, zeroed and copied, logs cut, extended and spliced with others; and headers with hostile
lengths whose checksums a hostile hand has made right again. Seeded: every run tries the same.
"""

from __future__ import annotations

import random
import struct
import tracemalloc
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pytest
from xxhash import xxh3_64_intdigest

import untorn
from tests.log.pictures import FILE, FOLDER, LOG
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import newest
from untorn.errors import UntornError, UntornWarning
from untorn.log.format import RECORDS_OFFSET, SLOT_OFFSETS, decode_slot
from untorn.sizes import BLOCK, SECTOR, round_up
from untorn.storage.fault_injection import Fault, FaultyStorage, ProcessDeath

CASES: Final = 500
"""Of each scene."""

READ_MAX: Final = 3 * (80 << 20)
"""Bytes that may be read: the search for evidence of damage is bounded, and there are three readers."""

MEMORY_MAX: Final = 8 << 20


@dataclass(frozen=True)
class Scene:
    """A hot file, and every state that its log may bring it to."""

    machine: SimulatedStorage
    log: bytes
    home: bytes
    legal: frozenset[bytes]

    def planted(self, log: bytes) -> SimulatedStorage:
        """A machine with the hot file and this log beside it."""
        machine = self.machine.power_cut(newest)
        machine.write_file(LOG, log)
        return machine


def work(storage: Any, seed: int, *, checkpoint_bytes: int = 1 << 20, close: bool = False) -> set[bytes]:
    """Commits, spills, truncates and rolls back, and may begin to close; returns what was committed."""
    chance = random.Random(seed)
    file = untorn.open(
        FILE, "r+b", folio_size=BLOCK, cache_bytes=12 * BLOCK, checkpoint_bytes=checkpoint_bytes, storage=storage
    )
    committed = {file.pread(1 << 20, 0)}
    try:
        for number in range(8):
            for _ in range(chance.choice([1, 2, 9])):
                data = bytes([65 + chance.randrange(26)]) * chance.choice([1, 700, 4096, 6000])
                file.pwrite(data, chance.randrange(60_000))
            if chance.random() < 0.4:
                file.truncate(chance.randrange(60_000))
            if chance.random() < 0.2:
                file.rollback()
            committed.add(file.pread(1 << 20, 0))
            file.commit(durable=number % 3 > 0)
        if close:
            file.close()
    except ProcessDeath:
        pass
    file._inode.forked()  # lets go without writing, as a process that dies
    return committed


def scene(seed: int, name: str) -> Scene:
    """One of the scenes, made by the library itself."""
    storage = SimulatedStorage(seed=seed)
    storage.make_directory(FOLDER)
    storage.write_file(FILE, b"".join(bytes([97 + index]) * BLOCK for index in range(6)))
    if name == "commits":
        legal = work(storage, seed)
    elif name == "checkpoint":
        dying = FaultyStorage(storage, Fault(nth=0, names={"pwritev"}, paths={FILE}, death=True, transfer=0.5))
        legal = work(dying, seed, close=True)
    else:
        legal = work(storage, seed, checkpoint_bytes=8 * BLOCK)
    storage.kill_process()
    machine = storage.power_cut(newest)
    log = machine.read_file(LOG)
    log = log[: round_up(len(log.rstrip(b"\0")), BLOCK) + 2 * BLOCK]
    return Scene(machine.power_cut(newest), log, machine.read_file(FILE), frozenset(legal))


@cache
def scenes(name: str) -> list[Scene]:
    """The scene, the same file's in other sessions, and another file's: what to splice with."""
    return [scene(seed, name) for seed in (1, 2, 3)]


NAMES: Final = ["commits", "checkpoint", "second generation"]


# Mutations


def flip_bits(log: bytearray, other: bytes, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 1, 2, 8, 100])):
        log[chance.randrange(len(log))] ^= 1 << chance.randrange(8)


def place(log: bytes | bytearray, chance: random.Random, unit: int) -> int:
    """The start of a unit, more often one that something is in."""
    for _ in range(30):
        at = chance.randrange(len(log) // unit) * unit
        if any(log[at : at + unit]) or chance.random() < 0.02:
            return at
    return 0


def swap_sectors(log: bytearray, other: bytes, chance: random.Random) -> None:
    unit = chance.choice([SECTOR, BLOCK])
    one, two = place(log, chance, unit), place(log, chance, unit)
    log[one : one + unit], log[two : two + unit] = log[two : two + unit], log[one : one + unit]


def copy_sectors(log: bytearray, other: bytes, chance: random.Random) -> None:
    unit = chance.choice([SECTOR, BLOCK])
    source, target = place(log, chance, unit), place(log, chance, unit)
    log[target : target + unit] = log[source : source + unit]


def zero_sectors(log: bytearray, other: bytes, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = place(log, chance, SECTOR)
        log[at : at + SECTOR] = bytes(SECTOR)


def cut(log: bytearray, other: bytes, chance: random.Random) -> None:
    del log[chance.choice([chance.randrange(len(log)), chance.randrange(len(log) // SECTOR) * SECTOR]) :]


def extend(log: bytearray, other: bytes, chance: random.Random) -> None:
    log.extend(chance.choice([b"\0", b"\xff", bytes(log[RECORDS_OFFSET:])]) * chance.choice([1, 5]))


def drop_blocks(log: bytearray, other: bytes, chance: random.Random) -> None:
    at = place(log, chance, BLOCK)
    del log[at : at + BLOCK * chance.choice([1, 2])]


def splice(log: bytearray, other: bytes, chance: random.Random) -> None:
    at = chance.randrange(1, len(log) // BLOCK) * BLOCK
    if chance.random() < 0.5:
        log[at:] = other[at:]
    else:
        log[:at] = other[:at]


def splice_sectors(log: bytearray, other: bytes, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 3])):
        source = place(other, chance, SECTOR)
        target = source if chance.random() < 0.5 else place(log, chance, SECTOR)
        log[target : target + SECTOR] = other[source : source + SECTOR]


DAMAGE: Final = [
    flip_bits, swap_sectors, copy_sectors, zero_sectors, cut, extend, drop_blocks, splice, splice_sectors,
]  # fmt: skip

SLOT_FIELDS: Final = {
    10: "<B", 11: "<B", 12: "<I", 16: "<Q", 24: "<Q", 32: "<Q", 48: "<Q", 56: "<Q", 64: "<Q", 72: "<q", 80: "<Q",
}  # fmt: skip
RECORD_FIELDS: Final = {
    10: "<H", 12: "<I", 16: "<Q", 24: "<Q", 32: "<Q", 40: "<Q", 48: "<Q", 56: "<Q", 64: "<Q", 72: "<Q", 80: "<Q",
}  # fmt: skip
VALUES: Final = [0, 1, 2, 3, 5, 255, 4096, 8192, 65535, 65536, 1 << 20, 1 << 26, 1 << 31, 1 << 40, 1 << 62]


def forge(log: bytearray, chance: random.Random) -> None:
    """Gives a field of a header any value, and makes its checksum right again."""
    slots = [at for at in SLOT_OFFSETS if decode_slot(bytes(log[at : at + SECTOR])) is not None]
    records = [at for at in range(RECORDS_OFFSET, len(log), BLOCK) if log[at : at + 8] == b"untornR\x01"]
    at = chance.choice(slots if slots and chance.random() < 0.3 else records or slots)
    fields = SLOT_FIELDS if at in slots else RECORD_FIELDS
    offset = chance.choice(list(fields))
    width = struct.calcsize(fields[offset]) * 8 - (fields[offset] == "<q")
    value = min(chance.choice([*VALUES, chance.getrandbits(64)]), (1 << width) - 1)
    if chance.random() < 0.2:
        value = (1 << width) - 1
    struct.pack_into(fields[offset], log, at + offset, value)
    seed = 0 if at in slots else struct.unpack_from("<Q", log, at + 16)[0]
    struct.pack_into("<Q", log, at + 504, xxh3_64_intdigest(bytes(log[at : at + 504]), seed))


# What every case is put through


def put_through(storage: SimulatedStorage) -> bytes | None:
    """Status, a reader and recovery: they agree, the file only changes if all is well; returns what it then holds.

    None if they refuse.
    """
    before = storage.read_file(FILE)
    problem = untorn.status(FILE, storage=storage).problem
    if problem is not None:
        for call in (lambda: untorn.open(FILE, "rb", storage=storage), lambda: untorn.recover(FILE, storage=storage)):
            with pytest.raises(type(problem)):
                call()
        assert storage.read_file(FILE) == before
        return None
    with untorn.open(FILE, "rb", storage=storage) as file:
        shown = file.pread(1 << 20, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntornWarning)
        untorn.recover(FILE, storage=storage)
    assert LOG.rpartition("/")[2] not in storage.listdir(FOLDER)
    with untorn.open(FILE, "rb", storage=storage) as file:
        recovered: bytes = file.pread(1 << 20, 0)
    assert recovered == shown
    read = sum(operation.result or 0 for operation in storage.trace.operations if operation.name == "pread")
    assert read < READ_MAX
    return recovered


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_log_gives_one_of_its_own_commits_or_an_error(name: str) -> None:
    first, second, third = scenes(name)
    outcomes: Counter[str] = Counter()
    for seed in range(CASES):
        chance = random.Random(f"{name} {seed}")
        log = bytearray(first.log)
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            chance.choice(DAMAGE)(log, chance.choice([second, third]).log, chance)
            if len(log) < 2 * BLOCK:
                break
        found = put_through(first.planted(bytes(log)))
        assert found is None or found in first.legal, f"case {seed}"
        outcomes["refused" if found is None else "recovered"] += 1
    assert min(outcomes["refused"], outcomes["recovered"]) > CASES // 20, outcomes


@pytest.mark.parametrize("name", NAMES)
def test_forged_headers_raise_nothing_else_and_cost_no_memory(name: str) -> None:
    subject = scenes(name)[0]
    outcomes: Counter[str] = Counter()
    for seed in range(CASES):
        chance = random.Random(f"forged {name} {seed}")
        log = bytearray(subject.log)
        for _ in range(chance.choice([1, 1, 2, 3])):
            forge(log, chance)
        storage = subject.planted(bytes(log))
        if seed % 5 == 0:
            tracemalloc.start()
        try:
            found = put_through(storage)
            if seed % 5 == 0:
                assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX, f"case {seed}"
        finally:
            tracemalloc.stop()
        outcomes["refused" if found is None else "recovered"] += 1
    assert min(outcomes["refused"], outcomes["recovered"]) > CASES // 20, outcomes


@pytest.mark.parametrize("name", NAMES)
def test_the_control_a_sound_log_gives_its_last_commit(name: str) -> None:
    for subject in scenes(name):
        assert len(subject.legal) > 4
        found = put_through(subject.planted(subject.log))
        assert found in subject.legal
        if name == "checkpoint":
            assert subject.home not in subject.legal, "home was not half rewritten"


def test_the_control_without_digests_damage_gets_into_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from untorn.storage.interface import StorageFile

    monkeypatch.setattr(StorageFile, "verify", lambda *_: True)
    from untorn.log import checkpoint

    monkeypatch.setattr(checkpoint, "xxh3_64_intdigest", lambda *_: 0)
    with pytest.raises((AssertionError, UntornError)):
        test_a_damaged_log_gives_one_of_its_own_commits_or_an_error("commits")
