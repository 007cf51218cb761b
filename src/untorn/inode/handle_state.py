"""Whether a handle may still be used, and by whom just now: its state, its locks, and whose turn it is.

States, and for each transition the one method that makes it::

                      forked
            +--------------------------> FORKED   the same object in a forked child: it only lets go
            |                              ^
            |                              | forked
          OPEN ------_end_io------> ENDED -+      no more is read or written: what is open is being decided, by
            |                         |           the end of a block around the file, or by its close
            |                         |
            +--------- _poison -------+---> FAILED    what reached the disk is not known (I7)
            |                         |        |
            +---------- _let_go ------+--------+---> CLOSED

Locks, in the order in which they are taken:

- the **turn**: a thread has it for as long as its transaction is open, or its write of more than fits in memory.
  Meanwhile what other threads want to write, commit, cut or roll back waits. It goes from hand to hand, first come,
  first served, and is waited for under no other lock.
- ``_committing``: one spill, commit, cut, rollback or checkpoint at a time. Dirty data are written and synced under it.
- ``_lock``: what readers and writers see. Under it a folio may be read in and space reserved, but nothing is written
  and nothing synced.

None is re-entered from outside: a finaliser or signal handler that comes back in gets ReentrantError instead of a
deadlock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from untorn.errors import HandleFailedError, ReentrantError, TransactionError

P = ParamSpec("P")
R = TypeVar("R")
G = TypeVar("G", bound="HandleState")


def in_turn(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R]:
    """Makes a method of an inode wait for other threads' transactions, and run under the commit mutex."""

    @wraps(method)
    def waiting(inode: G, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with inode._commit_mutex():
            if not inode._foreign_turn():
                return method(inode, *args, **kwargs)  # and then no more lines in which a signal could strike
        return inode.when_turn_comes(partial(method, inode, *args, **kwargs))

    return waiting


class State(Enum):
    OPEN = "open"
    ENDED = "ended"
    FAILED = "failed"
    FORKED = "forked"
    CLOSED = "closed"


class HandleState:
    """Base of an inode: state, locks and turns."""

    def __init__(self, path: str, after_error: str, timeout: float | None) -> None:
        """``after_error``: what an error in writeback leaves: "the file ...". ``timeout``: seconds, None for ever."""
        self.state = State.OPEN
        self._path = path
        self._after_error = after_error
        self._cause = ""
        self._committing = threading.RLock()
        self._lock = threading.RLock()
        self.timeout = timeout
        self._owner: int | None = None
        """The thread whose turn it is. From None it is set under ``_committing`` and ``_lock`` only: then no write is
        half done, and whoever has one of the two and finds None knows that it stays so."""
        self._queue: deque[int] = deque()
        self._turns = threading.Condition()

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
        self._turns = threading.Condition()
        self._queue.clear()
        self._owner = None

    def _state_lock(self) -> Any:
        """The short lock, for a ``with``; ReentrantError if this thread has it already."""
        if self._lock._is_owned():  # type: ignore[attr-defined]
            raise reentrant()
        return self._lock

    def _commit_mutex(self) -> Any:
        """The commit mutex, for a ``with``; ReentrantError if this thread is inside a call already."""
        if self.busy:
            raise reentrant()
        return self._committing

    # Turns

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, so that the turn stays with its thread from call to call."""
        return False

    @property
    def _turn_is_mine(self) -> bool:
        return self._owner == threading.get_ident()

    def _foreign_turn(self) -> bool:
        """Whether another thread has the turn."""
        return self._owner is not None and self._owner != threading.get_ident()

    def _claim_turn(self) -> None:
        """Takes the turn; called under the commit mutex, when nobody else has it."""
        with self._lock:
            self._owner = threading.get_ident()

    def when_turn_comes(self, method: Callable[[], R]) -> R:
        """Calls the method under the commit mutex at a moment when no other thread has the turn."""
        try:
            while True:
                self._await_turn()
                with self._commit_mutex():
                    if not self._foreign_turn():
                        return method()
        finally:
            self._end_turn()

    def _await_turn(self) -> None:
        """Returns when nobody else has the turn; TransactionError if that takes longer than the timeout.

        Whoever had to wait is handed the turn, or threads that begin one transaction after the other would starve it.
        """
        me = threading.get_ident()
        with self._turns:
            if self._owner is None or self._owner == me:
                return
            self._queue.append(me)
            try:
                self._turns.wait_for(lambda: self._owner == me, self.timeout)
            except BaseException:
                self._leave_queue(me)
                raise
            if self._owner == me:
                return
            self._leave_queue(me)
        raise TransactionError(
            f"another thread has a transaction open on {self._path!r}, which did not end within {self.timeout} "
            "seconds; nothing was done. To wait longer, give untorn.open a longer timeout="
        )

    def _leave_queue(self, me: int) -> None:
        if self._owner == me:
            self._hand_turn_on()
        else:
            self._queue.remove(me)

    def _hand_turn_on(self) -> None:
        self._owner = self._queue.popleft() if self._queue else None
        self._turns.notify_all()

    def _end_turn(self) -> None:
        """Hands the turn to whoever waits longest, unless it is not ours or our transaction keeps it."""
        if self._turn_is_mine and not self.in_transaction:
            with self._turns:
                self._hand_turn_on()

    # State

    def _check(self) -> None:
        """Whether it may be read and written."""
        if self.state is not State.OPEN:
            raise self._state_error()

    def _check_alive(self) -> None:
        """Whether what was written may still be committed or rolled back."""
        if self.state is not State.OPEN and self.state is not State.ENDED:
            raise self._state_error()

    def _end_io(self) -> None:
        """From now on nothing is read or written; what was written can still be committed or rolled back."""
        assert self.state in (State.OPEN, State.ENDED)
        self.state = State.ENDED

    def _let_go(self) -> None:
        """The handle is of no more use; a forked child's stays what it is."""
        if self.state is not State.FORKED:
            self.state = State.CLOSED

    def _poison(self, error: BaseException) -> None:
        """Puts the handle out of work: what reached the disk is not known."""
        if self.state in (State.OPEN, State.ENDED):
            self.state = State.FAILED
            self._cause = repr(error)
            error.add_note(
                f"untorn: {self._path!r} {self._after_error}. This handle refuses further work; reopen the file"
            )

    def _state_error(self) -> Exception:
        if self.state in (State.CLOSED, State.ENDED):
            return ValueError("I/O operation on closed file.")
        if self.state is State.FORKED:
            return ValueError("this file object belongs to the parent process; open the file again in this one")
        return HandleFailedError(
            f"an earlier error ({self._cause}) has made this handle unusable. The file {self._after_error}. Reopen it",
            self._path,
        )


def reentrant() -> ReentrantError:
    """The error for whoever comes back into a call of its own thread."""
    return ReentrantError(
        "a finaliser or signal handler used a file that its own thread is working on; nothing was done"
    )
