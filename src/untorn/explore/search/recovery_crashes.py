"""Recovery that is itself cut off: from what an execution of recovery wrote, the layer above and where it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from untorn.crashmodel.disk_image import Image, Inode
from untorn.crashmodel.rules import History
from untorn.crashmodel.trace import Trace
from untorn.crashmodel.variables import Variable
from untorn.explore.lazy.content import LazyContent
from untorn.explore.lazy.crash_state import CrashState
from untorn.explore.lazy.inode import LazyInode
from untorn.explore.lazy.layers import build_layer
from untorn.explore.lazy.storage import LazyDisk
from untorn.explore.search_record import ChoicePath, RecoveryCrash, Snapshot
from untorn.sizes import SECTOR

LOOKS: Final = frozenset(
    [
        "acknowledge", "atomic_limits", "check_size", "close", "first_hole", "getxattr", "listdir", "lock",
        "lock_holder", "pread", "random_bytes", "readlink", "resolve", "stat",
    ]
)  # fmt: skip
"""Operations that change nothing a crash decides."""


_SOMETHING: Final = b"?" * SECTOR


class Segment(NamedTuple):
    """What recovery did between two choices: the choices before, its events, and the state that holds meanwhile."""

    choices: ChoicePath
    first: int
    last: int
    snapshot: Snapshot


def first_change(trace: Trace) -> int | None:
    """The event at which the first operation that changes something is issued."""
    return next(
        (o.issued for o in trace.operations if o.name not in LOOKS and not _opens_only(o.arguments, o.name)), None
    )


def _opens_only(arguments: tuple[object, ...], name: str) -> bool:
    return name == "open" and not arguments[2]


def recovery_crashes(disk: LazyDisk, crash_state: CrashState, segments: Sequence[Segment]) -> list[RecoveryCrash]:
    """The layers that these segments of a recovery give."""
    change = first_change(disk.trace)
    result: list[RecoveryCrash] = []
    if change is None:
        return result
    trace = Trace(image_before(disk, crash_state))
    trace.operations = disk.trace.operations
    trace.now = disk.trace.now
    history = History(trace, **disk.rules)
    for segment in segments:
        if segment.last < change:
            continue
        history.advance(segment.last)
        layer = build_layer(trace, history, max(segment.first, change), segment.last, nested=True)
        result.append(RecoveryCrash(segment.choices, layer, segment.snapshot))
    return result


def image_before(disk: LazyDisk, crash_state: CrashState) -> Image:
    """The disk before recovery as far as it was decided; what was not is any legal value, and nobody looks at it."""
    image = Image(dict(disk.shared.inodes), {})
    for number, lazy in disk.decided.items():
        image.inodes[number] = _inode_before(
            lazy, crash_state, disk.shared.sectors.get(number, ()), disk.options.sector
        )
    image.names = {name: number for name, number in disk.looked_up.items() if number is not None}
    return image


def _inode_before(lazy: LazyInode, crash_state: CrashState, sectors: Sequence[int], unit: int) -> Inode:
    inode = lazy.base.copy()
    content = lazy.content
    assert isinstance(content, LazyContent)
    base = lazy.base.content
    sizes = crash_state.possible_answers(Variable("size", lazy.number), lambda v: v, lambda: base.size)
    inode.content.truncate(min(sizes))
    for index in sectors:  # there may be something in each: a truncate that cuts it changes it
        if index * unit < inode.content.size:
            inode.content.put_sector(index, _SOMETHING * (unit // SECTOR))
    for index, value in content.seen.items():
        inode.content.put_sector(index, value)
    inode.content.zero_tail()
    inode.attributes = {name: value for name, value in lazy.attributes.seen.items() if value is not None}
    return inode
