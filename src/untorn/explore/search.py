"""Lazy search: recovery runs again and again, each time with another answer to its first open question.

Depth first by deterministic re-execution: a run follows the choices of its prefix, then takes branch 0 everywhere;
the questions that it met name the runs still to come. A run that is done is a **leaf**: it stands for every crash
point in its masks and every value that nobody asked about.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from untorn.explore.lazy import Ground, LazyDisk, LazyStorage
from untorn.explore.nested import Cut, Segment, cuts
from untorn.explore.target import Target
from untorn.explore.world import Question, Snapshot, World

Prefix = tuple[int, ...]


class NondeterminismError(Exception):
    """Recovery or check asked something else than it had asked before."""


class Problem(NamedTuple):
    """Why a state is bad."""

    kind: str
    """The name of the exception's type."""
    message: str
    stage: str
    """recover or check."""
    place: str
    """Where it was raised: file, line and function."""


class Leaf(NamedTuple):
    """A run that is done: its choices, the crash points and values that it stands for."""

    path: Prefix
    end: Snapshot
    problem: Problem | None


@dataclass
class Run:
    """What one run found out."""

    leaf: Leaf
    questions: list[tuple[Question, int]]
    """Those behind the prefix, each with its number of branches."""
    cuts: list[Cut] = field(default_factory=list)
    """Where recovery can be cut off itself, as far as no other run has the same."""

    def siblings(self) -> Iterator[Prefix]:
        """The prefixes of the runs that this one leaves to be done, deepest first."""
        known = len(self.leaf.path) - len(self.questions)
        for at in range(len(self.questions) - 1, -1, -1):
            for branch in range(self.questions[at][1] - 1, 0, -1):
                yield (*self.leaf.path[: known + at], branch)


class _Path:
    """Follows a prefix, then branch 0 everywhere; cuts what recovery does into segments between choices."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self.taken: list[int] = []
        self.questions: list[tuple[Question, int]] = []
        self.segments: list[Segment] = []
        self.world: World | None = None
        self.disk: LazyDisk | None = None
        self._begun = 0

    def __call__(self, question: Question, branches: int) -> int:
        at = len(self.taken)
        self.cut()
        picked = 0
        if at < len(self.prefix):
            picked = self.prefix[at]
            if picked >= branches:
                raise NondeterminismError(f"choice {at} had more than {picked} branches before, and now {branches}")
        else:
            self.questions.append((question, branches))
        self.taken.append(picked)
        return picked

    def cut(self) -> None:
        """Ends a segment; one within the prefix belongs to the run that met it first."""
        if self.world is None or self.disk is None:
            return
        now = self.disk.trace.now
        if now > self._begun and len(self.taken) >= len(self.prefix):
            self.segments.append(Segment(self._begun, now, self.world.snapshot()))
        self._begun = now


@dataclass
class Field:
    """One search: the state that its runs start from."""

    target: Target
    ground: Ground
    start: Snapshot | None = None

    def run(self, prefix: Prefix, *, nested: bool) -> Run:
        """One run of recovery and check; with ``nested`` also the ways to cut recovery off."""
        path = _Path(prefix)
        world = World(self.ground.layers, path, self.start)
        storage = LazyStorage(self.ground, world)
        if nested:
            path.world, path.disk = world, storage.lazy
        problem = None
        found: list[Cut] = []
        stage = "recover"
        try:
            try:
                self.target.recover(storage)
            finally:
                path.cut()
                path.world = None
                if nested:
                    found = cuts(storage.lazy, world, path.segments)
            storage.kill_process()
            stage = "check"
            self.target.check(storage, lambda: self._acknowledged(world))
        except NondeterminismError:
            raise
        except Exception as error:
            problem = _problem(error, stage)
        if len(path.taken) < len(prefix):
            raise NondeterminismError(f"{len(prefix)} choices before, and now {len(path.taken)}")
        leaf = Leaf(tuple(path.taken), world.snapshot(), problem)
        return Run(leaf, path.questions, found)

    def _acknowledged(self, world: World) -> Sequence[Any]:
        layer = self.ground.layers[0]
        count: Any = world.when(0, lambda at: layer.acknowledged[at])
        return layer.acknowledgements[:count]


def _problem(error: Exception, stage: str) -> Problem:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f"{last.filename}:{last.lineno} in {last.name}" if last else ""
    return Problem(type(error).__name__, str(error), stage, place)


def runs(search: Field, *, nested: bool = False, root: Prefix = ()) -> Iterator[Run]:
    """Every run below ``root``, depth first."""
    waiting = [root]
    while waiting:
        run = search.run(waiting.pop(), nested=nested)
        yield run
        waiting.extend(run.siblings())
