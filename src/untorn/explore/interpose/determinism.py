"""What must be the same every time that a program is run again: random bytes, the clock, the process number.

All come from the storage: its random stream, which differs after each crash, and its clock, which the modification
times share and which moves by a microsecond with every look at it. ``time.monotonic`` and ``time.perf_counter`` are
real, for waiting needs them and no file should hold them. Threads that were there before the interposer keep the
real ones. What C code asks of the system itself cannot be held: ``datetime.now()``, ``hash`` of strings (set
PYTHONHASHSEED), ``id``, the legacy generator of numpy.
"""

from __future__ import annotations

import functools
import os
import posix
import random
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

from untorn.explore.interpose.session import active, of_program

_NANO = 1_000_000_000


def _urandom(size: int, /) -> bytes:
    session = of_program()
    return _real_urandom(size) if session is None else session.storage.random_bytes(size)


def _getrandom(size: int, flags: int = 0) -> bytes:
    session = of_program()
    return _real_getrandom(size, flags) if session is None else session.storage.random_bytes(size)


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    session = of_program()
    if a is None and session is not None:
        a = int.from_bytes(session.storage.random_bytes(16), "big")
    _real_seed(self, a, version)


def _module_seed(a: Any = None, version: int = 2) -> None:
    _seed(_real_module_seed.__self__, a, version)  # type: ignore[attr-defined]


def _getpid() -> int:
    session = of_program()
    return _real_getpid() if session is None else session.pid


def _time_ns() -> int:
    session = of_program()
    return _real_time_ns() if session is None else session.storage.disk.tick()


def _time() -> float:
    session = of_program()
    return _real_time() if session is None else session.storage.disk.tick() / _NANO


_real_urandom, _real_getrandom = posix.urandom, os.getrandom
_real_getpid = posix.getpid
_real_time, _real_time_ns, _real_localtime = time.time, time.time_ns, time.localtime
_real_seed = random.Random.seed
_real_module_seed = random.seed  # a method of the hidden generator of the module


def _of_now(real: Callable[..., Any], place: int = 0, *, structured: bool = False) -> Callable[..., Any]:
    """A function of ``time`` that takes the present if argument ``place`` is missing."""

    @functools.wraps(real)
    def function(*args: Any) -> Any:
        if of_program() is not None and (len(args) <= place or args[place] is None):
            now = _time()
            args = (*args[:place], _real_localtime(now) if structured else now)
        return real(*args)

    return function


def replacements() -> list[tuple[Any, Any]]:
    """Real functions, each with the one that is the same every time."""
    return [
        (_real_urandom, _urandom),
        (_real_getrandom, _getrandom),
        (_real_module_seed, _module_seed),
        (_real_getpid, _getpid),
        (_real_time, _time),
        (_real_time_ns, _time_ns),
        (time.localtime, _of_now(time.localtime)),
        (time.gmtime, _of_now(time.gmtime)),
        (time.ctime, _of_now(time.ctime)),
        (time.asctime, _of_now(time.asctime, structured=True)),
        (time.strftime, _of_now(time.strftime, 1, structured=True)),
    ]


class Chance:
    """What modules keep between calls, set to the same at the start and put back at the end."""

    def __init__(self) -> None:
        self._state: Any = None
        self._kept: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> None:
        session = active()
        assert session is not None
        self._state = random.getstate()
        self._set(random.Random, "seed", _seed)
        self._set(tempfile, "_name_sequence", None)
        self._set(uuid, "_generate_time_safe", None)
        self._set(uuid, "_last_timestamp", None)
        self._set(uuid, "_node", 0x02_00_00_00_00_01)
        random.seed(int.from_bytes(session.storage.random_bytes(16), "big"))

    def _set(self, owner: Any, name: str, value: Any) -> None:
        if hasattr(owner, name):
            self._kept.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)

    def __exit__(self, *error: object) -> None:
        while self._kept:
            owner, name, value = self._kept.pop()
            setattr(owner, name, value)
        if self._state is not None:
            random.setstate(self._state)
            self._state = None
