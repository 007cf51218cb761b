"""Errors survive a process pool, carry the caller's name for the file, and warnings point at the caller's line."""

from __future__ import annotations

import errno
import inspect
import logging
import os
import pickle
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import OLD, hot
from untorn import errors
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "LockedError": ("process 7 has it", "f", 7),
    "CheckpointError": ("no room", "f", errno.EDQUOT),
    "CorruptLogError": ("damaged", "f", 8192, "no header"),
}
KINDS = [
    kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.UntornError) and not name.startswith("_")
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_the_same_after_pickling(kind: type[Any]) -> None:
    arguments = ARGUMENTS.get(
        kind.__name__, ("what happened", "f") if issubclass(kind, OSError) else ("what happened",)
    )
    error = kind(*arguments)
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
    for name in ("errno", "strerror", "filename", "pid", "offset", "reason"):
        assert getattr(again, name, None) == getattr(error, name, None)


def open_again(path: str) -> None:
    untorn.open(path, "r+b", timeout=0)


def test_an_error_comes_through_a_process_pool_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    with (
        untorn.open(path, "r+b"),
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
        pytest.raises(untorn.LockedError, match=f"process {os.getpid()} has this file open") as caught,
    ):
        pool.submit(open_again, str(path)).result(60)
    assert (caught.value.pid, caught.value.errno, caught.value.filename) == (os.getpid(), errno.EAGAIN, str(path))


def test_an_error_in_the_log_carries_the_name_that_the_caller_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").write_bytes(OLD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with untorn.open("data", "r+b") as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                file.write(bytes(1 << 17))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == "data"


def test_what_stands_in_the_place_of_the_log_is_told_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").write_bytes(OLD)
    with untorn.open("data", "r+b") as file:
        Path("data-untorn").symlink_to("data")
        with pytest.raises(untorn.UntrustedLogError, match="has taken the place of its log") as caught:
            file.write(b"x")
    assert caught.value.filename == "data"


def test_a_message_about_a_log_that_cannot_be_used_carries_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hot("data")
    Path("data").touch()
    for call in (untorn.verify, untorn.recover, lambda name: untorn.open(name, "r+b"), untorn.open):
        with pytest.raises(untorn.ForeignEditError) as caught:
            call("data")
        assert caught.value.filename == "data"


def test_a_checkpoint_without_room_is_logged_with_its_reason_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    home = os.path.realpath(path)
    storage = FaultyStorage(LinuxStorage())
    storage.add(Fault(nth=0, names={"pwritev"}, paths={home}, error=errno.ENOSPC))
    with (
        untorn.open(path, "r+b", storage=storage, checkpoint_bytes=4096) as file,
        caplog.at_level(logging.WARNING, "untorn"),
    ):
        file.write(b"x" * 4096)
        file.commit()
        assert file.stats()["checkpoints_failed"] == 1
        (record,) = caplog.records
        assert record.name == "untorn"
        said = record.getMessage()
        assert str(path) in said
        assert "No space left on device" in said
        assert f"log of {file.stats()['log_bytes']} bytes" in said
        file.write(b"y" * 4096)
        file.commit()
        assert file.stats()["checkpoints"] == 1
    assert path.read_bytes().startswith(b"x" * 4096 + b"y")


def forgets_a_file(path: Path) -> None:
    untorn.open(path, "r+b").write(b"lost")


def closes_in_a_handler(path: Path) -> None:
    file = untorn.open(path, "r+b")
    file.write(b"lost")
    try:
        raise KeyError
    except KeyError:
        file.close()


def sets_a_log_aside(path: Path) -> None:
    hot(path)
    untorn.recover(path, on_damage="discard")


@pytest.mark.parametrize("work", [forgets_a_file, closes_in_a_handler, sets_a_log_aside])
def test_a_warning_points_at_the_line_of_the_caller(tmp_path: Path, work: Callable[[Path], None]) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    with pytest.warns(untorn.UntornWarning, match=str(path)) as caught:
        work(path)
    (warning,) = caught
    assert warning.filename == __file__
    lines, first = inspect.getsourcelines(work)
    assert first <= warning.lineno < first + len(lines)
