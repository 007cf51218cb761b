"""Exploring and certifying take a number of steps that grows as the number of operations does, and no faster."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bench.exploring import appends, rename_saves
from untorn.explore.explorer import Budget, explore
from untorn.explore.interpose import opening
from untorn.explore.lazy.crash_state import CrashState
from untorn.explore.result import Result
from untorn.explore.targets.protocol import Target
from untorn.explore.targets.python_module import FunctionTarget

SIZE = 40
DOUBLE = 2.3
"""What twice as many operations may take, as a multiple: two, and a little for what is found by halving."""


def steps(target: Target) -> int:
    """Lines of the explorer, and rounds of its loops, that one exploration runs through."""
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        return line if "/untorn/" in path and "/interpose/" not in path else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        result = explore(target, recovery_crashes=0)
    finally:
        sys.settrace(before)
    assert result.certified, result.verdict()
    return count


@pytest.mark.parametrize("make", [rename_saves, appends])
def test_twice_the_operations_take_twice_the_steps(make: Callable[[int], Target]) -> None:
    assert steps(make(2 * SIZE)) <= DOUBLE * steps(make(SIZE))


@pytest.mark.parametrize("make", [rename_saves, appends])
def test_it_would_be_seen_if_every_run_worked_its_questions_out_again(
    make: Callable[[int], Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CrashState, "_known", lambda self: None)
    assert steps(make(2 * SIZE)) > DOUBLE * steps(make(SIZE))


# Writes that nobody syncs

RECORD = struct.Struct("<II")


def unsynced(count: int) -> Result:
    """Records with a checksum, never synced; the check reads up to the first that is torn."""

    def payload(serial: int) -> bytes:
        return b"%04d" % serial * 70

    def workload(dir: Path) -> None:
        with open(dir / "log", "ab", buffering=0) as file:
            for serial in range(count):
                file.write(RECORD.pack(len(payload(serial)), zlib.crc32(payload(serial))) + payload(serial))

    def check(dir: Path) -> None:
        with open(dir / "log", "rb") as file:
            for serial in range(count + 1):
                header = file.read(RECORD.size)
                if len(header) < RECORD.size:
                    return
                length, checksum = RECORD.unpack(header)
                found = file.read(length)
                if not length or zlib.crc32(found) != checksum:
                    return
                assert found == payload(serial), "a record that nobody wrote"

    target = FunctionTarget("log", workload=workload, check=check, prepare=lambda dir: (dir / "log").write_bytes(b""))
    return explore(target, budget=Budget(recoveries=300))


def test_thirty_unsynced_records_are_certified_if_reading_ends_at_the_first_torn_one() -> None:
    result = unsynced(30)
    assert result.certified
    assert result.states > 2**40
    assert result.recoveries < 6 * 30


def test_a_reader_that_reads_ahead_decides_what_it_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_AHEAD", 1 << 16)
    assert not unsynced(30).certified
