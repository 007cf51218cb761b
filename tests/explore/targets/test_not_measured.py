"""What says nothing about crashes is no verdict, and its exit code is not 0.

Each refusal has its control: the same program, mended so that it can be measured, has a bad state. So to let it pass
would have been to miss that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.commands import run
from untorn.explore import CrashError, FunctionTarget, Result, assert_survives, explore

Function = Callable[[Path], Any]


def prepare(directory: Path) -> None:
    (directory / "state").write_text("1")


def overwrite(directory: Path) -> None:
    """Truncates and writes: a crash may leave an empty file."""
    (directory / "state").write_text("2")


def is_whole(directory: Path) -> bool:
    return (directory / "state").read_text() in ("1", "2")


def check(directory: Path) -> None:
    assert is_whole(directory)


async def overwrite_later(directory: Path) -> None:
    overwrite(directory)


def overwrite_in_pieces(directory: Path) -> Generator[None, None, None]:
    yield
    overwrite(directory)


def overwrite_in_a_thread(directory: Path) -> threading.Thread:
    def work() -> None:
        time.sleep(0.3)
        with contextlib.suppress(BaseException):  # it may be too late
            overwrite(directory)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def start_thread(directory: Path) -> None:
    overwrite_in_a_thread(directory)


def start_thread_and_join(directory: Path) -> None:
    overwrite_in_a_thread(directory).join()


async def check_later(directory: Path) -> None:
    check(directory)


def check_in_pieces(directory: Path) -> Generator[None, None, None]:
    yield
    check(directory)


def check_all_pieces(directory: Path) -> None:
    for _ in check_in_pieces(directory):
        pass


def fork_in_c(directory: Path) -> None:
    """Starts a process that goes on for a while, in a way that Python does not see."""
    overwrite(directory)
    ctypes.CDLL(None).popen(b"sleep 2", b"r")


class Case(NamedTuple):
    """A program that cannot be measured, and the same in a way that can."""

    words: str
    workload: Function
    check: Function
    mended_workload: Function = overwrite
    mended_check: Function = check


CASES = {
    "nothing changed": Case("changed nothing", lambda d: None, check),
    "nothing changed, only looked": Case("changed nothing", is_whole, check),
    "coroutine": Case("the workload never ran: it is a coroutine function", overwrite_later, check,
                      lambda d: asyncio.run(overwrite_later(d))),
    "generator": Case("gave back a generator", overwrite_in_pieces, check, lambda d: list(overwrite_in_pieces(d))),
    "lazy map": Case("gave back a map", lambda d: map(overwrite, [d]), check, lambda d: list(map(overwrite, [d]))),
    "thread": Case("thread of its own was still running", start_thread, check, start_thread_and_join),
    "child": Case("a process that the workload has started is still running", fork_in_c, check),
    "check returns": Case("check returned", overwrite, is_whole),
    "check is a coroutine": Case("check never ran", overwrite, check_later, overwrite,
                                 lambda d: asyncio.run(check_later(d))),
    "check is a generator": Case("check never ran", overwrite, check_in_pieces, overwrite, check_all_pieces),
}  # fmt: skip


def explored(workload: Function, checking: Function) -> Result:
    return explore(FunctionTarget("case", prepare=prepare, workload=workload, check=checking))


@pytest.mark.parametrize("what", CASES)
def test_what_cannot_say_anything_is_not_measured(what: str) -> None:
    case = CASES[what]
    result = explored(case.workload, case.check)

    assert case.words in result.unmeasured
    assert not result.certified
    assert result.verdict().startswith("not measured: ")


@pytest.mark.parametrize("what", CASES)
def test_what_is_not_measured_would_have_been_missed(what: str) -> None:
    case = CASES[what]

    assert explored(case.mended_workload, case.mended_check).bad


@pytest.mark.parametrize("what", CASES)
def test_a_test_that_measures_nothing_fails(what: str) -> None:
    with pytest.raises(CrashError, match="not measured: "):
        assert_survives(CASES[what].workload, CASES[what].check, prepare=prepare, certified=False)


def test_what_a_workload_returns_otherwise_is_of_no_account() -> None:
    def main(directory: Path) -> int:
        overwrite(directory)
        return 0

    assert explored(main, check).bad


def test_an_error_in_a_thread_of_the_check_is_a_bad_state() -> None:
    def checking(directory: Path) -> None:
        thread = threading.Thread(target=check, args=(directory,))
        thread.start()
        thread.join()

    result = explored(overwrite, checking)
    assert result.bad
    assert result.counterexamples[0].problem.kind == "AssertionError"


# python -O

MODULE = """
def prepare(dir):
    (dir / "state").write_text("1")

def workload(dir):
    (dir / "state").write_text("2")

def check(dir):
    CHECK
"""
WITH_ASSERT = 'assert (dir / "state").read_text() in ("1", "2")'
WITHOUT = 'if (dir / "state").read_text() not in ("1", "2"): raise ValueError("half")'
IN_A_HELPER = "beside.look(dir)\n\nimport beside"


@pytest.mark.parametrize(
    ("checking", "flags", "code"),
    [(WITH_ASSERT, ["-O"], 5), (WITH_ASSERT, [], 1), (WITHOUT, ["-O"], 1), (IN_A_HELPER, ["-O"], 5)],
)
def test_asserts_that_python_took_out_are_missed(tmp_path: Path, checking: str, flags: list[str], code: int) -> None:
    if "beside" in checking:
        (tmp_path / "beside.py").write_text(f"def look(dir):\n    {WITH_ASSERT}\n")
    path = tmp_path / "state.py"
    path.write_text(MODULE.replace("CHECK", checking))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, *flags, "-m", "untorn", "explore", "--jobs", "0", os.fspath(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == code, done.stdout + done.stderr
    if code == 5:
        assert "python -O takes the asserts out of" in done.stdout
        assert "Run it without -O" in done.stdout


def test_a_test_without_its_asserts_fails(tmp_path: Path) -> None:
    (tmp_path / "state.py").write_text(MODULE.replace("CHECK", WITH_ASSERT))
    code = (
        "import state; from untorn.explore import assert_survives; "
        "assert_survives(state.workload, state.check, prepare=state.prepare)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(tmp_path), *filter(None, sys.path)])}
    command = [sys.executable, "-O", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 1
    assert "CrashError: not measured: python -O takes the asserts out of state.py" in done.stderr


# The command


def test_the_command_has_an_exit_code_of_its_own_and_says_so_in_json(tmp_path: Path) -> None:
    path = tmp_path / "nothing.py"
    path.write_text("def workload(dir): pass\ndef check(dir): pass\n")
    result = run("explore", "--json", "--jobs", "0", path)

    assert result.exit_code == 5
    (found,) = json.loads(result.stdout)["results"]
    assert found["unmeasured"]
    assert found["verdict"].startswith("not measured: ")


def test_what_a_module_prints_does_not_spoil_the_output(tmp_path: Path) -> None:
    path = tmp_path / "talks.py"
    path.write_text(
        "import os, sys\nprint('import')\n" + MODULE.replace("CHECK", "print('check'); os.write(1, b'raw')")
    )
    command = [sys.executable, "-m", "untorn", "explore", "--json", "--jobs", "1", os.fspath(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    assert json.loads(done.stdout)["results"][0]["certified"]
    assert all(word in done.stderr for word in ("import", "check", "raw"))
