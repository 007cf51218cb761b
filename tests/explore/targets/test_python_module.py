"""Plain modules and functions, explored: what is found, how it is told, that it can be replayed."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from untorn.errors import UntornError
from untorn.explore import (
    Budget,
    Coverage,
    CrashError,
    FunctionTarget,
    ModuleTarget,
    ack,
    acknowledged,
    assert_survives,
    explore,
)
from untorn.explore.counterexample.replay import run, save
from untorn.explore.search.fingerprint import fingerprint

CARELESS = """
import os

def prepare(dir):
    (dir / "settings").write_text("old" * 300)

def workload(dir):
    (dir / "settings.tmp").write_text("new" * 300)
    os.replace(dir / "settings.tmp", dir / "settings")

def check(dir):
    assert (dir / "settings").read_text() in ("old" * 300, "new" * 300)
"""


def prepare(directory: Path) -> None:
    (directory / "settings").write_text("old" * 300)


def replace_carelessly(directory: Path) -> None:
    (directory / "settings.tmp").write_text("new" * 300)
    os.replace(directory / "settings.tmp", directory / "settings")


def replace_carefully(directory: Path) -> None:
    with open(directory / "settings.tmp", "w", encoding="utf-8") as file:
        file.write("new" * 300)
        file.flush()
        os.fsync(file.fileno())
    os.replace(directory / "settings.tmp", directory / "settings")
    _sync(directory)
    ack("new")


def replace_and_promise_too_early(directory: Path) -> None:
    with open(directory / "settings.tmp", "w", encoding="utf-8") as file:
        file.write("new" * 300)
        file.flush()
        os.fsync(file.fileno())
    os.replace(directory / "settings.tmp", directory / "settings")
    ack("new")
    _sync(directory)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def check(directory: Path) -> None:
    text = (directory / "settings").read_text()
    assert text in ("old" * 300, "new" * 300)
    assert text == "new" * 300 or not acknowledged(), "what was acknowledged is gone"


def test_a_rename_without_a_sync_is_found_and_told_with_the_line_that_wrote() -> None:
    result = explore(FunctionTarget("careless", workload=replace_carelessly, check=check, prepare=prepare))

    (story,) = result.counterexamples
    assert result.bad
    assert story.kind == "reordered"
    assert [deviation.fate for deviation in story.deviations] == ["lost"]
    assert "in replace_carelessly" in story.text
    assert "write of 900 bytes at 0" in story.text


def test_a_rename_with_all_its_syncs_is_certified() -> None:
    result = assert_survives(replace_carefully, check, prepare=prepare)

    assert result.certified
    assert result.verdict().startswith("certified: ")
    assert result.states > 10


def test_an_acknowledgement_before_the_sync_of_the_directory_is_found() -> None:
    with pytest.raises(CrashError, match="what was acknowledged is gone"):
        assert_survives(replace_and_promise_too_early, check, prepare=prepare)


def test_an_exploration_that_is_not_complete_is_no_proof_unless_that_is_wanted() -> None:
    def workload(directory: Path) -> None:
        for index in range(12):
            (directory / f"{index}").write_text("x")

    def look(directory: Path) -> None:
        for path in directory.iterdir():
            path.read_text()

    with pytest.raises(CrashError, match="give it more seconds"):
        assert_survives(workload, look, seconds=0.2)
    result = explore(FunctionTarget("many", workload=workload, check=look), budget=Budget(recoveries=200))
    assert not result.certified
    assert result.coverage is not Coverage.EXHAUSTIVE
    assert "certified:" not in result.verdict().replace("not certified:", "")


def test_the_fewest_steps_that_are_bad_are_kept() -> None:
    def one(directory: Path) -> None:
        (directory / "one").write_text("1")

    def two(directory: Path) -> None:
        (directory / "two").write_text("2")

    target = FunctionTarget("steps", steps=[one, replace_carelessly, two], check=check, prepare=prepare)
    result = explore(target)

    (story,) = result.counterexamples
    assert story.event <= 8, "only the step that is bad was run again"
    assert "one" not in story.text


def test_a_saved_crash_is_shown_again_and_refused_when_the_workload_has_changed(tmp_path: Path) -> None:
    source = tmp_path / "careless_settings.py"
    source.write_text(CARELESS)
    result = explore(ModuleTarget(str(source)))
    save(result, tmp_path / "crash.json")

    again = run(tmp_path / "crash.json")

    assert again.bad == 1
    assert again.counterexamples[0].text == result.counterexamples[0].text
    saved = json.loads((tmp_path / "crash.json").read_text())
    saved["trace"] = "0" * 16
    (tmp_path / "crash.json").write_text(json.dumps(saved))
    with pytest.raises(UntornError, match="does something else now"):
        run(tmp_path / "crash.json")


def test_the_same_module_records_the_same_trace_every_time(tmp_path: Path) -> None:
    source = tmp_path / "careless_twice.py"
    source.write_text(CARELESS)
    target = ModuleTarget(str(source))

    first, second = (fingerprint(each.record().trace) for each in (target, pickle.loads(pickle.dumps(target))))

    assert first == second


def test_a_module_without_check_or_workload_is_refused_with_words(tmp_path: Path) -> None:
    (tmp_path / "no_check.py").write_text("def workload(dir): pass\n")
    (tmp_path / "no_workload.py").write_text("def check(dir): pass\n")

    with pytest.raises(UntornError, match="does not define check"):
        ModuleTarget(str(tmp_path / "no_check.py"))
    with pytest.raises(UntornError, match="workload"):
        ModuleTarget(str(tmp_path / "no_workload.py"))
    with pytest.raises(FileNotFoundError):
        ModuleTarget(str(tmp_path / "nowhere.py"))
