"""The processes that search: forked when the workload has been recorded, so that the program's modules are as then."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import IO, Any, Final

from untorn.errors import UntornError
from untorn.explore import forked, limit

_GRACE_SECONDS: Final = 10.0
"""How much later than its limit a run is ended that cannot be interrupted."""

_watch: IO[Any] | None = None
"""Where a worker that is ended says what it was doing; None in other processes."""
_watched = 0.0


@contextmanager
def forked_workers(count: int) -> Iterator[Executor]:
    """So many copies of this process. UntornError if one hangs in code that cannot be interrupted."""
    with os.fdopen(os.memfd_create("untorn-watch"), "w+", encoding="utf-8", errors="replace") as told:
        pool = ProcessPoolExecutor(
            count, multiprocessing.get_context("fork"), initializer=_begin, initargs=(os.getpid(), told)
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of threads: none of them is needed there
                pool.submit(int).result()
            yield pool
        except BaseException as error:
            _kill(pool)
            if isinstance(error, BrokenExecutor) and (where := _where(told)):
                raise UntornError(
                    f"a run of recover or check did not end in time and could not be interrupted: {where}"
                ) from error
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(parent: int, told: IO[Any]) -> None:
    global _watch  # noqa: PLW0603
    forked.begin(parent)
    _watch = told


def alive() -> None:
    """Said by a worker before each run: it is ended if it says so no more for too long."""
    global _watched  # noqa: PLW0603
    each = limit.each()
    now = time.monotonic()
    if _watch is not None and each is not None and now - _watched > 1:
        _watched = now
        faulthandler.dump_traceback_later(each + _GRACE_SECONDS, exit=True, file=_watch)


def idle() -> None:
    """Said by a worker that has nothing to do."""
    global _watched  # noqa: PLW0603
    if _watch is not None:
        faulthandler.cancel_dump_traceback_later()
        _watched = 0.0


def _where(told: IO[Any]) -> str:
    """The line at which a worker was ended; empty if none was."""
    told.seek(0)
    lines = [line.strip() for line in told if line.startswith("  File")]
    return lines[0] if lines else ""


def _kill(pool: ProcessPoolExecutor) -> None:
    """Ends what the workers are doing. Their table is not public before Python 3.14."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.kill()
