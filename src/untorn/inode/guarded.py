"""Whether a handle may still be used, and by whom just now: its state and its two locks.

States, and the one method for each transition::

    OPEN --fail--> FAILED --closed--> CLOSED          OPEN --forked--> FORKED (the same object in a forked child)
    OPEN --closed--> CLOSED

Locks, in the order in which they are taken: ``_committing`` (one spill, commit, cut, rollback or checkpoint at
a time) and ``_lock`` (what readers and writers see; short). Storage is written and synced under the first alone,
so that readers and writers go on meanwhile. Neither is re-entered from outside: a finaliser or signal handler
that comes back in gets ReentrantError instead of a deadlock.
"""

from __future__ import annotations

import threading
from enum import Enum
from typing import Any

from untorn.errors import FailedError, ReentrantError


class State(Enum):
    OPEN = "open"
    FAILED = "failed"
    FORKED = "forked"
    CLOSED = "closed"


class Guarded:
    """Base of an inode: locks, and the sticky error state."""

    def __init__(self, path: str, after_error: str) -> None:
        """``after_error``: what an error in writeback leaves: "the file ..."."""
        self.state = State.OPEN
        self._path = path
        self._after_error = after_error
        self._cause = ""
        self._committing = threading.RLock()
        self._lock = threading.RLock()

    @property
    def busy(self) -> bool:
        """Whether this very thread is inside a call on this file."""
        return self._lock._is_owned() or self._committing._is_owned()  # type: ignore[attr-defined, no-any-return]

    def forked(self) -> None:
        """In a forked child: the file is the parent's; here it only lets go."""
        self.state = State.FORKED
        # A thread that the child does not have may hold them for ever.
        self._lock = threading.RLock()
        self._committing = threading.RLock()

    def _short(self) -> Any:
        """The short lock, for a ``with``; ReentrantError if this thread has it already."""
        if self._lock._is_owned():  # type: ignore[attr-defined]
            raise reentrant()
        return self._lock

    def _exclusive(self) -> Any:
        """The commit mutex, for a ``with``; ReentrantError if this thread is inside a call already."""
        if self.busy:
            raise reentrant()
        return self._committing

    def _check(self) -> None:
        if self.state is not State.OPEN:
            raise self._refusal()

    def _fail(self, error: BaseException) -> None:
        """Puts the handle out of work: what reached the disk is not known."""
        if self.state is State.OPEN:
            self.state = State.FAILED
            self._cause = repr(error)
            error.add_note(
                f"untorn: {self._path!r} {self._after_error}; this handle refuses further work, reopen the file"
            )

    def _refusal(self) -> Exception:
        if self.state is State.CLOSED:
            return ValueError("I/O operation on closed file.")
        if self.state is State.FORKED:
            return ValueError("this file belongs to the parent process; open it anew")
        return FailedError(
            f"an earlier error ({self._cause}) put this handle out of work. The file {self._after_error}; reopen it",
            self._path,
        )


def reentrant() -> ReentrantError:
    """The error for whoever comes back into a call of its own thread."""
    return ReentrantError(
        "a finaliser or signal handler used a file that its own thread is working on; nothing was done"
    )
