"""The picture of one search in ``untorn.explore.search``; ``python -m tests.explore.search.picture`` draws it.

Nothing in it is written down here but the words: events, intervals, classes, masks, choices, segments and counts are
those of the real search over the real trace.
"""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Iterator
from math import prod
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Operation
from untorn.crashmodel.variables import Variable
from untorn.explore.certificate.checker import Certificate, check
from untorn.explore.lazy.layers import rules
from untorn.explore.masks import bits
from untorn.explore.search.engine import Search, all_executions, nested_searches, recording_of, search_of
from untorn.explore.search_record import (
    INHERITED,
    ORDER,
    AskDigest,
    AskValue,
    ChoicePath,
    Execution,
    Key,
    Layer,
    Outcome,
    Question,
    SearchRecord,
)
from untorn.explore.targets.protocol import Acknowledged
from untorn.sizes import SECTOR
from untorn.storage.interface import Piece

OLD, NEW = b"O" * SECTOR, b"N" * SECTOR
_DIGEST: Final = xxh3_64_intdigest(NEW * 2, 0)
_COLUMN: Final = 3
_LABEL: Final = 22


class Saved:
    """A file of three sectors: what sectors 1 and 2 hold counts where sector 0 says so and they have their digest."""

    name = "saved"

    def record(self) -> SimulatedStorage:
        machine = SimulatedStorage()
        machine.write_file("/f", OLD * 3)
        file = machine.open("/f", os.O_RDWR)
        file.write([NEW * 2], SECTOR)
        file.write([NEW], 0)
        file.fdatasync()
        machine.acknowledge("saved")
        return machine

    def recover(self, storage: SimulatedStorage) -> None:
        file = storage.open("/f", os.O_RDWR)
        if file.read(SECTOR, 0) == NEW and not file.verify(SECTOR, [Piece(2 * SECTOR, _DIGEST)], 0):
            file.write([OLD], 0)
            file.fdatasync()

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        told = acknowledged()
        assert storage.open("/f", os.O_RDONLY).read(SECTOR, 0) == NEW or not told


class Seen:
    """One search over the target's trace, with all that is nested in it."""

    def __init__(self) -> None:
        target = Saved()
        self.machine = target.record()
        self.search = search_of(target, recording_of(self.machine))
        self.executions = list(all_executions(self.search, nested=True))
        (self.crashed,) = (execution for execution in self.executions if execution.recovery_crashes)
        (self.nested,) = nested_searches(self.search, self.crashed)
        self.nested_executions = list(all_executions(self.nested))

    def certificate(self) -> Certificate:
        (crash,) = self.crashed.recovery_crashes
        nested = SearchRecord(crash.layer, self.nested_executions)
        record = SearchRecord(self.search.shared.layers[0], self.executions, {crash.choices: nested})
        return check(record, self.machine.trace, rules=rules(self.machine.disk.options), depth=1)


# What the picture shows


def stands_for(outcome: Outcome, depth: int, at: int, row: dict[Key, int]) -> bool:
    """Whether an outcome stands for these values of all variables of a layer, after a crash in class ``at``."""
    end = outcome.end
    return (
        bool(end.masks[depth] >> at & 1)
        and all(row[key] in domain for key, domain in end.domains.items() if key in row)
        and not any(
            all(row[key] in matching for key, matching in group.items())
            for group in end.groups
            if group.keys() <= row.keys()
        )
    )


def ways(layer: Layer, depth: int, outcome: Outcome) -> list[int]:
    """By class: how many values of all variables together an outcome stands for, counted one by one."""
    variables = [variable for variable in layer.alternatives if variable != ORDER]
    found = [0] * len(layer.class_starts)
    for at, values in states(layer, variables):
        row = dict(zip([(depth, variable) for variable in variables], values, strict=True))
        found[at] += stands_for(outcome, depth, at, row)
    return found


def states(layer: Layer, variables: list[Variable]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every class with every value of every variable that is legal there."""
    for at in range(len(layer.class_starts)):
        legal = [
            [value for value, mask in enumerate(layer.alternatives[variable].legal_classes) if mask >> at & 1]
            for variable in variables
        ]
        yield from ((at, values) for values in itertools.product(*legal))


def tree(executions: list[Execution]) -> dict[ChoicePath, Question | None]:
    """By choices, in their order: the question behind them, None behind the last one."""
    found: dict[ChoicePath, Question | None] = {}
    for execution in executions:
        for at, (question, _) in enumerate(execution.questions, len(execution.prefix)):
            found[execution.outcome.choices[:at]] = question
        found[execution.outcome.choices] = None
    return {path: found[path] for path in sorted(found)}


# How it shows it


def draw() -> str:
    """The whole picture."""
    seen = Seen()
    layer, recovery = seen.search.shared.layers[0], seen.nested.shared.layers[1]
    certificate = seen.certificate()
    (nested_states,), (nested_recoveries,) = certificate.nested_states, certificate.nested_recoveries
    path = _path(seen.crashed.outcome.choices)
    return "\n".join(
        line.rstrip()
        for line in [
            *_text(
                "THE TRACE of the workload, which is the layer at depth 0. A crash comes just after one of its events, "
                "and leaves of each variable one of the values that have a line there. To the right, the mask of each."
            ),
            *timeline(layer, 0, layer.trace.now),
            *_text(
                "THE TREE of the choices that recovery and check make: the choices so far, the mask of the classes "
                "that are left, and the next question, or the outcome with the domains of what was asked about. Nobody "
                "asked about the time, so that each outcome stands for all times that are legal with it."
            ),
            *branches(seen.search, seen.executions, 0),
            *_text(
                f"THE SEGMENTS of the execution {path} lie between its choices. Only the last changes something, so "
                "there recovery is cut off: this is the layer at depth 1. What did not survive is INHERITED from the "
                "layer below."
            ),
            *timeline(recovery, 1, recovery.trace.now, segments(seen.crashed)),
            *_text(
                "THE NESTED SEARCH runs recovery once more over both layers, from what that execution had decided. "
                "Where sector 0 is INHERITED, it is new, for that is its domain; and that the digest does not match "
                "then says the group, without a question."
            ),
            *branches(seen.nested, seen.nested_executions, 1),
            *_text(
                "THE CERTIFICATE counts the same by its own rules; classes that differ in what was told alone count "
                "once."
            ),
            f"    depth 0: {certificate.states} states in {certificate.recoveries} recoveries",
            f"    depth 1: {nested_states} states in {nested_recoveries} recoveries",
        ]
    ).strip("\n")


def _text(words: str) -> list[str]:
    return ["", *textwrap.wrap(words, 112), ""]


def timeline(layer: Layer, depth: int, last: int, also: list[str] | None = None) -> list[str]:
    """Operations, the interval of each value with its mask, and the classes between them."""
    columns = range(last + 1)
    rows = [_row("event", [str(event) for event in columns])]
    for number, operation in enumerate(layer.trace.operations):
        if operation.completed is not None and operation.completed <= last:
            bar = {operation.issued: "[==", operation.completed: "==]"}
            rows.append(_row(f"{number} {_called(operation)}", [bar.get(at, "") for at in columns]))
    rows += also or []
    for variable, alternatives in layer.alternatives.items():
        if variable == ORDER:
            continue
        for index, value in enumerate(alternatives.values):
            spans = [
                range(since, until)
                for (since, written), until in zip(alternatives.written, alternatives.ends, strict=True)
                if written == index
            ]
            shown = [
                "---" if at >= layer.class_starts[0] and any(at in span for span in spans) else "" for at in columns
            ]
            name = f"{_name(variable) if not index else '':9}{_value(variable, index, value, depth)}"
            rows.append(f"{_row(name, shown)}   {_mask(alternatives.legal_classes[index], layer)}")
    starts = {event: str(number) for number, event in enumerate(layer.class_starts)}
    rows.append(_row("class", [starts.get(at, "") for at in columns]))
    return rows


def segments(execution: Execution) -> list[str]:
    """By choices, where in the trace of recovery the segment behind them lies."""
    choices = execution.outcome.choices
    result = []
    first = 1
    for at, end in enumerate(execution.choice_events[: len(choices) + 1]):
        cells = ["" if not first <= event <= end else "..." for event in range(execution.choice_events[-1] + 1)]
        result.append(_row(f"segment {_path(choices[:at])}", cells))
        first = end + 1
    return result


def branches(search: Search, executions: list[Execution], depth: int) -> list[str]:
    """A line for each place in the tree."""
    layer = search.shared.layers[depth]
    outcomes = {execution.outcome.choices: execution.outcome for execution in executions}
    rows = []
    for path, question in tree(executions).items():
        mask = 0
        for choices, outcome in outcomes.items():
            if choices[: len(path)] == path:
                mask |= outcome.end.masks[depth]
        said = _outcome(search, outcomes[path], depth) if question is None else [_question(search, question)]
        start = f"    {_path(path):10}{_mask(mask, layer):8}{'  ' * len(path)}"
        rows += [f"{start if not at else ' ' * len(start)}{line}" for at, line in enumerate(said)]
    return rows


def _outcome(search: Search, outcome: Outcome, depth: int) -> list[str]:
    counts = [sum(ways(layer, at, outcome)) for at, layer in enumerate(search.shared.layers)]
    times = " x ".join(map(str, counts))
    alternatives = search.shared.layers[depth].alternatives
    domains = []
    for (of, variable), domain in outcome.end.domains.items():
        if of == depth:
            values = alternatives[variable].values
            domains.append(f"{_name(variable)} {' or '.join(_value(variable, at, values[at], depth) for at in domain)}")
    total = times if len(counts) == 1 else f"{times} = {prod(counts)}"
    lines = [f"outcome: {total} ways; {', '.join(domains)}"]
    if not depth:
        groups = [" and ".join(_name(key[1]) for key in group) for group in outcome.end.groups]
        lines += [f"         group: {names} not both new" for names in groups]
    return lines


def _question(search: Search, question: Question) -> str:
    match question:
        case AskValue((depth, variable), parts):
            values = search.shared.layers[depth].alternatives[variable].values
            shown = [" or ".join(_value(variable, at, values[at], depth) for at in part) for part in parts]
            return f"AskValue, {_name(variable)}: " + " | ".join(f"{at} {one}" for at, one in enumerate(shown))
        case AskDigest(members):
            return f"AskDigest, {' and '.join(_name(key[1]) for key, _ in members)}: 0 match | 1 do not all match"
        case _:
            layer = search.shared.layers[question.depth]
            told = [layer.acknowledged[next(bits(part))] for part in question.parts]
            return "AskCrashPoint, told by then: " + " | ".join(
                f"{at} {'saved' if count else 'nothing'}" for at, count in enumerate(told)
            )


def _row(name: str, cells: list[str]) -> str:
    return f"    {name:{_LABEL}}" + "".join(f"{cell:>{_COLUMN}}" for cell in cells)


def _called(operation: Operation) -> str:
    if operation.name != "pwritev":
        return operation.name
    offset, data, _ = operation.arguments
    sectors = range(offset // SECTOR, (offset + len(data)) // SECTOR)
    return f"pwritev {', '.join(map(str, sectors))} {'new' if data[:1] == NEW[:1] else 'old'}"


def _name(variable: Variable) -> str:
    return f"sector {variable.key}" if variable.kind == "sector" else "time"


def _value(variable: Variable, index: int, value: Any, depth: int) -> str:
    if value is INHERITED:
        return "INHERITED"
    if variable.kind == "sector":
        return "old" if value == OLD else "new"
    return f"t{index + 2 * depth}"


def _mask(mask: int, layer: Layer) -> str:
    return "".join(str(at) if mask >> at & 1 else "." for at in range(len(layer.class_starts)))


def _path(choices: ChoicePath) -> str:
    return f"({', '.join(map(str, choices))})"


if __name__ == "__main__":
    print(draw())
