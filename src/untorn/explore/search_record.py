"""What a search says that it did: its layers, questions and executions. The certificate is given this and no more.

A **layer** is what was done until a crash: by the workload at depth 0, by a recovery that is itself cut off at depth 1,
and so on. Crash points of a layer that no legal interval tells apart are one **class**; a set of classes is a **mask**.
A variable that a recovery did not write, or whose new value did not survive, still has what it had in the layer
below: its value there is ``INHERITED``. All words: ``search/__init__.py``.

Only data: search and certificate share these types, and no code that fills or judges them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from untorn.crashmodel.trace import Operation, Trace
from untorn.crashmodel.variables import Variable
from untorn.explore.masks import Rows, rows_of


class _Inherited:
    def __repr__(self) -> str:
        return "INHERITED"

    def __reduce__(self) -> str:
        return "INHERITED"


INHERITED: Final = _Inherited()
"""The value of a variable that the layer below decides."""


ORDER: Final = Variable("order", 0)
"""How directories list their names, everywhere in the same way. It is asked where somebody lists two or more."""

BACKWARDS: Final = "backwards"
SORTED: Final = "sorted"


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One variable of one layer: its distinct values, oldest first, and the classes at which each is legal."""

    values: tuple[Any, ...]
    legal_classes: tuple[int, ...]
    written: tuple[tuple[int, int], ...]
    """(event, index of the value), in the order in which the cache had them."""
    ends: tuple[int, ...]
    """By entry of ``written``: the event from which on it is not legal any more; a value may be written again."""
    rows: Rows = field(init=False, repr=False, compare=False)
    """The masks, so that those which meet a few classes are found without asking all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", rows_of(self.legal_classes))


@dataclass
class Layer:
    """What was done until a crash, which comes between events ``first`` and ``last`` of its trace."""

    trace: Trace
    class_starts: list[int]
    """The first event of each class, ascending."""
    alternatives: dict[Variable, Alternatives]
    deciders: dict[Variable, list[tuple[Variable, int | None]]]
    """By variable: those that decide it, uppermost first, each with the place in its tuples if it has such."""
    acknowledged: list[int] = field(default_factory=list)
    """By class: how many of ``acknowledgements`` had been told to the world."""
    acknowledgements: list[Any] = field(default_factory=list)
    chain: dict[Variable, Any] = field(default_factory=dict, repr=False, compare=False)
    """By variable: who decides it in this layer and all below it, as searched so far; the same for every execution."""

    @property
    def all(self) -> int:
        """The mask of all classes."""
        return (1 << len(self.class_starts)) - 1


Key = tuple[int, Variable]
"""A variable of the layer at a depth."""


class AskValue(NamedTuple):
    """A question about one variable: ``parts`` are the indices of its values, one branch for each part."""

    key: Key
    parts: tuple[tuple[int, ...], ...]


class AskDigest(NamedTuple):
    """Whether sectors all match a digest: branch 0 if every one is in ``matching``, branch 1 if not."""

    members: tuple[tuple[Key, tuple[int, ...]], ...]


class AskCrashPoint(NamedTuple):
    """A question about the crash point of a layer itself: one branch for each mask."""

    depth: int
    parts: tuple[int, ...]


Question = AskValue | AskDigest | AskCrashPoint


class Snapshot(NamedTuple):
    """A state to go on from."""

    masks: tuple[int, ...]
    domains: dict[Key, tuple[int, ...]]
    groups: tuple[dict[Key, frozenset[int]], ...]


ChoicePath = tuple[int, ...]
"""Choices of an execution: for each question that it meets, which branch it takes. The first of them are a prefix."""


class Problem(NamedTuple):
    """Why a state is bad."""

    kind: str
    """The name of the exception's type."""
    message: str
    stage: str
    """recover or check."""
    place: str
    """Where it was raised: file, line and function."""


class Outcome(NamedTuple):
    """What an execution came to: its choices, the crash points and values that it stands for, and what was bad."""

    choices: ChoicePath
    end: Snapshot
    problem: Problem | None


class RecoveryCrash(NamedTuple):
    """A recovery that is cut off within one segment."""

    choices: ChoicePath
    """The choices behind which it is cut off; no other segment of a search has the same."""
    layer: Layer
    start: Snapshot


@dataclass
class Execution:
    """One run of recovery and check, and what it found out."""

    outcome: Outcome
    questions: list[tuple[Question, int]]
    """Those behind the prefix, each with its number of branches."""
    recovery_crashes: list[RecoveryCrash] = field(default_factory=list)
    """Where recovery can be cut off itself, as far as no other execution has the same."""
    operations: list[Operation] = field(default_factory=list)
    """What recovery did, if it may be cut off itself."""
    choice_events: tuple[int, ...] = ()
    """By choice of recovery: the last event before it; then the last event of recovery."""

    @property
    def prefix(self) -> ChoicePath:
        """The choices that it was given."""
        return self.outcome.choices[: len(self.outcome.choices) - len(self.questions)]

    def siblings(self) -> Iterator[ChoicePath]:
        """The prefixes of the executions that this one leaves to be done, deepest first."""
        known = len(self.prefix)
        for at in range(len(self.questions) - 1, -1, -1):
            for branch in range(self.questions[at][1] - 1, 0, -1):
                yield (*self.outcome.choices[: known + at], branch)


@dataclass
class SearchRecord:
    """What was done from one state: give it to ``check`` when it is complete."""

    layer: Layer
    """The topmost one."""
    executions: list[Execution] = field(default_factory=list)
    nested_searches: dict[ChoicePath, SearchRecord] = field(default_factory=dict)
    """By ``RecoveryCrash.choices``."""
