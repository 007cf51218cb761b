"""Runs a short program twice: below a real directory and through the interposer, and compares what came of it.

A program takes the directory and returns what it has seen. Whatever it returns, raises and leaves behind must be the
same, with the directory's own path taken out. Files are compared by content, modes by permission bits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.interpose import Interposer

Program = Callable[[Path], Any]


class Outcome(NamedTuple):
    """What came of a program."""

    result: Any
    error: Any
    left: dict[str, Any]


def _neutral(value: Any, directory: str) -> Any:
    """The value without the directory's path; containers are kept apart by type."""
    if isinstance(value, str):
        return value.replace(directory, "<directory>")
    if isinstance(value, bytes):
        return value.replace(os.fsencode(directory), b"<directory>")
    if isinstance(value, os.PathLike):
        return "path", _neutral(os.fspath(value), directory)
    if isinstance(value, dict):
        return {_neutral(key, directory): _neutral(item, directory) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_neutral(item, directory) for item in value]
        return type(value).__name__, sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    return value


def _told(error: Exception, directory: str) -> Any:
    """What a program can tell of an error."""
    if isinstance(error, OSError) and error.errno is not None:
        files = [_neutral(name, directory) for name in (error.filename, error.filename2)]
        return type(error).__name__, error.errno, error.strerror, files
    return type(error).__name__, _neutral(str(error), directory)


def _left(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        mode = path.lstat().st_mode
        content: Any = None
        if stat.S_ISLNK(mode):
            content = _neutral(os.readlink(path), os.fspath(directory))
        elif stat.S_ISREG(mode):
            content = _neutral(path.read_bytes(), os.fspath(directory))
        permissions = None if stat.S_ISLNK(mode) else stat.S_IMODE(mode)
        found[str(path.relative_to(directory))] = (stat.S_IFMT(mode), permissions, content)
    return found


def _outcome(program: Program, directory: Path) -> Outcome:
    result = error = None
    try:
        result = _neutral(program(directory), os.fspath(directory))
    except Exception as raised:
        error = _told(raised, os.fspath(directory))
    return Outcome(result, error, _left(directory))


def really(program: Program, directory: Path) -> Outcome:
    """What comes of it in a real directory, which is made."""
    directory.mkdir()
    return _outcome(program, directory)


def explored(program: Program, storage: SimulatedStorage | None = None) -> Outcome:
    """What comes of it through the interposer."""
    with Interposer(storage or SimulatedStorage()) as directory:
        return _outcome(program, directory)
