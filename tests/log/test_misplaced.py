"""Logs that are not where they belong, and what apply and discard may do: no advice and no command loses a commit."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import NEW, OLD, asides, hot, quietly, read, refused, sidecar, snapshot
from untorn.errors import ForeignEditError, LogError, MissingLogError, UntornWarning
from untorn.log.writer import MARK

THEIRS = b"the work of another program\n" * 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_what_a_renamed_file_is_told_to_do_brings_its_commits_back(path: Path) -> None:
    hot(path)
    moved = path.with_name("moved to here")
    path.rename(moved)
    error = refused(moved, MissingLogError)
    command = re.search(r"with: (mv -n .*); then 'untorn", str(error))
    assert command is not None
    subprocess.run(command[1], shell=True, check=True)
    untorn.recover(moved)
    assert read(moved) == NEW


def test_a_log_is_found_under_any_name_that_says_what_it_is(path: Path) -> None:
    hot(path)
    put_aside = path.with_name("data-untorn.aside-12345678")
    sidecar(path).rename(put_aside)
    for number in range(20):
        path.with_name(f"another{number}-untorn").write_bytes(b"not a log")
    assert str(put_aside) in str(refused(path, MissingLogError))


def test_a_log_under_a_name_that_says_nothing_is_not_looked_into(path: Path) -> None:
    hot(path)
    sidecar(path).rename(path.with_name("data.bak"))
    error = refused(path, MissingLogError)
    assert "data.bak" not in str(error)
    assert "Was the file renamed, copied or linked" in str(error)


@pytest.mark.parametrize("way", ["linked", "copied"])
def test_a_link_or_copy_is_not_told_to_take_the_log_from_its_file(path: Path, way: str) -> None:
    hot(path)
    other = path.with_name("other")
    if way == "linked":
        other.hardlink_to(path)
    else:
        subprocess.run(["cp", "--preserve=all", path, other], check=True)
    error = refused(other, MissingLogError)
    assert "mv" not in str(error)
    assert f"untorn recover {path}" in str(error)


def test_where_another_log_is_in_its_place_its_own_is_found(path: Path) -> None:
    hot(path)
    other = path.with_name("other")
    hot(other)
    place = path.with_name("kept-untorn")
    sidecar(path).rename(place)
    shutil.copyfile(sidecar(other), sidecar(path))
    error = refused(path, LogError)
    assert str(place) in str(error)


# Without its file


def test_a_log_whose_file_was_never_acknowledged_is_removed_and_that_is_told(path: Path) -> None:
    sidecar(path).write_bytes(bytes(1 << 16))
    with pytest.warns(UntornWarning, match="there is no file .*/data'; its log, which held no commit, was removed"):
        assert untorn.recover(path) == 0
    assert os.listdir(path.parent) == []


def test_a_log_whose_file_is_gone_keeps_its_commits(path: Path) -> None:
    hot(path)
    path.unlink()
    before = snapshot(path.parent)
    ways: list[dict[str, Any]] = [{}, {"on_damage": "apply"}, {"on_damage": "discard"}]
    for options in ways:
        with pytest.raises(LogError, match=r"no such file, but a log with 3 commits .* rename its log with it"):
            untorn.recover(path, **options)
    assert snapshot(path.parent) == before


def test_what_is_no_log_is_not_removed_with_a_file_that_is_gone(path: Path) -> None:
    sidecar(path).write_bytes(b"precious")
    with pytest.raises(FileNotFoundError):
        untorn.recover(path)
    assert sidecar(path).read_bytes() == b"precious"


# Apply and discard


def test_apply_does_not_install_the_commits_of_a_file_that_had_the_name_before(path: Path) -> None:
    hot(path)
    path.rename(path.with_name("moved"))
    path.write_bytes(THEIRS)
    before = snapshot(path.parent)
    with pytest.raises(LogError, match=r"nothing shows that they are this file's: its inode is \d+, \d+ was recorded"):
        untorn.recover(path, on_damage="apply")
    assert snapshot(path.parent) == before


def test_apply_takes_no_mark_away_while_its_log_is_elsewhere(path: Path) -> None:
    hot(path)
    moved = path.with_name("moved")
    path.rename(moved)
    before = snapshot(path.parent)
    with pytest.raises(MissingLogError):
        untorn.recover(moved, on_damage="apply")
    assert snapshot(path.parent) == before
    assert MARK in os.listxattr(moved)


def test_apply_brings_the_commits_into_a_faithful_copy(path: Path) -> None:
    hot(path)
    copy = path.with_name("copies") / "data"
    copy.parent.mkdir()
    shutil.copyfile(path, copy)
    os.utime(copy, ns=(0, path.stat().st_mtime_ns))
    shutil.copyfile(sidecar(path), sidecar(copy))
    assert MARK not in os.listxattr(copy)
    assert quietly(lambda: untorn.recover(copy, on_damage="apply")) == 3
    assert read(copy) == NEW


def test_discarded_commits_come_back_with_the_log_and_apply(path: Path) -> None:
    hot(path)
    quietly(lambda: untorn.recover(path, on_damage="discard"))
    assert read(path) == OLD
    (aside,) = asides(path.parent)
    aside.rename(sidecar(path))
    assert quietly(lambda: untorn.recover(path, on_damage="apply")) == 3
    assert read(path) == NEW


# What is told


def test_an_edit_is_told_with_what_differs_and_both_values(path: Path) -> None:
    hot(path)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    error = refused(path, ForeignEditError)
    assert f"its size is {size + 4}, {size} was recorded" in str(error)
    assert re.search(r"its time is 1700000000\.123456789, \d+\.\d{9} was recorded", str(error))


def test_recovery_logs_what_it_did(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hot(path)
    with caplog.at_level(logging.INFO, "untorn"):
        untorn.recover(path)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told[0] == ("INFO", f"{str(path)!r}: 3 commits were moved into the file, which has {len(NEW)} bytes")
    assert re.fullmatch(r"'.*/data': its log of \d+ bytes was removed", told[1][1])
    caplog.clear()
    hot(path)
    with caplog.at_level(logging.INFO, "untorn"):
        quietly(lambda: untorn.recover(path, on_damage="discard"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "was set aside as" in record.getMessage()
