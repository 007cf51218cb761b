"""However recover or check end other than by returning, the state is bad; a workload may end as programs do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import run
from untorn.explore import FunctionTarget, Result, explore

ENDINGS: dict[str, Callable[[], Any]] = {
    "SystemExit": lambda: sys.exit(0),
    "os._exit": lambda: os._exit(0),
    "os.abort": os.abort,
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "raise_signal": lambda: signal.raise_signal(signal.SIGKILL),
    "pytest.fail": lambda: pytest.fail("no"),
    "CancelledError": lambda: raising(asyncio.CancelledError()),
    "GeneratorExit": lambda: raising(GeneratorExit()),
}


def raising(error: BaseException) -> None:
    raise error


def prepare(directory: Path) -> None:
    (directory / "state").write_text("1")


def overwrite(directory: Path) -> None:
    (directory / "state").write_text("2")


def check(directory: Path) -> None:
    assert (directory / "state").read_text() in ("1", "2")


def explored(**functions: Any) -> Result:
    return explore(FunctionTarget("ending", **{"prepare": prepare, "workload": overwrite, "check": check, **functions}))


@pytest.mark.parametrize("stage", ["recover", "check"])
@pytest.mark.parametrize("how", ENDINGS)
def test_a_recovery_or_a_check_that_ends_the_process_is_a_bad_state(how: str, stage: str) -> None:
    def end(directory: Path) -> None:
        if not (directory / "state").stat().st_size:
            ENDINGS[how]()

    kept = {"check": lambda directory: None, stage: end}
    result = explored(**kept)

    assert result.bad
    assert result.counterexamples[0].problem.stage == stage


@pytest.mark.parametrize("how", ["SystemExit", "os._exit", "os.abort", "SIGKILL"])
def test_a_workload_may_end_its_process(how: str) -> None:
    def work(directory: Path) -> None:
        overwrite(directory)
        ENDINGS[how]()

    assert explored(workload=work).bad


def test_nothing_that_a_program_does_after_os_exit_is_recorded() -> None:
    def work(directory: Path) -> None:
        with open(directory / "state", "w", encoding="utf-8") as file:
            try:
                file.write("2")
                os._exit(0)
            finally:
                os.fsync(file.fileno())

    def swallows(directory: Path) -> None:
        overwrite(directory)
        try:
            os._exit(0)
        except BaseException:
            (directory / "other").write_text("never")

    names = [operation["name"] for operation in explored(workload=work).operations]
    assert names == ["open", "truncate"]
    assert not any("other" in operation["path"] for operation in explored(workload=swallows).operations)


def test_a_step_that_ends_by_sys_exit_is_followed_by_the_next() -> None:
    def first(directory: Path) -> None:
        (directory / "first").write_text("1")
        sys.exit(1)

    target = FunctionTarget("steps", steps=[first, overwrite], prepare=prepare, check=check)
    assert {"first", "state"} <= {os.path.basename(o["path"]) for o in explore(target).operations}


def test_an_exception_of_a_workload_is_exit_code_2_and_no_result_is_dropped(tmp_path: Path) -> None:
    modules = {
        "good": "def workload(dir): (dir / 'a').write_text('x')\ndef check(dir): pass\n",
        "fails": "import pytest\ndef workload(dir): pytest.fail('no')\ndef check(dir): pass\n",
        "unseen": "import io\ndef workload(dir): (dir / 'a').write_text('x')\n"
        "def check(dir):\n    if (dir / 'a').exists(): io.FileIO(dir / 'a')\n",
        "dies": "import ctypes\ndef workload(dir): (dir / 'a').write_text('x')\ndef check(dir): ctypes.string_at(0)\n",
    }
    paths = []
    for name, text in modules.items():
        paths.append(tmp_path / f"{name}.py")
        paths[-1].write_text(text)
    result = run("explore", "--json", "--jobs", "1", *paths[:2])
    every = run("explore", "--json", "--jobs", "1", *paths[1:], paths[0])

    assert (result.exit_code, every.exit_code) == (2, 3)
    assert [one["target"] for one in json.loads(result.stdout)["results"]] == ["good"]
    assert [one["target"] for one in json.loads(every.stdout)["results"]] == ["good"]
    unexplored = json.loads(every.stdout)["unexplored"]
    assert [(one["target"], one["code"]) for one in unexplored] == [("fails", 2), ("unseen", 3), ("dies", 3)]


def test_a_module_that_ends_the_process_when_it_is_imported_is_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "ends.py"
    path.write_text("import sys\nsys.exit(0)\n")

    assert run("explore", path).exit_code == 2
