"""A minimal bad state, told in words: which operation, from where in the program, and what became of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from untorn.crashmodel.trace import Operation, Site
from untorn.crashmodel.variables import GARBAGE, Variable, members
from untorn.explore.counterexample.confirm import confirmed_problem
from untorn.explore.counterexample.file_diff import survivals
from untorn.explore.counterexample.name_changes import missing, namings, showing
from untorn.explore.counterexample.shrink import Shrinker, Shrunk
from untorn.explore.result import Counterexample, Deviation
from untorn.explore.search.pinned_state import Baseline, PinnedState
from untorn.explore.search.recovery_crashes import LOOKS
from untorn.explore.search_record import ORDER, Key, Layer
from untorn.sizes import SECTOR

_FATES = {"lost": "lost", "torn": "lost", "garbage": "turned to garbage"}
_METADATA = frozenset({"name", "names", "size", "xattr", "mtime", "mode", "gid"})


def explain(shrinker: Shrinker, shrunk: Shrunk, *, crash: str = "power") -> Counterexample:
    """The counterexample that a shrunk state is, told in words."""
    layers = shrinker.layers
    state = shrunk.state
    deviations = _deviations(shrinker, state)
    after = [_index(layer, layer.class_starts[at]) for layer, at in zip(layers, state.classes, strict=True)]
    kind = _kind(layers, state, deviations)
    lines = []
    for depth, (layer, index) in enumerate(zip(layers, after, strict=True)):
        what = "The power fails" if depth == 0 else "Recovery begins, and the power fails again"
        if crash == "process" and depth == 0:
            what = "The process has died; the power fails"
        lines.append(f"{what} {_moment(layer, index)}.")
        here = [deviation for deviation, at in deviations if at == depth]
        lines += _fates(state, here)
    problem = shrunk.problem
    if (0, ORDER) in state.deviations:
        lines.append("Directories are listed backwards: no order is promised.")
    lines.append(f"Then {problem.stage} says: {problem.kind}: {problem.message}".rstrip(": "))
    lines += _doubts(shrinker, shrunk)
    return Counterexample(
        kind, problem, crash, layers[0].class_starts[state.classes[0]], after[0],
        [deviation for deviation, _ in deviations], "\n".join(lines), files=survivals(shrinker.search, state),
    )  # fmt: skip


def _doubts(shrinker: Shrinker, shrunk: Shrunk) -> list[str]:
    """What is to be said if the same crash comes to something else on a plain disk."""
    problem, found = shrunk.problem, confirmed_problem(shrinker.search, shrunk.state)
    if found is not None and (found.kind, found.stage, found.place) == (problem.kind, problem.stage, problem.place):
        return []
    instead = "nothing bad came of it" if found is None else f"{found.stage} said: {found.kind}: {found.message}"
    return [
        f"This story could not be confirmed: replayed without the search, {instead}. A bad state was found all the "
        "same; recovery or check may do something else each time, or this is a fault of untorn."
    ]


def _fates(state: PinnedState, deviations: Sequence[Deviation]) -> list[str]:
    if state.baseline is Baseline.NEWEST:
        lines = [f"  {_FATES[one.fate]}: {one.what}{_at(one.site)}" for one in deviations]
        return lines or ["  all that was issued until then is on the disk"]
    lines = [f"  on the disk before its turn: {one.what}{_at(one.site)}" for one in deviations]
    return [*lines, "  of all that was not synced nothing else is on the disk"]


def _at(site: str) -> str:
    return f" ({site})" if site else ""


def _moment(layer: Layer, index: int) -> str:
    if index < 0:
        return "before anything is done"
    operation = layer.trace.operations[index]
    return f"after operation {index}, {describe(operation)}{_at(site_of(operation.site))}"


def _index(layer: Layer, event: int) -> int:
    """Index of the last operation issued by ``event``."""
    operations = layer.trace.operations
    return max((at for at, operation in enumerate(operations) if operation.issued <= event), default=-1)


def site_of(site: Site | None) -> str:
    """file:line in function, and from where if that is not the program's own."""
    if site is None:
        return ""
    here = f"{os.path.basename(site.file)}:{site.line} in {site.function}"
    return f"{here}, from {site_of(site.caller)}" if site.caller else here


def describe(operation: Operation) -> str:
    """One operation in a few words."""
    path, arguments = operation.path, operation.arguments
    match operation.name:
        case "pwritev":
            text = f"write of {len(arguments[1])} bytes at {arguments[0]} to {path}"
        case "truncate":
            text = f"truncate of {path} to {arguments[0]} bytes"
        case "allocate":
            text = f"allocate of {arguments[1]} bytes at {arguments[0]} of {path}"
        case "rename" | "link":
            text = f"{operation.name} of {path} to {arguments[0]}"
        case "open":
            text = f"{'creation' if arguments[2] else 'open'} of {path}"
        case "tmpfile":
            text = f"creation of a file without a name in {path}"
        case "setxattr" | "removexattr":
            text = f"{operation.name} {arguments[0]} of {path}"
        case "acknowledge":
            text = f"acknowledgement of {arguments[0]!r}"
        case name:
            text = f"{name} of {path}"
    return text if operation.error is None else f"{text}, which failed ({os.strerror(operation.error)})"


def _deviations(shrinker: Shrinker, state: PinnedState) -> list[tuple[Deviation, int]]:
    by_operation: dict[tuple[int, int], list[Key]] = {}
    for key, about in shrinker.operations_of(state).items():
        if key[1] == ORDER:  # that is no operation
            continue
        by_operation.setdefault(about, []).append(key)
    result = []
    for (depth, event), keys in sorted(by_operation.items()):
        layer = shrinker.layers[depth]
        index = _index(layer, event)
        operation = layer.trace.operations[index]
        values = [layer.alternatives[key[1]].values[state.deviations[key]] for key in keys]
        passed = _passed(operation, keys, values)
        what, sectors = _what(operation, keys, passed)
        if all(key[1].kind in ("name", "names") for key in keys):
            what = _names(layer, layer.class_starts[state.classes[depth]], keys, values, state.baseline) or what
        fate = "lost" if state.baseline is Baseline.NEWEST else "early"
        if any(value == GARBAGE for value in values):
            fate = "garbage"
        elif fate == "lost" and (sectors[0] < sectors[1] if sectors and sectors[0] else not sectors and passed):
            fate = "torn"
        elif sectors is not None and fate == "early":
            sectors = sectors[1] - sectors[0], sectors[1]
        result.append((Deviation(index, what, fate, site_of(operation.site), sectors), depth))
    return result


def _passed(operation: Operation, keys: Sequence[Key], values: Sequence[Any]) -> int | None:
    """The size to which a write had moved the end on its way to its own; None if it did so wholly or not at all."""
    if operation.name != "pwritev":
        return None
    end = operation.arguments[0] + len(operation.arguments[1])
    sizes = [value for key, value in zip(keys, values, strict=True) if key[1].kind == "size" and isinstance(value, int)]
    return next((size for size in sizes if operation.arguments[0] < size < end), None)


def _what(operation: Operation, keys: Sequence[Key], passed: int | None) -> tuple[str, tuple[int, int] | None]:
    """The operation and the part of it that deviates; of a write (sectors that survive, sectors in all)."""
    text = describe(operation)
    data = [key for key in keys if key[1].kind in ("sector", "sectors")]
    others = sorted({_metadata(key) for key in keys if key not in data})
    if passed is not None:
        others = [f"the size beyond {passed} bytes" if other == "the size" else other for other in others]
    parts: list[str] = []
    sectors = None
    if data and operation.name == "pwritev":
        offset, content, _ = operation.arguments
        total = (offset + max(len(content), 1) - 1) // SECTOR - offset // SECTOR + 1
        sectors = total - len(data), total
        if len(data) == total:  # where the file ends then is the least of it
            others = [other for other in others if not other.startswith("the size")]
        else:
            which = ", ".join(str(key[1].key) for key in sorted(data, key=lambda key: str(key[1].key))[:4])
            parts.append(f"sector {which}" if len(data) == 1 else f"{len(data)} of {total} sectors")
    parts += others
    return f"{' and '.join(parts)} of the {text}" if parts else text, sectors


def _names(layer: Layer, event: int, keys: Sequence[Key], values: Sequence[Any], baseline: Baseline) -> str:
    """What was done to names until the crash and is lost, or over the oldest what has come."""
    left: dict[Variable, Any] = {}
    for key, value in zip(keys, values, strict=True):
        left |= zip(members(key[1]), value if key[1].kind == "names" else (value,), strict=True)
    operations = layer.trace.operations
    done = [one for one in namings(layer.trace) if operations[one.at].issued <= event]
    told = missing(done, left) if baseline is Baseline.NEWEST else showing(done, left)
    parts = []
    for index in sorted({one.at for one in told}):
        operation, some = operations[index], [one for one in told if one.at == index]
        text = describe(operation)
        whole = operation.name == "rename" and (len(some) == 2 or _is_directory(layer, operation.inode))
        if not whole:
            text = f"the name {some[0].path} of the {text}"
        parts.append((text, _at(site_of(operations[index].site))))
    return " and ".join([*(text + at for text, at in parts[:-1]), *(text for text, _ in parts[-1:])])


def _is_directory(layer: Layer, number: int) -> bool:
    known = layer.trace.image.inodes.get(number)
    return known.is_directory if known else any(o.name == "mkdir" and o.inode == number for o in layer.trace.operations)


def _metadata(key: Key) -> str:
    variable = key[1]
    match variable.kind:
        case "name":
            return f"the name {variable.key}"
        case "names":
            return "the names " + ", ".join(str(member.key) for member in members(variable))
        case "size":
            return "the size"
        case "xattr":
            return f"the attribute {variable.key}"
        case "mtime":
            return "the time"
        case kind:
            return f"the {kind}"


def _kind(layers: Sequence[Layer], state: PinnedState, deviations: Sequence[tuple[Deviation, int]]) -> str:
    if any(
        one.fate == "torn" or (one.sectors is not None and 0 < one.sectors[0] < one.sectors[1]) for one, _ in deviations
    ):
        return "torn"
    if not deviations and (0, ORDER) in state.deviations:
        return "listing order"
    if not deviations:
        return "lost sync" if state.baseline is Baseline.OLDEST else "cut short"
    if state.baseline is Baseline.OLDEST:
        return "reordered"
    kinds = {key[1].kind for key in state.deviations if key[1] != ORDER}
    if kinds <= _METADATA:
        return "lost metadata"
    lost = {(depth, one.operation) for one, depth in deviations}
    for depth, layer in enumerate(layers):
        first = min((index for at, index in lost if at == depth), default=None)
        last = _index(layer, layer.class_starts[state.classes[depth]])
        if first is not None and any(
            _changes(operation) and (depth, index) not in lost
            for index, operation in enumerate(layer.trace.operations[first + 1 : last + 1], first + 1)
        ):
            return "reordered"
    return "lost sync"


def _changes(operation: Operation) -> bool:
    syncs = ("fsync", "fdatasync", "sync_directory")
    opens_only = operation.name == "open" and not operation.arguments[2]
    return operation.name not in LOOKS and operation.name not in syncs and not opens_only


def summary(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """A trace for reports: what, where, when and from where in the program; no content."""
    result = []
    for index, one in enumerate(operations):
        row: dict[str, Any] = {
            "index": index, "name": one.name, "path": one.path, "issued": one.issued, "completed": one.completed,
            "site": site_of(one.site), "text": describe(one),
        }  # fmt: skip
        if one.error is not None:
            row["error"] = os.strerror(one.error)
        if one.name == "pwritev":
            row["offset"], row["length"] = one.arguments[0], len(one.arguments[1])
        if one.name in ("rename", "link"):
            row["target"] = one.arguments[0]
        if one.name == "open":
            row["created"] = one.arguments[2]
        result.append(row)
    return result
