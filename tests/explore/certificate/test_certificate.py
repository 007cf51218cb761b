"""The certificate: what it counts, and that nothing that was tampered with gets one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import pytest
from xxhash import xxh3_64_intdigest

from tests.support.every_state import Case, See, certified, disks, lazily
from tests.support.random_programs import look_at_all
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Operation, Trace
from untorn.crashmodel.variables import Variable
from untorn.explore.certificate.checker import Certificate, check
from untorn.explore.certificate.counting import RefusedError
from untorn.explore.certificate.initial_disk import ImageStart
from untorn.explore.certificate.rules import Sweep
from untorn.explore.lazy.layers import rules
from untorn.explore.search_record import ORDER, AskCrashPoint, AskDigest, AskValue, ChoicePath, Execution, SearchRecord
from untorn.storage.interface import Piece

SECTOR = 512
NEW = b"N" * (2 * SECTOR)


def workload() -> SimulatedStorage:
    """Two sectors are written, a third is told of, a name changes."""
    machine = SimulatedStorage()
    machine.make_directory("/d")
    machine.write_file("/f", b"o" * (3 * SECTOR))
    file = machine.open("/f", os.O_RDWR)
    file.write([NEW], 0)
    machine.acknowledge("begun")
    file.fdatasync()
    machine.acknowledge("durable")
    file.write([b"M" * SECTOR], 2 * SECTOR)
    machine.rename("/f", "/g")
    return machine


def recovery(storage: SimulatedStorage, see: See) -> None:
    """Verifies two sectors, reads the third, marks the file and gives it its old name."""
    names = storage.listdir("/")
    see(tuple(names))
    path = "/g" if "g" in names else "/f"
    file = storage.open(path, os.O_RDWR)
    see(file.verify(0, [Piece(len(NEW), xxh3_64_intdigest(NEW))], 0))
    see(file.read(1, 2 * SECTOR))
    file.setxattr("user.seen", b"1")
    file.fsync()
    if path == "/g":
        storage.rename("/g", "/f")
        storage.sync_directory("/")


class Made:
    """A case and its search, fresh for each test."""

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth
        self.case = Case(workload(), recovery, lambda storage: None)
        self.search: SearchRecord
        _, self.search = lazily(self.case, depth=depth)
        self.trace = self.case.machine.trace

    def check(self, **changed: Any) -> Certificate:
        options = {"rules": rules(self.case.machine.disk.options), "depth": self.depth, **changed}
        return check(self.search, self.trace, **options)

    def run_with(self, kind: type) -> tuple[Execution, int]:
        """A run that met a question of a kind, and which one it was."""
        for execution in self.search.executions:
            for at, (question, _) in enumerate(execution.questions):
                if isinstance(question, kind):
                    return execution, at
        raise AssertionError(f"no {kind.__name__} in this search")


def refused(made: Made, reason: str, **changed: Any) -> None:
    with pytest.raises(RefusedError, match=reason or "."):
        made.check(**changed)


# What it says


def test_states_are_counted_once_for_each_crash_point_and_value() -> None:
    machine = SimulatedStorage(tick_ns=0)
    machine.make_directory("/d")
    machine.write_file("/f", b"A" * 1024)
    file = machine.open("/f", os.O_RDWR)
    file.write([b"B" * 1024], 0)
    file.fdatasync()
    found, search = lazily(Case(machine, lambda storage, see: None, look_at_all))
    certificate = certified(Case(machine, lambda storage, see: None, look_at_all), search)
    assert len(found) == 4
    # Before the write there is one state, while it is not durable there are four, then one again.
    assert certificate.states == 1 + 4 + 1
    assert certificate.recoveries == len(search.executions)


def test_what_it_counts_is_what_there_is_one_by_one() -> None:
    """Here every state is another disk, so that they can be counted."""
    machine = SimulatedStorage(tick_ns=0)
    machine.make_directory("/d")
    machine.write_file("/f", b"A" * 1024)
    file = machine.open("/f", os.O_RDWR)
    file.write([b"B" * 1024], 0)
    file.setxattr("user.a", b"1")
    file.write([b"C" * 512], 512)
    file.fsync()
    file.write([b"D" * 100], 900)
    case = Case(machine, lambda storage, see: None, look_at_all)
    _, search = lazily(case)
    options = rules(machine.disk.options)
    assert certified(case, search).states == sum(1 for _ in disks(machine.trace, **options))


def test_mismatched_groups_count_all_but_the_matching_ways() -> None:
    made = Made()
    assert any(execution.outcome.end.groups for execution in made.search.executions)
    spans = Sweep(made.trace.operations, ImageStart(made.trace.image), made.trace.now).spans()
    del spans[ORDER]  # no state of the disk
    classes = {
        tuple(frozenset(span.value for span in found if span.since <= time < span.until) for found in spans.values())
        for time in range(made.trace.now + 1)
    }
    assert made.check().states == sum(prod(map(len, legal)) for legal in classes)


def test_the_scope_names_trace_model_depth_and_what_is_taken_on_trust() -> None:
    scope = "\n".join(Made(1).check().scope)
    for words in (
        "this trace",
        "7 operations",
        "profile strict",
        "sectors of 512 bytes",
        "blocks of 512 bytes",
        "left old or new",
        "1 deep",
        "no digest collisions",
        "once",
    ):
        assert words in scope


def test_a_part_of_the_crash_points_is_named_in_the_scope() -> None:
    made = Made()
    refused(made, "begins at event 0 and not at 3", first=3)


# Trees that were tampered with


def test_a_run_that_is_missing_is_seen() -> None:
    for gone in range(len(Made().search.executions)):
        made = Made()
        del made.search.executions[gone]
        refused(made, "no run took the choices|no question leads to|was not explored")


def test_a_run_that_is_there_twice_is_seen() -> None:
    made = Made()
    made.search.executions.append(made.search.executions[-1])
    refused(made, "twice")


def test_a_run_from_elsewhere_is_seen() -> None:
    made = Made()
    last = made.search.executions[-1]
    made.search.executions.append(Execution(last.outcome._replace(choices=(*last.outcome.choices, 7)), []))
    refused(made, "no question leads to|first branch")


def _asked(made: Made, change: Callable[[AskValue], AskValue], branches: int = 0) -> None:
    execution, at = made.run_with(AskValue)
    question, count = execution.questions[at]
    assert isinstance(question, AskValue)
    execution.questions[at] = change(question), count + branches


@pytest.mark.parametrize(
    "change",
    [
        lambda q: q._replace(parts=q.parts[:-1]),
        lambda q: q._replace(parts=(*q.parts[:-1], ())),
        lambda q: q._replace(parts=(*q.parts, q.parts[0])),
        lambda q: q._replace(parts=(q.parts[0] + q.parts[1], *q.parts[1:])),
        lambda q: q._replace(parts=(*q.parts[:-1], (*q.parts[-1], 99))),
        lambda q: q._replace(parts=(tuple(v for part in q.parts for v in part), *([()] * (len(q.parts) - 1)))),
    ],
    ids=["one part missing", "an empty part", "a part twice", "a value in two parts", "no such value", "all in one"],
)
def test_branches_that_are_not_the_legal_values_each_once_are_seen(change: Callable[[AskValue], AskValue]) -> None:
    made = Made()
    _asked(made, change)
    refused(made, "not the legal values|too many or too few|not the legal|no such")


def test_parts_that_changed_places_are_seen() -> None:
    """The values are all there, but the runs stand for others than they say."""
    made = Made()
    _asked(made, lambda q: q._replace(parts=q.parts[::-1]))
    refused(made, "does not stand for|not the legal values|no run took|no question leads to|not all that are left")


def test_a_branch_too_many_is_seen() -> None:
    made = Made()
    _asked(made, lambda q: q, 1)
    refused(made, "too many or too few")


@pytest.mark.parametrize("part", [0, 1])
def test_crash_points_that_are_missing_or_shared_are_seen(part: int) -> None:
    made = Made()
    execution, at = made.run_with(AskCrashPoint)
    question, count = execution.questions[at]
    assert isinstance(question, AskCrashPoint)
    parts = list(question.parts)
    parts[part] = parts[part] & (parts[part] - 1) if part else parts[0] | parts[1]
    execution.questions[at] = question._replace(parts=tuple(parts)), count
    refused(made, "crash point")


def test_a_verified_group_with_other_matches_is_seen() -> None:
    made = Made()
    execution, at = made.run_with(AskDigest)
    question, count = execution.questions[at]
    assert isinstance(question, AskDigest)
    (key, _), *rest = question.members
    execution.questions[at] = AskDigest(((key, (0,)), *rest)), count
    refused(made, "not all that are left")


def test_overlapping_verified_groups_are_refused() -> None:
    made = Made()
    execution, at = made.run_with(AskDigest)
    question, _ = execution.questions[at]
    path = execution.outcome.choices
    at += len(path) - len(execution.questions)
    other = next(r for r in made.search.executions if r.outcome.choices[: at + 1] == (*path[:at], 1))
    known = len(other.outcome.choices) - len(other.questions)
    assert known == at + 1
    other.questions.insert(0, (question, 2))
    outcome = other.outcome._replace(choices=(*other.outcome.choices[:known], 0, *other.outcome.choices[known:]))
    made.search.executions[made.search.executions.index(other)] = Execution(outcome, other.questions)
    refused(made, "overlapping verified groups")


# Leaves that were tampered with


def _leaf(made: Made, at: int, **changed: Any) -> None:
    execution = made.search.executions[at]
    made.search.executions[at] = replace(
        execution, outcome=execution.outcome._replace(end=execution.outcome.end._replace(**changed))
    )


def test_a_changed_mask_is_seen() -> None:
    for at in range(len(Made().search.executions)):
        made = Made()
        (mask,) = made.search.executions[at].outcome.end.masks
        _leaf(made, at, masks=(mask & mask - 1 or mask << 1,))
        refused(made, "the crash points")


def test_a_changed_domain_is_seen() -> None:
    made = Made()
    for at, execution in enumerate(made.search.executions):
        for key, domain in execution.outcome.end.domains.items():
            if len(domain) > 1:
                _leaf(made, at, domains={**execution.outcome.end.domains, key: domain[:1]})
                refused(made, "the values of")
                return
    raise AssertionError("no leaf leaves a choice in what it asked")


def test_a_forgotten_group_is_seen() -> None:
    made = Made()
    at = next(at for at, execution in enumerate(made.search.executions) if execution.outcome.end.groups)
    _leaf(made, at, groups=())
    refused(made, "the verified groups")


# Layers that were tampered with


def test_classes_that_were_put_together_are_seen() -> None:
    for gone in range(1, len(Made().search.layer.class_starts)):
        made = Made()
        del made.search.layer.class_starts[gone]
        del made.search.layer.acknowledged[gone]
        refused(made, "one class of the search|at other crash points")


def test_classes_out_of_order_are_seen() -> None:
    made = Made()
    made.search.layer.class_starts.reverse()
    refused(made, "not in order")


def test_other_acknowledgements_are_seen() -> None:
    made = Made()
    made.search.layer.acknowledgements[0] = "another"
    refused(made, "other acknowledgements")
    made = Made()
    made.search.layer.acknowledged[-1] -= 1
    refused(made, "wrong crash points")


def test_a_variable_or_a_value_that_the_search_lacks_is_seen() -> None:
    made = Made()
    for variable, alternatives in list(made.search.layer.alternatives.items()):
        del made.search.layer.alternatives[variable]
        refused(made, "does not know")
        made.search.layer.alternatives[variable] = replace(alternatives, values=("?", *alternatives.values[1:]))
        refused(made, "does not know a legal value")
        made.search.layer.alternatives[variable] = alternatives
    made.check()


def test_a_value_that_is_legal_elsewhere_is_seen() -> None:
    made = Made()
    for variable, alternatives in list(made.search.layer.alternatives.items()):
        for at, mask in enumerate(alternatives.legal_classes):
            masks = (*alternatives.legal_classes[:at], mask ^ 1, *alternatives.legal_classes[at + 1 :])
            made.search.layer.alternatives[variable] = replace(alternatives, legal_classes=masks)
            refused(made, "at other crash points")
        made.search.layer.alternatives[variable] = alternatives
    made.search.layer.alternatives[Variable("xattr", 1, "user.b")] = next(iter(made.search.layer.alternatives.values()))
    refused(made, "which no operation changed")


# Traces that are not those of the search


def _without(name: str) -> Callable[[Trace], None]:
    def change(trace: Trace) -> None:
        trace.operations = [operation for operation in trace.operations if operation.name != name]

    return change


def _with(name: str, /, **changed: Any) -> Callable[[Trace], None]:
    def change(trace: Trace) -> None:
        trace.operations = [replace(o, **changed) if o.name == name else o for o in trace.operations]

    return change


@pytest.mark.parametrize(
    "change",
    [
        _without("fdatasync"), _without("pwritev"), _without("rename"), _without("acknowledge"),
        _with("fdatasync", error=5), _with("fdatasync", completed=None), _with("fdatasync", name="stat"),
        _with("pwritev", arguments=(0, b"other" * 100, 0)), _with("pwritev", completed=None, result=None),
        _with("pwritev", mtime_ns=1), _with("rename", arguments=("/h",)), _with("acknowledge", arguments=("?",)),
    ],
    ids=[
        "no sync", "no write", "no rename", "nothing told", "failed sync", "endless sync", "no sync in fact",
        "other bytes", "endless write", "other time", "other name", "other words",
    ],
)  # fmt: skip
def test_a_trace_that_was_tampered_with_is_seen(change: Callable[[Trace], None]) -> None:
    made = Made()
    made.check()
    trace = Trace(made.trace.image)
    trace.operations, trace.now = list(made.trace.operations), made.trace.now
    change(trace)
    made.trace = trace
    refused(made, "")


def test_another_disk_at_the_start_is_seen() -> None:
    made = Made()
    trace = Trace(made.trace.image.copy())
    trace.operations, trace.now = made.trace.operations, made.trace.now
    number = trace.image.paths()["/f"]
    trace.image.inodes[number].content.put_sector(0, b"?" * SECTOR)
    made.trace = trace
    refused(made, "does not know a legal value")


@pytest.mark.parametrize("changed", [{"powersafe": False}, {"sector": 4096}, {"profile": "linux"}], ids=str)
def test_a_search_under_other_rules_is_refused(changed: dict[str, Any]) -> None:
    made = Made()
    refused(made, "", rules={**rules(made.case.machine.disk.options), **changed})


# Crashes in recovery


def test_crashes_in_recovery_are_counted_by_depth() -> None:
    made = Made(2)
    certificate = made.check()
    assert len(certificate.nested_states) == len(certificate.nested_recoveries) == 2
    assert all(certificate.nested_states)
    assert certificate.recoveries == Made().check().recoveries
    assert certificate.nested_recoveries[:1] == Made(1).check().nested_recoveries


def test_a_recovery_that_was_not_cut_off_everywhere_is_seen() -> None:
    for path in list(Made(1).search.nested_searches):
        made = Made(1)
        del made.search.nested_searches[path]
        refused(made, "was not explored")


def test_a_recovery_that_was_not_cut_off_at_all_is_seen() -> None:
    made = Made()
    refused(made, "is not known", depth=1)


def test_a_cut_that_begins_too_late_is_seen() -> None:
    made = Made(1)
    search = max(made.search.nested_searches.values(), key=lambda found: len(found.layer.class_starts))
    del search.layer.class_starts[0]
    refused(made, "not explored from|does not stand for|not the legal")


def test_a_run_missing_below_is_seen() -> None:
    for path, search in Made(1).search.nested_searches.items():
        for gone in range(len(search.executions)):
            made = Made(1)
            del made.search.nested_searches[path].executions[gone]
            refused(made, "no run took the choices|no question leads to")


def test_a_search_from_another_state_is_seen() -> None:
    """The search of one cut given out for that of another, where they differ."""
    paths = list(Made(1).search.nested_searches)
    seen = 0
    for one in paths:
        for other in paths:
            made = Made(1)
            if one != other and not _same(made.search.nested_searches[one], made.search.nested_searches[other]):
                made.search.nested_searches[one] = made.search.nested_searches[other]
                refused(made, "")
                seen += 1
    assert seen


def _same(one: SearchRecord, other: SearchRecord) -> bool:
    ends = [[execution.outcome.end for execution in search.executions] for search in (one, other)]
    return one.layer.alternatives == other.layer.alternatives and ends[0] == ends[1]


def test_one_search_may_stand_for_several_cuts_that_are_the_same() -> None:
    made = Made(1)
    before = made.check()
    for one in made.search.nested_searches:
        for other in made.search.nested_searches:
            if _same(made.search.nested_searches[one], made.search.nested_searches[other]):
                made.search.nested_searches[other] = made.search.nested_searches[one]
    assert made.check() == before


def _busiest(made: Made) -> Execution:
    """The run whose recovery leaves most to crashes in it; where both names stand, renaming does nothing."""
    paths = {execution.outcome.choices: execution for execution in made.search.executions}
    return paths[max(paths, key=lambda path: len(_below(made, path)))]


def _below(made: Made, path: ChoicePath) -> list[int]:
    return made.search.nested_searches[path].layer.class_starts if path in made.search.nested_searches else []


@pytest.mark.parametrize("name", ["setxattr", "fsync", "rename", "sync_directory"])
def test_a_recovery_that_did_something_else_is_seen(name: str) -> None:
    made = Made(1)
    execution = _busiest(made)
    at = [operation.name for operation in execution.operations].index(name)
    nothing: Operation = replace(execution.operations[at], name="stat")
    execution.operations[at] = nothing
    refused(made, "")


def test_marks_that_were_moved_are_seen() -> None:
    made = Made(1)
    execution = max(made.search.executions, key=lambda execution: len(execution.choice_events))
    execution.choice_events = (*execution.choice_events[:-1], execution.choice_events[-1] - 4)
    refused(made, "")
