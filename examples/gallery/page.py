"""The gallery as a page of Markdown, from real runs."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace

from examples.gallery.entries import ENTRIES
from examples.gallery.entry import Entry, Program, version
from examples.gallery.refusals import REFUSALS
from untorn.explore.explorer import explore
from untorn.explore.result import Result

_TOP = """\
# The gallery

Unmodified packages, each with a known defect, run by the explorer. `make gallery` makes this page anew, in a checkout
of untorn; there `untorn explore examples/gallery/programs/zipfile_append.py` shows one of them.

A program is a file in `examples/gallery/programs`: plain Python that knows nothing of the explorer but
`ack` and `acknowledged`. Its check asks for what the program may believe: the old content or the new one, whole, and
whatever was acknowledged. Behind each stand programs that do the same and come out clean under the same check, with
the missing sync added or done another way: so it is not the check that finds what is not there.

"Strict" is all that POSIX allows; "linux" is what ext4, XFS and btrfs do by default. A search ends with the first
bad state, which is then shrunk; a deviation is one operation that was lost, torn or early. No deviation means that
the crash alone is enough.
"""

_REFUSED = """\
## What cannot be explored

The explorer sees what goes through Python's `open`, `os` and `io`. It refuses the rest, and this is what it says:
"""


def page() -> str:
    """The whole page; takes about a minute."""
    return "\n".join([_TOP, *_found(), *_clean(), _REFUSED, *_refused()])


def _found() -> Iterator[str]:
    yield "## What is found\n"
    yield "| name | package | strict | linux | recoveries | source |"
    yield "|---|---|---|---|---|---|"
    stories: list[str] = []
    for entry in ENTRIES:
        missing = entry.program.missing()
        if missing:
            yield f"| {entry.name} | {entry.package} | {_not_run(missing)} | | | |"
            continue
        strict = explore(entry.program)
        linux = explore(replace(entry.program, machine={**entry.program.machine, "profile": "linux"}))
        cells = [entry.name, _package(entry), _told(strict), _told(linux), str(strict.recoveries), entry.source]
        yield f"| {' | '.join(cells)} |"
        stories += _story(entry, strict)
    yield ""
    yield from stories


def _package(entry: Entry) -> str:
    needs = entry.program.needs
    return f"{entry.package}, {f'{needs[0]} {version(needs[0])}' if needs else f'Python {platform.python_version()}'}"


def _told(result: Result) -> str:
    if not result.counterexamples:
        return "not found"
    story = result.counterexamples[0]
    count = len(story.deviations)
    return f"{story.kind}, {count} deviation{'' if count == 1 else 's'}"


def _story(entry: Entry, result: Result) -> Iterator[str]:
    yield f"### {entry.name}\n"
    yield f"{entry.defect}\n"
    for story in result.counterexamples[:1]:
        yield f"```\n{story.text}\n```\n"
    if entry.safe:
        names = ", ".join(program.name for program in entry.safe)
        yield f"Clean: {names}.{f' {entry.note}' if entry.note else ''}\n"
    else:
        yield f"{entry.note}\n"


def _clean() -> Iterator[str]:
    yield "## What is clean\n"
    yield "| name | beside | what it is | strict |"
    yield "|---|---|---|---|"
    beside: dict[str, list[str]] = {}
    safe: dict[str, Program] = {}
    for entry in ENTRIES:
        for program in entry.safe:
            safe[program.name] = program
            beside.setdefault(program.name, []).append(entry.name)
    for program in safe.values():
        names = ", ".join(beside[program.name])
        if program.missing():
            yield f"| {program.name} | {names} | | {_not_run(program.missing())} |"
        else:
            yield f"| {program.name} | {names} | {program.summary()} | {explore(program).verdict()} |"
    yield ""


def _refused() -> Iterator[str]:
    yield "| what | what is said | what can be explored |"
    yield "|---|---|---|"
    for one in REFUSALS:
        missing = one.missing()
        said = _not_run(missing) if missing else one.words() or "nothing: it was not refused"
        yield f"| {one.name} | {' '.join(said.split()).replace('|', ' ')} | {one.instead} |"
    yield ""
    yield (
        "Packages whose code in C opens its own files, such as lmdb, plyvel and duckdb, are as sqlite3 and h5py here;\n"
        "they were not run. The explorer runs one process with its threads one after another: races between\n"
        "processes are not its matter."
    )
    yield ""


def _not_run(missing: list[str]) -> str:
    return f"not run: {' and '.join(missing)} is not installed"
