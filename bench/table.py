"""Results for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.measure import MIB, Cell
from bench.run import About
from bench.targets import Results, Verdict

_SHOWN = {"untorn_default": "untorn 16K", "os": "os call"}
_ORDER = ("plain", "double", "rename", "cp", "os", "ideal", "untorn", "untorn_default")


def render(results: Results, verdicts: Sequence[Verdict], about: About) -> str:
    """Everything as text, the targets last."""
    parts = ["  ".join(f"{name} {value}" for name, value in about.items())]
    for title, cells in (
        ("BURST: one durable commit to a warm file, no checkpoint", results.burst),
        ("SUSTAINED: a whole session, checkpoints and close included", results.sustained),
        ("APPENDS: one durable commit at the end of a file", results.appends),
        ("SMALL FILES: open, write, close", results.small),
        ("SINGLE CALLS on what is cached, no sync", results.micro),
        ("RECOVERY of a full log, against cp and sync", [results.recovery.cell] if results.recovery else []),
    ):
        if cells:
            parts.append(title + "\n" + "\n".join(_races(cells)))
    if results.recovery is not None:
        parts.append(f"Recovery took {results.recovery.peak_bytes / MIB:.1f} MiB of memory at most.")
    if results.exploring is not None:
        seen = results.exploring
        parts.append(
            f"Explored the library's targets at {seen.per_second:.0f} recoveries per second and core; 20 commits, "
            f"about 2^{seen.commits_log2_states:.0f} states, took {seen.commits_recoveries}. "
            f"Certifying takes {seen.saves_ms:.1f} ms of one core for each of many saves by rename, and "
            f"{seen.appends_ms:.1f} ms for each of many synced appends."
        )
    if results.amounts is not None:
        one = results.amounts
        parts.append(
            f"Bytes to storage per user byte, {one.label}: {one.before_checkpoint:.3f} before a checkpoint, "
            f"{one.with_checkpoints:.3f} with all checkpoints of a session."
        )
    if verdicts:
        parts.append("TARGETS (by medians; the worst case of each)\n" + "\n".join(_targets(verdicts)))
    return "\n\n".join(parts)


def _races(cells: Sequence[Cell]) -> Iterator[str]:
    names = [name for name in _ORDER if any(name in cell.times for cell in cells)]
    wanted = [other for other in names if not other.startswith("untorn")]
    head = ["median (least)", *(_SHOWN.get(name, name) for name in names), "MB/s", *(f"/{one}" for one in wanted)]
    rows = [head]
    for cell in cells:
        row = [cell.label]
        for name in names:
            series = cell.times.get(name)
            row.append(f"{_time(series.median_s)} ({_time(series.min_s)})" if series else "")
        row.append(f"{cell.user_bytes / cell.times['untorn'].median_s / 1e6:.3g}")
        row += [f"{cell.ratio('untorn', other):.2f}" for other in wanted]
        rows.append(row)
    yield from _columns(rows)


def _targets(verdicts: Sequence[Verdict]) -> Iterator[str]:
    rows = [["", "target", "seen", "least", "met", "worst at", "what"]]
    rows += [
        [
            "pass" if one.met else "MISS",
            f"{'<=' if one.at_most else '>='} {one.limit:g}",
            f"{one.seen:.2f}",
            "" if one.by_least is None else f"{one.by_least:.2f}",
            f"{one.met_in} of {one.of}",
            one.where,
            one.target,
        ]
        for one in verdicts
    ]
    yield from _columns(rows, left=(0, 5, 6))


def _columns(rows: Sequence[Sequence[str]], left: tuple[int, ...] = (0,)) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _time(seconds: float) -> str:
    """Three figures and a unit."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        value = seconds * factor
        if value >= 1 or unit == "us":
            return f"{value:.{max(0, 3 - len(str(int(value))))}f}{unit}"
    raise AssertionError("unreachable")
