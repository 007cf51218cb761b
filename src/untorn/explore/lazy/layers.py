"""What a crash may leave, as the search sees it: for each variable its values, and for each the crash points."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import Any

from untorn.crashmodel.disk_image import PAGE
from untorn.crashmodel.machine import Options
from untorn.crashmodel.profiles import LINUX
from untorn.crashmodel.rules import History
from untorn.crashmodel.trace import Operation, Trace
from untorn.crashmodel.variables import NEVER, Legal, Variable, deciders
from untorn.explore.search_record import BACKWARDS, INHERITED, ORDER, SORTED, Alternatives, Layer


def build_layer(trace: Trace, history: History, first: int, last: int, *, nested: bool) -> Layer:
    """The layer of a trace whose crash points are the events ``first`` to ``last``; ``history`` is swept to there."""
    table = history.table()
    acks = [o for o in trace.operations if o.name == "acknowledge" and o.completed is not None and o.completed <= last]
    bounds = {first}
    for legal in table.values():
        bounds.update(bound for value in legal for bound in (value.since, value.until) if first < bound <= last)
    bounds.update(o.completed for o in acks if o.completed is not None and o.completed > first)
    class_starts = sorted(bounds)
    alternatives = {
        variable: _alternatives(variable, legal, class_starts, last, nested=nested) for variable, legal in table.items()
    }
    if not nested:
        every = (1 << len(class_starts)) - 1
        alternatives[ORDER] = Alternatives((BACKWARDS, SORTED), (every, every), ((0, 0), (0, 1)), (NEVER, NEVER))
    done = sorted(o.completed for o in acks if o.completed is not None)
    return Layer(
        trace, class_starts, alternatives, deciders(alternatives),
        [bisect.bisect_right(done, start) for start in class_starts], [o.arguments[0] for o in acks],
    )  # fmt: skip


def _alternatives(
    variable: Variable, legal: Iterable[Legal], class_starts: Sequence[int], last: int, *, nested: bool
) -> Alternatives:
    masks: dict[Any, int] = {}
    written: list[tuple[int, int, Any]] = []
    inherits = nested and variable.level == 0 and variable.kind not in ("name", "names", "sectors")
    base: Legal | None = None
    for entry in legal:
        value, since, until = entry
        low = bisect.bisect_left(class_starts, max(since, class_starts[0]))
        high = bisect.bisect_left(class_starts, until)
        # One that just goes on is the base again, which no atomic write over it ends; not what was written between.
        goes_on = len(written) == 1 and base is not None and (value, since) == (base.value, base.until)
        if since == 0:
            base = entry
        key = INHERITED if inherits and (since == 0 or goes_on) else value
        mask = (1 << high) - (1 << low) if since <= last and high > low else 0
        masks[key] = masks.get(key, 0) | mask
        written.append((since, until, key))
    index = {value: at for at, value in enumerate(masks)}
    return Alternatives(
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
    block = options.block or (PAGE if options.profile == LINUX else options.sector)
    return {"profile": options.profile, "sector": options.sector, "block": block, "powersafe": options.powersafe}
