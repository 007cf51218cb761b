"""What ``io.TextIOWrapper`` flushes by itself commits nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import untorn

BY_ITSELF: dict[str, Callable[[untorn.TextFile], object]] = {
    "seek": lambda file: file.seek(0),
    "tell": lambda file: file.tell(),
    "truncate": lambda file: file.truncate(9),
    "read": lambda file: file.read(1),
    "reconfigure": lambda file: file.reconfigure(errors="replace"),
}


@pytest.mark.parametrize("call", BY_ITSELF.values(), ids=BY_ITSELF)
def test_only_flush_and_close_commit_text(tmp_path: Path, call: Callable[[untorn.TextFile], object]) -> None:
    path = tmp_path / "data"
    path.write_text("what was there before")
    with pytest.raises(KeyError), untorn.open(path, "r+", encoding="utf-8") as file:
        file.write("half")
        call(file)
        assert file.stats()["commits"] == 0
        raise KeyError
    assert path.read_text() == "what was there before"


def test_control_flush_commits_text(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("what was there before")
    with pytest.raises(KeyError), untorn.open(path, "r+", encoding="utf-8") as file:
        file.write("half")
        file.flush()
        raise KeyError
    assert path.read_text() == "half was there before"


def test_an_exception_in_a_transaction_of_text_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("what was there before")
    with pytest.raises(KeyError), untorn.open(path, "w", encoding="utf-8") as file, file.transaction():
        file.write("half")
        raise KeyError
    assert path.read_text() == "what was there before"
