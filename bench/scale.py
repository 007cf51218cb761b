"""How much is measured: everything, a first look, or whatever a test asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.measure import KIB, MIB


@dataclass(frozen=True)
class Session:
    """A whole session: ``total`` bytes in commits of ``count`` pages; the log is four times the file."""

    page: int
    count: int
    file_bytes: int
    total: int
    rounds: int


@dataclass(frozen=True)
class Scale:
    """Sizes in bytes; rounds are how often each contender does the work."""

    file_bytes: int = 64 * MIB
    pages: tuple[int, ...] = (4 * KIB, 8 * KIB, 16 * KIB, 64 * KIB)
    batches: tuple[tuple[int, int], ...] = ((1, 41), (8, 31), (64, 17), (512, 7))
    """Pages per commit, and rounds of three timed commits."""
    sessions: tuple[Session, ...] = (
        Session(16 * KIB, 64, 64 * MIB, 640 * MIB, 5),
        # Scaled down: at the full size a single round would write 40,960 commits per contender.
        Session(16 * KIB, 1, 8 * MIB, 80 * MIB, 5),
    )
    append_lengths: tuple[int, ...] = (100, 8 * KIB)
    append_batches: tuple[tuple[int, int], ...] = ((1, 61), (64, 21))
    small_rounds: int = 101
    micro_rounds: int = 201
    micro_calls: int = 256
    recovery_rounds: int = 5
    explored_saves: int = 400
    explored_appends: int = 1000

    @property
    def log_bytes(self) -> int:
        """Of the log of the file."""
        return 4 * self.file_bytes


FULL: Final = Scale()
QUICK: Final = Scale(
    pages=(4 * KIB, 16 * KIB),
    batches=((1, 15), (8, 11), (64, 7), (512, 3)),
    sessions=(Session(16 * KIB, 64, 16 * MIB, 160 * MIB, 3), Session(16 * KIB, 1, 2 * MIB, 20 * MIB, 3)),
    append_batches=((1, 21), (64, 7)),
    small_rounds=31,
    micro_rounds=61,
    recovery_rounds=1,
)
