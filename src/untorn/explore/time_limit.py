"""Limits of time that end what runs beneath them, whatever it is doing, by an exception from the alarm clock.

Only the main thread of a process can be ended so. In another one a limit is noticed when what it limits has ended by
itself. Code in C that does not come back is ended by the watch over a worker (:mod:`.workers`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's own functions make enumerations of all they return
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final

EACH_SECONDS: Final = 10.0
"""What one run of recover or of check may take, where nothing else is said."""

_AGAIN: Final = 0.02
"""When to ring again if this is not the time to be interrupted."""
_PATIENCE: Final = 0.5
"""When to ring again if the exception led to nothing."""


class OutOfTime(BaseException):
    """A limit is over."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(f"not ended after {limit.seconds:g} seconds")
        self.limit = limit


class DidNotEndError(Exception):
    """A run of recover or check went on for longer than it may."""


class Limit:
    """``with Limit(seconds) as limit:`` raises ``OutOfTime`` with this ``limit`` when so much time has gone by.

    Also at its end, if what ran beneath it swallowed that. None is no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = 0.0 if seconds is None else max(seconds, 0.001)
        self.is_over = False
        self.end = 0.0
        self._limited = seconds is not None
        self._started = 0.0
        self._outermost = False
        self._handler: Any = None
        self._timer = (0.0, 0.0)

    def __enter__(self) -> Limit:
        if not self._limited:
            return self
        self._started = time.monotonic()
        self.end = self._started + self.seconds
        if threading.current_thread() is threading.main_thread():
            if not _limits:
                self._outermost = True
                self._handler = _signal.signal(signal.SIGALRM, _ring)
                self._timer = signal.getitimer(signal.ITIMER_REAL)
            _limits.append(self)
            _set(self._started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._limited:
            return
        now = time.monotonic()
        self.is_over = self.is_over or now >= self.end
        if self in _limits:
            del _limits[_limits.index(self) :]
        if self._outermost:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _signal.signal(signal.SIGALRM, _signal.SIG_DFL if self._handler is None else self._handler)
            if self._timer[0]:  # somebody else's, as of pytest-timeout
                left = max(_AGAIN, self._timer[0] - (now - self._started))
                signal.setitimer(signal.ITIMER_REAL, left, self._timer[1])
        elif _limits:
            _set(now)
        if self.is_over and error is None:
            raise OutOfTime(self)


_limits: list[Limit] = []
"""Those that hold now, the outermost first."""
_uninterrupted = 0


def _set(now: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, max(min(limit.end for limit in _limits) - now, 0.001))


def _ring(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    over = next((limit for limit in _limits if limit.end <= now), None)
    if over is None:
        if _limits:
            _set(now)
    elif _uninterrupted or not _may_raise(frame):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    else:
        over.is_over = True
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE)  # if that is swallowed
        raise OutOfTime(over)


_protected: Final[set[str]] = {__file__, str(contextlib.__file__)}


def protect(file: str) -> None:
    """Code of this file is never interrupted itself; what it calls is."""
    _protected.add(file)


def _may_raise(frame: FrameType | None) -> bool:
    """Not where something would stay half-done, and not in a finaliser, where Python would forget the exception."""
    if frame is not None and frame.f_code.co_filename in _protected:
        return False
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return False
        frame = frame.f_back
    return True


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What runs here is not ended half-way; a limit that is over ends what follows."""
    global _uninterrupted  # noqa: PLW0603
    _uninterrupted += 1
    try:
        yield
    finally:
        _uninterrupted -= 1


_each: float | None = EACH_SECONDS


def set_each(seconds: float | None) -> None:
    """What one run of recover or check may take, in this process and those that it forks."""
    global _each  # noqa: PLW0603
    _each = seconds


def each() -> float | None:
    return _each


def one_run(stage: str, function: Callable[..., object], *args: Any) -> None:
    """One run of recover or check; DidNotEndError if it goes on for too long."""
    limit = Limit(_each)
    try:
        with limit:
            function(*args)
    except OutOfTime as error:
        if error.limit is not limit:
            raise
        late = DidNotEndError(f"{stage} had not ended after {limit.seconds:g} seconds")
        raise late.with_traceback(error.__traceback__) from None
