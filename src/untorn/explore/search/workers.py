"""The processes that search: forked when the workload has been recorded, so that the program's modules are as then."""

from __future__ import annotations

import faulthandler
import mmap
import multiprocessing
import os
import signal
import struct
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

from untorn.errors import UntornError
from untorn.explore import time_limit
from untorn.explore.search import forked

_GRACE_SECONDS: Final = 10.0
"""How much later than its limit a run is ended that cannot be interrupted."""
_DUMP_SECONDS: Final = 0.5
_BEAT: Final = struct.Struct("qd")
"""Of a worker: its process, and when its run began; 0 if it has none."""

_slot: tuple[mmap.mmap, int] | None = None
"""Where a worker says that it is alive; None in other processes."""


class ForkedWorkers(ProcessPoolExecutor):
    """So many copies of this process, each watched from here."""

    def __init__(self, count: int, told: IO[Any]) -> None:
        context = multiprocessing.get_context("fork")
        self._beats = mmap.mmap(-1, count * _BEAT.size)
        self._told = told
        next_slot = context.Value("i", 0)
        super().__init__(count, context, _begin, (os.getpid(), self._beats, next_slot, told))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: none of them is needed there
            self.submit(int).result()

    def check(self) -> None:
        """UntornError if a worker is in code that cannot be interrupted; it says where, and all are ended."""
        each, now = time_limit.each(), time.monotonic()
        for process, since in _BEAT.iter_unpack(self._beats[:]):
            if each is not None and since and now - since > each + _GRACE_SECONDS:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGUSR1)
                time.sleep(_DUMP_SECONDS)
                raise UntornError(
                    "a run of recover or check did not end in time and could not be interrupted: "
                    f"{_where(self._told)}. See it with --jobs 0 and a debugger"
                )

    def kill(self) -> None:
        """Ends all at once. Their table is not public before Python 3.14."""
        for process in list((getattr(self, "_processes", None) or {}).values()):
            process.kill()


@contextmanager
def forked_workers(count: int) -> Iterator[ForkedWorkers]:
    """Workers until the end of the block; whatever they are doing ends with it."""
    with os.fdopen(os.memfd_create("untorn-workers"), "w+", encoding="utf-8", errors="replace") as told:
        pool = ForkedWorkers(count, told)
        try:
            yield pool
        finally:
            pool.kill()
            with suppress(BrokenExecutor):
                pool.shutdown(cancel_futures=True)


def _begin(parent: int, beats: mmap.mmap, next_slot: Any, told: IO[Any]) -> None:
    global _slot  # noqa: PLW0603
    forked.begin(parent)
    with next_slot.get_lock():
        _slot = beats, next_slot.value * _BEAT.size
        next_slot.value += 1
    faulthandler.register(signal.SIGUSR1, file=told)


def alive() -> None:
    """Said by a worker before each run."""
    if _slot is not None:
        _BEAT.pack_into(_slot[0], _slot[1], os.getpid(), time.monotonic())


def idle() -> None:
    """Said by a worker that has nothing to do."""
    if _slot is not None:
        _BEAT.pack_into(_slot[0], _slot[1], os.getpid(), 0.0)


def _where(told: IO[Any]) -> str:
    """The line at which a worker was."""
    told.seek(0)
    return next((line.strip() for line in told if line.startswith("  File")), "it does not say where")
