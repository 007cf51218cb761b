"""Calls the functions of a plain module, and says if a call says nothing: it did not run, or did not judge."""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
import os
import sys
import threading
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import UntornError
from untorn.explore.interpose import Interposer, set_current
from untorn.explore.interpose.errors import NotMeasuredError, ProcessEnd, UnseenAccessError
from untorn.explore.interpose.opening import used_when_abandoned

Function = Callable[[Path], object]
"""What a target does with the explored directory."""

_GRACE_SECONDS: Final = 0.1
"""For threads that are about to end."""
_ATOMS: Final = (bool, bytes, float, int, str, type(None))


def run(
    storage: SimulatedStorage, functions: Sequence[Function], stage: str, current: Any = None, *, first: bool = False
) -> None:
    """Calls the functions in turn in one process; ``first``: the run that is recorded, which may end as it likes."""
    threads = set(sys._current_frames())
    used_when_abandoned()  # by an earlier one
    children = _children() if first else set()
    with Interposer(storage, thoroughly=first) as directory:
        before = set_current(current)
        try:
            with _thread_errors(threads) as errors:
                for function in functions:
                    _call(function, directory, stage, ending=first)
                _no_thread_left(threads, stage)
            if errors:
                raise errors[0]
        except ProcessEnd:
            if not first:
                raise
        except ValueError as error:
            _refuse_abandoned(error, stage)
            raise
        finally:
            set_current(before)
    if first and _children() - children:
        raise NotMeasuredError(
            f"a process that {stage} has started is still running: what it does would not be seen. Wait for it"
        )


def _call(function: Function, directory: Path, stage: str, *, ending: bool) -> None:
    """One function; with ``ending``, SystemExit is an ending like any other."""
    try:
        returned = function(directory)
    except SystemExit:
        if not ending:
            raise
        return
    if isinstance(returned, Awaitable | AsyncIterable):
        if inspect.iscoroutine(returned):
            returned.close()
        raise NotMeasuredError(
            f"{stage} never ran: it is a coroutine function, or gave back something to await. Let it call "
            "asyncio.run(...)"
        )
    if isinstance(returned, Iterator):
        raise NotMeasuredError(f"{stage} never ran to its end: it gave back a {type(returned).__name__}, not yet used")
    if stage == "check" and returned is not None:
        raise NotMeasuredError(
            f"check returned {returned!r:.60}, which nobody looks at: a check says that a state is bad by raising an "
            "exception, for instance by assert"
        )


# Threads and processes


@contextlib.contextmanager
def _thread_errors(strangers: set[int]) -> Iterator[list[BaseException]]:
    """Collects what ends the program's own threads, and would only be printed."""
    found: list[BaseException] = []
    before = threading.excepthook

    def hook(args: Any) -> None:
        if threading.get_ident() in strangers:
            before(args)
        elif args.exc_value is not None:
            found.append(args.exc_value)

    threading.excepthook = hook
    try:
        yield found
    finally:
        threading.excepthook = before


def _no_thread_left(before: set[int], stage: str) -> None:
    end = time.monotonic() + _GRACE_SECONDS
    while left := set(sys._current_frames()) - before:
        if time.monotonic() >= end:
            names = [thread.name for thread in threading.enumerate() if thread.ident in left]
            raise NotMeasuredError(
                f"{stage} ended while a thread of its own was still running ({', '.join(names) or 'without a name'}): "
                "what that does would not be seen. Join it, or shut its pool down"
            )
        time.sleep(0.001)


def _children() -> set[str]:
    """The processes that this one has started and that have not ended."""
    found: set[str] = set()
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found.update(file.read().split())
    return {child for child in found if not _is_zombie(child)}


def _is_zombie(child: str) -> bool:
    try:
        with open(f"/proc/{child}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _refuse_abandoned(error: Exception, stage: str) -> None:
    """Says what became of a file that was opened in another process, as far as the program can tell."""
    if used_when_abandoned() and "closed file" in str(error):
        raise UnseenAccessError(
            f"{stage} uses a file that was opened before it, in another process: prepare, the workload with all its "
            "steps, each recover and each check are processes of their own. Open the file again"
        ) from error


# What is told


def copied(value: Any) -> Any:
    """A value that nobody can change any more; UntornError if it cannot be copied."""
    if type(value) in _ATOMS:
        return value
    try:
        return copy.deepcopy(value)
    except Exception as error:
        raise UntornError(
            f"ack() cannot copy its argument ({type(error).__name__}: {error}), which might change afterwards: give it "
            "plain data"
        ) from None


# Asserts


def without_asserts(functions: Iterable[Function]) -> str:
    """Why the functions cannot fail under ``python -O``; empty if they can, or Python runs without it."""
    if not sys.flags.optimize:
        return ""
    for path in _sources(functions):
        if path is None or _has_assert(path):
            where = "the module" if path is None else os.path.basename(path)
            return (
                f"python -O takes the asserts out of {where}, so its check cannot fail. Run it without -O and without "
                "PYTHONOPTIMIZE"
            )
    return ""


def _sources(functions: Iterable[Function]) -> set[str | None]:
    """The files of the functions and of the modules beside them; None for a function without a file."""
    found: set[str | None] = set()
    for function in functions:
        module = sys.modules.get(getattr(function, "__module__", None) or type(function).__module__)
        path = getattr(module, "__file__", None)
        found.add(path)
        if path:
            folder = os.path.join(os.path.dirname(os.path.abspath(path)), "")
            found.update(filter(None, (_file_below(other, folder) for other in list(sys.modules.values()))))
    return found


def _file_below(module: ModuleType, folder: str) -> str:
    path = getattr(module, "__file__", None) or ""
    return path if path.endswith(".py") and os.path.abspath(path).startswith(folder) else ""


def _has_assert(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(file.read())))
    except (OSError, SyntaxError, ValueError):
        return True
