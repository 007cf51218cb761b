"""Lays out a timeline: what was done, on a lane for each thing that it was done to, from begin to end.

Time is a count of events, not a clock. Moments at which nothing that is shown begins or ends take no room.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from untorn.report.text import clipped, plural, printable

LANES_MAX: Final = 14
_LANE: Final = 34.0
_TOP: Final = 26.0
"""Room for the labels of cuts."""
_BOTTOM: Final = 20.0
"""Room for the axis."""
_BAR: Final = 16.0
_MARGIN: Final = 10.0
"""Left and right, so that no mark is cut off."""
_LABEL: Final = 34
"""Characters in the name of a lane."""


@dataclass(frozen=True)
class Event:
    """One thing done. ``kind`` says how it is drawn: write, change, name, sync, told or other."""

    lane: str
    kind: str
    begin: int
    end: int | None
    """None: it never returned."""
    title: str
    """Everything about it, in words."""
    number: int
    label: str = ""
    """In the bar, if there is room."""
    target: str | None = None
    """Another lane that it touches."""
    tags: tuple[str, ...] = ()
    """lost, early, torn, garbage, failed: what became of it."""
    faint: bool = False
    """It never came to it."""


@dataclass(frozen=True)
class Cut:
    """A moment just after an event, drawn as a line across all lanes."""

    after: int
    label: str
    title: str


@dataclass(frozen=True)
class Lane:
    label: str
    title: str
    y: float


@dataclass(frozen=True)
class Mark:
    event: Event
    x: float
    y: float
    width: float
    height: float
    target_y: float | None
    label: str


@dataclass(frozen=True)
class Line:
    x: float
    label: str
    title: str


@dataclass(frozen=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True)
class Bucket:
    """How much of one kind begins in one part of the time, for the overview."""

    x: float
    y: float
    height: float
    kind: str


@dataclass
class Timeline:
    """Coordinates in pixels, ready to be drawn."""

    lanes: list[Lane] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    names: float = 0.0
    """Room for the names of lanes."""
    width: float = 0.0
    height: float = 0.0
    bottom: float = 0.0
    summary: str = ""
    """For who cannot see it."""
    focusable: bool = False
    """Few enough that each mark can be stepped to by the keyboard."""
    buckets: list[Bucket] = field(default_factory=list)
    """The whole in 1000 by 40, if it does not fit into the width; else empty."""
    bucket: float = 0.0
    """Width of each."""
    bucket_lines: list[Line] = field(default_factory=list)


def lay_out(events: Sequence[Event], cuts: Sequence[Cut] = (), *, width: float = 1020.0) -> Timeline:
    """The timeline of ``events``, with the names of lanes ``width`` wide if that leaves each room, else wider."""
    lanes = _lanes(events)
    names = list(dict.fromkeys(lanes.values()))
    labels = 7.0 * max((min(len(printable(name)), _LABEL) for name in names), default=0) + 20
    room = max(width - labels - 3 * _MARGIN, 300.0)
    moments = sorted({event.begin for event in events} | {event.end for event in events if event.end is not None})
    step = min(max(room / (len(moments) + 1), 4.0), 30.0)
    place = {moment: _MARGIN + (index + 0.5) * step for index, moment in enumerate(moments)}
    end = _MARGIN + (len(moments) + 0.5) * step
    line = Timeline(names=labels, width=max(end + _MARGIN, 80.0), focusable=len(events) <= 60)
    ys = {name: _TOP + _LANE * at for at, name in enumerate(names)}
    line.lanes = [Lane(clipped(printable(name), _LABEL), name, ys[name]) for name in names]
    line.bottom = _TOP + _LANE * len(names)
    line.height = line.bottom + _BOTTOM
    for event in events:
        x, stop = place[event.begin], end if event.end is None else place[event.end]
        target = None if event.target is None or event.target not in lanes else ys[lanes[event.target]]
        wide = max(stop - x, 3.0)
        label = event.label if len(event.label) * 6.2 + 6 <= wide else ""
        line.marks.append(Mark(event, x, ys[lanes[event.lane]] + (_LANE - _BAR) / 2, wide, _BAR, target, label))
    line.lines = _lines(cuts, moments, step)
    line.ticks = _ticks(line.marks)
    if line.width > width:
        _overview(line)
    counts = Counter(event.kind for event in events)
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    line.summary = f"{plural(len(events), 'operation')} on {plural(len(names), 'lane')}: {words}"
    return line


def _lanes(events: Sequence[Event]) -> dict[str, str]:
    """By lane, the one that it is drawn on: those with least on them share the last."""
    counts = Counter[str]()
    for event in events:
        counts.update([event.lane] if event.target is None else [event.lane, event.target])
    order = [lane for event in events for lane in (event.lane, event.target) if lane is not None]
    # What has been told is no file: its lane is the last.
    told = {event.lane for event in events if event.kind == "told"}
    names = sorted(dict.fromkeys(order), key=lambda name: name in told)
    if len(names) <= LANES_MAX:
        return {name: name for name in names}
    kept = {name for name, _ in counts.most_common(LANES_MAX - 1)}
    others = f"{len(names) - len(kept)} other files"
    lanes = {name: name for name in names if name in kept}
    return lanes | {name: others for name in names if name not in kept}


def _lines(cuts: Sequence[Cut], moments: Sequence[int], step: float) -> list[Line]:
    """Cuts at one place are one line."""
    places: dict[float, list[Cut]] = {}
    for cut in cuts:
        places.setdefault(_MARGIN + bisect_right(moments, cut.after) * step, []).append(cut)
    return [
        Line(x, ", ".join(cut.label for cut in some), "\n".join(cut.title for cut in some))
        for x, some in sorted(places.items())
    ]


def _overview(line: Timeline, parts: int = 125) -> None:
    """What is where in a timeline that is too wide to be seen at once."""
    scale = 1000.0 / line.width
    line.bucket = 1000.0 / parts
    counts = Counter((min(int(mark.x / line.width * parts), parts - 1), mark.event.kind) for mark in line.marks)
    tallest = max(sum(count for (at, _), count in counts.items() if at == part) for part in range(parts))
    for part in range(parts):
        y = 40.0
        for kind in ("write", "change", "name", "other", "told", "sync"):
            height = 30.0 * counts[part, kind] / max(tallest, 1)
            if height:
                y -= height
                line.buckets.append(Bucket(part * line.bucket, y, height, kind))
    line.bucket_lines = [Line(cut.x * scale, cut.label, cut.title) for cut in line.lines]


def _ticks(marks: Sequence[Mark]) -> list[Tick]:
    """Numbers of operations, no closer than can be read."""
    ticks: list[Tick] = []
    for mark in marks:
        if not ticks or mark.x - ticks[-1].x >= 44.0:
            ticks.append(Tick(mark.x, f"{mark.event.number}"))
    return ticks
