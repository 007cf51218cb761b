"""The certificate: a second opinion on a search, from the raw trace and from what the search says it did.

    check(search, trace, first=0, last=None, depth=0, rules=rules(options)) -> Certificate

raises :class:`RefusedError` with the reason. ``search`` is a :class:`SearchRecord`: the layer that its executions
started from, the executions, and by the choices behind which recovery was cut off (``RecoveryCrash.choices``) the
nested search for that, itself a SearchRecord. The same one may stand for several crashes in recovery, if they are the
same; that is checked for each.

What is checked:

- Legal sets are recomputed by :mod:`untorn.explore.certificate.rules`, and those of the search's layers must be the
  same. Of these layers only the order of values and the bounds of classes are used.
- From the root on, at every node the parts of a question are disjoint and together exactly what is legal here, every
  branch is there, none stands for nothing, and no two groups of verified sectors overlap.
- At every leaf of the tree, what its outcome says that is left is what is left.
- For each crash point the ways that the outcomes leave, counted exactly, add up to all ways that the trace allows. Of
  several layers that are cut off one after the other, for each crash point of each.
- Every crash point of a recovery at which something it did is legal was explored, as deep as asked; executions that
  made the same choices did the same.
- The acknowledgements that each class of crash points was given are those of the trace.

What it takes on trust: that an execution whose answer was "one of these values" would have gone the same way for each
of them. That is so if recovery is deterministic and looks at the disk only through its storage.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any, Final

from untorn.crashmodel.disk_image import Image
from untorn.crashmodel.trace import Operation, Trace
from untorn.explore.certificate.counting import CheckedLayer, CheckedState, Group, RefusedError, checked_layer
from untorn.explore.certificate.initial_disk import ImageStart, UndecidedError
from untorn.explore.certificate.nested_disk import Held
from untorn.explore.certificate.rules import Sweep
from untorn.explore.search_record import AskDigest, AskValue, ChoicePath, Execution, Layer, Question, SearchRecord
from untorn.sizes import SECTOR

_CHANGES: Final = frozenset(
    [
        "allocate", "link", "mkdir", "open", "pwritev", "removexattr", "rename", "rmdir", "set_owner", "set_times",
        "setxattr", "symlink", "tmpfile", "truncate", "unlink",
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Certificate:
    """Every state was explored."""

    states: int
    """Pairs of a crash point and a value for every variable; crash points that no legal set tells apart count once."""
    recoveries: int
    nested_states: tuple[int, ...]
    """By depth, from 1 on: the same for recoveries that are cut off."""
    nested_recoveries: tuple[int, ...]
    scope: tuple[str, ...]


def check(
    search: SearchRecord,
    trace: Trace,
    *,
    rules: Mapping[str, Any],
    first: int = 0,
    last: int | None = None,
    depth: int = 0,
) -> Certificate:
    """Certifies the search over crash points ``first`` to ``last`` of a trace, with ``depth`` crashes in recovery."""
    end = trace.now if last is None else last
    unit = rules.get("sector", SECTOR)
    checker = _Checker(trace.image, rules, depth)
    try:
        layer = checked_layer(Sweep(trace.operations, ImageStart(trace.image, unit), end, **rules), search.layer, end)
        if search.layer.class_starts[0] != first:
            raise RefusedError(f"the search begins at event {search.layer.class_starts[0]} and not at {first}")
        _check_acknowledgements(search.layer, trace, end)
        checker.search(search, CheckedState.first(layer), 0)
    except UndecidedError as error:
        raise RefusedError(str(error)) from error
    range_ = "" if (first, end) == (0, trace.now) else f", crash points {first} to {end} of {trace.now}"
    scope = (
        f"this trace and this schedule: {len(trace.operations)} operations{range_}",
        "this model: " + ", ".join(_rule(name, value) for name, value in sorted(rules.items())),
        f"crashes in recovery: {depth} deep" if depth else "no crash in recovery",
        "no digest collisions: of contents that never were in the cache together none has a digest that was asked for",
        "crash points that no legal set tells apart count once",
    )
    return Certificate(
        checker.states[0], checker.recoveries[0], tuple(checker.states[1:]), tuple(checker.recoveries[1:]), scope
    )


def _check_acknowledgements(layer: Layer, trace: Trace, last: int) -> None:
    told = [o for o in trace.operations if o.name == "acknowledge" and o.completed is not None and o.completed <= last]
    times = [o.completed or 0 for o in told]
    if any(low >= high for low, high in pairwise(times)):
        raise RefusedError("acknowledgements overtake one another")
    if any(time > layer.class_starts[0] and time not in layer.class_starts for time in times):
        raise RefusedError("crash points that an acknowledgement tells apart are one class of the search")
    if layer.acknowledgements != [o.arguments[0] for o in told]:
        raise RefusedError("the search had other acknowledgements than the trace")
    if layer.acknowledged != [bisect.bisect_right(times, start) for start in layer.class_starts]:
        raise RefusedError("the search had acknowledgements at the wrong crash points")


@dataclass
class _Tree:
    """The executions of a search by the choices that lead to each of their questions."""

    nodes: dict[ChoicePath, tuple[Question, int, Execution]] = field(default_factory=dict)
    leaves: dict[ChoicePath, Execution] = field(default_factory=dict)

    def add(self, execution: Execution) -> None:
        path = execution.outcome.choices
        known = len(path) - len(execution.questions)
        if known < 0 or path in self.leaves:
            raise RefusedError(f"the run {path} is there twice")
        if any(path[known:]):
            raise RefusedError(f"the run {path} did not take the first branch of a new question")
        self.leaves[path] = execution
        for at, (question, branches) in enumerate(execution.questions):
            if path[: known + at] in self.nodes:
                raise RefusedError(f"the question behind {path[: known + at]} is there twice")
            self.nodes[path[: known + at]] = question, branches, execution


class _Checker:
    """Walks the trees; counts what it has seen by depth."""

    def __init__(self, image: Image, rules: Mapping[str, Any], depth: int) -> None:
        self._image = image
        self._rules = rules
        self._depth = depth
        self.states = [0] * (depth + 1)
        self.recoveries = [0] * (depth + 1)
        self._done: dict[Any, list[tuple[int, int]]] = {}
        """By search and the state that it starts from: what it added to states and recoveries."""

    def search(self, search: SearchRecord, start: CheckedState, depth: int) -> None:
        """Checks one search that starts from a state."""
        tree = _Tree()
        for execution in search.executions:
            tree.add(execution)
        sums: list[dict[int, int]] = [dict.fromkeys(counts, 0) for counts in start.counts()]
        waiting: list[tuple[ChoicePath, CheckedState, Execution | None]] = [((), start, None)]
        met = 0
        while waiting:
            prefix, state, parent = waiting.pop()
            met += 1
            if prefix in tree.leaves:
                execution = tree.leaves[prefix]
                wrong = state.differs(execution.outcome.end)
                if wrong:
                    raise RefusedError(f"the run {prefix} does not stand for {wrong} that are left to it")
                _add_up(sums, state)
            elif prefix in tree.nodes:
                question, branches, execution = tree.nodes[prefix]
                for branch, child in enumerate(_children(state, question, branches)):
                    waiting.append(((*prefix, branch), child, execution))
            else:
                raise RefusedError(f"no run took the choices {prefix}")
            if depth < self._depth:
                self._cut_off(search, prefix, state, execution, parent, depth + 1)
        if met != len(tree.nodes) + len(tree.leaves):
            raise RefusedError("there are runs which no question leads to")
        if sums != _all_ways(start):
            raise RefusedError("what the runs stand for does not add up")
        self.states[depth] += start.ways
        self.recoveries[depth] += len(tree.leaves)

    # Recovery that is cut off

    def _cut_off(
        self,
        search: SearchRecord,
        prefix: ChoicePath,
        state: CheckedState,
        execution: Execution,
        parent: Execution | None,
        depth: int,
    ) -> None:
        """Checks that recovery was cut off everywhere between the last of these choices and the next."""
        at = len(prefix)
        if parent is not None and parent is not execution:
            _check_same(parent, execution, at)
        if at >= len(execution.choice_events):
            if not execution.choice_events:
                raise RefusedError(f"what the run {prefix} did is not known")
            return
        first, last = execution.choice_events[at - 1] + 1 if at else 1, execution.choice_events[at]
        changes = any(alters(o) and o.issued <= last for o in execution.operations)
        if last < first or not changes:
            return
        sweep = Sweep(
            execution.operations, Held(state, self._image, self._rules.get("sector", SECTOR)), last, **self._rules
        )
        bounds = {bound for spans in sweep.spans().values() for span in spans for bound in (span.since, span.until)}
        needed = min((bound for bound in bounds if first <= bound <= last), default=None)
        inner = search.nested_searches.get(prefix)
        if inner is None:
            if needed is None:
                return  # a crash here leaves nothing that one before the last choice does not leave
            raise RefusedError(f"a crash at event {needed} of recovery, after the choices {prefix}, was not explored")
        if inner.layer.class_starts[0] < first or (needed is not None and inner.layer.class_starts[0] > needed):
            raise RefusedError(f"crashes in recovery after the choices {prefix} were not explored from {needed} on")
        layer = checked_layer(sweep, inner.layer, last)
        self._once(inner, state.above(layer), depth)

    def _once(self, search: SearchRecord, start: CheckedState, depth: int) -> None:
        """Checks a search from a state, unless it has been checked from just this state before."""
        key = (id(search), depth, _fingerprint(start))
        before = list(zip(self.states, self.recoveries, strict=True))
        if key in self._done:
            for at, (states, recoveries) in enumerate(self._done[key]):
                self.states[at] += states
                self.recoveries[at] += recoveries
            return
        self.search(search, start, depth)
        after = zip(self.states, self.recoveries, strict=True)
        self._done[key] = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(before, after, strict=True)]


def _children(state: CheckedState, question: Question, branches: int) -> list[CheckedState]:
    """The states behind a question, one for each branch, if these are all and share nothing."""
    if isinstance(question, AskValue):
        legal = state.legal(question.key)
        named = [value for part in question.parts for value in part]
        if sorted(named) != sorted(legal) or not all(question.parts):
            raise RefusedError(f"the branches for {question.key[1]} are not the legal values, each once")
        children = [state.narrowed(question.key, part) for part in question.parts]
    elif isinstance(question, AskDigest):
        members = _verified(state, question)
        children = [state.matched(members), state.mismatched(members)]
    else:
        mask, named_mask = state.masks[question.depth], 0
        for part in question.parts:
            if part & named_mask:
                raise RefusedError("the branches for the crash point share one")
            named_mask |= part
        if mask != named_mask:
            raise RefusedError("the branches for the crash point are not all that are left")
        children = [state.within(question.depth, part) for part in question.parts]
    if branches != len(children) or not all(all(child.masks) for child in children):
        raise RefusedError("a question has a branch too many or too few")
    return children


def _verified(state: CheckedState, question: AskDigest) -> Group:
    members = {key: frozenset(matching) for key, matching in question.members}
    if len(members) != len(question.members) or any(key[0] for key in members):
        raise RefusedError("verified sectors are named twice, or lie in a recovery")
    if any(state.group(key) is not None for key in members):
        raise RefusedError("overlapping verified groups")
    return members


def _add_up(sums: list[dict[int, int]], state: CheckedState) -> None:
    """Adds the ways that an outcome leaves, by layer and class."""
    left = state.counts()
    ways = [sum(counts.values()) for counts in left]
    for depth, counts in enumerate(left):
        others = prod(ways[:depth]) * prod(ways[depth + 1 :])
        for at, count in counts.items():
            sums[depth][at] += count * others


def _all_ways(start: CheckedState) -> list[dict[int, int]]:
    result: list[dict[int, int]] = [dict.fromkeys(counts, 0) for counts in start.counts()]
    _add_up(result, start)
    return result


def alters(operation: Operation) -> bool:
    """Whether it changes what is on the disk, or tries to."""
    return operation.name in _CHANGES and (operation.name != "open" or operation.arguments[2])


def _check_same(one: Execution, other: Execution, choices: int) -> None:
    """Two executions that made the same choices must have done the same before the last of them."""
    if one.choice_events[:choices] != other.choice_events[:choices]:
        raise RefusedError("two runs with the same choices did not do the same")
    if not choices or not one.choice_events:
        return
    last = one.choice_events[min(choices, len(one.choice_events)) - 1]
    if _deeds(one.operations, last) != _deeds(other.operations, last):
        raise RefusedError("two runs with the same choices did not do the same")


def _deeds(operations: Sequence[Operation], last: int) -> list[Any]:
    return [(o.name, o.path, o.inode, o.arguments, o.issued, o.error) for o in operations if o.issued <= last]


def _fingerprint(state: CheckedState) -> Any:
    """What a state is, but for the layers below, which are one object wherever they are the same."""
    top: CheckedLayer = state.layers[-1]
    domains = {
        key: tuple(at for at in domain if state.values(key).legal_classes[at] & state.masks[key[0]])
        for key, domain in state.domains.items()
    }
    return (
        tuple(id(layer) for layer in state.layers[:-1]), tuple(top.class_starts), state.masks,
        frozenset((variable, found.legal_classes) for variable, found in top.values.items()),
        frozenset((number, tuple(found)) for number, found in top.births.items()),
        frozenset(domains.items()), frozenset(frozenset(group.items()) for group in state.groups),
    )  # fmt: skip


def _rule(name: str, value: object) -> str:
    """A rule of the machine in words."""
    if name == "powersafe":
        return "a sector in flight is left old or new" if value else "a sector in flight may turn to garbage"
    return f"{name}s of {value} bytes" if name in ("block", "sector") else f"{name} {value}"
