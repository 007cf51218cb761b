"""Every library writes and reads through untorn as it does through ``builtins.open``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

import untorn
from tests.libraries.media import MEDIA, SHEETS
from tests.libraries.works import WORKS, Open

ALL: Final = WORKS | MEDIA | SHEETS


def made(directory: Path, name: str, open_: Open) -> str:
    """The path of the file that the work ``name`` leaves, all of it done with ``open_``."""
    directory.mkdir()
    path = str(directory / "data")
    work = ALL[name]
    if work.before is not None:
        work.before(open_, path)
    work.write(open_, path)
    assert os.listdir(directory) == ["data"], "something is left beside the file"
    assert not os.listxattr(path)
    return path


def tight(*arguments: Any, **options: Any) -> Any:
    """``untorn.open`` such that pages are evicted, spilled and checkpointed while the library works."""
    options |= {"cache_bytes": 1 << 14, "checkpoint_bytes": 1 << 14, "folio_size": 4096}
    return untorn.open(*arguments, **options)


@pytest.mark.parametrize("open_", [untorn.open, tight], ids=["roomy", "tight"])
@pytest.mark.parametrize("name", WORKS | MEDIA)
def test_the_file_is_byte_for_byte_the_one_that_builtins_open_gives(tmp_path: Path, name: str, open_: Open) -> None:
    plain = made(tmp_path / "plain", name, open)
    untorn_ = made(tmp_path / "untorn", name, open_)
    assert Path(untorn_).read_bytes() == Path(plain).read_bytes()
    check_reading(name, plain, untorn_, open_)
    assert os.listdir(tmp_path / "untorn") == ["data"]


def check_reading(name: str, plain: str, ours: str, open_: Open) -> None:
    """What was made through untorn reads as what was made without."""
    read = ALL[name].read
    content = read(open, plain)
    assert content
    assert read(open, ours) == content
    assert read(open_, ours) == content


@pytest.mark.parametrize("open_", [untorn.open, tight], ids=["roomy", "tight"])
@pytest.mark.parametrize("name", SHEETS)
def test_the_file_reads_as_the_one_that_builtins_open_gives(tmp_path: Path, name: str, open_: Open) -> None:
    check_reading(name, made(tmp_path / "plain", name, open), made(tmp_path / "untorn", name, open_), open_)


@pytest.mark.parametrize("name", [name for name, work in ALL.items() if work.before is not None])
def test_the_comparison_sees_a_library_that_changed_nothing(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "changed", name, open)
    unchanged = str(tmp_path / "unchanged")
    before = ALL[name].before
    assert before is not None
    before(open, unchanged)
    assert Path(unchanged).read_bytes() != Path(path).read_bytes()
