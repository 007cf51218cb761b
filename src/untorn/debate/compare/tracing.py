"""Each step of a few writes on their way to a simulated disk, in the kernel's words; and steps from a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from untorn.crashmodel.storage import SimulatedStorage
from untorn.debate.compare.devices import Device
from untorn.debate.compare.page_stamps import stamped
from untorn.debate.compare.runner import PATH, Call, open_file, play
from untorn.debate.compare.workloads import SYNC, Step, Workload, append, atomic, plain
from untorn.sizes import SECTOR
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC
from untorn.trace_event import TraceEvent

_K: Final = 1024
_UNITS: Final = {"K": _K, "M": _K * _K}
_SIZE: Final = 64 * _K
_SIZE_MAX: Final = 64 * _K * _K
CALLS: Final = frozenset({"pwrite", "flush", "close"})


@dataclass(frozen=True)
class Line:
    """A call of the program, or a step that it led to. Offset and length are in bytes, of the target."""

    number: int
    """In the trace, from 1; nothing happens at the same time, and there is no clock."""
    call: int
    """The number of the call that it belongs to."""
    event: str
    """pwrite, flush, close; else as the page cache's trace has it: write, writeback, bio..."""
    folio: int = -1
    """The folio's index; -1 where none is meant."""
    flags: str = ""
    """Of a call RWF_, of a folio as the kernel prints them, of a bio REQ_."""
    blocks: str = ""
    offset: int = 0
    length: int = 0
    target: str = ""

    @property
    def is_call(self) -> bool:
        return self.event in CALLS

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def trace(workload: Workload, design: str, device: Device) -> list[Line]:
    """The short form of the workload, step by step."""
    machine = SimulatedStorage(**device.options())
    machine.write_file(PATH, stamped(0, 0, workload.short_size))
    lines: list[Line] = []
    call = 0

    def begin(event: str, flags: str = "", offset: int = 0, length: int = 0) -> None:
        nonlocal call
        call = len(lines) + 1
        lines.append(Line(call, call, event, -1, flags, "", offset, length))

    def told(made: Call) -> None:
        if made.is_sync:
            begin("flush")
        else:
            begin("pwrite", _call_flags(made.flags), made.offset, made.length)

    def seen(event: TraceEvent) -> None:
        lines.append(Line(len(lines) + 1, call, *event))

    file = open_file(PATH, design, machine)
    file.set_trace(seen)
    play(file, workload.short, stamped, told=told)
    begin("close")
    file.close()
    return lines


def _call_flags(flags: int) -> str:
    return "|".join(name for name, flag in (("RWF_APPEND", RWF_APPEND), ("RWF_ATOMIC", RWF_ATOMIC)) if flags & flag)


class StepsError(ValueError):
    """A text of steps that cannot be done; the message names the line."""


def parse(name: str, text: str) -> Workload:
    """Steps from a text, one to a line: ``size BYTES``, ``write OFFSET LENGTH``, ``atomic OFFSET LENGTH [UNIT]``,
    ``append LENGTH``, ``sync``. Sizes may end in K or M; what follows a # is a comment.
    """
    size = _SIZE
    end = size
    steps: list[Step] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            values = [_bytes(word) for word in words[1:]]
            match words[0], values:
                case "size", [size] if not steps:
                    end = size
                case "write", [offset, length]:
                    steps.append(plain(offset, length))
                case "atomic", [offset, length, *unit] if len(unit) < 2:
                    steps.append(atomic(offset, length, *unit))
                case "append", [length]:
                    steps.append(append(end, length))
                case "sync", []:
                    steps.append(SYNC)
                    continue
                case _:
                    raise StepsError("expected size, write, atomic, append or sync, with its numbers")
            end = max(end, _end(steps))
        except StepsError as error:
            raise StepsError(f"line {number}: {error}") from None
    return Workload(name, name, size, tuple(steps), size, ())


def _end(steps: Iterable[Step]) -> int:
    """Where the last write ends, if it is one that can be done."""
    *_, step = steps or [SYNC]
    if step.kind != "sync" and (not step.length or (step.unit and step.length % step.unit)):
        raise StepsError("a write has a length, which is a multiple of the pages in it that must not tear")
    return step.offset + step.length


def _bytes(word: str) -> int:
    unit = _UNITS.get(word[-1:].upper(), 1)
    digits = word[:-1] if unit > 1 else word
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 12:
        raise StepsError(f"{word!r} is no number of bytes")
    found = int(digits) * unit
    if found % SECTOR or found > _SIZE_MAX:
        raise StepsError(f"{word}: sizes and offsets are multiples of {SECTOR}, and at most 64M")
    return found
