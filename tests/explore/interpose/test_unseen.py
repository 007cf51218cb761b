"""What goes past the explorer is noticed, also where the program swallows the error; nothing is left behind.

The control of each: the check that was refused, with the same look in a way that can be seen, finds a bad state.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
import tifffile

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore import FunctionTarget, UnseenAccessError, explore
from untorn.explore.interpose import Interposer, bypass_watch

LIBC = ctypes.CDLL(None, use_errno=True)


def write(directory: Path) -> None:
    (directory / "f").write_bytes(b"x" * 1500)


class Keeper:
    """An instance that keeps a real function; see ``UNCHANGEABLE``."""

    __slots__ = ("call",)

    def __init__(self) -> None:
        self.call = os.stat


def enclosed() -> Callable[..., Any]:
    kept = os.stat

    def call(path: Path) -> Any:
        return kept(path)

    return call


def by_default(path: Path, call: Callable[..., Any] = os.stat) -> Any:
    return call(path)


IN_A_DICT = {"stat": os.stat}
NESTED = {"os": [os.stat]}
IN_A_SET = {os.stat}
KEEPER = Keeper()

KEPT: dict[str, Callable[[Path], Any]] = {
    "dict": lambda path: IN_A_DICT["stat"](path, follow_symlinks=True),
    "nested": lambda path: NESTED["os"][0](path, follow_symlinks=True),
    "partial": functools.partial(os.stat, follow_symlinks=True),
    "instance": lambda path: KEEPER.call(path, follow_symlinks=True),
    "closure": enclosed(),
    "default": by_default,
    "set": lambda path: next(call(path) for call in IN_A_SET),
}
UNCHANGEABLE = (os.stat, os.getxattr, os.access)
"""A tuple cannot be given the replacements."""


@pytest.mark.parametrize("where", KEPT)
def test_a_function_of_os_that_is_kept_anywhere_sees_the_explored_files(where: str) -> None:
    def check(directory: Path) -> None:
        try:
            KEPT[where](directory / "f")
        except FileNotFoundError:
            return  # "not written yet"
        assert (directory / "f").read_bytes() == b"x" * 1500

    assert explore(FunctionTarget("kept", workload=write, check=check)).bad
    assert KEPT[where](Path("/")).st_mode  # and the real ones afterwards


PAST: dict[str, tuple[Callable[[Path], Any], str]] = {
    "h5py": (lambda path: h5py.File(path, "r"), "h5py"),
    "h5py, to write": (lambda path: h5py.File(path, "a"), "h5py"),
    "pyarrow": (lambda path: pyarrow.OSFile(os.fspath(path)), "pyarrow"),
    "pyarrow.memory_map": (lambda path: pyarrow.memory_map(os.fspath(path)), "pyarrow"),
    "parquet": (pyarrow.parquet.read_table, "pyarrow"),
    "a dataset": (
        lambda path: pyarrow.dataset.write_dataset(pyarrow.table({"a": [1]}), f"{path}.d", format="parquet"), "pyarrow"
    ),
    "ctypes": (lambda path: LIBC.open(os.fsencode(path), os.O_RDONLY), "ctypes"),
    "ctypes, unlink": (lambda path: LIBC.unlink(os.fsencode(path)), "ctypes"),
    "ctypes, mkdir": (lambda path: LIBC.mkdir(os.fsencode(path), 0o755), "ctypes"),
    "ctypes, stat": (lambda path: LIBC.access(os.fsencode(path), 0), "ctypes"),
    "a tuple": (lambda path: UNCHANGEABLE[0](path, follow_symlinks=True), "a function of os kept where"),
    "a tuple, xattr": (lambda path: UNCHANGEABLE[1](path, "user.x"), "past the interposer|kept where"),
    "a tuple, access": (lambda path: UNCHANGEABLE[2](path, os.F_OK), "kept where"),
    "another name of the root": (lambda path: LIBC.access(b"/proc/self/root" + os.fsencode(path), 0), "ctypes"),
}  # fmt: skip


@pytest.mark.parametrize("what", PAST)
def test_a_look_past_the_explorer_is_refused_also_if_its_error_is_swallowed(what: str) -> None:
    look, words = PAST[what]

    def check(directory: Path) -> None:
        with contextlib.suppress(Exception):
            look(directory / "f")

    with pytest.raises(UnseenAccessError, match=words) as caught:
        explore(FunctionTarget("past", workload=write, check=check))
    assert "test_unseen.py" in str(caught.value) or "interposer" in str(caught.value)
    with pytest.raises(UnseenAccessError, match=words):
        explore(FunctionTarget("past", workload=check, check=write))


def test_a_look_past_the_explorer_would_have_been_missed() -> None:
    """The check of the refused HDF5 file, handed a file object."""

    def save(directory: Path) -> None:
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            file["a"] = range(1000)
        (directory / "f").write_bytes(content.getvalue())

    def check(directory: Path) -> None:
        try:
            file = open(directory / "f", "rb")  # noqa: SIM115
        except FileNotFoundError:
            return
        with file, h5py.File(file, "r") as h5:
            assert h5["a"][5] == 5

    assert explore(FunctionTarget("seen", workload=save, check=check)).bad


def test_a_run_that_looks_nowhere_else_is_not_suspected() -> None:
    for _ in range(3):
        with Interposer(SimulatedStorage()) as directory:
            write(directory)
            assert (directory / "f").exists()
            assert os.path.realpath(directory / "f") == os.fspath(directory / "f")
            assert os.listdir(tempfile.gettempdir())
        assert not bypass_watch.was_touched()


def by_save(path: Path) -> None:
    np.save(path, np.arange(3))
    assert np.load(f"{path}.npy").sum() == 3


def by_savez(path: Path) -> None:
    np.savez(path, a=np.arange(3))
    assert np.load(f"{path}.npz")["a"].sum() == 3


def by_savetxt(path: Path) -> None:
    np.savetxt(path, np.arange(3))
    assert np.loadtxt(path).sum() == np.genfromtxt(path).sum() == 3


def by_tifffile(path: Path) -> None:
    tifffile.imwrite(path, np.ones((8, 8), np.uint8))
    assert tifffile.imread(path).sum() == 64


@pytest.mark.parametrize("program", [by_save, by_savez, by_savetxt, by_tifffile])
def test_what_a_library_opens_in_python_works_by_path(program: Callable[[Path], Any]) -> None:
    storage = SimulatedStorage()
    with Interposer(storage) as directory:
        program(directory / "a")
    assert any(operation.name == "pwritev" for operation in storage.trace.operations)


def test_a_chown_to_oneself_changes_nothing_and_to_another_is_denied() -> None:
    with Interposer(SimulatedStorage()) as directory:
        write(directory)
        os.chown(directory / "f", os.getuid(), os.getgid())
        os.chown(directory / "f", -1, -1)
        with pytest.raises(PermissionError):
            os.chown(directory / "f", os.getuid() + 4242, -1)


# What is left behind

LEAVES = """
import ctypes, os, sys
from untorn.explore.interpose import Interposer
from untorn.crashmodel.storage import SimulatedStorage
with Interposer(SimulatedStorage()) as directory:
    print(directory, flush=True)
    libc = ctypes.CDLL(None)
    libc.unlink(bytes(directory))
    libc.mkdir(bytes(directory), 0o755)
    if "killed" in sys.argv:
        os.stat.__wrapped__("/")
        libc.kill(libc.getpid(), 9)
"""


def leave(*arguments: str) -> Path:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", LEAVES, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode
    return Path(done.stdout.strip()).parent


def test_nothing_is_left_behind_even_if_something_was_made_there() -> None:
    assert not leave().exists()


def test_what_a_killed_process_left_behind_is_removed_by_the_next() -> None:
    left = leave("killed")
    assert left.name.startswith(bypass_watch.PREFIX)
    assert left.exists()
    os.utime(left, (0, 0))
    bypass_watch.sweep(os.fspath(left.parent))
    assert not left.exists()


def test_a_file_system_that_does_not_tell_who_looks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bypass_watch, "_root", None)
    monkeypatch.setattr(bypass_watch, "_arm", lambda link: None)  # as with noatime: what is looked at stays as it is
    monkeypatch.setattr(bypass_watch, "_ARMED", -1)
    monkeypatch.setattr(bypass_watch, "_lstat", lambda path: os.stat_result((0,) * 10 + (0.0,) * 3 + (-1,) * 3))
    with pytest.raises(UnseenAccessError, match="noatime"):
        bypass_watch.root()
