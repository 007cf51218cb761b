"""Work that goes to an executor: some executions of one search, with the searches nested in them.

Workers may be other processes or machines. Those that were forked off the process that recorded the workload have the
search already. Others get the target and the recorded machine once, as one pickled value, run the workload first, so
that the program's modules are there as they were, and refuse if it does something else.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from untorn.explore import time_limit
from untorn.explore.interpose import bypass_watch, many_runs
from untorn.explore.interpose.errors import NotMeasuredError
from untorn.explore.search import workers
from untorn.explore.search.engine import Recording, Search, all_executions, nested_searches, recorded, search_of
from untorn.explore.search.fingerprint import fingerprint
from untorn.explore.search_record import ChoicePath, Execution, Problem, SearchRecord
from untorn.explore.targets.protocol import Target

_LONG_SECONDS: Final = 1.0
"""Of an execution: worth telling."""


class Work(NamedTuple):
    """What every worker needs to know: the target, its recorded machine, and what to do with each execution."""

    token: str
    """Names this one among others."""

    target: Target
    recording: Recording
    depth: int
    """How many times recovery is cut off itself, one in the other."""
    keep_going: bool
    """Whether to go on after a bad state."""
    seed: int
    root: str
    """The explored directory, as the program was told."""
    each: float | None
    """Seconds that one run of recover or check may take."""


class Handle(NamedTuple):
    """How a worker finds its work: among what it inherited, or pickled."""

    token: str
    pickled: bytes


class Left(NamedTuple):
    """What of the budget a task may use up; None for what has no limit."""

    seconds: float | None = None
    recoveries: int | None = None


class OutOfRecoveries(BaseException):
    """The budget of recoveries ended a task in the middle of an execution's nested searches."""


class Origin(NamedTuple):
    """Where a search begins: for each layer the execution, by its prefix, and which of its crashes."""

    crashes: tuple[tuple[ChoicePath, int], ...] = ()


@dataclass
class Batch:
    """What one task brought back."""

    executions: list[Execution] = field(default_factory=list)
    """Of the outermost search, without their crashes."""
    nested_searches: dict[ChoicePath, SearchRecord] = field(default_factory=dict)
    """By where these executions' recoveries were cut off, the searches for that."""
    waiting: list[ChoicePath] = field(default_factory=list)
    """Prefixes that are still to be run."""
    recoveries: int = 0
    recoveries_max: int | None = None
    nested: int = 0
    bad: list[tuple[Origin, Execution]] = field(default_factory=list)
    unended: str = ""
    """What was going on when the budget ended this task, in words; empty if it did not."""


inherited: Final[dict[str, tuple[Work, Search]]] = {}
"""By token: the searches of this process, which those that it forks have, too."""


@lru_cache(maxsize=4)
def _unpacked(pickled: bytes) -> tuple[Work, Search]:
    work: Work = pickle.loads(pickled)
    bypass_watch.adopt(work.root)
    time_limit.set_each(work.each)
    if fingerprint(recorded(work.target).trace) != fingerprint(work.recording.trace):
        raise NotMeasuredError(
            "the workload does something else in a worker process than where it was recorded, so the verdict would "
            "depend on the process. Perhaps the module uses random numbers or the clock when it is imported"
        )
    return work, search_of(work.target, work.recording)


def explore_there(handle: Handle, prefixes: list[ChoicePath], seconds: float, left: Left) -> Batch:
    """``explore_some`` in a worker, which keeps its search."""
    try:
        return explore_some(*(inherited.get(handle.token) or _unpacked(handle.pickled)), prefixes, seconds, left)
    finally:
        workers.idle()


def explore_some(work: Work, search: Search, prefixes: list[ChoicePath], seconds: float, left: Left) -> Batch:
    """Runs ``prefixes`` and what follows from them, depth first, for about so many seconds, never more than ``left``.

    What was not done when that ended it is still waiting.
    """
    batch = Batch(waiting=list(prefixes), recoveries_max=left.recoveries)
    with many_runs():
        _explore(batch, work, search, seconds, left.seconds)
    return batch


def _explore(batch: Batch, work: Work, search: Search, seconds: float, left: float | None) -> None:
    started = time.monotonic()
    while batch.waiting and (not batch.recoveries or time.monotonic() < started + seconds):
        prefix = batch.waiting.pop()
        budget = time_limit.Limit(None if left is None else left - (time.monotonic() - started))
        try:
            with budget:
                _explore_one(batch, work, search, prefix)
        except OutOfRecoveries:
            batch.waiting.append(prefix)
            break
        except time_limit.OutOfTime as error:
            if error.limit is not budget:
                raise
            batch.waiting.append(prefix)
            if budget.seconds > _LONG_SECONDS:
                batch.unended = f"one run of it had gone on for {budget.seconds:.1f} s by then"
            break
        if batch.bad and not work.keep_going:
            break


def _explore_one(batch: Batch, work: Work, search: Search, prefix: ChoicePath) -> None:
    workers.alive()
    execution = search.run(prefix, nested=work.depth > 0)
    siblings = list(execution.siblings())
    _account(batch, execution, Origin())
    below = _descend(batch, search, execution, work.depth, Origin())
    with time_limit.uninterrupted():
        batch.waiting.extend(siblings)
        batch.nested_searches.update(below)
        batch.executions.append(execution)


def again(token: str, origin: Origin, path: ChoicePath) -> tuple[ChoicePath, Problem | None]:
    """An execution that was done, done again: the choices it makes now, and what it says."""
    search = find(inherited[token][1], origin)
    outcome = search.run(path, nested=False).outcome
    return outcome.choices, outcome.problem


def _account(batch: Batch, execution: Execution, origin: Origin) -> None:
    workers.alive()
    if batch.recoveries_max is not None and batch.recoveries >= batch.recoveries_max > 0:
        raise OutOfRecoveries
    batch.recoveries += 1
    batch.nested += bool(origin.crashes)
    if execution.outcome.problem is not None:
        batch.bad.append((origin, execution))


def _descend(
    batch: Batch, search: Search, execution: Execution, depth: int, origin: Origin
) -> dict[ChoicePath, SearchRecord]:
    """Explores every way in which this execution's recovery can be cut off, and forgets these crashes."""
    result: dict[ChoicePath, SearchRecord] = {}
    if depth == 0:
        return result
    for index, (crash, inner) in enumerate(
        zip(execution.recovery_crashes, nested_searches(search, execution), strict=True)
    ):
        there = Origin((*origin.crashes, (execution.prefix, index)))
        done = result[crash.choices] = SearchRecord(crash.layer)
        for inner_execution in all_executions(inner, nested=depth > 1):
            _account(batch, inner_execution, there)
            done.nested_searches.update(_descend(batch, inner, inner_execution, depth - 1, there))
            done.executions.append(inner_execution)
    execution.recovery_crashes = []
    return result


def find(search: Search, origin: Origin) -> Search:
    """The search at ``origin``, done again."""
    for prefix, index in origin.crashes:
        execution = search.run(prefix, nested=True)
        search = list(nested_searches(search, execution))[index]
    return search
