"""Shrinking and the fallbacks: a counterexample is the least that is bad, and no coverage claims more than was done."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore import Budget, Coverage, explore
from untorn.explore.counterexample.shrink import Shrinker, minimize
from untorn.explore.search.engine import all_executions, recording_of, search_of
from untorn.explore.search.fallbacks import is_complete, samples, tears, whole_writes
from untorn.explore.search.pinned_state import Baseline, PinnedState, show
from untorn.explore.targets.protocol import Acknowledged

SECTORS = 4
OLD, NEW = b"o" * 512, b"n" * 512


class Scene:
    """A workload of storage calls on one file, and what must hold of its content."""

    name = "scene"

    def __init__(self, work: Callable[[SimulatedStorage], None], good: Callable[[bytes, list[Any]], bool]) -> None:
        self.work, self.good = work, good

    def record(self) -> SimulatedStorage:
        machine = SimulatedStorage()
        machine.write_file("/f", OLD * SECTORS)
        machine.write_file("/g", OLD)
        self.work(machine)
        return machine

    def recover(self, storage: SimulatedStorage) -> None:
        pass

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        content = storage.read_file("/f") + storage.read_file("/g")
        assert self.good(content, list(acknowledged())), "bad"


def _write(machine: SimulatedStorage, path: str, data: bytes, offset: int, *, sync: bool = False) -> None:
    file = machine.open(path, os.O_RDWR)
    file.write([data], offset)
    if sync:
        file.fdatasync()
    file.close()


def _one_write(machine: SimulatedStorage) -> None:
    _write(machine, "/f", NEW * SECTORS, 0)


def _two_files(machine: SimulatedStorage) -> None:
    _write(machine, "/f", NEW * SECTORS, 0)
    _write(machine, "/g", NEW, 0)


def _unsynced(machine: SimulatedStorage) -> None:
    _write(machine, "/f", NEW * SECTORS, 0)
    machine.acknowledge("done")


def _old_or_new(content: bytes, told: list[Any]) -> bool:
    return content[: 512 * SECTORS] in (OLD * SECTORS, NEW * SECTORS)


def _in_order(content: bytes, told: list[Any]) -> bool:
    return content[-512:] == OLD or content[: 512 * SECTORS] == NEW * SECTORS


def _kept(content: bytes, told: list[Any]) -> bool:
    return not told or content[: 512 * SECTORS] == NEW * SECTORS


@pytest.mark.parametrize(
    ("work", "good", "kind", "deviations"),
    [
        pytest.param(_one_write, _old_or_new, "torn", 1, id="torn: one sector of one write"),
        pytest.param(_two_files, _in_order, "reordered", 1, id="reordered: the whole of the earlier write"),
        pytest.param(_unsynced, _kept, "lost sync", 1, id="lost sync: the whole write that was acknowledged"),
    ],
)
def test_a_bad_state_is_told_by_its_fewest_operations_and_its_kind(
    work: Callable[[SimulatedStorage], None], good: Callable[[bytes, list[Any]], bool], kind: str, deviations: int
) -> None:
    result = explore(Scene(work, good), recovery_crashes=0)

    (story,) = result.counterexamples
    assert story.kind == kind, story.text
    assert len(story.deviations) == deviations, story.text


def test_every_part_of_a_shrunk_state_is_needed() -> None:
    """1-minimal: without any one deviation the state is good, and so it is at every earlier crash point."""
    target = Scene(_two_files, _in_order)
    search = search_of(target, recording_of(target.record()))
    outcome = next(run.outcome for run in all_executions(search) if run.outcome.problem)

    state = Shrinker(search, outcome).shrink().state

    assert show(search, state)[0].problem is not None
    groups = set(Shrinker(search, outcome).operations_of(state).values())
    assert len(groups) == 1
    assert show(search, PinnedState(state.classes, state.baseline, {}))[0].problem is None
    for at in range(state.classes[0]):
        assert show(search, PinnedState((at,), state.baseline, {}))[0].problem is None


@pytest.mark.parametrize(
    ("bad", "least"),
    [
        (lambda items: 3 in items, [3]),
        (lambda items: {2, 7} <= set(items), [2, 7]),
        (lambda items: len(items) >= 4, None),
        (lambda items: True, []),
    ],
)
def test_what_is_left_after_minimizing_is_bad_and_without_any_one_item_is_not(
    bad: Callable[[Any], bool], least: list[int] | None
) -> None:
    found = minimize(range(10), bad)

    assert bad(found)
    assert least is None or found == least
    assert not any(bad([item for item in found if item != left]) for left in found)


@pytest.mark.parametrize("states", [whole_writes, tears, lambda layer: samples(layer, 1)])
def test_every_state_of_a_rung_is_legal_and_some_rung_finds_what_the_search_finds(states: Any) -> None:
    target = Scene(_two_files, _in_order)
    search = search_of(target, recording_of(target.record()))
    found = 0
    for _, state in zip(range(200), states(search.shared.layers[0]), strict=False):
        outcome, world = show(search, state)
        found += outcome.problem is not None
        assert all(world.masks), "a state that cannot be"
    assert found


def test_whole_writes_never_tear_one() -> None:
    target = Scene(_one_write, _old_or_new)
    search = search_of(target, recording_of(target.record()))
    layer = search.shared.layers[0]

    assert is_complete(layer)
    assert not [state for state in whole_writes(layer) if show(search, state)[0].problem]
    assert [state for state in tears(layer) if show(search, state)[0].problem], "the control: single sectors do"


def test_a_budget_that_ends_the_search_is_said_with_every_rung_and_nothing_is_certified() -> None:
    def many(machine: SimulatedStorage) -> None:
        for index in range(9):
            _write(machine, "/f", bytes([65 + index]) * 512 * SECTORS, 0)

    result = explore(Scene(many, lambda content, told: True), recovery_crashes=0, budget=Budget(recoveries=2000))

    assert not result.certified
    assert result.coverage in (Coverage.WRITES, Coverage.TEARS, Coverage.SAMPLED)
    assert result.coverages[0].startswith("exhaustive: ")
    assert "not complete" in result.coverages[0]
    assert "not certified" in result.verdict()


def test_a_check_that_is_not_deterministic_is_never_certified() -> None:
    calls = iter(range(10_000))

    def moody(content: bytes, told: list[Any]) -> bool:
        return True

    class Moody(Scene):
        def recover(self, storage: SimulatedStorage) -> None:
            if next(calls) % 2:
                storage.read_file("/g")
            storage.read_file("/f")

    result = explore(Moody(_two_files, moody), recovery_crashes=0)

    assert not result.certified
    assert result.refusal


def test_the_baseline_decides_what_is_not_said() -> None:
    target = Scene(_one_write, _old_or_new)
    search = search_of(target, recording_of(target.record()))
    last = len(search.shared.layers[0].class_starts) - 1
    seen = []

    def look(content: bytes, told: list[Any]) -> bool:
        seen.append(content[:512])
        return True

    target.good = look

    for baseline in (Baseline.OLDEST, Baseline.NEWEST):
        show(search, PinnedState((last,), baseline))

    assert seen == [OLD, NEW]
