"""A trace in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

There is no clock in a simulation: a microsecond there is one step here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from untorn.debate.compare.tracing import Line

_PROCESS: Final = 1
_THREADS: Final = {"program": 1, "page cache": 2, "home": 3, "log": 4}
_STATES: Final = ("dirty", "atomic", "writeback")


def events(lines: Sequence[Line], title: str) -> dict[str, Any]:
    """The whole file, ready for JSON."""
    return {"traceEvents": [*_names(title), *_calls(lines), *_steps(lines)], "displayTimeUnit": "ns"}


def _names(title: str) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": _PROCESS, "name": "process_name", "args": {"name": title}}
    for name, thread in _THREADS.items():
        yield {"ph": "M", "pid": _PROCESS, "tid": thread, "name": "thread_name", "args": {"name": name}}


def _event(phase: str, line: Line, name: str, thread: str, **more: Any) -> dict[str, Any]:
    wanted = ("folio", "flags", "blocks", "offset", "length", "target")
    found = {field: getattr(line, field) for field in wanted}
    args = {field: value for field, value in found.items() if value not in ("", -1)}
    return {
        "ph": phase, "pid": _PROCESS, "tid": _THREADS[thread], "ts": line.number, "name": name, "cat": line.event,
        "args": args, **more,
    }  # fmt: skip


def _calls(lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
    """Each call from its beginning to its last step."""
    last = {line.call: line.number for line in lines}
    for line in lines:
        if line.is_call:
            name = f"{line.event} {line.flags}".strip()
            yield _event("X", line, name, "program", dur=last[line.number] - line.number + 0.9)


def _steps(lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
    """Bios and syncs as slices, folios as instants, writeback from its beginning to its end, and counters."""
    flags: dict[int, set[str]] = {}
    for line in lines:
        if line.is_call:
            continue
        if line.folio < 0:
            thread = line.target or "home"
            name = f"bio {line.flags}" if line.event == "bio" else line.event
            yield _event("X", line, name, thread, dur=0.9)
            continue
        before = flags.get(line.folio, set())
        flags[line.folio] = after = set(line.flags.split("|"))
        yield _event("i", line, f"{line.event} folio {line.folio}: {line.flags}", "page cache", s="t")
        for phase, begun in (("b", "writeback" in after - before), ("e", "writeback" in before - after)):
            if begun:
                yield _event(
                    phase, line, f"folio {line.folio} in writeback", "page cache", cat="writeback", id=line.folio
                )
        counts = {state: sum(state in found for found in flags.values()) for state in _STATES}
        yield {"ph": "C", "pid": _PROCESS, "ts": line.number, "name": "folios", "args": counts}
