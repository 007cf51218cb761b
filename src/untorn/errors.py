"""What can go wrong, and what is on disk when it does.

Every error derives from :class:`UntornError`. Where a caller of ordinary file functions
expects an ``OSError``, the error is one too and carries the ``errno`` he would expect.
Each message says what is on disk now and what to do.
"""

from __future__ import annotations

import errno
import sys
import warnings
from types import FrameType
from typing import Any


class UntornError(Exception):
    """Base of all errors that untorn itself raises."""


class UntornWarning(UserWarning):
    """Something was put right or set aside that its owner should know of."""


class TransactionError(UntornError):
    """A transaction was ended out of turn, or asked for what it cannot do."""


class ReentrantError(UntornError, RuntimeError):
    """A finaliser or signal handler came back into a file that its own thread is working on."""


class _OSError(UntornError, OSError):
    """An UntornError that is an OSError with a fixed ``errno``."""

    code: int = errno.EIO

    def __init__(self, message: str, path: str | None = None) -> None:
        OSError.__init__(self, self.code, message, path)

    def __reduce__(self) -> Any:
        # OSError's own would call ``__init__`` with its three arguments, which are not those of ours.
        return _again, (type(self), (self.errno, self.strerror, self.filename), self.__dict__)


def _again(kind: type[_OSError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> _OSError:
    """An error as it was before it was pickled: a process pool sends them."""
    error = kind.__new__(kind)
    OSError.__init__(error, *arguments)
    error.__dict__.update(attributes)
    return error


class HandleFailedError(_OSError):
    """An earlier error has ended the use of this handle: the file is old or new, never a mix. Reopen it."""


class CheckpointError(_OSError):
    """Committed data could not be moved into the file. Nothing is lost: it is durable in the log."""

    def __init__(self, message: str, path: str | None = None, code: int = errno.ENOSPC) -> None:
        self.code = code
        super().__init__(message, path)


class LockedError(_OSError, BlockingIOError):
    """Another handle has the file; ``pid`` is its process, or None where the system does not tell."""

    code = errno.EAGAIN

    def __init__(self, message: str, path: str | None = None, pid: int | None = None) -> None:
        super().__init__(message, path)
        self.pid = pid


class ForeignEditError(_OSError):
    """Another program changed the file while commits to it waited in its log; neither was touched."""

    code = errno.EBUSY


class LogError(_OSError):
    """The log beside the file cannot be used; the file and the log were left as they are."""


class CorruptLogError(LogError):
    """What is known to have been synced to the log is damaged, at ``offset`` (bytes), for ``reason``."""

    def __init__(self, message: str, path: str | None = None, offset: int = 0, reason: str = "") -> None:
        super().__init__(message, path)
        self.offset = offset
        self.reason = reason


class MissingLogError(LogError):
    """Commits to the file are waiting in its log, but its own log is not beside it."""


class UntrustedLogError(LogError):
    """What stands in the log's place is not a regular file of an owner that we trust."""


def caller() -> FrameType:
    """The innermost frame outside of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _package(frame) == "untorn":
        frame = frame.f_back
    return frame


def package_of_caller() -> str:
    """The package, or ``__main__``, whose code called into this one."""
    return _package(caller())


def warn(message: str, *, package: str | None = None) -> None:
    """Warns of ``message`` at the innermost line of ``package`` that led here, else at that outside of this one.

    A library that was handed a file closes it for ``package``, whose author wants to see a line of his own.
    """
    outside = frame = caller()
    while _package(frame) != package:
        if frame.f_back is None:
            frame = outside
            break
        frame = frame.f_back
    names = frame.f_globals
    registry = names.setdefault("__warningregistry__", {})
    code = frame.f_code
    warnings.warn_explicit(message, UntornWarning, code.co_filename, frame.f_lineno, names.get("__name__"), registry)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
