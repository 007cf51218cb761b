"""The program that does a workload: it asks statx what the design takes, and splits or gives up as it must."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import untorn
from untorn.debate.compare.workloads import Step
from untorn.designs.bio import natural_pieces
from untorn.sizes import FOLIO_SIZE
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, AtomicLimits, Storage

PATH: Final = "/file"
DESIGNS: Final = ("plain", "folio-flag", "mapping-flag", "writethrough", "cow")
"""The control first."""

Content = Callable[[int, int, int], bytes]
"""Bytes of the write with this serial number, at this offset, of this length."""


class Call(NamedTuple):
    """One call of pwrite, or with no length of flush."""

    offset: int
    length: int
    flags: int = 0

    @property
    def is_sync(self) -> bool:
        return not self.length


@dataclass
class Played:
    """What became of a workload's steps."""

    writes: list[tuple[int, Step]] = field(default_factory=list)
    """Each write with its serial number; the first is 1."""
    user_bytes: int = 0
    calls: int = 0
    asked: int = 0
    """Writes that had pages which must not tear."""
    taken: int = 0
    """Of those, how many the design took as atomic; the others were written plainly."""


def open_file(path: str, design: str, storage: Storage | None = None, folio_size: int = FOLIO_SIZE) -> Any:
    """The file, opened to be updated."""
    return untorn.open(path, "r+b", design=design, storage=storage, folio_size=folio_size)  # type: ignore[call-overload]


def takes(limits: AtomicLimits, step: Step) -> bool:
    """Whether the pages of the step that must not tear can be written atomically."""
    unit = step.unit
    if not limits.unit_min <= unit <= limits.unit_max or not unit:
        return False
    natural = not unit & (unit - 1) and step.offset % unit == 0
    return natural or limits.unit_min == 1


def calls_of(step: Step, limits: AtomicLimits) -> Iterator[Call]:
    """The calls that do the step, as few as the limits allow; plain ones if they do not allow its unit at all."""
    if step.kind == "sync":
        yield Call(0, 0)
        return
    flags = RWF_APPEND if step.kind == "append" else 0
    if not takes(limits, step):
        yield Call(step.offset, step.length, flags)
    elif limits.unit_min == 1:  # any size at any offset
        yield Call(step.offset, step.length, flags | RWF_ATOMIC)
    else:
        for start, stop in natural_pieces(step.offset, step.offset + step.length, limits.unit_max):
            yield Call(start, stop - start, flags | RWF_ATOMIC)


def play(
    file: Any, steps: Iterable[Step], content: Content,
    done: Callable[[Step, Call], None] | None = None, told: Callable[[Call], None] | None = None,
) -> Played:  # fmt: skip
    """Does the steps. ``told`` hears of each call before it is made, ``done`` when it has returned."""
    played = Played()
    limits = file.statx()
    for step in steps:
        if step.kind != "sync":
            played.writes.append((len(played.writes) + 1, step))
            played.user_bytes += step.length
            played.asked += bool(step.unit)
            played.taken += takes(limits, step)
        for call in calls_of(step, limits):
            if told is not None:
                told(call)
            if call.is_sync:
                file.flush()
            else:
                file.pwrite(content(len(played.writes), call.offset, call.length), call.offset, call.flags)
                played.calls += 1
            if done is not None:
                done(step, call)
    return played


def filled(serial: int, offset: int, length: int) -> bytes:
    """Cheap content, where nobody looks at it."""
    return bytes([serial % 251 + 1]) * length
