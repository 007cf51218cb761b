"""What became of one sequence: explored to its end or bad, in words that let anybody do it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from tests.workloads.target import Generated
from untorn.explore.explorer import Budget, explore
from untorn.explore.result import Result
from untorn.explore.search.engine import problem_of

MODULE: Final = "python -m tests.workloads"
_SECONDS_MAX: Final = 600.0


@dataclass(frozen=True)
class Outcome:
    """One line of the results."""

    name: str
    bad: bool
    verdict: str
    recoveries: int
    seconds: float
    command: str = ""
    """Does it again and tells its story."""


def command(generated: Generated) -> str:
    """What to type to explore this sequence alone."""
    operations = shlex.quote(",".join(generated.operations))
    options = f"--device {generated.device} --start {generated.start} --ending {generated.ending}"
    return f"{MODULE} --only {operations} {options}"


def failed(generated: Generated, error: Exception) -> Outcome:
    """The outcome of a sequence that failed by itself, before any power did."""
    problem = problem_of(error, "record")
    verdict = f"BAD without a crash: {problem.kind}: {problem.message} ({problem.place})"
    return Outcome(generated.name, True, verdict, 0, 0.0, command(generated))


def explored(generated: Generated, *, depth: int = 1) -> Outcome:
    """Records the sequence and explores it. It is bad, too, if it is not certified."""
    try:
        result = explore_all(generated, depth=depth)
    except Exception as error:
        return failed(generated, error)
    if good(result):
        return Outcome(generated.name, False, result.verdict(), result.recoveries, result.seconds)
    return Outcome(generated.name, True, _headline(result), result.recoveries, result.seconds, command(generated))


def explore_all(generated: Generated, *, depth: int = 1) -> Result:
    """Of the exploration; if all is well, of that in which nothing recovers after the end, if that is bad."""
    result = explore(generated, recovery_crashes=depth, recording=generated.recording(), budget=Budget(_SECONDS_MAX))
    needs_no_recovery = generated.needs_no_recovery() if good(result) else None
    if needs_no_recovery is not None:
        target, recording = needs_no_recovery
        plain = explore(target, recovery_crashes=0, recording=recording)
        result.recoveries += plain.recoveries
        if not good(plain):
            return plain
    return result


def good(result: Result) -> bool:
    """Certified, or a sequence that changes nothing, such as a commit of nothing: there is nothing to explore."""
    return result.certified or (not result.bad and "changed nothing" in str(result.unmeasured))


def _headline(result: Result) -> str:
    if not result.counterexamples:
        return result.verdict()
    problem = result.counterexamples[0].problem
    return f"{result.verdict()}: {problem.kind}: {problem.message}"
