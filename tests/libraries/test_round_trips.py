"""Every library writes and reads through untorn as it does through ``builtins.open``."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

import untorn
from tests.libraries.works import WORKS, Open, grid, noise


def made(directory: Path, name: str, open_: Open) -> str:
    """The path of the file that the work ``name`` leaves, all of it done with ``open_``."""
    directory.mkdir()
    path = str(directory / "data")
    work = WORKS[name]
    if work.before is not None:
        work.before(open_, path)
    work.write(open_, path)
    assert os.listdir(directory) == ["data"], "something is left beside the file"
    assert not os.listxattr(path)
    return path


def tight(*arguments: Any, **options: Any) -> Any:
    """``untorn.open`` such that pages are evicted, spilled and checkpointed while the library works."""
    options |= {"cache_bytes": 1 << 14, "log_bytes": 1 << 14, "folio_size": 4096}
    return untorn.open(*arguments, **options)


@pytest.mark.parametrize("open_", [untorn.open, tight], ids=["roomy", "tight"])
@pytest.mark.parametrize("name", WORKS)
def test_the_file_is_byte_for_byte_the_one_that_builtins_open_gives(tmp_path: Path, name: str, open_: Open) -> None:
    plain = made(tmp_path / "plain", name, open)
    untorn_ = made(tmp_path / "untorn", name, open_)
    assert Path(untorn_).read_bytes() == Path(plain).read_bytes()
    read = WORKS[name].read
    content = read(open, plain)
    assert content
    assert read(open, untorn_) == content
    assert read(open_, untorn_) == content
    assert os.listdir(tmp_path / "untorn") == ["data"]


@pytest.mark.parametrize("name", [name for name, work in WORKS.items() if work.before is not None])
def test_the_comparison_sees_a_library_that_changed_nothing(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "changed", name, open)
    unchanged = str(tmp_path / "unchanged")
    before = WORKS[name].before
    assert before is not None
    before(open, unchanged)
    assert Path(unchanged).read_bytes() != Path(path).read_bytes()


def _tofile(file: Any) -> None:
    grid(1).tofile(file)


def _fromfile(file: Any) -> None:
    numpy.fromfile(file, numpy.int32)


def _memmap(file: Any) -> None:
    numpy.memmap(file, numpy.uint8, "r+")


def _mmap(file: Any) -> None:
    mmap.mmap(file.fileno(), 0)


def _sendfile(file: Any) -> None:
    os.sendfile(1, file.fileno(), 0, 100)


@pytest.mark.parametrize("beneath", [_tofile, _fromfile, _memmap, _mmap, _sendfile])
def test_what_would_go_beneath_the_cache_fails_loudly_and_changes_nothing(
    tmp_path: Path, beneath: Callable[[Any], None]
) -> None:
    path = tmp_path / "data"
    path.write_bytes(noise(20_000, 1))
    with untorn.open(path, "r+b") as file:
        file.write(b"through untorn")
        with pytest.raises(io.UnsupportedOperation):
            beneath(file)
    assert path.read_bytes() == b"through untorn" + noise(20_000, 1)[14:]
    assert os.listdir(tmp_path) == ["data"]


def test_tofile_and_memmap_do_work_on_a_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with open(path, "w+b") as file:
        _tofile(file)
        file.seek(0)
        _memmap(file)
        _fromfile(file)
    assert path.read_bytes() == grid(1).tobytes()
