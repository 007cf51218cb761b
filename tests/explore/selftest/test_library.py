"""The library holds under every crash of every workload, and every defect planted into it is caught."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.defects.catalogue import DEFECTS, with_defect
from tests.defects.table import caught, render, table
from tests.support.process_kill import Death, deaths
from tests.workloads.outcome import good
from untorn.explore.explorer import explore
from untorn.explore.result import Result
from untorn.explore.search.engine import recording_of
from untorn.explore.selftest.scripted_session import Script
from untorn.explore.selftest.targets import TARGETS, SelfTest
from untorn.inode import Inode

BY_NAME = {target.name: target for target in TARGETS}
EXPLORED = [name for name, defect in DEFECTS.items() if defect.target]
TWICE_CUT = {"sessions", "garbage"}
"""What is explored here with recovery cut off twice, as ``untorn explore --all library`` does with more of them."""


def depth(target: SelfTest) -> int:
    return min(target.depth, 2 if target.name in TWICE_CUT else 1)


@pytest.mark.parametrize("name", BY_NAME)
def test_no_crash_and_no_crash_in_recovery_breaks_a_guarantee(name: str) -> None:
    target = BY_NAME[name]

    result = explore(target, recovery_crashes=depth(target))

    assert not result.bad, result.counterexamples[0].text
    assert result.certified, result.refusal


def test_what_is_explored_less_deep_than_it_could_be_exists() -> None:
    assert set(BY_NAME) >= TWICE_CUT


def test_the_workloads_have_a_hundred_transactions() -> None:
    for target in TARGETS:
        target.record()

    assert sum(target.transactions for target in TARGETS) >= 100


@pytest.mark.parametrize("name", EXPLORED)
def test_exploring_catches(name: str) -> None:
    result = caught(name)

    assert result.bad
    assert result.counterexamples
    assert len(result.counterexamples[0].deviations) <= 3


def test_what_no_exploration_catches_says_which_test_does() -> None:
    assert all("tests/" in defect.caught_by_test for defect in DEFECTS.values() if not defect.target)


def test_the_table_in_the_docs_has_every_defect_and_each_is_caught() -> None:
    shown = (Path(__file__).parents[3] / "docs" / "design" / "mutants.md").read_text()

    rows = [line.split(" | ")[0].removeprefix("| ") for line in shown.splitlines() if line.startswith("| ")]
    assert rows[1:] == list(DEFECTS)
    assert "NOT CAUGHT" not in shown


def test_a_row_that_is_not_caught_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "the log is not synced"
    monkeypatch.setitem(DEFECTS, name, DEFECTS[name]._replace(plant=lambda patch: None))

    assert "NOT CAUGHT" in render(table([name]))


# Death of the process


def session(script: Script) -> None:
    """A little of everything that changes a file, short enough to die at each of its calls."""
    script.open(checkpoint_bytes=3 * 4096)
    script.write(100, 600)
    script.commit(durable=False)
    with script.transaction():
        script.truncate(5000)
        script.truncate(9000)
    script.write(4000, 5000)
    script.commit(durable=False)
    script.write(0, 10)
    script.close()


MORTAL = SelfTest("dies", session)


def after_each_death() -> Iterator[tuple[Death, Result]]:
    for death in deaths(MORTAL, recording_of(MORTAL.record())):
        yield death, explore(MORTAL, recovery_crashes=0, recording=death.recording, crash="process")


def test_after_the_death_of_the_process_recovery_keeps_what_was_ordered_and_makes_it_durable() -> None:
    seen = 0
    for death, result in after_each_death():
        assert death.problem is None, f"died at {death.event}: {death.problem}"
        assert not result.bad, f"died at {death.event}: {result.counterexamples[0].text}"
        assert good(result), result.refusal
        seen += result.certified
    assert seen > 40


@pytest.mark.parametrize(
    "name", ["recovery does not sync its copy", "recovery does not sync home", "size_min is ignored"]
)
def test_a_defect_of_recovery_shows_after_a_death(name: str) -> None:
    with with_defect(DEFECTS[name]):
        assert any(death.problem or result.bad for death, result in after_each_death())


def test_an_ordered_commit_that_stayed_in_memory_shows_after_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Inode.commit
    monkeypatch.setattr(Inode, "commit", lambda self, *, durable: commit(self, durable=True) if durable else None)

    problems = [death.problem for death in deaths(MORTAL, recording_of(MORTAL.record())) if death.problem]

    assert problems
    assert "lost" in problems[0].message
