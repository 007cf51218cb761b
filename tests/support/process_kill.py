"""Death of the process: the cache stays as it was, and nothing in it is more durable than before.

The next process recovers what the cache shows, on the same machine. Its work goes into the same trace, so that a power
failure at any point from the death on is explored as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from untorn.crashmodel.disk_image import PAGE
from untorn.crashmodel.machine import Disk
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Operation, Trace
from untorn.crashmodel.variables import newest
from untorn.explore.lazy.layers import rules
from untorn.explore.search.engine import Recording, problem_of, recording_of
from untorn.explore.search_record import Problem
from untorn.explore.targets.protocol import Target
from untorn.storage.interface import RWF_DSYNC, RWF_SYNC

SURVIVED: Final = ("survived", 0)
"""Acknowledged when the process after the one that died has recovered: what the cache had is on disk from then on."""

_SYNCS: Final = frozenset(["fdatasync", "fsync", "sync_directory"])
_CHANGES: Final = _SYNCS | {
    "allocate", "open", "pwritev", "removexattr", "rename", "set_owner", "setxattr", "truncate", "unlink"
}  # fmt: skip


class Death(NamedTuple):
    """One death of the process, and all that came after it."""

    event: int
    half: bool
    """Only the first half of a write that was on its way had come through."""
    problem: Problem | None
    """What is bad although the power did not fail."""
    recording: Recording
    """To be explored from the death on."""


def deaths(target: Target, recording: Recording) -> Iterator[Death]:
    """The deaths of the recorded process: before each operation that changes something, within each, and at the end."""
    for operation in recording.trace.operations:
        if operation.name not in _CHANGES or (operation.name == "open" and not operation.arguments[2]):
            continue
        yield _death(target, recording, operation.issued - 1)
        if operation.name not in _SYNCS:
            yield _death(target, recording, operation.issued)
        if operation.name == "pwritev" and _half(operation):
            yield _death(target, recording, operation.issued, half=True)
    yield _death(target, recording, recording.trace.now)


def _death(target: Target, recording: Recording, event: int, *, half: bool = False) -> Death:
    machine = dead_at(recording, event, half=half)
    told = [o.arguments[0] for o in machine.trace.operations if o.name == "acknowledge"]
    problem = None
    try:
        target.recover(machine)
        machine.kill_process()
        machine.acknowledge(SURVIVED)
        target.check(machine, _answer([*told, SURVIVED]))
    except Exception as error:
        problem = problem_of(error, "after the death of the process")
    machine.kill_process()
    return Death(event, half, problem, recording_of(machine, event))


def _answer(told: Sequence[Any]) -> Any:
    def answer(classify: Callable[[Sequence[Any]], Any] | None = None) -> Any:
        return classify(told) if classify else told

    return answer


def dead_at(recording: Recording, event: int, *, half: bool = False) -> SimulatedStorage:
    """The machine whose process died just after ``event``, as the next process finds it."""
    whole = recording.trace
    trace = Trace(whole.image)
    trace.operations = [
        _as_of(event, operation, half=half) for operation in whole.operations if operation.issued <= event
    ]
    trace.now = max([event, *(operation.completed or 0 for operation in trace.operations)])
    history = History(trace, **rules(recording.options))
    history.advance(trace.now)
    disk = Disk(history.image(newest), recording.options, generation=-1)
    disk.trace = trace
    disk.time_ns = max(disk.time_ns, recording.time_ns)
    disk.inodes = max([disk.inodes, *(operation.inode for operation in trace.operations)])
    return SimulatedStorage(disk)


def _as_of(event: int, operation: Operation, *, half: bool) -> Operation:
    """The operation as far as it had come. A call that is on its way ends before the process does; a sync does not."""
    if operation.completed is not None and operation.completed <= event:
        return operation
    if operation.name in _SYNCS:
        return replace(operation, completed=None)
    arguments, result = operation.arguments, operation.result
    if operation.name == "pwritev":
        offset, data, flags = arguments
        data = data[: _half(operation)] if half else data
        arguments, result = (offset, data, flags & ~(RWF_DSYNC | RWF_SYNC)), len(data)
    return replace(operation, arguments=arguments, completed=event + 1, result=result)


def _half(operation: Operation) -> int:
    """Bytes in the first half of a write's pages; 0 of a write within one page, which the cache takes whole."""
    offset, data, _ = operation.arguments
    first, last = offset // PAGE, (offset + len(data) - 1) // PAGE
    return max(((first + last + 1) // 2) * PAGE - offset, 0) if last > first else 0
