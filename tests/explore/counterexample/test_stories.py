"""Stories are true: what they tell, done on a plain disk without the search, comes to what they say."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.every_state import Case
from tests.support.random_programs import Step, case, log_writers, logs, workloads, writers
from untorn.crashmodel.profiles import Profile
from untorn.explore.counterexample import confirm, shrink
from untorn.explore.explorer import explore
from untorn.explore.result import Result
from untorn.explore.search.engine import Search, all_executions, nested_searches, recording_of, search_of
from untorn.explore.search.pinned_state import Baseline, PinnedState, is_legal, show, state_of
from untorn.explore.targets.calls import Function
from untorn.explore.targets.python_module import FunctionTarget

DOUBT = "could not be confirmed"


def half_repaired() -> Result:
    """Only a torn write makes recovery do anything; a second crash between its two marks is bad."""

    def prepare(dir: Path) -> None:
        (dir / "f").write_bytes(b"A" * 1024)

    def workload(dir: Path) -> None:
        with open(dir / "f", "r+b", buffering=0) as file:
            file.write(b"B" * 1024)
            os.fsync(file.fileno())

    def recover(dir: Path) -> None:
        found = (dir / "f").read_bytes()
        if found[:1] != found[-1:]:
            (dir / "m1").mkdir()
            (dir / "m2").mkdir()

    def check(dir: Path) -> None:
        assert (dir / "m1").exists() == (dir / "m2").exists(), "half repaired"

    return explore(FunctionTarget("marks", workload=workload, check=check, prepare=prepare, recover=recover))


def replayed_log() -> Result:
    """The workload is what recovery does: replay a log and cut it off, by which half of it may be left."""

    def prepare(dir: Path) -> None:
        (dir / "db").write_bytes(b"2")
        (dir / "wal").write_bytes(b"1" * 512 + b"2" * 512)

    def recover(dir: Path) -> None:
        found = (dir / "wal").read_bytes()
        for at in (0, 512):
            if not found[at : at + 512].strip(b"\0"):
                break
            with open(dir / "db", "r+b") as file:
                file.write(found[at : at + 1])
                file.flush()
                os.fsync(file.fileno())
        if found:
            with open(dir / "wal", "r+b") as file:
                file.truncate(0)
                os.fsync(file.fileno())

    def check(dir: Path) -> None:
        assert (dir / "db").read_bytes() == b"2", "old data came back"

    return explore(FunctionTarget("log", workload=recover, check=check, prepare=prepare, recover=recover))


def test_what_the_first_of_two_crashes_lost_is_told() -> None:
    (story,) = half_repaired().counterexamples
    first, lost, second, all_there, *_ = story.text.splitlines()
    assert first.startswith("The power fails after operation 1, write of 1024 bytes")
    assert lost.startswith("  lost: sector ")
    assert second.startswith("Recovery begins, and the power fails again after operation 4, mkdir")
    assert all_there == "  all that was issued until then is on the disk"
    assert DOUBT not in story.text
    assert story.kind == "torn"


def test_a_bad_state_that_needs_one_crash_is_told_with_one() -> None:
    (story,) = replayed_log().counterexamples
    assert "Recovery begins" not in story.text
    assert "lost: the size of the truncate" in story.text
    assert DOUBT not in story.text


def first_listed(dir: Path) -> None:
    assert os.listdir(dir)[0] == "s1", "not the first"


def smallest_listed(dir: Path) -> None:
    assert min(os.listdir(dir)) == "s1", "not the first"


def listed(check: Function) -> Result:
    def prepare(dir: Path) -> None:
        (dir / "s1").write_bytes(b"1")

    def workload(dir: Path) -> None:
        (dir / "s2").write_bytes(b"2")

    return explore(FunctionTarget("listed", workload=workload, check=check, prepare=prepare))


def test_who_relies_on_the_order_of_a_directory_is_told_so() -> None:
    (story,) = listed(first_listed).counterexamples
    assert story.kind == "listing order"
    assert "Directories are listed backwards: no order is promised." in story.text
    assert not story.deviations
    assert DOUBT not in story.text


def test_who_does_not_rely_on_it_is_certified() -> None:
    assert listed(smallest_listed).certified


def test_a_write_that_came_in_part_is_told_by_where_the_file_ends() -> None:
    def prepare(dir: Path) -> None:
        (dir / "log").write_bytes(b"")

    def workload(dir: Path) -> None:
        with open(dir / "log", "ab", buffering=0) as file:
            file.write(b"r" * 65536)

    def check(dir: Path) -> None:
        assert (dir / "log").stat().st_size in (0, 65536), "part of a record"

    (story,) = explore(FunctionTarget("append", workload=workload, check=check, prepare=prepare)).counterexamples
    assert story.kind == "torn"
    assert re.search(r"lost: the size beyond \d+ bytes of the write of 65536 bytes at 0", story.text)
    assert DOUBT not in story.text


def test_a_story_that_leaves_out_what_recovery_saw_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with the fault that told it, the story says so itself, and the state stays bad."""

    def whatever_recovery_saw(search: Search, state: PinnedState) -> bool:
        return is_legal(Search(search.target, search.shared), state)

    monkeypatch.setattr(shrink, "is_legal", whatever_recovery_saw)
    result = half_repaired()
    assert result.bad
    assert "lost: sector" not in result.counterexamples[0].text
    assert DOUBT in result.counterexamples[0].text


# Random programs


def compare(the_case: Case, search: Search, state: PinnedState) -> None:
    show(search, state)
    lazily, the_case.outcome = the_case.outcome, None
    assert confirm.confirmed_problem(search, state) is None
    assert the_case.outcome == lazily


@pytest.mark.parametrize("profile", Profile)
@settings(max_examples=20, deadline=None)
@given(st.one_of(st.tuples(workloads, writers), st.tuples(logs, log_writers)))
def test_every_state_is_on_a_plain_disk_what_the_search_makes_of_it(
    profile: Profile, program: tuple[list[Step], list[Step]]
) -> None:
    the_case = case(*program, "all", profile=profile)
    outer = search_of(the_case, recording_of(the_case.machine))
    for number, run in enumerate(all_executions(outer, nested=True)):
        if number == 10:
            break
        for baseline in Baseline:
            compare(the_case, outer, state_of(outer, run.outcome, baseline))
        # Of two crashes only under strict: nothing else compares what a second one leaves under linux.
        for inner in list(nested_searches(outer, run))[: 3 if profile is Profile.STRICT else 0]:
            for cut_off in all_executions(inner):
                compare(the_case, inner, state_of(inner, cut_off.outcome, Baseline.NEWEST))
                break
