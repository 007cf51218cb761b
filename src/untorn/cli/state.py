"""``untorn status``, ``check`` and ``recover``: what stands beside a file, what is wrong, and putting it right."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_args

import click

from untorn.api.functions import Status
from untorn.api.functions import recover as recover_file
from untorn.api.functions import status as status_of
from untorn.api.log_view import read_log
from untorn.api.options import OnDamage
from untorn.cli.failures import BAD, ENVIRONMENT, FINE, code_of, words_of, worst
from untorn.cli.help import examples
from untorn.cli.output import emit, path_fields, plural, printable, quoted, say, size_of, table, tell
from untorn.errors import (
    CorruptLogError,
    ForeignEditError,
    LockedError,
    MissingLogError,
    UntornError,
    UntornWarning,
    UntrustedLogError,
)
from untorn.log.format import SlotKind
from untorn.log.recovery import LogState
from untorn.log.writer import log_path

FILES: Final = click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")

_NAMES: Final = {
    CorruptLogError: "log damaged",
    MissingLogError: "log missing",
    UntrustedLogError: "log not trusted",
    ForeignEditError: "edited meanwhile",
}


@dataclass(frozen=True)
class Diagnosis:
    """A problem in words."""

    name: str
    what: str
    where: str
    on_disk: str
    ways_out: tuple[tuple[str, str], ...]
    """What to do, and what that does."""


@dataclass(frozen=True)
class Finding:
    """What was found of one file, or the error that it gave."""

    path: str
    status: Status | None
    error: Exception | None = None

    @property
    def problem(self) -> UntornError | None:
        return self.status.problem if self.status is not None else None

    @property
    def code(self) -> int:
        if self.error is not None:
            return code_of(self.error)
        return BAD if self.problem else FINE

    @property
    def name(self) -> str:
        """The state in two words."""
        if self.status is None:
            return "in use" if isinstance(self.error, LockedError) else "unreadable"
        problem = self.problem
        return _NAMES.get(type(problem), "log of another file") if problem else self.status.state

    def fields(self) -> dict[str, Any]:
        """For JSON; every field is always there."""
        status, problem = self.status, self.problem
        names = ("state", "log_bytes", "commits", "size", "size_on_disk")
        log = status.log_path if status else None
        return {
            **path_fields(self.path),
            **{name: getattr(status, name, None) for name in names},
            "log": path_fields(log) if log else None,
            "filesystem": status.filesystem._asdict() if status and status.filesystem else None,
            "problem": None if problem is None else problem_fields(problem),
            "error": None if self.error is None else error_fields(self.error),
        }


def problem_fields(problem: UntornError) -> dict[str, Any]:
    """A problem for JSON."""
    return {
        "kind": type(problem).__name__,
        "message": printable(getattr(problem, "strerror", None) or str(problem)),
        "offset": getattr(problem, "offset", None),
        "reason": getattr(problem, "reason", None),
    }


def error_fields(error: Exception) -> dict[str, Any]:
    """An error for JSON."""
    return {"kind": type(error).__name__, "message": words_of(error), "pid": getattr(error, "pid", None)}


def find(files: tuple[str, ...], look: Callable[[str], Status]) -> list[Finding]:
    """What each file gives; the error of one does not keep the others from being looked at."""
    findings = []
    for path in files:
        try:
            findings.append(Finding(path, look(path)))
        except (UntornError, OSError) as error:
            tell(words_of(error))
            findings.append(Finding(path, None, error))
    return findings


@click.command(short_help="Show what stands beside a file.", epilog=examples("untorn status run.h5"))
@FILES
@JSON
@click.pass_context
def status(ctx: click.Context, files: tuple[str, ...], as_json: bool) -> None:
    """Show what stands beside each FILE: nothing (plain), its log with commits that are not yet in the file (waiting
    commits), a log without any (empty log), a log that is not this file's (foreign log), or what is wrong. Then show
    what the file system is like, and whether it survives a power failure. Nothing is written.
    """
    findings = find(files, status_of)
    if as_json:
        emit("status", files=[finding.fields() for finding in findings])
    else:
        rows = [("STATE", "COMMITS", "LOG", "SIZE", "FILE")]
        for finding in findings:
            found = finding.status
            log = size_of(found.log_bytes) if found and found.log_path else "-"
            commits = f"{found.commits:,}" if found and found.log_path else "-"
            rows.append((finding.name, commits, log, size_of(found.size) if found else "-", quoted(finding.path)))
        for line in table(rows, numbers=(1, 2, 3)):
            say(line)
        for line in _file_systems(findings):
            say(line)
        if any(finding.problem for finding in findings):
            tell("run 'untorn check' to see what is wrong and what to do")
    ctx.exit(worst([finding.code for finding in findings]))


def _file_systems(findings: list[Finding]) -> list[str]:
    """A line for each file system that the files are on; with their names if there are several."""
    files: dict[str, list[str]] = {}
    for finding in findings:
        if finding.status is not None and finding.status.filesystem is not None:
            files.setdefault(finding.status.filesystem.sentence, []).append(quoted(finding.path))
    if len(files) == 1:
        return [f"file system: {printable(sentence)}" for sentence in files]
    return [f"file system of {', '.join(paths)}: {printable(sentence)}" for sentence, paths in files.items()]


@click.command(
    short_help="Verify the commits that wait in a file's log, or say what is wrong.",
    epilog=examples("untorn check data/*.h5"),
)
@FILES
@JSON
@click.pass_context
def check(ctx: click.Context, files: tuple[str, ...], as_json: bool) -> None:
    """Read every commit that waits in the log of each FILE and verify it by its digests. If something is wrong, say
    what and where it is, what is on disk now, and what to do. Nothing is written.
    """
    findings = find(files, status_of)
    entries = []
    for finding in findings:
        diagnosis = diagnose(finding) if finding.problem else None
        entries.append({**finding.fields(), "fine": finding.code == FINE, "diagnosis": diagnosis})
        if as_json or finding.status is None:
            continue
        if diagnosis is None:
            say(f"{quoted(finding.path)}: fine. {_fine(finding.path, finding.status)}")
        else:
            for line in _lines(finding.path, diagnosis):
                say(line)
    if as_json:
        emit("check", files=entries)
    ctx.exit(worst([finding.code for finding in findings]))


def _fine(path: str, found: Status) -> str:
    """What stands beside a file that has no problem."""
    log = quoted(found.log_path) if found.log_path else ""
    if found.state == LogState.HOT:
        return (
            f"{plural(found.commits, 'commit')} of {size_of(found.log_bytes)} {_are(found.commits)} waiting in {log}, "
            "all verified. untorn reads them from there. Other programs see the file without them "
            f"({size_of(found.size_on_disk)}; {size_of(found.size)} with them) until the next open for writing or "
            f"'untorn recover {quoted(path)}'."
        )
    if found.state == LogState.UNSTARTED:
        return f"{log} holds no commit; the next open for writing removes it."
    if found.state == LogState.FOREIGN:
        return f"{log} is not this file's log; the next open for writing sets it aside under another name."
    return f"It is an ordinary file of {size_of(found.size_on_disk)}, and nothing stands beside it."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def diagnose(finding: Finding) -> Diagnosis:
    """What is wrong with the file, where, what is on disk now, and the ways out."""
    problem, found = finding.problem, finding.status
    assert found is not None
    path, log = finding.path, quoted(found.log_path or log_path(found.path))
    apply = f"untorn recover --on-damage apply {quoted(found.path)}"
    discard = f"untorn recover --on-damage discard {quoted(found.path)}"
    name, aside = finding.name, "keeps the log under another name"
    size = size_of(found.size_on_disk)
    untouched = f"the file as other programs read it, {size}; nothing was changed"
    proved = plural(found.commits, "commit")
    match problem:
        case CorruptLogError():
            torn = _in_checkpoint(path)
            return Diagnosis(
                name, f"{problem.reason}, where the log was known to be durable",
                f"byte {problem.offset} of {log}",
                f"the file of {size}" + (
                    ", which a checkpoint was rewriting: it may hold parts of several commits" if torn
                    else f", as of its last checkpoint; {proved} since then can be proved"
                ),
                (
                    (apply, f"applies the {proved} that can be proved, without those behind the damage, and {aside}"),
                    (discard, f"takes the file as it is, without any commit in the log, and {aside}"),
                    *([("a backup", "neither way need give one whole commit: compare with a backup")] if torn else []),
                ),
            )  # fmt: skip
        case MissingLogError():
            return Diagnosis(
                name, "commits to this file are waiting in its log, which is not beside it; perhaps the file was "
                "renamed, copied or restored without it", log, untouched,
                (
                    (f"put its log back at {log}", "then the commits are there again"),
                    (discard, "takes the file as it is, without those commits"),
                ),
            )  # fmt: skip
        case UntrustedLogError():
            return Diagnosis(
                name, "what stands in the place of the log is not a regular file with one name that belongs to the "
                "file's owner, to you or to root", log, untouched,
                ((f"look at {log} and move it away", "then run 'untorn check' again: its own log may be missing"),),
            )  # fmt: skip
        case ForeignEditError():
            return Diagnosis(
                name, f"another program changed the file while {proved} to it waited in the log", log, untouched,
                (
                    (discard, f"keeps what the other program wrote, and {aside}"),
                    (apply, f"writes the {proved} over it, and {aside}"),
                ),
            )  # fmt: skip
        case _:
            return Diagnosis(
                name, "the log beside the file belongs to another one, and the file's own log is missing", log,
                untouched,
                (
                    (f"put its own log back at {log}", "then the commits are there again"),
                    (discard, f"takes the file as it is, and {aside}"),
                ),
            )  # fmt: skip


def _in_checkpoint(path: str) -> bool:
    """Whether the file was being rewritten when the log was left."""
    slot = read_log(path).slot
    return slot is not None and slot.kind is SlotKind.CHECKPOINT


def _lines(path: str, diagnosis: Diagnosis) -> list[str]:
    lines = [
        f"{quoted(path)}: {diagnosis.name.upper()}",
        f"  what     {printable(diagnosis.what)}",
        f"  where    {diagnosis.where}",
        f"  on disk  {diagnosis.on_disk}",
        "  ways out",
    ]
    for way, effect in diagnosis.ways_out:
        lines += [f"    {way}", f"      {effect}"]
    return lines


@click.command(
    short_help="Bring a file to its last commit.",
    epilog=examples("untorn recover run.h5", "untorn recover --on-damage apply run.h5"),
)
@click.option(
    "--on-damage", type=click.Choice(get_args(OnDamage)), default="raise", show_default=True,
    help="What to do where 'untorn check' finds something wrong: change nothing and say so (raise), apply the commits "
    "that can be proved (apply), or keep the file as it is, without the commits in its log (discard).",
)  # fmt: skip
@FILES
@click.pass_context
def recover(ctx: click.Context, files: tuple[str, ...], on_damage: OnDamage) -> None:
    """Bring each FILE to its last commit and take its log away, as the next open for writing would.

    Where 'untorn check' finds something wrong, nothing is changed unless --on-damage says what to do. Both 'apply' and
    'discard' keep the log under another name. Name only damaged files with 'discard': it keeps the others as they are,
    too, without the commits that wait in their logs.
    """
    codes = []
    for path in files:
        try:
            codes.append(_recover(path, on_damage))
        except (UntornError, OSError) as error:
            tell(words_of(error))
            codes.append(code_of(error))
    ctx.exit(worst(codes))


def _recover(path: str, on_damage: OnDamage) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UntornWarning)
        try:
            commits = recover_file(path, on_damage=on_damage)
        except UntornError:
            raise
        except OSError as error:
            if code_of(error) == ENVIRONMENT:
                error.add_note("nothing is lost: run it again")
            raise
    if on_damage == "discard":
        done = "the file was kept as it is"
    elif commits:
        done = f"{plural(commits, 'commit')} {'was' if commits == 1 else 'were'} moved into the file"
    else:
        done = "there was nothing to recover"
    say("; ".join([f"{quoted(path)}: {done}", *(printable(str(warning.message)) for warning in caught)]))
    return FINE
