"""Programs that put a whole directory in another's place: certified with every sync, and bad without any one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.explore.lazy.test_brute_equality import directory_swapped, no_recovery, turned_inside_out
from tests.support.every_state import Case, brutally, certified, lazily
from tests.support.random_programs import look_at_all
from untorn.crashmodel.cached_names import Tree
from untorn.crashmodel.history import Names
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Operation
from untorn.explore import ack, acknowledged
from untorn.explore.certificate.counting import RefusedError
from untorn.explore.counterexample import replay
from untorn.explore.explorer import explore
from untorn.explore.interpose import Interposer
from untorn.explore.result import Result
from untorn.explore.targets.python_module import FunctionTarget, ModuleTarget

OLD, NEW = {"a": "old", "b": "old"}, {"a": "new", "b": "new"}


def sync(path: Path, *, unless: bool = False) -> None:
    if not unless:
        number = os.open(path, os.O_RDONLY)
        os.fsync(number)
        os.close(number)


def filled(directory: Path, content: dict[str, str], *, unless: bool = False) -> None:
    for name, text in content.items():
        (directory / name).write_text(text)
        sync(directory / name, unless=unless)


def read(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


# A new directory takes the place of an old one


def prepare(dir: Path) -> None:
    (dir / "data").mkdir()
    filled(dir / "data", OLD)


def swap(missing: str) -> Callable[[Path], None]:
    def workload(dir: Path) -> None:
        (dir / "data.new").mkdir()
        filled(dir / "data.new", NEW, unless=missing == "file")
        sync(dir / "data.new", unless=missing == "new directory")
        os.rename(dir / "data", dir / "data.old")
        os.rename(dir / "data.new", dir / "data")
        sync(dir, unless=missing == "parent")
        ack("new")
        shutil.rmtree(dir / "data.old")

    return workload


def swap_back(dir: Path) -> None:
    """What was cut off between the renames is undone."""
    if not (dir / "data").exists():
        os.rename(dir / "data.old", dir / "data")
        sync(dir)


def check_swap(dir: Path) -> None:
    found = read(dir / "data")
    assert found in (OLD, NEW), "neither the old nor the new"
    assert found == NEW or "new" not in acknowledged(), "what was acknowledged is gone"


def check_content(dir: Path) -> None:
    assert read(dir / "data") in (OLD, NEW), "neither the old nor the new"


def swapped(missing: str = "", check: Callable[[Path], None] = check_swap, **options: Any) -> Result:
    target = FunctionTarget(
        "swap", workload=swap(missing), check=check, recover=swap_back, prepare=prepare, options=options
    )
    return explore(target, recovery_crashes=1)


def test_a_directory_that_is_synced_before_and_after_its_rename_is_certified() -> None:
    assert swapped().certified


LOST = {
    "file": "lost: write of 3 bytes at 0 to /untorn-explored/data.new/",
    "new directory": "lost: the name /untorn-explored/data.new/",
    "parent": "lost: rename of /untorn-explored/data.new to /untorn-explored/data (",
}
"""By the sync that is missing: what the story says."""


@pytest.mark.parametrize("missing", LOST)
def test_without_any_one_of_the_syncs_it_is_bad_and_the_story_says_what_is_lost(missing: str) -> None:
    result = swapped(missing)
    assert result.bad
    words = result.counterexamples[0].text
    assert LOST[missing] in words
    assert "could not be confirmed" not in words


def test_a_rename_that_was_not_synced_may_bring_a_directory_back_that_has_been_emptied() -> None:
    result = swapped("parent", check_content)
    assert result.bad
    assert "unlink of /untorn-explored/data.old/" in result.counterexamples[0].text
    assert LOST["parent"] in result.counterexamples[0].text


def test_under_the_rules_of_linux_it_needs_its_syncs_too() -> None:
    assert not swapped(profile="linux").bad
    assert all(swapped(missing, profile="linux").bad for missing in ("file", "parent"))


def test_a_saved_crash_of_a_directory_is_shown_again(tmp_path: Path) -> None:
    module = tmp_path / "swap_unsynced.py"
    module.write_text(SWAP, encoding="utf-8")
    result = explore(ModuleTarget(os.fspath(module)))
    replay.save(result, tmp_path / "crash.json")
    assert replay.run(tmp_path / "crash.json").counterexamples[0].text == result.counterexamples[0].text


SWAP = """
import os

def prepare(dir):
    (dir / "data").mkdir()
    (dir / "data" / "f").write_text("old")

def workload(dir):
    (dir / "new").mkdir()
    (dir / "new" / "f").write_text("new")
    os.rename(dir / "data", dir / "old")
    os.rename(dir / "new", dir / "data")

def check(dir):
    found = [dir / name / "f" for name in ("data", "old") if (dir / name).exists()]
    assert found[0].read_text() in ("old", "new")
"""


def test_what_one_crash_undoes_of_several_renames_is_told_of_each() -> None:
    def workload(dir: Path) -> None:
        os.rename(dir / "data", dir / "old")
        os.rename(dir / "old", dir / "older")
        ack("moved")

    def check(dir: Path) -> None:
        assert not (dir / "data").exists() or not acknowledged(), "not moved at all"

    result = explore(FunctionTarget("twice", workload=workload, check=check, prepare=prepare))
    words = result.counterexamples[0].text
    assert "lost: rename of /untorn-explored/data to /untorn-explored/old (" in words
    assert "and rename of /untorn-explored/old to /untorn-explored/older (" in words


# A package that is unpacked beside and then moved to where it belongs


def install(missing: str) -> Callable[[Path], None]:
    def workload(dir: Path) -> None:
        staging = Path(tempfile.mkdtemp(dir=dir / "tmp"))
        (staging / "sub").mkdir()
        filled(staging / "sub", NEW, unless=missing == "file")
        sync(staging / "sub", unless=missing == "inner directory")
        sync(staging, unless=missing == "directory")
        shutil.move(staging, dir / "site" / "package")
        sync(dir / "site", unless=missing == "new parent")
        sync(dir / "tmp", unless=missing == "old parent")
        ack("installed")

    return workload


def installed(missing: str = "") -> Result:
    def prepare(dir: Path) -> None:
        (dir / "tmp").mkdir()
        (dir / "site").mkdir()

    def check(dir: Path) -> None:
        package = dir / "site" / "package"
        assert package.exists() or not acknowledged(), "what was acknowledged is gone"
        if package.exists():
            assert read(package / "sub") == NEW
            assert not os.listdir(dir / "tmp"), "in two places"

    return explore(FunctionTarget("install", workload=install(missing), check=check, prepare=prepare))


def test_a_package_that_is_moved_into_its_place_is_there_whole_or_not_at_all() -> None:
    assert installed().certified
    assert installed("old parent").certified  # a directory that came to its new place has left the old one


@pytest.mark.parametrize("missing", ["file", "inner directory", "directory", "new parent"])
def test_a_package_is_not_whole_without_any_other_sync(missing: str) -> None:
    assert installed(missing).bad


# Descriptors, and files of ours


def test_a_sync_of_a_descriptor_is_one_of_the_directory_that_was_opened() -> None:
    def tell(name: str) -> Result:
        def workload(dir: Path) -> None:
            number = os.open(dir / "data", os.O_RDONLY)
            os.rename(dir / "data", dir / "moved")
            sync(dir)
            (dir / "data").mkdir()
            (dir / "moved" / "c").touch()
            os.fsync(number) if name == "descriptor" else sync(dir / "data")
            ack("made")

        def check(dir: Path) -> None:
            assert (dir / "moved" / "c").exists() or not acknowledged()

        return explore(FunctionTarget(name, workload=workload, check=check, prepare=prepare))

    assert tell("descriptor").certified
    assert tell("path").bad


def test_a_file_of_ours_goes_with_its_directory_while_it_is_open() -> None:
    def workload(dir: Path) -> None:
        with untorn.open(dir / "data" / "a", "r+b") as file:
            os.rename(dir / "data", dir / "moved")
            (dir / "data").mkdir()
            sync(dir)
            file.write(b"new")
        ack("written")

    def check(dir: Path) -> None:
        path = next(dir / name / "a" for name in ("moved", "data") if (dir / name / "a").exists())
        untorn.recover(path)
        assert path.read_text() in ("old", "new")
        assert path.read_text() == "new" or not acknowledged()

    assert explore(FunctionTarget("ours", workload=workload, check=check, prepare=prepare)).certified


# Splice


def spliced(*, synced: bool) -> Result:
    def workload(dir: Path) -> None:
        source, sink = os.pipe()
        with open(dir / "data" / "a", "rb") as old, open(dir / "copy", "wb") as new:
            while moved := os.splice(old.fileno(), sink, 2):
                os.splice(source, new.fileno(), moved)
            sync(dir / "copy", unless=not synced)
        os.rename(dir / "copy", dir / "copied")
        os.close(source)
        os.close(sink)

    def check(dir: Path) -> None:
        assert not (dir / "copied").exists() or (dir / "copied").read_text() == "old"

    return explore(FunctionTarget("spliced", workload=workload, check=check, prepare=prepare))


def test_what_is_spliced_into_a_file_is_a_write() -> None:
    assert spliced(synced=True).certified
    result = spliced(synced=False)
    assert result.bad
    assert "lost: write of" in result.counterexamples[0].text


def test_what_a_full_disk_does_not_take_stays_in_the_pipe() -> None:
    with Interposer(SimulatedStorage(capacity=4096)) as directory:
        source, sink = os.pipe()
        os.write(sink, b"x" * 5000)
        file = os.open(directory / "f", os.O_RDWR | os.O_CREAT)
        assert os.splice(source, file, 5000) == 4096
        with pytest.raises(OSError, match="No space left") as full:
            os.splice(source, file, 5000)
        assert full.value.errno == errno.ENOSPC
        assert len(os.read(source, 5000)) == 5000 - 4096
        for number in (source, sink, file):
            os.close(number)


# That a fault in the rules would be seen


def at_once(self: History, operation: Operation) -> None:
    """A fault: a directory's rename is durable when it returns."""
    COMPLETE(self, operation)
    if operation.name == "rename" and self._inodes[operation.inode].is_directory:
        for owner in [owner for owner in self._open if isinstance(owner, Names)]:
            self._settle(owner, frozenset({"name"}), operation, lambda version: version.issued == operation.issued)


def in_two_places(self: History, operation: Operation) -> None:
    """A fault: a directory's old name may stand beside the new one, as a file's."""
    known = len(self._ties)
    ISSUE(self, operation)
    del self._ties[known + 1 :]


COMPLETE, ISSUE = History._complete, History._issue


def case(work: Callable[[SimulatedStorage], None]) -> Case:
    machine = SimulatedStorage()
    machine.make_directory("/d")
    work(machine)
    return Case(machine, no_recovery, look_at_all)


@pytest.mark.parametrize(
    ("owner", "name", "fault", "work"),
    [
        (History, "_complete", at_once, directory_swapped),
        (History, "_issue", in_two_places, directory_swapped),
        (Tree, "move", lambda *_: [], turned_inside_out),
    ],
)
def test_a_fault_in_the_rules_for_directories_is_seen_by_brute_force_and_by_the_certificate(
    owner: type, name: str, fault: Any, work: Callable[[SimulatedStorage], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault)
    broken = case(work)
    quick, search = lazily(broken)
    assert brutally(broken) != quick
    with pytest.raises(RefusedError):
        certified(broken, search)
