"""What was aimed at, and whether it was reached. A target that is missed is told, never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bench.amounts import Amounts
from bench.exploring import Exploring
from bench.measure import KIB, MIB, Cell
from bench.recovery import Recovery


@dataclass
class Results:
    """All that was measured; what was not asked for is empty."""

    burst: list[Cell] = field(default_factory=list)
    sustained: list[Cell] = field(default_factory=list)
    appends: list[Cell] = field(default_factory=list)
    small: list[Cell] = field(default_factory=list)
    micro: list[Cell] = field(default_factory=list)
    amounts: Amounts | None = None
    recovery: Recovery | None = None
    exploring: Exploring | None = None


@dataclass(frozen=True)
class Verdict:
    """A target and the worst figure seen for it."""

    target: str
    limit: float
    at_most: bool
    """Whether the figure has to stay below the limit; otherwise it has to reach it."""
    seen: float
    by_least: float | None
    """The worst figure if the least times are compared, which other work on the machine disturbs less."""
    where: str
    met_in: int
    of: int

    @property
    def met(self) -> bool:
        """Whether the target is met everywhere."""
        return self.met_in == self.of


def verdicts(results: Results) -> list[Verdict]:
    """A verdict for each target of which something was measured."""
    burst, sustained = results.burst, results.sustained
    all_pages = burst + sustained
    usual = [cell for cell in burst if (cell.page, cell.count) == (16 * KIB, 64)]
    sessions = [cell for cell in sustained if (cell.page, cell.count) == (16 * KIB, 64)]
    found = [
        _judge("time / ideal, burst, 8 pages and more", 1.3, burst, "untorn", "ideal", _many),
        _judge("time / ideal, burst, 1 page", 1.5, burst, "untorn", "ideal", _single),
        _judge("time / ideal, burst, 8 and more, default folio", 1.3, burst, "untorn_default", "ideal", _many),
        _judge("time / ideal, burst, 1 page, default folio", 1.5, burst, "untorn_default", "ideal", _single),
        _judge("time / ideal, session, 8 pages and more", 1.3, sustained, "untorn", "ideal", _many),
        _judge("time / ideal, session, 1 page", 1.5, sustained, "untorn", "ideal", _single),
        _judge("throughput / plain, burst, 16 KiB x 64", 2.5, usual, "plain", "untorn", at_most=False),
        _judge("throughput / plain, session, 16 KiB x 64", 1.5, sessions, "plain", "untorn", at_most=False),
        _judge(
            "throughput / plain, burst and session, 1 page", 0.8, all_pages, "plain", "untorn", _single, at_most=False
        ),
        _judge("time / double write, burst", 1.0, burst, "untorn", "double"),
        _judge("time / double write, burst, default folio", 1.0, burst, "untorn_default", "double"),
        _judge("time / double write, session", 1.0, sustained, "untorn", "double"),
        _judge("time / double write, appends", 1.0, results.appends, "untorn", "double"),
        _judge("time / os.pwrite, storing a folio", 0.5, results.micro, "untorn", "os", _called("pwrite")),
        _judge("time / os.pread, a cached folio", 1.0, results.micro, "untorn", "os", _called("pread")),
        _judge("time / write and rename, small files", 2.0, results.small, "untorn", "rename"),
    ]
    if results.amounts is not None:
        one = results.amounts
        seen = one.before_checkpoint
        met = int(seen <= 1.1)
        found.append(Verdict("bytes to storage per user byte, log only", 1.1, True, seen, None, one.label, met, 1))
    if results.recovery is not None:
        cell, peak = results.recovery.cell, results.recovery.peak_bytes / MIB
        found.append(_judge("time / cp and sync, recovery of a full log", 2.0, [cell], "untorn", "cp"))
        # Memory has to be bounded; a quarter of the log that is recovered would not be that.
        limit = cell.user_bytes / MIB / 4
        found.append(Verdict("MiB of memory in recovery", limit, True, peak, None, cell.label, int(peak <= limit), 1))
    if results.exploring is not None:
        rate, count = results.exploring.per_second, results.exploring.commits_recoveries
        where = f"{results.exploring.recoveries} recoveries"
        found.append(
            Verdict("explored recoveries per second and core", 500, False, rate, None, where, int(rate >= 500), 1)
        )
        where = f"2^{results.exploring.commits_log2_states:.0f} states"
        found.append(Verdict("recoveries for 20 commits", 100, True, count, None, where, int(count <= 100), 1))
        for name, limit, seen in (
            ("ms to certify each of 400 saves by rename", 15_000 / 400, results.exploring.saves_ms),
            ("ms to certify each of 1,000 synced appends", 60_000 / 1000, results.exploring.appends_ms),
        ):
            found.append(Verdict(name, limit, True, seen, None, "one core", int(seen <= limit), 1))
    return [verdict for verdict in found if verdict is not None]


def _judge(
    target: str,
    limit: float,
    cells: Iterable[Cell],
    one: str,
    other: str,
    wanted: Callable[[Cell], bool] | None = None,
    *,
    at_most: bool = True,
) -> Verdict | None:
    """The worst of the cells that both contenders took part in; None if there is none."""
    judged = [cell for cell in cells if one in cell.times and other in cell.times and (wanted is None or wanted(cell))]
    if not judged:
        return None
    worst = max if at_most else min
    ratios = [(cell.ratio(one, other), cell.label) for cell in judged]
    seen, where = worst(ratios)
    least = worst(cell.ratio(one, other, least=True) for cell in judged)
    met_in = sum(ratio <= limit if at_most else ratio >= limit for ratio, _ in ratios)
    return Verdict(target, limit, at_most, seen, least, where, met_in, len(judged))


def _many(cell: Cell) -> bool:
    return cell.count >= 8


def _single(cell: Cell) -> bool:
    return cell.count == 1


def _called(name: str) -> Callable[[Cell], bool]:
    return lambda cell: cell.label.startswith(name)
