"""The report of the explorer: verdicts, and for each target its trace, its stories and what was covered."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from untorn.explore.result import Counterexample, Deviation, Fate, Result, Survival
from untorn.report import sector_strip as strips
from untorn.report import timeline as timelines
from untorn.report.page import render
from untorn.report.sector_strip import Strip
from untorn.report.text import plural, power_of_two, size_of
from untorn.report.timeline import Cut, Event, Timeline

SHOWN_MAX: Final = 3000
"""Operations in the picture of a trace."""
_EXCERPT: Final = 24
"""Operations in the picture of a story: those before and after the ones that it is about."""

_KINDS: Final = {
    "pwritev": "write", "truncate": "change", "allocate": "change", "setxattr": "change", "removexattr": "change",
    "set_owner": "change", "open": "name", "create": "name", "mkdir": "name", "symlink": "name", "link": "name",
    "rename": "name", "unlink": "name", "rmdir": "name", "fsync": "sync", "fdatasync": "sync",
    "sync_directory": "sync", "acknowledge": "told",
}  # fmt: skip
_TOLD: Final = "told to the world"

_FATES: Final = {
    Fate.SAME: "durable and newest",
    Fate.NEW: "newest, though nothing promised it",
    Fate.OLD: "old: newer content is lost",
    Fate.ZEROS: "zeros: the data did not come",
    Fate.GONE: "cut off: the file ends before it",
    Fate.OTHER: "neither old nor newest",
    Fate.GARBAGE: "garbage",
}
_RANK: Final = [Fate.SAME, Fate.NEW, Fate.OLD, Fate.ZEROS, Fate.GONE, Fate.OTHER, Fate.GARBAGE]
_DEVIATED: Final = {
    "lost": "lost", "early": "came early", "torn": "torn", "garbage": "garbage", "old": "old", "new": "new",
}  # fmt: skip


@dataclass
class FilePicture:
    """One file after a crash."""

    path: str
    words: str
    strip: Strip


@dataclass
class StoryPicture:
    """One way to a bad state."""

    number: int
    story: Counterexample
    lines: list[tuple[int, str]]
    """(indent, text)"""
    deviations: list[tuple[str, Deviation]]
    timeline: Timeline
    shown: str
    files: list[FilePicture]
    others: int
    """Files in which nothing is lost."""
    legend: dict[Fate, str]
    replay: str


@dataclass
class TargetPicture:
    """One target."""

    anchor: str
    result: Result
    state: str
    """bad, certified or open."""
    headline: str
    plain: str
    """The verdict in plain words."""
    tiles: list[tuple[str, str]]
    bars: list[tuple[str, float, str]]
    """(name, part of the longest, value)"""
    timeline: Timeline
    shown: str
    stories: list[StoryPicture] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


def page(results: Sequence[Result]) -> str:
    """The report as one HTML file."""
    targets = [_target(result, f"target-{number}") for number, result in enumerate(results, 1)]
    states = [target.state for target in targets]
    worst = next((state for state in ("bad", "open") if state in states), "certified")
    return render(
        "explored.html", targets=targets, state=worst, counts={state: states.count(state) for state in set(states)},
        title="untorn explore: " + ", ".join(result.target for result in results[:3]),
    )  # fmt: skip


def _target(result: Result, anchor: str) -> TargetPicture:
    state = "bad" if result.bad else "certified" if result.certified else "open"
    prefix = _prefix(result.operations)
    stories = [_story(story, number, result, prefix) for number, story in enumerate(result.counterexamples, 1)]
    rows = [row for row in result.operations if _changes(row)]
    shown = _around(rows, [story.after for story in result.counterexamples], SHOWN_MAX)
    cuts = [
        Cut(story.event, f"crash {number}", f"story {number}: {story.kind}")
        for number, story in enumerate(result.counterexamples, 1)
    ]
    tags = _tags([one for story in result.counterexamples for one in story.deviations])
    return TargetPicture(
        anchor, result, state, _headline(result, state), _plain(result, state), _tiles(result), _bars(result),
        timelines.lay_out([_event(row, prefix, tags) for row in shown], cuts), _shown(len(shown), len(rows), result),
        stories, rows,
    )  # fmt: skip


# Words


def _headline(result: Result, state: str) -> str:
    if state == "bad":
        kinds = ", ".join(dict.fromkeys(story.kind for story in result.counterexamples))
        return f"Bad state found: {kinds}" if kinds else "Bad state found"
    if state == "certified":
        return "Certified: it held in every crash"
    return "Nothing bad found, not certified"


def _plain(result: Result, state: str) -> str:
    ran = plural(result.recoveries, "recovery", "recoveries")
    if state == "bad":
        return (
            f"Of {ran} after a crash, {result.bad:,} ended in a state that the check refuses. The shortest way to each "
            "kind of it is told below."
        )
    if state == "certified":
        return (
            "The workload was cut off at every moment, in every state that the disk may then have: "
            f"{_states(result)} states. {ran} stood for all of them, and a second, separate count of them agrees."
        )
    why = f" Why it is not certified: {result.refusal}." if result.refusal else ""
    return f"No crash that was tried led to a bad state, in {ran} ({result.coverage.value}).{why}"


def _states(result: Result) -> str:
    if result.states < 10**6:
        return f"{result.states:,}"
    return f"about {power_of_two(result.log2_states)}"


def _tiles(result: Result) -> list[tuple[str, str]]:
    names = [row["name"] for row in result.operations]
    syncs = sum(_KINDS.get(name) == "sync" for name in names)
    tiles = [
        ("states", _states(result).removeprefix("about ")) if result.states else ("bad", f"{result.bad:,}"),
        ("recoveries", f"{result.recoveries:,}"),
        ("of these inside recovery", f"{result.nested:,}"),
        ("writes", f"{names.count('pwritev'):,}"),
        ("syncs", f"{syncs:,}"),
        ("profile", result.profile),
        ("seconds", f"{result.seconds:.1f}"),
    ]
    return tiles


def _bars(result: Result) -> list[tuple[str, float, str]]:
    """States and recoveries, both as powers of two."""
    if not result.states or not result.recoveries:
        return []
    powers = [("states that the crash may leave", result.log2_states), ("recoveries run", math.log2(result.recoveries))]
    longest = max(1.0, *(power for _, power in powers))
    return [(name, power / longest, power_of_two(power)) for name, power in powers]


def _shown(shown: int, total: int, result: Result) -> str:
    looks = len(result.operations) - total
    words = f"{shown:,} of {plural(total, 'operation')}" if shown < total else f"All {plural(total, 'operation')}"
    return f"{words} that change or sync something" + (f"; {looks:,} that only look are left out." if looks else ".")


# Pictures


def _story(story: Counterexample, number: int, result: Result, prefix: str) -> StoryPicture:
    rows = [row for row in result.operations if _changes(row)]
    about = [one.operation for one in story.deviations] if _is_flat(story) else []
    shown = _around([row for row in rows if row["index"] <= story.after + 6], [*about, story.after], _EXCERPT)
    tags = _tags(story.deviations) if _is_flat(story) else {}
    line = timelines.lay_out(
        [_event(row, prefix, tags, last=story.event) for row in shown],
        [Cut(story.event, "crash", story.text.partition("\n")[0])],
    )
    texts = [(len(text) - len(text.lstrip()), text.strip()) for text in story.text.splitlines()]
    lossy = [one for one in story.files if any(fate not in (Fate.SAME, Fate.NEW) for fate, _ in one.sectors)]
    gone = [one for one in story.files if one.size is None and (one.newest is not None or one.oldest is not None)]
    files = [*lossy, *gone] or story.files
    return StoryPicture(
        number, story, texts, [(_DEVIATED.get(one.fate, one.fate), one) for one in story.deviations], line,
        _shown_around(shown, rows), [_file(one) for one in files], len(story.files) - len(files),
        {fate: words for fate, words in _FATES.items() if any(fate in dict(one.sectors) for one in files)},
        json.dumps(story.replay, indent=1) if story.replay.get("target") else "",
    )  # fmt: skip


def _is_flat(story: Counterexample) -> bool:
    """Whether only the workload was cut off, so that deviations are operations of its trace."""
    return len(story.replay.get("events", [0])) == 1


def _shown_around(shown: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> str:
    if not shown or len(shown) == len(rows):
        return ""
    return f"{plural(len(shown), 'operation')} of {len(rows):,}, around what the story is about."


def _file(survival: Survival) -> FilePicture:
    strip = strips.lay_out(
        [(fate.value, count) for fate, count in survival.sectors],
        lambda kind, first, last: f"{_sectors(first, last)}: {_FATES[Fate(kind)]}",
        lambda kind: _RANK.index(Fate(kind)),
    )
    return FilePicture(survival.path, _sizes(survival), strip)


def _sectors(first: int, last: int) -> str:
    return f"sector {first}" if first == last else f"sectors {first} to {last}"


def _sizes(survival: Survival) -> str:
    size, newest, oldest = survival.size, survival.newest, survival.oldest
    if size is None:
        was = "the program had made it" if oldest is None else "it was there, durable"
        return f"not there: {was}" if newest is not None or oldest is not None else "not there"
    words = [size_of(size)]
    if newest != size:
        words.append("the program had removed it" if newest is None else f"the program had made it {size_of(newest)}")
    if oldest != size:
        words.append("nothing had promised its name" if oldest is None else f"durable were {size_of(oldest)}")
    return ", ".join(words)


def _around(rows: Sequence[dict[str, Any]], about: Sequence[int], limit: int) -> list[dict[str, Any]]:
    """At most ``limit`` rows: those that it is about, and their neighbours before and after."""
    if len(rows) <= limit:
        return list(rows)
    wanted = {index for index in about if index >= 0}
    at = [place for place, row in enumerate(rows) if row["index"] in wanted] or [0]
    kept: set[int] = set()
    reach = 0
    while len(kept) < limit and reach <= len(rows):
        for place in at:
            for near in (place - reach, place + reach):
                if 0 <= near < len(rows) and len(kept) < limit:
                    kept.add(near)
        reach += 1
    return [rows[place] for place in sorted(kept)]


def _changes(row: dict[str, Any]) -> bool:
    """Whether an operation changes or syncs something, or tells the world."""
    return row["name"] in _KINDS and row.get("created", True)


def _tags(deviations: Sequence[Deviation]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for one in deviations:
        found[one.operation] = tuple(dict.fromkeys((*found.get(one.operation, ()), one.fate)))
    return found


def _prefix(operations: Sequence[dict[str, Any]]) -> str:
    """The directory below which everything is; lanes leave it out."""
    folders = [
        row["path"] if row["name"] in ("sync_directory", "mkdir") else os.path.dirname(row["path"])
        for row in operations
        if row["path"].startswith("/")
    ]
    return os.path.commonpath(folders) if folders else ""


def _event(row: dict[str, Any], prefix: str, tags: dict[int, tuple[str, ...]], last: int | None = None) -> Event:
    kind = _KINDS[row["name"]]
    title = f"{row['index']}: {row['text']}"
    became = tags.get(row["index"], ()) + (("failed",) if "error" in row else ())
    if became:
        title += f"\n{', '.join(_DEVIATED.get(tag, tag) for tag in became)}"
    if row["site"]:
        title += f"\n{row['site']}"
    label = size_of(row["length"]) if "length" in row else ""
    target = _short(row["target"], prefix) if "target" in row else None
    lane = _TOLD if kind == "told" else _short(row["path"], prefix)
    faint = last is not None and row["issued"] > last
    return Event(lane, kind, row["issued"], row["completed"], title, row["index"], label, target, became, faint)


def _short(path: str, prefix: str) -> str:
    if path == prefix:
        return "the directory"
    return (path if prefix == "/" else path.removeprefix(prefix + "/")) or "?"
