"""``untorn demo``: runs it, and says in a table what it showed."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from typing import Any

import click

from untorn import demo as show
from untorn.cli.failures import BAD, ENVIRONMENT, FINE
from untorn.cli.help import examples
from untorn.cli.output import WIDTH, emit, is_terminal, path_fields, plural, progress, quoted, say, size_of, tell
from untorn.cli.state import JSON
from untorn.demo import Cuts, Report


@click.command(
    short_help="Watch ordinary writes tear and untorn writes hold.",
    epilog=examples("untorn demo --quick", "untorn demo run.h5"),
)
@click.argument("file", type=click.Path(), metavar="[FILE]", required=False)
@click.option("--quick", is_flag=True, help="Do a small part of the work, in some seconds.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32), default=1, show_default=True, metavar="N", help="Write other pages."
)
@JSON
@click.pass_context
def demo(ctx: click.Context, file: str | None, quick: bool, seed: int, as_json: bool) -> None:
    """Watch ordinary writes tear and untorn writes hold, on a copy of FILE, or of the largest file of Python's own
    library. The copy lies in the temporary directory and is gone afterwards; FILE is only read.

    First pages are overwritten in place on a simulated machine, plainly and through untorn. The power is cut after
    every operation, and once more within each recovery, and every state that may be left is explored, as by 'untorn
    explore': the file must be the old or the new commit. The plain writes are the control: they must be seen to tear.

    Then a live writer is killed by SIGKILL in mid-work, again and again, and the file is recovered and verified. That
    is not a power failure: the kernel keeps what was written. Last the speed of both is measured.
    """
    effort = show.QUICK if quick else show.FULL
    try:
        with progress(lines=not as_json) as tick:
            report = show.run(file, effort=effort, seed=seed, progress=tick)
    except show.WriterError as error:
        tell(str(error))
        ctx.exit(ENVIRONMENT)
    except BrokenExecutor:
        tell("a process that explores died, perhaps for lack of memory; nothing was shown")
        ctx.exit(ENVIRONMENT)
    if as_json:
        emit("demo", **_fields(report))
    else:
        _print(report)
    for example in (report.untorn_cuts.example, report.untorn_kills.example):
        if example:
            tell(f"a bad state under untorn: {example}")
    ctx.exit(FINE if report.holds else BAD)


def _fields(report: Report) -> dict[str, Any]:
    fields = dataclasses.asdict(report)
    source = fields.pop("source")
    for name in ("plain_cuts", "untorn_cuts", "plain_kills", "untorn_kills"):
        fields[name]["bad"] = getattr(report, name).bad
    fields["speed"] |= {"ratio": report.speed.ratio, "ratio_total": report.speed.ratio_total}
    return {"source": path_fields(source), **fields, "bad": report.bad, "blind": report.blind, "holds": report.holds}


def _print(report: Report) -> None:
    copied = "" if report.copy_size == report.source_size else f", its copy {size_of(report.copy_size)}"
    say(f"On a copy of {quoted(report.source)}")
    say(f"({size_of(report.source_size)}{copied}) on {report.file_system}, {report.seconds:.0f} s, seed {report.seed}")
    say()
    _print_table(_rows(report))
    say()
    for note in _notes(report):
        for line in _wrapped(note):
            say(line)
    say()
    for line in _wrapped(_meaning(report)):
        say(line)


Row = tuple[str, str, str, bool]
"""What is counted, plain, untorn, and whether it is a count of what must not be."""


def _rows(report: Report) -> list[Row]:
    plain, untorn, kills, speed = report.plain_cuts, report.untorn_cuts, report.untorn_kills, report.speed

    def rate(value: float) -> str:
        return f"{value / (1 << 20):,.0f} MiB/s"

    return [
        ("Power cut at every operation: states", _states(plain), _states(untorn), False),
        ("  recoveries that stand for all of them", f"{plain.recoveries:,}", f"{untorn.recoveries:,}", False),
        ("  file neither the old nor the new commit", f"{plain.bad:,}", f"{untorn.bad:,}", True),
        ("Live writer killed in mid-work: times", f"{report.plain_kills.kills}", f"{kills.kills}", False),
        ("  file neither the old nor the new commit", f"{report.plain_kills.bad}", f"{kills.bad}", True),
        (f"Speed, {speed.pages} pages of 16 KiB a commit", rate(speed.plain), rate(speed.untorn), False),
        ("  with checkpoints and close", rate(speed.plain_total), rate(speed.untorn_total), False),
    ]


def _print_table(rows: Sequence[Row]) -> None:
    if is_terminal(sys.stdout) and _print_rich(rows):
        return
    line = "{:<45}{:>16}{:>16}".format
    say(line("", "plain write", "untorn"))
    say("-" * 77)
    for what, plain, untorn, _ in rows:
        say(line(what, plain, untorn))


def _print_rich(rows: Sequence[Row]) -> bool:
    """The same in colour; False if rich is not installed. It minds NO_COLOR itself."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("plain write", justify="right")
    table.add_column("untorn", justify="right")
    for what, plain, untorn, must_be_none in rows:
        styles = (
            ["bold green" if value == "0" else "bold red" for value in (plain, untorn)] if must_be_none else ["", ""]
        )
        table.add_row(Text(what), Text(plain, styles[0]), Text(untorn, styles[1]))
    console = Console()
    console.width = min(console.width, WIDTH)
    console.print(table)
    return True


def _notes(report: Report) -> list[str]:
    """What the figures are figures of, in full."""
    speed, kills = report.speed, report.untorn_kills
    return [
        f"Power cuts are simulated, on the file's first {size_of(report.excerpt)}, as by 'untorn explore'; 512-byte "
        "sectors tear.",
        _explored("plain", report.plain_cuts),
        _explored("untorn", report.untorn_cuts),
        f"SIGKILL is not a power failure: the kernel keeps what was written. Of {plural(kills.kills, 'killed writer')} "
        f"{kills.logs} left commits in the log; recovery moved {plural(kills.recovered, 'commit')} into the file, and "
        f"all of the {plural(kills.acknowledged, 'commit')} they had acknowledged "
        f"{'were there' if not kills.bad else 'were NOT there'}.",
        f"untorn commits at {speed.ratio:.2f} times the plain speed, {speed.ratio_total:.2f} with checkpoints and "
        "close. The plain speed is that of writes that tear."
        + (" The copy is in memory: these speeds are no disk's." if report.in_memory else ""),
    ]


def _states(cuts: Cuts) -> str:
    return f"about 2^{cuts.log2_states:.0f}" if cuts.states else "not counted"


def _explored(name: str, cuts: Cuts) -> str:
    """The verdict, and what it is a verdict on."""
    nested = f", {cuts.nested:,} of them after a second power cut, within recovery" if cuts.nested else ""
    example = f" For example, {cuts.example[0].lower()}{cuts.example[1:]}." if cuts.example else ""
    return f"{name}: {plural(cuts.operations, 'operation')}; {cuts.verdict}{nested}.{example}"


def _meaning(report: Report) -> str:
    if report.blind:
        return "No plain write was seen to tear, so this run shows nothing: something is wrong with the demo itself."
    if report.bad:
        return f"What it means: untorn FAILED after {plural(report.bad, 'crash', 'crashes')}. Please report it."
    if not report.holds:
        return f"The untorn writes are not certified, so this run shows nothing: {report.untorn_cuts.verdict}."
    return (
        "What it means: wherever the power was cut or the writer killed, the plain file could be part old, part new; "
        "the untorn one was always one whole commit."
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
