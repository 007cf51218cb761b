"""``untorn probe``: what a path offers, and whether files there keep the kernel's promises of RWF_ATOMIC."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast, get_args

import click

from untorn.api.options import DesignName
from untorn.cli.failures import BAD, ENVIRONMENT, FINE, worst
from untorn.cli.help import examples
from untorn.cli.output import emit, path_fields, plural, progress, quoted, say, size_of, table, tell
from untorn.cli.state import JSON
from untorn.debate import probe as asking
from untorn.debate.probe import ATOMIC_WRITES, NO_ATOMIC_WRITES, Findings, Outcome, Progress, Verdict
from untorn.debate.probe.environment import Environment, survey
from untorn.debate.probe.scratch_file import Subject
from untorn.debate.probe.targets import LinuxSubject, UntornSubject
from untorn.storage.interface import AtomicLimits


@click.command(
    short_help="See which atomic writes a path offers, and whether they hold.",
    epilog=examples("untorn probe .", "untorn probe --untorn --design cow ."),
)
@click.option("--untorn", "ours", is_flag=True, help="Probe untorn's own files instead, in every design.")
@click.option(
    "--design",
    type=click.Choice(get_args(DesignName)),
    metavar="NAME",
    help="With --untorn: probe files of this design only.",
)
@JSON
@click.argument("path", type=click.Path())
@click.pass_context
def probe(ctx: click.Context, path: str, ours: bool, design: str | None, as_json: bool) -> None:
    """Show which writes with RWF_ATOMIC the file system and the device at PATH take, and try on scratch files whether
    they keep the kernel's promise.

    Shown are the sizes as statx tells them, who makes such writes whole (the device, or the file system by software),
    the alignment of direct I/O, and what the device's queue says. Tried are the assertions of the kernel's own test
    suites, on files with and without direct I/O; each one is passed, failed, or not supported with the reason.

    The scratch files lie in a directory of their own in PATH, or beside it if it is a file, and are gone afterwards,
    also after Ctrl-C. A block device is only looked at. What only a power failure can show is not tried. Exits with 1
    if an assertion failed, with 3 if no atomic writes are offered.
    """
    if design is not None and not ours:
        raise click.UsageError("--design needs --untorn")
    designs = () if not ours else (design,) if design is not None else get_args(DesignName)
    is_device = stat.S_ISBLK(os.stat(path).st_mode)
    if is_device and ours:
        raise click.UsageError("untorn has no files on a block device: name a directory")
    with (
        nullcontext(None) if is_device else asking.scratch_directory(path) as folder,
        progress(lines=not as_json) as tick,
    ):
        environment = survey(path, folder)
        findings = [asking.check_queue(environment.device)] if not ours and environment.device is not None else []
        if folder is not None:
            findings += _probe(folder, cast(Sequence[DesignName], designs), tick)
    if as_json:
        emit(
            "probe",
            **path_fields(path),
            environment=_environment_fields(environment),
            files=list(map(_fields, findings)),
        )
    else:
        _print(path, environment, findings)
    lacking = _lacking(path, environment, findings, design)
    if lacking:
        tell(lacking)
    failed = any(finding.failures for finding in findings)
    ctx.exit(worst([BAD if failed else FINE, ENVIRONMENT if lacking else FINE]))


def _probe(folder: str, designs: Sequence[DesignName], tick: Progress) -> list[Findings]:
    block_size = os.statvfs(folder).f_bsize
    subjects: list[Subject] = [UntornSubject(folder, name, block_size=block_size) for name in designs]
    if not subjects:
        subjects = [LinuxSubject(folder, direct=True), LinuxSubject(folder, direct=False)]
    return [asking.probe(subject, tick) for subject in subjects]


def _lacking(path: str, environment: Environment, findings: Sequence[Findings], design: str | None) -> str:
    """What the environment lacks for what was asked, in words; empty if nothing."""
    if design is not None:
        (asked,) = findings
        return f"{quoted(path)}: {asked.subject}: {asked.lacking}" if asked.lacking else ""
    if environment.limits.unit_min or any(finding.subject.startswith("untorn") for finding in findings):
        return ""
    if environment.mount is None:
        return f"{quoted(path)}: this device offers no atomic writes"
    return (
        f"{quoted(path)}: {environment.mount.kind} on this device, under Linux {environment.kernel}, offers no atomic "
        "writes. XFS has them on any device since Linux 6.16; ext4 needs a device that has them"
    )


def _environment_fields(environment: Environment) -> dict[str, Any]:
    fields = dataclasses.asdict(environment)
    fields["limits"] = environment.limits._asdict()
    fields["alignment"] = environment.alignment._asdict()
    if environment.device is not None:
        fields["device"]["limits"] = environment.device.limits._asdict()
    if environment.mount is not None:
        del fields["mount"]["device"]
    return fields


def _fields(finding: Findings) -> dict[str, Any]:
    return {**dataclasses.asdict(finding), "limits": finding.limits._asdict(), "failures": finding.failures}


def _print(path: str, environment: Environment, findings: Sequence[Findings]) -> None:
    say(quoted(path))
    for line in table(_facts(environment)):
        say("  " + line)
    for finding in findings:
        say()
        _print_findings(finding)
    if any(finding.outcomes for finding in findings):
        say()
        say("No power failure was tried here; 'untorn explore' and 'untorn compare' cut the power in simulation.")


def _facts(environment: Environment) -> list[tuple[str, str]]:
    facts = [("kernel", f"Linux {environment.kernel}")]
    mount, device, limits = environment.mount, environment.device, environment.limits
    if mount is not None:
        facts.append(("file system", f"{mount.kind} on {quoted(mount.source)}, mounted at {quoted(mount.point)}"))
    facts.append(("block size", f"{environment.block_size} bytes"))
    memory, offset = environment.alignment
    facts.append(("direct I/O", f"memory aligned to {memory}, offset and length to {offset}" if offset else "not told"))
    facts.append(("atomic writes", _limits(limits) if limits.unit_min else "none"))
    if limits.unit_min:
        facts.append(("  made whole by", environment.way.value))
    if device is None:
        facts.append(("device", "not known"))
        return facts
    below = f", on {', '.join(map(quoted, device.below))}" if device.below else ""
    facts.append(("device", f"{device.name}{below}"))
    edge = f", none across a multiple of {size_of(device.boundary)}" if device.boundary else ""
    offered = f"{size_of(device.unit_min)} to {size_of(device.unit_max)}{edge}" if device.unit_max else "none"
    facts.append(("  atomic writes", offered))
    facts.append(("  write cache", device.write_cache or "not told"))
    return facts


def _print_findings(finding: Findings) -> None:
    limits = _limits(finding.limits)
    say(f"{finding.subject}: atomic writes {limits}" if finding.limits.unit_min else finding.subject)
    shown = [outcome for outcome in finding.outcomes if outcome.detail not in (NO_ATOMIC_WRITES, ATOMIC_WRITES)]
    rows = [(_shown(outcome), outcome.words, outcome.source) for outcome in shown]
    for line, outcome in zip(table(rows) if rows else [], shown, strict=True):
        say("  " + line)
        if outcome.relaxed:
            say(f"{'':17}not needed here: was taken whole")
        elif outcome.verdict is not Verdict.PASS:
            say(f"{'':17}{outcome.detail}")
    if finding.lacking:
        say(f"  {finding.lacking}: {plural(len(finding.outcomes) - len(shown), 'assertion')} not tried")
        return
    counts = (f"{sum(outcome.verdict is verdict for outcome in shown)} {verdict}" for verdict in Verdict)
    say(f"  {', '.join(counts)}")


def _limits(limits: AtomicLimits) -> str:
    if limits.unit_min == 1:
        return "of any size"
    fast = f", fast up to {size_of(limits.unit_max_opt)}" if limits.unit_max_opt else ""
    return f"of {size_of(limits.unit_min)} to {size_of(limits.unit_max)}{fast}, {plural(limits.segments_max, 'buffer')}"


def _shown(outcome: Outcome) -> str:
    verdict = outcome.verdict.upper() if outcome.verdict is Verdict.FAIL else outcome.verdict.value
    return f"{verdict:<13}"
