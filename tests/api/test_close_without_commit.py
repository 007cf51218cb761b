"""``close(commit=False)``: what is not committed is taken back, in every mode and wherever it is called."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import untorn
from tests.support.real_files import sidecar
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage

MODES: Final = ["flush", "close", "write", "explicit"]
OLD: Final = b"what was there before"
NEW: Final = b"and what came then"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


def alone(file: Any, write: Callable[[], object], **how: bool) -> None:
    write()
    file.close(**how)


def within_a_with(file: Any, write: Callable[[], object], **how: bool) -> None:
    with file:
        write()
        file.close(**how)


def within_a_transaction(file: Any, write: Callable[[], object], **how: bool) -> None:
    transaction = file.transaction()
    transaction.__enter__()
    write()
    file.close(**how)
    if how:
        with pytest.raises(ValueError, match="closed file"):
            transaction.__exit__(None, None, None)
    else:
        transaction.__exit__(None, None, None)


WAYS: Final = [alone, within_a_with, within_a_transaction]


def ended(path: Path, mode: Any, text: bool, way: Callable[..., None], **how: bool) -> bytes:
    """What is in the file after a commit, a write of ``NEW``, and a close."""
    file = untorn.open(path, "r+" if text else "r+b", commit=mode)
    file.write("first" if text else b"first")
    file.commit()
    way(file, lambda: file.write(NEW.decode() if text else NEW), **how)
    assert file.closed
    assert not sidecar(path).exists()
    return path.read_bytes()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_committed_is_taken_back_without_a_word(path: Path, mode: Any, text: bool, way: Any) -> None:
    assert ended(path, mode, text, way, commit=False) == b"first" + OLD[5:]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_control_a_close_keeps_it(path: Path, text: bool, way: Any) -> None:
    assert ended(path, "flush", text, way) == (b"first" + NEW).ljust(len(OLD))


def test_text_that_was_not_handed_down_is_never_written(path: Path) -> None:
    file = untorn.open(path, "w", encoding="ascii")
    file.write("x" * 10)
    file.close(commit=False)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("mode", ["rb", "r", "r+b", "r+"])
def test_a_second_one_and_one_of_a_file_that_nobody_changed_do_nothing(path: Path, mode: Any) -> None:
    file = untorn.open(path, mode)
    for _ in range(2):
        file.close(commit=False)
        assert file.closed
    file.close()
    assert path.read_bytes() == OLD


def test_an_error_is_raised_and_the_commits_before_stay(path: Path) -> None:
    home = str(path.resolve())
    storage = FaultyStorage(LinuxStorage())
    file = untorn.open(path, "r+b", storage=storage)
    file.write(NEW)
    file.commit()
    file.write(b"lost")
    storage.add(Fault(nth=0, names={"pwritev"}, paths={home}, error=errno.ENOSPC))
    with pytest.raises(untorn.CheckpointError):
        file.close(commit=False)
    assert file.closed
    with untorn.open(path, "rb") as reader:
        assert reader.read() == NEW + OLD[len(NEW) :]
