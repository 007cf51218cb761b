"""Text over a file, with the rules of the binary one: ``io.TextIOWrapper`` alone would commit on an exception,
on garbage collection, and at every ``seek`` and ``tell``, for it flushes there.
"""

from __future__ import annotations

import functools
import io
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from untorn.api.block_end import ended_well
from untorn.api.file import File, Transaction
from untorn.errors import TransactionError
from untorn.storage.interface import AtomicLimits

P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[TextFile, P], R]) -> Callable[Concatenate[TextFile, P], R]:
    """One thread at a time: io.TextIOWrapper keeps text and decoder state that two would mix up."""

    def alone(self: TextFile, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._enter()
        try:
            return method(self, *args, **kwargs)
        finally:
            self._turn.release()

    functools.update_wrapper(alone, method)
    return alone


class _Quiet:
    """Stands between text and binary file: what the wrapper flushes by itself must not commit."""

    def __init__(self, file: File) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def flush(self) -> None:
        """Nothing: bytes that left the text layer are in the page cache already."""


class TextFile(io.TextIOWrapper):
    """A text file whose commits a crash cannot tear. Made by ``untorn.open`` in text mode."""

    def __init__(
        self, file: File, mode: str, encoding: str | None, errors: str | None, newline: str | None, *,
        line_buffering: bool = False,
    ) -> None:  # fmt: skip
        self._file = file
        self._silent = False
        self._turn = threading.RLock()
        """Held by each call, and by a thread for as long as its transaction is open."""
        quiet: Any = _Quiet(file)
        super().__init__(quiet, encoding, errors, newline, line_buffering)
        self.mode = mode  # type: ignore[misc]
        file._text = weakref.ref(self)

    def _enter(self) -> None:
        timeout = self._file.timeout
        if not self._turn.acquire(timeout=-1 if timeout is None else timeout):
            raise TransactionError(
                f"another thread has a transaction open on {self.name!r}, which did not end within {timeout} seconds; "
                "nothing was done. To wait longer, give untorn.open a longer timeout="
            )

    def forked(self) -> None:
        """In a forked child, which does not have the thread that may have had the turn."""
        self._turn = threading.RLock()

    # As of any text file, one thread at a time.
    read = _alone(io.TextIOWrapper.read)
    readline = _alone(io.TextIOWrapper.readline)
    write = _alone(io.TextIOWrapper.write)

    @property
    def buffer(self) -> Any:
        """The binary file below. Write to it only after ``flush``, as with any text file."""
        return self._file

    @_alone
    def flush(self) -> None:
        """Hands the text to the binary file, then flushes that, which may commit."""
        self._push()
        if not self._silent:
            self._file.flush()

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Around a method of the wrapper that calls ``flush`` by itself, which then must not commit."""
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    @_alone
    def seek(self, cookie: int, whence: int = 0, /) -> int:
        """As of any text file; commits nothing."""
        with self._silence():
            return super().seek(cookie, whence)

    @_alone
    def tell(self) -> int:
        """As of any text file; commits nothing."""
        with self._silence():
            return super().tell()

    @_alone
    def truncate(self, pos: int | None = None, /) -> int:
        """As of any text file; commits nothing."""
        with self._silence():
            return super().truncate(pos)

    @_alone
    def reconfigure(self, /, **changes: Any) -> None:
        """As of any text file; commits nothing."""
        with self._silence():
            super().reconfigure(**changes)

    def detach(self) -> Any:
        """io.UnsupportedOperation, as of File: text and file commit together."""
        raise io.UnsupportedOperation("detach")

    @_alone
    def commit(self, durable: bool = True) -> None:
        """As File.commit, of all text written so far."""
        if not self.closed:
            self._push()
        self._file.commit(durable)

    @_alone
    def rollback(self) -> None:
        """As File.rollback; text that was not yet handed down goes too."""
        if self.closed:
            self._file.rollback()
            return
        self._push()
        self._file.rollback()
        self._reset()

    def transaction(self) -> Transaction:
        """As File.transaction."""
        self._file.transaction()
        return Transaction(self)  # type: ignore[arg-type]

    def _begin(self) -> int:
        """Opens a transaction; ``with transaction()`` calls it. Returns its depth."""
        self._enter()
        try:
            self._push()
            return self._file._begin()
        except BaseException:
            self._turn.release()
            raise

    def _end(self, depth: int, *, keep: bool) -> None:
        """Ends the transaction of this depth; ``with transaction()`` calls it."""
        try:
            if not self.closed:
                self._push()
            self._file._end(depth, keep=keep)
            if not keep and not self.closed:
                self._reset()
        finally:
            self._turn.release()

    def stats(self) -> dict[str, int]:
        """As File.stats."""
        return self._file.stats()

    def statx(self) -> AtomicLimits:
        """As File.statx."""
        return self._file.statx()

    @_alone
    def close(self, *, commit: bool = True) -> None:
        """As File.close; rolled back if the text cannot be handed down to the binary file."""
        if not commit:
            self._file.close(commit=False)
            return
        if self.closed:
            return
        self._push_or_roll_back()
        self._file.close()

    def _roll_back_and_close(self, why: str) -> None:
        """As File._roll_back_and_close; text that was not yet handed down goes too."""
        with suppress(Exception):
            self._push()  # so that it is counted among what is lost
        self._file._roll_back_and_close(why)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.closed:
            if ended_well(error):
                self._push_or_roll_back()
            elif isinstance(error, GeneratorExit):
                with suppress(Exception):
                    self._push()  # so that it is counted among what is lost
        self._file.__exit__(kind, error, trace)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __del__(self) -> None:
        # The wrapper's own would write what is pending and close, which commits.
        file = getattr(self, "_file", None)
        if file is not None:
            if not file.closed:
                with suppress(Exception):
                    self._push()
            file.__del__()

    def _push(self) -> None:
        """Pending text to the binary file, and no further."""
        super().flush()

    def _push_or_roll_back(self) -> None:
        try:
            self._push()
        except BaseException:
            self._file._roll_back_and_close("closed with text that could not be written")
            raise

    def _reset(self) -> None:
        """Forgets what the decoder read ahead of a position that was rolled back."""
        self.seek(self._file.tell())
