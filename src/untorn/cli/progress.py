"""How far an exploration is, for whoever waits."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from untorn.cli.output import Progress, is_terminal, printable, tell

if TYPE_CHECKING:
    from untorn.explore.explorer import Progress as Found

_LINE_SECONDS: Final = 5.0
"""How often progress is told where there is no terminal."""


class Watch:
    """Tells how far a search is: to the bar of ``progress`` on a terminal, else now and then in a line."""

    def __init__(self, tick: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._tick = tick
        self._lines = not is_terminal(sys.stderr)
        self._clock = clock
        self._last = clock()

    def __call__(self, found: Found) -> None:
        if not self._lines:
            self._tick(progress_words(found), _part(found))
        elif self._clock() - self._last >= _LINE_SECONDS:
            self._last = self._clock()
            tell(progress_words(found))


def progress_words(found: Found) -> str:
    """How far a search is, in one line."""
    rate = found.recoveries / found.seconds if found.seconds else 0.0
    parts = [f"{found.recoveries:,} recoveries, {rate:,.0f}/s"]
    if found.bad:
        parts.append(f"{found.bad:,} BAD")
    parts.append(f"{found.waiting:,} waiting")
    budget = found.budget
    if budget.seconds is not None:
        parts.append(f"{max(0.0, budget.seconds - found.seconds):.0f} s left")
    if budget.recoveries is not None:
        parts.append(f"{max(0, budget.recoveries - found.recoveries):,} recoveries left")
    return printable(f"{found.target}: {', '.join(parts)}")


def _part(found: Found) -> float:
    """Which part is done: of the budget, if one is nearly used up, else of the runs that are known of."""
    budget = found.budget
    parts = [found.recoveries / max(1, found.recoveries + found.waiting)]
    if budget.seconds is not None:
        parts.append(found.seconds / budget.seconds)
    if budget.recoveries is not None:
        parts.append(found.recoveries / budget.recoveries)
    return min(max(parts), 1.0)
