"""The explorer on the library's own traces: recoveries per second on one core, and how many twenty commits take."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import process_time

from bench.measure import progress
from bench.scale import Scale
from untorn.explore.explorer import explore
from untorn.explore.search.engine import all_executions, recording_of, search_of
from untorn.explore.selftest.scripted_session import BLOCK, Script
from untorn.explore.selftest.targets import TARGETS, SelfTest
from untorn.explore.targets.protocol import Target
from untorn.explore.targets.python_module import FunctionTarget

_COMMITS = 20


@dataclass(frozen=True)
class Exploring:
    """What one process did; its own time, so that other programs disturb it less."""

    per_second: float
    """Recoveries per second of processor time, of all library targets without crashes in recovery."""
    recoveries: int
    commits_recoveries: int
    """Of twenty commits of 16 data sectors each, with checkpoints."""
    commits_log2_states: float
    saves_ms: float
    """Of processor time for each save, to certify many by write, fsync, rename and fsync of the directory."""
    appends_ms: float
    """The same for each of many synced appends."""


def exploring(place: Path, scale: Scale) -> Exploring:
    """Needs no place: it is all in memory."""
    progress("exploring: the library's targets")
    searches = [search_of(target, recording_of(target.record())) for target in TARGETS]
    start = process_time()
    recoveries = sum(1 for search in searches for _ in all_executions(search))
    seconds = process_time() - start
    result = explore(SelfTest("twenty commits", _twenty_commits, 4 * BLOCK), recovery_crashes=0)
    if result.bad or not result.certified:
        raise RuntimeError(f"twenty commits: {result.verdict()}")
    progress("exploring: many operations")
    return Exploring(
        recoveries / seconds, recoveries, result.recoveries, result.log2_states,
        _certified(rename_saves(scale.explored_saves)) / scale.explored_saves,
        _certified(appends(scale.explored_appends)) / scale.explored_appends,
    )  # fmt: skip


def _certified(target: Target) -> float:
    """Milliseconds of processor time to record, explore and certify a target."""
    start = process_time()
    result = explore(target)
    if not result.certified:
        raise RuntimeError(f"{target.name}: {result.verdict()}")
    return (process_time() - start) * 1000


def rename_saves(count: int) -> Target:
    """So many saves by a new file that is synced and renamed over the old one; the check reads it."""

    def workload(dir: Path) -> None:
        for serial in range(1, count + 1):
            with open(dir / "new", "wb") as file:
                file.write(b"%d" % serial)
                file.flush()
                os.fsync(file.fileno())
            os.replace(dir / "new", dir / "saved")
            descriptor = os.open(dir, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def check(dir: Path) -> None:
        if not 0 <= int((dir / "saved").read_bytes()) <= count:
            raise ValueError("a save that nobody made")

    return FunctionTarget(
        f"{count} saves", workload=workload, check=check, prepare=lambda dir: (dir / "saved").write_bytes(b"0")
    )


def appends(count: int) -> Target:
    """So many synced appends of ten bytes to one file; the check reads it."""

    def workload(dir: Path) -> None:
        with open(dir / "log", "ab", buffering=0) as file:
            for serial in range(count):
                file.write(b"%09d\n" % serial)
                os.fsync(file.fileno())

    def check(dir: Path) -> None:
        if len((dir / "log").read_bytes()) > 10 * count:
            raise ValueError("more than was appended")

    return FunctionTarget(
        f"{count} appends", workload=workload, check=check, prepare=lambda dir: (dir / "log").write_bytes(b"")
    )


def _twenty_commits(script: Script) -> None:
    script.open(checkpoint_bytes=28 * BLOCK)
    for serial in range(_COMMITS):
        script.write(serial % 3 * BLOCK, 2 * BLOCK)
        script.commit()
    script.close()
