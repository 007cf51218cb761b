"""Which functions are replaced, and how each call finds its way.

A replaced function looks at the arguments that name files. If one is explored, the call goes to the method of the
same name of :class:`NameCalls`; else to the real function with what it was given. Without an active interposer it is
the real function.
"""

from __future__ import annotations

import _posixsubprocess
import fcntl
import functools
import io
import os
import posix
import sys
import types
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from untorn.api import functions as api
from untorn.explore.interpose import determinism, process_end
from untorn.explore.interpose.errors import UnseenAccessError
from untorn.explore.interpose.session import Session, active, of_program


class Route(NamedTuple):
    """Where a function's arguments name files: positions, and names when they are given by keyword."""

    at: tuple[int, ...] = (0,)
    names: tuple[str, ...] = ("path",)
    directories: tuple[str, ...] = ("dir_fd",)


_TWO: Final = Route((0, 1), ("src", "dst"), ("src_dir_fd", "dst_dir_fd"))
_FD: Final = Route((0,), ("fd",))

_PATH_CALLS: Final = """
    access chmod chown getxattr lchown listdir listxattr lstat mkdir open pathconf readlink remove removexattr rmdir
    scandir setxattr stat statvfs truncate unlink utime
"""
_FD_CALLS: Final = """
    close device_encoding dup fchmod fchown fdatasync fpathconf fstat fstatvfs fsync ftruncate get_blocking isatty lseek
    posix_fadvise posix_fallocate pread preadv pwrite pwritev read readinto readv set_blocking write writev
"""

ROUTES: Final[dict[Any, dict[str, Route]]] = {
    os: {
        **dict.fromkeys(_PATH_CALLS.split(), Route()),
        **dict.fromkeys(_FD_CALLS.split(), _FD),
        **dict.fromkeys(("link", "rename", "replace"), _TWO),
        "symlink": Route((1,), ("dst",)),
        "dup2": Route((0, 1), ("fd", "fd2")),
        "lockf": _FD,
        "copy_file_range": Route((0, 1), ("src", "dst")),
        "sendfile": Route((0, 1), ("out_fd", "in_fd")),
        "splice": Route((0, 1), ("src", "dst")),
    },
    fcntl: dict.fromkeys(("fcntl", "flock", "ioctl", "lockf"), _FD),
}
"""By module: the functions that explored files can have."""

REFUSED: Final[dict[str, Route]] = {
    "chdir": Route(),
    "chroot": Route(),
    "fchdir": _FD,
    "login_tty": _FD,
    "mkfifo": Route(),
    "mknod": Route(),
    "tcgetpgrp": _FD,
    "tcsetpgrp": _FD,
    "ttyname": _FD,
}
"""Functions of ``os`` that explored files cannot have."""

_WHY: Final = {
    "chdir": "use absolute paths: code in C would not see where the program has gone",
    "fchdir": "use absolute paths: code in C would not see where the program has gone",
}


def _concerned(session: Session, route: Route, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    single = len(route.directories) == 1
    for index, (at, name) in enumerate(zip(route.at, route.names, strict=True)):
        value = args[at] if at < len(args) else kwargs.get(name)
        directory = kwargs.get(route.directories[0 if single else index]) if kwargs else None
        if session.is_explored(value, directory):
            return True
    return False


def _shown(route: Route, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The paths that an error of this call names."""
    found = [args[at] if at < len(args) else kwargs.get(name) for at, name in zip(route.at, route.names, strict=True)]
    return [os.fspath(path) for path in found if isinstance(path, str | bytes | os.PathLike)]


def _call(session: Session, name: str, route: Route, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if session.ended is not None:
        raise session.ended
    try:
        with session.lock:
            return getattr(session, name)(*args, **kwargs)
    except UnseenAccessError as error:
        session.refused.append(error)
        raise
    except io.UnsupportedOperation:
        raise
    except OSError as error:
        code = error.errno or 0
        paths = _shown(route, args, kwargs)
        if name == "symlink":
            paths = [os.fspath(path) for path in args[:2]]
        elif name == "utime" and sys.version_info < (3, 13):  # posixmodule.c left it out there
            paths = []
        told = OSError(code, os.strerror(code), *(paths[:1] if len(paths) < 2 else (paths[0], None, paths[1])))
        session.told(told)
        raise told from None


def _replacement(real: Callable[..., Any], name: str, route: Route) -> Callable[..., Any]:
    @functools.wraps(real)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        session = active()
        if session is None or not _concerned(session, route, args, kwargs):
            return real(*args, **kwargs)
        return _call(session, name, route, args, kwargs)

    return replaced


def _state_error(real: Callable[..., Any], name: str, route: Route) -> Callable[..., Any]:
    @functools.wraps(real)
    def refused(*args: Any, **kwargs: Any) -> Any:
        session = active()
        if session is not None and _concerned(session, route, args, kwargs):
            raise session.refuse(f"os.{name} of an explored file: {_WHY.get(name, 'there is no such thing there')}")
        return real(*args, **kwargs)

    return refused


def _replaced_open(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def opened(file: Any, *args: Any, **kwargs: Any) -> Any:
        session = active()
        opener = args[6] if len(args) > 6 else kwargs.get("opener")
        if session is None or (opener is None and not session.is_explored(file)):
            return real(file, *args, **kwargs)
        return session.open_file(file, *args, **kwargs)

    return opened


def _replaced_open_code(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def open_code(path: str) -> Any:
        session = active()
        return session.open_file(path, "rb") if session is not None and session.is_explored(path) else real(path)

    return open_code


def _closerange(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def closerange(fd_low: int, fd_high: int) -> None:
        session = active()
        if session is None:
            real(fd_low, fd_high)
        else:
            session.closerange(fd_low, fd_high)

    return closerange


def _umask(real: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(real)
    def umask(mask: int) -> int:
        session = active()
        if session is not None:
            session.umask = mask & 0o777
        return real(mask)

    return umask


def _without_path(real: Callable[..., Any], why: str) -> Callable[..., Any]:
    """A function that is refused whatever it is about."""

    @functools.wraps(real)
    def refused(*args: Any, **kwargs: Any) -> Any:
        session = of_program()
        if session is not None:
            raise session.refuse(why)
        return real(*args, **kwargs)

    return refused


def _untorn(real: Callable[..., Any]) -> Callable[..., Any]:
    """A function of ours: over the explored storage, for explored files."""

    @functools.wraps(real)
    def function(path: Any, *args: Any, **kwargs: Any) -> Any:
        session = active()
        if session is not None and session.is_explored(path):
            kwargs.setdefault("storage", session.storage)
            path = session.places.find(path)
        return real(path, *args, **kwargs)

    return function


class LikeBuiltin:
    """What stands in for a function in C: as such a one, it does not become a method as an attribute of a class."""

    def __init__(self, real: types.BuiltinFunctionType, replacement: Callable[..., Any]) -> None:
        self._replacement = replacement
        self.__wrapped__ = real
        self.__name__ = real.__name__
        self.__qualname__ = real.__qualname__
        self.__module__ = real.__module__
        self.__doc__ = real.__doc__
        self.__text_signature__ = getattr(real, "__text_signature__", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._replacement(*args, **kwargs)

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


def _replacements() -> dict[int, tuple[Any, Any]]:
    pairs: list[tuple[Any, Any]] = []
    for module, routes in ROUTES.items():
        for name, route in routes.items():
            real = getattr(module, name, None)  # readinto came with Python 3.14
            if real is not None:
                pairs.append((real, _replacement(real, name, route)))
    for name, route in REFUSED.items():
        real = getattr(os, name, None)
        if real is not None:
            pairs.append((real, _state_error(real, name, route)))
    pairs += [
        (io.open, _replaced_open(io.open)),
        (io.open_code, _replaced_open_code(io.open_code)),
        (posix.closerange, _closerange(posix.closerange)),
        (posix.umask, _umask(posix.umask)),
        (posix.sync, _without_path(posix.sync, "os.sync: use os.fsync of each file and directory")),
        (
            _posixsubprocess.fork_exec,
            _without_path(_posixsubprocess.fork_exec, "a subprocess: the explorer sees only this process"),
        ),
        *((real, _untorn(real)) for real in (api.open, api.status, api.verify, api.recover)),
        *determinism.replacements(),
        *process_end.replacements(),
    ]
    return {
        id(real): (real, LikeBuiltin(real, replacement) if isinstance(real, types.BuiltinFunctionType) else replacement)
        for real, replacement in pairs
    }


REPLACEMENTS: Final = _replacements()
"""By id of the real function: it, and what stands in its place while an interposer is active."""
