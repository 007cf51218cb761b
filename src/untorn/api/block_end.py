"""How a block or a program ends: well, or by an exception that was not there before."""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any, Final

_SEEN: Final = "_untorn_seen"
"""Attribute of an exception that was being handled when a file was opened. To keep the exception itself would keep
all that its frames hold, and to keep its ``id`` would take a later one for it."""
_seen = itertools.count(1)


def ended_well(error: BaseException | None) -> bool:
    """Whether a block that was left so did what it was to do: no exception, or ``sys.exit()`` with a good status."""
    return error is None or (isinstance(error, SystemExit) and error.code in (None, 0))


def handled() -> set[Any]:
    """Marks of all the exceptions that are being handled in this thread."""
    marks = set()
    error = sys.exception()
    # With the process, for an exception may be sent to another one.
    while error is not None and (mark := error.__dict__.setdefault(_SEEN, (os.getpid(), next(_seen)))) not in marks:
        marks.add(mark)
        error = error.__context__
    return marks


def newly_handled(marks: set[Any]) -> BaseException | None:
    """The exception that is being handled, if it is none of ``marks`` and not a good end."""
    error = sys.exception()
    known = error is None or error.__dict__.get(_SEEN) in marks
    return None if known or ended_well(error) else error
