"""``untorn log``: the transactions in a file's log."""

from __future__ import annotations

from typing import Any

import click

from untorn.api.log_view import LoggedRecord, LogView, read_log
from untorn.cli.failures import BAD, FINE
from untorn.cli.help import examples
from untorn.cli.output import emit, path_fields, plural, printable, quoted, say, size_of, table, tell
from untorn.cli.state import JSON, problem_fields
from untorn.log.format import Extent, Slot


@click.command(
    short_help="Print the transactions in a file's log.",
    epilog=examples("untorn log --extents run.h5", "untorn log --json run.h5 | jq '.records[-1]'"),
)
@click.argument("file", type=click.Path(), metavar="FILE")
@click.option(
    "--extents",
    is_flag=True,
    help="Print each extent, too: its place in the file, length, digest and place in the log.",
)
@JSON
@click.pass_context
def log(ctx: click.Context, file: str, extents: bool, as_json: bool) -> None:
    """Print the records in the log of FILE, in order. The last line says where the log ends and why. Nothing is
    written.

    A record has a sequence number, a kind (COMMIT, or DATA for a part of a transaction that was moved to the log before
    its commit), the commit that it belongs to, its extents, bytes, the file's size after it, its place in the log and
    the digest of its table of extents. It is called durable if the log itself says so; the last record may be durable
    all the same.
    """
    view = read_log(file, extents=extents)
    if as_json:
        emit("log", **_fields(file, view, extents=extents))
    else:
        for line in _lines(view, extents=extents):
            say(line)
    if view.problem is not None:
        tell(f"{quoted(file)}: something is wrong; run 'untorn check' to see what it is and what to do")
    ctx.exit(BAD if view.problem else FINE)


def _lines(view: LogView, *, extents: bool) -> list[str]:
    if view.slot is None or view.end is None:
        return [f"{quoted(view.path)}: there is no log that can be read ({view.state})"]
    slot = view.slot
    lines = [
        f"{quoted(view.log_path or view.path)}: {view.state}, generation {slot.generation}, slot {slot.kind.name}, "
        f"identity {slot.identity.name}",
        f"  salt {slot.salt:016x}, file id {slot.file_id.hex()}, folios of {size_of(slot.folio_size)}, "
        f"the file had {slot.home_size:,} bytes",
    ]
    head = ("SEQUENCE", "KIND", "COMMIT", "EXTENTS", "BYTES", "FILE SIZE", "AT", "DIGEST", "DURABLE", "")
    rows = table([head, *map(_row, view.records)], numbers=(0, 2, 3, 4, 5, 6))
    if view.records:
        lines.append(rows[0])
    for row, one in zip(rows[1:], view.records, strict=True):
        lines.append(row)
        if extents:
            lines += [f"    {_extent(extent)}" for extent in one.extents]
    commits = len({one.transaction for one in view.records if one.transaction is not None})
    lines.append(f"{plural(commits, 'transaction')} in {plural(len(view.records), 'record')}")
    return [*lines, _end(view)]


def _row(one: LoggedRecord) -> tuple[str, ...]:
    record = one.record
    return (
        str(record.sequence), record.kind.name, str(one.transaction or "-"), f"{record.extent_count:,}",
        f"{record.payload_length:,}", f"{record.size:,}", str(one.position), f"{record.table_digest:016x}",
        "yes" if one.durable else "not said", "" if one.transaction else one.fate.value,
    )  # fmt: skip


def _extent(extent: Extent) -> str:
    return f"offset {extent.offset:,}, {extent.length:,} bytes, digest {extent.digest:016x}, at {extent.position}"


def _end(view: LogView) -> str:
    end = view.end
    assert end is not None
    why = "DAMAGED: it was known to be durable" if end.damaged else "the end, or a tail that a crash tore"
    return f"The log ends at byte {end.position:,}: {printable(end.reason)} ({why})"


def _fields(file: str, view: LogView, *, extents: bool) -> dict[str, Any]:
    return {
        **path_fields(file),
        "state": view.state,
        "log": path_fields(view.log_path) if view.log_path else None,
        "slot": _slot(view.slot) if view.slot else None,
        "records": [_record(one, extents=extents) for one in view.records],
        "end": view.end._asdict() if view.end else None,
        "problem": None if view.problem is None else problem_fields(view.problem),
    }


def _slot(slot: Slot) -> dict[str, Any]:
    """Digests, salts and ids are hexadecimal: JSON readers lose bits of such large numbers."""
    return {
        **slot._asdict(),
        "kind": slot.kind.name,
        "identity": slot.identity.name,
        "salt": f"{slot.salt:016x}",
        "file_id": slot.file_id.hex(),
    }


def _record(one: LoggedRecord, *, extents: bool) -> dict[str, Any]:
    record = one.record
    fields: dict[str, Any] = {
        "sequence": record.sequence,
        "kind": record.kind.name,
        "parent": record.parent,
        "transaction": one.transaction,
        "fate": one.fate.value,
        "durable": one.durable,
        "position": one.position,
        "extent_count": record.extent_count,
        "payload_bytes": record.payload_length,
        "size": record.size,
        "size_min": record.size_min,
        "table_digest": f"{record.table_digest:016x}",
        "checksum": f"{record.checksum:016x}",
    }
    if extents:
        fields["extents"] = [
            {"offset": of.offset, "length": of.length, "digest": f"{of.digest:016x}", "position": of.position}
            for of in one.extents
        ]
    return fields
