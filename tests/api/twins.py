"""The same thing done to a file by ``builtins.open`` and to its twin by ``untorn.open``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What a call gave: a value, or the type and errno of what it raised."""

    value: Any = None
    error: type[BaseException] | None = None
    errno: int | None = None
    message: str = ""

    def agrees(self, other: Outcome) -> bool:
        """Whether a caller would notice no difference; messages are free."""
        return self[:3] == other[:3]


def outcome(call: Callable[[], Any]) -> Outcome:
    """Makes the call."""
    try:
        return Outcome(call())
    except Exception as error:
        return Outcome(None, type(error), getattr(error, "errno", None), str(error))
