"""``untorn explore``: every crash of a workload, recovered and checked; what was found, in words and as a report."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from untorn.cli.explored import fields, lines, summary
from untorn.cli.failures import BAD, ENVIRONMENT, FAULT, FINE, INTERRUPTED, UNMEASURED, USAGE, fault, words_of, worst
from untorn.cli.help import examples, one_of
from untorn.cli.output import aside, emit, printable, progress, quoted, say, tell
from untorn.cli.progress import Watch
from untorn.cli.requirements import JOBS, REPORT, MissingError, check_extra, check_report, check_writable
from untorn.cli.state import JSON
from untorn.errors import UntornError

if TYPE_CHECKING:
    from untorn.explore.explorer import Budget
    from untorn.explore.result import Result
    from untorn.explore.search.engine import Recording
    from untorn.explore.targets.protocol import Target


@dataclass(frozen=True)
class Effort:
    """How much is explored, and with what."""

    recovery_crashes: int
    budget: Budget
    keep_going: bool
    seed: int
    jobs: int
    dask: str | None
    each: float


def _known_targets() -> list[str]:
    """The names of the built-in targets, for a shell; those of the matrix are too many."""
    from untorn.explore.targets.builtin import builtin

    return [target.name for target in builtin("library")]


@click.command(
    short_help="Try every crash of a workload, and prove what holds or show what does not.",
    epilog=examples("untorn explore settings.py", "untorn explore --report crash.html settings.py"),
)
@click.argument("names", nargs=-1, metavar="[TARGET]...", shell_complete=one_of(_known_targets, or_file=True))
@click.option("--list", "listing", is_flag=True, help="Name the built-in targets, and do nothing else.")
@click.option(
    "--all",
    "group",
    type=click.Choice(["library", "matrix"]),
    help="Explore every built-in target of a group: what untorn itself does, or the same on every device.",
)
@click.option(
    "--profile", type=click.Choice(["strict", "linux"]), default="strict", show_default=True,
    help="Take a file system that may leave all that POSIX allows (strict), or what ext4, XFS or btrfs may (linux).",
)  # fmt: skip
@click.option(
    "--sector", type=click.Choice(["512", "4096"]), default="512", show_default=True,
    help="Take a device that writes sectors of so many bytes whole.",
)  # fmt: skip
@click.option(
    "--no-powersafe-overwrite",
    is_flag=True,
    help="Take a device on which a sector that is being written when the power fails may hold garbage afterwards.",
)
@click.option(
    "--recovery-crashes", type=click.IntRange(0, 4), default=1, show_default=True, metavar="N",
    help="Crash recovery itself, too, and the recovery after that, up to N times; 0 to 4.",
)  # fmt: skip
@JOBS
@click.option("--dask", metavar="ADDRESS", help="Search on the machines of this dask scheduler instead.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Stop the search of a target after so many seconds.",
)
@click.option(
    "--each", type=click.FloatRange(0, min_open=True), default=10, show_default=True, metavar="SECONDS",
    help="Take it for a bad state if one run of recover or check takes longer than this.",
)  # fmt: skip
@click.option(
    "--recoveries", type=click.IntRange(1), metavar="N", help="Stop the search of a target after so many recoveries."
)
@click.option("--keep-going", is_flag=True, help="Go on after the first bad state of a target; show one of each kind.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32),
    default=0,
    show_default=True,
    metavar="N",
    help="Take other random numbers wherever there is chance.",
)
@JSON
@REPORT
@click.option(
    "--save", type=click.Path(dir_okay=False), metavar="FILE", help="Save the first bad state in a file, for --replay."
)
@click.option(
    "--replay", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="Run the target of a saved bad state again, and show the state; in place of a TARGET.",
)  # fmt: skip
@click.pass_context
def explore(
    ctx: click.Context, /, names: tuple[str, ...], listing: bool, group: str | None, as_json: bool, report: str | None,
    save: str | None, replay: str | None, **asked: Any,
) -> None:  # fmt: skip
    """Try every crash of each TARGET. Its workload is run once on a simulated disk and recorded. Then the power is cut
    after every operation, and recovery and check run on every state that the disk may have then; one run stands for all
    states that it cannot tell apart.

    It ends with a certificate, which a second, separate count of all states confirmed, or with the shortest way to
    each kind of bad state: what did not reach the disk, which line of the program had asked for it, and what came of
    that. If --seconds or --recoveries ends it before, less thorough searches use what is left, nothing is certified,
    and the output says how far it came.

    A TARGET is a Python file, or the dotted name of a module, that defines workload(directory) and check(directory),
    which raises an exception if what it finds is bad; and, if it likes, prepare(directory), which makes what is there
    at the start, and recover(directory). They are plain Python that need not know of untorn; what they do below the
    directory goes to the simulated disk. Or it is the name of a built-in target.
    """
    if listing:
        ctx.exit(_list(as_json))
    if sum((bool(names), group is not None, replay is not None)) != 1:
        raise click.UsageError("name one or more TARGETs, or give --all GROUP or --replay FILE")
    for path in (report, save):
        check_writable(path)
    try:
        if report is not None:
            check_report()
        if replay is not None:
            from untorn.explore.counterexample import replay as replaying

            with aside():
                outcome = Outcome([replaying.run(replay)])
        else:
            outcome = _explore(_chosen(names, group, _machine(asked)), _effort(asked), show=not as_json)
    except (MissingError, BrokenExecutor) as error:
        tell(_missing(error))
        ctx.exit(ENVIRONMENT)
    _hand_over(outcome, as_json=as_json, shown=replay is None, report=report, save=save)
    ctx.exit(outcome.code)


def _machine(asked: dict[str, Any]) -> dict[str, Any]:
    """Options of the simulated machine."""
    return {
        "seed": asked["seed"], "powersafe": not asked["no_powersafe_overwrite"], "sector": int(asked["sector"]),
        "sites": True, "profile": asked["profile"],
    }  # fmt: skip


def _effort(asked: dict[str, Any]) -> Effort:
    from untorn.explore.explorer import Budget

    cores = len(os.sched_getaffinity(0))
    jobs = cores if asked["jobs"] is None else asked["jobs"]
    budget = Budget(asked["seconds"], asked["recoveries"])
    return Effort(
        asked["recovery_crashes"], budget, asked["keep_going"], asked["seed"], jobs, asked["dask"], asked["each"]
    )


def _missing(error: Exception) -> str:
    if isinstance(error, MissingError):
        return printable(str(error))
    return "a worker process died, perhaps for lack of memory: try fewer --jobs, or --jobs 0 to see it in this process"


@dataclass
class Outcome:
    """What came of all targets."""

    results: list[Result]
    failures: list[int] = field(default_factory=list)
    """Exit codes for targets that could not be explored at all."""
    unexplored: list[dict[str, Any]] = field(default_factory=list)
    """For JSON: which they are, and why."""

    def fail(self, target: str, code: int, words: str) -> None:
        """Tells why a target could not be explored; the others are."""
        tell(f"{printable(target)}: {words}")
        self.failures.append(code)
        self.unexplored.append({"target": target, "code": code, "reason": words})

    @property
    def code(self) -> int:
        code = worst([_code(result) for result in self.results] + self.failures)
        interrupted = any(result.interrupted for result in self.results)
        return INTERRUPTED if interrupted and code != BAD else code


def _code(result: Result) -> int:
    if result.bad:
        return BAD
    return UNMEASURED if result.unmeasured else FINE


# Targets


def _list(as_json: bool) -> int:
    from untorn.explore.targets.builtin import GROUPS, builtin

    groups = {group: [target.name for target in builtin(group)] for group in GROUPS}
    if as_json:
        emit("explore", groups=groups)
        return FINE
    for group, names in groups.items():
        if group == "matrix":
            say(f"matrix: the {len(names)} targets of the library on every device")
            continue
        if names:
            say(f"{group}:")
        for name in names:
            say(f"  {name}")
    return FINE


def _chosen(names: Sequence[str], group: str | None, machine: dict[str, Any]) -> list[Target]:
    """The targets that were asked for, on such a machine."""
    from untorn.explore.targets.builtin import builtin

    if group is not None:
        return builtin(group, machine)
    return [_find(name, machine) for name in names]


def _find(name: str, machine: dict[str, Any]) -> Target:
    """A built-in target by its name, or the user's module."""
    from untorn.explore.targets.builtin import find

    try:
        with aside():
            return find(name, machine)
    except (OSError, KeyboardInterrupt):
        raise
    except ModuleNotFoundError as error:
        text = f"{printable(str(error))}; 'untorn explore --list' names what is built in"
        raise click.UsageError(f"{quoted(name)}: {text}") from None
    except BaseException as error:  # SystemExit, too: a module that ends the process when it is imported
        raise click.UsageError(f"{quoted(name)}: {_words(error)}") from None


def _words(error: BaseException) -> str:
    """An exception of the user's code in one line."""
    from untorn.explore.exception_text import message_of

    return printable(f"{type(error).__name__}: {message_of(error)}".removesuffix(": "))


# The search


def _explore(targets: Sequence[Target], effort: Effort, *, show: bool) -> Outcome:
    """Explores one target after the other; with ``show`` says what came of each as soon as it is known."""
    from untorn.explore import time_limit

    time_limit.set_each(effort.each)
    outcome = Outcome([])
    with _executor(effort) as (executor, workers):
        for target in targets:
            result = _explored(target, effort, executor, workers, outcome)
            if result is None:
                continue
            outcome.results.append(result)
            if show:
                for line in lines(result):
                    say(line)
            if result.interrupted:
                break
    return outcome


def _explored(
    target: Target, effort: Effort, executor: Executor | None, workers: int, outcome: Outcome
) -> Result | None:
    """One target; None if it cannot be explored, for a reason that was told. What it prints goes aside."""
    from untorn.explore.explorer import explore as run
    from untorn.explore.explorer import unmeasured
    from untorn.explore.interpose.errors import NotMeasuredError, RefusalError

    recording = None
    try:
        with aside():
            try:
                recording = _record(target, outcome)
            except NotMeasuredError as error:
                return unmeasured(target, error)
            if recording is None:
                return None
            with progress() as tick:
                return run(
                    target, recovery_crashes=effort.recovery_crashes, budget=effort.budget, executor=executor,
                    workers=workers, jobs=effort.jobs, keep_going=effort.keep_going, report=Watch(tick),
                    recording=recording, seed=effort.seed,
                )  # fmt: skip
    except BrokenExecutor as error:
        outcome.fail(target.name, ENVIRONMENT, _missing(error))
    except RefusalError as error:
        outcome.fail(target.name, ENVIRONMENT, _words(error))
    except UntornError as error:
        outcome.fail(target.name, ENVIRONMENT, words_of(error))
    except Exception as error:
        outcome.fail(target.name, FAULT, fault(error))
    return None


def _record(target: Target, outcome: Outcome) -> Recording | None:
    """The target's workload, run once; None if it cannot be, for a reason that was told."""
    import traceback

    from untorn.explore.interpose.errors import NotMeasuredError, RefusalError
    from untorn.explore.search.engine import recorded

    try:
        return recorded(target)
    except (KeyboardInterrupt, NotMeasuredError):
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        told = isinstance(error, RefusalError) or not frames
        where = "" if told else f" ({frames[-1].filename}:{frames[-1].lineno})"
        notes = "".join(f" {printable(note)}" for note in getattr(error, "__notes__", ()))
        code = ENVIRONMENT if isinstance(error, UntornError) else USAGE
        outcome.fail(target.name, code, f"its workload does not run: {_words(error)}{notes}{printable(where)}")
        return None


@contextmanager
def _executor(effort: Effort) -> Iterator[tuple[Executor | None, int]]:
    """What runs the search if that are not processes of ours, and how many workers it has."""
    if effort.dask is not None:
        with _dask(effort.dask) as found:
            yield found
        return
    yield None, 0


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int]]:
    check_extra("distributed", "dask", "--dask")
    distributed: Any = importlib.import_module("distributed")  # its types do not pass mypy --strict
    try:
        client = distributed.Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise MissingError(f"no dask scheduler answers at {address}: {error}") from None
    with client:
        workers = sum(client.ncores().values())
        if not workers:
            raise MissingError(f"the dask scheduler at {address} has no workers: start some with 'dask worker'")
        yield client.get_executor(), workers


# What becomes of the results


def _hand_over(outcome: Outcome, *, as_json: bool, shown: bool, report: str | None, save: str | None) -> None:
    results = outcome.results
    if as_json:
        emit("explore", results=[fields(result) for result in results], unexplored=outcome.unexplored)
    else:
        for result in results if not shown else ():
            for line in lines(result):
                say(line)
        if len(results) > 1:
            for line in summary(results):
                say(line)
    if report is not None and results:
        from untorn.report.explored import page

        with open(report, "w", encoding="utf-8", errors="backslashreplace") as file:  # names may be no UTF-8
            file.write(page(results))
        tell(f"the report is in {quoted(report)}")
    bad = next((result for result in results if result.counterexamples), None)
    if save is not None and bad is not None:
        from untorn.explore.counterexample import replay

        replay.save(bad, save)
        tell(f"the first bad state is in {quoted(save)}; to see it again, run: untorn explore --replay {quoted(save)}")
    elif save is not None:
        tell(f"no bad state was found, so nothing was written to {quoted(save)}")
    elif bad is not None and shown and report is None:
        tell("to save this bad state, use --save FILE; to see it in pictures, use --report FILE")
