"""The net under the replaced functions: Python's audit events, for what reaches the system all the same."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from untorn.explore.interpose.session import Session, active

_SUBPROCESS: Final = "the explorer sees only this process: what another one does cannot be explored"
_PROCESSES: Final = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen"}
)
"""Events that are refused whatever they are about."""

_FIRST: Final = """
    ctypes.dlopen fcntl.fcntl fcntl.flock fcntl.ioctl fcntl.lockf mmap.__new__ open os.chdir os.chmod os.chown
    os.getxattr os.listdir os.listxattr os.lockf os.mkdir os.remove os.removexattr os.rmdir os.scandir os.setxattr
    os.truncate os.utime sqlite3.connect
"""
_ARGUMENTS: Final[dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(_FIRST.split(), (0,)),
    "os.link": (0, 1),
    "os.rename": (0, 1),
    "os.symlink": (0, 1),
}
"""Events that the real functions raise, and which of their arguments name files."""

_WORDS: Final = {
    "mmap.__new__": "mmap of an explored file: stores into memory cannot be seen; use read and write",
    "sqlite3.connect": "sqlite3 opens its files in C, which the explorer cannot see",
    "ctypes.dlopen": "a library cannot be loaded from the explored directory",
    "open": "this open goes past the interposer (io.FileIO, or code in C): use open(), or hand over a file object",
}

_installed = False


def install() -> None:
    """Adds the hook, once: Python cannot take it away. Without an active interposer it does nothing."""
    global _installed  # noqa: PLW0603
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def _hook(event: str, args: tuple[Any, ...]) -> None:
    session = active()
    if session is None:
        return
    if event in _PROCESSES and not session.is_stranger():
        raise session.refuse(f"{event}: {_SUBPROCESS}")
    for index in _ARGUMENTS.get(event, ()):
        value = args[index]
        if session.is_explored(value) or _is_address(session, event, value):
            words = _WORDS.get(event, f"{event} goes past the interposer: a reference to the real function was kept")
            raise session.refuse(f"{words} ({_shown(value)})")


def _is_address(session: Session, event: str, value: Any) -> bool:
    """A database by URI."""
    if event != "sqlite3.connect" or not isinstance(value, str | bytes):
        return False
    return session.places.names(os.fsdecode(value))


def _shown(value: Any) -> str:
    return f"descriptor {value}" if isinstance(value, int) else repr(os.fsdecode(value))
