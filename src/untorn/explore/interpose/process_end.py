"""How a program ends its own process: what takes the whole process with it ends the explored program only.

After it nothing that the program still does, in a ``finally`` or a ``with``, reaches the explored files.
"""

from __future__ import annotations

import posix
import signal
from collections.abc import Callable
from typing import Any, Final, NoReturn

from untorn.explore.interpose.session import of_program

_HARMLESS: Final = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
"""Signals that do nothing to a process that does not handle them."""

_real_exit: Final = posix._exit
_real_abort: Final = posix.abort
_real_kill: Final = posix.kill
_real_getpid: Final = posix.getpid
_real_raise: Final = signal.raise_signal


def _exit(status: int) -> NoReturn:
    session = of_program()
    if session is not None:
        raise session.end(f"os._exit({status})")
    _real_exit(status)


def _abort() -> NoReturn:
    session = of_program()
    if session is not None:
        raise session.end("os.abort()")
    _real_abort()


def _kill(pid: int, number: int, /) -> None:
    session = of_program()
    if session is not None and pid in (session.pid, _real_getpid()):
        pid = _real_getpid()
        if _is_fatal(number):
            raise session.end(f"os.kill of itself with {signal.Signals(number).name}")
    _real_kill(pid, number)


def _raise_signal(number: int, /) -> None:
    session = of_program()
    if session is not None and _is_fatal(number):
        raise session.end(f"raise_signal with {signal.Signals(number).name}")
    _real_raise(number)


def _is_fatal(number: int) -> bool:
    if number == signal.SIGKILL:
        return True
    return number in signal.valid_signals() and number not in _HARMLESS and signal.getsignal(number) == signal.SIG_DFL


def replacements() -> list[tuple[Any, Callable[..., Any]]]:
    """Real functions, each with the one that ends the explored program alone."""
    return [(_real_exit, _exit), (_real_abort, _abort), (_real_kill, _kill), (_real_raise, _raise_signal)]
