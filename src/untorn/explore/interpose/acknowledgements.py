"""What a program may tell the explorer that runs it, and ask it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from untorn.errors import UntornError


class ProgramRun(Protocol):
    """One run of a workload, of ``recover`` or of ``check``."""

    def ack(self, value: object) -> None: ...

    def acknowledged(self) -> Sequence[Any]: ...


_current: ProgramRun | None = None


def set_current(run: ProgramRun | None) -> ProgramRun | None:
    """Makes ``run`` the one that ``ack`` and ``acknowledged`` are about; returns the one before.

    A process explores one run at a time, and its threads all belong to it.
    """
    global _current
    before, _current = _current, run
    return before


def ack(value: object = None) -> None:
    """Says that the program has told the world ``value``: from here on, what that promised must survive a crash.

    Outside an exploration it does nothing, so that a program may keep the call.
    """
    if _current is not None:
        _current.ack(value)


def acknowledged() -> list[Any]:
    """What the program had told the world before the crash that is being checked, oldest first."""
    if _current is None:
        raise UntornError("acknowledged() can be called only in check(), while it is explored")
    return list(_current.acknowledged())
