"""What an exploration found, in a form that goes to JSON and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from untorn.explore.search_record import Problem


class Coverage(StrEnum):
    """How far the states of a trace were explored, best first."""

    EXHAUSTIVE = "exhaustive"
    """Every crash point, every subset of sectors that the rules allow."""
    WRITES = "exhaustive by whole writes"
    """Every crash point, every subset of writes; no write torn."""
    TEARS = "prefixes, one or two writes omitted, single sectors torn"
    SAMPLED = "seeded samples"


@dataclass
class Deviation:
    """One thing that did not reach the disk, or reached it before its turn."""

    operation: int
    """Index of the operation in the trace."""
    what: str
    """In words: "sector 3 of /f", "the name /f-untorn"."""
    fate: str
    """lost, early, old, new or garbage."""
    site: str
    """file:line in function of whoever asked for it."""
    sectors: tuple[int, int] | None = None
    """(sectors that survived, sectors in all) of a torn write."""


class Fate(StrEnum):
    """What a crash left of one sector."""

    SAME = "same"
    """It was not open: what is durable is the newest."""
    NEW = "new"
    """What the program wrote last, though nothing promised it."""
    OLD = "old"
    """What was durable; newer content is lost."""
    ZEROS = "zeros"
    """Neither; the file is long enough, and the data did not come."""
    GONE = "gone"
    """The file ends before it, though it did neither in the cache nor durably."""
    OTHER = "other"
    """Neither; something in between."""
    GARBAGE = "garbage"


@dataclass
class Survival:
    """One file as a crash left it. A size is None where the name leads to no file."""

    path: str
    unit: int
    """Bytes in a sector."""
    size: int | None
    newest: int | None
    """Its size as the program had it."""
    oldest: int | None
    """Its size as it was durable."""
    sectors: list[tuple[Fate, int]]
    """Runs of sectors with the same fate, from the beginning of the file."""


@dataclass
class Counterexample:
    """The shortest way to a bad state."""

    kind: str
    """torn, reordered, lost metadata, lost sync, cut short or listing order."""
    problem: Problem
    crash: str
    """power or process."""
    event: int
    """The crash comes just after this event of the trace."""
    after: int
    """Index of the last operation issued before the crash."""
    deviations: list[Deviation]
    text: str
    """It told in words, ready to print."""
    replay: dict[str, Any] = field(default_factory=dict)
    """What replays it."""
    files: list[Survival] = field(default_factory=list)
    """Those that the crash left otherwise than the program had them, or than they were durable."""


@dataclass
class Result:
    """The outcome for one target."""

    target: str
    profile: str
    """The rules by which a crash left what it left: ``strict`` or ``linux``."""
    coverage: Coverage
    """How far the exploration came."""
    coverages: list[str] = field(default_factory=list)
    """What was done for each coverage, in words, if the budget ended the search."""
    recoveries: int = 0
    """Runs of recover and check."""
    states: int = 0
    """Pairs of a crash point and a value for every variable, all told."""
    nested: int = 0
    """Of the recoveries, those after a crash inside recovery."""
    certified: bool = False
    refusal: str = ""
    """Why it is not certified."""
    unmeasured: str = ""
    """Why what was done says nothing about crashes; empty if it does."""
    interrupted: bool = False
    """Whether Ctrl-C ended it."""
    bad: int = 0
    """Recoveries that ended badly."""
    counterexamples: list[Counterexample] = field(default_factory=list)
    """One for each kind of bad state that was found, shrunk."""
    scope: list[str] = field(default_factory=list)
    """What the certificate is about, in sentences."""
    seconds: float = 0.0
    """How long all of it took."""
    operations: list[dict[str, Any]] = field(default_factory=list)
    """The trace in brief: index, name, path, offset, length, issued, completed, error, site."""

    @property
    def log2_states(self) -> float:
        return math.log2(self.states) if self.states else 0.0

    def verdict(self) -> str:
        """One line that claims no more than what was done."""
        if self.bad:
            return f"BAD: {self.bad} of {self.recoveries} recoveries ended in a bad state"
        if self.unmeasured:
            return f"not measured: {self.unmeasured}"
        if self.certified:
            about = f"about 2^{self.log2_states:.0f}"
            count = f"{self.states:,} states ({about})" if self.states < 10**15 else f"{about} states"
            return f"certified: {count} in {self.recoveries:,} recoveries"
        why = f"; not certified: {self.refusal}" if self.refusal else ""
        return f"no bad state in {self.recoveries:,} recoveries ({self.coverage.value}){why}"
