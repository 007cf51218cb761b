"""What stands in the log's place and is not this file's log: never replayed, never written, never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    killed,
    let_in,
    quietly,
    read,
    refused,
    sidecar,
    snapshot,
)
from untorn.errors import CorruptLogError, LogError, UntornWarning, UntrustedLogError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def recovered(path: Path) -> bytes:
    """The file after recovery."""
    untorn.recover(path)
    assert not sidecar(path).exists()
    return read(path)


def another_log(path: Path) -> bytes:
    """The hot log of another file."""
    other = path.with_name("other")
    log = hot(other)
    other.unlink()
    sidecar(other).unlink()
    return log


FOREIGN: dict[str, Callable[[Path], bytes]] = {
    "text": lambda _: b"notes of mine\n",
    "a disk image that begins with zeros": lambda _: bytes(100_000) + b"precious" * 1000,
    "random": lambda _: os.urandom(65536),
    "another file's log": another_log,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_beside_a_plain_file_a_foreign_one_is_set_aside_whole(path: Path, kind: str) -> None:
    foreign = FOREIGN[kind](path)
    path.write_bytes(OLD)
    sidecar(path).write_bytes(foreign)
    before = snapshot(path.parent)
    with untorn.open(path, "rb") as file:
        assert file.read() == OLD
    assert snapshot(path.parent) == before
    with pytest.warns(UntornWarning, match="set aside"), untorn.open(path, "r+b") as file:
        assert file.read() == OLD
    assert read(path) == OLD
    (aside,) = asides(path.parent)
    assert aside.read_bytes() == foreign


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("way", ["apply", "discard"])
def test_in_place_of_a_hot_log_a_foreign_one_is_never_replayed(path: Path, kind: str, way: Any) -> None:
    hot(path)
    foreign = FOREIGN[kind](path)
    sidecar(path).write_bytes(foreign)
    error = refused(path, LogError)
    if way == "apply" and not isinstance(error, CorruptLogError):
        # Its own log may be somewhere: by apply the mark does not go without it.
        before = snapshot(path.parent)
        with pytest.raises(LogError):
            untorn.recover(path, on_damage="apply")
        assert snapshot(path.parent) == before
        return
    quietly(lambda: untorn.recover(path, on_damage=way))
    assert read(path) == OLD
    (aside,) = asides(path.parent)
    assert aside.read_bytes() == foreign


def test_an_older_log_of_the_same_file_is_refused(path: Path) -> None:
    old = hot(path)
    untorn.recover(path)
    killed(path, lambda file: (file.pwrite(b"Z" * PAGE, 0), file.commit()), folio_size=PAGE)
    new = sidecar(path).read_bytes()
    sidecar(path).write_bytes(old)
    refused(path, LogError)
    assert read(path) == NEW
    sidecar(path).write_bytes(new)
    assert recovered(path) == b"Z" * PAGE + NEW[PAGE:]


def test_an_older_generation_behind_the_new_one_stays_dead(path: Path) -> None:
    path.write_bytes(OLD)

    def work(file: untorn.File) -> None:
        for letter in (b"1", b"2", b"3", b"4"):
            file.pwrite(letter * PAGE, 0)
            file.commit()
        assert file.stats()["checkpoints"] == 1
        file.pwrite(b"5" * PAGE, 0)
        file.commit()

    killed(path, work, folio_size=PAGE, checkpoint_bytes=24 << 10)
    log = sidecar(path).read_bytes()
    assert log.count(b"untornR\x01") > 2, "no old record is left to come back"
    assert recovered(path) == b"5" * PAGE + OLD[PAGE:]


def fifo(place: Path, elsewhere: Path) -> None:
    os.mkfifo(place)


def directory(place: Path, elsewhere: Path) -> None:
    place.mkdir()


def symlink(place: Path, elsewhere: Path) -> None:
    place.symlink_to(elsewhere)


def dangling(place: Path, elsewhere: Path) -> None:
    place.symlink_to(elsewhere.with_name("nowhere"))


def hard_link(place: Path, elsewhere: Path) -> None:
    place.hardlink_to(elsewhere)


def unix_socket(place: Path, elsewhere: Path) -> None:
    here = os.getcwd()
    os.chdir(place.parent)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(place.name)
    os.chdir(here)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(
    "plant", [fifo, directory, symlink, dangling, hard_link, unix_socket], ids=lambda f: f.__name__
)
def test_what_is_not_a_regular_file_of_its_own_is_never_opened(
    path: Path, marked: bool, plant: Callable[[Path, Path], None]
) -> None:
    elsewhere = path.with_name("elsewhere")
    if marked:
        elsewhere.write_bytes(hot(path))
        sidecar(path).unlink()
    else:
        path.write_bytes(OLD)
        elsewhere.write_bytes(b"mine")
    plant(sidecar(path), elsewhere)
    if plant is hard_link and not marked:
        check_only_its_name_is_moved(path, elsewhere)
        return
    before = snapshot(path.parent)
    for mode in ("r+b", "w+b", "ab"):
        with pytest.raises(UntrustedLogError, match="Move it away"):
            untorn.open(path, mode)
    if not marked:
        # A file that has no log needs none to be read.
        with untorn.open(path, "rb") as file:
            assert file.read() == OLD
    else:
        with pytest.raises(UntrustedLogError):
            untorn.open(path, "rb")
    assert snapshot(path.parent) == before
    quietly(lambda: untorn.recover(path, on_damage="discard"))
    assert read(path) == OLD
    assert len(asides(path.parent)) == 1
    if plant is not dangling:
        assert elsewhere.exists()


def check_only_its_name_is_moved(path: Path, elsewhere: Path) -> None:
    """A file with several names beside one that is not marked cannot be its log: the name goes aside, unchanged."""
    inode = elsewhere.stat()
    with pytest.warns(UntornWarning, match="set aside"):
        untorn.recover(path)
    assert read(path) == OLD
    assert [aside.stat().st_ino for aside in asides(path.parent)] == [inode.st_ino]
    assert elsewhere.read_bytes() == b"mine"
    assert elsewhere.stat().st_mtime_ns == inode.st_mtime_ns


def test_something_that_takes_the_log_s_place_after_the_file_was_opened_is_not_written(path: Path) -> None:
    path.write_bytes(OLD)
    victim = path.with_name("victim")
    victim.write_bytes(b"precious")
    with untorn.open(path, "r+b") as file:
        sidecar(path).symlink_to(victim)
        with pytest.raises(UntrustedLogError):
            file.write(b"x")
        assert file.tell() == 0
        assert file.read() == OLD
    assert victim.read_bytes() == b"precious"
    assert read(path) == OLD


@pytest.mark.needs_root
def test_a_log_of_a_foreign_owner_is_refused(path: Path) -> None:
    hot(path)
    os.chown(sidecar(path), 12345, 12345)
    refused(path, UntrustedLogError)
    assert read(path) == OLD
    os.chown(sidecar(path), 0, 0)
    assert recovered(path) == NEW


@pytest.mark.needs_root
def test_a_log_planted_by_another_user_in_a_folder_of_all_is_not_replayed(path: Path) -> None:
    path.write_bytes(OLD)
    let_in(path.parent)
    log = another_log(path)

    def plant() -> None:
        sidecar(path).write_bytes(log)

    in_child(plant, user=NOBODY)
    with pytest.raises(UntrustedLogError, match=f"user {NOBODY}"):
        untorn.open(path, "r+b")
    assert read(path) == OLD


@pytest.mark.needs_root
@pytest.mark.parametrize("opener", [0, NOBODY])
def test_the_owner_s_own_log_is_trusted_by_root_and_by_the_owner(path: Path, opener: int) -> None:
    let_in(path.parent)
    in_child(lambda: hot(path), user=NOBODY)
    assert sidecar(path).stat().st_uid == NOBODY
    in_child(lambda: untorn.recover(path), user=opener)
    assert read(path) == NEW


def test_the_log_has_the_mode_of_its_file(path: Path) -> None:
    path.write_bytes(OLD)
    for mode in (0o600, 0o640, 0o664):
        path.chmod(mode)
        with untorn.open(path, "r+b") as file:
            file.write(b"x")
            file.flush()
            assert sidecar(path).stat().st_mode & 0o7777 == mode
