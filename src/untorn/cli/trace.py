"""``untorn trace``: each step of a few writes on their way to disk, as the kernel prints such things."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, get_args

import click

from untorn.api.options import DesignName
from untorn.cli.compare import known_devices, known_workloads
from untorn.cli.help import examples, one_of
from untorn.cli.output import emit, printable, quoted, say, tell
from untorn.cli.state import JSON

if TYPE_CHECKING:
    from untorn.debate.compare.tracing import Line
    from untorn.debate.compare.workloads import Workload


@click.command(
    short_help="Show each step of a few writes on their way to disk.",
    epilog=examples("untorn trace hot", "untorn trace --design folio-flag --perfetto hot.json hot"),
)
@click.option(
    "--design", type=click.Choice(get_args(DesignName)), default="cow", show_default=True, metavar="NAME",
    help="Take a file of this design.",
)  # fmt: skip
@click.option(
    "--device", default="nvme-16k", show_default=True, metavar="NAME", shell_complete=one_of(known_devices),
    help="Take this simulated device.",
)  # fmt: skip
@JSON
@click.option(
    "--perfetto", type=click.Path(dir_okay=False), metavar="FILE",
    help="Write a trace that ui.perfetto.dev opens. A microsecond there is one step here: a simulation has no clock.",
)  # fmt: skip
@click.argument("work", metavar="WORKLOAD|FILE", shell_complete=one_of(known_workloads, or_file=True))
def trace(design: str, device: str, as_json: bool, perfetto: str | None, work: str) -> None:
    """Show each step of a few writes on their way to a simulated disk, one to a line: the calls of the program; the
    folios of the page cache with their flags as the kernel prints them, and a letter for each block (A dirty and
    atomic, D dirty, an underscore for clean); bios and their flags; syncs.

    What is done is the short form of a WORKLOAD of 'untorn compare', or what stands in FILE, one step to a line:
    size BYTES of the file at first, write OFFSET LENGTH, atomic OFFSET LENGTH and perhaps the size of the pages in it
    that must not tear, append LENGTH, sync. Sizes are multiples of 512 and may end in K or M; what follows a number
    sign is a comment. 'untorn compare --list' names workloads and devices.
    """
    from untorn.debate.compare import DEVICES
    from untorn.debate.compare.perfetto import events
    from untorn.debate.compare.tracing import trace as traced

    if device not in DEVICES:
        raise click.UsageError(f"{quoted(device)}: there is no such device, only {', '.join(DEVICES)}")
    workload = _workload(work)
    lines = traced(workload, design, DEVICES[device])
    title = f"{workload.name} in {design} on {device}, simulated"
    if perfetto is not None:
        with open(perfetto, "w", encoding="utf-8") as file:
            json.dump(events(lines, title), file)
        tell(f"the trace is in {quoted(perfetto)}")
    if as_json:
        emit(
            "trace", workload=workload.name, design=design, device=device, simulated=True,
            steps=[line.fields() for line in lines],
        )  # fmt: skip
        return
    say(printable(title))
    for line in lines:
        say(_words(line))


def _workload(work: str) -> Workload:
    from untorn.debate.compare import WORKLOADS
    from untorn.debate.compare.tracing import StepsError, parse

    if work in WORKLOADS:
        return WORKLOADS[work]
    if not os.path.exists(work):
        raise click.UsageError(f"{quoted(work)} is neither a file nor a workload; workloads are {', '.join(WORKLOADS)}")
    with open(work, encoding="utf-8") as file:
        try:
            return parse(work, file.read())
        except (StepsError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{quoted(work)}: {error}") from None


def _words(line: Line) -> str:
    """A line as trace events of the kernel look."""
    where = f"offset={line.offset} len={line.length}" if line.length else ""
    if line.is_call:
        return f"{line.number:4} {line.event:<17}{where} {line.flags}".rstrip()
    if line.folio >= 0:
        facts = f"index={line.folio} flags={line.flags} blocks={line.blocks}"
    else:
        facts = " ".join(part for part in (line.target, where, line.flags) if part)
    return f"{line.number:4}   {line.event:<15}{facts}".rstrip()
