"""What a crash may leave, as the search sees it: for each variable its values, and for each the crash points.

A **layer** is one run that was cut off: the workload is layer 0, a recovery that is itself cut off is layer 1, and
so on. Crash points of a layer that no legal set tells apart are one **class**; a set of classes is a bit mask.
A variable that a recovery did not write, or whose new value did not survive, still has what it had in the layer
below: its value there is ``BELOW``.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from untorn.explore.masks import Rows, rows_of
from untorn.storage.disk import Options
from untorn.storage.persistence import History
from untorn.storage.recording import Operation, Trace
from untorn.storage.variables import NEVER, Legal, Variable, stacks


class _Below:
    def __repr__(self) -> str:
        return "BELOW"

    def __reduce__(self) -> str:
        return "BELOW"


BELOW: Final = _Below()
"""The value of a variable that the layer below decides."""


ORDER: Final = Variable("order", 0)
"""How directories list their names, everywhere in the same way. It is asked where somebody lists two or more."""

BACKWARDS: Final = "backwards"
SORTED: Final = "sorted"


@dataclass(frozen=True, slots=True)
class Cell:
    """One variable of one layer: its distinct values, oldest first, and the classes at which each is legal."""

    values: tuple[Any, ...]
    masks: tuple[int, ...]
    written: tuple[tuple[int, int], ...]
    """(event, index of the value), in the order in which the cache had them."""
    ends: tuple[int, ...]
    """By entry of ``written``: the event from which on it is not legal any more; a value may be written again."""
    rows: Rows = field(init=False, repr=False, compare=False)
    """The masks, so that those which meet a few classes are found without asking all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", rows_of(self.masks))


@dataclass
class Layer:
    """One run that is cut off, between events ``first`` and ``last`` of its trace."""

    trace: Trace
    starts: list[int]
    """The first event of each class, ascending."""
    cells: dict[Variable, Cell]
    stacks: dict[Variable, list[tuple[Variable, int | None]]]
    """By variable: the cells that decide it, uppermost first, each with the place in its tuples if it has such."""
    acknowledged: list[int] = field(default_factory=list)
    """By class: how many of ``acknowledgements`` had been told to the world."""
    acknowledgements: list[Any] = field(default_factory=list)
    chain: dict[Variable, Any] = field(default_factory=dict, repr=False, compare=False)
    """By variable: who decides it in this layer and all below it, as searched so far; the same for every run."""

    @property
    def all(self) -> int:
        """The mask of all classes."""
        return (1 << len(self.starts)) - 1


def build_layer(trace: Trace, history: History, first: int, last: int, *, nested: bool) -> Layer:
    """The layer of a trace whose crash points are the events ``first`` to ``last``; ``history`` is swept to there."""
    table = history.table()
    acks = [o for o in trace.operations if o.name == "acknowledge" and o.completed is not None and o.completed <= last]
    bounds = {first}
    for legal in table.values():
        bounds.update(bound for value in legal for bound in (value.since, value.until) if first < bound <= last)
    bounds.update(o.completed for o in acks if o.completed is not None and o.completed > first)
    starts = sorted(bounds)
    cells = {variable: _cell(variable, legal, starts, last, nested=nested) for variable, legal in table.items()}
    if not nested:
        every = (1 << len(starts)) - 1
        cells[ORDER] = Cell((BACKWARDS, SORTED), (every, every), ((0, 0), (0, 1)), (NEVER, NEVER))
    done = sorted(o.completed for o in acks if o.completed is not None)
    return Layer(
        trace, starts, cells, stacks(cells),
        [bisect.bisect_right(done, start) for start in starts], [o.arguments[0] for o in acks],
    )  # fmt: skip


def _cell(variable: Variable, legal: Iterable[Legal], starts: Sequence[int], last: int, *, nested: bool) -> Cell:
    masks: dict[Any, int] = {}
    written: list[tuple[int, int, Any]] = []
    inherits = nested and variable.level == 0 and variable.kind not in ("name", "names", "sectors")
    base: Legal | None = None
    for entry in legal:
        value, since, until = entry
        low = bisect.bisect_left(starts, max(since, starts[0]))
        high = bisect.bisect_left(starts, until)
        # One that just goes on is the base again, which no atomic write over it ends; not what was written between.
        goes_on = len(written) == 1 and base is not None and (value, since) == (base.value, base.until)
        if since == 0:
            base = entry
        key = BELOW if inherits and (since == 0 or goes_on) else value
        mask = (1 << high) - (1 << low) if since <= last and high > low else 0
        masks[key] = masks.get(key, 0) | mask
        written.append((since, until, key))
    index = {value: at for at, value in enumerate(masks)}
    return Cell(
        tuple(masks), tuple(masks.values()),
        tuple((since, index[key]) for since, _, key in written), tuple(until for _, until, _ in written),
    )  # fmt: skip


def births(trace: Trace) -> list[Operation]:
    """The operations that created the inodes which the image at the start does not have."""
    return [
        o
        for o in trace.operations
        if o.name in ("open", "tmpfile", "mkdir", "symlink") and o.inode not in trace.image.inodes
    ]


def rules(options: Options) -> dict[str, Any]:
    """The persistence rules of a machine, as keyword arguments of History."""
    return {"profile": options.profile, "sector": options.sector, "trash": options.trash}
