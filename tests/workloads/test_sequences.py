"""Every sequence of operations on a simulated machine that does not crash, and which of them are the same."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import pytest

from tests.defects.catalogue import Defect, with_defect
from tests.defects.plants import Patch, Plant
from tests.workloads.sequences import LENGTH_MAX, Seen, count, every, tenth
from tests.workloads.session import ENDINGS, LEAVE, OPERATIONS
from tests.workloads.target import DEVICES, STARTS, Generated
from untorn.designs.cow import CopyOnWrite
from untorn.explore.oracles import plain
from untorn.explore.selftest.scripted_session import PATH
from untorn.log import recovery
from untorn.log.format import RECORDS_OFFSET
from untorn.log.writer import log_path
from untorn.pagecache.address_space import AddressSpace


def holds(generated: Generated) -> None:
    """What is read, what is left, and that it is an ordinary file, is as the model has it."""
    session = generated.session(watched=True)
    if not session.over:
        edited = "edit" in generated.operations
        assert plain(session.machine, PATH, quarantined=edited) == session.states[-1]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("device", ["512", "no-attributes", "atomic"])
def test_without_a_crash_every_sequence_leaves_what_was_committed(device: str, start: str) -> None:
    longest = LENGTH_MAX if (device, start) == ("512", "content") else 2
    for generated in every((device,), longest):
        if generated.start == start:
            holds(generated)


def cut_folios_stay(patch: Patch) -> None:
    patch(AddressSpace, "truncate", lambda self, size: None)


def rollback_forgets_nothing(patch: Patch) -> None:
    patch(CopyOnWrite, "rollback", lambda self, savepoint: None)


def killed_commits_are_dropped(patch: Patch) -> None:
    patch(recovery, "install", lambda *arguments: None)


@pytest.mark.parametrize(
    ("plant", "operations"),
    [
        (cut_folios_stay, ("cut", "extend")),
        (rollback_forgets_nothing, ("savepoint", "commit")),
        (killed_commits_are_dropped, ("write", "commit", "kill")),
    ],
)
def test_a_defect_that_needs_no_crash_shows(plant: Plant, operations: tuple[str, ...]) -> None:
    generated = Generated(operations, "512", "content")
    holds(generated)
    with with_defect(Defect(plant, "")), pytest.raises(AssertionError):
        holds(generated)


def test_every_counts_what_it_gives_and_gives_nothing_twice() -> None:
    names = [generated.name for generated in every(("512", "atomic"), 2)]

    assert len(names) == len(set(names)) == count(("512", "atomic"), 2)


# The same recording is explored once


def recorded_twice(first: Generated, second: Generated) -> bool:
    seen = Seen()
    assert seen.new(first, first.recording())
    return not seen.new(second, second.recording())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("commit",), ("commit", "commit")),
        (("write",), ("write", "write")),
        (("write", "commit"), ("write", "commit", "commit")),
        (("write", "order"), ("write", "order", "order")),
        (("write", "checkpoint"), ("write", "checkpoint", "checkpoint")),
        (("extend",), ("extend", "extend")),
    ],
)
def test_what_does_nothing_to_storage_is_not_explored_again(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    assert recorded_twice(Generated(first, "512", "content"), Generated(second, "512", "content"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Generated(("write",), "512", "content"), Generated(("write",), "4096", "content")),
        (Generated(("write",), "512", "content"), Generated(("write",), "garbage-512", "content")),
        (Generated(("write",), "512", "content"), Generated(("write",), "512", "missing")),
        (Generated(("write",), "512", "content"), Generated(("overlap",), "512", "content")),
        (Generated(("write",), "512", "content"), Generated(("write",), "512", "content", LEAVE)),
        (Generated(("write", "commit"), "512", "content"), Generated(("write", "order"), "512", "content")),
        (Generated(("write", "commit"), "512", "content"), Generated(("write", "commit"), "atomic", "content")),
    ],
)
def test_what_differs_to_storage_or_by_the_device_is_explored(first: Generated, second: Generated) -> None:
    assert not recorded_twice(first, second)


def test_an_atomic_device_that_is_not_asked_is_as_any_other() -> None:
    assert recorded_twice(Generated(("overlap",), "512", "content"), Generated(("overlap",), "atomic", "content"))


def test_the_crashes_before_the_last_operation_are_those_of_a_shorter_sequence() -> None:
    """Which is why they are explored there only."""
    for shorter, longer in ((("write",), ("write", "commit")), (("write", "kill"), ("write", "kill", "append"))):
        before = Generated(shorter, "512", "content").session()
        after = Generated(longer, "512", "content").session()
        common = [one for one in after.machine.trace.operations if (one.completed or 0) <= after.first]
        assert common
        assert after.first
        assert list(map(repr, before.machine.trace.operations[: len(common)])) == list(map(repr, common))


# The tenth


def test_the_tenth_has_every_pair_of_operations_every_device_start_and_ending() -> None:
    chosen = tenth()

    pairs = Counter(pair for one in chosen for pair in pairwise(one.operations))
    assert set(pairs) == set(product(OPERATIONS, repeat=2))
    for device, start, name in product(DEVICES, STARTS, OPERATIONS):
        assert any(one.device == device and one.start == start and name in one.operations for one in chosen)
    assert {one.ending for one in chosen} == set(ENDINGS)
    threes = {one.operations for one in chosen if len(one.operations) == 3}
    assert len(threes) == len(OPERATIONS) ** 3 // 10


def test_the_tenth_is_the_same_every_time() -> None:
    assert [one.name for one in tenth()] == [one.name for one in tenth()]


def test_spill_brings_a_part_to_the_log_before_the_commit() -> None:
    operations = Generated(("spill",), "512", "content").recording().trace.operations
    writes = [one for one in operations if one.name == "pwritev" and one.path == log_path(PATH)]

    assert sum(one.arguments[0] >= RECORDS_OFFSET for one in writes) == 2
