"""A file's own log, damaged: it gives a commit of its own, or it is refused, whatever lengths it claims."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_intdigest

import untorn
from tests.support.mounts import mounted
from tests.support.real_files import (
    FIRST,
    NEW,
    OLD,
    SECOND,
    STATES,
    asides,
    hot,
    little_memory,
    quietly,
    read,
    refused,
    sidecar,
    sizes_up_to,
    snapshot,
)
from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import (
    CorruptLogError,
)
from untorn.log.format import RECORDS_OFFSET
from untorn.log.writer import MARK
from untorn.storage.fault_injection import Fault, FaultyStorage

HUGE = 1 << 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def recovered(path: Path) -> bytes:
    """The file after recovery, which leaves nothing beside it but what it set aside."""
    with little_memory():
        quietly(lambda: untorn.recover(path))
    assert not sidecar(path).exists()
    assert MARK not in os.listxattr(path)
    return read(path)


def test_the_control_a_sound_log_is_replayed(path: Path) -> None:
    hot(path)
    assert recovered(path) == NEW
    assert os.listdir(path.parent) == [path.name]


# Its own log, damaged


@pytest.mark.parametrize("length", [0, 1, 511, 512, 4095, 4096, 8191, 8192, 8704, 12000, 16384, 20480, 30000, 40000])
def test_a_truncated_log_gives_a_commit_of_its_own_or_is_refused(path: Path, length: int) -> None:
    log = hot(path)
    os.truncate(sidecar(path), length)
    if length < 512:
        refused(path, CorruptLogError)
        assert read(path) == OLD
        return
    result = recovered(path)
    assert result in STATES
    if length <= RECORDS_OFFSET:
        assert result == OLD
    if length >= len(log):
        assert result == NEW


@pytest.mark.parametrize("record", [0, 1, 2])
@pytest.mark.parametrize("where", ["header", "table", "payload"])
def test_a_flipped_bit_in_a_durable_record_is_refused(path: Path, record: int, where: str) -> None:
    log = bytearray(hot(path))
    start = RECORDS_OFFSET + record * 8192
    assert log[start : start + 7] == b"untornR"
    log[start + {"header": 60, "table": 520, "payload": 2000}[where]] ^= 1
    sidecar(path).write_bytes(log)
    if record == 2:
        # In the very last commit damage cannot be told from a tear.
        assert recovered(path) == SECOND
        return
    error = refused(path, CorruptLogError)
    assert isinstance(error, CorruptLogError)
    assert error.offset == start
    assert read(path) == OLD
    quietly(lambda: untorn.recover(path, on_damage="apply"))
    assert read(path) == STATES[record]
    assert len(asides(path.parent)) == 1


def test_a_log_without_a_valid_slot_is_refused(path: Path) -> None:
    log = bytearray(hot(path))
    log[20] ^= 1
    sidecar(path).write_bytes(log)
    refused(path, CorruptLogError)


@pytest.mark.parametrize("way", ["apply", "discard"])
def test_the_ways_out_leave_a_plain_file_and_the_evidence(path: Path, way: Any) -> None:
    log = bytearray(hot(path))
    log[RECORDS_OFFSET + 8192 + 520] ^= 1
    sidecar(path).write_bytes(log)
    quietly(lambda: untorn.recover(path, on_damage=way))
    assert read(path) == (FIRST if way == "apply" else OLD)
    (aside,) = asides(path.parent)
    assert aside.read_bytes()[RECORDS_OFFSET:] == log[RECORDS_OFFSET:]
    with untorn.open(path, "r+b") as file:
        file.write(b"on we go")
    assert read(path)[:8] == b"on we go"
    assert asides(path.parent) == [aside]


def test_discard_takes_a_file_without_its_log_as_it_is(path: Path) -> None:
    hot(path)
    sidecar(path).unlink()
    error = refused(path, untorn.MissingLogError)
    assert "--on-damage discard" in str(error)
    untorn.recover(path, on_damage="discard")
    assert read(path) == OLD
    assert recovered(path) == OLD


# Hostile lengths, with every checksum right


def header(log: bytes, **changes: int) -> bytes:
    """The log with fields of its first record's header changed and the checksum made right again."""
    fields = {"extent_count": (12, "<I"), "size": (56, "<Q"), "size_min": (64, "<Q"), "payload_length": (72, "<Q")}
    (salt,) = struct.unpack_from("<Q", log, 24)
    sector = bytearray(log[RECORDS_OFFSET : RECORDS_OFFSET + 512])
    for name, value in changes.items():
        struct.pack_into(fields[name][1], sector, fields[name][0], value)
    struct.pack_into("<Q", sector, 504, xxh3_64_intdigest(bytes(sector[:504]), salt))
    return log[:RECORDS_OFFSET] + bytes(sector) + log[RECORDS_OFFSET + 512 :]


@pytest.mark.parametrize(
    "changes",
    [
        {"extent_count": 65536},
        {"extent_count": 65537},
        {"extent_count": (1 << 32) - 1},
        {"payload_length": 1 << 26},
        {"payload_length": HUGE},
        {"payload_length": (1 << 64) - 1},
        {"size": 1},
        {"size": (1 << 64) - 1},
        {"extent_count": 0, "payload_length": 1 << 26},
        {"extent_count": 65536, "payload_length": 1 << 26, "size": (1 << 63) - 1},
    ],
    ids=str,
)
def test_hostile_lengths_cost_no_memory_and_change_nothing(path: Path, changes: dict[str, int]) -> None:
    log = header(hot(path), **changes)
    sidecar(path).write_bytes(log)
    # The second record says that the first one was durable.
    error = refused(path, CorruptLogError)
    assert isinstance(error, CorruptLogError)
    assert error.offset == RECORDS_OFFSET
    assert read(path) == OLD


def test_a_huge_sparse_log_costs_neither_memory_nor_time(path: Path) -> None:
    hot(path)
    os.truncate(sidecar(path), 1 << 43)
    assert recovered(path) == NEW


def check_size_is_refused(path: Path) -> None:
    log = header(hot(path), size=(1 << 63) - 1)
    sidecar(path).write_bytes(log[: RECORDS_OFFSET + 8192])
    before = snapshot(path.parent)
    with pytest.raises(OSError, match="too large"):
        untorn.recover(path)
    assert snapshot(path.parent) == before
    quietly(lambda: untorn.recover(path, on_damage="discard"))
    assert read(path) == OLD


def test_a_size_that_the_file_may_not_have_is_refused_before_the_file_is_touched(path: Path) -> None:
    with sizes_up_to(1 << 40):
        check_size_is_refused(path)


@pytest.mark.needs_root
def test_a_size_that_the_file_system_cannot_have_is_refused_before_the_file_is_touched(tmp_path: Path) -> None:
    """ext4 ends at 16 TiB; XFS, btrfs and tmpfs have files of any size."""
    with mounted("ext4", tmp_path) as folder:
        check_size_is_refused(folder / "data")


def test_a_log_whose_owner_cannot_be_set_does_not_stay() -> None:
    storage = SimulatedStorage()
    storage.write_file("/f", b"old")
    faulty = FaultyStorage(storage, Fault(nth=0, names={"set_owner"}, onwards=True, error=errno.EIO))

    file = untorn.open("/f", "r+b", storage=faulty)
    with pytest.raises(OSError, match="Input/output"):
        file.write(b"new")
    file.close()

    assert storage.listdir("/") == ["f"]
    assert storage.read_file("/f") == b"old"
