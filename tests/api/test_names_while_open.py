"""What becomes of a file whose name, owner, time or directory changes while it is open here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.machine import needs
from tests.support.real_files import OLD, PAGE, asides, killed, quietly, read, sidecar
from untorn.errors import ForeignEditError, LogError, MissingLogError, UntornWarning
from untorn.log.writer import MARK
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.interface import Storage
from untorn.storage.linux import LinuxStorage

NEW = b"A" * PAGE + b"B" * PAGE + OLD[2 * PAGE :]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "data"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def elsewhere(path: Path) -> Path:
    folder = path.parent.with_name("elsewhere")
    folder.mkdir()
    return path.rename(folder / "moved")


def folder_renamed(path: Path) -> Path:
    return path.parent.rename(path.parent.with_name("renamed")) / path.name


def folder_swapped(path: Path) -> Path:
    """Another directory takes the name, with a file of the same name and something in the place of its log."""
    moved = folder_renamed(path)
    path.parent.mkdir()
    path.write_bytes(b"another file")
    sidecar(path).write_bytes(b"not ours")
    return moved


def linked(path: Path) -> Path:
    path.with_name("link").hardlink_to(path)
    return path


def replaced_but_kept_by_a_link(path: Path) -> Path:
    """As an editor that keeps a backup does it: link, then a new file over the name."""
    path.with_name("backup").hardlink_to(path)
    path.with_name("new").write_bytes(b"the editor's")
    path.with_name("new").rename(path)
    return path.with_name("backup")


def mode_changed(path: Path) -> Path:
    path.chmod(0o600)
    return path


def owner_set(path: Path) -> Path:
    os.chown(path, os.geteuid(), os.getegid())
    return path


def attribute_set(path: Path) -> Path:
    os.setxattr(path, "user.theirs", b"1")
    return path


ACTS: dict[str, Callable[[Path], Path]] = {
    "renamed": lambda path: path.rename(path.with_name("moved")),
    "moved to another directory": elsewhere,
    "its directory renamed": folder_renamed,
    "its directory swapped": folder_swapped,
    "linked to": linked,
    "replaced, and kept under another name": replaced_but_kept_by_a_link,
    "its mode changed": mode_changed,
    "its owner set to what it was": owner_set,
    "an attribute set": attribute_set,
}


def beside(path: Path) -> list[str]:
    """Names anywhere near the file that have to do with untorn, but for what the swapped directory holds."""
    names = [str(name) for name in path.parent.parent.rglob("*-untorn*")]
    return [name for name in names if read(name) != b"not ours"]


@pytest.mark.parametrize("committed", [True, False], ids=["with commits in the log", "before the first commit"])
@pytest.mark.parametrize("act", ACTS)
def test_the_handle_works_on_with_its_file_under_whatever_name(path: Path, act: str, committed: bool) -> None:
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.pwrite(b"A" * PAGE, 0)
    if committed:
        file.flush()
    moved = ACTS[act](path)
    file.pwrite(b"B" * PAGE, PAGE)
    file.flush()
    file.close()
    assert read(moved) == NEW
    assert beside(moved) == []
    assert MARK not in os.listxattr(moved)
    if "swapped" in act:
        assert read(path) == b"another file"
    if "replaced" in act:
        assert read(path) == b"the editor's"


def test_control_names_that_are_found_by_their_path_lead_astray(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinuxStorage, "directory", Storage.directory)
    with pytest.raises((AssertionError, OSError)):
        test_the_handle_works_on_with_its_file_under_whatever_name(path, "its directory renamed", committed=False)


def test_a_log_set_aside_by_who_took_the_name_is_still_removed_at_the_end(path: Path) -> None:
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.pwrite(b"A" * PAGE, 0)
    file.flush()
    moved = path.rename(path.with_name("moved"))
    with pytest.warns(UntornWarning, match="set aside"), untorn.open(path, "xb") as other:
        other.write(b"other")
    assert len(asides(path.parent)) == 1
    file.pwrite(b"B" * PAGE, PAGE)
    file.close()
    assert (read(moved), read(path)) == (NEW, b"other")
    assert beside(moved) == []


@needs("mv")
def test_after_a_crash_a_file_that_was_renamed_while_open_is_refused_until_its_log_is_beside_it(path: Path) -> None:
    moved = path.with_name("moved")

    def work(file: object) -> None:
        file.pwrite(b"A" * PAGE, 0)  # type: ignore[attr-defined]
        file.flush()  # type: ignore[attr-defined]
        path.rename(moved)
        file.pwrite(b"B" * PAGE, PAGE)  # type: ignore[attr-defined]
        file.flush()  # type: ignore[attr-defined]

    killed(path, work, folio_size=PAGE)
    said = []
    ways: list[Any] = ["raise", "apply"]
    for way in ways:
        with pytest.raises(MissingLogError) as missing:
            untorn.recover(moved, on_damage=way)
        said.append(str(missing.value))
        with pytest.raises(LogError, match="there is no such file, but a log with 2 commits to it"):
            untorn.recover(path, on_damage=way)
    (advice,) = re.findall(r"Put it back with: (.*); then", said[-1])
    subprocess.run(advice, shell=True, check=True)
    assert untorn.recover(moved) == 2
    assert read(moved) == NEW


def test_a_file_that_was_only_touched_says_so_and_apply_installs_what_was_acknowledged(path: Path) -> None:
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.pwrite(b"A" * PAGE, 0)
    file.pwrite(b"B" * PAGE, PAGE)
    file.flush()
    os.utime(path, (1, 1))
    with pytest.raises(ForeignEditError, match=r"\(its time is 1\.000000000, .* was recorded\)"):
        file.close()
    assert read(path) == OLD
    quietly(lambda: untorn.recover(path, on_damage="apply"))
    assert read(path) == NEW


@pytest.mark.parametrize("size", [100, len(OLD) + 5])
def test_a_file_that_another_program_wrote_says_that_its_size_differs(path: Path, size: int) -> None:
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.pwrite(b"A" * PAGE, 0)
    os.truncate(path, size)
    with pytest.raises(ForeignEditError, match=rf"its size is {size}, {len(OLD)} was recorded, its time is"):
        file.close()


def test_a_directory_that_was_removed_is_not_said_to_keep_the_log(path: Path) -> None:
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.pwrite(b"A" * PAGE, 0)
    file.flush()
    shutil.rmtree(path.parent)
    with pytest.raises(
        ForeignEditError, match=r"was removed while it was open here\. The log with the commits to it was removed, too"
    ):
        file.close()


def test_the_log_of_a_file_that_was_removed_is_said_to_be_kept_and_is(path: Path) -> None:
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.pwrite(b"A" * PAGE, 0)
    file.flush()
    path.unlink()
    with pytest.raises(ForeignEditError, match=f"kept in '{sidecar(path)}', which is of use only together"):
        file.close()
    assert sidecar(path).exists()


def beside_a_creator(path: Path) -> FaultyStorage:
    """Storage where another program makes the file just before it is opened."""

    def make() -> None:
        path.write_bytes(b"theirs")

    return FaultyStorage(LinuxStorage(), Fault(nth=0, names={"open"}, before=make))


@pytest.mark.parametrize("mode", ["wb", "ab", "a+b", "w+b"])
def test_who_creates_beside_another_creator_opens_what_that_one_made(path: Path, mode: str) -> None:
    path.unlink()
    storage = beside_a_creator(path)
    with untorn.open(path, mode, storage=storage) as file:
        file.write(b"ours")
    assert read(path) == (b"theirsours" if mode.startswith("a") else b"ours")


def test_exclusive_creation_beside_another_creator_fails_as_that_of_open(path: Path) -> None:
    path.unlink()
    storage = beside_a_creator(path)
    with pytest.raises(FileExistsError):
        untorn.open(path, "xb", storage=storage)
    assert read(path) == b"theirs"


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_a_file_that_is_removed_just_as_it_is_opened_is_made_anew(path: Path, mode: str) -> None:
    storage = FaultyStorage(LinuxStorage())
    storage.add(Fault(nth=0, names={"open"}, before=path.unlink))
    with untorn.open(path, mode, storage=storage) as file:
        file.write(b"ours")
    assert read(path) == b"ours"
