"""Other programs at the file: while its log is hot, and while it is open. Their work is never overwritten silently."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import untorn
from tests.support.real_files import (
    NEW,
    OLD,
    PAGE,
    asides,
    hot,
    quietly,
    read,
    refused,
    sidecar,
    snapshot,
)
from untorn.errors import (
    ForeignEditError,
    HandleFailedError,
    LogError,
    MissingLogError,
    UntornWarning,
)
from untorn.log.format import SLOT_OFFSETS, SlotKind, decode_slot, encode_slot
from untorn.log.writer import MARK, Log
from untorn.sizes import SECTOR

THEIRS = b"the work of another program\n" * 300
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def recovered(path: Path) -> bytes:
    """The file after recovery."""
    untorn.recover(path)
    assert not sidecar(path).exists()
    assert MARK not in os.listxattr(path)
    return read(path)


# While its log is hot


def restore(path: Path) -> None:
    """Other contents with an older time, as ``cp -p`` gives them."""
    path.write_bytes(OLD.swapcase())
    os.utime(path, ns=(0, path.stat().st_mtime_ns - HOUR_NS))


EDITS: dict[str, Callable[[Path], object]] = {
    "appended to": lambda path: path.write_bytes(read(path) + THEIRS),
    "rewritten in place": lambda path: path.write_bytes(THEIRS),
    "overwritten with as many bytes": lambda path: path.write_bytes(OLD.swapcase()),
    "truncated": lambda path: os.truncate(path, 100),
    "emptied": lambda path: os.truncate(path, 0),
    "touched": lambda path: path.touch(),
    "restored from a backup in place": restore,
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_a_hot_file_is_not_overwritten(path: Path, edit: str) -> None:
    hot(path)
    EDITS[edit](path)
    theirs = read(path)
    refused(path, ForeignEditError)
    assert read(path) == theirs


@pytest.mark.parametrize("edit", EDITS)
def test_after_an_edit_the_file_can_be_kept(path: Path, edit: str) -> None:
    log = hot(path)
    EDITS[edit](path)
    theirs = read(path)
    quietly(lambda: untorn.recover(path, on_damage="discard"))
    assert read(path) == theirs
    (aside,) = asides(path.parent)
    assert aside.read_bytes() == log
    with untorn.open(path, "r+b") as file:
        assert file.read() == theirs


def test_after_an_edit_the_commits_can_be_applied(path: Path) -> None:
    hot(path)
    EDITS["overwritten with as many bytes"](path)
    quietly(lambda: untorn.recover(path, on_damage="apply"))
    theirs = OLD.swapcase()
    assert read(path) == NEW[: 2 * PAGE] + theirs[2 * PAGE :] + NEW[4 * PAGE :]
    assert len(asides(path.parent)) == 1


HARMLESS: dict[str, Callable[[Path], object]] = {
    "read": read,
    "its mode changed": lambda path: path.chmod(0o600),
    "another attribute set": lambda path: os.setxattr(path, "user.theirs", b"1"),
    "linked to": lambda path: path.with_name("link").symlink_to(path),
    "its time read and set to what it was": lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns)),
    "moved with its log, and back": lambda path: (
        path.rename(path.with_name("b")),
        sidecar(path).rename(path.with_name("b-untorn")),
        path.with_name("b").rename(path),
        path.with_name("b-untorn").rename(sidecar(path)),
    ),
}


@pytest.mark.parametrize("act", HARMLESS)
def test_what_changes_no_content_is_no_edit(path: Path, act: str) -> None:
    hot(path)
    HARMLESS[act](path)
    assert recovered(path) == NEW


def test_a_hot_file_replaced_by_another_is_taken_as_it_is(path: Path) -> None:
    log = hot(path)
    theirs = path.with_name("theirs")
    theirs.write_bytes(THEIRS)
    theirs.rename(path)
    before = snapshot(path.parent)
    with untorn.open(path, "rb") as file:
        assert file.read() == THEIRS
    assert snapshot(path.parent) == before
    with pytest.warns(UntornWarning, match="set aside"):
        untorn.recover(path)
    assert read(path) == THEIRS
    assert [aside.read_bytes() for aside in asides(path.parent)] == [log]


def test_a_hot_file_removed_and_made_anew_does_not_get_the_old_commits(path: Path) -> None:
    log = hot(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        untorn.open(path, "r+b")
    with pytest.raises(LogError, match="there is no such file, but a log with 3 commits to it"):
        untorn.recover(path)
    assert sidecar(path).read_bytes() == log
    with pytest.warns(UntornWarning, match="set aside"), untorn.open(path, "xb") as file:
        file.write(THEIRS)
    assert read(path) == THEIRS
    assert [aside.read_bytes() for aside in asides(path.parent)] == [log]


def test_a_hot_file_renamed_without_its_log_is_refused_until_they_are_together(path: Path) -> None:
    hot(path)
    moved = path.with_name("moved")
    path.rename(moved)
    refused(moved, MissingLogError)
    sidecar(path).rename(sidecar(moved))
    assert recovered(moved) == NEW


def test_a_hard_link_to_a_hot_file_is_refused_and_the_name_that_has_the_log_recovers(path: Path) -> None:
    hot(path)
    link = path.with_name("link")
    link.hardlink_to(path)
    refused(link, MissingLogError)
    assert recovered(path) == NEW
    with untorn.open(link, "rb") as file:
        assert file.read() == NEW


def test_a_copy_of_a_hot_file_without_attributes_is_the_file_as_it_was(path: Path) -> None:
    hot(path)
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    assert recovered(copy) == OLD
    assert recovered(path) == NEW


def test_a_copy_of_a_hot_file_with_attributes_is_refused_without_its_log(path: Path) -> None:
    hot(path)
    copy = path.with_name("copy")
    subprocess.run(["cp", "--preserve=all", path, copy], check=True)
    assert MARK in os.listxattr(copy)
    refused(copy, MissingLogError)
    assert recovered(path) == NEW


def test_a_copied_folder_recovers_as_the_original(path: Path) -> None:
    path = path.with_name("folder") / "data"
    path.parent.mkdir()
    hot(path)
    copy = path.parent.with_name("copied") / "data"
    subprocess.run(["cp", "-a", path.parent, copy.parent], check=True)
    assert recovered(copy) == NEW
    assert recovered(path) == NEW


def test_a_copied_folder_without_attributes_keeps_the_log_aside(path: Path) -> None:
    log = hot(path)
    folder = path.with_name("copied")
    folder.mkdir()
    for name in (path, sidecar(path)):
        shutil.copyfile(name, folder / name.name)
    quietly(lambda: untorn.recover(folder / path.name))
    assert read(folder / path.name) == OLD
    assert [aside.read_bytes() for aside in asides(folder)] == [log]


def hot_in_checkpoint(path: Path) -> None:
    """A hot file whose writer died after its checkpoint had begun, and before it wrote the file itself."""
    hot(path)
    with sidecar(path).open("r+b") as log:
        slot = decode_slot(log.read(SECTOR))
        assert slot is not None
        log.seek(SLOT_OFFSETS[1])
        log.write(encode_slot(slot._replace(kind=SlotKind.CHECKPOINT, generation=2, synced_through=3)))


def test_an_edit_within_a_checkpoint_that_was_cut_off_is_noticed_if_the_time_goes_back(path: Path) -> None:
    hot_in_checkpoint(path)
    restore(path)
    refused(path, ForeignEditError)
    assert read(path) == OLD.swapcase()


def test_an_edit_within_a_checkpoint_that_was_cut_off_is_overwritten_if_the_time_went_on(path: Path) -> None:
    """As docs/guides/limits.md says: what of the file the checkpoint had written by then cannot be known."""
    hot_in_checkpoint(path)
    path.write_bytes(OLD.swapcase())
    assert recovered(path) == NEW[: 2 * PAGE] + OLD.swapcase()[2 * PAGE :] + NEW[4 * PAGE :]


# While it is open


def replace(path: Path) -> None:
    theirs = path.with_name("theirs")
    theirs.write_bytes(THEIRS)
    theirs.rename(path)


def rename(path: Path) -> None:
    path.rename(path.with_name("moved"))


def remove(path: Path) -> None:
    path.unlink()


def edit(path: Path) -> None:
    path.write_bytes(THEIRS)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(THEIRS)


ACTS = [replace, remove, edit, append]
REFUSED = "not overwritten|not touched|was removed"


@pytest.mark.parametrize("act", ACTS)
def test_a_file_that_another_program_changed_while_open_is_not_overwritten(
    path: Path, act: Callable[[Path], None]
) -> None:
    path.write_bytes(OLD)
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.write(b"A" * PAGE)
    file.commit()
    act(path)
    before = {name: read(name) for name in path.parent.iterdir() if name != sidecar(path)}
    file.pwrite(b"B" * PAGE, PAGE)
    with pytest.raises(ForeignEditError, match=REFUSED):
        file.close()
    assert file.closed
    assert sidecar(path).exists(), "the commits are gone"
    assert {name: read(name) for name in path.parent.iterdir() if name != sidecar(path)} == before


@pytest.mark.parametrize("act", ACTS)
def test_a_checkpoint_that_finds_the_file_changed_puts_the_handle_out_of_work(
    path: Path, act: Callable[[Path], None]
) -> None:
    path.write_bytes(OLD)
    file = untorn.open(path, "r+b", folio_size=PAGE, checkpoint_bytes=PAGE)
    file.write(b"A" * PAGE)
    act(path)
    with pytest.raises(ForeignEditError, match=REFUSED):
        file.commit()
    with pytest.raises(HandleFailedError):
        file.write(b"B")
    with pytest.raises(HandleFailedError):
        file.close()
    assert sidecar(path).exists(), "the commits are gone"
    if act in (edit, replace):
        assert read(path) == THEIRS


def test_commits_to_a_file_that_was_edited_while_open_wait_for_a_decision(path: Path) -> None:
    path.write_bytes(OLD)
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.write(b"A" * PAGE)
    edit(path)
    with pytest.raises(ForeignEditError):
        file.close()
    refused(path, ForeignEditError)
    quietly(lambda: untorn.recover(path, on_damage="discard"))
    assert read(path) == THEIRS


@pytest.mark.parametrize("act", [rename, remove, edit, append, replace])
def test_a_handle_that_wrote_nothing_does_not_mind(path: Path, act: Callable[[Path], None]) -> None:
    path.write_bytes(OLD)
    with untorn.open(path, "r+b") as file:
        assert file.read(10) == OLD[:10]
        act(path)
    assert not sidecar(path).exists()
    assert not path.exists() or read(path).endswith(THEIRS)


@pytest.mark.parametrize("act", [edit, append, replace])
def test_a_rollback_does_not_touch_what_another_program_wrote(path: Path, act: Callable[[Path], None]) -> None:
    path.write_bytes(OLD)
    with pytest.raises(KeyError), untorn.open(path, "r+b") as file:
        file.write(b"mine")
        act(path)
        raise KeyError
    assert read(path).endswith(THEIRS)
    assert not sidecar(path).exists()


def test_a_log_that_was_removed_while_its_file_is_open_costs_no_commit_at_close(path: Path) -> None:
    path.write_bytes(OLD)
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.write(b"A" * PAGE)
    file.commit()
    sidecar(path).unlink()
    file.pwrite(b"B" * PAGE, PAGE)
    file.close()
    assert read(path) == b"A" * PAGE + b"B" * PAGE + OLD[2 * PAGE :]
    assert os.listdir(path.parent) == [path.name]
    assert MARK not in os.listxattr(path)


def test_what_took_the_place_of_an_open_log_is_not_removed_with_it(path: Path) -> None:
    path.write_bytes(OLD)
    file = untorn.open(path, "r+b", folio_size=PAGE)
    file.write(b"A" * PAGE)
    file.commit()
    sidecar(path).unlink()
    sidecar(path).write_bytes(THEIRS)
    try:
        file.close()
    except LogError:
        pass
    assert read(sidecar(path)) == THEIRS
    assert read(path) == b"A" * PAGE + OLD[PAGE:]


def test_control_what_took_the_place_would_be_removed_if_nobody_looked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Log, "_name_is_ours", lambda _: True)
    with pytest.raises(FileNotFoundError):
        test_what_took_the_place_of_an_open_log_is_not_removed_with_it(path)
