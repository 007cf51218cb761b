"""``untorn explore``: targets, exit codes, what is printed, executors, budgets, interrupts, saving and replaying."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import run
from untorn.cli.explored import fields, lines, summary
from untorn.cli.progress import Watch, progress_words
from untorn.explore.explorer import Budget, Progress
from untorn.explore.result import Counterexample, Coverage, Result
from untorn.explore.search_record import Problem
from untorn.explore.selftest.scripted_session import stamp

OLD, NEW = "old " * 300, "new " * 400

MODULE = f"""
import os
from untorn.explore import ack

OLD, NEW = {OLD!r}, {NEW!r}

def write(path, text, sync):
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())

def sync_directory(directory):
    number = os.open(directory, os.O_RDONLY)
    os.fsync(number)
    os.close(number)

def prepare(directory):
    write(directory / "settings", OLD, True)
    sync_directory(directory)

def workload(directory):
    write(directory / "settings.new", NEW, SYNC)
    os.rename(directory / "settings.new", directory / "settings")
    if SYNC:
        sync_directory(directory)

def recover(directory):
    left = directory / "settings.new"
    if left.exists() and left.stat().st_size:
        left.unlink()

def check(directory):
    found = (directory / "settings").read_text()
    if found not in (OLD, NEW):
        raise ValueError(f"half a file: {{len(found)}} characters")
"""


@pytest.fixture
def safe(tmp_path: Path) -> Path:
    """Written, synced, renamed."""
    path = tmp_path / "safe.py"
    path.write_text(MODULE + "\nSYNC = True\n")
    return path


@pytest.fixture
def unsafe(tmp_path: Path) -> Path:
    """Written and renamed."""
    path = tmp_path / "unsafe.py"
    path.write_text(MODULE + "\nSYNC = False\n")
    return path


def explored(*arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and results as JSON, found in this process."""
    result = run("explore", "--json", "--jobs", "0", *arguments)
    return result.exit_code, json.loads(result.stdout)["results"]


# What is found


def test_a_rename_without_a_sync_is_found_and_its_story_names_the_line(unsafe: Path) -> None:
    result = run("explore", "--jobs", "0", unsafe)

    assert result.exit_code == 1
    assert result.stdout.startswith("unsafe: BAD: ")
    line = 1 + MODULE.splitlines().index('    os.rename(directory / "settings.new", directory / "settings")')
    assert f"unsafe.py:{line} in workload" in result.stdout
    assert "ValueError: half a file: " in result.stdout
    assert "raised at " in result.stdout


def test_a_rename_after_a_sync_is_fine(safe: Path) -> None:
    result = run("explore", "--jobs", "0", safe)

    assert result.exit_code == 0
    assert result.stdout.startswith("safe: certified: ")


RESULT_KEYS = {
    "target", "profile", "rung", "rungs", "recoveries", "states", "nested", "certified", "refusal", "unmeasured",
    "interrupted", "bad", "stories", "scope", "seconds", "operations", "log2_states", "verdict",
}  # fmt: skip
STORY_KEYS = {"kind", "problem", "crash", "event", "after", "deviations", "words", "choices", "files"}


def test_json_has_everything_that_is_known_under_the_names_of_its_schema(unsafe: Path) -> None:
    code, (found,) = explored(unsafe)

    assert code == 1
    assert found.keys() == RESULT_KEYS
    assert len(found) == len(dataclasses.fields(Result)) + 2
    (story,) = found["stories"]
    assert story.keys() == STORY_KEYS
    assert len(story) == len(dataclasses.fields(Counterexample))
    assert (story["problem"]["kind"], story["problem"]["stage"]) == ("ValueError", "check")
    assert [operation["name"] for operation in found["operations"]].count("rename") == 1
    lost = [file for file in story["files"] if file["path"].endswith("/settings")]
    assert lost[0]["sectors"] == [["gone", 3], ["old", 1]]


def test_a_number_of_states_with_more_digits_than_python_converts_is_told() -> None:
    result = Result("t", "strict", Coverage.EXHAUSTIVE, states=3 << 20_000, certified=True)

    assert json.loads(json.dumps(fields(result)))["states"] == 3 << 20_000
    assert "2^20002" in lines(result)[0]
    assert len(lines(result)[0]) < 200


def test_several_targets_end_with_a_table_that_counts_them(safe: Path, unsafe: Path) -> None:
    result = run("explore", "--jobs", "0", safe, unsafe)

    assert result.exit_code == 1
    assert ", 1 BAD" in result.stdout.splitlines()[-1]
    assert result.stdout.splitlines()[-1].startswith("2 targets: ")


def test_a_kept_state_is_shown_again(unsafe: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    first = run("explore", "--jobs", "0", "--save", kept, unsafe)
    again = run("explore", "--replay", kept)

    assert (first.exit_code, again.exit_code) == (1, 1)
    assert str(kept) in first.stderr
    assert again.stdout.split("bad state 1")[1] == first.stdout.split("bad state 1")[1]


def test_nothing_is_kept_where_nothing_is_bad(safe: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"

    assert run("explore", "--jobs", "0", "--save", kept, safe).exit_code == 0
    assert not kept.exists()


def test_a_report_is_written_beside_the_output(unsafe: Path, safe: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    result = run("explore", "--jobs", "0", "--report", report, unsafe, safe)

    assert result.exit_code == 1
    assert str(report) in result.stderr
    text = report.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "half a file" in text
    assert "Bad states found in 1 of 2 targets" in text


# Which targets


def test_built_in_targets_are_listed_and_found_by_their_names() -> None:
    listed = run("explore", "--list")
    names = json.loads(run("explore", "--list", "--json").stdout)["groups"]["library"]

    assert listed.exit_code == 0
    assert all(f"  {name}\n" in listed.stdout for name in names)
    code, (found,) = explored("commits", "--recoveries", "3", "--recovery-crashes", "0")
    assert (code, found["target"]) == (0, "commits")


def test_a_module_is_found_by_its_dotted_name(unsafe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(unsafe.parent)

    assert run("explore", "--jobs", "0", "unsafe").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["commits", "--all", "library"],
        ["no.such.module"],
        ["no_such_file.py"],
        ["commits", "--jobs", "-1"],
        ["commits", "--seconds", "0"],
        ["commits", "--profile", "lenient"],
        ["--replay", "no_such_file.json"],
        ["commits", "--report", "no/such/directory/file.html"],
    ],
)
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    assert run("explore", *arguments).exit_code == 2


@pytest.mark.parametrize("text", ["def workload(directory): pass", "this is no Python", "raise RuntimeError('hello')"])
def test_a_module_that_is_no_target_is_refused_with_its_own_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(text)
    result = run("explore", path)

    assert result.exit_code == 2
    assert "wrong.py" in result.stderr
    assert any(word in result.stderr for word in ("does not define check", "SyntaxError", "RuntimeError: hello"))
    assert "fault of untorn" not in result.stderr


def test_a_workload_that_raises_is_told_and_the_others_are_explored(tmp_path: Path, unsafe: Path) -> None:
    path = tmp_path / "raises.py"
    path.write_text("def workload(directory):\n    raise KeyError('\\x1b[31m')\n\ndef check(directory): pass\n")
    result = run("explore", "--jobs", "0", path)
    both = run("explore", "--jobs", "0", path, unsafe)

    assert result.exit_code == 2
    assert "raises: its workload does not run: KeyError" in result.stderr
    assert "raises.py:2" in result.stderr
    assert "\x1b" not in result.stderr
    assert both.exit_code == 1
    assert "unsafe: BAD" in both.stdout


def test_a_workload_that_cannot_be_run_here_is_exit_code_3(tmp_path: Path) -> None:
    path = tmp_path / "lacks.py"
    path.write_text(
        "from untorn.errors import UntornError\n"
        "def workload(directory): raise UntornError('needs a moon')\n"
        "def check(directory): pass\n"
    )
    result = run("explore", "--jobs", "0", path)

    assert result.exit_code == 3
    assert "needs a moon" in result.stderr


# With what


def test_processes_find_what_one_does(unsafe: Path) -> None:
    code, alone = explored(unsafe, "--keep-going")
    result = run("explore", "--json", "--jobs", "2", "--keep-going", unsafe)

    assert (code, result.exit_code) == (1, 1)
    together = json.loads(result.stdout)["results"]
    for found in (*alone, *together):
        del found["seconds"]
    assert together == alone


def test_machines_of_dask_find_what_one_process_does(unsafe: Path, cluster: str) -> None:
    code, alone = explored(unsafe, "--keep-going")
    result = run("explore", "--json", "--dask", cluster, "--keep-going", unsafe)

    assert (code, result.exit_code) == (1, 1)
    together = json.loads(result.stdout)["results"]
    for found in (*alone, *together):
        del found["seconds"]
    assert together == alone


def test_a_worker_that_dies_is_told_and_is_exit_code_3(safe: Path) -> None:
    safe.write_text(safe.read_text() + "\nimport ctypes\ndef check(directory):\n    ctypes.string_at(0)\n")
    result = run("explore", "--jobs", "1", safe)

    assert result.exit_code == 3
    assert "a worker process died" in result.stderr


def test_a_built_in_target_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept.json"
    monkeypatch.setattr("untorn.explore.selftest.targets.state_is_a_commit", refuse)
    first = run("explore", "--jobs", "0", "--recovery-crashes", "0", "--seed", "3", "--save", kept, "commits")
    again = run("explore", "--replay", kept)

    assert (first.exit_code, again.exit_code) == (1, 1)
    assert again.stdout.split("bad state 1")[1] == first.stdout.split("bad state 1")[1]


def refuse(found: bytes, *rest: object) -> None:
    """A check that takes only the file as it was at first."""
    if found[:2] != stamp(1, 2):
        raise ValueError("changed")


@pytest.fixture
def cluster() -> Iterator[str]:
    """Address of a scheduler with two workers, each a process."""
    distributed: Any = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, worker_dashboard_address=None,
        silence_logs="ERROR",
    ) as found:  # fmt: skip
        yield found.scheduler_address


def test_what_is_not_installed_is_exit_code_3_and_says_what_to_install(
    safe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    dask = run("explore", safe, "--dask", "tcp://127.0.0.1:1")
    report = run("explore", safe, "--report", tmp_path / "report.html")

    assert (dask.exit_code, report.exit_code) == (3, 3)
    assert "--dask needs the package distributed: run pip install '.[dask]' in a checkout of untorn" in dask.stderr
    assert "--report needs the package jinja2: run pip install '.[report]' in a checkout of untorn" in report.stderr
    assert report.stdout == ""


def test_a_budget_ends_a_search_and_then_nothing_is_certified(many: Path) -> None:
    code, (found,) = explored(many, "--recoveries", "20")
    _, (whole,) = explored(many)

    assert code == 0
    assert (found["certified"], whole["certified"]) == (False, True)
    assert "not certified: the budget ended the search" in found["verdict"]


# Interrupts

MANY = """
import itertools, signal

calls = itertools.count()

def prepare(directory):
    (directory / "data").write_bytes(bytes(3072))

def workload(directory):
    with open(directory / "data", "r+b") as file:
        file.write(b"x" * 3072)

def check(directory):
    found = (directory / "data").read_bytes()
    if next(calls) == INTERRUPT:
        signal.raise_signal(signal.SIGINT)
    assert b"x" not in found or not STRICT
"""


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Any of 64 states, and all are fine; each recovery is handed over as soon as it is done."""
    monkeypatch.setattr("untorn.explore.explorer.SLICE_SECONDS", 0.0)
    path = tmp_path / "many.py"
    path.write_text(MANY + "\nINTERRUPT, STRICT = None, False\n")
    return path


@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize(("strict", "code"), [(False, 130), (True, 1)])
@pytest.mark.parametrize("when", [40, 70])
def test_an_interrupt_ends_with_what_is_known_by_then(many: Path, strict: bool, code: int, when: int) -> None:
    many.write_text(f"{MANY}\nINTERRUPT, STRICT = {when}, {strict}\n")
    result = run("explore", "--jobs", "0", "--keep-going", many)

    if not strict and when == 70:  # after 64 checks all is known
        assert result.exit_code == 0
        return
    assert result.exit_code == code
    assert result.stdout.startswith("many: ")
    assert "interrupted: what was not yet tried is not known to be fine" in result.stdout
    assert "certified:" not in result.stdout.replace("not certified:", "")


# Progress


def test_progress_tells_rate_and_what_is_left_of_the_budget() -> None:
    found = Progress("t", Coverage.EXHAUSTIVE, 1500, 40, 2, 3.0, Budget(10.0, 2000))

    assert progress_words(found) == "t: 1,500 recoveries, 500/s, 2 BAD, 40 waiting, 7 s left, 500 recoveries left"


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 1.0, 6.0, 6.0, 7.0, 12.0, 12.0])
    watch = Watch(lambda words, done: None, clock=lambda: next(times))
    for count in (10, 20, 30, 40):
        watch(Progress("t", Coverage.EXHAUSTIVE, count))
    told = capsys.readouterr().err.splitlines()

    assert [line.split()[2] for line in told] == ["20", "40"]


# Words


def story(words: str) -> Counterexample:
    return Counterexample("torn", Problem("E", "m\x1b", "check", "\x1b:1"), "power", 1, 0, [], words)


def test_what_a_terminal_would_act_on_is_escaped() -> None:
    result = Result(
        "\x1b[2J", "strict", Coverage.EXHAUSTIVE, bad=1, scope=["\x1b"], counterexamples=[story("\x1b\n\x07")]
    )

    assert all(line.isprintable() for line in [*lines(result), *summary([result, result])])
