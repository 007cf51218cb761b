"""The report of ``untorn compare``: the questions of the debate, each with its answer, picture and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from untorn.debate.compare import DEVICES, WORKLOADS, Comparison
from untorn.debate.compare.crash_check import Verdict
from untorn.debate.compare.findings import Answer
from untorn.debate.compare.groups import Group, groups, verdict
from untorn.debate.compare.matrix import Cell
from untorn.debate.compare.tracing import Line, trace
from untorn.report import timeline as timelines
from untorn.report.page import render
from untorn.report.text import plural
from untorn.report.timeline import Event, Timeline

_SQUARE: Final = 18.0
_ROWS_OPEN: Final = 10
"""Longer tables are folded."""

LOOKS: Final = {
    Verdict.WHOLE: ("--good", "", "whole in every state"),
    Verdict.REFUSED: ("--old", "hatch", "refused as atomic; written plainly it tears"),
    Verdict.REFUSED_WHOLE: ("--same", "hatch", "refused as atomic; written plainly, and whole"),
    Verdict.LOST: ("--bad", "dots", "torn, where a plain write came over it before the sync"),
    Verdict.TORN: ("--bad", "", "torn, though it was taken as atomic"),
    Verdict.UNKNOWN: ("--other", "bars", "not finished"),
}
"""By verdict: colour, pattern and words."""


@dataclass
class Square:
    """One device in the map."""

    x: float
    colour: str
    pattern: str
    title: str


@dataclass
class MapRow:
    """One workload in the map, with the squares of each design."""

    workload: str
    designs: list[list[Square]] = field(default_factory=list)


@dataclass
class AnswerPicture:
    """One question."""

    answer: Answer
    bars: list[tuple[str, float, str]]
    folded: bool
    simulated: bool


@dataclass
class TornPicture:
    """The shortest way to a torn page, of one design."""

    title: str
    expected: str
    headline: str
    story: str


@dataclass
class StepsPicture:
    """What one design does of a workload's short form."""

    design: str
    timeline: Timeline
    lines: list[str]


def page(found: Comparison) -> str:
    """The report as one HTML file."""
    cells = found.cells
    workloads = list(dict.fromkeys(cell.workload for cell in cells))
    designs = list(dict.fromkeys(cell.design for cell in cells))
    devices = list(dict.fromkeys(cell.device for cell in cells))
    seen = [look for kind, look in LOOKS.items() if any(cell.crashes.verdict is kind for cell in cells)]
    certified = sum(cell.crashes.certified for cell in cells)
    complete = sum(cell.crashes.complete for cell in cells)
    return render(
        "compared.html", title="untorn compare", found=found, headline=_headline(cells), plain=_plain(cells),
        state="bad" if found.broken else "certified", designs=designs, devices=devices, looks=seen,
        map=[_map_row(cells, workload, designs) for workload in workloads], width=_SQUARE * len(devices),
        tiles=[
            ("combinations", f"{len(cells):,}"), ("whole, every state tried", f"{complete:,}"),
            ("of these certified", f"{certified:,}"),
            ("recoveries after a crash", f"{sum(cell.crashes.recoveries for cell in cells):,}"),
        ],
        uncertified=next((c.crashes.uncertified for c in cells if c.crashes.complete and not c.crashes.certified), ""),
        answers=[_answer(answer) for answer in found.answers], torn=_torn(cells), steps=_steps(cells, designs),
        workloads=[(WORKLOADS[name], _table(groups(cells, name))) for name in workloads],
        systems=found.real.systems if found.real else [], timings=found.real.timings if found.real else [],
    )  # fmt: skip


def _headline(cells: Sequence[Cell]) -> str:
    broken = sorted({cell.design for cell in cells if cell.broken})
    if broken:
        return f"Torn: {', '.join(broken)}"
    lost = sorted({cell.design for cell in cells if cell.crashes.verdict is Verdict.LOST})
    whole = [name for name in dict.fromkeys(cell.design for cell in cells) if _held(cells, name)]
    words = f"Whole: {', '.join(whole)}" if whole else "Nothing was whole"
    return f"{words}. Torn after a mix: {', '.join(lost)}" if lost else words


def _held(cells: Sequence[Cell], design: str) -> bool:
    """Whether the design took atomic writes, and all that it took were whole."""
    took = [cell for cell in cells if cell.design == design and cell.costs.taken == cell.costs.asked]
    return bool(took) and all(cell.crashes.verdict is Verdict.WHOLE for cell in took)


def _plain(cells: Sequence[Cell]) -> str:
    control = [cell for cell in cells if cell.design == "plain"]
    torn = sum(bool(cell.crashes.torn) for cell in control)
    words = "Each design did the same work on the same simulated devices, and was crashed in every state."
    if control:
        words += f" The control, a plain buffered write, tore in {torn} of {plural(len(control), 'combination')}."
    return words


def _map_row(cells: Sequence[Cell], workload: str, designs: Sequence[str]) -> MapRow:
    row = MapRow(workload)
    for design in designs:
        some = [cell for cell in cells if cell.workload == workload and cell.design == design]
        row.designs.append([_square(cell, at * _SQUARE) for at, cell in enumerate(some)])
    return row


def _square(cell: Cell, x: float) -> Square:
    colour, pattern, words = LOOKS[cell.crashes.verdict]
    title = f"{cell.workload}, {cell.design}, {cell.device}: {words} ({verdict(cell.crashes)})"
    return Square(x, colour, pattern, title)


def _answer(answer: Answer) -> AnswerPicture:
    most = max((value for _, value, _ in answer.bars), default=0.0) or 1.0
    bars = [(name, value / most, words) for name, value, words in answer.bars]
    return AnswerPicture(answer, bars, len(answer.rows) > _ROWS_OPEN, answer.basis.startswith("simulation alone"))


def _torn(cells: Sequence[Cell]) -> list[TornPicture]:
    """One story for each design and verdict; those that should not be come first."""
    found: dict[tuple[str, Verdict], TornPicture] = {}
    for cell in sorted(cells, key=lambda cell: not cell.broken):
        key = (cell.design, cell.crashes.verdict)
        if cell.crashes.story and key not in found:
            title = f"{cell.design} on {cell.device}: {cell.workload}"
            words = LOOKS[cell.crashes.verdict][2]
            found[key] = TornPicture(title, words, cell.crashes.headline, cell.crashes.story)
    return list(found.values())


def _table(some: Sequence[Group]) -> list[tuple[Group, str]]:
    return [(group, LOOKS[group.crashes.verdict][0]) for group in some]


# What the designs do, step by step

_KINDS: Final = {
    "pwrite": "told", "flush": "told", "close": "told", "write": "change", "mkwrite": "change", "writeback": "other",
    "end_writeback": "name", "bio": "write", "checkpoint": "write", "fsync": "sync", "fdatasync": "sync",
}  # fmt: skip


def _steps(cells: Sequence[Cell], designs: Sequence[str]) -> list[StepsPicture]:
    """The workload with a mix, or else the first, on a device that takes its writes."""
    names = [cell.workload for cell in cells]
    workload = next((name for name in names if name == "mixed-overlapping"), names[0])
    took = [cell.device for cell in cells if cell.workload == workload and cell.costs.taken]
    device = next((name for name in took if DEVICES[name].limits.unit_min), cells[0].device)
    found = []
    for design in designs:
        lines = trace(WORKLOADS[workload], design, DEVICES[device])
        picture = timelines.lay_out([_event(line) for line in lines])
        found.append(StepsPicture(f"{design}: {workload} on {device}", picture, [_words(line) for line in lines]))
    return found


def _event(line: Line) -> Event:
    lane = f"folio {line.folio}" if line.folio >= 0 else "program" if line.is_call else line.target or "home"
    label = "A" if "atomic" in line.flags.lower() and not line.is_call else ""
    return Event(lane, _KINDS[line.event], line.number * 2, line.number * 2 + 1, _words(line), line.number, label)


def _words(line: Line) -> str:
    where = f"offset {line.offset:,}, {line.length:,} bytes" if line.length else ""
    index = f"folio {line.folio}" if line.folio >= 0 else line.target
    return ", ".join(part for part in (f"{line.number}: {line.event}", index, where, line.flags, line.blocks) if part)
