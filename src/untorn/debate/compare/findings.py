"""The questions of the debate, answered by what this run found; no sentence is chosen but by its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from untorn.debate.compare.crash_check import Verdict
from untorn.debate.compare.devices import DEVICES
from untorn.debate.compare.filesystems import Real
from untorn.debate.compare.matrix import Cell
from untorn.sizes import FOLIO_SIZE

SIMULATED: Final = "simulation alone"
_UNTOLD: Final = "This run does not tell: "
_HELD: Final = (Verdict.WHOLE,)


@dataclass
class Answer:
    """A question of the thread, and what was found."""

    question: str
    words: str
    basis: str
    """On what it rests: simulation alone, or real file systems too."""
    head: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    """The numbers beside it; in the first column is what they are of."""
    bars: list[tuple[str, float, str]] = field(default_factory=list)
    """A picture of the numbers that matter most: (what, how much, in words)."""
    bars_of: str = ""
    """What the picture shows."""


def answers(cells: Sequence[Cell], real: Real | None) -> list[Answer]:
    """In the order in which the thread asked."""
    return [question(cells, real) for question in (_flag, _mix, _state, _price, _through, _small_units)]


# What the cells say


def _of(cells: Sequence[Cell], design: str, want: Callable[[Cell], bool] = lambda cell: True) -> list[Cell]:
    return [cell for cell in cells if cell.design == design and want(cell)]


def _took(cell: Cell) -> bool:
    return cell.costs.asked == cell.costs.taken


def _designs(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.design for cell in cells))


def _pairs(cells: Sequence[Cell], one: str, other: str) -> list[tuple[Cell, Cell]]:
    """Cells of two designs on the same workload and device, where both took every atomic write."""
    others = {(cell.workload, cell.device): cell for cell in _of(cells, other, _took)}
    found = [(cell, others.get((cell.workload, cell.device))) for cell in _of(cells, one, _took)]
    return [(cell, partner) for cell, partner in found if partner is not None]


def _once(pairs: Sequence[tuple[Cell, Cell]]) -> list[tuple[Cell, Cell]]:
    """One pair for each workload."""
    return list({one.workload: (one, other) for one, other in reversed(pairs)}.values())[::-1]


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _unsure(cells: Sequence[Cell]) -> bool:
    return any(cell.crashes.verdict is Verdict.UNKNOWN for cell in cells)


def _range(values: Sequence[float], form: str = "{:.2f}") -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


# Is a page flag needed?


def _flag(cells: Sequence[Cell], real: Real | None) -> Answer:
    answer = Answer("Is a page flag needed?", "", SIMULATED, ("design", "bits for each folio + file", "whole", "torn"))
    answer.bars_of = "bits of state for each folio"
    without: list[str] = []
    with_flag: list[str] = []
    torn: list[str] = []
    for design in _designs(cells):
        took = _of(cells, design, _took)
        if not took:
            continue
        whole = sum(cell.crashes.verdict in _HELD for cell in took)
        bits = took[0].costs.folio_bits
        answer.rows.append(
            (design, f"{bits} + {took[0].costs.file_bits}", f"{whole} of {len(took)}", f"{len(took) - whole}")
        )
        answer.bars.append((design, float(bits), f"{bits} bits, {whole} of {len(took)} whole"))
        (with_flag if bits else without).append(design)
        if whole < len(took):
            torn.append(design)
    kept = [design for design in without if design not in torn]
    if _unsure(cells):
        answer.words = _UNTOLD + "some searches were not finished."
    elif not with_flag or not without:
        answer.words = _UNTOLD + "it has no design with a page flag beside one without that took its atomic writes."
    elif kept:
        answer.words = (
            f"No: {_names(kept)} kept every page whole that {'it' if len(kept) == 1 else 'they'} took as atomic, "
            "without a bit on the folio."
        )
        lost = [design for design in with_flag if design in torn]
        if lost:
            where = sorted({c.workload for d in lost for c in _of(cells, d, _took) if c.crashes.verdict not in _HELD})
            bits = _of(cells, lost[0])[0].costs.folio_bits
            answer.words += (
                f" {_names(lost)} spends {bits} bits on each folio of {FOLIO_SIZE // 1024} KiB and lost pages all the "
                f"same, in {_names(where)}."
            )
    else:
        held = [design for design in with_flag if design not in torn]
        answer.words = (
            f"By this run yes: every design without one tore a page, and {_names(held)} did not."
            if held
            else "By this run neither helps: designs with and without one tore pages."
        )
    return answer


# What does flushing on a mix cost?


def _mix(cells: Sequence[Cell], real: Real | None) -> Answer:
    question = "What does flushing on a mix cost?"
    head = ("workload, device", "flushed early", "bios", "bios of folio-flag", "mean bio", "bytes", "of folio-flag")
    answer = Answer(question, "", SIMULATED, head)
    pairs = _pairs(cells, "mapping-flag", "folio-flag")
    mixed = [(one, other) for one, other in pairs if one.costs.forced]
    if not mixed:
        answer.words = _UNTOLD + (
            "no write found dirty data of the other kind." if pairs else "it lacks mapping-flag or folio-flag."
        )
        return answer
    for one, other in mixed:
        mine, theirs = one.costs, other.costs
        answer.rows.append(
            (
                f"{one.workload}, {one.device}", f"{mine.forced}", f"{mine.bios}", f"{theirs.bios}",
                f"{mine.mean_bio:,.0f}", f"{mine.bytes_per_byte:.2f}", f"{theirs.bytes_per_byte:.2f}",
            )
        )  # fmt: skip
    answer.bars_of = "bytes in the average bio"
    for one, other in _once(mixed):
        for cell in (other, one):
            mean = cell.costs.mean_bio
            answer.bars.append((f"{cell.workload}, {cell.design}", mean, f"{mean:,.0f}"))
    early = [one.costs.forced / one.costs.bios for one, _ in mixed]
    bios = [one.costs.bios / other.costs.bios for one, other in mixed]
    volume = [one.costs.bytes / other.costs.bytes for one, other in mixed]
    answer.words = (
        f"Writers wait: {_range([100 * part for part in early], '{:.0f}')} % of the bios go out inside a write "
        f"call, before the sync. Against folio-flag the file takes {_range(bios)} times the bios and {_range(volume)} "
        "times the bytes."
    )
    saved = [one for one, other in mixed if _whole(one) and not _whole(other)]
    if saved:
        answer.words += f" For that it keeps pages whole which folio-flag lost, in {_names(_workloads(saved))}."
    else:
        answer.words += " It kept no page that folio-flag lost."
    return answer


def _whole(cell: Cell) -> bool:
    return cell.crashes.verdict in _HELD


def _workloads(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.workload for cell in cells))


# Does copy-on-write need anything from the page cache?


def _state(cells: Sequence[Cell], real: Real | None) -> Answer:
    answer = Answer(
        "Does copy-on-write need anything from the page cache?", "", SIMULATED,
        ("device", "whole", "bits for each folio", "bits for each file"),
    )  # fmt: skip
    mine = _of(cells, "cow")
    if not mine:
        answer.words = _UNTOLD + "it lacks cow."
        return answer
    for device in dict.fromkeys(cell.device for cell in mine):
        some = [cell for cell in mine if cell.device == device]
        answer.rows.append(
            (
                device, f"{sum(map(_whole, some))} of {len(some)}", f"{max(c.costs.folio_bits for c in some)}",
                f"{max(c.costs.file_bits for c in some)}",
            )
        )  # fmt: skip
    bits = max(cell.costs.folio_bits + cell.costs.file_bits for cell in mine)
    whole = sum(map(_whole, mine))
    bare = [cell for cell in mine if not DEVICES[cell.device].limits.unit_min and _whole(cell)]
    if _unsure(mine):
        answer.words = _UNTOLD + "some searches were not finished."
    elif whole < len(mine):
        answer.words = f"It was not enough here: {len(mine) - whole} of {len(mine)} combinations tore."
    elif bits:
        answer.words = f"Yes, {bits} bits; with them all {len(mine)} combinations stayed whole."
    else:
        answer.words = (
            f"No: not a bit, for a folio or a file, and all {len(mine)} combinations of workload and device were "
            "whole, every one of them as a prefix of its commits"
        )
        answer.words += f"; {len(bare)} on a device without atomic writes." if bare else "."
        answer.words += " What it needs is the log's extent map, which is no part of the page cache."
    return answer


# What does copy-on-write cost in bytes and fragments?


def _price(cells: Sequence[Cell], real: Real | None) -> Answer:
    question = "What does copy-on-write cost in bytes and fragments?"
    head = ("workload", "bytes for each byte", "of plain", "extents on XFS", "of folio-flag", "of plain")
    answer = Answer(question, "", SIMULATED, head)
    mine = _of(cells, "cow")
    if not mine:
        answer.words = _UNTOLD + "it lacks cow."
        return answer
    for name in _workloads(mine):
        own = [cell.costs.bytes_per_byte for cell in mine if cell.workload == name]
        plain = [cell.costs.bytes_per_byte for cell in _of(cells, "plain") if cell.workload == name]
        left = [_extents(real, name, design) for design in ("cow", "folio-flag", "plain")]
        answer.rows.append((name, _range(own), _range(plain) if plain else "", *left))
        answer.bars += [(f"{name}, {who}", max(n), f"{max(n):.2f}") for who, n in (("plain", plain), ("cow", own)) if n]
    answer.bars_of = "bytes to storage for each byte of the program"
    volume = [cell.costs.bytes_per_byte for cell in mine]
    answer.words = f"As a log beside the file: {_range(volume)} bytes to storage for each byte of the program"
    plain = [cell.costs.bytes_per_byte for cell in _of(cells, "plain")]
    answer.words += f" (plain: {_range(plain)})." if plain else "."
    answer.words += _optimised(mine)
    fragments = _fragments(real)
    if fragments:
        answer.words += " " + fragments
        answer.basis = "simulation for the bytes, this machine's XFS for the extents"
    return answer


def _optimised(mine: Sequence[Cell]) -> str:
    """What REQ_ATOMIC saves, where it was used."""
    used = [cell for cell in mine if cell.costs.atomic_bios]
    without = {cell.workload: cell for cell in mine if not DEVICES[cell.device].limits.unit_min}
    saved = [1 - cell.costs.bytes / without[cell.workload].costs.bytes for cell in used if cell.workload in without]
    if not saved:
        return ""
    names = _names(_workloads(used))
    part = _range([100 * one for one in saved], "{:.1f}")
    return f" REQ_ATOMIC, where the log could be left out ({names}), saved {part} % of them."


def _extents(real: Real | None, workload: str, design: str) -> str:
    found = real.find("xfs", workload, design) if real else None
    return "" if found is None or found.extents is None else f"{found.extents}"


def _fragments(real: Real | None) -> str:
    """What was left on XFS, where atomic writes are made by copying extents if the device makes none."""
    if real is None:
        return ""
    found: dict[str, list[int]] = {}
    for one in real.timings:
        if one.file_system == "xfs" and one.extents is not None and (one.taken or one.design == "plain"):
            found.setdefault(one.design, []).append(one.extents)
    if "cow" not in found:
        return ""
    words = f"On XFS the log leaves the file in at most {_extent(max(found['cow']))}"
    others = {design: most for design, most in found.items() if design not in ("cow", "plain")}
    if others:
        design, most = max(others.items(), key=lambda item: max(item[1]))
        words += f"; XFS's own copy-on-write, which makes RWF_ATOMIC in software, in up to {max(most)} ({design})"
    return words + "."


def _extent(count: int) -> str:
    return "1 extent" if count == 1 else f"{count} extents"


# What does writethrough cost?


def _through(cells: Sequence[Cell], real: Real | None) -> Answer:
    head = ("workload, device", "bios", "bios of folio-flag", "bytes", "of folio-flag", "p50 on XFS", "of folio-flag")
    answer = Answer("What does writethrough cost?", "", SIMULATED, head)
    pairs = _pairs(cells, "writethrough", "folio-flag")
    if not pairs:
        answer.words = _UNTOLD + "it lacks writethrough or folio-flag on a device that takes the atomic writes."
        return answer
    for one, other in pairs:
        answer.rows.append(
            (
                f"{one.workload}, {one.device}", f"{one.costs.bios}", f"{other.costs.bios}",
                f"{one.costs.bytes_per_byte:.2f}", f"{other.costs.bytes_per_byte:.2f}",
                _p50(real, one), _p50(real, other),
            )
        )  # fmt: skip
    answer.bars_of = "bios"
    for one, other in _once(pairs):
        for cell in (other, one):
            answer.bars.append((f"{cell.workload}, {cell.design}", float(cell.costs.bios), f"{cell.costs.bios}"))
    bios = [one.costs.bios / other.costs.bios for one, other in pairs]
    volume = [one.costs.bytes / other.costs.bytes for one, other in pairs]
    worst = max(pairs, key=lambda pair: pair[0].costs.bytes / pair[1].costs.bytes)[0].workload
    answer.words = (
        f"One bio for each call: against folio-flag {_range(bios)} times the bios and {_range(volume)} times the "
        f"bytes, most in {worst}."
    )
    whole = sum(_whole(one) for one, _ in pairs)
    answer.words += f" {whole} of {len(pairs)} such combinations were whole, with no state in the cache."
    if any(row[-1] for row in answer.rows):
        answer.basis = "simulation for crashes and counts, this machine's XFS for p50"
    return answer


def _p50(real: Real | None, cell: Cell) -> str:
    found = real.find("xfs", cell.workload, cell.design) if real else None
    return "" if found is None or not found.taken else f"{found.p50_us:,.0f} us"


# What if the device's unit is too small?


def _small_units(cells: Sequence[Cell], real: Real | None) -> Answer:
    answer = Answer(
        "And where the device cannot write the page whole?", "", SIMULATED, ("design", "refused", "of these torn")
    )
    for design in _designs(cells):
        refused = _of(cells, design, lambda cell: not _took(cell))
        torn = sum(bool(cell.crashes.torn) for cell in refused)
        answer.rows.append((design, f"{len(refused)} of {len(_of(cells, design))}", f"{torn}"))
        answer.bars.append((design, float(len(refused)), f"{len(refused)} of {len(_of(cells, design))}"))
    answer.bars_of = "combinations of workload and device in which the design refuses the atomic writes"
    some = [cell for cell in cells if not _took(cell)]
    if not some:
        answer.words = "In this run every design took every atomic write."
        return answer
    never = [design for design in _designs(cells) if all(_took(cell) for cell in _of(cells, design))]
    torn = sum(bool(cell.crashes.torn) for cell in some)
    refusing = _names(list(dict.fromkeys(cell.design for cell in some)))
    answer.words = f"{refusing} refuse, and of the {len(some)} combinations, written plainly then, {torn} tore."
    if never:
        answer.words += f" {_names(never)} never refused."
    return answer
