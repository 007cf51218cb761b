"""Every mode string and every kind of path, side by side with ``builtins.open``.

What DESIGN says differs, and is tested as different here:

- ``w`` keeps the old content on disk until the first commit;
- ``fileno()`` gives a descriptor that cannot be written, as that would bypass the cache;
- a file must be a regular one, opened by its path;
- nothing is unbuffered, and a binary file of mode ``r`` or ``w`` can be no raw or half-buffered one.
"""

from __future__ import annotations

import io
import itertools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.api.twins import Outcome, outcome
from tests.support.real_files import NOBODY, in_child, let_in

CONTENT = b"one\ntwo\r\nthree\n\nlast"
LETTERS = "rwxabt+U"
STRINGS = sorted(
    {"".join(letters) for length in range(1, 5) for letters in itertools.permutations(LETTERS, length)}
    | {"", " ", "rr", "bb", "r++", "rbb", "w+b ", "R", "rb\n", "r,b", "z", "rw", "rwb", "tb", "+", "b", "t"}
)
VALID = [
    mode
    for mode in STRINGS
    if len(set(mode) & set("rwxa")) == 1
    and set(mode) <= set("rwxabt+")
    and len(set(mode)) == len(mode)
    and not set("bt") <= set(mode)
]


def describe(file: Any) -> tuple[Any, ...]:
    """What a program can ask of a file just opened."""
    return (
        file.mode,
        file.name,
        file.readable(),
        file.writable(),
        file.seekable(),
        file.tell(),
        file.closed,
        file.isatty(),
    )


def opened(opener: Callable[..., Any], path: Any, *arguments: Any) -> Outcome:
    """Opens, describes and closes."""

    def call() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with opener(path, *arguments) as file:
                return describe(file)

    return outcome(call)


@pytest.mark.parametrize("exists", [True, False])
def test_every_mode_string_opens_or_fails_as_builtin(
    tmp_path: Path, exists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    assert len(STRINGS) > 2000
    assert len(VALID) == 76
    for mode in STRINGS:
        for folder in (ours, theirs):
            (folder / "file").unlink(missing_ok=True)
            if exists:
                (folder / "file").write_bytes(CONTENT)
        encoding = () if "b" in mode else (-1, "utf-8")
        os.chdir(theirs)
        expected = opened(open, "file", mode, *encoding)
        os.chdir(ours)
        found = opened(untorn.open, "file", mode, *encoding)
        assert found.agrees(expected), f"mode {mode!r}: {found} instead of {expected}"
        assert (expected.error is None) <= (mode in VALID)
        assert os.listdir(ours) == os.listdir(theirs), mode
        if os.listdir(ours):
            assert (ours / "file").read_bytes() == (theirs / "file").read_bytes(), mode


def test_a_mode_that_is_no_string_is_refused_as_builtin(tmp_path: Path) -> None:
    for mode in (None, 3, b"rb", ["r"]):
        expected = outcome(lambda: open(tmp_path / "file", mode))  # type: ignore[call-overload]  # noqa: B023, SIM115
        assert outcome(lambda: untorn.open(tmp_path / "file", mode)).agrees(expected)  # type: ignore[call-overload]  # noqa: B023


@pytest.mark.parametrize(
    "arguments",
    [
        ("rb", -1, "utf-8"),
        ("rb", -1, None, "strict"),
        ("rb", -1, None, None, "\n"),
        ("r", -1, "utf-8", None, "x"),
        ("r", -1, "utf-8", None, "\n\n"),
        ("r", -1, "no-such-encoding"),
        ("r", 0, "utf-8"),
        ("r", -1, 3),
        ("r", -1, "utf-8", 3),
        ("r", -1, "utf-8", None, 3),
        ("r", "x", "utf-8"),
        ("rb", None),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_as_builtin(tmp_path: Path, arguments: tuple[Any, ...]) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    expected = opened(open, path, *arguments)
    assert expected.error is not None
    assert opened(untorn.open, path, *arguments).agrees(expected)
    with untorn.open(path, "r+b") as file:
        assert file.read() == CONTENT, "a failed open kept the lock"


def test_good_arguments_are_taken_as_builtin(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    for arguments in (("rb", 4096), ("rb", 1 << 20), ("r", 1, "utf-8"), ("r", 100, "latin-1", "ignore", "")):
        assert opened(untorn.open, path, *arguments).agrees(opened(open, path, *arguments))


# Places


def places(folder: Path) -> dict[str, Any]:
    """A folder of every kind of path; what each is called."""
    (folder / "file").write_bytes(CONTENT)
    (folder / "empty").write_bytes(b"")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("file")
    (folder / "dangling").symlink_to("new")
    (folder / "into nowhere").symlink_to("gone/new")
    (folder / "loop").symlink_to("loop")
    (folder / "to folder").symlink_to("folder")
    return {
        "file": "file",
        "empty file": "empty",
        "absent": "absent",
        "folder": "folder",
        "link": "link",
        "dangling link": "dangling",
        "link into nowhere": "into nowhere",
        "link to itself": "loop",
        "link to folder": "to folder",
        "absent in absent folder": "gone/absent",
        "below a file": "file/below",
        "file with a slash": "file/",
        "folder with a slash": "folder/",
        "absent with a slash": "absent/",
        "here": ".",
        "there and back": "folder/../file",
        "no name": "",
        "bytes": b"file",
        "path object": Path("file"),
        "too long a name": "n" * 256,
        "a zero in the name": "a\0b",
        "no path": None,
        "a float": 1.5,
        "a list": ["file"],
    }


@pytest.mark.parametrize("mode", ["rb", "wb", "xb", "ab", "r+b", "w+b", "x+b", "a+b", "r", "w+", "x", "a"])
def test_every_place_opens_or_fails_as_builtin(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    openers: dict[str, Callable[..., Any]] = {"ours": untorn.open, "theirs": open}
    arguments = (mode,) if "b" in mode else (mode, -1, "utf-8")
    (tmp_path / "probe").mkdir()
    for number, name in enumerate(places(tmp_path / "probe")):
        results, left = [], []
        for who, opener in openers.items():
            folder = tmp_path / f"{number} {who}"
            folder.mkdir()
            monkeypatch.chdir(folder)
            results.append(opened(opener, places(folder)[name], *arguments))
            left.append([(path.name, path.is_symlink()) for path in sorted(folder.iterdir())])
        assert results[0].agrees(results[1]), f"{name}, mode {mode}: {results[0]} instead of {results[1]}"
        assert left[0] == left[1], name


@pytest.mark.needs_root
def test_permissions_are_those_of_builtin(tmp_path: Path) -> None:
    let_in(tmp_path)
    for who in ("ours", "theirs"):
        folder = tmp_path / who
        folder.mkdir()
        for name, mode in (("readable", 0o444), ("writable", 0o222), ("closed", 0), ("open", 0o666)):
            (folder / name).write_bytes(CONTENT)
            (folder / name).chmod(mode)
        (folder / "shut").mkdir(mode=0o700)
        (folder / "shut" / "file").write_bytes(CONTENT)
        folder.chmod(0o755)

    def work() -> list[str]:
        wrong = []
        for name in ("readable", "writable", "closed", "shut/file", "absent"):
            for mode in ("rb", "r+b", "wb", "ab", "xb", "w+b"):
                found = opened(untorn.open, str(tmp_path / "ours" / name), mode)
                expected = opened(open, str(tmp_path / "theirs" / name), mode)
                if found[1:3] != expected[1:3]:
                    wrong.append(f"{name} {mode}: {found} instead of {expected}")
        return wrong

    # A file that may be written and not read cannot be opened: what is not overwritten has to be read.
    # And where no log can be made beside it, nothing is written: the folder is not this user's.
    assert [line.split(":")[0] for line in in_child(work, user=NOBODY)] == [
        "writable wb",
        "writable ab",
    ]


# Where it differs


def test_w_keeps_the_old_content_until_the_first_commit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with untorn.open(path, "wb") as file:
        assert file.tell() == 0
        assert path.read_bytes() == CONTENT
        file.write(b"new")
        assert path.read_bytes() == CONTENT
    assert path.read_bytes() == b"new"
    with pytest.raises(KeyError), untorn.open(path, "wb") as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"new"
    with untorn.open(path, "wb"):
        pass
    assert path.read_bytes() == b""


def test_x_shows_an_empty_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with untorn.open(path, "xb") as file:
        assert path.read_bytes() == b""
        file.write(CONTENT)
        with pytest.raises(FileExistsError):
            untorn.open(path, "xb")
    assert path.read_bytes() == CONTENT


def test_there_is_no_raw_file_below(tmp_path: Path) -> None:
    with untorn.open(tmp_path / "file", "xb") as file:
        with pytest.raises(io.UnsupportedOperation):
            file.detach()
        assert not hasattr(file, "raw")


@pytest.mark.parametrize("path", [0, 1, 2, 10**6, True])
def test_a_descriptor_is_no_path(path: int) -> None:
    with pytest.raises(TypeError, match="by path"):
        untorn.open(path, "rb")  # type: ignore[call-overload]


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in ("/dev/null", pipe):
        for mode in ("rb", "r+b", "wb"):
            with pytest.raises(OSError, match="regular files only"):
                untorn.open(place, mode)
    with pytest.raises(FileExistsError):
        untorn.open(pipe, "xb")


def test_nothing_is_unbuffered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unbuffered"):
        untorn.open(tmp_path / "file", "xb", 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "options",
    [
        {"commit": "sometimes"},
        {"design": "hope"},
        {"folio_size": 4095},
        {"folio_size": 12288},
        {"folio_size": 1 << 21},
        {"cache_bytes": 0},
        {"checkpoint_bytes": -1},
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_refused_before_anything_is_made(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="must be"):
        untorn.open(tmp_path / "file", "xb", **options)
    assert os.listdir(tmp_path) == []
