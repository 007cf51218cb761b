"""Files that nobody closed: in a forked child, collected as garbage, open when the interpreter exits."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import OLD, PAGE, in_child, read, sidecar, snapshot
from untorn.errors import LockedError, UntornWarning
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage

PATIENCE_S = 60
MODES = ["flush", "close", "write", "explicit"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


# Forked children


def try_all(file: Any) -> list[str]:
    """In a child: what each call says that the parent's file should refuse."""
    signal.alarm(PATIENCE_S)  # a child that hangs is killed, and its report missing
    calls = [
        file.read, lambda: file.pread(1, 0), lambda: file.write(b"x"), lambda: file.pwrite(b"y" * 3 * PAGE, 0),
        lambda: file.truncate(0), file.commit, file.flush, file.rollback, file._begin, lambda: file.seek(0),
    ]  # fmt: skip
    said = []
    for call in calls:
        try:
            call()
            said.append("done")
        except ValueError as error:
            said.append("refused" if "parent" in str(error) else str(error))
    file.close()
    return said


@pytest.mark.parametrize("name", ["pwritev", "fdatasync"])
def test_a_child_forked_in_mid_commit_neither_hangs_nor_hurts(path: Path, name: str) -> None:
    reached, opened = threading.Event(), threading.Event()

    def stop() -> None:
        reached.set()
        assert opened.wait(PATIENCE_S)

    storage = FaultyStorage(LinuxStorage())
    with untorn.open(path, "r+b", folio_size=PAGE, storage=storage) as file:
        file.pwrite(b"1", 0)
        file.commit()
        file.pwrite(b"2", 1)
        storage.add(Fault(nth=0, names={name}, before=stop))
        committer = threading.Thread(target=file.commit, daemon=True)
        committer.start()
        try:
            assert reached.wait(PATIENCE_S)
            before = snapshot(path.parent)
            assert in_child(lambda: try_all(file)) == ["refused"] * 10
            assert snapshot(path.parent) == before
        finally:
            opened.set()
            committer.join(PATIENCE_S)
        file.pwrite(b"3", 2)
        file.commit()
        # The child closed it and went; the lock stayed with the parent.
        with pytest.raises(LockedError):
            untorn.open(path, "rb", timeout=0)
        assert file.stats()["commits"] == 3
    assert read(path) == b"123" + OLD[3:]


def test_a_child_that_exits_in_the_ordinary_way_leaves_the_parents_file_alone(path: Path) -> None:
    program = (
        "import os, sys, untorn\n"
        "file = untorn.open(sys.argv[1], 'r+b', folio_size=4096)\n"
        "file.pwrite(b'1', 0)\n"
        "file.commit()\n"
        "file.pwrite(b'2', 1)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "assert file.pread(2, 0) == b'12'\n"
        "assert os.path.exists(sys.argv[1] + '-untorn')\n"
        "file.close()\n"
    )
    done = run(program, path)
    assert (done.returncode, done.stderr) == (0, "")
    assert read(path) == b"12" + OLD[2:]


# Garbage


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["dropped", "in a cycle", "in a transaction", "as text"])
def test_a_file_collected_as_garbage_is_rolled_back_with_a_warning(path: Path, mode: Any, way: str) -> None:
    file = untorn.open(path, "r+" if way == "as text" else "r+b", encoding="ascii" if way == "as text" else None,
                       commit=mode)  # fmt: skip
    word: Any = (lambda text: text) if way == "as text" else str.encode
    file.write(word("first"))
    file.commit()
    holder = [file]
    if way == "in a cycle":
        holder.append(holder)
    elif way == "in a transaction":
        file._begin()
    file.write(word("second"))
    lost = "what was written since its last commit, 6 bytes, was rolled back"
    with pytest.warns(UntornWarning, match=f"never closed: {lost}"):  # noqa: PT031
        del file, holder
        gc.collect()
    assert read(path) == b"first" + OLD[5:]
    assert not sidecar(path).exists()


def test_a_file_that_was_never_closed_and_not_changed_is_told_as_any_unclosed_file(path: Path) -> None:
    file = untorn.open(path, "r+b")
    with pytest.warns(ResourceWarning, match="unclosed file"):  # noqa: PT031
        del file
        gc.collect()


def test_control_a_closed_file_and_a_reader_are_collected_in_silence(path: Path) -> None:
    file = untorn.open(path, "r+b")
    file.write(b"first")
    file.close()
    file = untorn.open(path, "rb")
    file.read()
    del file
    gc.collect()
    with untorn.open(path, "r+b") as again:
        assert again.read(5) == b"first"


# Exit

OPEN_FILES = """
import atexit, os, sys, threading, untorn
files = []
for mode in ("flush", "close", "write", "explicit"):
    file = untorn.open(sys.argv[1] + mode, "r+b", commit=mode, folio_size=4096, cache_bytes=65536)
    file.write(b"first")
    file.commit()
    for number in range(64):
        file.pwrite(b"second", number * 4096)
    if mode == "write":
        file.commit()
        file.write(b"third")
    files.append(file)
text = untorn.open(sys.argv[1] + "text", "r+", encoding="ascii")
text.write("half a line")
"""

WAYS_OUT = {
    "at the end": ("", 0),
    "by sys.exit": ("sys.exit(3)", 3),
    "by an exception": ("raise KeyError", 1),
    "in a transaction": ("[file._begin() for file in files]; files[0].write(b'x')", 0),
    "by an exception in with": ("with files[0], files[1], files[2], files[3], text: raise KeyError", 1),
}


def run(program: str, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(untorn.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, *options, "-c", program, str(path)], env={**os.environ, "PYTHONPATH": source},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS_OUT)
def test_an_interpreter_that_exits_rolls_back_what_is_open(tmp_path: Path, way: str) -> None:
    content = bytes(64 * 4096)
    names = [*MODES, "text"]
    for name in names:
        (tmp_path / ("_" + name)).write_bytes(content)
    last_line, code = WAYS_OUT[way]
    done = run(OPEN_FILES + last_line, tmp_path / "_", "-Wd")
    assert done.returncode == code, done.stderr
    assert ("KeyError" in done.stderr) == (code == 1)
    told = [name for name in names if f"_{name}' was still open when the program ended: " in done.stderr]
    assert told == ([] if "in with" in way else names), done.stderr
    for name in names:
        path = tmp_path / ("_" + name)
        expected = b"" if name == "text" else b"first"
        if name == "write":
            expected = b"second" + b"".join(bytes(4090) + b"second" for _ in range(63))
        assert read(path)[: len(expected) + 8] == (expected + content[len(expected) :])[: len(expected) + 8]
    assert sorted(os.listdir(tmp_path)) == sorted("_" + name for name in names)


def test_control_files_that_are_closed_at_the_end_are_committed(tmp_path: Path) -> None:
    for name in [*MODES, "text"]:
        (tmp_path / ("_" + name)).write_bytes(bytes(64 * 4096))
    done = run(OPEN_FILES + "[file.close() for file in [*files, text]]", tmp_path / "_", "-Wd")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("flush", "close"):
        assert read(tmp_path / ("_" + name)).startswith(b"second" + bytes(4090) + b"second")
    assert read(tmp_path / "_text").startswith(b"half a line")
