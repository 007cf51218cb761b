"""The table of all planted defects and what catches each: ``python -m tests.defects.table`` prints it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.defects.catalogue import DEFECTS, Defect, with_defect
from untorn.errors import UntornWarning
from untorn.explore.explorer import Budget, explore
from untorn.explore.result import Result
from untorn.explore.selftest.targets import TARGETS

COMMAND = "python -m tests.defects.table > docs/design/mutants.md"


class Row(NamedTuple):
    """What became of one defect."""

    name: str
    defect: Defect
    recoveries: int
    """Until it was caught."""
    story: str
    """The first line of the story of the state that it left; empty if no exploration was to catch it."""


def caught(name: str) -> Result:
    """Explores a defect's target with the defect planted, until the first bad state; its shortest story is told."""
    defect = DEFECTS[name]
    target = next(target for target in TARGETS if target.name == defect.target)
    with with_defect(defect), warnings.catch_warnings():
        warnings.simplefilter("ignore", UntornWarning)
        return explore(target, recovery_crashes=0, budget=Budget(recoveries=5000))


def table(names: Iterable[str] = DEFECTS) -> Iterator[Row]:
    """Explores each defect in turn."""
    for name in names:
        defect = DEFECTS[name]
        if not defect.target:
            yield Row(name, defect, 0, "")
            continue
        result = caught(name)
        yield Row(name, defect, result.recoveries, _headline(result))


def _headline(result: Result) -> str:
    if not result.counterexamples:
        return "NOT CAUGHT"
    problem = result.counterexamples[0].problem
    return f"{problem.kind}: {problem.message}"


def render(rows: Iterable[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "# Planted defects and what catches them",
        "",
        f"Made by `{COMMAND}`; do not edit.",
        "",
        "Each row leaves out or alters one line of defence. The explorer records the target with the defect in place",
        "and recovers every crash of it until one comes out bad; *recoveries* is how many that took. Where no crash",
        "can show the difference, the row says why, and which test does.",
        "",
        "| defect | the line | caught by | recoveries | what then is wrong |",
        "|---|---|---|---:|---|",
    ]
    for row in rows:
        by = f"exploring `{row.defect.target}`" if row.defect.target else row.defect.caught_by_test
        count = str(row.recoveries) if row.defect.target else ""
        cells = (row.name, f"`{row.defect.line}`", by, count, _short(row.story))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _short(text: str) -> str:
    """The beginning of a message, as far as a table has room."""
    text = " ".join(text.split())
    return text if len(text) <= 120 else text[:117] + "..."


if __name__ == "__main__":
    print(render(table()), end="")
