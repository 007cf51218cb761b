"""The block decides: each way to end a file, with each way to leave it, in every mode, against what is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Final, NamedTuple

import pytest

import untorn
from untorn.api import file as file_module
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import oldest
from untorn.errors import UntornWarning

PATH: Final = "/files/data"
MODES: Final = ["flush", "close", "write", "explicit"]
OLD: Final = b"what was there before"
NEW: Final = b"and what came then, all of it"

Open = Callable[[], Any]
Put = Callable[[Any], object]
End = Callable[[], None]
Way = Callable[[Open, Put, End], object]


class Ending(NamedTuple):
    """How the work ends; ``good`` if it is to be kept."""

    make: Callable[[], BaseException | None]
    good: bool = False


ENDINGS: Final[dict[str, Ending]] = {
    "its end": Ending(lambda: None, good=True),
    "SystemExit()": Ending(SystemExit, good=True),
    "SystemExit(0)": Ending(lambda: SystemExit(0), good=True),
    "SystemExit(3)": Ending(lambda: SystemExit(3)),
    "SystemExit('words')": Ending(lambda: SystemExit("words")),
    "KeyError": Ending(KeyError),
    "KeyboardInterrupt": Ending(KeyboardInterrupt),
    "GeneratorExit": Ending(GeneratorExit),
    "CancelledError": Ending(asyncio.CancelledError),
}

# Ways with a ``with`` around the file


def _with(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        put(file)
        end()


def _nested(open_: Open, put: Put, end: End) -> None:
    with open_() as file, file, file:
        put(file)
        end()


def _after_a_nested_one(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        with file:
            put(file)
        assert file.closed
        end()


def _closing_within(open_: Open, put: Put, end: End) -> None:
    with open_() as file, closing(file):
        put(file)
        end()


def _stack(open_: Open, put: Put, end: End) -> None:
    with ExitStack() as stack:
        file = stack.enter_context(open_())
        stack.callback(file.close)
        put(file)
        end()


def _stack_handed_on(open_: Open, put: Put, end: End) -> None:
    with ExitStack() as stack:
        put(file := stack.enter_context(open_()))
        later = stack.pop_all()
    with later, file:
        end()


def _manager(open_: Open, put: Put, end: End) -> None:
    @contextmanager
    def saving() -> Iterator[Any]:
        with open_() as file:
            yield file

    with saving() as file:
        put(file)
        end()


def _finally_within(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        try:
            put(file)
            end()
        finally:
            file.close()


def _handler_within(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        try:
            put(file)
            end()
        except BaseException:
            file.close()
            file.close()
            raise


def _library_first(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        put(file)
        file.close()
        end()


def _thread_within(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        put(file)
        thread = threading.Thread(target=file.close)
        thread.start()
        thread.join()
        assert file.closed
        end()


def _swallowed_within(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        put(file)
        with contextlib.suppress(ZeroDivisionError), closing(file):
            raise ZeroDivisionError
        end()


def _in_a_handler(open_: Open, put: Put, end: End) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        with open_() as file:
            put(file)
            end()


WITH: Final[list[Way]] = [
    _with, _nested, _after_a_nested_one, _closing_within, _stack, _stack_handed_on, _manager, _finally_within,
    _handler_within, _library_first, _thread_within, _swallowed_within, _in_a_handler,
]  # fmt: skip

# Ways with a transaction around a library that closes the file


def _transaction_closed(open_: Open, put: Put, end: End) -> None:
    file = open_()
    with file.transaction():
        put(file)
        file.close()
        assert file.closed
        end()


def _transaction_left_by_the_library(open_: Open, put: Put, end: End) -> None:
    file = open_()
    with file.transaction(), closing(file):
        put(file)
        end()


def _savepoint_closed(open_: Open, put: Put, end: End) -> None:
    file = open_()
    with file.transaction(), file.transaction():
        put(file)
        file.close()
        end()


def _with_transaction_closed(open_: Open, put: Put, end: End) -> None:
    with open_() as file, file.transaction():
        put(file)
        file.close()
        end()


def _with_in_transaction(open_: Open, put: Put, end: End) -> None:
    file = open_()
    with file.transaction(), file:
        put(file)
        end()


TRANSACTION: Final[list[Way]] = [
    _transaction_closed, _transaction_left_by_the_library, _savepoint_closed, _with_transaction_closed,
    _with_in_transaction,
]  # fmt: skip

# Ways without a block


def _finally(open_: Open, put: Put, end: End) -> None:
    file = open_()
    try:
        put(file)
        end()
    finally:
        file.close()


def _closing(open_: Open, put: Put, end: End) -> None:
    with closing(open_()) as file:
        put(file)
        end()


def _callback(open_: Open, put: Put, end: End) -> None:
    with ExitStack() as stack:
        file = open_()
        stack.callback(file.close)
        put(file)
        end()


def _handler(open_: Open, put: Put, end: End) -> None:
    file = open_()
    try:
        put(file)
        end()
    except BaseException:
        file.close()
        raise
    file.close()


def _nested_handlers(open_: Open, put: Put, end: End) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        file = open_()
        try:
            put(file)
            end()
        except BaseException:
            try:
                raise OSError
            except OSError:
                file.close()
            raise
        file.close()


def _manager_finally(open_: Open, put: Put, end: End) -> None:
    @contextmanager
    def saving() -> Iterator[Any]:
        file = open_()
        try:
            yield file
        finally:
            file.close()

    with saving() as file:
        put(file)
        end()


def _after_a_transaction(open_: Open, put: Put, end: End) -> None:
    file = open_()
    try:
        with contextlib.suppress(ZeroDivisionError), file.transaction():
            raise ZeroDivisionError
        put(file)
        end()
    finally:
        file.close()


OUTSIDE: Final[list[Way]] = [
    _finally, _closing, _callback, _handler, _nested_handlers, _manager_finally, _after_a_transaction
]  # fmt: skip

# Ways with a wrapper of io around a binary file


def _wrapped_text(open_: Open, put: Put, end: End) -> None:
    with open_() as file, io.TextIOWrapper(file, "ascii") as text:
        text.write(NEW.decode())
        end()


def _wrapped_bytes(open_: Open, put: Put, end: End) -> None:
    with open_() as file, io.BufferedWriter(file) as buffered:
        put(buffered)
        end()


def _wrapped_twice(open_: Open, put: Put, end: End) -> None:
    with open_() as file, io.TextIOWrapper(io.BufferedWriter(file), "ascii") as text:
        text.write(NEW.decode())
        end()


def _detached(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        text = io.TextIOWrapper(io.BufferedWriter(file), "ascii")
        text.write(NEW.decode())
        text.detach().detach()
        end()


def _dropped(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        io.TextIOWrapper(file, "ascii").write(NEW.decode())
        assert file.closed
        end()


def _dropped_bytes(open_: Open, put: Put, end: End) -> None:
    with open_() as file:
        put(io.BufferedWriter(file))
        assert file.closed
        end()


def _text_only(open_: Open, put: Put, end: End) -> None:
    with io.TextIOWrapper(open_(), "ascii") as text:
        text.write(NEW.decode())
        end()


def _bytes_only(open_: Open, put: Put, end: End) -> None:
    with io.BufferedWriter(open_()) as buffered:
        put(buffered)
        end()


WRAPPED: Final[list[Way]] = [_wrapped_text, _wrapped_bytes, _wrapped_twice, _detached, _dropped, _dropped_bytes]
WRAPPED_OUTSIDE: Final[list[Way]] = [_text_only, _bytes_only]
"""Closing a text wrapper flushes, and that is a commit in the modes where a flush is one; of bytes it does not."""


class Case(NamedTuple):
    """One cell of the table."""

    way: Way
    commit: str
    ending: str
    text: bool

    @property
    def good(self) -> bool:
        """Whether the work was done when the file was closed."""
        return ENDINGS[self.ending].good and (self.way is not _nested_handlers or self.ending == "its end")

    def kept(self) -> bool:
        """Whether NEW is what must be on disk."""
        if self.way is _text_only and self.commit in ("flush", "write"):
            return True
        return self.good and (self.commit != "explicit" or self.way in TRANSACTION)

    def told(self) -> str | None:
        """What an UntornWarning must say after the file's name, or None if there must be none."""
        if self.good or (self.kept() and self.way is _text_only):
            return None
        size = f"{len(NEW)} bytes, was rolled back"
        lost = f"what was written since its last commit, {size}"
        if self.way in (*OUTSIDE, *WRAPPED_OUTSIDE):
            kind = "OSError" if self.way is _nested_handlers else type(ENDINGS[self.ending].make()).__name__
            told = f"was closed while {kind} was being handled: {lost}"
            return told if self.commit != "explicit" else None
        if self.ending == "GeneratorExit" and self.way in TRANSACTION:
            return f"was in a transaction of a generator that was not run to its end: what was written in it, {size}"
        if self.ending == "GeneratorExit":
            return f"was open in a generator that was not run to its end: {lost}"
        return None


def run(case: Case) -> list[str]:
    """What is wrong after the case was run: nothing, if the rule holds."""
    storage = SimulatedStorage()
    storage.make_directory("/files")
    storage.write_file(PATH, OLD)
    storage.settle()
    opened: list[Any] = []
    error = ENDINGS[case.ending].make()

    def open_() -> Any:
        mode, encoding = ("r+", "ascii") if case.text else ("r+b", None)
        commit: Any = case.commit
        opened.append(untorn.open(PATH, mode, encoding=encoding, commit=commit, storage=storage))
        return opened[0]

    def put(file: Any) -> None:
        file.write(NEW.decode() if case.text else NEW)

    def end() -> None:
        if error is not None:
            raise error

    raised: BaseException | None = None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            case.way(open_, put, end)
        except BaseException as one:
            raised = one
    wrong = []
    if raised is not error:
        wrong.append(f"{raised!r} came out")
    if not opened[0].closed or storage.listdir("/files") != ["data"]:
        wrong.append("it was not closed")
        opened[0].close(commit=False)
    expected = NEW if case.kept() else OLD
    found = {"now": storage.read_file(PATH)}
    found["after a power failure"] = storage.power_cut(oldest).read_file(PATH)
    wrong += [f"{content!r} is on disk {when}" for when, content in found.items() if content != expected]
    told = case.told()
    words = [str(warning.message).partition(". ")[0] for warning in said]
    if words != ([f"{PATH!r} {told}"] if told else []):
        wrong.append(f"{words} was said instead of {told}")
    wrong += [f"the warning points at {warning.filename}" for warning in said if warning.filename != __file__]
    wrong += [f"it is a {warning.category}" for warning in said if warning.category is not UntornWarning]
    return [f"{case.way.__name__}, {case.commit}, {case.ending}, text={case.text}: {line}" for line in wrong]


def cases(way: Way) -> list[Case]:
    """The way's part of the table."""
    texts = [False] if way in (*WRAPPED, *WRAPPED_OUTSIDE) else [False, True]
    return [Case(way, *rest) for rest in itertools.product(MODES, ENDINGS, texts)]


EVERY_WAY: Final = [*WITH, *TRANSACTION, *OUTSIDE, *WRAPPED, *WRAPPED_OUTSIDE]


@pytest.mark.parametrize("way", EVERY_WAY, ids=[way.__name__.strip("_") for way in EVERY_WAY])
def test_each_ending_leaves_what_the_rule_says(way: Way) -> None:
    wrong = [line for case in cases(way) for line in run(case)]
    assert not wrong, "\n".join(wrong)


COMMITTED: Final = f"{NEW!r} is on disk after a power failure"


@pytest.mark.parametrize("way", [_finally_within, _closing_within, _wrapped_text, _library_first, _transaction_closed])
def test_control_the_table_sees_a_close_within_a_block_that_commits(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    def close(file: Any) -> None:
        file._inode.rollback_points.clear()
        file._close(commit=True)

    monkeypatch.setattr(untorn.File, "close", close)
    wrong = [line for case in cases(way) for line in run(case)]
    for ending in ("KeyError", "SystemExit(3)", "GeneratorExit", "CancelledError"):
        assert any(ending in line and COMMITTED in line for line in wrong), ending


@pytest.mark.parametrize("way", OUTSIDE)
def test_control_the_table_sees_a_close_outside_that_commits_although_an_exception_ends_it(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "newly_handled", lambda marks: None)
    wrong = [line for case in cases(way) for line in run(case)]
    assert any(COMMITTED in line for line in wrong)
    assert any("[] was said instead of" in line for line in wrong)
