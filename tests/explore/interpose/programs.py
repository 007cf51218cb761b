"""Short programs for the twin test, each of one thing that programs do with files; they know nothing of us."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PROGRAMS: dict[str, Callable[[Path], Any]] = {}


def program(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    PROGRAMS[function.__name__] = function
    return function


def attempt(call: Callable[[], Any]) -> Any:
    """What a call returns, or the error it raises, as a program can tell it."""
    try:
        return call()
    except OSError as error:
        return type(error).__name__, error.errno, error.filename, error.filename2
    except (ValueError, TypeError, io.UnsupportedOperation) as error:
        return type(error).__name__  # the words are not the same in io and _pyio either


def attempts(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    return [attempt(call) for call in calls]
