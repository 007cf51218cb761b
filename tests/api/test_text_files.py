"""Text files, beside those of ``builtins.open`` and under the rules of commits, transactions and rollback."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gc
import io
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import untorn
from tests.api.twins import Outcome, outcome
from tests.support.real_files import sidecar
from untorn.errors import UntornWarning

TEXT = "first line\nsecond\r\nthird\r\rfourth \u00e4\u00f6\u00fc\n" + "x" * 9000 + "\nno end"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32-le", "latin-1", "ascii", "shift_jis", "utf-7"]
NEWLINES = [None, "", "\n", "\r", "\r\n"]
MODES = ["r", "r+", "w", "w+", "a", "a+", "x+"]

Call = tuple[str, tuple[Any, ...]]


def calls(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    """Calls of one method."""
    return st.tuples(st.just(name), st.tuples(*arguments))


SIZES = st.sampled_from([-1, 0, 1, 7, 100, 9000, None])
WRITTEN = st.sampled_from(["", "x", "two\nlines", "\r\n", "\u00e4\u20ac", "long " * 2000, "\ufeff"])
OTHERS: list[Call] = [
    ("seek", (0, 0)), ("seek", (0, 1)), ("seek", (0, 2)), ("seek_tell", ()), ("flush", ()), ("truncate_here", ()),
    ("next", ()), ("seek", (1, 1)), ("seek", (-1, 0)), ("seek", (0, 7)), ("write", (b"bytes",)), ("write", (None,)),
    ("read", ("x",)), ("readable", ()), ("writable", ()), ("seekable", ()), ("isatty", ()), ("reconfigure", ()),
]  # fmt: skip
CALLS = st.lists(
    st.one_of(
        calls("read", SIZES),
        calls("readline", SIZES.filter(lambda size: size is not None)),
        calls("readlines", st.sampled_from([-1, 0, 10])),
        calls("write", WRITTEN),
        calls("writelines", st.lists(WRITTEN, max_size=3)),
        st.sampled_from(OTHERS),
    ),
    max_size=12,
)


def made(file: Any, call: Call) -> Outcome:
    """Makes one call and tells what a caller would see."""
    name, arguments = call

    def run() -> Any:
        if name == "seek_tell":
            # Cookies are the decoder's affair; that they lead back is what counts.
            cookie = file.tell()
            rest = file.read()
            file.seek(cookie)
            return rest, file.read(5), file.seek(cookie) == cookie
        if name == "truncate_here":
            file.seek(0, 1)
            return file.truncate()
        if name == "next":
            return next(file)
        return getattr(file, name)(*arguments)

    return outcome(run)


@contextmanager
def twins(mode: str, encoding: str, errors: str, newline: str | None) -> Iterator[tuple[Any, Any, Path]]:
    """Our file and theirs, and the folder they are in."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not mode.startswith("x"):
            for who in ("ours", "theirs"):
                (folder / who).write_bytes(TEXT.encode(encoding, "replace"))
        ours: Any = untorn.open(folder / "ours", mode, -1, encoding, errors, newline, folio_size=4096)
        theirs: Any = open(folder / "theirs", mode, -1, encoding, errors, newline)  # noqa: SIM115
        try:
            yield ours, theirs, folder
        finally:  # not `with`: a close within a block leaves it to the block
            for file in (ours, theirs):
                file.close()


@settings(max_examples=200)
@given(st.sampled_from(MODES), st.sampled_from(ENCODINGS), st.sampled_from(["strict", "replace"]),
       st.sampled_from(NEWLINES), CALLS)  # fmt: skip
@example("r+", "utf-8", "strict", None, [("read", (7,)), ("seek", (0, 1)), ("write", ("x",)), ("seek_tell", ())])
@example("w+", "utf-16", "strict", None, [("write", ("x\n",)), ("seek", (0, 0)), ("read", (-1,))])
@example("a+", "utf-16", "strict", None, [("write", ("x\n",)), ("seek", (0, 0)), ("read", (-1,))])
@example("r+", "ascii", "strict", None, [("write", ("\u00e4",)), ("seek", (0, 0)), ("read", (5,))])
def test_every_call_does_what_builtin_does(
    mode: str, encoding: str, errors: str, newline: str | None, sequence: list[Call]
) -> None:
    with twins(mode, encoding, errors, newline) as (ours, theirs, folder):
        for number, call in enumerate(sequence):
            if call[0].startswith("write") and theirs.readable():
                # Between reading and writing a text file wants a seek, or what happens is anybody's guess.
                for file in (ours, theirs):
                    file.seek(0, 2)
            found, expected = made(ours, call), made(theirs, call)
            assert found.agrees(expected), f"call {number}, {call}: {found} instead of {expected}"
        ours.close()
        theirs.close()
        assert (folder / "ours").read_bytes() == (folder / "theirs").read_bytes()
        assert sorted(path.name for path in folder.iterdir()) == ["ours", "theirs"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("newline", NEWLINES)
def test_a_text_file_says_of_itself_what_builtin_says(mode: str, newline: str | None) -> None:
    with twins(mode, "utf-8", "replace", newline) as (ours, theirs, folder):
        for name in ("mode", "encoding", "errors", "newlines", "line_buffering", "write_through", "closed"):
            assert getattr(ours, name) == getattr(theirs, name), name
        for name in ("readable", "writable", "seekable", "isatty", "tell"):
            assert getattr(ours, name)() == getattr(theirs, name)(), name
        assert ours.name == str(folder / "ours")
        assert ours.buffer.mode == theirs.buffer.mode
        assert os.path.sameopenfile(ours.fileno(), ours.buffer.fileno())
        assert isinstance(ours, io.TextIOBase)


CLOSED: list[Call] = [
    ("read", ()), ("readline", ()), ("write", ("x",)), ("seek", (0,)), ("tell", ()), ("truncate", ()),
    ("flush", ()), ("next", ()), ("isatty", ()), ("__enter__", ()), ("close", ()), ("writelines", ([],)),
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_a_closed_text_file_refuses_as_builtin(mode: str) -> None:
    with twins(mode, "utf-8", "strict", None) as (ours, theirs, _):
        ours.close()
        theirs.close()
        for call in CLOSED:
            found, expected = made(ours, call), made(theirs, call)
            assert found.error is expected.error, call
        assert ours.closed is theirs.closed is True


def test_the_default_encoding_is_that_of_builtin(tmp_path: Path) -> None:
    with untorn.open(tmp_path / "ours", "w") as ours, open(tmp_path / "theirs", "w") as theirs:
        assert ours.encoding == theirs.encoding
        assert ours.errors == theirs.errors


# Commits


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("old", "utf-8")
    return path


def committed(path: Path) -> str:
    """What a crash now would leave: a copy of file and log, as a file system image has them, recovered."""
    folder = path.with_name("copies")
    folder.mkdir()
    for source in (path, sidecar(path)):
        if source.exists():
            shutil.copy2(source, folder)
    copy = folder / path.name
    untorn.recover(copy)
    found = copy.read_text("utf-8")
    shutil.rmtree(folder)
    return found


NOT_COMMITS: dict[str, Callable[[Any], object]] = {
    "write": lambda file: file.write("new"),
    "write and seek": lambda file: (file.write("new"), file.seek(0)),
    "write and tell": lambda file: (file.write("new"), file.tell()),
    "write and read": lambda file: (file.write("new"), file.seek(0), file.read()),
    "write and truncate": lambda file: (file.write("new"), file.truncate(1)),
    "much": lambda file: file.write("new " * 100_000),
    "writelines": lambda file: file.writelines(["a\n", "b\n"]),
    "reconfigure": lambda file: (file.write("new"), file.reconfigure(newline="\n")),
}


@pytest.mark.parametrize("act", NOT_COMMITS)
def test_text_is_committed_by_flush_and_not_before(path: Path, act: str) -> None:
    with untorn.open(path, "r+", encoding="utf-8") as file:
        NOT_COMMITS[act](file)
        assert committed(path) == "old"
        file.flush()
        assert committed(path) != "old"


@pytest.mark.parametrize("commit", ["flush", "close", "write", "explicit"])
def test_an_exception_in_the_block_leaves_the_old_text(path: Path, commit: Any) -> None:
    with pytest.raises(KeyError), untorn.open(path, "w", encoding="utf-8", commit=commit) as file:
        file.write("half of it" * 1000)
        raise KeyError
    assert path.read_text("utf-8") == "old"
    assert not sidecar(path).exists()


@pytest.mark.parametrize("commit", ["flush", "close", "write", "explicit"])
def test_a_forgotten_text_file_is_rolled_back(path: Path, commit: Any) -> None:
    def forget() -> None:
        file = untorn.open(path, "w", encoding="utf-8", commit=commit)
        file.write("half of it" * 1000)

        del file
        gc.collect()

    with pytest.warns(UntornWarning, match="rolled back"):
        forget()
    assert path.read_text("utf-8") == "old"
    assert not sidecar(path).exists()


@pytest.mark.parametrize(
    ("commit", "kept"), [("flush", "new"), ("close", "new"), ("write", "new"), ("explicit", "old")]
)
def test_closing_commits_text_unless_only_commit_does(path: Path, commit: Any, kept: str) -> None:
    with untorn.open(path, "w", encoding="utf-8", commit=commit) as file:
        file.write("new")
    assert path.read_text("utf-8") == kept
    with untorn.open(path, "w", encoding="utf-8", commit=commit) as file:
        file.write("newer")
        file.commit()
    assert path.read_text("utf-8") == "newer"


def test_text_that_cannot_be_encoded_changes_nothing(path: Path) -> None:
    with untorn.open(path, "a", encoding="ascii") as file:
        file.write(" and more")
        with pytest.raises(UnicodeEncodeError):
            file.write("\u00e4")
    assert path.read_text("utf-8") == "old and more"


def test_rollback_takes_back_text_that_was_and_was_not_handed_down(path: Path) -> None:
    with untorn.open(path, "r+", encoding="utf-8") as file:
        file.seek(0, 2)
        file.write(" and one")
        file.flush()
        file.write(" and two")
        file.rollback()
        assert file.tell() == len("old and one")
        file.write(" and three")
        file.seek(0)
        assert file.read() == "old and one and three"
    assert path.read_text("utf-8") == "old and one and three"


def test_a_transaction_of_text_is_whole(path: Path) -> None:
    with untorn.open(path, "r+", encoding="utf-8") as file:
        with file.transaction():
            file.write("one")
            file.flush()
            assert committed(path) == "old"
            file.write("two")
        assert committed(path) == "onetwo"
        with pytest.raises(KeyError), file.transaction():
            file.write("half")
            raise KeyError
        assert committed(path) == "onetwo"
        with file.transaction():
            file.write("three")
            with contextlib.suppress(KeyError), file.transaction():
                file.write("inner")
                raise KeyError
            file.write("four")
    assert path.read_text("utf-8") == "onetwothreefour"


# What people do with text files


def test_print_writes_to_it(path: Path) -> None:
    with untorn.open(path, "w", encoding="utf-8") as file:
        print("a", "b", sep=",", file=file)
        print("c", file=file, flush=True)
        assert committed(path) == "a,b\nc\n"
    assert path.read_text("utf-8") == "a,b\nc\n"


def test_line_buffering_hands_lines_down_and_does_not_commit(path: Path) -> None:
    with untorn.open(path, "w+", 1, encoding="utf-8") as file:
        assert file.line_buffering
        file.write("line\n")
        assert file.buffer.pread(10, 0) == b"line\n"
        assert committed(path) == "old"


def test_csv_and_json_round_trip(path: Path) -> None:
    rows = [["a", "b,c", 'd"e'], ["1", "zwei\nzeilen", "\u00e4"]]
    with untorn.open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    with untorn.open(path, encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == rows
    with open(path, encoding="utf-8", newline="") as plain:
        assert list(csv.reader(plain)) == rows
    with untorn.open(path, "w", encoding="utf-8") as file:
        json.dump(rows, file)
    with untorn.open(path, encoding="utf-8") as file:
        assert json.load(file) == rows


@pytest.mark.parametrize("wrapper", ["TextIOWrapper", "BufferedRandom", "BufferedReader", "codecs"])
def test_the_wrappers_of_io_work_over_a_binary_file(path: Path, wrapper: str) -> None:
    content = "line one\nline two \u00e4\n" * 1000
    path.write_text(content, "utf-8")
    file: Any = untorn.open(path, "r+b")
    if wrapper == "TextIOWrapper":
        with io.TextIOWrapper(file, "utf-8") as text:
            assert text.read() == content
            text.write("more")
        content += "more"
    elif wrapper == "BufferedRandom":
        with io.BufferedRandom(file) as both:
            assert both.read() == content.encode()
            both.write(b"more")
            both.seek(0)
            both.write(b"LINE")
        content = "LINE" + content[4:] + "more"
    elif wrapper == "BufferedReader":
        with io.BufferedReader(file) as reader:
            assert [line.decode() for line in reader] == content.splitlines(keepends=True)
    else:
        with codecs.getreader("utf-8")(file) as decoded:
            assert decoded.read() == content
    assert file.closed
    assert path.read_text("utf-8") == content
    assert not sidecar(path).exists()


def test_reading_text_leaves_no_warning_behind(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert untorn.open(path, encoding="utf-8").read() == "old"
        gc.collect()
