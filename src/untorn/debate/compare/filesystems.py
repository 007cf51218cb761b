"""The designs on real file systems: how long a durable write takes, and in how many extents the file ends.

What a power failure leaves is not tried here. XFS takes RWF_ATOMIC with direct I/O on any device, by copying where the
device does not do it; ext4 takes it only where the device does, and a loop device does not.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from untorn.api.stream import STATX_WRITE_ATOMIC_DIO
from untorn.debate.compare.matrix import Progress
from untorn.debate.compare.mounts import LackingError, extents, mounted
from untorn.debate.compare.runner import Played, filled, open_file, play
from untorn.debate.compare.workloads import SYNC, WORKLOADS, Steps, Workload
from untorn.storage.interface import AtomicLimits

KINDS: Final = ("xfs", "ext4")


@dataclass
class Timing:
    """One design on one workload and file system."""

    file_system: str
    workload: str
    design: str
    writes: int
    """How many were timed."""
    asked: int
    """Of those, how many had pages that must not tear."""
    taken: int
    """Of those, how many the design took as atomic."""
    p50_us: float
    """Of a write and the sync behind it, in microseconds; also the next one."""
    p99_us: float
    extents: int | None
    """In which the file lies afterwards; it began in ``extents_before``."""
    extents_before: int | None


@dataclass
class FileSystem:
    """One file system that was mounted for this, or why it was not."""

    kind: str
    limits: AtomicLimits = AtomicLimits()
    """Of direct I/O, by statx."""
    lacking: str = ""
    kernel: str = platform.release()

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "limits": self.limits._asdict()}


@dataclass
class Real:
    """All that was measured on real file systems."""

    systems: list[FileSystem]
    timings: list[Timing]

    def find(self, kind: str, workload: str, design: str) -> Timing | None:
        """The measurement of one case, if it was made."""
        wanted = (kind, workload, design)
        return next((one for one in self.timings if (one.file_system, one.workload, one.design) == wanted), None)


def measure(workloads: Sequence[str], designs: Sequence[str], *, writes: int, progress: Progress) -> Real:
    """At most ``writes`` durable writes of each workload in each design, on each kind of file system."""
    real = Real([], [])
    for kind in KINDS:
        system = FileSystem(kind)
        real.systems.append(system)
        try:
            with mounted(kind) as folder:
                system.limits = _limits(folder)
                progress(f"durable writes on {kind}", 0.0)
                cases = [(workload, design) for workload in workloads for design in designs]
                for at, (workload, design) in enumerate(cases, 1):
                    real.timings.append(_timing(kind, folder, WORKLOADS[workload], design, writes))
                    progress(f"{workload} in {design} on {kind}", at / len(cases))
        except LackingError as error:
            system.lacking = str(error)
    return real


def _limits(folder: str) -> AtomicLimits:
    path = os.path.join(folder, "asked")
    with open(path, "wb"):
        pass
    with open_file(path, "cow") as file:
        limits: AtomicLimits = file.statx(STATX_WRITE_ATOMIC_DIO)
    os.unlink(path)
    return limits


def _timing(kind: str, folder: str, workload: Workload, design: str, most: int) -> Timing:
    path = os.path.join(folder, "file")
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, workload.long_size)
        file.write(filled(0, 0, workload.long_size))
        file.flush()
        os.fsync(file.fileno())
    before = extents(path)
    taken, played = _durable_writes(path, design, workload.long, most)
    after = extents(path)
    os.unlink(path)
    taken.sort()
    return Timing(
        kind, workload.name, design, len(taken), played.asked, played.taken, _part(taken, 0.5), _part(taken, 0.99),
        after, before,
    )  # fmt: skip


def _durable_writes(path: str, design: str, steps: Steps, most: int) -> tuple[list[float], Played]:
    """How many microseconds each write took with the sync behind it."""
    writes = [step for step in steps if step.kind != "sync"][:most]
    microseconds: list[float] = []
    begun = 0

    def done(step: Any, call: Any) -> None:
        nonlocal begun
        if call.is_sync:
            now = time.perf_counter_ns()
            microseconds.append((now - begun) / 1000)
            begun = now

    with open_file(path, design) as file:
        file.flush()
        begun = time.perf_counter_ns()
        played = play(file, [step for write in writes for step in (write, SYNC)], filled, done)
    return microseconds, played


def _part(ordered: Sequence[float], part: float) -> float:
    """The value that so large a part of them does not exceed."""
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else 0.0
