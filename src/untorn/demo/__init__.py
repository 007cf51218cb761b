"""The main job, watched on a real file: what ordinary overwriting leaves after a crash, and what untorn leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from untorn.demo.cuts import EXCERPT, CutEffort, Cuts, Kind, Tick, cut_power
from untorn.demo.kills import KillEffort, Kills, WriterError, kill_writers
from untorn.demo.speed import Speed, SpeedEffort, measure
from untorn.demo.subject import Subject, copied

__all__ = ["FULL", "QUICK", "Cuts", "Effort", "Kills", "Kind", "Report", "Speed", "Subject", "WriterError", "run"]

Progress = Callable[[str, float], None]
"""Is told what is going on and which part of it is done, from 0 to 1."""


@dataclass(frozen=True)
class Effort:
    """How much of each part."""

    cuts: CutEffort = field(default_factory=CutEffort)
    kills: KillEffort = field(default_factory=KillEffort)
    speed: SpeedEffort = field(default_factory=SpeedEffort)


FULL: Final = Effort()
QUICK: Final = Effort(CutEffort(commits=3, pages=2), KillEffort(kills=2, delay_s=0.05), SpeedEffort(warm=4, commits=8))


@dataclass(frozen=True)
class Report:
    """What the demo found. Sizes in bytes."""

    source: str
    source_size: int
    copy_size: int
    file_system: str
    in_memory: bool
    excerpt: int
    """Bytes of the file on the simulated disk."""
    seed: int
    seconds: float
    plain_cuts: Cuts
    untorn_cuts: Cuts
    plain_kills: Kills
    untorn_kills: Kills
    speed: Speed

    @property
    def bad(self) -> int:
        """Crashes after which untorn left anything but the old or the new commit."""
        return self.untorn_cuts.bad + self.untorn_kills.bad

    @property
    def blind(self) -> bool:
        """Whether no plain write was seen to tear: then nothing that was seen means anything."""
        return not self.plain_cuts.torn

    @property
    def holds(self) -> bool:
        """Whether untorn was shown to hold, by a check that can see what does not."""
        return self.untorn_cuts.certified and not self.bad and not self.blind


def run(file: str | None, *, effort: Effort = FULL, seed: int = 1, progress: Progress) -> Report:
    """The whole demo on a copy of ``file``, by default of the Python library's largest file.

    OSError if there is no such file or no room; WriterError if a writer process does not run.
    """
    start = time.monotonic()

    def part(words: str) -> Tick:
        progress(words, 0.0)
        return lambda done: progress(words, done)

    progress("Copying the file", 0.0)
    with copied(file) as subject:
        data = subject.original[:EXCERPT]
        jobs = len(os.sched_getaffinity(0))
        plain_cuts = cut_power(Kind.PLAIN, data, effort.cuts, seed, part("Cutting the power, plain writes"), jobs)
        untorn_cuts = cut_power(Kind.UNTORN, data, effort.cuts, seed, part("Cutting the power, untorn writes"), jobs)
        plain_kills = kill_writers(Kind.PLAIN, subject, effort.kills, seed, part("Killing a plain writer"))
        untorn_kills = kill_writers(Kind.UNTORN, subject, effort.kills, seed, part("Killing an untorn writer"))
        speed = measure(subject, effort.speed, seed, part("Measuring both"))
        return Report(
            subject.source, subject.source_size, len(subject.original), subject.file_system, subject.in_memory,
            len(data), seed, time.monotonic() - start, plain_cuts, untorn_cuts, plain_kills, untorn_kills, speed,
        )  # fmt: skip
