"""A run that does not end is cut, budgets hold, and nothing goes on when the command is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from untorn.explore import Budget, FunctionTarget, explore, time_limit
from untorn.explore.selftest.targets import TARGETS
from untorn.explore.targets.python_module import ModuleTarget
from untorn.explore.time_limit import Limit, OutOfTime

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def quick() -> Iterator[None]:
    before = time_limit.each()
    time_limit.set_each(1.0)
    yield
    time_limit.set_each(before)


def prepare(directory: Path) -> None:
    (directory / "x").write_bytes(b"old")


def work(directory: Path) -> None:
    (directory / "x").write_bytes(b"new")


def wait(directory: Path) -> None:
    while not (directory / "x").read_bytes():
        time.sleep(0.01)


def wait_and_swallow(directory: Path) -> None:
    with contextlib.suppress(BaseException):
        wait(directory)


@pytest.mark.parametrize("waits", [wait, wait_and_swallow])
@pytest.mark.parametrize("stage", ["recover", "check"])
@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.usefixtures("quick")
# A run that is cut while it opens a file leaves it to the collector, which says so.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_that_does_not_end_is_a_bad_state(waits: object, stage: str, jobs: int) -> None:
    functions = {"check": lambda directory: None, stage: waits}
    result = explore(FunctionTarget("waits", prepare=prepare, workload=work, **functions), jobs=jobs)  # type: ignore[arg-type]

    assert result.bad, result.verdict()
    assert result.counterexamples[0].problem.kind == "DidNotEndError"
    assert f"{stage} had not ended after 1 seconds" in result.counterexamples[0].text


@pytest.mark.parametrize("jobs", [0, 1])
def test_the_budget_ends_a_run_that_does_not_end(jobs: int) -> None:
    started = time.monotonic()
    target = FunctionTarget("waits", prepare=prepare, workload=work, check=wait)
    result = explore(target, jobs=jobs, budget=Budget(seconds=2))

    assert time.monotonic() - started < 8
    assert not result.certified
    assert "budget ended the search" in result.verdict()


def test_a_run_in_c_that_does_not_end_is_cut_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stuck.py"
    path.write_text(
        "import collections, itertools\n"
        "def workload(dir): (dir / 'x').write_bytes(b'new')\n"
        "def check(dir): collections.deque(itertools.repeat(0), 0)\n"
    )
    monkeypatch.setattr("untorn.explore.search.workers._GRACE_SECONDS", 0.5)
    time_limit.set_each(1.0)
    try:
        with pytest.raises(Exception, match=r"could not be interrupted: .*stuck\.py.* line 3 in check"):
            explore(ModuleTarget(os.fspath(path)), jobs=1)
    finally:
        time_limit.set_each(time_limit.EACH_SECONDS)


def test_the_certifier_is_in_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*args: object, **options: object) -> None:
        time.sleep(60)

    monkeypatch.setattr("untorn.explore.explorer.check", check)
    target = FunctionTarget("fine", prepare=prepare, workload=work, check=lambda directory: None)
    result = explore(target, budget=Budget(seconds=1.5))

    assert not result.certified
    assert "the budget ended before all of it was checked" in result.verdict()


# Limits


def test_limits_nest_and_somebody_elses_timer_goes_on() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        outer = Limit(0.1)
        with pytest.raises(OutOfTime) as caught, outer, Limit(5):
            time.sleep(3)
        assert caught.value.limit is outer
        with Limit(5) as fine:
            pass
        assert not fine.is_over
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.4
        time.sleep(0.6)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rung == [signal.SIGALRM]


def test_a_limit_that_was_swallowed_is_told_at_its_end() -> None:
    with pytest.raises(OutOfTime), Limit(0.05), contextlib.suppress(BaseException):
        time.sleep(3)


# Processes

FOREVER = """
import os, time
def workload(dir):
    (dir / "x").write_bytes(b"new")
def check(dir):
    with open(PIDS, "a") as file:
        print(os.getppid(), file=file, flush=True)
    time.sleep(1000)
"""


def workers(folder: Path) -> int:
    """How many processes still have the folder's module on their command line, or were forked off one that has."""
    count = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.fsencode(folder) in (entry / "cmdline").read_bytes():
                count += 1
    return count


@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_the_command(tmp_path: Path, number: int) -> None:
    path = tmp_path / "forever.py"
    path.write_text(FOREVER.replace("PIDS", repr(os.fspath(tmp_path / "pids"))))
    command = [sys.executable, "-m", "untorn", "explore", "--jobs", "2", "--each", "900", os.fspath(path)]
    environment = {
        **ENVIRONMENT,
        "TMPDIR": os.fspath(tmp_path),
    }  # a killed command leaves its directory to the next one
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            _until(lambda: (tmp_path / "pids").exists() and workers(tmp_path) > 2)
            process.send_signal(number)
            process.wait(30)
        finally:
            process.kill()
    _until(lambda: workers(tmp_path) == 0)


def _until(true: object) -> None:
    end = time.monotonic() + 30
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("most", [40, 100])
def test_a_budget_of_recoveries_also_ends_the_searches_within_recovery(most: int) -> None:
    (target,) = [target for target in TARGETS if target.name == "restarts"]

    result = explore(target, recovery_crashes=2, budget=Budget(recoveries=most))

    assert result.recoveries <= most
    assert result.nested > 0
    assert not result.certified
    assert "the budget ended the search" in result.refusal
