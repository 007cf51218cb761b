"""The explorer on the library's own traces: recoveries per second on one core, and how many twenty commits take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import process_time

from bench.measure import progress
from bench.scale import Scale
from untorn.explore.explorer import explore
from untorn.explore.library.script import BLOCK, Script
from untorn.explore.library.targets import TARGETS, Library
from untorn.explore.search import every, field_of, recording_of

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


def exploring(place: Path, scale: Scale) -> Exploring:
    """Needs neither place nor scale: it is all in memory."""
    progress("exploring: the library's targets")
    searches = [field_of(target, recording_of(target.record())) for target in TARGETS]
    start = process_time()
    recoveries = sum(1 for search in searches for _ in every(search))
    seconds = process_time() - start
    result = explore(Library("twenty commits", _twenty_commits, 4 * BLOCK), depth=0)
    if result.bad or not result.certified:
        raise RuntimeError(f"twenty commits: {result.verdict()}")
    return Exploring(recoveries / seconds, recoveries, result.recoveries, result.log2_states)


def _twenty_commits(script: Script) -> None:
    script.open(log_bytes=28 * BLOCK)
    for serial in range(_COMMITS):
        script.write(serial % 3 * BLOCK, 2 * BLOCK)
        script.commit()
    script.close()
