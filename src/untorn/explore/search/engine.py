"""Lazy search: recovery runs again and again, each time with another answer to its first open question.

Depth first by deterministic re-execution: an execution follows the choices of its prefix, then takes branch 0
everywhere; the questions that it met name the executions still to come. Its outcome stands for every crash point in
its masks and every value that nobody asked about. The words, and one search as a picture: ``search/__init__.py``.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from untorn.crashmodel.machine import Options
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import STANDARD_LIBRARY, Trace
from untorn.explore.exception_text import message_of
from untorn.explore.interpose.bypass_line import pinpointing
from untorn.explore.interpose.errors import RefusalError, UnlocatedError
from untorn.explore.lazy.crash_state import Chooser, CrashState
from untorn.explore.lazy.crash_state import NondeterminismError as NondeterminismError  # noqa: PLC0414
from untorn.explore.lazy.layers import build_layer, rules
from untorn.explore.lazy.storage import LazyDisk, LazyStorage, SharedBase
from untorn.explore.search.recovery_crashes import Segment, recovery_crashes
from untorn.explore.search_record import ChoicePath, Execution, Outcome, Problem, Question, Snapshot
from untorn.explore.targets.protocol import Target
from untorn.explore.time_limit import OutOfTime, one_run


class Recording(NamedTuple):
    """A workload that was recorded, and where in it a crash may come."""

    trace: Trace
    options: Options
    time_ns: int
    first: int
    """The first crash point: an event of the trace."""


NO_VERDICT: Final = (KeyboardInterrupt, NondeterminismError, OutOfTime, RefusalError)
"""Exceptions of an execution that do not say that its state is bad; any other does, SystemExit too."""


@dataclass(slots=True)
class ChoiceNode:
    """A place in the tree of choices: the question there, once it has been met, and how often was asked by then."""

    question: Question | None = None
    asked: int = 0
    children: dict[int, ChoiceNode] = field(default_factory=dict)


class _Path:
    """Follows a prefix, then branch 0 everywhere; parts what recovery does into segments between choices."""

    def __init__(self, prefix: ChoicePath, root: ChoiceNode) -> None:
        self.prefix = prefix
        self.node = root
        self.followed: CrashState | None = None
        self.taken: list[int] = []
        self.questions: list[tuple[Question, int]] = []
        self.segments: list[Segment] = []
        self.choice_events: list[int] = []
        self.crash_state: CrashState | None = None
        self.disk: LazyDisk | None = None
        self.failed: NondeterminismError | None = None
        self._begun = 0

    def __call__(self, question: Question, branches: int) -> int:
        at = len(self.taken)
        self.end_segment(choosing=True)
        picked = 0
        if at < len(self.prefix):
            picked = self.prefix[at]
            if picked >= branches:
                self.failed = NondeterminismError(f"choice {at} had more than {picked} branches, and now {branches}")
                raise self.failed
        else:
            self.questions.append((question, branches))
        self.taken.append(picked)
        self._step(question, picked)
        return picked

    def follow(self, crash_state: CrashState) -> None:
        """Tells a crash state what executions before this one were asked in it."""
        self.followed = crash_state
        self._expect()

    def _step(self, question: Question, picked: int) -> None:
        assert self.followed is not None
        node = self.node
        if node.question is None:
            node.question, node.asked = question, self.followed.asked
        self.node = node.children.setdefault(picked, ChoiceNode())
        self._expect()

    def _expect(self) -> None:
        assert self.followed is not None
        node = self.node
        self.followed.expected = None if node.question is None else (node.asked, node.question)

    def end_segment(self, *, choosing: bool) -> None:
        """Ends a segment; one within the prefix belongs to the execution that met it first.

        An operation that is running depends on the choice that it makes, so its issue is part of the next segment.
        """
        if self.crash_state is None or self.disk is None:
            return
        now, operations = self.disk.trace.now, self.disk.trace.operations
        if choosing and operations and operations[-1].completed is None:
            now -= 1
        if now > self._begun and len(self.taken) >= len(self.prefix):
            self.segments.append(Segment(tuple(self.taken), self._begun + 1, now, self.crash_state.snapshot()))
        self.choice_events.append(now)
        self._begun = now


@dataclass
class Search:
    """One search: the state that its executions start from."""

    target: Target
    shared: SharedBase
    start: Snapshot | None = None
    root: ChoiceNode = field(default_factory=ChoiceNode, repr=False)
    """What the executions so far were asked."""

    def run(self, prefix: ChoicePath, *, nested: bool) -> Execution:
        """One execution of recovery and check; with ``nested`` also the crashes that may cut recovery off."""
        try:
            return self._run(prefix, nested=nested)
        except UnlocatedError:
            with pinpointing():
                self._run(prefix, nested=nested)
            raise

    def _run(self, prefix: ChoicePath, *, nested: bool) -> Execution:
        path = _Path(prefix, self.root)
        crash_state = CrashState(self.shared.layers, path, self.start)
        path.follow(crash_state)
        storage = LazyStorage(self.shared, crash_state)
        if nested:
            path.crash_state, path.disk = crash_state, storage.lazy
        problem = self._recover(storage)
        path.end_segment(choosing=False)
        path.crash_state = None
        found = recovery_crashes(storage.lazy, crash_state, path.segments) if nested else []
        operations = list(storage.lazy.trace.operations) if nested else []
        problem = problem or self._check(storage, crash_state)
        if path.failed is not None:  # the program may have swallowed it
            raise path.failed
        if len(path.taken) < len(prefix):
            raise NondeterminismError(f"{len(prefix)} choices before, and now {len(path.taken)}")
        outcome = Outcome(tuple(path.taken), crash_state.snapshot(), problem)
        return Execution(outcome, path.questions, found, operations, tuple(path.choice_events))

    def run_pinned(self, choose: Chooser, start: Snapshot) -> tuple[Outcome, CrashState]:
        """One execution whose choices somebody else makes, from a state that is pinned."""
        crash_state = CrashState(self.shared.layers, choose, start)
        storage = LazyStorage(self.shared, crash_state)
        problem = self._recover(storage) or self._check(storage, crash_state)
        return Outcome((), crash_state.snapshot(), problem), crash_state

    def _recover(self, storage: LazyStorage) -> Problem | None:
        try:
            one_run("recover", self.target.recover, storage)
        except NO_VERDICT:
            raise
        except BaseException as error:
            return problem_of(error, "recover")
        storage.kill_process()
        return None

    def _check(self, storage: LazyStorage, crash_state: CrashState) -> Problem | None:
        try:
            one_run(
                "check", self.target.check, storage, lambda classify=None: self._acknowledged(crash_state, classify)
            )
        except NO_VERDICT:
            raise
        except BaseException as error:
            return problem_of(error, "check")
        return None

    def _acknowledged(self, crash_state: CrashState, classify: Callable[[Sequence[Any]], Any] | None) -> Any:
        """What had been told to the world, or what ``classify`` says of it."""
        layer = self.shared.layers[0]

        def told(at: int) -> Any:
            so_far = layer.acknowledgements[: layer.acknowledged[at]]
            return classify(so_far) if classify else len(so_far)

        answer: Any = crash_state.ask_crash_point(0, told)
        return answer if classify else layer.acknowledgements[:answer]


def problem_of(error: BaseException, stage: str) -> Problem:
    """What an exception of recovery or check says."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if not one.filename.startswith(STANDARD_LIBRARY) or "-packages" in one.filename]
    place = "".join(f"{one.filename}:{one.lineno} in {one.name}" for one in (own or frames)[-1:])
    return Problem(type(error).__name__, message_of(error), stage, place)


def recording_of(machine: SimulatedStorage, first: int = 0) -> Recording:
    """What a machine recorded, to be cut off at any event from ``first`` on."""
    return Recording(machine.trace, machine.disk.options, machine.disk.time_ns, first)


def recorded(target: Target) -> Recording:
    """Runs the target's workload, to be cut off anywhere."""
    try:
        return recording_of(target.record())
    except UnlocatedError:
        with pinpointing():
            target.record()
        raise


def search_of(target: Target, recording: Recording) -> Search:
    """The search over every power failure of a recording."""
    trace = recording.trace
    history = History(trace, **rules(recording.options))
    history.advance(trace.now)
    layer = build_layer(trace, history, recording.first, trace.now, nested=False)
    return Search(target, SharedBase(layer, recording.options, recording.time_ns))


def without_inner_crash(search: Search, problem: Problem, limit: int) -> Execution | None:
    """An execution that is bad in the same way although recovery was not cut off, among the first ``limit``."""
    for execution in itertools.islice(all_executions(search), limit):
        found = execution.outcome.problem
        if found is not None and (found.kind, found.stage) == (problem.kind, problem.stage):
            return execution
    return None


def nested_searches(search: Search, execution: Execution) -> Iterator[Search]:
    """The searches for the ways in which this execution's recovery can be cut off."""
    shared = search.shared
    for crash in execution.recovery_crashes:
        yield Search(search.target, SharedBase(crash.layer, shared.options, shared.time_ns, shared), crash.start)


def all_executions(search: Search, *, nested: bool = False) -> Iterator[Execution]:
    """Every execution of a search, depth first."""
    waiting: list[ChoicePath] = [()]
    while waiting:
        execution = search.run(waiting.pop(), nested=nested)
        yield execution
        waiting.extend(execution.siblings())
