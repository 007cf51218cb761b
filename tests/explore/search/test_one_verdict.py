"""The same verdict whoever searches: one process, several, other machines; and a check that judges every state."""

from __future__ import annotations

import json
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import run
from untorn.errors import UntornError
from untorn.explore import FunctionTarget, ModuleTarget, Result, ack, acknowledged, explore
from untorn.explore.counterexample.replay import save

SYNCED = """
    with open(dir / "t", "wb") as f:
        f.write(PAYLOAD)
        f.flush()
        os.fsync(f.fileno())
    os.replace(dir / "t", dir / "x")
    d = os.open(dir, os.O_RDONLY)
    os.fsync(d)
    os.close(d)
"""
GLOBAL = """
TOLD = []
def prepare(dir): (dir / "x").write_bytes(b"old")
def workload(dir):
    (dir / "y").write_bytes(b"new")
    TOLD.append("y")
def check(dir):
    for name in TOLD:
        assert (dir / name).read_bytes() == b"new", "lost"
"""
DRAWN = f"""
import os
PAYLOAD = os.urandom(600)
def prepare(dir): (dir / "x").write_bytes(b"old")
def workload(dir):{SYNCED}
def check(dir): assert (dir / "x").read_bytes() in (b"old", PAYLOAD)
"""


def module(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "text", "code"), [("verdict_global", GLOBAL, 1), ("verdict_drawn", DRAWN, 0)])
def test_what_a_module_keeps_gives_one_verdict_with_any_number_of_jobs(
    tmp_path: Path, name: str, text: str, code: int
) -> None:
    path = module(tmp_path, name, text)
    found = [run("explore", "--json", "--jobs", jobs, path) for jobs in ("0", "1", "2")]

    assert [result.exit_code for result in found] == [code] * 3
    verdicts = [json.loads(result.stdout)["results"][0]["verdict"] for result in found]
    assert len(set(verdicts)) == 1


def test_a_worker_whose_module_does_something_else_is_refused(tmp_path: Path) -> None:
    """The same by processes that were not forked off: they import the module again, and draw again."""
    target = ModuleTarget(os.fspath(module(tmp_path, "verdict_elsewhere", DRAWN)))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert "does something else in a worker" in explore(target, executor=pool, workers=1).unmeasured


def test_workers_that_were_not_forked_off_see_what_the_workload_left_in_its_module(tmp_path: Path) -> None:
    target = ModuleTarget(os.fspath(module(tmp_path, "verdict_spawned", GLOBAL)))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert explore(target, executor=pool, workers=1).verdict() == explore(target).verdict()


# Acknowledgements


def test_what_was_told_is_as_it_was_when_it_was_told() -> None:
    def work(directory: Path) -> None:
        state = {"saved": False}
        (directory / "f").write_bytes(b"data")
        state["saved"] = True
        ack(state)
        state["saved"] = False
        ack(state)

    def check(directory: Path) -> None:
        told = acknowledged()
        if len(told) == 1 and told[0]["saved"]:
            assert (directory / "f").read_bytes() == b"data", "lost"

    assert explore(FunctionTarget("told", workload=work, check=check)).bad


def test_a_check_cannot_change_what_was_told() -> None:
    def work(directory: Path) -> None:
        (directory / "f").write_bytes(b"data")
        ack(["f"])

    def check(directory: Path) -> None:
        for names in acknowledged():
            while names:
                assert (directory / names.pop()).read_bytes() == b"data", "lost"

    assert explore(FunctionTarget("told", workload=work, check=check)).bad


@pytest.mark.parametrize("value", [threading.Lock(), [threading.Lock()], iter([threading.Lock()])])
def test_what_cannot_be_copied_is_refused_where_it_is_told(value: Any) -> None:
    with pytest.raises(UntornError, match="cannot copy"):
        explore(FunctionTarget("told", workload=lambda directory: ack(value), check=lambda directory: None))


# A sample is run again


def prepare(directory: Path) -> None:
    (directory / "f").write_bytes(bytes(2048))


def work(directory: Path) -> None:
    with open(directory / "f", "r+b") as file:
        file.write(b"x" * 2048)


def whole(directory: Path) -> None:
    assert (directory / "f").read_bytes() in (bytes(2048), b"x" * 2048)


def judges_once() -> Callable[[Path], None]:
    judged: list[bool] = []

    def check(directory: Path) -> None:
        content = (directory / "f").read_bytes()
        if not judged:
            judged.append(True)
            assert content in (bytes(2048), b"x" * 2048)

    return check


def judges_half_the_time() -> Callable[[Path], None]:
    calls: list[int] = []

    def check(directory: Path) -> None:
        content = (directory / "f").read_bytes()
        calls.append(1)
        assert len(calls) < 3 or content in (bytes(2048), b"x" * 2048)

    return check


@pytest.mark.parametrize("make", [judges_once, judges_half_the_time])
@pytest.mark.parametrize("jobs", [0, 1])
def test_a_check_that_remembers_is_caught(make: Callable[[], Callable[[Path], None]], jobs: int) -> None:
    target = FunctionTarget("remembers", prepare=prepare, workload=work, check=make())
    result = explore(target, jobs=jobs, keep_going=True)

    assert "keeps something from one run to the next" in result.unmeasured or result.bad
    assert not result.certified
    assert explore(FunctionTarget("judges", prepare=prepare, workload=work, check=whole)).bad, "the control"


def test_a_check_that_looks_once_is_caught() -> None:
    found: list[bytes] = []

    def check(directory: Path) -> None:
        if not found:
            found.append((directory / "f").read_bytes())
        assert found[0] in (bytes(2048), b"x" * 2048)

    result = explore(FunctionTarget("looks once", prepare=prepare, workload=work, check=check))
    assert result.unmeasured
    assert not result.certified


# Replaying


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"format": 1, "target": {}}', "\udcff"])
def test_a_file_that_is_no_saved_crash_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "crash.json"
    path.write_text(text, errors="surrogateescape")
    result = run("explore", "--replay", path)

    assert result.exit_code == 3
    assert "is not a saved crash" in result.stderr


def test_a_saved_crash_whose_module_is_gone_or_whose_numbers_do_not_fit_is_told(tmp_path: Path) -> None:
    path = module(tmp_path, "verdict_gone", GLOBAL)
    kept = tmp_path / "crash.json"
    save(explore(ModuleTarget(os.fspath(path))), kept)
    saved = json.loads(kept.read_text())
    for change in ({"events": [999]}, {"origin": [[[9], 9]]}, {"baseline": "?"}, {"target": {"builtin": "nothing"}}):
        kept.write_text(json.dumps({**saved, **change}))
        assert run("explore", "--replay", kept).exit_code == 3
    path.unlink()
    kept.write_text(json.dumps({**saved, "target": {**saved["target"], "module": os.fspath(tmp_path / "no.py")}}))
    assert run("explore", "--replay", kept).exit_code == 3


# Names and messages


def test_names_that_are_no_utf8_and_messages_without_end_are_told(tmp_path: Path) -> None:
    path = module(
        tmp_path, "verdict_names",
        "import os\n"
        "def workload(dir):\n    with open(os.path.join(os.fsencode(dir), b'\\xff'), 'wb') as f: f.write(b'x')\n"
        "def check(dir):\n    for name in os.listdir(dir):\n"
        "        assert (dir / name).stat().st_size, name + '\\n' + 20_000 * 'line\\n'\n",
    )  # fmt: skip
    kept, report = tmp_path / "crash.json", tmp_path / "report.html"
    result = run("explore", "--jobs", "0", "--save", kept, "--report", report, path)

    assert result.exit_code == 1
    assert "more lines" in result.stdout
    assert len(result.stdout.splitlines()) < 60
    assert report.read_text(encoding="utf-8")
    assert run("explore", "--replay", kept).exit_code == 1


def test_a_story_does_not_speak_of_the_name_that_the_directory_has_by_chance(tmp_path: Path) -> None:
    def check(directory: Path) -> None:
        raise ValueError(f"no {directory / 'f'}")

    (story,) = explore(FunctionTarget("path", workload=work_new, check=check)).counterexamples
    assert story.problem.message == "no /untorn-explored/f"


def work_new(directory: Path) -> None:
    (directory / "f").write_bytes(b"x")


def test_results_and_errors_travel() -> None:
    result: Result = explore(FunctionTarget("judges", prepare=prepare, workload=work, check=whole))
    assert pickle.loads(pickle.dumps(result)) == result
