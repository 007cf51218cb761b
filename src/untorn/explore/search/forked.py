"""Processes that are forked off this one: they know what it knows at that moment, and die with it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import warnings
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, NamedTuple, NoReturn

_PR_SET_PDEATHSIG: Final = 1
_prctl: Final = ctypes.CDLL(None, use_errno=True).prctl
_GRACE_SECONDS: Final = 30.0
"""For a process that has to be forked on a machine that is busy."""


class Reply(NamedTuple):
    """What came of a call in a process of its own."""

    returned: Any
    failure: str
    """Why there is nothing returned; empty if there is."""


def _die_with(parent: int) -> None:
    """Makes the kernel kill this process when ``parent``, which has just forked it, is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def begin(parent: int) -> None:
    """What every process of ours does first: Ctrl-C is for the one that has forked it."""
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # What stood there may have a lock that a thread of the other process held, such as that of a progress bar.
    sys.stdout = sys.stderr = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)


class Nursery:
    """A process that keeps this one's memory as it was when it was made, and forks a fresh one for each call."""

    def __init__(self) -> None:
        self._ours, theirs = Pipe()
        self._process = _fork(self._serve, theirs)
        theirs.close()

    def call(self, function: Callable[..., Any], *args: Any, seconds: float | None) -> Reply:
        """``function(*args)``, as if it was called when the nursery was made. Both ways all must be pickled."""
        self._ours.send((function, args, seconds))
        try:
            reply: Reply = self._ours.recv()
        except EOFError:
            return Reply(None, "the process ended")
        return reply

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.close()
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def _serve(self, connection: Connection) -> None:
        self._ours.close()
        while True:
            try:
                function, args, seconds = connection.recv()
            except EOFError:
                return
            connection.send(_in_a_fork(function, args, seconds))


def _in_a_fork(function: Callable[..., Any], args: tuple[Any, ...], seconds: float | None) -> Reply:
    ours, theirs = Pipe(duplex=False)
    process = _fork(lambda: theirs.send(_reply(function, args)))
    theirs.close()
    try:
        if not ours.poll(None if seconds is None else seconds + _GRACE_SECONDS):
            os.kill(process, signal.SIGKILL)
            return Reply(None, f"it had not ended after {seconds:g} seconds")
        reply: Reply = ours.recv()
        return reply
    except EOFError:
        return Reply(None, "the process ended")
    finally:
        ours.close()
        os.waitpid(process, 0)


def _reply(function: Callable[..., Any], args: tuple[Any, ...]) -> Reply:
    try:
        return Reply(function(*args), "")
    except Exception as error:
        return Reply(None, f"{type(error).__name__}: {error}")


def _fork(function: Callable[..., object], *args: Any) -> int:
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: none of them is needed there
        process = os.fork()
    return process or _run(parent, function, *args)


def _run(parent: int, function: Callable[..., object], *args: Any) -> NoReturn:
    status = 1
    try:
        begin(parent)
        function(*args)
        status = 0
    finally:
        os._exit(status)
