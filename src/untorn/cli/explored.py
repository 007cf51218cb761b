"""What the explorer found, for people and as JSON."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from untorn.cli.output import WIDTH, plural, printable, table

if TYPE_CHECKING:
    from untorn.explore.result import Counterexample, Result


def lines(result: Result) -> list[str]:
    """The verdict first, then what it holds for, then the shortest way to each kind of bad state."""
    found = [printable(f"{result.target}: {result.verdict()}")]
    for at, text in enumerate(result.scope):
        found += _field("scope" if at == 0 else "", text)
    found += _field("work", work(result))
    if result.interrupted:
        found += _field("note", "interrupted: what was not yet tried is not known to be fine")
    for at, story in enumerate(result.counterexamples, 1):
        found += ["", *_story(story, f"bad state {at} of {len(result.counterexamples)}, {story.kind}")]
    if result.counterexamples:
        found.append("")
    return found


def work(result: Result) -> str:
    """What was done, in figures."""
    nested = f", {result.nested:,} of them after a crash inside recovery" if result.nested else ""
    rate = f" ({result.recoveries / result.seconds:,.0f}/s)" if result.seconds else ""
    return (
        f"{plural(len(result.operations), 'operation')}; {plural(result.recoveries, 'recovery', 'recoveries')}"
        f"{nested}; {result.profile} profile; {result.seconds:.1f} s{rate}"
    )


def _field(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        printable(text), WIDTH, initial_indent=f"  {name:<7}", subsequent_indent=" " * 11, break_on_hyphens=False
    )


def _story(story: Counterexample, title: str) -> list[str]:
    """A story is not wrapped: its lines name files and lines that somebody will copy."""
    problem = story.problem
    found = [f"  {printable(title)}"]
    found += [f"    {printable(line)}" for line in story.text.splitlines()]
    if problem.place:
        found.append(f"    raised at {printable(problem.place)}")
    return found


def summary(results: Sequence[Result]) -> list[str]:
    """One row for each of several targets, and a last line that counts them."""
    rows = [("target", "recoveries", "states", "seconds", "verdict")]
    rows += [
        (
            printable(result.target), f"{result.recoveries:,}",
            f"2^{result.log2_states:.0f}" if result.states else "", f"{result.seconds:.1f}", short(result),
        )
        for result in results
    ]  # fmt: skip
    bad = sum(bool(result.bad) for result in results)
    certified = sum(result.certified and not result.bad for result in results)
    unmeasured = sum(bool(result.unmeasured and not result.bad) for result in results)
    rest = len(results) - bad - certified - unmeasured
    counts = [f"{certified} certified", f"{bad} BAD"]
    counts += [f"{count} {word}" for count, word in ((unmeasured, "not measured"), (rest, "neither")) if count]
    return ["", *table(rows, numbers=(1, 2, 3)), "", f"{plural(len(results), 'target')}: {', '.join(counts)}"]


def short(result: Result) -> str:
    """The verdict in a few words."""
    if result.bad:
        return "BAD: " + ", ".join(dict.fromkeys(story.kind for story in result.counterexamples))
    if result.unmeasured:
        return "not measured"
    if result.certified:
        return "certified"
    return f"nothing bad found, not certified ({result.coverage.value})"


_KEYS: Final = {
    "coverage": "rung", "coverages": "rungs", "counterexamples": "stories", "text": "words", "replay": "choices"
}  # fmt: skip
"""By field: its name in the JSON of schema 1, where that is another."""


def fields(result: Result) -> dict[str, Any]:
    """Everything that is known, for JSON."""
    # The number of states may have more digits than Python converts by default.
    sys.set_int_max_str_digits(0)
    found = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    found["counterexamples"] = [_story_fields(story) for story in result.counterexamples]
    found = {_KEYS.get(name, name): value for name, value in found.items()}
    return {**found, "log2_states": result.log2_states, "verdict": result.verdict()}


def _story_fields(story: Counterexample) -> dict[str, Any]:
    found = {_KEYS.get(name, name): value for name, value in dataclasses.asdict(story).items()}
    return {**found, "problem": story.problem._asdict()}
