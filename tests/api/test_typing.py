"""What a type checker knows of ``untorn.open``, and that it is so: mypy reads this module, pytest runs it."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, assert_type, get_args

import pytest

import untorn
from untorn.api.options import BinaryMode, TextMode, parse_mode


def read_all(file: IO[bytes]) -> bytes:
    """As a library says what it takes."""
    return file.read()


def read_text(file: IO[str]) -> str:
    return file.read()


def test_the_mode_says_which_class_of_file_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with untorn.open(path, "wb") as new:
        assert_type(new, untorn.File)
        assert type(new) is untorn.File
    with untorn.open(path, "r+b", commit="explicit", folio_size=4096) as binary:
        assert_type(binary, untorn.File)
        assert type(binary) is untorn.File
        assert_type(binary.pread(1, 0), bytes)
        assert_type(binary.transaction(), untorn.Transaction)
        assert read_all(binary) == b""
    with untorn.open(path) as text:
        assert_type(text, untorn.TextFile)
        assert type(text) is untorn.TextFile
        assert_type(text.read(), str)
        assert read_text(text) == ""
    with untorn.open(path, "a", encoding="utf-8", newline="\n") as text:
        assert_type(text, untorn.TextFile)


def test_a_mode_that_is_only_known_when_it_runs_gives_any(tmp_path: Path) -> None:
    mode = str("x" + "b")
    with untorn.open(tmp_path / "file", mode) as file:
        assert_type(file, Any)
        assert type(file) is untorn.File


def test_control_what_is_wrong_when_it_runs_is_wrong_for_a_checker(tmp_path: Path) -> None:
    """mypy takes it for an error of its own if there is nothing to ignore."""
    with pytest.raises(ValueError, match="must be one of"):
        untorn.open(tmp_path / "file", "wb", commit="never")  # type: ignore[call-overload]


@pytest.mark.parametrize(("modes", "text"), [(BinaryMode, False), (TextMode, True)])
def test_every_mode_that_is_named_for_checkers_is_one_and_none_is_left_out(modes: Any, text: bool) -> None:
    named = get_args(modes)

    assert {parse_mode(mode).text for mode in named} == {text}
    assert len(set(named)) == len(named)
    # Four actions, with or without a plus; the letters in every order, and text with or without its own.
    orders = 4 * 2 + 4 * 6
    assert len(named) == orders + (4 + 4 * 2 if text else 0)
