"""The crash of a counterexample once more, on a plain disk and without the search: does it really come to the same?

The values that it names are put into the rules' own image of the disk (:meth:`History.image`, which power cuts use);
recovery runs there, is cut off in the same way as often as it says, and then recovery and check run. Nothing
here is lazy, and no question, mask or layer of the search is asked but for what the counterexample itself names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from untorn.crashmodel.disk_image import Image
from untorn.crashmodel.machine import Disk
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Trace
from untorn.crashmodel.variables import Choose, Value, Variable, members
from untorn.explore.lazy.layers import rules
from untorn.explore.search.engine import NO_VERDICT, Search, problem_of
from untorn.explore.search.pinned_state import Baseline, PinnedState
from untorn.explore.search.recovery_crashes import LOOKS
from untorn.explore.search_record import INHERITED, ORDER, Problem
from untorn.explore.time_limit import one_run


def confirmed_problem(search: Search, state: PinnedState) -> Problem | None:
    """What recovery and check say after the crashes of a state, for real."""
    shared, options = search.shared, search.shared.options
    trace, highest = shared.layers[0].trace, 0
    told = [
        o.arguments[0]
        for o in trace.operations
        if o.name == "acknowledge" and _done(o.completed, _event(search, state, 0))
    ]
    storage = SimulatedStorage()
    for depth in range(len(shared.layers)):
        highest = max([highest, *trace.image.inodes, *(operation.inode for operation in trace.operations)])
        image = _image(search, state, depth, trace)
        disk = Disk(image, options, depth + 1)
        disk.time_ns, disk.inodes = shared.time_ns, highest
        disk.backwards = (0, ORDER) in state.deviations
        storage = SimulatedStorage(disk)
        try:
            one_run("recover", search.target.recover, storage)
        except NO_VERDICT:
            raise
        except BaseException as error:
            problem = problem_of(error, "recover")
            if depth == len(shared.layers) - 1:
                return problem
        trace = storage.trace
    storage.kill_process()
    try:
        one_run("check", search.target.check, storage, _answer(told))
    except NO_VERDICT:
        raise
    except BaseException as error:
        return problem_of(error, "check")
    return None


def _event(search: Search, state: PinnedState, depth: int) -> int:
    return search.shared.layers[depth].class_starts[state.classes[depth]]


def _same_moment(told: Trace, event: int, trace: Trace) -> int:
    """The event of a trace that is as far as ``event`` of the told one, which knows of declared reads nothing."""
    if told is trace:
        return event
    reached = sum(one <= event for one in _steps(told))
    here = _steps(trace)
    return here[min(reached, len(here)) - 1] if reached and here else 0  # it may have done less here


def _steps(trace: Trace) -> list[int]:
    """The events of all operations that do more than look."""
    doing = [operation for operation in trace.operations if operation.name not in LOOKS]
    return sorted(event for one in doing for event in (one.issued, one.completed) if event is not None)


def _done(completed: int | None, event: int) -> bool:
    return completed is not None and completed <= event


def _image(search: Search, state: PinnedState, depth: int, trace: Trace) -> Image:
    """The disk that the crash of the layer at ``depth`` leaves."""
    history = History(trace, **rules(search.shared.options))
    history.advance(_same_moment(search.shared.layers[depth].trace, _event(search, state, depth), trace))
    return history.image(_chooser(search, state, depth))


def _chooser(search: Search, state: PinnedState, depth: int) -> Choose:
    """Chooses as the counterexample says. What it says of several variables together is looked up for each by itself,
    for by the time of the crash the rules may not have seen yet that they belong together."""
    alternatives = search.shared.layers[depth].alternatives
    usual = -1 if state.baseline is Baseline.NEWEST else 0
    owners = {
        member: (owner, place if isinstance(owner.key, tuple) else None)
        for owner in alternatives
        for place, member in enumerate(members(owner))
    }

    def choose(variable: Variable, legal: Sequence[Value]) -> int:
        found = [owners.get(member, (member, None)) for member in members(variable)]
        at = state.deviations.get((depth, found[0][0]))
        if at is None:
            return usual
        told = alternatives[found[0][0]].values[at]
        if told is INHERITED:
            return 0
        wanted = tuple(told if place is None else told[place] for _, place in found)
        value = wanted if isinstance(variable.key, tuple) else wanted[0]
        return legal.index(value) if value in legal else usual

    return choose


def _answer(told: Sequence[Any]) -> Any:
    def answer(classify: Callable[[Sequence[Any]], Any] | None = None) -> Any:
        return classify(told) if classify else told

    return answer
