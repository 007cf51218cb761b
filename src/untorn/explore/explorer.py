"""Explores one target: record, search, cut recovery off too, certify; shrink what is bad.

Within its budget a search is exhaustive and ends with a certificate. If the budget ends first, the
fallbacks use what is left of it, and the result says which coverage was reached.
"""

from __future__ import annotations

import pickle
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from untorn.explore import time_limit
from untorn.explore.certificate.checker import alters, check
from untorn.explore.certificate.counting import RefusedError
from untorn.explore.counterexample.explain import explain, summary
from untorn.explore.counterexample.replay import pack
from untorn.explore.counterexample.shrink import Shrinker, Shrunk, minimize
from untorn.explore.interpose import bypass_watch, many_runs
from untorn.explore.interpose.errors import NotMeasuredError
from untorn.explore.lazy.layers import rules
from untorn.explore.result import Counterexample, Coverage, Result
from untorn.explore.search.engine import (
    NondeterminismError,
    Recording,
    recorded,
    recording_of,
    search_of,
    without_inner_crash,
)
from untorn.explore.search.fallbacks import coverages, is_complete
from untorn.explore.search.forked import Nursery
from untorn.explore.search.pinned_state import Baseline, PinnedState, show, state_of
from untorn.explore.search.tasks import (
    Batch,
    Handle,
    Left,
    Origin,
    Work,
    again,
    explore_some,
    explore_there,
    find,
    inherited,
)
from untorn.explore.search.workers import ForkedWorkers, forked_workers
from untorn.explore.search_record import ChoicePath, Execution, Problem, SearchRecord
from untorn.explore.targets.protocol import Target

SLICE_SECONDS: Final = 0.3
"""How long one task runs before it hands back what is left."""
_SEARCH_SHARE: Final = 0.75
_COUNTEREXAMPLES: Final = 5
_STEPS_RECOVERIES: Final = 2000
_AGAIN: Final = 8
"""How many executions that found nothing bad are done again."""
_WATCH_SECONDS: Final = 1.0
"""How often workers are looked after."""
_COUNTEREXAMPLE_SECONDS: Final = 5.0
"""What a counterexample may take when the budget is used up."""


@dataclass(frozen=True)
class Budget:
    """When to stop. The search keeps three quarters of the seconds, the fallbacks share what is left."""

    seconds: float | None = None
    """Of time for all of it; None for no limit."""
    recoveries: int | None = None
    """Runs of recover and check; None for no limit."""

    def spent(self, seconds: float, recoveries: int, share: float = 1.0) -> bool:
        return (self.seconds is not None and seconds >= self.seconds * share) or (
            self.recoveries is not None and recoveries >= self.recoveries * share
        )


@dataclass
class Progress:
    """What is known while the search runs."""

    target: str
    coverage: Coverage
    recoveries: int = 0
    waiting: int = 0
    """Runs that are known to be left; each may lead to more."""
    bad: int = 0
    seconds: float = 0.0
    budget: Budget = field(default_factory=Budget)


Report = Callable[[Progress], None]


def explore(
    target: Target, *, recovery_crashes: int = 1, budget: Budget | None = None, executor: Executor | None = None,
    workers: int = 1, jobs: int = 0, keep_going: bool = False, report: Report | None = None,
    recording: Recording | None = None, crash: str = "power", seed: int = 0,
) -> Result:  # fmt: skip
    """Records the target's workload and explores every crash of it; see :class:`Result`.

    ``seed``: of the samples that are taken when the budget ends the search.
    ``recovery_crashes``: how many crashes of recovery follow the first crash, one within the other.
    ``keep_going``: go on after the first bad state. ``jobs``: processes that search, forked when the workload has been
    recorded; with 0 all runs here.
    ``executor``: any of concurrent.futures instead, with so many ``workers``.
    KeyboardInterrupt ends the search and gives what was found by then. UnseenAccessError if the target does what the
    explorer cannot see.
    """
    started = time.monotonic()
    try:
        recording = recording or recorded(target)
    except NotMeasuredError as error:
        return unmeasured(target, error)
    result = Result(target.name, recording.options.profile, Coverage.EXHAUSTIVE)
    result.operations = summary(recording.trace.operations)
    if not any(alters(operation) and operation.error is None for operation in recording.trace.operations):
        result.unmeasured = "the workload changed nothing in the explored directory, so no crash could change anything"
        return result
    progress = Progress(target.name, Coverage.EXHAUSTIVE, budget=budget or Budget())
    token = secrets.token_hex(8)
    work = Work(token, target, recording, recovery_crashes, keep_going, seed, bypass_watch.root(), time_limit.each())
    exploration = _Exploration(work, result, progress, started, report)
    exploration.forks = executor is None
    inherited[token] = work, exploration.outer
    try:
        with Nursery() as nursery, _executor(executor, jobs) as found:
            exploration.explore(found, workers if executor is not None else jobs, nursery, crash)
    finally:
        del inherited[token]
    result.seconds = time.monotonic() - started
    return result


def unmeasured(target: Target, error: NotMeasuredError) -> Result:
    """The result of a target whose workload was not recorded."""
    return Result(
        target.name, getattr(target, "options", {}).get("profile", ""), Coverage.SAMPLED, unmeasured=str(error)
    )


@contextmanager
def _executor(executor: Executor | None, jobs: int) -> Iterator[Executor | None]:
    if executor is not None or not jobs:
        yield executor
        return
    with forked_workers(jobs) as found:
        yield found


class _Exploration:
    """One call of ``explore``."""

    def __init__(self, work: Work, result: Result, progress: Progress, started: float, report: Report | None) -> None:
        self.work = work
        self.outer = search_of(work.target, work.recording)
        self.result = result
        self.progress = progress
        self.started = started
        self.report = report
        self.done = SearchRecord(self.outer.shared.layers[0])
        self.bad: list[tuple[Origin, Execution]] = []
        self.waiting: list[ChoicePath] = [()]
        self.forks = True
        """Whether workers inherit the search."""
        self.unended = ""
        """What the budget ended in mid-run."""

    def explore(self, executor: Executor | None, workers: int, nursery: Nursery, crash: str) -> None:
        """Searches, confirms, certifies, tells."""
        result = self.result
        try:
            complete = self.search(executor, workers)
            self.confirm(nursery)
            if complete:
                self.certify()
            elif not self.bad or self.work.keep_going:
                self.run_fallbacks()
        except KeyboardInterrupt:
            result.interrupted = True
            result.refusal = "interrupted"
        except NondeterminismError as error:
            result.unmeasured = f"recover or check does not do the same each time: {error}"
        except NotMeasuredError as error:
            result.unmeasured = str(error)
        if result.unmeasured:
            result.certified = False
        try:
            self.explain(crash)
        except KeyboardInterrupt:  # what is bad stays bad without its explanation
            result.interrupted = True

    def confirm(self, nursery: Nursery) -> None:
        """Does a sample of the executions again, each in a new process; NotMeasuredError if one differs.

        So a check that judges once, or remembers what it saw, does not pass for one that judges every state.
        """
        for origin, execution in self._sample():
            path, problem = execution.outcome.choices, execution.outcome.problem
            reply = nursery.call(again, self.work.token, origin, path, seconds=self.work.each)
            if reply.failure:
                raise NotMeasuredError(f"a run of recover and check was done again in a fresh process: {reply.failure}")
            there_path, there = reply.returned
            if there_path != path or _kind(there) != _kind(problem):
                if problem is not None:
                    self.bad.clear()
                    self.result.bad = 0
                raise NotMeasuredError(
                    f"check {_says(problem)} of a state, and {_says(there)} of the same state in a fresh process"
                    f"{'' if there_path == path else ', where it looks at something else'}: recover or check keeps "
                    "something from one run to the next"
                )

    def _sample(self) -> list[tuple[Origin, Execution]]:
        """Of the bad executions the first, of the others some, as far from one another as may be."""
        good = [execution for execution in self.done.executions if execution.outcome.problem is None]
        step = max(1, -(-len(good) // _AGAIN))
        return [*self.bad[:1], *((Origin(), execution) for execution in good[step - 1 :: step])]

    def spent(self, share: float = 1.0) -> bool:
        """Whether so much of the budget is used up."""
        return self.progress.budget.spent(time.monotonic() - self.started, self.result.recoveries, share)

    def left(self, share: float = 1.0) -> float | None:
        """Seconds of the budget that are left; None if it has no end."""
        seconds = self.progress.budget.seconds
        return None if seconds is None else max(0.0, seconds * share - (time.monotonic() - self.started))

    def left_to_search(self) -> Left:
        """Of the search's share; each of several tasks that run at a time may use all of it."""
        most = self.progress.budget.recoveries
        recoveries = None if most is None else max(1, int(most * _SEARCH_SHARE) - self.result.recoveries)
        return Left(self.left(_SEARCH_SHARE), recoveries)

    def search(self, executor: Executor | None, workers: int) -> bool:
        """Runs until nothing is left to run; False if the budget or a bad state ended it before."""
        if executor is None:
            while self.waiting and not self._over():
                prefixes, self.waiting = self.waiting, []
                self.take(explore_some(self.work, self.outer, prefixes, SLICE_SECONDS, self.left_to_search()))
        else:
            self._search_with(executor, workers)
        return not self.waiting and not (self.bad and not self.work.keep_going)

    def _over(self) -> bool:
        return self.spent(_SEARCH_SHARE) or bool(self.bad and not self.work.keep_going)

    def _search_with(self, executor: Executor, workers: int) -> None:
        handle = Handle(self.work.token, b"" if self.forks else pickle.dumps(self.work))
        running: set[Future[Batch]] = set()
        try:
            while (self.waiting and not self._over()) or running:
                while self.waiting and len(running) < workers + 1 and not self._over():
                    # Those found first lead to most others, so each task gets few of them.
                    share = max(1, len(self.waiting) // (2 * workers))
                    prefixes, self.waiting = self.waiting[:share], self.waiting[share:]
                    left = self.left_to_search()
                    running.add(executor.submit(explore_there, handle, prefixes, SLICE_SECONDS, left))
                done, running = wait(running, _WATCH_SECONDS, FIRST_COMPLETED)
                if isinstance(executor, ForkedWorkers):
                    executor.check()
                for future in done:
                    self.take(future.result())
        finally:
            for future in running:
                future.cancel()

    def take(self, batch: Batch) -> None:
        self.done.executions += batch.executions
        self.done.nested_searches.update(batch.nested_searches)
        self.bad += batch.bad
        self.waiting += batch.waiting
        self.unended = self.unended or batch.unended
        result, progress = self.result, self.progress
        result.recoveries += batch.recoveries
        result.nested += batch.nested
        result.bad = len(self.bad)
        progress.recoveries, progress.waiting, progress.bad = result.recoveries, len(self.waiting), result.bad
        progress.seconds = time.monotonic() - self.started
        if self.report is not None:
            self.report(progress)

    def certify(self) -> None:
        """The checker's word on a search that is complete."""
        result, recording = self.result, self.work.recording
        budget = time_limit.Limit(self.left())
        try:
            with budget:
                found = check(
                    self.done, recording.trace, rules=rules(recording.options), first=recording.first,
                    depth=self.work.depth,
                )  # fmt: skip
        except RefusedError as error:
            result.refusal = str(error)
            return
        except time_limit.OutOfTime as error:
            if error.limit is not budget:
                raise
            result.refusal = "the search is complete, but the budget ended before all of it was checked"
            return
        result.certified = not self.bad
        result.states = found.states + sum(found.nested_states)
        result.scope = list(found.scope)

    def run_fallbacks(self) -> None:
        """The coverages below the exhaustive one, while the budget lasts; each has a share of what is left of it."""
        result, layer = self.result, self.outer.shared.layers[0]
        result.refusal = f"the budget ended the search with {len(self.waiting)} known runs left"
        if self.unended:
            result.refusal += f"; {self.unended}"
        result.coverages.append(f"{Coverage.EXHAUSTIVE.value}: {result.recoveries} recoveries, not complete")
        best: Coverage | None = None
        for (coverage, states), share in zip(coverages(layer, self.work.seed), (0.85, 0.95, 1.0), strict=True):
            before, complete = result.recoveries, True
            for state in states:
                if self.spent(share) or (self.bad and not self.work.keep_going):
                    complete = False
                    break
                if not self._try(state):
                    complete = False
                    break
            complete = complete and (coverage is not Coverage.WRITES or is_complete(layer))
            count = result.recoveries - before
            result.coverages.append(
                f"{coverage.value}: {count} recoveries, {'complete' if complete else 'not complete'}"
            )
            if complete and best is None:
                best = coverage
        result.coverage = best or Coverage.SAMPLED

    def _try(self, state: PinnedState) -> bool:
        """False if the budget ended it."""
        budget = time_limit.Limit(self.left())
        try:
            with budget:
                outcome, _ = show(self.outer, state)
        except time_limit.OutOfTime as error:
            if error.limit is not budget:
                raise
            return False
        batch = Batch(recoveries=1)
        if outcome.problem is not None:
            batch.bad.append((Origin(), Execution(outcome, [])))
        batch.waiting, self.waiting = self.waiting, []
        self.take(batch)
        return True

    def explain(self, crash: str) -> None:
        """Shrinks one bad state of each kind, and explains it as a counterexample."""
        kinds: set[tuple[str, str, str]] = set()
        # In an order that does not depend on which of several processes was faster.
        for origin, execution in sorted(self.bad, key=lambda found: (found[0].crashes, found[1].outcome.choices)):
            problem = execution.outcome.problem
            assert problem is not None
            kind = (problem.kind, problem.stage, problem.place)
            if kind in kinds or len(kinds) >= _COUNTEREXAMPLES:
                continue
            kinds.add(kind)
            least = self._with_fewer_steps(problem) or self
            counterexample = least.counterexample(*(least.bad[0] if least is not self else (origin, execution)), crash)
            # Shrinking may end at the same one.
            if all(counterexample.text != other.text for other in self.result.counterexamples):
                self.result.counterexamples.append(counterexample)

    def _with_fewer_steps(self, problem: Problem) -> _Exploration | None:
        """The same found bad with the fewest steps of the workload, if it has steps that can be left out."""
        target: Any = self.work.target
        steps = getattr(target, "steps", 0)
        found: dict[tuple[int, ...], _Exploration] = {}

        def bad(enabled: Sequence[int]) -> bool:
            shorter = target.with_steps(enabled)
            try:
                recording = recording_of(shorter.record())
            except KeyboardInterrupt:
                raise
            except BaseException:  # a step needs one that was left out
                return False
            work = self.work._replace(target=shorter, recording=recording, keep_going=False)
            progress = Progress(target.name, Coverage.EXHAUSTIVE, budget=Budget(recoveries=_STEPS_RECOVERIES))
            smaller = _Exploration(work, Result(target.name, "", Coverage.EXHAUSTIVE), progress, self.started, None)
            smaller.search(None, 1)
            bad = smaller.bad and smaller.bad[0][1].outcome.problem
            if not bad or (bad.kind, bad.stage) != (problem.kind, problem.stage):
                return False
            found[tuple(enabled)] = smaller
            return True

        if not steps:
            return None
        return found.get(tuple(minimize(range(steps), bad)))

    def counterexample(self, origin: Origin, execution: Execution, crash: str) -> Counterexample:
        """A bad execution, shrunk and explained; one that needs no crash within recovery is explained without."""
        problem = execution.outcome.problem
        assert problem is not None
        simpler = without_inner_crash(self.outer, problem, _STEPS_RECOVERIES) if origin.crashes else None
        if simpler is not None:
            origin, execution = Origin(), simpler
        search = find(self.outer, origin)
        shrinker = Shrinker(search, execution.outcome)
        shrunk = self._shrunk(shrinker, execution)
        counterexample = explain(shrinker, shrunk, crash=crash)
        counterexample.replay = {**pack(search, origin, shrunk.state), "crash": crash}
        spec = getattr(self.work.target, "spec", None)
        if spec is not None:
            counterexample.replay["target"] = spec
        return counterexample

    def _shrunk(self, shrinker: Shrinker, execution: Execution) -> Shrunk:
        """The state that is explained: as it was found, if making it smaller would take too long."""
        problem = execution.outcome.problem
        assert problem is not None
        left = self.left()
        patience = time_limit.Limit(None if left is None else max(left, _COUNTEREXAMPLE_SECONDS))
        if problem.kind != time_limit.DidNotEndError.__name__:
            try:
                with patience, many_runs():
                    return shrinker.shrink()
            except time_limit.OutOfTime as error:
                if error.limit is not patience:
                    raise
            except NondeterminismError:  # in this process, where check may have seen too much
                pass
        return Shrunk(state_of(shrinker.search, execution.outcome, Baseline.NEWEST), problem, 0)


def _kind(problem: Problem | None) -> tuple[str, str] | None:
    return None if problem is None else (problem.kind, problem.stage)


def _says(problem: Problem | None) -> str:
    return "says nothing bad" if problem is None else f"says {problem.kind} in {problem.stage}"
