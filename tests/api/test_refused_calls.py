"""File systems that refuse flock, extended attributes or the sync of a directory: a plain error, or a way without."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import untorn
from tests.support.mounts import overlaid
from tests.support.real_files import NEW, OLD, PAGE, asides, hot, killed, read, sidecar, three_commits
from untorn.log.writer import MARK
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    found.write_bytes(OLD)
    return found


def refusing(name: str, code: int) -> FaultyStorage:
    """The real file system, which refuses each call of this name."""
    return FaultyStorage(LinuxStorage(), Fault(nth=0, names={name}, error=code, onwards=True))


@pytest.mark.parametrize("mode", ["rb", "r+b", "w+b", "ab"])
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_nothing_is_opened_and_the_error_says_why(path: Path, mode: str, code: int) -> None:
    with pytest.raises(OSError, match="does not lock files") as caught:
        untorn.open(path, mode, storage=refusing("lock", code))

    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert read(path) == OLD
    assert os.listdir(path.parent) == ["data"]


def test_control_a_lock_that_fails_otherwise_is_not_called_refused(path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        untorn.open(path, "r+b", storage=refusing("lock", errno.EIO))


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize("names", [("getxattr", "setxattr", "removexattr"), ("setxattr",)])
def test_without_attributes_a_killed_writer_s_commits_are_found_by_the_inode(
    path: Path, names: tuple[str, ...], code: int
) -> None:
    storage = FaultyStorage(LinuxStorage(), *(Fault(nth=0, names={name}, error=code, onwards=True) for name in names))

    killed(path, three_commits, folio_size=PAGE, storage=storage)

    assert MARK not in os.listxattr(path)
    with untorn.open(path, "rb", storage=storage) as reader:
        assert reader.read() == NEW
    untorn.recover(path, storage=storage)
    assert read(path) == NEW
    assert os.listdir(path.parent) == ["data"]


def test_control_with_attributes_the_same_file_is_marked(path: Path) -> None:
    hot(path)

    assert MARK in os.listxattr(path)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.parametrize("data", [b"", b"x"])
def test_where_directories_cannot_be_synced_no_commit_is_claimed_and_nothing_is_left(
    path: Path, code: int, data: bytes
) -> None:
    file = untorn.open(path, "r+b", storage=refusing("sync_directory", code))
    file.write(data)

    with pytest.raises(OSError, match="does not sync directories") as caught:
        file.commit()

    assert (caught.value.errno, caught.value.filename) == (code, str(path.parent))
    with pytest.raises(untorn.HandleFailedError):
        file.close()
    assert read(path) == OLD
    assert os.listdir(path.parent) == ["data"]
    assert os.listxattr(path) == []


def test_control_a_directory_whose_sync_fails_otherwise_keeps_the_log_for_recovery(path: Path) -> None:
    file = untorn.open(path, "r+b", storage=refusing("sync_directory", errno.EIO))
    file.write(b"x")
    with pytest.raises(OSError, match="Input/output error"):
        file.commit()
    with pytest.raises(untorn.HandleFailedError):
        file.close()

    assert sidecar(path).exists()
    untorn.recover(path)
    assert read(path) == OLD
    assert os.listdir(path.parent) == ["data"]


@pytest.mark.needs_root
def test_a_file_below_an_overlay_is_locked_marked_and_recovered(tmp_path: Path) -> None:
    """Its first open for writing copies it up; a reader that was there before sees the new content."""
    below = tmp_path / "below"
    below.mkdir()
    (below / "data").write_bytes(OLD)
    with overlaid(below, tmp_path) as folder, (folder / "data").open("rb", buffering=0) as earlier:
        path = folder / "data"
        assert earlier.read(1) == OLD[:1]
        with untorn.open(path, "rb"), pytest.raises(untorn.LockedError):
            untorn.open(path, "r+b", timeout=0)
        killed(path, three_commits, folio_size=PAGE)
        assert MARK in os.listxattr(path)
        untorn.recover(path)
        assert read(path) == NEW
        assert os.listdir(folder) == ["data"]
        assert asides(folder) == []
        earlier.seek(0)
        assert earlier.read() == NEW
    assert read(below / "data") == OLD
