"""Names on the simulated machine against those of Linux: the same calls, the same answers, the same tree."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from untorn.crashmodel.storage import SimulatedStorage

Call = tuple[str, ...]
Answer = object

PATHS = ("f", "g", "d", "d/f", "d/e", "d/e/f", "l", "l/f", "l/e", "no/f", "f/f")
LINKS = ("f", "d", "l", "d/e", "no", "")
ONE = ("mkdir", "rmdir", "unlink", "create", "readlink", "listdir", "times", "look", "mkdir", "create")
CALL = st.one_of(
    st.tuples(st.sampled_from(ONE), st.sampled_from(PATHS)),
    st.tuples(st.sampled_from(("rename", "link")), st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.just("symlink"), st.sampled_from(LINKS), st.sampled_from(PATHS)),
)


def answered(call: Callable[[], Answer]) -> Answer:
    """What a call returned, or the errno with which it failed."""
    try:
        return call()
    except OSError as error:
        return f"errno {errno.errorcode[error.errno or 0]}"


def simulated(machine: SimulatedStorage, home: str, call: Call) -> Answer:
    name, *paths = call
    first, last = os.path.join(home, paths[0]), os.path.join(home, paths[-1])
    match name:
        case "create":
            machine.open(last, os.O_RDWR | os.O_CREAT).close()
        case "rename" | "link":
            (machine.rename if name == "rename" else machine.link)(first, last)
        case "symlink":
            machine.symlink(paths[0], last)
        case "times":
            machine.set_times(last, 5_000_000_000)
            return machine.stat(last).mtime_ns
        case "look":
            found = machine.stat(last)
            return stat.S_IFMT(found.mode), 0 if stat.S_ISDIR(found.mode) else found.links
        case _:
            result: Answer = getattr(machine, name)(last)
            return result
    return None


def real(home: str, call: Call) -> Answer:
    name, *paths = call
    first, last = os.path.join(home, paths[0]), os.path.join(home, paths[-1])
    match name:
        case "create":
            os.close(os.open(last, os.O_RDWR | os.O_CREAT))
        case "rename" | "link":
            (os.rename if name == "rename" else os.link)(first, last)
        case "symlink":
            os.symlink(paths[0], last)
        case "times":
            os.utime(last, ns=(0, 5_000_000_000), follow_symlinks=False)
            return os.lstat(last).st_mtime_ns
        case "look":
            found = os.lstat(last)
            return stat.S_IFMT(found.st_mode), 0 if stat.S_ISDIR(found.st_mode) else found.st_nlink
        case "listdir":
            return sorted(os.listdir(last))
        case _:
            result: Answer = getattr(os, name)(last)
            return result
    return None


def tree(listdir: Callable[[str], list[str]], kind: Callable[[str], int], at: str) -> list[tuple[str, int]]:
    found = []
    for name in sorted(listdir(at)):
        path = os.path.join(at, name)
        found.append((path, kind(path)))
        if stat.S_ISDIR(kind(path)):
            found += tree(listdir, kind, path)
    return found


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(CALL, min_size=4, max_size=20))
def test_calls_on_names_are_answered_as_linux_answers_them(calls: list[Call]) -> None:
    home = os.path.realpath(tempfile.mkdtemp())
    try:
        machine = SimulatedStorage()
        for parent in [*reversed(Path(home).parents), Path(home)][1:]:
            machine.make_directory(str(parent))
        for call in calls:
            answer = answered(lambda: simulated(machine, home, call))  # noqa: B023
            assert answered(lambda: real(home, call)) == answer, call  # noqa: B023
        ours = tree(machine.listdir, lambda path: stat.S_IFMT(machine.stat(path).mode), home)
        assert ours == tree(os.listdir, lambda path: stat.S_IFMT(os.lstat(path).st_mode), home)
    finally:
        shutil.rmtree(home)
