"""``untorn compare``: every design of the debate on the same work, crashed, counted and timed."""

from __future__ import annotations

import textwrap
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Final, get_args

import click

from untorn.api.options import DesignName
from untorn.cli.failures import BAD, ENVIRONMENT, FINE
from untorn.cli.help import examples, one_of
from untorn.cli.output import WIDTH, emit, progress, quoted, say, size_of, table, tell
from untorn.cli.requirements import JOBS, REPORT, MissingError, check_report, check_writable
from untorn.cli.state import JSON

if TYPE_CHECKING:
    from untorn.debate.compare import Comparison
    from untorn.debate.compare.filesystems import Real
    from untorn.debate.compare.groups import Group

_HEAD: Final = ("design", "crash states", "calls", "bios", "atomic", "mean bio", "syncs", "bytes", "bits", "devices")


def known_workloads() -> list[str]:
    """The names of the workloads, for a shell."""
    from untorn.debate.compare import WORKLOADS

    return list(WORKLOADS)


def known_devices() -> list[str]:
    """The names of the simulated devices, for a shell."""
    from untorn.debate.compare import DEVICES

    return list(DEVICES)


@click.command(
    short_help="Run the designs side by side: crash them, count what they do and time it.",
    epilog=examples("untorn compare --quick --simulated", "untorn compare --report designs.html"),
)
@click.option(
    "--design", "designs", multiple=True, type=click.Choice(get_args(DesignName)), metavar="NAME",
    help="Take only this design: cow, folio-flag, mapping-flag, writethrough or plain. May be given more than once.",
)  # fmt: skip
@click.option(
    "--workload", "workloads", multiple=True, metavar="NAME", shell_complete=one_of(known_workloads),
    help="Take only this workload. May be given more than once.",
)  # fmt: skip
@click.option(
    "--device", "devices", multiple=True, metavar="NAME", shell_complete=one_of(known_devices),
    help="Take only this simulated device. May be given more than once.",
)  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="Name the workloads and devices, and do nothing else.")
@click.option("--quick", is_flag=True, help="Take a few workloads and devices, which is done in some seconds.")
@click.option("--simulated", is_flag=True, help="Leave real file systems out.")
@JOBS
@JSON
@REPORT
@click.pass_context
def compare(
    ctx: click.Context, designs: tuple[str, ...], workloads: tuple[str, ...], devices: tuple[str, ...],
    listing: bool, quick: bool, simulated: bool, jobs: int | None, as_json: bool, report: str | None,
) -> None:  # fmt: skip
    """Run the designs of atomic buffered writes side by side on the same workloads: copy-on-write, a flag on the folio,
    a flag on the mapping, writethrough, and the plain buffered write as control.

    On simulated devices, with atomic units of 4, 16 and 128 KiB, with and without a boundary, and with none, the
    explorer crashes a short run of each workload in every state. A longer run is counted: bios, their size, syncs,
    bytes, and bits of state in the page cache. As root, durable writes are also timed on XFS and ext4 on loop devices,
    and the file's extents counted; both are gone afterwards.

    Then the questions of the debate are answered by what was found. No hardware here writes atomically: what rests on
    simulation alone says so. Exits with 1 if a page tore that a design had taken as atomic.
    """
    from untorn.debate import compare as comparing

    if listing:
        _list(as_json)
        return
    chosen = comparing.selection(designs, workloads, devices, quick=quick)
    for kind, names, known in (("workload", workloads, comparing.WORKLOADS), ("device", devices, comparing.DEVICES)):
        for name in names:
            if name not in known:
                raise click.UsageError(f"{quoted(name)}: there is no such {kind}, only {', '.join(known)}")
    if report is not None:
        try:
            check_writable(report)
            check_report()
        except MissingError as error:
            tell(str(error))
            ctx.exit(ENVIRONMENT)
    try:
        with progress(lines=not as_json) as tick:
            found = comparing.run(chosen, quick=quick, real=not simulated, jobs=jobs, progress=tick)
    except BrokenExecutor:
        tell("a worker died, perhaps for lack of memory: try fewer --jobs")
        ctx.exit(ENVIRONMENT)
    if as_json:
        emit("compare", **found.fields())
    else:
        _print(found)
    if report is not None:
        from untorn.report.compared import page

        with open(report, "w", encoding="utf-8") as file:
            file.write(page(found))
        tell(f"the report is in {quoted(report)}")
    ctx.exit(BAD if found.broken else FINE)


def _list(as_json: bool) -> None:
    from untorn.debate.compare import DEVICES, WORKLOADS

    if as_json:
        names = {name: workload.words for name, workload in WORKLOADS.items()}
        emit("compare", workloads=names, devices=list(DEVICES))
        return
    say("workloads:")
    for line in table([(name, workload.words) for name, workload in WORKLOADS.items()]):
        say("  " + line)
    say("devices:")
    for device in DEVICES.values():
        unit = f"{size_of(device.limits.unit_max)} whole" if device.limits.unit_max else "nothing whole but a sector"
        edge = f", nothing across a multiple of {size_of(device.boundary)}" if device.boundary else ""
        say(f"  {device.name:<16}{unit}{edge}")


def _print(found: Comparison) -> None:
    from untorn.debate.compare import WORKLOADS
    from untorn.debate.compare.groups import groups

    say("In simulation (no hardware here writes atomically):")
    for name in dict.fromkeys(cell.workload for cell in found.cells):
        say()
        _wrapped(f"{name}: {WORKLOADS[name].words}")
        if WORKLOADS[name].generated:
            _wrapped(f"  {WORKLOADS[name].generated}")
        rows = [_HEAD, *(_row(group) for group in groups(found.cells, name))]
        for line in table(rows, numbers=(2, 3, 4, 5, 6, 7, 8)):
            say("  " + line)
    _legend(found)
    _print_broken(found)
    if found.real is not None:
        say()
        _print_real(found.real)
    for answer in found.answers:
        say()
        _wrapped(answer.question)
        _wrapped(f"  {answer.words} [{answer.basis}]")


def _row(group: Group) -> tuple[str, ...]:
    costs = group.costs
    return (
        group.design, group.verdict, f"{costs.calls}", f"{costs.bios}", f"{costs.atomic_bios}",
        size_of(round(costs.mean_bio)), f"{costs.syncs}", f"{costs.bytes_per_byte:.2f}",
        f"{costs.folio_bits}+{costs.file_bits}", group.devices,
    )  # fmt: skip


def _legend(found: Comparison) -> None:
    say()
    _wrapped(
        "whole: no page that must not tear is torn in any state after a crash. refused: the design takes no such "
        "atomic writes on this device, so they were plain. torn after a mix: only pages over which a plain write came "
        "before the sync. bytes: to storage, for each byte of the program. bits: of state, for each folio + each file. "
        "(-b): on the device with a boundary too."
    )
    open_cells = [cell for cell in found.cells if cell.crashes.complete and not cell.crashes.certified]
    if open_cells:
        _wrapped(f"every state: as certified, but for the second count: {open_cells[0].crashes.uncertified}.")


def _print_broken(found: Comparison) -> None:
    for cell in found.cells:
        if cell.broken:
            say()
            say(f"TORN: {cell.workload} in {cell.design} on {cell.device}")
            for line in cell.crashes.story.splitlines():
                say("  " + line)


def _print_real(real: Real) -> None:
    for system in real.systems:
        if system.lacking:
            say(f"{system.kind}: not measured: {system.lacking}")
            continue
        limits = system.limits
        offered = f"{size_of(limits.unit_min)} to {size_of(limits.unit_max)}" if limits.unit_min else "none"
        say(f"{system.kind} on a loop device, Linux {system.kernel}; atomic writes with direct I/O: {offered}")
        rows = [("workload", "design", "durable writes", "atomic", "p50", "p99", "extents")]
        rows += [
            (
                one.workload, one.design, f"{one.writes}", f"{one.taken} of {one.asked}", f"{one.p50_us:,.0f} us",
                f"{one.p99_us:,.0f} us", "?" if one.extents is None else f"{one.extents}",
            )
            for one in real.timings
            if one.file_system == system.kind
        ]  # fmt: skip
        for line in table(rows, numbers=(2, 3, 4, 5, 6)):
            say("  " + line)


def _wrapped(text: str) -> None:
    indent = " " * (len(text) - len(text.lstrip()))
    for line in textwrap.wrap(text.strip(), WIDTH, initial_indent=indent, subsequent_indent=indent):
        say(line)
