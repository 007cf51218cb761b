"""Names, links and folders: any that the system allows, or an error that says why not, before anything is changed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import untorn
from tests.support.real_files import (
    NEW,
    NOBODY,
    OLD,
    PAGE,
    asides,
    hot,
    in_child,
    let_in,
    quietly,
    read,
    sidecar,
    snapshot,
)
from untorn.errors import MissingLogError

NAMES = {
    "spaces": b" a b ",
    "newlines": b"a\nb\n",
    "not UTF-8": b"\xff\xfe\x80",
    "UTF-8": "\u00e4\u6587\U0001f4be".encode(),
    "a dash": b"-rf",
    "a quote": b"'\"$(x)",
    "a percent sign and braces": b"%s{0}%",
    "hidden": b".data",
    "like a log": b"data-untorn",
    "the longest": b"n" * 248,
    "the longest of two bytes each": "\u00e4".encode() * 124,
}
KINDS = [bytes, os.fsdecode, lambda name: Path(os.fsdecode(name))]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_written_killed_and_recovered(tmp_path: Path, name: str) -> None:
    path = os.fsencode(tmp_path) + b"/" + NAMES[name]
    hot(path)
    with untorn.open(path, "rb") as file:
        assert file.read() == NEW
        assert repr(file)
    untorn.recover(path)
    assert read(path) == NEW
    assert os.listdir(os.fsencode(tmp_path)) == [NAMES[name]]


@pytest.mark.parametrize("name", NAMES)
def test_a_stray_log_beside_any_name_can_be_set_aside(tmp_path: Path, name: str) -> None:
    path = os.fsencode(tmp_path) + b"/" + NAMES[name]
    log = hot(path)
    os.removexattr(path, "user.untorn")
    quietly(lambda: untorn.recover(path))
    assert read(path) == OLD
    (aside,) = [other for other in tmp_path.iterdir() if os.fsencode(other) != path]
    assert aside.read_bytes() == log


@pytest.mark.parametrize("name", NAMES)
def test_every_error_can_tell_any_name(tmp_path: Path, name: str) -> None:
    path = os.fsencode(tmp_path) + b"/" + NAMES[name]
    hot(path)
    sidecar(path).unlink()
    with pytest.raises(MissingLogError) as caught:
        untorn.open(path)
    assert str(caught.value).encode("utf-8", "backslashreplace")
    assert isinstance(caught.value.filename, str)
    assert os.fsencode(caught.value.filename) == path


@pytest.mark.parametrize("kind", KINDS, ids=["bytes", "str", "Path"])
def test_a_path_may_be_bytes_text_or_a_path(tmp_path: Path, kind: object) -> None:
    assert callable(kind)
    path = kind(os.fsencode(tmp_path / "data"))
    with untorn.open(path, "xb") as file:
        assert file.name == os.fspath(path)
        file.write(OLD)
    assert read(path) == OLD
    assert untorn.status(path).state == "plain"
    assert untorn.recover(path) == 0


@pytest.mark.parametrize("length", [249, 255])
def test_a_name_too_long_for_a_log_is_read_but_not_written(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("n" * length)
    path.write_bytes(OLD)
    before = snapshot(tmp_path)
    for mode in ("r+b", "w+b", "ab"):
        with pytest.raises(OSError, match="the name is too long: that of its log has 7 bytes more") as caught:
            untorn.open(path, mode)
        assert caught.value.errno == errno.ENAMETOOLONG
    with untorn.open(path, "rb") as file:
        assert file.read() == OLD
    assert untorn.status(path).size == len(OLD)
    assert snapshot(tmp_path) == before
    with pytest.raises(OSError, match="does not fit"):
        untorn.open(tmp_path / ("m" * length), "xb")
    assert snapshot(tmp_path) == before


def test_a_hot_file_renamed_to_a_name_too_long_for_a_log_is_refused(tmp_path: Path) -> None:
    path, moved = tmp_path / "data", tmp_path / ("n" * 255)
    hot(path)
    path.rename(moved)
    with pytest.raises(MissingLogError):
        untorn.open(moved, "rb")
    moved.rename(path)
    untorn.recover(path)
    assert read(path) == NEW


# Links


def test_the_log_of_a_symlinked_file_stands_beside_the_file(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    path, link = there / "data", here / "link"
    link.symlink_to("../there/data")
    path.write_bytes(OLD)
    with untorn.open(link, "r+b") as file:
        file.write(b"A" * PAGE)
        file.flush()
        assert sorted(os.listdir(there)) == ["data", "data-untorn"]
        assert os.listdir(here) == ["link"]
    assert read(path) == b"A" * PAGE + OLD[PAGE:]
    assert os.readlink(link) == "../there/data"
    hot(path)
    untorn.recover(link)
    assert read(path) == NEW


def test_a_dangling_link_is_written_through(tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "data"
    link.symlink_to("data")
    with pytest.raises(FileNotFoundError):
        untorn.open(link, "rb")
    with pytest.raises(FileExistsError):
        untorn.open(link, "xb")
    assert not path.exists()
    with untorn.open(link, "wb") as file:
        file.write(OLD)
    assert read(path) == OLD
    assert link.is_symlink()


def test_a_file_reached_by_a_relative_path_stays_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").write_bytes(OLD)
    with untorn.open("data", "r+b") as file:
        monkeypatch.chdir("/")
        file.write(b"A" * PAGE)
        file.flush()
    assert read(tmp_path / "data") == b"A" * PAGE + OLD[PAGE:]
    assert os.listdir(tmp_path) == ["data"]


# Folders where nothing can be made


@pytest.mark.needs_root
def test_in_an_unwritable_folder_a_file_is_read_and_a_write_says_why_not(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    path.chmod(0o666)
    let_in(tmp_path)
    tmp_path.chmod(0o555)
    before = snapshot(tmp_path)

    def work() -> str:
        with untorn.open(path, "rb") as file:
            assert file.read() == OLD
        with untorn.open(path, "r+b") as file:
            with pytest.raises(PermissionError, match="log cannot be created beside the file, which was not changed"):
                file.write(b"x")
            assert file.tell() == 0
            with pytest.raises(PermissionError):
                file.truncate(10)
            assert file.read() == OLD
        with pytest.raises(PermissionError, match="log cannot be created"):
            untorn.open(path, "w+b")
        with pytest.raises(PermissionError):
            untorn.open(tmp_path / "new", "xb")
        return "done"

    assert in_child(work, user=NOBODY) == "done"
    assert snapshot(tmp_path) == before


@pytest.mark.needs_root
def test_a_hot_file_in_an_unwritable_folder_is_read_and_not_half_recovered(tmp_path: Path) -> None:
    path = tmp_path / "data"
    hot(path)
    for name in (path, sidecar(path)):
        name.chmod(0o666)
    let_in(tmp_path)
    tmp_path.chmod(0o555)

    def work() -> str:
        with untorn.open(path, "rb") as file:
            assert file.read() == NEW
        with pytest.raises(PermissionError):
            untorn.open(path, "r+b")
        with untorn.open(path, "rb") as file:
            assert file.read() == NEW
        return "done"

    assert in_child(work, user=NOBODY) == "done"
    tmp_path.chmod(0o755)
    untorn.recover(path)
    assert read(path) == NEW
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.needs_root
def test_a_file_that_may_not_be_written_is_not(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    path.chmod(0o444)
    let_in(tmp_path)
    before = snapshot(tmp_path)

    def work() -> str:
        for mode in ("r+b", "w+b", "ab"):
            with pytest.raises(PermissionError):
                untorn.open(path, mode)
        with pytest.raises(PermissionError):
            untorn.recover(path)
        with untorn.open(path, "rb") as file:
            assert file.read() == OLD
        return "done"

    assert in_child(work, user=NOBODY) == "done"
    assert snapshot(tmp_path) == before


def test_a_folder_that_is_gone_at_the_end_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "data"
    path.write_bytes(OLD)
    file = untorn.open(path, "r+b")
    file.write(b"x")
    for name in folder.iterdir():
        name.unlink()
    folder.rmdir()
    with pytest.raises(OSError, match=r"removed|No such file"):
        file.close()
    assert file.closed
    assert asides(tmp_path) == []
