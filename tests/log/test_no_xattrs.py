"""File systems without extended attributes: a log is known by its file's inode and birth time."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import untorn
from tests.support.mounts import mounted
from tests.support.real_files import NEW, OLD, PAGE, asides, hot, quietly, read, sidecar, snapshot, three_commits
from untorn.errors import ForeignEditError
from untorn.log import recovery
from untorn.log.writer import MARK
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage

rooted = pytest.mark.needs_root


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with mounted("ramfs", tmp_path) as place:
        (place / "probe").write_bytes(b"")
        with pytest.raises(OSError, match="not supported"):
            os.setxattr(place / "probe", MARK, b"")
        (place / "probe").unlink()
        yield place


@rooted
def test_a_session_leaves_one_plain_file(folder: Path) -> None:
    path = folder / "data"
    with untorn.open(path, "xb") as file:
        file.write(OLD)
        file.commit()
        assert sorted(os.listdir(folder)) == ["data", "data-untorn"]
    assert read(path) == OLD
    assert os.listdir(folder) == ["data"]


@rooted
def test_a_killed_writer_s_commits_are_read_and_recovered(folder: Path) -> None:
    path = folder / "data"
    hot(path)
    before = snapshot(folder)
    with untorn.open(path, "rb") as file:
        assert file.read() == NEW
    assert snapshot(folder) == before
    assert untorn.recover(path) == 3
    assert read(path) == NEW
    assert os.listdir(folder) == ["data"]


@rooted
def test_an_edit_is_not_overwritten(folder: Path) -> None:
    path = folder / "data"
    hot(path)
    path.write_bytes(OLD + b"theirs")
    with pytest.raises(ForeignEditError):
        untorn.recover(path)
    assert read(path) == OLD + b"theirs"


@rooted
def test_control_an_edit_would_be_overwritten_if_nobody_looked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "data"
    hot(path)
    path.write_bytes(OLD + b"theirs")
    monkeypatch.setattr(recovery, "_edited", lambda *_: False)
    untorn.recover(path)
    assert read(path) == NEW


@rooted
def test_another_file_in_its_place_does_not_get_the_commits(folder: Path) -> None:
    path = folder / "data"
    log = hot(path)
    theirs = folder / "theirs"
    theirs.write_bytes(b"theirs")
    theirs.replace(path)
    quietly(lambda: untorn.recover(path))
    assert read(path) == b"theirs"
    assert [aside.read_bytes() for aside in asides(folder)] == [log]


@rooted
def test_a_copy_with_its_log_does_not_get_the_commits(folder: Path) -> None:
    path, copy = folder / "data", folder / "copy"
    log = hot(path)
    subprocess.run(["cp", "--preserve=timestamps", path, copy], check=True)
    shutil.copyfile(sidecar(path), sidecar(copy))
    quietly(lambda: untorn.recover(copy))
    assert read(copy) == OLD
    assert [aside.read_bytes() for aside in asides(folder)] == [log]
    untorn.recover(path)
    assert read(path) == NEW


# An attribute that has no space


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_has_no_space_for_its_mark_is_known_by_its_inode(tmp_path: Path, code: int) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    full = FaultyStorage(LinuxStorage(), Fault(nth=0, names={"setxattr"}, error=code))
    file = untorn.open(path, "r+b", folio_size=PAGE, storage=full)
    three_commits(file)
    assert MARK not in os.listxattr(path)
    file._inode.forked()  # lets go of everything, as a process that dies
    with untorn.open(path, "rb") as reader:
        assert reader.read() == NEW
    untorn.recover(path)
    assert read(path) == NEW
    assert os.listdir(tmp_path) == ["data"]


def test_a_mark_that_fails_otherwise_fails_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    broken = FaultyStorage(LinuxStorage(), Fault(nth=0, names={"setxattr"}, error=errno.EIO))
    file = untorn.open(path, "r+b", storage=broken)
    file.write(b"x")
    with pytest.raises(OSError, match="Input/output error"):
        file.commit()
    with pytest.raises(untorn.HandleFailedError):
        file.close()
    untorn.recover(path)
    assert read(path) == OLD
    assert os.listdir(tmp_path) == ["data"]
