"""What the explorer cannot see is refused with words that say so, also if the program swallows the refusal."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import io
import mmap
import multiprocessing
import os
import pickle
import pty
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from os import stat as kept_stat
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.interpose import ROOT, Interposer, UnseenAccessError
from untorn.explore.interpose.call_table import REFUSED, ROUTES

HIDDEN: list[tuple[Any, ...]] = [
    (open,), (os.open, os.O_RDONLY), (os.rename, "g"), (os.unlink,), (os.mkdir,), (os.rmdir,), (os.listdir,),
    (os.scandir,), (os.chmod, 0o600), (os.utime,), (os.truncate, 1), (os.link, "g"),
]  # fmt: skip
"""Real functions where the interposer does not look for them, and what they take beside the path."""

HIDDEN_BY_DESCRIPTOR: list[Any] = [os.fsync, os.fdatasync, os.read, os.write, os.lseek, os.close]


def open_descriptor(directory: Path) -> int:
    return os.open(directory / "f", os.O_RDWR)


def lock_twice(directory: Path) -> None:
    with open(directory / "f") as one, open(directory / "f") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)


def call_hidden(hidden: tuple[Any, ...], directory: Path) -> Any:
    function, *rest = hidden
    return function(directory / "f", *rest)


REFUSALS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "mmap": (lambda d: mmap.mmap(open_descriptor(d), 1), "mmap of an explored file"),
    "sqlite": (lambda d: sqlite3.connect(d / "x.db"), "sqlite3 opens its files in C"),
    "sqlite by URI": (lambda d: sqlite3.connect(f"file:{d}/x.db?mode=rwc", uri=True), "sqlite3 opens its files in C"),
    "a library": (lambda d: ctypes.CDLL(os.fspath(d / "x.so")), "a library cannot be loaded"),
    "FileIO": (lambda d: io.FileIO(d / "f"), "goes past the interposer"),
    "subprocess": (lambda d: subprocess.run(["true"], check=False), "sees only this process"),
    "system": (lambda d: os.system("true"), "sees only this process"),
    "popen": (lambda d: os.popen("true"), "sees only this process"),
    "fork": (lambda d: os.fork(), "sees only this process"),
    "forkpty": (lambda d: pty.fork(), "sees only this process"),
    "posix_spawn": (lambda d: os.posix_spawn("/bin/true", ["true"], {}), "sees only this process"),
    "exec": (lambda d: os.execv("/bin/true", ["true"]), "sees only this process"),
    "multiprocessing": (
        lambda d: multiprocessing.get_context("spawn").Process(target=print).start(),
        "sees only this process",
    ),
    "chdir": (lambda d: os.chdir(d), "use absolute paths"),  # noqa: PLW0108 - looked up when it is called
    "fchdir": (lambda d: os.fchdir(os.open(d, os.O_RDONLY)), "use absolute paths"),
    "mkfifo": (lambda d: os.mkfifo(d / "x"), "there is no such thing"),
    "mknod": (lambda d: os.mknod(d / "x", stat.S_IFREG), "there is no such thing"),
    "O_PATH": (lambda d: os.open(d, os.O_PATH), "has no O_PATH"),
    "sync": (lambda d: os.sync(), "use os.fsync"),
    "a link that leads out": (lambda d: os.symlink("/etc/passwd", d / "x"), "leads out"),
    "a path that leads out": (lambda d: os.stat(d / ".." / "etc"), "leads out"),
    "dup2 over a real one": (lambda d: os.dup2(open_descriptor(d), 1), "cannot take a real descriptor's place"),
    "dup2 from a real one": (lambda d: os.dup2(0, open_descriptor(d)), "cannot take a real descriptor's place"),
    "a wait for oneself": (lock_twice, "would wait"),
    "holes": (lambda d: os.lseek(open_descriptor(d), 0, os.SEEK_HOLE), "where an explored file has holes"),
    "O_APPEND set later": (
        lambda d: fcntl.fcntl(open_descriptor(d), fcntl.F_SETFL, os.O_APPEND),
        "cannot change O_APPEND",
    ),
    "fcntl of leases": (lambda d: fcntl.fcntl(open_descriptor(d), fcntl.F_SETLEASE, 0), "does not know command"),
    **{f"hidden {hidden[0].__name__}": (partial(call_hidden, hidden), "past the interposer") for hidden in HIDDEN},
}


def prepared() -> SimulatedStorage:
    storage = SimulatedStorage()
    with Interposer(storage) as directory:
        (directory / "f").write_text("f")
        (directory / "d").mkdir()
    return storage


@pytest.mark.parametrize("what", REFUSALS)
def test_what_cannot_be_seen_is_refused_with_words(what: str) -> None:
    program, words = REFUSALS[what]
    with pytest.raises(UnseenAccessError, match=words), Interposer(prepared()) as directory:
        program(directory)


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_that_the_program_swallows_is_raised_at_the_end(what: str) -> None:
    program, words = REFUSALS[what]
    with pytest.raises(UnseenAccessError, match=words), Interposer(prepared()) as directory:
        with contextlib.suppress(Exception):
            program(directory)
        (directory / "f").read_text()


@pytest.mark.parametrize(
    "program",
    [
        lambda: subprocess.run(["true"], check=True),
        lambda: sqlite3.connect(":memory:").close(),
        os.sync,
        lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    ],
)
def test_after_the_interposer_nothing_is_refused(program: Callable[[], Any]) -> None:
    with Interposer(prepared()):
        pass
    program()


def test_real_files_are_untouched_by_an_active_interposer(tmp_path: Path) -> None:
    storage = prepared()
    before = len(storage.trace.operations)
    with Interposer(storage):
        (tmp_path / "real").write_text("real")
        os.rename(tmp_path / "real", tmp_path / "moved")
        with open(tmp_path / "moved", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            view[:1] = b"R"
        sqlite3.connect(tmp_path / "db").execute("create table t (x)").connection.close()
    assert (tmp_path / "moved").read_text() == "Real"
    assert len(storage.trace.operations) == before


def test_hidden_functions_find_nothing_behind_an_explored_descriptor() -> None:
    fsync, fdatasync, read, write, lseek, _ = HIDDEN_BY_DESCRIPTOR
    with Interposer(prepared()) as directory:
        number = open_descriptor(directory)
        for function, *rest in ((fsync,), (fdatasync,), (read, 1), (write, b"x"), (lseek, 0, 0)):
            with pytest.raises(OSError, match="Bad file descriptor"):
                function(number, *rest)


def test_a_descriptor_that_was_closed_behind_our_back_is_told() -> None:
    close = HIDDEN_BY_DESCRIPTOR[-1]
    with (
        pytest.raises(UnseenAccessError, match="took the descriptor of an explored file and closed it"),
        Interposer(prepared()) as directory,
    ):
        close(open_descriptor(directory))


@pytest.mark.parametrize(
    "call",
    [
        lambda libc, number: libc.read(number, ctypes.create_string_buffer(1), 1),
        lambda libc, number: libc.write(number, b"x", 1),
        lambda libc, number: libc.fsync(number),
        lambda libc, number: libc.ftruncate(number, 0),
        lambda libc, number: libc.lseek(number, 0, 0),
        lambda libc, number: libc.open(f"/proc/self/fd/{number}".encode(), 0),
        lambda libc, number: libc.open(f"/dev/fd/{number}".encode(), os.O_RDWR),
        lambda libc, number: libc.openat(number, b".", 0),
    ],
)
def test_c_code_gets_an_error_for_an_explored_descriptor(call: Callable[[Any, int], int]) -> None:
    with Interposer(prepared()) as directory:
        assert call(ctypes.CDLL(None), open_descriptor(directory)) == -1


def test_an_error_that_the_explored_files_gave_carries_no_note() -> None:
    with pytest.raises(FileNotFoundError) as caught, Interposer(prepared()) as directory:
        os.stat(directory / "none")
    assert not hasattr(caught.value, "__notes__")


def test_a_c_extension_works_on_a_file_object() -> None:
    storage = prepared()
    with Interposer(storage) as directory:
        with open(directory / "x.h5", "w+b") as file, h5py.File(file, "w") as h5:
            h5["data"] = np.arange(1000)
        with open(directory / "x.h5", "rb") as again, h5py.File(again) as h5:
            assert h5["data"][-1] == 999
    assert any(operation.name == "pwritev" for operation in storage.trace.operations)


@pytest.mark.parametrize("call", [lambda file: np.arange(10).tofile(file), lambda file: np.fromfile(file, np.uint8)])
def test_an_array_that_numpy_would_move_by_descriptor_is_not_lost_in_silence(call: Callable[[Any], Any]) -> None:
    with (
        pytest.raises(UnseenAccessError, match=r"descriptor"),
        Interposer(prepared()) as directory,
        open(directory / "f", "r+b") as file,
        contextlib.suppress(Exception),
    ):
        call(file)


def test_one_interposer_at_a_time() -> None:
    inner = Interposer(prepared())
    with pytest.raises(UnseenAccessError, match="active in this process already"), Interposer(prepared()), inner:
        pass
    with Interposer(prepared()) as directory:
        assert (directory / "f").read_text() == "f"


def test_another_thread_is_inside_too() -> None:
    storage = prepared()
    with Interposer(storage) as directory:
        thread = threading.Thread(target=lambda: (directory / "thread").write_text("t"))
        thread.start()
        thread.join()
    assert storage.read_file(f"{ROOT}/thread") == b"t"


def test_what_is_left_open_is_neither_flushed_nor_closed() -> None:
    storage = prepared()
    before = len(storage.trace.operations)
    with Interposer(storage) as directory:
        left = open(directory / "left", "w")  # noqa: SIM115
        left.write("never flushed")
        number = os.open(directory / "number", os.O_WRONLY | os.O_CREAT)
    names = [operation.name for operation in storage.trace.operations[before:]]
    assert names == ["open", "open"]
    assert left.closed
    with pytest.raises(ValueError, match="closed file"):
        left.write("x")
    del left
    gc.collect()
    assert len(storage.trace.operations) == before + 2
    assert storage.read_file(f"{ROOT}/left") == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(number, b"x")
    os.close(number)  # its own number still, not a stranger's


def test_every_function_of_os_is_replaced_or_needs_no_replacement() -> None:
    """A new Python brings new functions: each is to be looked at."""
    known = {*ROUTES[os], *REFUSED, "closerange", "umask", "sync", *HARMLESS.split()}
    new = {name for name in vars(os) if callable(getattr(os, name)) and name[0].islower()} - known
    assert not new


HARMLESS = """
    grantpt posix_openpt ptsname setns timerfd_create timerfd_gettime timerfd_gettime_ns timerfd_settime
    timerfd_settime_ns unlockpt unshare

    abort confstr cpu_count ctermid error eventfd eventfd_read eventfd_write fsdecode fsencode fspath get_exec_path
    get_inheritable get_terminal_size getcwd getcwdb getegid getenv getenvb geteuid getgid getgrouplist getgroups
    getloadavg getlogin getpgid getpgrp getppid getpriority getresgid getresuid getsid getuid initgroups killpg major
    makedev memfd_create minor nice openpty pidfd_open pipe pipe2 process_cpu_count putenv register_at_fork
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_param
    sched_rr_get_interval sched_setaffinity sched_setparam sched_setscheduler sched_yield set_inheritable setegid
    seteuid setgid setgroups setpgid setpgrp setpriority setregid setresgid setresuid setreuid setsid setuid
    stat_result statvfs_result strerror sysconf terminal_size times times_result uname uname_result unsetenv wait
    wait3 wait4 waitid waitid_result waitpid waitstatus_to_exitcode

    execl execle execlp execlpe execv execve execvp execvpe fork forkpty popen posix_spawn posix_spawnp spawnl spawnle
    spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe system

    fdopen fwalk makedirs removedirs renames walk

    getpid getrandom kill urandom
"""
"""No files; refused by the audit hook; Python over the others; see determinism.py."""


class Keeper:
    """References under other names, where the interposer looks for them."""

    attribute: Any = os.lstat
    static = staticmethod(os.access)

    def method(self, path: Path, call: Callable[..., Any] = os.stat) -> Any:
        return call(path)

    def keyword(self, path: Path, *, call: Callable[..., Any] = os.stat) -> Any:
        return call(path)


def test_references_kept_under_other_names_are_replaced_and_put_back() -> None:
    real = kept_stat
    with Interposer(prepared()) as directory:
        path = directory / "f"
        assert kept_stat is not real
        assert kept_stat(path).st_size == Keeper().method(path).st_size == Keeper().keyword(path).st_size == 1
        assert Keeper().attribute(path).st_size == Keeper.attribute(path).st_size == 1  # no method, as in C

        class Latecomer:
            attribute: Any = os.stat

        assert Latecomer().attribute(path).st_size == 1
        assert pickle.loads(pickle.dumps(os.stat)) is os.stat
        assert Keeper.static(path, os.F_OK)
        assert os.stat in os.supports_dir_fd
    assert kept_stat is real is os.stat
    assert os.stat in os.supports_dir_fd
    assert Keeper.method.__defaults__ == (real,)


def test_a_module_that_is_imported_inside_still_works_outside(tmp_path: Path) -> None:
    (tmp_path / "latecomer.py").write_text("from os import stat, open\nfrom builtins import open as o\n")
    sys.path.insert(0, os.fspath(tmp_path))
    try:
        with Interposer(prepared()) as directory:
            import latecomer  # type: ignore[import-not-found]

            assert latecomer.stat(directory / "f").st_size == 1
        assert latecomer.stat(tmp_path).st_size
        latecomer.o(tmp_path / "x", "w").close()
        with Interposer(prepared()) as directory, latecomer.o(directory / "f") as file:
            assert file.read() == "f"
    finally:
        sys.path.remove(os.fspath(tmp_path))
        sys.modules.pop("latecomer", None)


def test_temporary_files_without_a_directory_are_real() -> None:
    storage = prepared()
    before = len(storage.trace.operations)
    with Interposer(storage), tempfile.TemporaryFile() as file:
        file.write(b"x")
    assert len(storage.trace.operations) == before
